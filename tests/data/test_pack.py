"""Packed data sets: any record at once through the manifest, all of them in order through other tools."""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path

import pytest
from manifests import write_data_set

from skingpt4.commands import data_pack
from skingpt4.data.manifest import Manifest, open_manifest, write_manifest
from skingpt4.data.pack import pack
from skingpt4.data.records import PackedImage
from skingpt4.errors import DataError
from skingpt4.images import open_image


@pytest.fixture
def loose(tmp_path: Path) -> Manifest:
    """20 photographs of their own, in a folder with a manifest."""
    return write_data_set(tmp_path / "loose", 20)


def contents(manifest: Manifest) -> list[bytes]:
    return [record.image.read_bytes() for record in manifest]


def without_place(manifest: Manifest) -> list[dict[str, object]]:
    left_out = ("shard", "offset", "size", "sha256")
    return [{name: value for name, value in row.items() if name not in left_out} for row in manifest.table_rows()]


def test_every_record_is_read_back_from_its_place(loose: Manifest, tmp_path: Path) -> None:
    written = pack(loose, tmp_path / "packed", shard_bytes=12_000)
    packed = open_manifest(tmp_path / "packed")
    assert written == tmp_path / "packed" / "manifest.parquet" == packed.path
    assert len(list((tmp_path / "packed" / "shards").iterdir())) > 2
    assert all(isinstance(record.image, PackedImage) for record in packed)
    assert contents(packed) == contents(loose) and len(set(contents(packed))) == 20
    assert without_place(packed) == without_place(loose)
    assert [len(digest) for digest in packed.column("sha256")] == [64] * 20
    for record, other in zip(packed, loose, strict=True):
        assert open_image(record.image).tobytes() == open_image(other.image).tobytes()


def test_shards_keep_their_limit_and_are_the_same_each_time(loose: Manifest, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(loose, tmp_path / name, shard_bytes=12_000)
    shards = sorted(path.name for path in (tmp_path / "one" / "shards").iterdir())
    assert shards == [f"{number:06d}.tar" for number in range(len(shards))]
    for name in shards:
        one, two = (tmp_path / folder / "shards" / name for folder in ("one", "two"))
        assert one.stat().st_size <= 12_000 + 1024  # the end of an archive comes on top
        assert one.read_bytes() == two.read_bytes()
    pack(loose, tmp_path / "small", shard_bytes=1)  # a record that is larger than a shard has one of its own
    assert len(list((tmp_path / "small" / "shards").iterdir())) == 20


def test_other_tools_read_the_shards_as_webdataset(loose: Manifest, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pack(loose, tmp_path / "packed", shard_bytes=12_000)
    urls = sorted(map(str, (tmp_path / "packed" / "shards").iterdir()))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [sample["json"]["answers"] for sample in samples] == [list(record.answers) for record in loose]
    raw = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["png"] for sample in raw] == contents(loose)
    assert len({sample["__key__"] for sample in raw}) == 20


def test_the_shards_are_sound_tar_files(loose: Manifest, tmp_path: Path) -> None:
    pack(loose, tmp_path / "packed")
    with tarfile.open(tmp_path / "packed" / "shards" / "000000.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members[:4]] == [
            "00000000.png", "00000000.json", "00000001.png", "00000001.json",
        ]  # fmt: skip
        places = open_manifest(tmp_path / "packed").column("offset")
        assert [member.offset_data for member in members[::2]] == places
        row = tar.extractfile(members[1])
        assert row is not None and json.load(row)["image"] == "a/0.png"


def test_records_of_one_image_share_it(tmp_path: Path) -> None:
    loose = write_data_set(tmp_path / "loose", 3)
    rows = list(loose.table_rows())
    write_manifest(loose.path, [*rows, rows[1] | {"answers": ["A second opinion."]}])
    pack(open_manifest(tmp_path / "loose"), tmp_path / "packed")
    images = list(open_manifest(tmp_path / "packed").images())
    assert images[3] == images[1] and len(set(images)) == 3


def test_what_is_packed_can_be_packed_again(loose: Manifest, tmp_path: Path) -> None:
    pack(loose, tmp_path / "packed", shard_bytes=12_000)
    pack(open_manifest(tmp_path / "packed").where("split", "train"), tmp_path / "train")
    again = open_manifest(tmp_path / "train")
    assert contents(again) == contents(loose.where("split", "train")) and len(again) == 10


def test_missing_images_are_named_and_nothing_is_written(loose: Manifest, tmp_path: Path) -> None:
    (tmp_path / "loose" / "a" / "4.png").unlink()
    (tmp_path / "loose" / "b" / "7.png").unlink()
    with pytest.raises(DataError, match=r"2 of 20 images are missing in .*loose: a/4\.png, b/7\.png\."):
        pack(loose, tmp_path / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["loose"]


def test_nothing_is_left_of_a_pack_that_fails_halfway(loose: Manifest, tmp_path: Path) -> None:
    changed = list(loose.table_rows())
    changed[15] |= {"sha256": "0" * 64}
    write_manifest(loose.path, changed)
    with pytest.raises(DataError, match=r"15\.png is not the file that the manifest was made of"):
        pack(open_manifest(tmp_path / "loose"), tmp_path / "packed", shard_bytes=12_000)
    assert [path.name for path in tmp_path.iterdir()] == ["loose"]


def test_an_image_that_cannot_be_read_is_named(
    loose: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(manifest: Manifest) -> object:
        found = missing(manifest)
        (tmp_path / "loose" / "a" / "8.png").unlink()  # between the look at the folders and the reading
        return found

    missing = Manifest.missing_images
    monkeypatch.setattr(Manifest, "missing_images", vanish)
    with pytest.raises(DataError, match=r"8\.png cannot be read: No such file"):
        pack(loose, tmp_path / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["loose"]


def test_nothing_is_overwritten(loose: Manifest, tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    pack(loose, tmp_path / "packed")  # an empty folder may be there
    with pytest.raises(DataError, match=r"packed exists already; give another folder"):
        pack(loose, tmp_path / "packed")
    with pytest.raises(DataError, match="has no rows to pack"):
        pack(loose[:0], tmp_path / "other")


def test_the_command_packs_and_says_what_to_do_next(
    loose: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loose" / "build.json").write_text(json.dumps({"images_root": str(tmp_path / "loose"), "rows": 20}))
    parser = argparse.ArgumentParser()
    data_pack.add(parser)

    def run(*words: str) -> int:
        arguments = parser.parse_args([str(tmp_path / "loose"), "--out", str(tmp_path / "packed"), *words])
        return int(arguments.run(arguments))

    for words, message in (
        (("--shard-mb", "0"), "--shard-mb is 0; 1 or more"),
        (("--images", str(tmp_path / "none")), "the images' root was expected"),
        (("--images", str(tmp_path)), "20 of 20 images are missing"),
    ):
        with pytest.raises(DataError, match=message):
            run(*words)
    assert run() == 0
    out = capsys.readouterr().out
    assert "Packed 20 records into 1 shard in" in out and "{source: manifest, path: " in out
    assert json.loads((tmp_path / "packed" / "build.json").read_text()) == {"images_root": ".", "rows": 20}
    (tmp_path / "packed").rename(tmp_path / "moved")  # with the shards beside it, the manifest finds them anywhere
    assert contents(open_manifest(tmp_path / "moved")) == contents(loose)
