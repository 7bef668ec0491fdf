from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skingpt4.data.sources.archives import read_scin
from skingpt4.data.sources.scin import _joined_groups, parse_weights
from skingpt4.errors import DataError

CASE = {
    "case_id": "", "source": "SCIN", "release": "1.0.0", "year": "2023", "age_group": "AGE_UNKNOWN",
    "sex_at_birth": "OTHER_OR_UNSPECIFIED", "fitzpatrick_skin_type": "", "body_parts_head_or_neck": "",
    "body_parts_arm": "", "image_1_path": "", "image_2_path": "", "image_3_path": "",
}  # fmt: skip
LABEL = {
    "case_id": "", "dermatologist_skin_condition_on_label_name": "[]", "weighted_skin_condition_label": "{}",
    "dermatologist_fitzpatrick_skin_type_label_1": "", "dermatologist_fitzpatrick_skin_type_label_2": "",
    "dermatologist_fitzpatrick_skin_type_label_3": "",
}  # fmt: skip


def case(number: int, *images: str, **more: str) -> dict[str, str]:
    paths = {f"image_{index}_path": f"dataset/images/{name}" for index, name in enumerate(images, start=1)}
    return CASE | {"case_id": str(number)} | paths | more


def label(number: int, weights: str, *skin_types: str) -> dict[str, str]:
    types = {
        f"dermatologist_fitzpatrick_skin_type_label_{index}": text for index, text in enumerate(skin_types, start=1)
    }
    return LABEL | {"case_id": str(number), "weighted_skin_condition_label": weights} | types


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def both(cases: list[dict[str, str]], labels: list[dict[str, str]]) -> tuple[Path, Path]:
        for name, rows in (("scin_cases.csv", cases), ("scin_labels.csv", labels)):
            with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        return tmp_path / "scin_cases.csv", tmp_path / "scin_labels.csv"

    return both


@pytest.mark.parametrize("folder", ["dataset/images", "."])
def test_cases_become_records(tmp_path: Path, draw_picture: Callable[..., Path], write: Any, folder: str) -> None:
    for name in ("-1.png", "2.png", "3.png", "5.png"):
        draw_picture(tmp_path / folder / name)
    cases = [
        case(-1000600354148496558, "-1.png", "2.png", age_group="AGE_40_TO_49", sex_at_birth="FEMALE",
             fitzpatrick_skin_type="FST2", body_parts_head_or_neck="YES", body_parts_arm="YES"),
        case(20, "3.png", age_group="AGE_80_OR_ABOVE", fitzpatrick_skin_type="NONE_IDENTIFIED"),
        case(30, "4.png", "5.png"),
        case(40, "5.png"),
    ]  # fmt: skip
    labels = [
        label(-1000600354148496558, "{'Eczema': 0.6, 'Impetigo': 0.4}", "FST4", "FST5"),
        label(20, "{'Tinea': 0.5, 'CD - Contact dermatitis': 0.5}"),
        label(30, "{}"),
    ]
    report = read_scin(*write(cases, labels), tmp_path)
    first, second, third = report.records
    assert (first.disease, second.disease, third.disease) == ("eczema", "eczema", "tinea")
    assert first.answers == ("This could be a skin disease image of eczema.",)
    assert first.image == tmp_path / folder / "-1.png"
    assert (first.group, second.group, third.group) == ("-1000600354148496558", "-1000600354148496558", "20")
    assert (first.age, first.sex, first.site, first.skin_type) == (40, "female", "head or neck, arm", 4)
    assert (third.age, third.sex, third.skin_type, third.licence) == (80, "", -1, "SCIN Data Use License")
    assert (report.rows, report.without_answer, report.missing_images) == (6, 3, [])
    assert report.remarks == [
        "cases: 4, without a label: 2",
        "cases with several heaviest labels, which have the first one: 1",
    ]


def test_cases_that_share_an_image_are_one_group(tmp_path: Path, draw_picture: Callable[..., Path], write: Any) -> None:
    for number in range(1, 6):
        draw_picture(tmp_path / f"{number}.png")
    cases = [case(10, "1.png", "2.png"), case(20, "2.png", "3.png"), case(30, "3.png", "4.png"), case(40, "5.png")]
    labels = [
        label(10, "{'Acne': 1.0}"),
        label(20, "{'Acne': 1}"),
        label(30, "{'Scabies': 1.0}"),
        label(40, "{'Acne': 1}"),
    ]
    report = read_scin(*write(cases, labels), tmp_path)
    assert [(record.image.name, record.group) for record in report.records] == [  # type: ignore[union-attr]
        ("1.png", "10"),
        ("2.png", "10"),
        ("4.png", "10"),
        ("5.png", "40"),
    ]
    assert (report.rows, report.without_answer) == (5, 1)
    assert "images left out because cases with other labels share them: 1" in report.remarks


def test_wrong_rows_of_both_files_are_reported_together(tmp_path: Path, draw_picture: Any, write: Any) -> None:
    draw_picture(tmp_path / "1.png")
    cases = [case(10, "1.png", age_group="AGE_OLD"), case(20, "../../../1.png")]
    labels = [
        label(10, "{'Acne': 1.0}"),
        label(20, "{'Acne': 1.0}"),
        label(20, "{}"),
        label(30, "Acne"),
        label(40, "{}", "FST9"),
    ]
    with pytest.raises(DataError) as caught:
        read_scin(*write(cases, labels), tmp_path)
    message = str(caught.value)
    assert "scin_labels.csv: 3 errors" in message
    assert "row 4: case 20 is in row 3 too; keep one" in message
    assert "row 5: `weighted_skin_condition_label` is 'Acne'; {'Eczema': 0.6, 'Impetigo': 0.4} was expected" in message
    assert "row 6: the skin type is 'FST9'" in message
    assert "scin_cases.csv: 2 errors" in message
    assert "row 2: the age is 'AGE_OLD'" in message
    assert "row 3: image 'dataset/images/../../../1.png' leads out" in message


@pytest.mark.parametrize(
    "text",
    ["Acne", "['Acne']", "{1: 0.5}", "{'Acne': '1'}", "{'Acne': -1}", "{'': 1}", "{'a': True}", "open('x')", "{"],
)
def test_what_is_no_weighted_label(text: str) -> None:
    with pytest.raises(ValueError, match="weighted_skin_condition_label"):
        parse_weights(text)


@given(st.dictionaries(st.text(min_size=1).filter(str.strip).map(str.strip), st.floats(0, 1)))
def test_weights_are_read_as_python_writes_them(weights: dict[str, float]) -> None:
    assert parse_weights(repr(weights)) == weights


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), max_size=8))
def test_connected_groups_have_one_name(together: list[list[str]]) -> None:
    group_of = _joined_groups(together)
    assert set(group_of) == {group for groups in together for group in groups}
    for groups in together:
        assert len({group_of[group] for group in groups}) == 1
    for group, name in group_of.items():  # joined only if a chain of lists connects them
        reached, grown = {group}, True
        while grown:
            near = {other for groups in together if reached & set(groups) for other in groups}
            grown, reached = not near <= reached, reached | near
        assert name in reached
