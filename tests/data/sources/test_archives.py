"""Small trees in the shape of the published archives."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.data.sources.archives import read_isic, read_pad_ufes
from skingpt4.errors import DataError

# The header of an export of 2024 and rows in its form.
ISIC_HEADER = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,benign_malignant,diagnosis_1,diagnosis_2,"
    "diagnosis_3,diagnosis_4,fitzpatrick_skin_type,image_type,lesion_id,patient_id,sex"
)
PAD_HEADER = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,"
    "changed,bleed,elevation,img_id,biopsed"
)
PAD_ROWS = (
    "PAT_46,881,False,False,POMERANIA,POMERANIA,55,False,FEMALE,True,True,True,True,3.0,NECK,6.0,5.0,BCC,True,True,False,"
    "True,True,True,PAT_46_881_14.png,True",
    "PAT_1516,1765,,,,,8,,,,,,,,ARM,,,NEV,False,False,False,False,False,False,PAT_1516_1765_530.png,False",
    "PAT_46,882,,,,,55,,FEMALE,,,,,3.0,FACE,,,ACK,False,UNK,False,UNK,False,False,PAT_46_882_1.png,False",
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_shared_isic_photographs(shared_data: Path) -> None:
    report = read_isic(shared_data / "isic" / "metadata.csv", shared_data / "isic" / "images")
    with (shared_data / "isic" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["image"]: line for line in csv.DictReader(file)}
    assert (report.rows, len(report.records), report.missing_images, report.remarks) == (120, 120, [], [])
    classes = Counter((record.disease, record.disease_class) for record in report.records)
    assert classes == {
        ("melanoma", "Melanoma Skin Cancer, Nevi, Moles"): 60,
        ("nevus", "Melanoma Skin Cancer, Nevi, Moles"): 60,
    }
    assert {record.answers[0] for record in report.records} == {
        "This could be a skin disease image of melanoma. The lesion is malignant.",
        "This could be a skin disease image of nevus. The lesion is benign.",
    }
    for record in report.records:
        line = lines[record.image.name]  # type: ignore[union-attr]
        assert (record.age, record.sex) == (int(line["age_approx"] or -1), line["sex"])


def test_an_export_of_the_isic_archive(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "images" / "ISIC_0000001.jpg")
    draw_picture(tmp_path / "images" / "more" / "ISIC_0000002.PNG")
    draw_picture(tmp_path / "images" / "ISIC_0000004.jpg")
    metadata = write(
        tmp_path / "metadata.csv",
        ISIC_HEADER,
        'ISIC_0000001,"A,B",CC-BY,85+,head/neck,malignant,Malignant,x,Melanoma in situ,,II,dermoscopic,IL_1,IP_1,male',
        'ISIC_0000002,C,CC-0,,,,Benign,x,"Squamous cell carcinoma, NOS",,,clinical,IL_1,,female',
        "ISIC_0000003,C,CC-0,,,,Benign,x,Nevus,,,clinical,IL_3,,",
        "ISIC_0000004,C,CC-BY,40,,,Benign,Benign melanocytic proliferations,,,,clinical,IL_4,,",
    )
    report = read_isic(metadata, tmp_path / "images")
    first, second = report.records
    assert first.answers == ("This could be a skin disease image of melanoma in situ. The lesion is malignant.",)
    assert first.disease_class == "Melanoma Skin Cancer, Nevi, Moles"
    assert (first.group, first.age, first.sex, first.site, first.skin_type) == ("IP_1", 85, "male", "head/neck", 2)
    assert first.licence == "CC-BY"
    assert second.image == tmp_path / "images" / "more" / "ISIC_0000002.PNG"
    assert (second.disease, second.disease_class) == ("squamous cell carcinoma", "Malignant Lesions")
    assert second.answers[0].endswith("The lesion is benign.")
    assert (second.group, second.licence) == ("IP_1", "CC-0")  # its lesion is that patient's
    assert (report.rows, report.without_answer, report.missing_images) == (4, 1, ["ISIC_0000003"])


def test_an_older_export_has_the_diagnosis_in_words(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for number in range(3):
        draw_picture(tmp_path / f"ISIC_{number}.jpg")
    metadata = write(
        tmp_path / "m.csv",
        "isic_id,diagnosis,benign_malignant",
        "ISIC_0,lentigo NOS,benign",
        "ISIC_1,other,",
        "ISIC_2,,",
    )
    report = read_isic(metadata, tmp_path)
    assert [(record.disease, record.disease_class, record.licence) for record in report.records] == [
        ("lentigo", "", "")
    ]
    assert report.without_answer == 2


def test_wrong_isic_metadata_is_an_error(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "images" / "a" / "ISIC_1.jpg")
    draw_picture(tmp_path / "images" / "b" / "ISIC_1.png")
    draw_picture(tmp_path / "images" / "ISIC_2.png")

    def error_of(*lines: str) -> str:
        with pytest.raises(DataError) as caught:
            read_isic(write(tmp_path / "m.csv", *lines), tmp_path / "images")
        return str(caught.value)

    assert "no column `diagnosis`, which ISIC's metadata needs" in error_of("isic_id,dx", "ISIC_1,nevus")
    message = error_of(
        "isic_id,diagnosis,lesion_id,patient_id,sex",
        "ISIC_1,nevus,,,",
        "../ISIC_2,nevus,,,",
        "ISIC_2,nevus,IL_1,IP_1,q",
        "ISIC_9,nevus,IL_1,IP_2,",
    )
    assert "4 errors" in message
    assert "row 2: image 'ISIC_1' is in the folder 2 times (a/ISIC_1.jpg, b/ISIC_1.png); keep one" in message
    assert "row 3: image '../ISIC_2' leads out" in message
    assert "row 4: the sex is 'q'" in message
    assert "row 5: lesion 'IL_1' is of patient 'IP_2', in another row of 'IP_1'" in message


@pytest.mark.parametrize("parts", [("imgs_part_1", "imgs_part_2", "imgs_part_3"), ("", "", "")])
def test_pad_ufes_20(tmp_path: Path, draw_picture: Callable[..., Path], parts: tuple[str, ...]) -> None:
    names = ("PAT_46_881_14.png", "PAT_1516_1765_530.png", "PAT_46_882_1.png")
    for part, name in zip(parts, names, strict=True):
        draw_picture(tmp_path / "images" / part / name)
    report = read_pad_ufes(write(tmp_path / "metadata.csv", PAD_HEADER, *PAD_ROWS), tmp_path / "images")
    assert [(record.image, record.group) for record in report.records] == [
        (tmp_path / "images" / part / name, group)
        for part, name, group in zip(parts, names, ("PAT_46", "PAT_1516", "PAT_46"), strict=True)
    ]
    first, second, third = report.records
    assert first.answers == ("This could be a skin disease image of basal cell carcinoma.",)
    assert (first.age, first.sex, first.site, first.skin_type) == (55, "female", "neck", 3)
    assert (second.age, second.sex, second.site, second.skin_type) == (8, "", "arm", -1)
    assert [record.disease_class for record in report.records] == [
        "Malignant Lesions",
        "Melanoma Skin Cancer, Nevi, Moles",
        "Malignant Lesions",
    ]
    assert third.disease == "actinic keratosis"
    assert {record.licence for record in report.records} == {"CC BY 4.0"}


def test_pad_ufes_20s_codes_are_spelled_out(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    codes = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK", "BOD")
    rows = []
    for code in codes:
        draw_picture(tmp_path / f"{code}.png")
        rows.append(f"P,{code},{code}.png")
    metadata = write(tmp_path / "m.csv", "patient_id,diagnostic,img_id", *rows[:-1])
    found = {record.disease: record.disease_class for record in read_pad_ufes(metadata, tmp_path).records}
    assert found == {
        "actinic keratosis": "Malignant Lesions",
        "basal cell carcinoma": "Malignant Lesions",
        "melanoma": "Melanoma Skin Cancer, Nevi, Moles",
        "nevus": "Melanoma Skin Cancer, Nevi, Moles",
        "squamous cell carcinoma": "Malignant Lesions",
        "seborrheic keratosis": "Benign Tumors",
    }
    write(metadata, "patient_id,diagnostic,img_id", *rows, "P,MEL,ACK.png")
    with pytest.raises(DataError) as caught:
        read_pad_ufes(metadata, tmp_path)
    assert "row 8: `diagnostic` is 'BOD'; one of ACK, BCC, MEL, NEV, SCC, SEK was expected" in str(caught.value)
    assert "row 9: image 'ACK.png' is in row 2 too, with other labels: disease 'actinic" in str(caught.value)
