from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import COPIES, drawn, run_command, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skingpt4.commands import data_check, data_split
from skingpt4.data.manifest import open_manifest
from skingpt4.data.quality.leaks import find_leaks
from skingpt4.data.quality.stratify import label_matrix, stratified_groups
from skingpt4.data.sources.skincon import read_annotations
from skingpt4.errors import DataError

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """labels bool[N, L], groups int[N], keys."""
    count = draw(st.integers(3, 60))
    labels = draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    return np.array(labels), np.array(groups), [f"{number:03}" for number in range(count)]


fractions_of = st.sampled_from([THREE, {"train": 0.5, "test": 0.5}, {"train": 0.7, "validation": 0.3}, {"train": 1.0}])


@settings(max_examples=60, deadline=None)  # the first call imports scikit-learn
@given(labelled(), fractions_of, st.integers(0, 99), st.randoms(use_true_random=False), st.data())
def test_any_split_keeps_groups_whole_and_gives_each_record_one(data, fractions, seed, random, more) -> None:  # type: ignore[no-untyped-def]
    labels, groups, keys = data
    kept = more.draw(
        st.lists(st.sampled_from(["", "", "train", "validation", "test"]), min_size=len(keys), max_size=len(keys))
    )
    kept = more.draw(st.sampled_from([kept, [""] * len(keys)]))
    try:
        split = stratified_groups(labels, groups, keys, fractions, seed, kept)
    except DataError as error:
        assert "would be empty" in str(error)
        assert len(set(groups.tolist())) < 40
        return
    assert len(split) == len(keys)
    assert set(split) <= {*fractions, *kept} - {""}
    for group in set(groups.tolist()):
        members = np.flatnonzero(groups == group)
        assert len({split[member] for member in members}) == 1
        earlier = {kept[member] for member in members} - {""}
        expected = next((name for name in ("test", "validation", "train") if name in earlier), split[members[0]])
        assert split[members[0]] == expected
    order = list(range(len(keys)))
    random.shuffle(order)
    renamed = {
        group: number for number, group in enumerate(random.sample(sorted(set(groups.tolist())), len(set(groups))))
    }
    again = stratified_groups(
        labels[order],
        np.array([renamed[group] for group in groups[order].tolist()]),
        [keys[number] for number in order],
        fractions,
        seed,
        [kept[number] for number in order],
    )
    assert again == [split[number] for number in order]


def test_the_seed_decides() -> None:
    groups, keys = np.arange(100), [f"{number:03}" for number in range(100)]
    labels = np.zeros((100, 0), bool)
    first = stratified_groups(labels, groups, keys, THREE, 0)
    assert Counter(first) == {"train": 80, "validation": 10, "test": 10}
    assert (
        first == stratified_groups(labels, groups, keys, THREE, 0) != stratified_groups(labels, groups, keys, THREE, 1)
    )


