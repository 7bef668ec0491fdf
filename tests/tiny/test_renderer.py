"""The renderer: same seed, same picture; every drawable concept is visible and its mask says where."""

from __future__ import annotations

import numpy as np
import pytest

from skingpt4.tiny.diseases import DISEASES
from skingpt4.tiny.renderer import (
    ARRANGEMENTS,
    COUNTS,
    DRAWABLE,
    SIZE_PX,
    Description,
    description_for_concepts,
    disease_description,
    patch_coverage,
    random_description,
    render,
    undrawable,
)
from skingpt4.tiny.sheet import contact_sheet
from skingpt4.vocabulary import CONCEPTS


def test_same_seed_gives_the_same_pixels():
    pictures = [render(random_description(np.random.default_rng(5)), np.random.default_rng(6)).image for _ in range(2)]
    assert np.array_equal(*pictures)
    other = render(random_description(np.random.default_rng(5)), np.random.default_rng(7)).image
    assert not np.array_equal(pictures[0], other)


def test_image_is_rgb_uint8():
    image = render(Description(("Plaque",)), np.random.default_rng(0)).image
    assert image.shape == (SIZE_PX, SIZE_PX, 3) and image.dtype == np.uint8


def test_half_of_skincon_is_drawable_in_its_order():
    assert len(DRAWABLE) == 24
    assert list(DRAWABLE) == [name for name in CONCEPTS if name in DRAWABLE]


@pytest.mark.parametrize("concept", DRAWABLE)
@pytest.mark.parametrize("tone", [1, 6])
def test_each_drawable_concept_is_visible_where_its_mask_says(concept, tone):
    bare = render(Description((), skin_tone=tone), np.random.default_rng(3)).image.astype(float)
    shown = render(Description((concept,), skin_tone=tone), np.random.default_rng(3))
    mask = shown.masks[concept] > 0.4
    assert set(shown.masks) == {concept}
    assert mask.sum() >= 8

    def contrast(image):
        """Difference in colour to the rest, roughness and spread inside (light and grain differ between renderings)."""
        rest = ~mask if (~mask).sum() > 500 else np.ones_like(mask)
        pooled = image.mean(2).reshape(SIZE_PX // 2, 2, SIZE_PX // 2, 2).mean((1, 3))  # leaves the sensor's grain out
        rough = np.abs(np.diff(pooled, axis=1))[mask[::2, 2::2]].mean() if mask.sum() > 1000 else 0.0
        return np.abs(image[mask].mean(0) - image[rest].mean(0)).max(), rough, image[mask].std(0).max()

    now, before = contrast(shown.image.astype(float)), contrast(bare)
    assert now[0] > before[0] + 3 or now[1] > 1.2 * before[1] or now[2] > 1.3 * before[2], (now, before)


def test_masks_cover_what_the_description_names():
    rng = np.random.default_rng(8)
    for _ in range(40):
        description = random_description(rng)
        masks = render(description, rng).masks
        assert set(masks) <= set(description.concepts)
        missing = set(description.concepts) - set(masks)
        assert not missing, (description, missing)
        assert all(mask.shape == (SIZE_PX, SIZE_PX) and mask.min() >= 0 for mask in masks.values())


def test_patch_coverage_is_the_mean_of_the_mask():
    mask = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    mask[:14, 14:28] = 1
    mask[14:21, :14] = 1
    coverage = patch_coverage({"Scale": mask})
    column = DRAWABLE.index("Scale")
    assert coverage.shape == (8, 8, 24)
    assert coverage[0, 1, column] == 1 and coverage[1, 0, column] == 0.5 and coverage.sum() == 1.5


def test_every_disease_arrangement_and_count_renders():
    rng = np.random.default_rng(1)
    for disease in DISEASES:
        description = disease_description(disease.name, rng)
        assert set(disease.always) <= set(description.concepts)
        assert description.arrangement in disease.arrangements
        render(description, rng)
    for arrangement in ARRANGEMENTS:
        for count in COUNTS:
            render(Description(("Papule", "Patch", "Erythema"), arrangement, count), rng)


def test_any_set_of_concepts_has_a_stand_in():
    rng = np.random.default_rng(2)
    everything = description_for_concepts(CONCEPTS, rng)
    assert everything.concepts == CONCEPTS
    assert len(undrawable(CONCEPTS)) == 24
    render(everything, rng)
    render(description_for_concepts((), rng), rng)
    render(description_for_concepts(("Scar", "Induration"), rng), rng)


def test_unknown_concept_is_named():
    with pytest.raises(ValueError, match="Freckle"):
        render(Description(("Freckle",)), np.random.default_rng(0))


def test_contact_sheet_is_not_blank():
    rng = np.random.default_rng(4)
    sheet = np.asarray(contact_sheet([render(random_description(rng), rng).image for _ in range(8)], columns=4))
    assert sheet.shape == (2 * SIZE_PX, 4 * SIZE_PX, 3)
    assert sheet.std() > 10
