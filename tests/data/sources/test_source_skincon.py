from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.data.sources.skincon import (
    DDI,
    FITZPATRICK17K,
    FLAG_COLUMN,
    UNJUDGED_ANSWER,
    Label,
    read_annotated_images,
    read_annotations,
    read_fitzpatrick17k,
    read_skincon,
)
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import CONCEPT_PROMPT, CONCEPTS

HEADER = ["", "ImageID", *CONCEPTS, FLAG_COLUMN]


def write_annotations(path: Path, rows: list[tuple[str, set[str], str]], header: list[str] = HEADER) -> Path:
    """rows: image name, its concepts, the flag's cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for index, (name, concepts, flag) in enumerate(rows):
            writer.writerow([index, name, *(int(concept in concepts) for concept in CONCEPTS), flag])
    return path


def test_answers_name_the_concepts_in_column_order(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "photos" / "a.jpg")
    path = write_annotations(tmp_path / "annotations.csv", [("a.jpg", {"Erythema", "Scale", "Plaque"}, "0")])
    report = read_skincon(SourceSettings("skincon", str(path), str(tmp_path / "photos")))
    (record,) = report.records
    assert record.answers[0] == "This is a skin disease image with following clinical concepts: Plaque, Scale, Erythema"
    assert record.concepts == ("Plaque", "Scale", "Erythema")
    assert record.questions == (CONCEPT_PROMPT,)
    assert record.image == tmp_path / "photos" / "a.jpg"


def test_every_row_is_accounted_for(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "kept.png")
    rows = [
        ("kept.png", {"Papule"}, "0"),
        ("flagged.png", {"Papule"}, "1"),
        ("bare.png", set(), "0"),
        ("gone.png", {"Cyst"}, "0.0"),
    ]
    report = read_skincon(SourceSettings("skincon", str(write_annotations(tmp_path / "some.csv", rows))))
    assert [record.image.name for record in report.records] == ["kept.png"]
    assert (report.rows, report.flagged, report.without_answer, report.missing_images) == (4, 1, 1, ["gone.png"])
    assert report.summary() == (
        "skincon some.csv: 4 rows, 1 flagged 'Do not consider', 1 without an answer, "
        "1 without their image (gone.png), 1 kept"
    )


def test_a_folder_without_any_of_the_images_is_an_error(tmp_path: Path) -> None:
    path = write_annotations(tmp_path / "some.csv", [("gone.png", {"Cyst"}, "0"), ("gone2.png", {"Cyst"}, "0")])
    with pytest.raises(
        DataError, match=r"none of its 2 images is in .* \(looked for gone\.png, gone2\.png\).*`images`"
    ):
        read_skincon(SourceSettings("skincon", str(path)))


def test_wrong_marks_and_names_are_reported_together(tmp_path: Path) -> None:
    rows = [("a.png", {"Cyst"}, "yes"), ("../b.png", {"Cyst"}, "0"), ("", {"Cyst"}, "0")]
    path = write_annotations(tmp_path / "some.csv", rows)
    with pytest.raises(DataError) as caught:
        read_annotations(path)
    message = str(caught.value)
    assert "3 errors" in message
    assert "row 2: `Do not consider this image` is 'yes'; 0 or 1 was expected" in message
    assert "row 3: image '../b.png' leads out of the images folder" in message
    assert "row 4: the image's name is empty" in message


def test_a_file_of_another_form_is_named_with_the_nearest_column(tmp_path: Path) -> None:
    header = ["", "image_id", *("Erythemas" if name == "Erythema" else name for name in CONCEPTS), FLAG_COLUMN]
    path = write_annotations(tmp_path / "some.csv", [("a.png", {"Cyst"}, "0")], header)
    with pytest.raises(DataError, match=r"no column `ImageID`, `Erythema`.*did you mean `Erythemas` by `Erythema`\?"):
        read_annotations(path)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nothing\.csv does not exist \(looked in .*\); SKINCON's annotation CSV was expected"
    ):
        read_skincon(SourceSettings("skincon", str(tmp_path / "nothing.csv")))


@pytest.mark.parametrize(
    ("name", "rows", "flagged", "kept", "first"),
    [
        ("annotations_fitzpatrick17k.csv", 3690, 460, 3230, ("Nodule", "Erosion", "Friable")),
        ("annotations_ddi.csv", 656, 20, 636, ("Plaque", "Crust", "Yellow", "Erythema")),
    ],
)
def test_the_published_files(
    shared_data: Path, name: str, rows: int, flagged: int, kept: int, first: tuple[str, ...]
) -> None:
    found = read_annotations(shared_data / "skincon" / name)
    assert (found.rows, found.flagged, found.without_concept, len(found.concepts)) == (rows, flagged, 0, kept)
    assert found.concepts[0][1] == first
    assert len({image for image, _ in found.concepts}) == kept


def test_the_published_ddi_with_some_of_its_images(
    shared_data: Path, tmp_path: Path, draw_picture: Callable[..., Path]
) -> None:
    path = shared_data / "skincon" / "annotations_ddi.csv"
    for name, _ in read_annotations(path).concepts[:40]:
        draw_picture(tmp_path / name)
    report = read_skincon(SourceSettings("skincon", str(path), str(tmp_path)))
    assert (len(report.records), len(report.missing_images)) == (40, 596)
    assert report.summary().startswith(
        "skincon annotations_ddi.csv: 656 rows, 20 flagged 'Do not consider', 596 without"
    )
    assert report.summary().endswith("and 591 more), 40 kept")


def test_an_image_listed_twice(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "a.png")
    same = [("a.png", {"Cyst"}, "0"), ("a.png", {"Cyst"}, "0.0")]
    report = read_skincon(SourceSettings("skincon", str(write_annotations(tmp_path / "same.csv", same))))
    assert report.summary() == (
        "skincon same.csv: 1 rows, 1 kept; rows that list an image again with the same labels: 1"
    )
    other = [*same, ("b.png", {"Cyst"}, "0"), ("a.png", {"Papule"}, "0"), ("b.png", {"Cyst"}, "1")]
    with pytest.raises(DataError) as caught:
        read_annotations(write_annotations(tmp_path / "other.csv", other))
    message = str(caught.value)
    assert "2 errors" in message
    assert "row 5: image 'a.png' is in row 2 too, with other labels (Cyst; here Papule)" in message
    assert "row 6: image 'b.png' is in row 4 too, with other labels (Cyst; here flagged)" in message


def test_flagged_rows_are_kept_on_request_and_say_that_nothing_can_be_judged(
    tmp_path: Path, draw_picture: Callable[..., Path]
) -> None:
    for name in ("kept.png", "flagged.png"):
        draw_picture(tmp_path / name)
    rows = [("kept.png", {"Papule"}, "0"), ("flagged.png", set[str](), "1"), ("gone.png", set[str](), "1")]
    path = write_annotations(tmp_path / "ddi.csv", rows)
    report = read_annotated_images(path, tmp_path, DDI, keep_flagged=True)
    assert [(record.image.name, record.concepts) for record in report.records] == [
        ("kept.png", ("Papule",)),
        ("flagged.png", ()),
    ]
    assert report.records[1].answers == (UNJUDGED_ANSWER,)
    assert report.summary() == (
        "skincon ddi.csv: 3 rows, 1 without their image (gone.png), 2 kept; "
        "flagged rows kept without concepts: 2 (flagged.png, gone.png)"
    )
    assert [record.image.name for record in read_annotated_images(path, tmp_path, DDI).records] == ["kept.png"]


def test_links_out_of_the_folder_are_errors_of_their_rows(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    path = write_annotations(tmp_path / "some.csv", [("gone.png", {"Cyst"}, "0"), ("a.png", {"Cyst"}, "0")])
    with pytest.raises(DataError, match=r"1 error in its rows:\s+row 3: image 'a\.png' is a link that leads out"):
        read_annotated_images(path, tmp_path / "photos", DDI)


FITZPATRICK_HEADER = "md5hash,fitzpatrick_scale,label,qc,url\n"


def test_the_join_gives_disease_skin_type_and_source(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in "abcd":
        draw_picture(tmp_path / f"{name}.jpg")
    rows = [(f"{name}.jpg", {"Papule"}, "0") for name in "abcd"]
    path = write_annotations(tmp_path / "some.csv", rows)
    table = tmp_path / "fitzpatrick17k.csv"
    lines = "a,6,scabies,,https://www.dermaamin.com/x.jpg\nb,-1,eczema,1 Diagnostic,\nc,2,acne,3 Wrongly labelled,\n"
    table.write_text(FITZPATRICK_HEADER + lines, encoding="utf-8")
    report = read_annotated_images(path, tmp_path, FITZPATRICK17K, read_fitzpatrick17k(table))
    assert [(record.disease, record.skin_type, record.source) for record in report.records] == [
        ("scabies", 6, "fitzpatrick17k/dermaamin.com"),
        ("eczema", -1, "fitzpatrick17k"),
        ("", 2, "fitzpatrick17k"),
        ("", -1, "fitzpatrick17k"),
    ]
    assert {record.concepts for record in report.records} == {("Papule",)}
    assert report.remarks == [
        "images that fitzpatrick17k.csv does not list: 1",
        "diseases left empty that Fitzpatrick17k calls wrongly labelled: 1",
    ]


def test_a_wrong_fitzpatrick17k_table_is_an_error(tmp_path: Path) -> None:
    table = tmp_path / "fitzpatrick17k.csv"
    table.write_text(
        FITZPATRICK_HEADER + "a,7,acne,,\n,1,acne,,\nb,1,acne,,\nb,2,acne,,\nb,1,acne,,\n", encoding="utf-8"
    )
    with pytest.raises(DataError) as caught:
        read_fitzpatrick17k(table)
    message = str(caught.value)
    assert "3 errors" in message
    assert "row 2: `fitzpatrick_scale` is '7'; 1-6, or -1 for unknown, was expected" in message
    assert "row 3: `md5hash` is empty" in message
    assert "row 5: image 'b' is in row 4 too, with other labels" in message
    table.write_text("md5,fitzpatrick,label\na,1,acne\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no column `md5hash`, `fitzpatrick_scale`.*did you mean `fitzpatrick`"):
        read_fitzpatrick17k(table)


def test_the_published_fitzpatrick17k(shared_data: Path) -> None:
    labels = read_fitzpatrick17k(shared_data / "fitzpatrick17k.csv")
    assert len(labels) == 16577
    assert sum(label.skin_type == -1 for label in labels.values()) == 565
    assert sum(not label.disease for label in labels.values()) == 17
    first = labels["5e82a45bc5d78bd24ae9202d194423f8"]
    assert first == Label("drug induced pigmentary changes", 3, "dermaamin.com")
