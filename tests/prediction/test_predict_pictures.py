"""Which pictures are asked about, whatever they come in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from manifests import write_data_set
from training_runs import write_table

from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.pack import pack
from skingpt4.errors import DataError
from skingpt4.images import open_image
from skingpt4.prediction.pictures import Pictures, find_pictures


def contents(pictures: Pictures) -> list[bytes]:
    return [pictures.image(number).read_bytes() for number in range(len(pictures))]


def test_a_folder_with_folders_below(tmp_path: Path) -> None:
    names = ["b/2.PNG", "b/deep/1.jpeg", "a.tif", "c.dcm"]
    for name in [*names, ".hidden.png", "b/._2.png", ".cache/x.png", "__MACOSX/y.png", "notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = find_pictures(tmp_path)
    assert list(found.names) == sorted(names)
    assert contents(found) == [name.encode() for name in found.names]


def test_one_picture(tmp_path: Path) -> None:
    (tmp_path / "arm.JPG").write_bytes(b"picture")
    found = find_pictures(tmp_path / "arm.JPG")
    assert list(found.names) == ["arm.JPG"] and contents(found) == [b"picture"]


def test_a_name_that_is_no_utf8_can_be_written_down(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb") as file:
        file.write(b"picture")
    found = find_pictures(tmp_path)
    assert list(found.names) == ["caf\ufffd.png"] and contents(found) == [b"picture"]


def test_a_table_names_each_picture_once(tmp_path: Path) -> None:
    pictures = write_table(tmp_path / "data", 3).parent
    table = tmp_path / "some.csv"
    table.write_text("id,image\n1,2.png\n2,0.png\n3,2.png\n4,gone.png\n", encoding="utf-8")
    found = find_pictures(table, str(pictures))
    assert list(found.names) == ["2.png", "0.png", "gone.png"]
    assert found.image(0) == pictures / "2.png" and not found.image(2).is_file()
    assert list(find_pictures(pictures / "pairs.jsonl").names) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("name", ["manifest.parquet", "manifest.jsonl"])
def test_a_manifest_or_its_folder(name: str, tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path / "data", 6, name=name)
    rows = [*manifest.table_rows(), *manifest.table_rows()]  # each picture has two rows
    write_manifest(tmp_path / "data" / name, rows)
    for source in (tmp_path / "data", tmp_path / "data" / name):
        found = find_pictures(source)
        assert list(found.names) == [row["image"] for row in rows[:6]]
        assert contents(found) == [record.image.read_bytes() for record in manifest]


def test_shards_with_their_manifest_and_without(tmp_path: Path) -> None:
    loose = write_data_set(tmp_path / "loose", 12)
    pack(loose, tmp_path / "packed", shard_bytes=12_000)
    expected = [record.image.read_bytes() for record in loose]
    with_manifest, shards = find_pictures(tmp_path / "packed"), find_pictures(tmp_path / "packed" / "shards")
    assert list(with_manifest.names) == loose.column("image") and contents(with_manifest) == expected
    assert contents(shards) == expected and len(set(shards.names)) == 12
    assert shards.names[0] == "000000.tar/00000000.png" and open_image(shards.image(0)).size == (16, 16)
    one = find_pictures(tmp_path / "packed" / "shards" / "000001.tar")
    assert 0 < len(one) < 12 and set(contents(one)) < set(expected)


def test_a_shard_that_is_cut_off_is_told(tmp_path: Path) -> None:
    pack(write_data_set(tmp_path / "loose", 3), tmp_path / "packed")
    shard = tmp_path / "packed" / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:2500])
    with pytest.raises(DataError, match=r"000000\.tar is no whole uncompressed tar archive: .*Copy it again"):
        find_pictures(shard)


def test_what_holds_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("photo\n1.png\n", encoding="utf-8")
    (tmp_path / "leads_out.csv").write_text("image\n/etc/1.png\n../2.png\n", encoding="utf-8")
    (tmp_path / "absent.csv").write_text("image\n1.png\n2.png\n", encoding="utf-8")
    (tmp_path / "letter.docx").write_bytes(b"words")
    (tmp_path / "broken.parquet").write_bytes(b"words")
    for name, message in {
        "nowhere": "does not exist",
        "empty": "holds no picture; a picture or a folder of",
        "letter.docx": "holds no picture; a picture or a folder of",
        "broken.parquet": "broken.parquet",
        "list.csv": "has no column `image`",
        "leads_out.csv": r"(?s)2 errors in its rows.*row 2.*row 3",
        "absent.csv": r"none of its 2 images is in .* \(looked for 1.png, 2.png\).*--images",
    }.items():
        with pytest.raises(DataError, match=message):
            find_pictures(tmp_path / name)


def test_a_manifest_without_its_pictures_is_told(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path / "data", 3)
    write_manifest(
        tmp_path / "alone" / "manifest.parquet", [row_of(record, f"{n}.png") for n, record in enumerate(manifest)]
    )
    with pytest.raises(DataError, match=r"none of its 3 images .*--images"):
        find_pictures(tmp_path / "alone")
    with pytest.raises(DataError, match="the images' root"):
        find_pictures(tmp_path / "alone", str(tmp_path / "nowhere"))
    assert np.all([image.is_file() for image in manifest.images()])
