"""Manifests as a source: by split, limited, held out and joined by row numbers, with no row read before its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifests import draw_data_set, write_data_set

from skingpt4.config import settings_from_dict
from skingpt4.data.loading import LoadedData, load_records
from skingpt4.data.manifest import Manifest, open_manifest, row_of, write_manifest
from skingpt4.data.manifest_files import ParquetRows
from skingpt4.data.pack import pack
from skingpt4.data.records import Record
from skingpt4.data.sequences import Records, column_of, images_of
from skingpt4.errors import DataError, SettingsError
from skingpt4.settings import DataSettings, SourceSettings


@pytest.fixture
def built(tmp_path: Path) -> Manifest:
    """24 records: 12 of the split train, 6 of validation, 6 of test; the patients of the last two are the same."""
    return write_data_set(tmp_path / "built", 24)


def answers(records: Sequence[Record]) -> list[str]:
    return [record.answers[0].rpartition("Note ")[2].rstrip(".") for record in records]


def load(train: list[SourceSettings], seed: int = 1, **data: Any) -> LoadedData:
    return load_records(DataSettings(train=train, **data), "", seed)


@pytest.mark.parametrize("packed", [False, True])
def test_a_split_is_read_as_it_was_recorded(built: Manifest, packed: bool, tmp_path: Path) -> None:
    folder = pack(built, tmp_path / "packed").parent if packed else built.path.parent
    name = folder.name
    sources = [SourceSettings("manifest", str(folder), split=split) for split in ("train", "validation", "test")]
    loaded = load([sources[0]], validation=sources[1:2])
    assert answers(loaded.train) == [str(n) for n in range(24) if n % 4 < 2]
    assert answers(loaded.validation) == [str(n) for n in range(24) if n % 4 == 2]
    assert list(loaded.train) == [record for record in open_manifest(folder) if record.split == "train"]
    assert [report.summary() for report in loaded.reports] == [
        f"manifest {name}/manifest.parquet, split train: 12 rows, 12 kept",
        f"manifest {name}/manifest.parquet, split validation: 6 rows, 6 kept",
    ]
    whole = load([SourceSettings("manifest", str(folder / "manifest.parquet"))])
    assert answers(whole.train) == [str(n) for n in range(24)]
    assert whole.reports[0].summary().endswith("24 kept; all splits are used (test, train, validation)")


def test_patients_on_both_sides_are_a_leak(built: Manifest) -> None:
    source = [SourceSettings("manifest", str(built.path), split=split) for split in ("test", "validation")]
    with pytest.raises(DataError, match="6 of 6 validation images are in the training set too"):
        load(source[:1], validation=source[1:])
    assert len(load(source[:1], validation=source[1:], allow_leaks=True).validation) == 6


def test_no_row_is_read_to_load_a_million(built: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are, once each; whole rows when they are asked for."""
    read: list[int] = []
    whole = ParquetRows._read_group
    monkeypatch.setattr(ParquetRows, "_read_group", lambda self, number: [read.append(number), whole(self, number)][1])
    loaded = load(
        [SourceSettings("manifest", str(built.path), limit=20), SourceSettings("manifest", str(built.path), limit=4)],
        validation_fraction=0.25,
    )
    assert (len(loaded.train) + len(loaded.validation), read) == (24, [])
    assert loaded.train[0].disease == "eczema" and len(read) == 1


def test_limits_are_drawn_by_the_seed(built: Manifest) -> None:
    def drawn(limit: int, seed: int) -> list[str]:
        loaded = load([SourceSettings("manifest", str(built.path), limit=limit)], seed)
        return answers(loaded.train)

    assert drawn(9, 1) == drawn(9, 1) == sorted(drawn(9, 1), key=int) and len(set(drawn(9, 1))) == 9
    assert drawn(9, 1) != drawn(9, 2)
    assert set(drawn(4, 1)) < set(drawn(9, 1))
    assert len(drawn(100, 1)) == 24
    loaded = load([SourceSettings("manifest", str(built.path), limit=9)])
    assert "15 over the limit, 9 kept" in loaded.reports[0].summary()


def test_patients_are_held_out_whole(built: Manifest) -> None:
    held_out = []
    for seed in range(4):
        loaded = load([SourceSettings("manifest", str(built.path))], seed, validation_fraction=0.25)
        assert (len(loaded.train), len(loaded.validation)) == (18, 6)
        groups = [{record.group for record in part} for part in (loaded.train, loaded.validation)]
        assert not groups[0] & groups[1]
        held_out.append(tuple(answers(loaded.validation)))
    assert len(set(held_out)) > 1
    again = load([SourceSettings("manifest", str(built.path))], 0, validation_fraction=0.25)
    assert tuple(answers(again.validation)) == held_out[0]


