from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from skingpt4.data.loading import load_records
from skingpt4.data.records import Record
from skingpt4.data.sources.skincon import FLAG_COLUMN, IMAGE_COLUMN
from skingpt4.errors import DataError, SettingsError
from skingpt4.settings import DataSettings, SourceSettings
from skingpt4.vocabulary import CONCEPTS, DIAGNOSIS_PROMPTS


@pytest.fixture
def dermnet(tmp_path: Path, draw_picture: Callable[..., Path]) -> str:
    """20 different images of two diseases."""
    root = tmp_path / "dermnet"
    for red, disease in enumerate(("Eczema", "Scabies")):
        for index in range(10):
            draw_picture(root / disease / f"{index}.png", f"rgb({red}, {index}, 0)")
    return str(root)


@pytest.fixture
def half_a_table(tmp_path: Path, draw_picture: Callable[..., Path]) -> str:
    """Two rows, of which the second's image is absent."""
    draw_picture(tmp_path / "here.png")
    lines = [{"image": name, "disease": "eczema", "concepts": ["Papule"]} for name in ("here.png", "gone.png")]
    path = tmp_path / "half.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def names(records: Sequence[Record]) -> list[str]:
    return [f"{record.image.parent.name}/{record.image.name}" for record in records]


def test_sources_are_joined_in_order(dermnet: str, half_a_table: str) -> None:
    sources = [SourceSettings("folder", dermnet), SourceSettings("table", half_a_table, task="concepts")]
    loaded = load_records(DataSettings(train=sources, on_bad_image="skip"), "", seed=1)
    assert len(loaded.train) == 21
    assert loaded.train[0].questions == DIAGNOSIS_PROMPTS
    assert loaded.train[-1].concepts == ("Papule",)
    assert len(loaded.validation) == 0
    assert [report.summary() for report in loaded.reports] == [
        "folder dermnet: 20 rows, 20 kept",
        "table half.jsonl: 2 rows, 1 without their image (gone.png), 1 kept",
    ]


def test_limits_are_drawn_by_the_seed(dermnet: str) -> None:
    def drawn(limit: int, seed: int) -> list[str]:
        data = DataSettings(train=[SourceSettings("folder", dermnet, limit=limit)])
        return names(load_records(data, "", seed).train)

    assert drawn(8, seed=1) == drawn(8, seed=1) == sorted(drawn(8, seed=1))
    assert len(set(drawn(8, seed=1))) == 8
    assert drawn(8, seed=1) != drawn(8, seed=2)
    assert set(drawn(5, seed=1)) < set(drawn(8, seed=1))
    assert len(drawn(100, seed=1)) == 20


def test_a_limit_is_reported(dermnet: str) -> None:
    data = DataSettings(train=[SourceSettings("folder", dermnet, limit=8)])
    assert load_records(data, "", 1).reports[0].summary() == "folder dermnet: 20 rows, 12 over the limit, 8 kept"


def test_the_validation_part_is_held_out_by_the_seed(dermnet: str) -> None:
    def split(seed: int) -> tuple[list[str], list[str]]:
        loaded = load_records(
            DataSettings(train=[SourceSettings("folder", dermnet)], validation_fraction=0.25), "", seed
        )
        return names(loaded.train), names(loaded.validation)

    train, validation = split(1)
    assert (len(train), len(validation)) == (15, 5)
    assert not set(train) & set(validation)
    assert split(1) == (train, validation)
    assert split(2)[1] != validation


