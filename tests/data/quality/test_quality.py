from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagehash
import pytest
from drawn_sets import drawn, jpeg, run_command, write_set
from PIL import Image, ImageFilter

from skingpt4.commands import data_check
from skingpt4.data.manifest import open_manifest
from skingpt4.data.quality import inspection
from skingpt4.data.quality.check import KINDS, check_manifest
from skingpt4.data.quality.inspection import Inspection, inspect_images
from skingpt4.errors import DataError

# The photographs of the shared ISIC sample that show detail when one looks at them; the other 103 are enlarged
# thumbnails.
SHARP_ISIC = {
    *("ISIC_0000501", "ISIC_0000502", "ISIC_0000514", "ISIC_0000516", "ISIC_0000518", "ISIC_0000519", "ISIC_0000524"),
    *("ISIC_0000525", "ISIC_0000526", "ISIC_0000527", "ISIC_0000529", "ISIC_0000531", "ISIC_0000533", "ISIC_0000540"),
    *("ISIC_0000542", "ISIC_0000548", "ISIC_0000549"),
}


def turned_jpeg(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    path = Path("turned.jpg")
    image.save(path, exif=exif)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_set(
        tmp_path / "set",
        {
            "good.png": drawn(0),
            "deeper/good.jpg": jpeg(drawn(1), 90),
            "torn.jpg": jpeg(drawn(2), 90)[:900],
            "text.jpg": b"<html>not found</html>",
            "small.png": drawn(3).resize((40, 90)),
            "blank.png": Image.new("RGB", (100, 100), (200, 150, 140)),
            "blurred.png": drawn(4).filter(ImageFilter.GaussianBlur(2)),
            "png inside.jpg": png_bytes(drawn(5)),
            "turned.jpg": turned_jpeg(drawn(6).copy()),
            "gone.png": drawn(7),
        },
    )


def png_bytes(image: Image.Image) -> bytes:
    import io

    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_every_fault_is_found_and_nothing_else(faulty: Path) -> None:
    (faulty / "gone.png").unlink()
    check = check_manifest(open_manifest(faulty), faulty / "progress.jsonl", workers=1)
    found = {kind: [entry["image"] for entry in entries] for kind, entries in check.findings.items() if entries}
    assert found == {
        "missing": ["gone.png"],
        "undecodable": ["torn.jpg", "text.jpg"],
        "too small": ["small.png"],
        "blank": ["blank.png"],
        "blurred": ["blurred.png"],
        "wrong suffix": ["png inside.jpg"],
        "turned by EXIF": ["turned.jpg"],
    }
    assert check.problems == 7  # EXIF is honoured: no problem
    assert found.keys() < KINDS.keys()


def test_the_command_fills_the_hashes_in_and_says_what_it_found(
    faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(open_manifest(faulty).table_rows())
    assert run_command(data_check, faulty, "--workers", "1") == 1
    rows = list(open_manifest(faulty).table_rows())
    assert [row | {"sha256": "", "phash": ""} for row in rows] == before
    good = next(row for row in rows if row["image"] == "good.png")
    assert good["sha256"] == hashlib.sha256((faulty / "good.png").read_bytes()).hexdigest()
    assert good["phash"] == str(imagehash.phash(drawn(0)))
    assert [row["image"] for row in rows if not row["phash"]] == ["torn.jpg", "text.jpg"]
    note = json.loads((faulty / "check.json").read_text())
    assert note["counts"]["undecodable"] == 2
    assert note["findings"]["blurred"][0]["image"] == "blurred.png"
    shown = capsys.readouterr().out
    assert "undecodable" in shown
    assert "10 images of 10 records" in shown


def test_a_sound_set_gives_0_and_options_decide(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(8)})
    assert run_command(data_check, folder) == 0
    assert run_command(data_check, folder, "--min-side", "113") == 1
    assert json.loads((folder / "check.json").read_text())["counts"]["too small"] == 8


def test_out_leaves_the_set_as_it_is(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {f"{seed}.png": drawn(seed) for seed in range(3)})
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run_command(data_check, folder, "--out", tmp_path / "out") == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    checked = open_manifest(tmp_path / "out")
    assert all(checked.column("phash"))
    assert checked[0].image == (folder / "0.png").resolve()


def test_both_forms_of_the_manifest_are_filled_in(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(3)})
    (folder / "manifest.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in open_manifest(folder).table_rows())
    )
    run_command(data_check, folder)
    parquet, jsonl = (list(open_manifest(folder / f"manifest.{form}").table_rows()) for form in ("parquet", "jsonl"))
    assert parquet == jsonl
    assert all(row["sha256"] for row in jsonl)


def test_the_wrong_root_is_an_error_not_a_thousand_findings(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {"a.png": drawn(0), "b.png": drawn(1)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"None of the 2 images .* is in .*empty \(looked for a.png, b.png\).*--images"):
        run_command(data_check, folder, "--images", tmp_path / "empty")
    assert not (folder / "check.json").exists()


def counted(monkeypatch: pytest.MonkeyPatch, stop_after: int = 10**9) -> list[str]:
    """The names of the images that are decoded from now on; Ctrl-C comes after `stop_after`."""
    names: list[str] = []
    inspect: Callable[..., Inspection] = inspection.inspect_image

    def counting(name: str, image: Any) -> Inspection:
        if len(names) == stop_after:
            raise KeyboardInterrupt
        names.append(name)
        return inspect(name, image)

    monkeypatch.setattr(inspection, "inspect_image", counting)
    return names


def test_an_interrupted_check_goes_on(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(8)})
    manifest, progress = open_manifest(folder), tmp_path / "progress.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        counted(patch, stop_after=5)
        with pytest.raises(KeyboardInterrupt):
            check_manifest(manifest, progress)
    progress.write_bytes(progress.read_bytes()[:-40])  # and the last line is torn
    with pytest.MonkeyPatch.context() as patch:
        decoded = counted(patch)
        resumed = check_manifest(manifest, progress)
        assert decoded == ["4.png", "5.png", "6.png", "7.png"]
        assert check_manifest(manifest, progress) == resumed
        assert len(decoded) == 4
    assert resumed == check_manifest(manifest, tmp_path / "other.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        decoded = counted(patch)
        drawn(20).save(folder / "2.png")
        changed = check_manifest(manifest, progress)
        assert decoded == ["2.png"]
    assert changed.sha256[2] != resumed.sha256[2]


def test_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_set(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(6)} | {"torn.jpg": b"\xff\xd8\xff"})
    files = {path.name: path for path in folder.glob("*.*g")}
    alone = inspect_images(files, tmp_path / "one.jsonl", workers=1)
    monkeypatch.setattr(inspection, "_FEWEST_PER_WORKER", 4)
    assert inspect_images(files, tmp_path / "two.jsonl", workers=2) == alone
    assert len(alone) == 7


def test_the_shared_isic_photographs(shared_data: Path, tmp_path: Path) -> None:
    from skingpt4.data.build import write_build
    from skingpt4.data.sources.archives import read_isic

    write_build([read_isic(shared_data / "isic" / "metadata.csv", shared_data / "isic" / "images")], tmp_path / "set")
    check = check_manifest(open_manifest(tmp_path / "set"), tmp_path / "progress.jsonl")
    blurred = {Path(entry["image"]).stem for entry in check.findings["blurred"]}
    every = {path.stem for path in (shared_data / "isic" / "images").glob("*.jpg")}
    assert every - blurred == SHARP_ISIC
    assert check.problems == len(blurred) == 103  # and nothing else: not one of these centred spots is another's copy
