"""The embedded default is evaluated on its own drawings, and on real photographs where they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated import run
from PIL import Image

from skingpt4.cli import main
from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.records import diagnosis_record

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "isic"


def write_drawn(folder: Path, count: int) -> Path:
    """Drawn photographs, two per patient, half of them to fit on, with skin types."""
    from skingpt4.tiny.dataset import SetSize, write_dataset

    rows = []
    for number, line in enumerate(write_dataset(folder, SetSize(count, 0, True, 77), progress=False)):
        record = diagnosis_record(folder / str(line["image"]), str(line["disease"]), str(line["notes"]), "drawn")
        record = replace(
            record, concepts=tuple(line["concepts"]), disease_class=str(line["disease_class"]),  # type: ignore[arg-type]
            skin_type=int(str(line["skin_tone"])), group=f"patient {number // 2}",
            split=("validation", "test")[number // 2 % 2],
        )  # fmt: skip
        rows.append(row_of(record, str(line["image"])))
    write_manifest(folder / "manifest.parquet", rows)
    return folder


@pytest.mark.slow
def test_on_drawn_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every section has figures, and the model, which was made for drawings, does well on them."""
    data, out = write_drawn(tmp_path / "data", 76), tmp_path / "out"
    negatives = tmp_path / "negatives"
    negatives.mkdir()
    draw = np.random.default_rng(0)
    for number in range(8):
        noise = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(negatives / f"{number}.png")
    more = ("--repeats", 2, "--repeat-cases", 4, "--device", "cpu", "--negatives", negatives)
    assert run("--data", data, "--out", out, *more) == 0
    found = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    figures = found["figures"]
    assert figures["diagnosis.disease_scored"]["top_1"]["value"] > 0.4  # of 38 diseases
    assert figures["diagnosis.disease_scored"]["macro_auroc"]["value"] > 0.85
    assert figures["diagnosis.class_scored"]["top_1"]["value"] > figures["commonest"]["class"]["value"]
    assert figures["concepts.scored.all"]["macro_auroc"]["value"] > 0.75
    assert figures["concepts.answered.all"]["micro_f1"]["value"] > 0.5
    assert figures["trust.disease"]["temperature"]["value"] is not None
    assert figures["trust.disease"]["set_coverage"]["value"] > 0.6
    assert figures["consistency"]["pairs"]["n"] == 4
    assert (
        figures["photo_check"]["auroc given"]["value"] > 0.9
        and figures["photo_check"]["cases to take again"]["n"] == 38
    )
    by_type = found["groups"]["skin type"]["diagnosis.disease_scored.top_1"]
    assert list(found["groups"]) == ["skin type"] and list(by_type["values"])[:6] == list("123456")
    assert any("knows nothing about real skin" in remark for remark in found["remarks"])
    assert "of 38 diagnoses right" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason="the photographs (../shared/data/isic) are not beside this checkout"
)
def test_on_real_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two diseases of one class, no concepts, no skin types: what cannot be measured says why."""
    data, out = tmp_path / "isic", tmp_path / "out"
    images = ["--metadata", str(PHOTOGRAPHS / "metadata.csv"), "--images", str(PHOTOGRAPHS / "images")]
    assert main(["data", "build", "isic", *images, "--out", str(data)]) == 0
    assert main(["data", "split", str(data), "--fractions", "train=0.8", "validation=0.1", "test=0.1"]) == 0
    assert run("--data", data, "--out", out, "--repeats", 0, "--device", "cpu") == 0
    found = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    headline = found["figures"]["diagnosis.disease_scored"]
    assert headline["top_1"]["n"] == found["cases"] == 12
    assert headline["top_1"]["low"] < headline["top_1"]["value"] < headline["top_1"]["high"]
    assert headline["top_3"]["value"] is None and "only 2 diagnoses" in headline["top_3"]["note"]
    assert "all cases are of one diagnosis" in found["figures"]["diagnosis.class_scored"]["macro_auroc"]["note"]
    assert "concepts.scored" not in found["figures"] and any("concepts" in remark for remark in found["remarks"])
    assert "of 12 diagnoses right" in capsys.readouterr().out.strip().splitlines()[-1]
