"""Every kind of file in a real browser: the bad ones are told in plain words, the good ones are shown upright."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from patient import Patient, drawing, saved
from PIL import Image
from playwright.sync_api import expect
from test_images_dicom import COLOURS, dicom, stored
from upload_files import BAD, encoded, grainy

from skingpt4.demo.page import words

pytestmark = pytest.mark.slow


def test_each_bad_file_is_told_and_the_next_one_is_taken(patient: Patient, tmp_path: Path) -> None:
    patient.accept()
    for number, (data, message) in enumerate(BAD.values()):
        (tmp_path / f"photo_{number}.png").write_bytes(data)
        patient.add(tmp_path / f"photo_{number}.png")
        expect(patient.at("photo_status")).to_contain_text(message)
        expect(patient.at("upload")).to_be_visible()
        expect(patient.at("photograph")).to_be_hidden()
        patient.add(saved(drawing(), tmp_path / "good.png"))
        expect(patient.at("photo_status")).to_have_text(words.READY)
        patient.restart()


def test_the_name_of_a_file_is_no_reason_to_refuse_it_and_each_refusal_is_its_own(
    patient: Patient, tmp_path: Path
) -> None:
    patient.accept()
    (tmp_path / "empty.png").write_bytes(b"")
    patient.add(tmp_path / "empty.png")
    expect(patient.at("photo_status")).to_contain_text(BAD["nothing"][1])
    torn, message = BAD["a torn PNG"]
    (tmp_path / "letter.docx").write_bytes(torn)
    patient.add(tmp_path / "letter.docx")
    expect(patient.at("photo_status")).to_contain_text(message)
    expect(patient.page.get_by_text("Invalid file type")).to_have_count(0)
    saved(drawing(), tmp_path / "good.png").rename(tmp_path / "good")
    patient.add(tmp_path / "good")
    expect(patient.at("photo_status")).to_have_text(words.READY)


def test_a_turned_photograph_is_shown_and_answered_upright(patients: Callable[..., Patient], tmp_path: Path) -> None:
    upright = drawing().crop((0, 0, 448, 300))
    lying, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    said = []
    for name, image, tags in (("upright.png", upright, Image.Exif()), ("lying.png", lying, exif)):
        patient = patients()
        patient.begin(saved(image, tmp_path / name, exif=tags))
        assert patient.shown("photograph") == [448, 300]
        said.append(patient.describe())
    assert said[0] == said[1]


def test_photographs_of_phones_and_hospitals_are_taken(patient: Patient, tmp_path: Path) -> None:
    patient.accept()
    files = {
        "IMG_1.HEIC": encoded(grainy((320, 240)), "HEIF"),
        "1.2.3.dcm": stored(dicom(COLOURS, "RGB")),
        "IM000001": stored(dicom(COLOURS, "RGB")),  # as archives of hospitals name them
        "IMG_2.jpg": encoded(grainy((8064, 6048)), "JPEG", quality=85),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        patient.add(tmp_path / name)
        expect(patient.at("photo_status")).to_have_text(words.READY)
        assert all(patient.shown("photograph"))
        patient.restart()
