"""Where a manifest's images are: below its root, whichever folder that is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifests import write_data_set

from skingpt4.data.manifest import Manifest, open_manifest, relative_name, row_of, write_manifest
from skingpt4.data.records import Record
from skingpt4.errors import DataError


def plain_row() -> dict[str, Any]:
    return row_of(Record(Path("0.jpg"), ("q?",), ("answer",)), "0.jpg")


@pytest.mark.parametrize("name", ["manifest.parquet", "manifest.jsonl"])
@pytest.mark.parametrize("image", ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:\\a.jpg", "\\\\server\\a.jpg", ""])
def test_names_that_lead_out_of_the_root_are_refused(name: str, image: str, tmp_path: Path) -> None:
    good = plain_row()
    for place, row in (("image", good | {"image": image}), ("shard", good | {"shard": image, "size": 1})):
        if place == "shard" and not image:  # an empty shard: the image is a file of its own
            continue
        write_manifest(tmp_path / name, [good, row])
        manifest = open_manifest(tmp_path)
        with pytest.raises(DataError, match=r"leads out of the images folder|name is empty"):
            manifest[1]
        with pytest.raises(DataError, match=r"row 2: .*(leads out|is empty)"):
            manifest.missing_images()


def test_links_that_lead_out_of_the_root_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    for file in (root / "real" / "a.jpg", outside / "b.jpg"):
        file.write_bytes(b"x")
    (root / "link.jpg").symlink_to(outside / "b.jpg")
    (root / "folder").symlink_to(outside)
    (root / "inside.jpg").symlink_to(root / "real" / "a.jpg")
    (tmp_path / "other_root").symlink_to(root)
    assert relative_name(root / "real" / "a.jpg", root) == "real/a.jpg"
    assert relative_name(root / "inside.jpg", root) == "inside.jpg"
    assert relative_name(tmp_path / "other_root" / "real" / "a.jpg", tmp_path / "other_root") == "real/a.jpg"
    for image in (root / "link.jpg", root / "folder" / "b.jpg"):
        with pytest.raises(ValueError, match="is a link that leads out of"):
            relative_name(image, root)
    with pytest.raises(ValueError, match="not in the subpath"):
        relative_name(outside / "b.jpg", root)


def test_missing_images_are_found_in_all_folders(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path, 12)
    assert not manifest.missing_images().any()
    (tmp_path / "a" / "4.png").unlink()
    (tmp_path / "b" / "7.png").unlink()
    (tmp_path / "b" / "7.png").mkdir()  # a folder of that name is no image
    assert np.flatnonzero(manifest.missing_images()).tolist() == [4, 7]
    assert np.flatnonzero(manifest[4:8].missing_images()).tolist() == [0, 3]
    assert Manifest(manifest.path, tmp_path / "nowhere").missing_images().all()


def test_the_root_is_the_one_given_or_noted_or_beside(tmp_path: Path) -> None:
    write_manifest(tmp_path / "set" / "manifest.parquet", [plain_row()])
    note = tmp_path / "set" / "build.json"
    for noted, root in (
        (None, tmp_path / "set"),
        ({"images_root": str(tmp_path / "photos")}, tmp_path / "set"),  # built elsewhere: not there
        ({"images_root": "pictures"}, tmp_path / "set" / "pictures"),
        ({"images_root": str(tmp_path)}, tmp_path),
        ({"other": 1}, tmp_path / "set"),
    ):
        (tmp_path / "set" / "pictures").mkdir(exist_ok=True)
        if noted is not None:
            note.write_text(json.dumps(noted))
        assert open_manifest(tmp_path / "set").root == root
    assert open_manifest(tmp_path / "set", tmp_path / "given")[0].image == tmp_path / "given" / "0.jpg"
    for broken in ("{", "3"):
        note.write_text(broken)
        with pytest.raises(DataError, match=r"build\.json cannot be read"):
            open_manifest(tmp_path / "set")
