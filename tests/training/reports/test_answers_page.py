"""The page of validation photographs with the answers given now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from recital import teach

from skingpt4.chat.conversation import Chat
from skingpt4.data.records import ImageRef, Record, concept_record, diagnosis_record
from skingpt4.engines.sampling import Sampling
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.training.reports.answers_page import MORE_TOKENS, AnswersPage, answers_page
from skingpt4.training.reports.log import RunLog
from skingpt4.training.reports.run_folder import read_lines

Model = tuple[SkinGPT4, Processor]


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    images = []
    for number, colour in enumerate(("red", "green", "blue", "white")):
        images.append(tmp_path / f"{number} & {colour}.png")
        Image.new("RGB", (60, 40), colour).save(images[-1])
    return [
        concept_record(images[0], ["Plaque", "Scale"], "test"),
        concept_record(images[1], ["Scale", "Erythema"], "test"),
        diagnosis_record(images[2], "psoriasis", "<script>alert(1)</script>", "test"),
        diagnosis_record(images[3], "scale itch", "", "test"),
    ]


@pytest.fixture
def settings(tiny_settings: Settings) -> Settings:
    Path(tiny_settings.run.output_dir).mkdir()
    return tiny_settings


def features(model: SkinGPT4, processor: Processor) -> object:
    def of(number: int, image: ImageRef, view: int) -> torch.Tensor:
        with torch.inference_mode():
            return model.encode_images(processor.pixels(image).unsqueeze(0))[0]

    return of


def page_of(settings: Settings, records: list[Record], tiny_model: Model) -> AnswersPage:
    return AnswersPage(settings, records, lambda number, image, view: tiny_model[1].pixels(image), *tiny_model)


def read(settings: Settings) -> str:
    return (Path(settings.run.output_dir) / "answers.html").read_text(encoding="utf-8")


def test_the_answers_are_those_of_a_chat(settings: Settings, records: list[Record], tiny_model: Model) -> None:
    page = page_of(settings, records, tiny_model)
    page.update(3)
    lines = read_lines(Path(settings.run.output_dir) / "answers.jsonl")
    assert [line["expected"] for line in lines] == [record.answers[0] for record in records]
    longest = max(len(tiny_model[1].tokenizer.encode(line["expected"])) for line in lines)
    for line in lines:
        conversation = Chat(*tiny_model).start(line["image"])
        sampling = Sampling(max_new_tokens=longest + MORE_TOKENS)
        assert line["answer"] == "".join(conversation.ask(line["question"], sampling)).strip()


def test_cached_features_give_the_same_answers_as_pixels(
    settings: Settings, records: list[Record], tiny_model: Model
) -> None:
    page_of(settings, records, tiny_model).update(1)
    cached = AnswersPage(settings, records, features(*tiny_model), *tiny_model)  # type: ignore[arg-type]
    cached.update(2)
    lines = read_lines(Path(settings.run.output_dir) / "answers.jsonl")
    assert [line["answer"] for line in lines[:4]] == [line["answer"] for line in lines[4:]]


def test_what_is_right_is_counted_and_marked(settings: Settings, records: list[Record], tiny_model: Model) -> None:
    teach(*tiny_model, tiny_model[1].tokenizer.encode("Plaque, Scale itch"))
    page = page_of(settings, records, tiny_model)
    figures = page.update(5)
    # Concepts: Plaque and Scale against {Plaque, Scale} and {Scale, Erythema}: 3 hits, 4 true, 4 found.
    assert figures == {"concept_f1": 0.75, "disease_named": 0.5, "shown": 4}
    text = read(settings)
    marks = re.findall(r'<li class="(\w+)">(.*?)</li>', text)
    assert marks == [
        *[("right", "Plaque"), ("right", "Scale")],
        *[("right", "Scale"), ("missed", "Erythema"), ("extra", "Plaque")],
        *[("missed", "psoriasis"), ("right", "scale itch")],
    ]
    assert "concepts: micro-F1 0.75 · disease named: 50 %" in text
    assert text.count("Plaque, Scale itch</dd>") == 4 and "Earlier answers" not in text


def test_the_page_is_whole_safe_and_honest(settings: Settings, records: list[Record], tiny_model: Model) -> None:
    Path(str(records[1].image)).write_bytes(b"no picture")
    input_of = lambda number, image, view: torch.zeros(8, 24)  # noqa: E731 - cached, the file was torn later
    AnswersPage(settings, records, input_of, *tiny_model).update(5)
    text = read(settings)
    assert text.count("data:image/jpeg;base64,") == 3 and text.count("cannot be read") == 1
    assert "<script>" not in text and "&lt;script&gt;alert(1)" in text and "0 &amp; red.png" in text
    assert "not a diagnosis by a doctor" in text and 'src="curves.png"' in text
    assert not re.findall(r'(?:src|href)="(?!data:|curves\.png)', text)


def test_earlier_answers_stay_and_those_of_later_steps_go(
    settings: Settings, records: list[Record], tiny_model: Model
) -> None:
    folder = Path(settings.run.output_dir)
    teach(*tiny_model, tiny_model[1].tokenizer.encode("Plaque"))
    page = page_of(settings, records[:1], tiny_model)
    with RunLog(folder, "run", 40, answers=page) as log:
        for step in range(1, 17):
            log.show(step)
    earlier = [int(step) for step in re.findall(r"<tr><td>step (\d+)", read(settings))]
    assert len(earlier) == 12 and (earlier[0], earlier[-1]) == (1, 15)
    with RunLog(folder, "run", 40, first_step=10, answers=page) as log:
        log.show(20)
    assert [line["step"] for line in read_lines(folder / "answers.jsonl")] == [*range(1, 11), 20]
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == [*range(1, 11), 20]


def test_asking_changes_nothing_of_the_training(settings: Settings, records: list[Record], tiny_model: Model) -> None:
    model = tiny_model[0].train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    page_of(settings, records, tiny_model).update(1)
    assert model.training and model.llama_proj.training and not model.decoder.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.trainable_names() == ["llama_proj.weight", "llama_proj.bias"]


def test_photographs_are_spread_over_the_set_and_answers_bounded(
    settings: Settings, records: list[Record], tiny_model: Model
) -> None:
    tokenizer = tiny_model[1].tokenizer
    loop = tokenizer.encode("Plaque, Scale")
    teach(*tiny_model, [*loop, loop[0]])  # never ends
    settings.run.shown_images = 2
    page_of(settings, records, tiny_model).update(1)
    lines = read_lines(Path(settings.run.output_dir) / "answers.jsonl")
    assert [Path(line["image"]).name for line in lines] == ["0 & red.png", "2 & blue.png"]
    longest = max(len(tokenizer.encode(line["expected"])) for line in lines)
    wanted = tokenizer.decode((loop * 99)[: longest + MORE_TOKENS])
    assert [line["answer"] for line in lines] == [wanted, wanted]


def test_who_makes_a_page(settings: Settings, records: list[Record], tiny_model: Model) -> None:
    input_of = lambda number, image, view: tiny_model[1].pixels(image)  # noqa: E731

    def made(is_main: bool, count: int = 4) -> AnswersPage | None:
        return answers_page(settings, is_main, records[:count], input_of, *tiny_model)

    page = made(True)
    assert page is not None and not page.on_every_process and made(False) is None and made(True, 0) is None
    settings.run.shard_decoder = True
    other = made(False)  # its part of the decoder is needed
    assert other is not None and other.on_every_process
    figures = other.update(1, write=False)
    assert figures["shown"] == 4 and list(Path(settings.run.output_dir).iterdir()) == []
    settings.run.shown_images = 0
    assert made(True) is None


def test_a_page_that_cannot_be_made_is_said_and_the_run_goes_on(
    settings: Settings, records: list[Record], tiny_model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_of(settings, records, tiny_model)
    folder = Path(settings.run.output_dir)
    (folder / "answers.html").mkdir()  # cannot be replaced by a file
    with RunLog(folder, "run", 2, answers=page) as log:
        log.show(1)
        log.step(2, 1.0, 0.5, 0.1, 1.0)
    assert "step 1: no page of answers: " in capsys.readouterr().err
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == [2]
