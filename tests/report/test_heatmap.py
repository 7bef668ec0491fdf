"""The overlay that shows where the model looked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from skingpt4 import load_model
from skingpt4.chat.conversation import Chat
from skingpt4.model.attention import attention_map
from skingpt4.report.heatmap import HEATMAP_LEGEND, LONGEST_SIDE_PX, heatmap, overlay
from skingpt4.tiny.diseases import DISEASES_BY_NAME
from skingpt4.tiny.renderer import Rendering, disease_description, render


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(*load_model())


def drawn(count: int, seed: int = 0) -> list[Rendering]:
    rng = np.random.default_rng(seed)
    names = list(DISEASES_BY_NAME)
    return [render(disease_description(names[index % len(names)], rng), rng) for index in range(count)]


def luminance(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), float)


def grey_picture(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (120, 120, 120))


def one_cell(row: int, column: int) -> np.ndarray:
    shares = np.full((4, 4), 0.001, np.float32)
    shares[row, column] = 0.9
    return shares


@pytest.mark.parametrize(
    ("size", "expected"), [((300, 100), (300, 100)), ((4000, 2000), (1024, 512)), ((1, 900), (1, 900))]
)
def test_an_overlay_has_the_picture_s_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    result = overlay(grey_picture(*size), one_cell(0, 0))
    assert (result.mode, result.size) == ("RGB", expected)
    assert max(result.size) <= LONGEST_SIDE_PX


@pytest.mark.parametrize(("row", "column"), [(0, 3), (3, 0), (1, 2)])
def test_the_squash_to_a_square_is_undone(row: int, column: int) -> None:
    light = luminance(overlay(grey_picture(400, 200), one_cell(row, column)))
    y, x = np.unravel_index(light.argmax(), light.shape)
    assert row * 50 <= y < (row + 1) * 50
    assert column * 100 <= x < (column + 1) * 100


def test_more_attention_is_brighter_without_colour_too() -> None:
    """For the colour-blind and for grey prints."""
    shares = np.linspace(0, 1, 8, dtype=np.float32)[None].repeat(8, 0)
    light = luminance(overlay(grey_picture(800, 800), shares))[400, 50::100]
    assert (np.diff(light) > 0).all()
    assert light[-1] - light[0] > 60


def test_even_attention_gives_an_even_picture() -> None:
    light = luminance(overlay(grey_picture(100, 100), np.full((16, 16), 1 / 256, np.float32)))
    assert light.max() - light.min() <= 1


def test_one_odd_patch_among_hundreds_leaves_the_others_visible() -> None:
    shares = np.full((16, 16), 0.002, np.float32)
    shares[5:9, 5:9] = 0.02
    shares[0, 0] = 0.5
    light = luminance(overlay(grey_picture(160, 160), shares))
    assert light[70, 70] > light[120, 120] + 60


def test_nothing_at_all_is_no_error() -> None:
    assert overlay(grey_picture(20, 20), np.zeros((4, 4), np.float32)).size == (20, 20)


def test_the_photograph_shows_through() -> None:
    picture = grey_picture(200, 200)
    picture.paste((250, 250, 250), (0, 0, 100, 200))
    light = luminance(overlay(picture, np.full((4, 4), 0.1, np.float32)))
    assert light[100, 50] > light[100, 150] + 15


def test_the_whole_way_on_the_package_s_model(chat: Chat) -> None:
    picture = Image.fromarray(drawn(1)[0].image).resize((300, 200))
    before = picture.tobytes()
    result = heatmap(chat, picture)
    assert result is not None and result.size == (300, 200)
    assert picture.tobytes() == before
    shares = attention_map(chat.model, chat.processor.pixels(picture).unsqueeze(0))
    assert shares is not None
    assert np.array_equal(np.asarray(result), np.asarray(overlay(picture, shares[0].numpy())))
    assert "not" in HEATMAP_LEGEND


def test_an_encoder_without_patches_has_no_heatmap(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat.model.vision is not None
    monkeypatch.setattr(chat.model.vision.backbone.patch_embed, "grid_size", None)
    assert heatmap(chat, grey_picture(50, 50)) is None


def test_the_model_looks_at_the_lesions(chat: Chat) -> None:
    """Attention per area on what is drawn, against beside it. Lesions lie in the middle, so another picture's attention
    is the control.
    """
    pictures = drawn(76)
    pixels = torch.stack([chat.processor.pixels(Image.fromarray(one.image)) for one in pictures])
    shares = attention_map(chat.model, pixels)
    assert shares is not None
    maps = shares.numpy()
    side = maps.shape[1]
    masks = np.stack([np.maximum.reduce(list(one.masks.values())) for one in pictures])
    covered = masks.reshape(len(masks), side, masks.shape[1] // side, side, -1).mean((2, 4))

    def ratios(attention: np.ndarray) -> np.ndarray:
        on = (attention * covered).sum((1, 2)) / covered.sum((1, 2))
        return on / ((attention * (1 - covered)).sum((1, 2)) / (1 - covered).sum((1, 2)))

    own, others = ratios(maps), ratios(np.roll(maps, 1, axis=0))
    assert np.median(own) > 3
    assert (own > 1).mean() > 0.95
    assert np.median(own) > 1.5 * np.median(others)
    print(f"attention on : beside the lesions, median {np.median(own):.1f}; another's {np.median(others):.1f}")
