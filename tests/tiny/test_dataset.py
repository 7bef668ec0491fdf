"""Data sets on disk."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from skingpt4.tiny.dataset import SETS, SetSize, draw_skincon_stand_ins, stand_in_images, write_dataset
from skingpt4.vocabulary import CLASSES, CONCEPTS


def test_write_dataset(tmp_path):
    records = write_dataset(tmp_path / "set", SetSize(diseases=6, random=4, notes=True, seed=1), progress=False)
    lines = (tmp_path / "set" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == records
    assert len(records) == 10 and sum("disease" in line for line in records) == 6
    for line in records:
        with_disease = {"image", "concepts", "disease", "disease_class", "notes", "skin_tone"}
        assert set(line) == (with_disease if "disease" in line else {"image", "concepts", "skin_tone"})
        assert set(line["concepts"]) <= set(CONCEPTS) and 1 <= line["skin_tone"] <= 6
        assert line.get("disease_class", CLASSES[0]) in CLASSES
        assert Image.open(tmp_path / "set" / line["image"]).size == (112, 112)
    assert records[0]["image"].startswith("images/0000") and records[-1]["image"] == "images/000010.png"


def test_the_same_seed_writes_the_same_files(tmp_path):
    size = SetSize(diseases=2, random=2, notes=True, seed=3)
    first, second = (write_dataset(tmp_path / name, size, progress=False) for name in "ab")
    assert first == second
    for line in first:
        assert (tmp_path / "a" / line["image"]).read_bytes() == (tmp_path / "b" / line["image"]).read_bytes()
    other = write_dataset(tmp_path / "c", SetSize(2, 2, True, seed=4), progress=False)
    assert other != first


def test_sets_have_different_seeds():
    assert len({size.seed for size in SETS.values()}) == len(SETS)


def test_stand_ins_depend_on_their_own_name_only(tmp_path):
    rows = [("a.png", ("Plaque", "Scale")), ("b.jpg", ("Scar", "Erythema")), ("c.png", ())]
    assert stand_in_images(rows, tmp_path / "all", seed=1) == {"Scar": 1}
    stand_in_images(rows[:1], tmp_path / "one", seed=1)
    pixels = [np.asarray(Image.open(tmp_path / folder / "a.png")) for folder in ("all", "one")]
    assert np.array_equal(*pixels)
    assert Image.open(tmp_path / "all" / "b.jpg").format == "JPEG"


def test_stand_ins_of_an_annotation_file(tmp_path):
    columns = ["", "ImageID", *CONCEPTS, "Do not consider this image"]
    rows = []
    for number, (shown, flagged) in enumerate(((("Plaque", "Scar"), 0), (("Scale",), 0), (("Papule",), 1))):
        marks = [str(int(name in shown)) for name in CONCEPTS]
        rows.append(",".join([str(number), f"{number}.jpg", *marks, str(flagged)]))
    (tmp_path / "rows.csv").write_text("\n".join([",".join(columns), *rows]) + "\n")
    message = draw_skincon_stand_ins(tmp_path / "rows.csv", tmp_path / "drawn", seed=1)
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["0.jpg", "1.jpg"]
    assert (
        message.startswith("Drew 2 synthetic photographs") and "3 rows, 1 flagged" in message and "Scar 1." in message
    )