def test_kept_splits_count_towards_the_fractions() -> None:
    keys = [f"{number:03}" for number in range(100)]
    kept = ["test"] * 10 + ["train"] * 30 + [""] * 60
    split = stratified_groups(np.zeros((100, 0), bool), np.arange(100), keys, THREE, 0, kept)
    assert Counter(split) == {"train": 80, "validation": 10, "test": 10}
    assert split[:40] == kept[:40]


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.8, "dev": 0.2}, "no split 'dev'; the splits are train, validation, test"),
        ({"train": 0.8, "test": 0.1}, r"\(train=0.8 test=0.1\) must be above 0 and add up to 1"),
        ({"train": 1.0, "test": 0.0}, "must be above 0"),
        ({"train": 0.98, "test": 0.02}, "test would be empty. Give more data"),
    ],
)
def test_what_cannot_be_split_is_an_error(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stratified_groups(np.zeros((5, 0), bool), np.arange(5), list("abcde"), fractions, 0)


def test_skincon_keeps_its_proportions(shared_data: Path) -> None:
    """The 48 concepts, the skin types and nine classes of the 3,230 photographs from Fitzpatrick17k."""
    annotations = read_annotations(shared_data / "skincon" / "annotations_fitzpatrick17k.csv")
    with (shared_data / "fitzpatrick17k.csv").open() as file:
        table = {row["md5hash"]: row for row in csv.DictReader(file)}
    rows = [table.get(Path(name).stem, {}) for name, _ in annotations.concepts]
    columns = {
        "concept": [concepts for _, concepts in annotations.concepts],
        "skin type": [(row.get("fitzpatrick_scale", "-1"),) for row in rows],
        "class": [(row["nine_partition_label"],) if row else () for row in rows],
    }
    names, labels = label_matrix(columns)
    assert len(labels) == 3230
    assert sum(kind == "concept" for kind, _ in names) == 48
    rng = np.random.default_rng(0)  # patients with 1 to 4 photographs
    for groups in (np.arange(3230), np.sort(rng.integers(0, 1300, 3230))):
        split = np.array(stratified_groups(labels, groups, [f"{number:04}" for number in range(3230)], THREE, 0))
        for name, fraction in THREE.items():
            assert abs((split == name).mean() - fraction) < 0.01
            frequent = labels.sum(axis=0) >= 50
            share = labels[split == name].sum(axis=0)[frequent] / labels.sum(axis=0)[frequent]
            assert np.abs(share - fraction).max() < 0.06
            assert np.abs(share - fraction).mean() < 0.012


def test_copies_and_patients_across_splits_are_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures: dict[str, Image.Image | bytes] = {f"{seed}.png": drawn(seed) for seed in range(40)}
    pictures |= {f"copy-{name}": copy(drawn(number)) for number, (name, copy) in enumerate(COPIES.items())}
    pictures["exact.png"] = drawn(20)
    count = len(pictures)
    folder = write_set(
        tmp_path,
        pictures,
        split=["train"] * 30 + ["test"] * (count - 30),
        group=["patient 1" if number in (29, 30) else "" for number in range(count)],
        disease=["eczema" if number % 2 else "psoriasis" for number in range(count)],
    )
    assert run_command(data_check, folder, "--min-side", "1", "--min-sharpness", "0") == 1
    across = json.loads((folder / "check.json").read_text())["findings"]["across splits"]
    assert sorted(entry["images"][0] for entry in across) == sorted(
        [*(f"{n}.png" for n in range(6)), "20.png", "29.png"]
    )

    with pytest.raises(DataError, match="has splits already; give --force"):
        run_command(data_split, folder)
    run_command(data_split, folder, "--force", "--keep-existing")
    assert "8 images moved to where a copy of them is" in capsys.readouterr().out
    mended = open_manifest(folder)
    moved = {f"{n}.png" for n in (*range(6), 20, 29)}
    for name, split, before in zip(
        mended.column("image"), mended.column("split"), ["train"] * 30 + ["test"] * 99, strict=False
    ):
        assert split == ("test" if name in moved else before)
    assert find_leaks(mended.where("split", "train"), mended.where("split", "test")) == []
    assert set(json.loads((folder / "split.json").read_text())["kept_existing"]["moved"]) == moved

    run_command(data_split, folder, "--force", "--seed", "3", "--fractions", "train=0.6", "validation=0.2", "test=0.2")
    again = open_manifest(folder)
    for one, two in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert find_leaks(again.where("split", one), again.where("split", two)) == []
    note = json.loads((folder / "split.json").read_text())
    assert note["groups"]["near_duplicates"] == len(COPIES)
    assert note["groups"]["exact_duplicates"] == 1
    assert sum(note["table"]["disease"]["eczema"].values()) == count // 2
    assert run_command(data_check, folder, "--min-side", "1", "--min-sharpness", "0") == 1  # the copies themselves
    assert json.loads((folder / "check.json").read_text())["counts"]["across splits"] == 0


def test_split_finds_the_hashes_itself_and_writes_elsewhere(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {f"{seed}.png": drawn(seed) for seed in range(20)})
    before = (folder / "manifest.parquet").read_bytes()
    run_command(data_split, folder, "--out", tmp_path / "out", "--fractions", "train=0.75", "test=0.25")
    assert (folder / "manifest.parquet").read_bytes() == before
    made = open_manifest(tmp_path / "out")
    assert Counter(made.column("split")) == {"train": 15, "test": 5}
    assert all(len(digest) == 64 for digest in made.column("sha256"))
    assert made[0].image.is_file()
    with pytest.raises(DataError, match="already holds manifest"):
        run_command(data_split, folder, "--out", tmp_path / "out")


def test_missing_images_are_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(5)})
    (folder / "3.png").unlink()
    with pytest.raises(DataError, match=r"1 of 5 images are missing in .*: 3.png"):
        run_command(data_split, folder)


@pytest.mark.parametrize("text", ["train", "train=much", "train=0.5 train=0.5"])
def test_fractions_of_another_form_are_an_error(text: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path, {"0.png": drawn(0)})
    with pytest.raises(DataError, match="a split and its share"):
        run_command(data_split, folder, "--fractions", *text.split())


def test_the_shared_isic_photographs_are_split_without_leaks(shared_data: Path, tmp_path: Path) -> None:
    from skingpt4.data.build import write_build
    from skingpt4.data.sources.archives import read_isic

    write_build([read_isic(shared_data / "isic" / "metadata.csv", shared_data / "isic" / "images")], tmp_path / "set")
    run_command(data_split, tmp_path / "set", "--fractions", "train=0.7", "validation=0.15", "test=0.15")
    made = open_manifest(tmp_path / "set")
    for name, count in (("train", 42), ("validation", 9), ("test", 9)):
        assert Counter(made.where("split", name).column("disease")) == {"melanoma": count, "nevus": count}
    assert find_leaks(made.where("split", "train"), made.where("split", "test")) == []