def test_a_manifest_and_a_direct_source_are_joined(built: Manifest, tmp_path: Path) -> None:
    draw_data_set(tmp_path / "folders", 3, ".bmp")
    sources = [SourceSettings("folder", str(tmp_path / "folders")), SourceSettings("manifest", str(built.path))]
    (tmp_path / "prompts.txt").write_text("<Img><ImageHere></Img> What now?\n")
    loaded = load_records(DataSettings(train=sources), str(tmp_path / "prompts.txt"), 1)
    assert len(loaded.train) == 27
    assert {record.questions for record in loaded.train} == {("What now?",)} == {loaded.train[5].questions}
    assert [record.source for record in loaded.train][2:4] == ["folder folders", "drawn"]


def test_missing_images_are_an_error_or_are_counted(built: Manifest, tmp_path: Path) -> None:
    for name in ("a/4.png", "b/7.png"):
        (built.root / name).unlink()
    source = SourceSettings("manifest", str(built.path))
    with pytest.raises(DataError, match=r"2 of 24 images are missing in .*: a/4\.png, b/7\.png\. .*on_bad_image=skip"):
        load([source])
    loaded = load([source], on_bad_image="skip")
    assert answers(loaded.train) == [str(n) for n in range(24) if n not in (4, 7)]
    assert "24 rows, 2 without their image (a/4.png, b/7.png), 22 kept" in loaded.reports[0].summary()
    (tmp_path / "empty").mkdir()
    source.images = str(tmp_path / "empty")
    with pytest.raises(DataError, match=r"none of its 24 images is in .*empty .*Set the source's `images`"):
        load([source], on_bad_image="skip")
    source.images = str(tmp_path / "none")
    with pytest.raises(DataError, match="the images' root was expected"):
        load([source])


def test_the_images_may_lie_elsewhere(built: Manifest, tmp_path: Path) -> None:
    built.root.rename(tmp_path / "moved")
    (tmp_path / "published").mkdir()
    published = (tmp_path / "moved" / "manifest.parquet").rename(tmp_path / "published" / "manifest.parquet")
    loaded = load([SourceSettings("manifest", str(published.parent), images=str(tmp_path / "moved"))])
    assert loaded.train[0].image == tmp_path / "moved" / "a" / "0.png"


def test_a_split_that_is_not_there_is_said(built: Manifest, tmp_path: Path) -> None:
    write_manifest(tmp_path / "plain.jsonl", (row | {"split": ""} for row in built.table_rows()))
    write_manifest(tmp_path / "none.parquet", [])
    for name, there in (("plain.jsonl", "only rows of no split"), ("none.parquet", "only no rows")):
        with pytest.raises(DataError, match=f"has no split test, {there}"):
            load([SourceSettings("manifest", str(tmp_path / name), split="test")])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"source": "manifest", "split": "val"}, "split is 'val'; it must be one of empty, train, validation, test"),
        ({"source": "table", "split": "train"}, "split is 'train', but only a manifest has splits"),
        ({"source": "manifest", "task": "concepts"}, "a manifest's records bring their own answers; leave it out"),
    ],
)
def test_settings_that_a_source_would_not_use_are_refused(source: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_from_dict({"data": {"train": [{"path": "x", **source}]}}, "here")


def test_joined_records_are_one_sequence(built: Manifest, tmp_path: Path) -> None:
    drawn = draw_data_set(tmp_path / "more", 5, ".bmp")
    joined, plain = Records([built[:7], [], drawn, built[20:]]), [*built[:7], *drawn, *built[20:]]
    assert len(joined) == 16 and list(joined) == plain == [joined[n] for n in range(16)]
    assert joined[-1] == plain[-1] and list(joined[3:14:2]) == plain[3:14:2]
    draw = np.random.default_rng(0)
    for numbers in (np.flatnonzero(draw.random(16) < 0.5), draw.permutation(16), np.array([], int)):
        chosen = joined.select(numbers)
        assert list(chosen) == [plain[n] for n in numbers] == [chosen[n] for n in range(len(chosen))]
        assert list(chosen.images()) == [plain[n].image for n in numbers]
        assert chosen.column("group") == [plain[n].group for n in numbers]
    assert len(joined.select(np.arange(0, 16, 2)).parts) == 3  # sorted numbers make no more parts
    assert column_of(plain, "group") == column_of(joined, "group")
    assert list(images_of(plain)) == list(images_of(joined))
    for beyond in (16, -17):
        with pytest.raises(IndexError):
            joined[beyond]
    assert not Records() and list(Records()) == []


def test_rows_keep_their_group_across_sources(tmp_path: Path) -> None:
    """What a record knows is not lost on the way through a manifest."""
    record = draw_data_set(tmp_path, 1)[0]
    write_manifest(tmp_path / "manifest.parquet", [row_of(record, "a/0.png")])
    assert load([SourceSettings("manifest", str(tmp_path))]).train[0] == record
