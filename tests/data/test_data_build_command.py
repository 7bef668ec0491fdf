"""`skingpt4 data build SOURCE … --out DIR` and `data summary DIR`, as they are typed."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.commands import data_build, data_summary
from skingpt4.data.manifest import open_manifest
from skingpt4.data.sources.notes import NoteColumns
from skingpt4.data.sources.skincon import UNJUDGED_ANSWER
from skingpt4.data.summary import PAPER_TABLE_1, summarize
from skingpt4.errors import DataError
from skingpt4.vocabulary import CONCEPTS, DIAGNOSIS_PROMPTS


def run(*words: str | Path) -> int:
    """The commands as `skingpt4 data` hooks them in."""
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(required=True)
    data_build.add(kinds.add_parser("build"))
    data_summary.add(kinds.add_parser("summary"))
    arguments = parser.parse_args([str(word) for word in words])
    return int(arguments.run(arguments))


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Path]:
    """A folder with a tiny picture under the name of each row of a SKINCON file."""
    from PIL import Image

    root = tmp_path_factory.mktemp("stand-ins")

    def make(annotations: Path, suffix: str) -> Path:
        folder = root / annotations.stem
        if not folder.exists():
            folder.mkdir()
            Image.new("RGB", (8, 8), "salmon").save(root / f"one{suffix}")
            with annotations.open(encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    os.link(root / f"one{suffix}", folder / row["ImageID"])
        return folder

    return make


@pytest.fixture
def published(shared_data: Path, stand_ins: Callable[[Path, str], Path]) -> list[str | Path]:
    """The arguments that name the published files with stand-ins for all images."""
    fitzpatrick = shared_data / "skincon" / "annotations_fitzpatrick17k.csv"
    ddi = shared_data / "skincon" / "annotations_ddi.csv"
    return [
        *("--fitzpatrick-annotations", fitzpatrick, "--fitzpatrick-images", stand_ins(fitzpatrick, ".jpg")),
        *("--ddi-annotations", ddi, "--ddi-images", stand_ins(ddi, ".png")),
        *("--fitzpatrick-csv", shared_data / "fitzpatrick17k.csv"),
    ]


def test_skincon_has_the_papers_48_counts_but_for_three(
    published: list[str | Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "skincon", *published, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "3,690 rows, 460 flagged 'Do not consider', 3,230 kept" in said
    assert "656 rows, 20 flagged 'Do not consider', 636 kept" in said
    summary = summarize(open_manifest(tmp_path / "out"))
    assert (summary.records, summary.paper_part) == (3866, 3230)
    assert list(PAPER_TABLE_1) == list(CONCEPTS)
    off_by_one = {"Plaque": 1967, "Papule": 1170, "Brown(Hyperpigmentation)": 760}
    assert {name: PAPER_TABLE_1[name] for name in off_by_one} == {
        "Plaque": 1966,
        "Papule": 1169,
        "Brown(Hyperpigmentation)": 759,
    }
    assert summary.paper_part_concepts == {**PAPER_TABLE_1, **off_by_one}
    assert summary.groups["skin type"] == {
        "1": 596, "2": 928, "3": 619, "4": 579, "5": 304, "6": 120, "unknown": 84 + 636,
    }  # fmt: skip
    assert summary.groups["disease"]["squamous cell carcinoma"] == 125

    assert run("summary", tmp_path / "out") == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["Plaque", "2135", "1967", "1966", "+1"] in lines
    assert ["Scale", "789", "686", "686", "="] in lines
    assert sum(line[-1:] == ["="] for line in lines) == 45
    assert said.splitlines()[-1] == (
        "3,230 images of Fitzpatrick17k (the paper: 3,230); 45 of 48 concepts are as often as in the paper's Table 1, "
        "the others differ by one in the published annotations: Papule 1170 (1169), Plaque 1967 (1966), "
        "Brown(Hyperpigmentation) 760 (759)."
    )


def test_the_papers_3886_with_the_flagged_rows_of_ddi(published: list[str | Path], tmp_path: Path) -> None:
    assert run("build", "skincon", *published, "--keep-flagged-ddi", "--out", tmp_path / "out") == 0
    records = list(open_manifest(tmp_path / "out"))
    assert len(records) == 3886
    flagged = [record for record in records if not record.concepts]
    assert {record.answers for record in flagged} == {(UNJUDGED_ANSWER,)}
    assert (len(flagged), {record.source for record in flagged}) == (20, {"ddi"})
    note = json.loads((tmp_path / "out" / "build.json").read_text(encoding="utf-8"))
    assert note["sources"][1]["remarks"][0].startswith("flagged rows kept without concepts: 20 (000521.png, ")
    assert note["command"]["keep_flagged_ddi"] is True
    assert summarize(open_manifest(tmp_path / "out")).paper_part == 3230


def test_one_part_of_skincon_alone(
    shared_data: Path, stand_ins: Callable[[Path, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ddi = shared_data / "skincon" / "annotations_ddi.csv"
    images = stand_ins(ddi, ".png")
    assert run("build", "skincon", "--ddi-annotations", ddi, "--ddi-images", images, "--out", tmp_path / "out") == 0
    assert len(open_manifest(tmp_path / "out", images)) == 636
    assert run("summary", tmp_path / "out") == 0
    assert "paper" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give --fitzpatrick-annotations, --ddi-annotations, or both"),
        (["--ddi-annotations", "a.csv", "--fitzpatrick-csv", "f.csv"], "need --fitzpatrick-annotations"),
        (["--fitzpatrick-annotations", "a.csv", "--keep-flagged-ddi"], "need --ddi-annotations"),
    ],
)
def test_options_that_miss_their_file(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run("build", "skincon", *options, "--out", tmp_path / "out")


def test_what_is_wrong_with_both_files_is_said_at_once(tmp_path: Path) -> None:
    for name in ("f.csv", "d.csv"):
        (tmp_path / name).write_text("ImageID\na.png\n", encoding="utf-8")
    files = ("--fitzpatrick-annotations", tmp_path / "f.csv", "--ddi-annotations", tmp_path / "d.csv")
    with pytest.raises(DataError, match=r"(?s)f\.csv has no column.*d\.csv has no column"):
        run("build", "skincon", *files, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dermnet_with_template_and_synonyms(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "derm" / "train" / "Urticaria Hives" / "cholinergic-uriticaria-12.jpg")
    draw_picture(tmp_path / "derm" / "test" / "Urticaria Hives" / "hives-acute-1.jpg")
    (tmp_path / "answer.txt").write_text("I see {disease}. Yes, {disease}.", encoding="utf-8")

    def built(out: str, *options: str | Path) -> list[tuple[str, str, str]]:
        assert run("build", "dermnet", tmp_path / "derm", "--out", tmp_path / out, *options) == 0
        records = open_manifest(tmp_path / out)
        assert set(records.column("licence")) == {"Dermnet, not for redistribution"}
        assert set(records.column("disease_class")) == {"Urticaria Hives"}
        return [(record.split, record.disease, record.answers[0]) for record in records]

    assert built("a") == [
        (split, "urticaria (hives)", "This could be a skin disease image of urticaria (hives).")
        for split in ("train", "test")
    ]
    assert built("b", "--disease-from", "file", "--template", tmp_path / "answer.txt") == [
        ("train", "cholinergic urticaria", "I see cholinergic urticaria. Yes, cholinergic urticaria."),
        ("test", "hives acute", "I see hives acute. Yes, hives acute."),
    ]


def test_a_folder_with_classes_and_a_licence(
    tmp_path: Path, draw_picture: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Naevi/1.png", "Naevi/2.png", "Warts/1.webp"):
        draw_picture(tmp_path / "clinic" / name)
    (tmp_path / "classes.yaml").write_text(
        "Naevi: 'Melanoma Skin Cancer, Nevi, Moles'\nWarts: Others\n", encoding="utf-8"
    )
    options = ("--classes", tmp_path / "classes.yaml", "--licence", "CC BY 4.0", "--out", tmp_path / "out")
    assert run("build", "folder", tmp_path / "clinic", *options) == 0
    assert run("summary", tmp_path / "out") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["nevi", "2"] in lines
    assert ["Melanoma", "Skin", "Cancer,", "Nevi,", "Moles", "2"] in lines
    assert open_manifest(tmp_path / "out").column("licence") == ["CC BY 4.0"] * 3
    with pytest.raises(DataError, match="--force"):
        run("build", "folder", tmp_path / "clinic", *options)
    assert run("build", "folder", tmp_path / "clinic", *options, "--force") == 0


def test_packed_at_once(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    originals = [draw_picture(tmp_path / "set" / "eczema" / f"{number}.jpg") for number in range(3)]
    assert run("build", "folder", tmp_path / "set", "--out", tmp_path / "packed", "--pack") == 0
    for original in originals:
        original.rename(original.with_suffix(".gone"))
    records = list(open_manifest(tmp_path / "packed"))
    assert [record.disease for record in records] == ["eczema"] * 3
    found = {record.image.read_bytes() for record in records}
    assert found == {original.with_suffix(".gone").read_bytes() for original in originals}
    assert not list(tmp_path.glob(".build-*"))


def test_minigpt4_keeps_its_captions(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "cc" / "image" / "2.webp")
    captions = {"annotations": [{"image_id": "2", "caption": "A red plaque."}, {"image_id": "3", "caption": "Gone."}]}
    (tmp_path / "cc" / "filter_cap.json").write_text(json.dumps(captions), encoding="utf-8")
    assert run("build", "minigpt4", tmp_path / "cc", "--out", tmp_path / "out") == 0
    (record,) = open_manifest(tmp_path / "out")
    assert (record.image, record.answers) == (tmp_path / "cc" / "image" / "2.webp", ("A red plaque.",))
    assert record.questions == DIAGNOSIS_PROMPTS
    note = json.loads((tmp_path / "out" / "build.json").read_text(encoding="utf-8"))
    assert note["sources"][0]["missing_images"] == ["3.jpg"]


def test_notes_with_columns_of_other_names(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "1.png")
    table = tmp_path / "notes.csv"
    table.write_text("Bild,Diagnose,Text,Pat\n1.png,hives,Itchy.,p1\n", encoding="utf-8")
    columns = (
        "--image-column",
        "Bild",
        "--disease-column",
        "Diagnose",
        "--notes-column",
        "Text",
        "--group-column",
        "Pat",
    )
    assert run("build", "notes", table, *columns, "--check-identifiers", "--out", tmp_path / "out") == 0
    (record,) = open_manifest(tmp_path / "out")
    assert (record.disease, record.group, record.licence) == ("urticaria", "p1", "private")
    assert record.answers == ("This could be a skin disease image of urticaria. Itchy.",)


def test_notes_that_name_a_patient_are_not_built(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "1.png")
    table = tmp_path / "notes.csv"
    table.write_text("image,disease,notes\n1.png,eczema,Call jane.doe@clinic.org\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"text that looks as if .* \(1\)\..*\s+row 2: e-mail: j\*+g$"):
        run("build", "notes", table, "--check-identifiers", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_column_of_notes_has_its_option() -> None:
    assert {item.name: item.default for item in dataclasses.fields(NoteColumns)} == data_build._COLUMNS


def test_the_shared_isic_photographs(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    isic = shared_data / "isic"
    words = ("--metadata", isic / "metadata.csv", "--images", isic / "images", "--out", tmp_path / "out")
    assert run("build", "isic", *words) == 0
    assert run("summary", tmp_path / "out", "--rows", "1") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["melanoma", "60"] in lines
    assert ["…", "1", "more", "60"] in lines
    assert not any(line[:1] == ["concept"] for line in lines)


def test_pad_ufes_20_and_scin(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in ("pad/P_1.png", "scin/1.png"):
        draw_picture(tmp_path / name)
    (tmp_path / "pad.csv").write_text("patient_id,lesion_id,img_id,diagnostic\nP,L,P_1.png,BCC\n", encoding="utf-8")
    (tmp_path / "cases.csv").write_text("case_id,image_1_path\n7,1.png\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text(
        "case_id,weighted_skin_condition_label\n7,\"{'Eczema': 1.0}\"\n", encoding="utf-8"
    )
    pad = ("--metadata", tmp_path / "pad.csv", "--images", tmp_path / "pad")
    scin = ("--cases", tmp_path / "cases.csv", "--labels", tmp_path / "labels.csv", "--images", tmp_path / "scin")
    assert run("build", "pad-ufes-20", *pad, "--out", tmp_path / "out-pad") == 0
    assert run("build", "scin", *scin, "--out", tmp_path / "out-scin") == 0
    found = [next(iter(open_manifest(tmp_path / f"out-{name}"))) for name in ("pad", "scin")]
    assert [(record.disease, record.group, record.licence) for record in found] == [
        ("basal cell carcinoma", "P", "CC BY 4.0"),
        ("eczema", "7", "SCIN Data Use License"),
    ]