def test_all_records_of_an_image_fall_on_one_side(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    lines = []
    for index in range(10):
        draw_picture(tmp_path / f"{index}.png", f"rgb(0, {index}, 0)")
        lines += [json.dumps({"image": f"{index}.png", "disease": "eczema", "notes": note}) for note in "abc"]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = DataSettings(train=[SourceSettings("table", str(tmp_path / "t.jsonl"))], validation_fraction=0.3)
    loaded = load_records(data, "", seed=5)
    assert (len(loaded.train), len(loaded.validation)) == (21, 9)
    assert not set(names(loaded.train)) & set(names(loaded.validation))


def test_validation_sources_of_their_own(dermnet: str, half_a_table: str) -> None:
    data = DataSettings(train=[SourceSettings("folder", dermnet)], validation=[SourceSettings("table", half_a_table)])
    with pytest.raises(DataError, match=r"1 of 2 images are missing in .*: gone\.png\."):
        load_records(data, "", 1)
    data.on_bad_image = "skip"
    loaded = load_records(data, "", 1)
    assert (len(loaded.train), len(loaded.validation), len(loaded.reports)) == (20, 1, 2)


def test_a_prompt_file_replaces_the_questions(dermnet: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("<Img><ImageHere></Img> What is it?\n<Img><ImageHere></Img> Is it bad?\n", encoding="utf-8")
    data = DataSettings(train=[SourceSettings("folder", dermnet)], validation_fraction=0.1)
    loaded = load_records(data, str(path), 1)
    assert {record.questions for record in (*loaded.train, *loaded.validation)} == {("What is it?", "Is it bad?")}
    with pytest.raises(SettingsError, match=r"prompt_path .* does not exist"):
        load_records(data, str(tmp_path / "none.txt"), 1)


def test_missing_images_are_an_error_that_names_them_and_the_way_out(half_a_table: str) -> None:
    data = DataSettings(train=[SourceSettings("table", half_a_table)])
    with pytest.raises(DataError, match=r"half\.jsonl: 1 of 2 images .*: gone\.png\. .*data\.on_bad_image=skip"):
        load_records(data, "", 1)


def test_missing_images_of_skincon_are_reported_and_training_goes_on(
    tmp_path: Path, draw_picture: Callable[..., Path]
) -> None:
    draw_picture(tmp_path / "here.png")
    header = ",".join(["", IMAGE_COLUMN, *CONCEPTS, FLAG_COLUMN])
    rows = [f"{index},{name}.png,{'1,' * len(CONCEPTS)}0" for index, name in enumerate(("here", "gone"))]
    (tmp_path / "annotations.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    loaded = load_records(DataSettings(train=[SourceSettings("skincon", str(tmp_path / "annotations.csv"))]), "", 1)
    assert [record.concepts for record in loaded.train] == [CONCEPTS]
    assert loaded.reports[0].missing_images == ["gone.png"]


def test_empty_sets_are_errors(tmp_path: Path, dermnet: str, draw_picture: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"data\.train lists no source"):
        load_records(DataSettings(), "", 1)
    (tmp_path / "empty.csv").write_text("image,disease\na.png,\n", encoding="utf-8")
    empty = SourceSettings("table", str(tmp_path / "empty.csv"))
    with pytest.raises(
        DataError, match=r"(?s)The training set is empty.*empty\.csv: 1 rows, 1 without an answer, 0 kept"
    ):
        load_records(DataSettings(train=[empty]), "", 1)
    with pytest.raises(DataError, match="The validation set is empty"):
        load_records(DataSettings(train=[SourceSettings("folder", dermnet)], validation=[empty]), "", 1)
    one = SourceSettings("folder", dermnet, limit=1)
    with pytest.raises(DataError, match=r"0\.1 of 1 different images cannot be held out.*data\.validation_fraction=0"):
        load_records(DataSettings(train=[one], validation_fraction=0.1), "", 1)


def test_a_negative_limit_and_an_unknown_source_are_errors(dermnet: str) -> None:
    with pytest.raises(DataError, match=r"has limit -1; 0 \(all\) or more was expected"):
        load_records(DataSettings(train=[SourceSettings("folder", dermnet, limit=-1)]), "", 1)
    with pytest.raises(DataError, match="is 'dermnet'; it must be skincon, folder, table, minigpt4 or manifest"):
        load_records(DataSettings(train=[SourceSettings("dermnet", dermnet)]), "", 1)


def test_a_limit_and_the_validation_part_are_drawn_as_they_were(dermnet: str) -> None:
    """Written out, so that a change of the draw is noticed: runs are repeated by their seed."""
    data = DataSettings(train=[SourceSettings("folder", dermnet, limit=10)], validation_fraction=0.3)
    loaded = load_records(data, "", 3)
    eczema, scabies = ([f"{name}/{number}.png" for number in range(10)] for name in ("Eczema", "Scabies"))
    assert names(loaded.train) == [*(eczema[n] for n in (0, 2, 3, 5)), *(scabies[n] for n in (2, 5, 6))]
    assert names(loaded.validation) == [eczema[n] for n in (1, 6, 8)]


def test_what_belongs_together_is_held_out_together(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    """12 files: pairs of one content, which lie in two folders."""
    for disease in ("Eczema", "Scabies"):
        for number in range(6):
            draw_picture(tmp_path / disease / f"{disease}{number}.png", f"rgb(0, {number}, 0)")
    data = DataSettings(train=[SourceSettings("folder", str(tmp_path))], validation_fraction=0.5)
    for seed in range(5):
        loaded = load_records(data, "", seed)
        assert (len(loaded.train), len(loaded.validation)) == (6, 6)
        colours = [{record.image.read_bytes() for record in part} for part in (loaded.train, loaded.validation)]
        assert not colours[0] & colours[1]


def test_a_validation_set_that_leaks_is_refused_unless_allowed(
    dermnet: str, tmp_path: Path, draw_picture: Callable[..., Path]
) -> None:
    draw_picture(tmp_path / "v" / "Eczema" / "new.png", "rgb(9, 9, 9)")
    draw_picture(tmp_path / "v" / "Eczema" / "copy.png", "rgb(1, 4, 0)")  # as Scabies/4.png
    data = DataSettings(
        train=[SourceSettings("folder", dermnet)], validation=[SourceSettings("folder", str(tmp_path / "v"))]
    )
    with pytest.raises(DataError, match=r"(?s)1 of 2 validation images.*copy\.png.*Scabies.4\.png.*allow_leaks=true"):
        load_records(data, "", 1)
    data.allow_leaks = True
    assert len(load_records(data, "", 1).validation) == 2
