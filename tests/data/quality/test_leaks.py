from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_sets import COPIES, drawn, jpeg, run_command, write_set

from skingpt4.commands import data_check
from skingpt4.data.manifest import open_manifest
from skingpt4.data.quality import leaks as leaks_module
from skingpt4.data.quality.leaks import find_leaks, require_no_leaks
from skingpt4.data.records import Record
from skingpt4.errors import DataError

MD5 = "5e82a45bc5d78bd24ae9202d194423f8"


def record(path: Path, content: bytes | None = None, **values: str) -> Record:
    """A record of a file, written unless `content` is None."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Record(path, ("?",), ("!",), **values)


def kinds(train: list[Record], validation: list[Record]) -> list[str]:
    return [leak.kind for leak in find_leaks(train, validation)]


def test_equal_contents_are_found_without_hashes(tmp_path: Path) -> None:
    train = [record(tmp_path / "a" / f"{number}.jpg", bytes([number]) * 50) for number in range(4)]
    validation = [record(tmp_path / "b" / "9.jpg", bytes([2]) * 50), record(tmp_path / "b" / "8.jpg", b"\7" * 50)]
    (leak,) = find_leaks(train, validation)
    assert (leak.kind, leak.train, leak.validation) == ("same content", str(train[2].image), str(validation[0].image))


def test_only_files_that_may_be_equal_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [record(tmp_path / f"{size}.jpg", b"a" * size) for size in (10, 20, 30)]
    validation = [record(tmp_path / "v1.jpg", b"b" * 20), record(tmp_path / "v2.jpg", b"b" * 40)]
    read: list[str] = []
    digest = leaks_module._digest
    monkeypatch.setattr(leaks_module, "_digest", lambda image: read.append(image.name) or digest(image))
    assert find_leaks(train, validation) == []
    assert sorted(read) == ["20.jpg", "v1.jpg"]


def test_a_hash_of_a_manifest_meets_a_file_without_one(tmp_path: Path) -> None:
    published = replace(
        record(tmp_path / "absent.jpg"), sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    )
    mine = [record(tmp_path / "1.jpg", b"hello"), record(tmp_path / "2.jpg", b"world")]
    assert [leak.train for leak in find_leaks(mine, [published])] == [str(mine[0].image)]
    assert [leak.validation for leak in find_leaks([published], mine)] == [str(mine[0].image)]


def test_the_same_file_and_the_same_id(tmp_path: Path) -> None:
    train = [
        record(tmp_path / "fitzpatrick17k" / f"{MD5}.jpg", b"one", source="fitzpatrick17k"),
        record(tmp_path / "x" / "1.jpg", b"three"),
    ]
    validation = [
        train[1],
        record(tmp_path / "skincap" / f"{MD5.upper()}.png", b"another", source="skincap"),
        record(tmp_path / "y" / "1.jpg", b"five5", source="y"),
    ]
    assert kinds(train, validation) == ["same file", "same id"]


def test_patients_count_within_their_source(tmp_path: Path) -> None:
    train = [record(tmp_path / "a.jpg", b"a", group="12", source="clinic A")]
    assert kinds(train, [record(tmp_path / "b.jpg", b"bb", group="12", source="clinic A")]) == [
        "same patient or lesion"
    ]
    assert kinds(train, [record(tmp_path / "c.jpg", b"cc", group="12", source="clinic B")]) == []
    assert kinds(train, [record(tmp_path / "d.jpg", b"dd", group="", source="clinic A")]) == []
    archive = [record(tmp_path / "e.jpg", b"ee", group="IL_7654321", source="isic one.csv")]
    again = [record(tmp_path / "f.jpg", b"fff", group="IL_7654321", source="isic two.csv")]
    assert kinds(archive, again) == ["same patient or lesion"]


def test_names_count_only_where_nothing_else_is_known(tmp_path: Path) -> None:
    without_files = write_set(tmp_path / "a", {"acne/1.jpg": b"x", "2.jpg": b"y"}, source=["dermnet", "dermnet"])
    other = write_set(tmp_path / "b", {"acne/1.jpg": b"xyz"}, source=["dermnet"])
    assert find_leaks(open_manifest(without_files), open_manifest(other)) == []  # other contents
    for folder in (without_files, other):
        (folder / "acne" / "1.jpg").unlink()
    (leak,) = find_leaks(open_manifest(without_files), open_manifest(other))
    assert (leak.kind, leak.validation) == ("same name in the same source", "acne/1.jpg")


@pytest.fixture
def two_sets(tmp_path: Path) -> tuple[Path, Path]:
    train = write_set(tmp_path / "train", {f"t{seed}.png": drawn(seed) for seed in range(20)})
    copies = {f"v-{name}": copy(drawn(5 + number)) for number, (name, copy) in enumerate(COPIES.items())}
    fresh = {f"v{seed}.png": drawn(seed) for seed in range(30, 36)}
    return train, write_set(tmp_path / "validation", {**copies, **fresh, "same.png": drawn(3)})


def test_check_reports_what_two_sets_share(two_sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    train, validation = two_sets
    assert run_command(data_check, train, validation) == 1
    out = capsys.readouterr().out
    assert "1 of 13 records" in out
    assert "lacks perceptual hashes" in out
    for folder in two_sets:
        run_command(data_check, folder, "--min-sharpness", "0", "--min-side", "1")
    assert run_command(data_check, train, validation) == 1
    note = json.loads((train / "leaks.json").read_text())
    found = {leak["validation"]: (leak["kind"], leak["train"]) for leak in note["leaks"]}
    near = {f"v-{name}": ("nearly the same picture", f"t{5 + number}.png") for number, name in enumerate(COPIES)}
    assert found == {**near, "same.png": ("same content", "t3.png")}
    assert run_command(data_check, train, write_set(validation.parent / "new", {"n.png": drawn(40)})) == 0


def test_training_refuses_leaks_unless_told_otherwise(two_sets: tuple[Path, Path]) -> None:
    train, validation = (open_manifest(folder) for folder in two_sets)
    with pytest.raises(
        DataError, match=r"1 of 13 validation images(?s:.*)same.png = t3.png.*\n(?s:.*)allow_leaks=true"
    ):
        require_no_leaks(train, validation, allow=False)
    require_no_leaks(train, validation, allow=True)
    require_no_leaks(train, validation.select(validation.rows[:-1]), allow=False)


def test_published_hashes_without_pictures_are_enough_for_close_copies(tmp_path: Path) -> None:
    train = write_set(tmp_path / "train", {"t.png": drawn(0), "u.png": drawn(1)})
    validation = write_set(tmp_path / "validation", {"v.jpg": jpeg(drawn(0), 90)})
    for folder in (train, validation):
        run_command(data_check, folder)
        for path in folder.glob("*.*g"):
            path.unlink()
    (leak,) = find_leaks(open_manifest(train), open_manifest(validation))
    assert (leak.kind, leak.train) == ("nearly the same picture", "t.png")
