"""Fitting the photo check, and its figures: a fitted one, a perfect, an inverted and a constant one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skingpt4.chat.conversation import Chat
from skingpt4.chat.photo_check import ADVICE, Judgement, PhotoCheck, load_photo_check, statistics_of
from skingpt4.config import embedded_settings
from skingpt4.errors import DataError, ImageError
from skingpt4.evaluation.photo_check.fit import (
    FALSE_ALARMS,
    fit_photo_check,
    measure_photo_check,
    negatives_in,
)
from skingpt4.evaluation.photo_check.pictures import SPOILERS, WITHOUT_SKIN, pictures_without_skin
from skingpt4.tiny.dataset import SetSize
from skingpt4.tiny.photo_check import drawn
from skingpt4.weights.build import load_model


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(*load_model())


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return drawn(SetSize(80, 0, False, 41))[0]


@pytest.fixture(scope="module")
def fitted(chat: Chat, photographs: list[Image.Image]) -> PhotoCheck:
    return fit_photo_check(chat, photographs[:50])


def scaled(check: PhotoCheck, factor: float) -> PhotoCheck:
    judgements = {kind: Judgement(each.weight * factor, each.bias * factor) for kind, each in check.judgements.items()}
    return replace(check, judgements=judgements)


def inverted_where_dark(check: PhotoCheck, sign: float) -> PhotoCheck:
    """A check that knows nothing but the median grey; sign -1: the darker the worse."""
    judgements = {kind: Judgement(np.zeros_like(each.weight), -100.0) for kind, each in check.judgements.items()}
    judgements["dark"] = Judgement(np.array([0, 20 * sign, 0], np.float32), -4.0 * sign)
    return replace(check, judgements=judgements)


@pytest.mark.slow
def test_a_fitted_check_tells_other_pictures_apart(
    chat: Chat, photographs: list[Image.Image], fitted: PhotoCheck
) -> None:
    figures = measure_photo_check(fitted, chat, photographs[50:])
    assert figures["auroc"].n == 30 * 5 and figures["false alarms"].n == 30
    for name in ("auroc", *(f"auroc {kind}" for kind in ADVICE)):
        figure = figures[name]
        assert figure.value is not None and figure.low is not None and figure.high is not None
        assert figure.value > 0.9 and figure.low <= figure.value <= figure.high
    assert figures["auroc given"].value is None and "no bad picture" in figures["auroc given"].note
    assert figures["false alarms"].value <= 0.1
    assert all(figures[f"noticed {kind}"].value > 0.7 for kind in ADVICE)


@pytest.mark.slow
def test_the_shipped_check_is_right_about_every_skin_type(chat: Chat) -> None:
    check = load_photo_check(embedded_settings())
    assert check is not None
    pictures, types = drawn(SetSize(240, 60, False, 42))
    features = chat.encode_many(pictures)
    alarmed = np.array([bool(check.look(*each).kinds) for each in zip(features, pictures, strict=True)])
    assert set(types) == {1, 2, 3, 4, 5, 6}
    for tone in range(1, 7):
        own = alarmed[np.array(types) == tone]
        assert len(own) >= 30 and own.mean() <= 0.1, tone
    assert alarmed.mean() <= 2 * FALSE_ALARMS


@pytest.mark.slow
def test_perfect_inverted_and_constant_checks_get_one_zero_and_a_half(
    chat: Chat, photographs: list[Image.Image], fitted: PhotoCheck
) -> None:
    good = photographs[50:]
    perfect = measure_photo_check(inverted_where_dark(fitted, -1), chat, good)
    assert perfect["auroc dark"].value == 1 and perfect["noticed dark"].value == 1
    assert perfect["false alarms"].value == 0 and perfect["false alarms"].high < 0.2
    assert measure_photo_check(inverted_where_dark(fitted, 1), chat, good)["auroc dark"].value == 0
    constant = measure_photo_check(scaled(fitted, 0), chat, good)
    assert [constant[name].value for name in ("auroc", "auroc dark", "auroc far")] == [0.5] * 3
    assert constant["noticed dark"].value == constant["false alarms"].value == 0


def test_given_negatives_are_fitted_to_and_measured_apart(
    chat: Chat, photographs: list[Image.Image], tmp_path: Path
) -> None:
    """Skin upside down in colour is nothing that the made pictures look like."""
    for number, picture in enumerate(photographs[:16]):
        Image.eval(picture, lambda value: 255 - value).save(tmp_path / f"{number:02d}.png")
    to_fit, to_measure = negatives_in(tmp_path)
    assert {kind: len(files) for kind, files in to_fit.items()} == {"no skin": 8}
    check = fit_photo_check(chat, photographs[:20], to_fit)
    figures = measure_photo_check(check, chat, photographs[60:70], to_measure, groups=["one", "two"] * 5)
    assert figures["auroc given"].n == 18 and figures["auroc given"].value > 0.9
    assert figures["auroc dark"].n == 20 and figures["auroc dark"].low is not None
    one_patient = measure_photo_check(check, chat, photographs[60:63], groups=["one"] * 3)
    assert one_patient["auroc dark"].low is None and "one patient" in one_patient["auroc dark"].note


def test_measuring_on_nothing_is_undefined_and_says_why(chat: Chat, fitted: PhotoCheck) -> None:
    figures = measure_photo_check(fitted, chat, [])
    assert figures["auroc no skin"].value is None and "no good picture" in figures["auroc no skin"].note
    assert figures["false alarms"].value is None and figures["false alarms"].n == 0
    assert figures["noticed no skin"].n == 20


def test_the_same_pictures_give_the_same_check(chat: Chat, photographs: list[Image.Image]) -> None:
    first, second = (fit_photo_check(chat, photographs[:20]) for _ in range(2))
    for kind in ADVICE:
        np.testing.assert_array_equal(first.judgements[kind].weight, second.judgements[kind].weight)
        assert first.judgements[kind].bias == second.judgements[kind].bias


def test_what_cannot_be_fitted_is_told(chat: Chat, photographs: list[Image.Image], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 good photographs are too few.*at least 20"):
        fit_photo_check(chat, photographs[:3])
    with pytest.raises(DataError, match=r"Unknown kinds of bad pictures: ugly; known are no skin, dark"):
        fit_photo_check(chat, photographs[:20], {"ugly": photographs[:1]})
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"note\.png"):
        fit_photo_check(chat, [*photographs[:20], tmp_path / "note.png"])


def test_negatives_are_sorted_by_folder_and_halved_by_content(tmp_path: Path) -> None:
    for number in range(4):
        for place, folder in enumerate(("blurred", "No_Skin/cats", "various")):
            file = tmp_path / folder / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number, place, 7)).save(file)
    (tmp_path / "blurred" / "copy.png").write_bytes((tmp_path / "blurred" / "0.png").read_bytes())
    (tmp_path / "readme.txt").write_text("no picture")
    fit, measure = negatives_in(tmp_path)
    assert {kind: len(files) for kind, files in fit.items()} == {"no skin": 4, "blurred": 2}
    assert {kind: len(files) for kind, files in measure.items()} == {"no skin": 4, "blurred": 2}
    assert not {*fit["no skin"], *fit["blurred"]} & {*measure["no skin"], *measure["blurred"]}
    assert negatives_in(tmp_path) == (fit, measure)
    with pytest.raises(DataError, match=r"nowhere is no folder; --negatives expects"):
        negatives_in(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no pictures"):
        negatives_in(tmp_path / "empty")


def test_spoiled_copies_are_what_they_are_called(photographs: list[Image.Image]) -> None:
    for number, picture in enumerate(photographs[:12]):
        before = statistics_of(picture)
        spoiled = {kind: spoil(picture, np.random.default_rng(number)) for kind, spoil in SPOILERS.items()}
        after = {kind: statistics_of(copy) for kind, copy in spoiled.items()}
        assert after["dark"]["brightest"] < 0.2 < before["brightest"]  # also of the darkest skin
        assert after["blurred"]["edges"] < before["edges"]
        assert abs(after["blurred"]["middle"] - before["middle"]) < 0.05
        assert {copy.mode for copy in spoiled.values()} == {"RGB"} and spoiled["dark"].size == picture.size


def test_pictures_without_skin_are_of_all_kinds_and_follow_the_seed() -> None:
    count = 2 * len(WITHOUT_SKIN)
    first, again, other = ([picture.tobytes() for picture in pictures_without_skin(count, seed)] for seed in (0, 0, 1))
    assert first == again
    assert len({*first, *other}) == 2 * count
