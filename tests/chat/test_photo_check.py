"""Whether a photograph is good enough: what the shipped check says, what a user reads, which file is taken."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import GO_ON
from skingpt4.chat.photo_check import (
    ADVICE,
    EVIDENCE,
    FILE_NAME,
    STATISTICS,
    Judgement,
    PhotoCheck,
    PhotoVerdict,
    evidence_for,
    load_photo_check,
    statistics_of,
)
from skingpt4.commands import terminal
from skingpt4.config import embedded_settings
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import WeightsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.tiny.renderer import disease_description, render
from skingpt4.weights.build import load_model

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "isic" / "images"
SHORT = Sampling(max_new_tokens=4)
NOTHING_IS_WRONG = -1.0

Judge = Callable[[Image.Image], PhotoVerdict]


@pytest.fixture(scope="module")
def embedded() -> tuple[Chat, PhotoCheck]:
    check = load_photo_check(embedded_settings())
    assert check is not None
    return Chat(*load_model()), check


@pytest.fixture(scope="module")
def judge(embedded: tuple[Chat, PhotoCheck]) -> Judge:
    chat, check = embedded
    return lambda picture: check.look(chat.encode(picture), picture)


def drawing(disease: str = "psoriasis", tone: int | None = None, seed: int = 0) -> Image.Image:
    from dataclasses import replace

    rng = np.random.default_rng([8, seed])
    description = disease_description(disease, rng)
    return Image.fromarray(render(replace(description, skin_tone=tone or description.skin_tone), rng).image)


def small_in(picture: Image.Image, side: int) -> Image.Image:
    around = Image.new("RGB", picture.size, picture.getpixel((2, 2)))
    around.paste(picture.resize((side, side)), (20, 40))
    return around


def hand_made(width: int, encoder: dict[str, int] | None = None) -> PhotoCheck:
    """Says "dark" where the median grey is below 0.2, and nothing else."""
    judgements = {
        kind: Judgement(np.zeros(width if EVIDENCE[kind] == ("features",) else 3, np.float32), NOTHING_IS_WRONG)
        for kind in ADVICE
    }
    judgements["dark"] = Judgement(np.array([0, -10, 0], np.float32), 2.0)
    return PhotoCheck(judgements, encoder or {"image_size": 56, "queries": 8, "width": width})


@pytest.mark.parametrize("disease", ["psoriasis", "acne vulgaris", "melanoma", "urticaria", "herpes zoster"])
def test_a_good_photograph_is_taken_without_a_word(judge: Judge, disease: str) -> None:
    verdict = judge(drawing(disease))
    assert verdict.reasons == () and verdict.score < 0.5


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("dark", lambda picture: picture.point(lambda value: value // 9)),
        ("blurred", lambda picture: picture.filter(ImageFilter.GaussianBlur(4))),
        ("far", lambda picture: small_in(picture, 16)),
        ("no skin", lambda picture: Image.new("RGB", (300, 200), (40, 90, 200))),
        ("no skin", lambda picture: Image.effect_noise((200, 200), 80).convert("RGB")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_do(
    judge: Judge, kind: str, spoil: Callable[[Image.Image], Image.Image]
) -> None:
    verdict = judge(spoil(drawing("psoriasis", tone=3)))
    assert ADVICE[kind] in verdict.reasons
    assert verdict.score > 0.5


def test_the_darkest_skin_in_good_light_is_not_called_dark(judge: Judge) -> None:
    verdicts = [
        judge(drawing(disease, tone=6, seed=seed)) for disease in ("psoriasis", "acne vulgaris") for seed in range(8)
    ]
    assert [verdict.kinds for verdict in verdicts] == [()] * 16


def test_size_and_shape_of_the_file_do_not_matter(judge: Judge) -> None:
    large = drawing().resize((1200, 1200), Image.Resampling.BICUBIC)
    assert judge(large).kinds == judge(drawing()).kinds == ()
    assert 0 <= judge(Image.new("RGB", (1, 1))).score <= 1
    assert 0 <= judge(Image.new("RGB", (4000, 1), "white")).score <= 1


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no real photographs here")
def test_most_real_photographs_are_taken_for_skin_though_the_embedded_model_knows_drawings_only(judge: Judge) -> None:
    pictures = [Image.open(file).convert("RGB") for file in sorted(PHOTOGRAPHS.glob("*.jpg"))]
    kinds = [judge(picture).kinds for picture in pictures]
    assert len(kinds) == 120
    said = {kind: sum(kind in found for found in kinds) / len(kinds) for kind in ADVICE}
    assert said["no skin"] <= 0.2 and said["far"] <= 0.15 and said["dark"] == 0
    assert said["blurred"] <= 0.6  # most of them are enlarged thumbnails: see data.quality.check.MIN_SHARPNESS


def test_statistics_of_pictures_worked_out_by_hand() -> None:
    even = statistics_of(Image.new("RGB", (50, 40), (51, 51, 51)))
    assert list(even) == list(STATISTICS)
    assert even["darkest"] == even["middle"] == even["brightest"] == pytest.approx(0.2)
    assert even["contrast"] == pytest.approx(math.log(0.5)) and even["edges"] == pytest.approx(math.log(0.3))
    assert even["sharpness"] == pytest.approx(math.log(0.02))
    halves = Image.new("L", (100, 100), 0)
    halves.paste(255, (50, 0, 100, 100))
    split = statistics_of(halves.convert("RGB"))
    assert (split["darkest"], split["brightest"]) == (0, 1)
    assert split["contrast"] == pytest.approx(math.log(127.5 + 0.5))
    # the gradient is 127.5 in the two columns at the edge, of 100
    assert split["edges"] == pytest.approx(math.log(2.55 + 0.3))
    ramp = Image.fromarray(np.tile(np.arange(0, 200, 2, np.uint8), (100, 1)))
    assert statistics_of(ramp.convert("RGB"))["edges"] == pytest.approx(math.log(2 + 0.3))


@given(st.lists(st.floats(-50, 50), min_size=4, max_size=4))
def test_there_is_a_reason_exactly_where_the_score_is_above_a_half(margins: list[float]) -> None:
    judgements = {
        kind: Judgement(np.zeros(3 if len(EVIDENCE[kind]) == 3 else 2, np.float32), margin)
        for kind, margin in zip(ADVICE, margins, strict=True)
    }
    evidence = {"features": np.zeros(2), **dict.fromkeys(STATISTICS, 0.0)}
    verdict = PhotoCheck(judgements, {}).judge(evidence)
    assert 0 <= verdict.score <= 1
    assert bool(verdict.reasons) == any(margin > 0 for margin in margins)
    if max(margins) > 1e-9 or max(margins) < 0:
        assert (verdict.score > 0.5) == bool(verdict.reasons)
    assert not {"no skin", "far"} <= set(verdict.kinds) and not {"dark", "blurred"} <= set(verdict.kinds)


def test_a_judgement_is_the_linear_function_that_the_file_says() -> None:
    evidence = {"features": np.array([1.0, 2.0]), **dict.fromkeys(STATISTICS, 0.0), "middle": 0.1}
    check = hand_made(2)
    assert evidence_for("dark", evidence).tolist() == [0, 0.1, 0]
    assert check.judge(evidence) == PhotoVerdict(pytest.approx(1 / (1 + math.exp(-1))), ("dark",))
    bright = check.judge({**evidence, "middle": 0.9})
    assert bright.kinds == () and bright.score == pytest.approx(1 / (1 + math.e))


def test_a_check_is_read_back_as_it_was(tmp_path: Path) -> None:
    check = hand_made(24)
    found = PhotoCheck.load(check.save(tmp_path / "a folder" / FILE_NAME))
    assert found.encoder == check.encoder
    for kind, judgement in check.judgements.items():
        np.testing.assert_array_equal(found.judgements[kind].weight, judgement.weight)
        assert found.judgements[kind].bias == judgement.bias


def test_which_file_is_taken(tiny_settings: Settings, tmp_path: Path) -> None:
    assert load_photo_check(tiny_settings) is None  # none beside the projection
    projection = tmp_path / "run" / "best" / "skingpt4.safetensors"
    projection.parent.mkdir(parents=True)
    projection.touch()
    hand_made(24).save(projection.with_name(FILE_NAME))
    for name in (projection, tmp_path / "run"):  # a run's folder means its best checkpoint
        tiny_settings.model.ckpt = str(name)
        assert load_photo_check(tiny_settings) is not None
    tiny_settings.model.photo_check = "none"
    assert load_photo_check(tiny_settings) is None
    elsewhere = hand_made(24).save(tmp_path / "elsewhere.safetensors")
    tiny_settings.model.ckpt, tiny_settings.model.photo_check = "", str(elsewhere)
    assert load_photo_check(tiny_settings) is not None
    tiny_settings.model.photo_check = "nowhere.safetensors"
    with pytest.raises(WeightsError, match=r"model\.photo_check: nowhere\.safetensors does not exist.*none"):
        load_photo_check(tiny_settings)


def test_a_check_of_another_encoder_and_other_files_are_refused(tiny_settings: Settings, tmp_path: Path) -> None:
    wrong = hand_made(768, {"image_size": 224, "queries": 32, "width": 768}).save(tmp_path / "wrong.safetensors")
    tiny_settings.model.photo_check = str(wrong)
    with pytest.raises(WeightsError, match=r"another encoder .*queries 32, width 768.* this model has .*queries 8"):
        load_photo_check(tiny_settings)
    tiny_settings.model.photo_check = "embedded/skingpt4.safetensors"
    with pytest.raises(WeightsError, match="is no photo check of this version"):
        load_photo_check(tiny_settings)
    (tmp_path / "torn.safetensors").write_bytes(wrong.read_bytes()[:100])
    tiny_settings.model.photo_check = str(tmp_path / "torn.safetensors")
    with pytest.raises(WeightsError, match="torn"):
        load_photo_check(tiny_settings)


def test_the_terminal_asks_once_for_a_better_picture_and_answers_all_the_same(
    tiny_model: tuple[SkinGPT4, Processor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, grey in (("night", 10), ("day", 200)):
        Image.new("RGB", (60, 40), (grey, grey, grey)).save(tmp_path / f"{name}.png")
    chat, check = Chat(*tiny_model), hand_made(24)
    night = str(tmp_path / "night.png")
    talk = terminal.Talk(chat, night, SHORT, check)
    assert talk.answer_all(["What?", "Why?"], []) == 0
    told = capsys.readouterr()
    assert told.err == f"! {ADVICE['dark']}\n! {GO_ON}\n"
    assert len(told.out.splitlines()) == 2
    lines = ["What?", f"/image {tmp_path}/day.png", "And?", f"/add {night}", "/restart", "/quit"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    terminal.Talk(chat, night, SHORT, check).converse([])
    assert capsys.readouterr().err.count(ADVICE["dark"]) == 2  # the first picture and the added one, not the good one
    terminal.Talk(chat, night, SHORT).answer_all(["What?"], [])
    assert capsys.readouterr().err == ""


def test_the_command_takes_the_check_of_the_settings(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (60, 40), (10, 10, 10)).save(tmp_path / "night.png")
    tiny_settings.model.photo_check = str(hand_made(24).save(tmp_path / FILE_NAME))
    assert terminal.run(tiny_settings, str(tmp_path / "night.png"), "What?", SHORT) == 0
    assert ADVICE["dark"] in capsys.readouterr().err
    tiny_settings.model.photo_check = "none"
    assert terminal.run(tiny_settings, str(tmp_path / "night.png"), "What?", SHORT) == 0
    assert ADVICE["dark"] not in capsys.readouterr().err
