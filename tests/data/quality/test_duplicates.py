from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_sets import COPIES, drawn, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skingpt4.data.manifest import open_manifest
from skingpt4.data.quality.check import check_manifest
from skingpt4.data.quality.duplicates import connected, identifier_of
from skingpt4.data.quality.likeness import near_pairs, same_picture, thumbnail
from skingpt4.tiny.renderer import Description, render


def found_in(folder: Path, kind: str) -> list[list[str]]:
    check = check_manifest(open_manifest(folder), folder / "progress.jsonl", min_sharpness=0)
    return [entry["images"] for entry in check.findings[kind]]


def test_copies_are_found_and_only_they(tmp_path: Path) -> None:
    pictures: dict[str, Image.Image | bytes] = {f"{seed}.png": drawn(seed) for seed in range(50)}
    planted = [f"copies/{name}" for name in COPIES]
    pictures |= {f"copies/{name}": copy(drawn(7)) for name, copy in COPIES.items()}
    pictures["again.png"] = drawn(9)
    folder = write_set(tmp_path, pictures)
    assert found_in(folder, "near duplicates") == [["7.png", *planted]]
    assert found_in(folder, "exact duplicates") == [["9.png", "again.png"]]


@pytest.mark.parametrize("name", COPIES)
def test_most_copies_of_any_picture_are_found(name: str, tmp_path: Path) -> None:
    seeds = range(24)
    pictures: dict[str, Image.Image | bytes] = {f"{seed}.png": drawn(seed) for seed in seeds}
    suffix = name.rpartition(".")[2]
    pictures |= {f"copy of {seed}.{suffix}": COPIES[name](drawn(seed)) for seed in seeds}
    found = found_in(write_set(tmp_path, pictures), "near duplicates")
    right = [[f"{seed}.png", f"copy of {seed}.{suffix}"] for seed in seeds]
    assert [pair for pair in found if pair not in right] == []
    assert len(found) >= 22


def test_plain_skin_is_not_one_picture() -> None:
    """Photographs without a lesion differ in shading and noise alone."""
    images = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        images.append(Image.fromarray(render(Description((), skin_tone=3), rng).image))
    thumbs = np.stack([thumbnail(image) for image in images])
    first, second = np.triu_indices(len(images), 1)
    assert not same_picture(thumbs[first], thumbs[second]).any()
    again = np.stack([thumbnail(image.resize((70, 70))) for image in images])
    assert same_picture(thumbs, again).all()


def test_turned_pictures_are_not_found() -> None:
    """As the documentation says; change it when this fails."""
    thumb = thumbnail(drawn(0))
    mirrored = thumbnail(drawn(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert not same_picture(thumb[None], mirrored[None]).any()


def test_two_blank_pictures_are_not_near_duplicates(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {f"{level}.png": Image.new("RGB", (99, 99), (level,) * 3) for level in (9, 90, 200)})
    assert found_in(folder, "near duplicates") == []


hashes = st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=40)


@settings(deadline=None)
@given(hashes, st.lists(st.tuples(st.integers(0, 39), st.sets(st.integers(0, 63), max_size=14)), max_size=10))
def test_near_pairs_are_those_of_a_plain_loop(values: list[int], planted: list[tuple[int, set[int]]]) -> None:
    for source, bits in planted:
        if source < len(values):
            values = [*values, values[source] ^ sum(1 << bit for bit in bits)]
    told = [number for number, value in enumerate(values) if value.bit_count() >= 16]
    expected = [
        (one, two) for one in told for two in told if one < two and (values[one] ^ values[two]).bit_count() <= 12
    ]
    array = np.array(values, np.uint64)
    assert sorted(map(tuple, near_pairs(array).tolist())) == expected
    both = sorted(map(tuple, near_pairs(array, array).tolist()))
    assert both == sorted([*expected, *((two, one) for one, two in expected), *((one, one) for one in told)])


def test_near_pairs_across_blocks() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 1500, dtype=np.uint64)
    values[1400] = values[3] ^ np.uint64(0b1011)
    assert near_pairs(values).tolist() == [[3, 1400]]


@settings(deadline=None)  # the first call imports scipy
@given(st.integers(1, 12), st.data())
def test_components_are_those_of_the_pairs(count: int, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=12))
    homes = [{number} for number in range(count)]
    for one, two in pairs:
        joined = homes[one] | homes[two]
        for member in joined:
            homes[member] = joined
    labels = connected(count, np.array(pairs, np.int64).reshape(-1, 2))
    for number in range(count):
        assert set(np.flatnonzero(labels == labels[number]).tolist()) == homes[number]


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("images/5e82a45bc5d78bd24ae9202d194423f8.jpg", "5e82a45bc5d78bd24ae9202d194423f8"),
        ("5E82A45BC5D78BD24AE9202D194423F8.png", "5e82a45bc5d78bd24ae9202d194423f8"),
        ("ISIC_0000152.jpg", "isic_0000152"),
        ("PAT_1516_1765_530.png", "pat_1516_1765_530"),
        ("-3205742176803893704.png", "-3205742176803893704"),
        ("train/07Acne081101.jpg", "07acne081101"),
        ("1.jpg", ""),
        ("0001.jpg", ""),
        ("000001.png", ""),
        ("00000012.jpg", ""),
        ("image.jpg", ""),
        ("image_00012345.jpg", ""),
        ("IMG_20240131.jpg", ""),
        ("IMG_20240131_120000.jpg", ""),
        ("20240131.jpg", ""),
        ("2024-01-31 3.jpg", ""),
        ("20240131_120001.jpg", "20240131_120001"),
        ("acne-cystic-12.jpg", ""),
        ("deadbeefdeadbeef.jpg", ""),
    ],
)
def test_which_names_are_ids(name: str, identifier: str) -> None:
    assert identifier_of(name) == identifier
