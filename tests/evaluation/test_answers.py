"""Many answers at once equal answers one by one; what is asked is asked once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluated import write_cases

from skingpt4.chat.conversation import Chat
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import DataError, WeightsError
from skingpt4.evaluation import answers
from skingpt4.evaluation.answers import Plan, mean_features, predict
from skingpt4.evaluation.candidates import diagnosis_log_scores
from skingpt4.evaluation.cases import Cases, read_cases
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import Turn

PLAN = Plan(("acne", "eczema", "psoriasis"), repeats=2, repeat_cases=3, batch=4)


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    return read_cases(write_cases(tmp_path / "data", 20))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never stops by itself."""
    monkeypatch.setattr(answers, "LONGEST_ANSWER", 6)


class Failing(Chat):
    """Breaks off at the third batch of pictures."""

    calls = 0

    def encode_many(self, images: Sequence[Any]) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().encode_many(images)


def test_batched_answers_equal_those_of_chat(tiny_model: tuple[SkinGPT4, Processor]) -> None:
    model, processor = tiny_model
    features = torch.randn(
        5, processor.queries, model.llama_proj.in_features, generator=torch.Generator().manual_seed(0)
    )
    questions = [
        "What is it?",
        "Could you describe the skin disease in this image for me?",
        "Why?",
        "Hm?",
        "Is it bad? " * 6,
    ]
    conversations = [[Turn("First?", 1, "A plaque." * n), Turn(question)] for n, question in enumerate(questions)]
    one_by_one = []
    for row, turns in enumerate(conversations):
        conversation = Chat(model, processor).start_from_features(features[row])
        conversation.add_turn(turns[0].question, str(turns[0].reply))
        one_by_one.append(conversation.ask(turns[1].question.strip(), Sampling(max_new_tokens=12)))
    turns = [[a, Turn(b.question.strip())] for a, b in conversations]
    together = Chat(model, processor).answer_conversations(features, turns, 12)
    assert together == one_by_one and len(set(together)) > 1


@pytest.mark.usefixtures("short")
def test_what_was_broken_off_goes_on_and_equals_the_whole(
    tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path
) -> None:
    plan = replace(PLAN, concepts=False)
    whole = predict(Chat(*tiny_model), cases.test, tmp_path / "whole", plan)
    broken = Failing(*tiny_model)
    with pytest.raises(KeyboardInterrupt):
        predict(broken, cases.test, tmp_path / "broken", plan)
    assert sorted(file.name for file in (tmp_path / "broken").glob("*.parquet")) == ["000000.parquet", "000001.parquet"]
    goes_on = Failing(*tiny_model)
    found = predict(goes_on, cases.test, tmp_path / "broken", plan)
    assert goes_on.calls == 1  # 10 cases in batches of 4: one was left
    assert found.diagnosis_answer == whole.diagnosis_answer and found.repeats == whole.repeats
    assert found.image == whole.image and len(found) == 10
    np.testing.assert_array_equal(found.disease_log_scores, whole.disease_log_scores)
    again = Failing(*tiny_model)
    assert predict(again, cases.test, tmp_path / "broken", plan).image == whole.image and again.calls == 0


@pytest.mark.usefixtures("short")
def test_rows_hold_what_is_known_and_what_the_model_gives(
    tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path
) -> None:
    chat = Chat(*tiny_model)
    features = chat.encode_many([record.image for record in cases.test])
    plan = replace(PLAN, class_of=cases.class_of)
    found = predict(chat, cases.test, tmp_path / "out", plan, mean_features(chat, cases.fit), features)
    assert found.disease == [record.disease for record in cases.test]
    assert found.concepts == [record.concepts for record in cases.test]
    expected = diagnosis_log_scores(chat, features, PLAN.diseases)
    np.testing.assert_allclose(found.disease_log_scores, expected, atol=1e-4)
    # A class is named by its own names or those of its disease, so it is likelier than its disease.
    acne, of_acne = found.disease_log_scores[:, 0], found.class_log_scores[:, 2]
    assert cases.class_of["acne"] == "Dermatitis" and (of_acne >= acne - 1e-9).all()
    assert found.concept_log_odds.shape == (10, 48) and np.isfinite(found.concept_log_odds).all()
    asked = [named for named in found.repeats if named is not None]
    assert len(asked) == 3 and all(len(named) == 2 for named in asked)


@pytest.mark.usefixtures("short")
def test_the_answers_of_another_model_are_not_taken_for_ours(
    tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path
) -> None:
    plan = replace(PLAN, concepts=False, classes=False, repeats=0)
    chat = Chat(*tiny_model)
    predict(chat, cases.test, tmp_path / "out", plan)
    with pytest.raises(DataError, match=r"another evaluation \(other plan\)"):
        predict(chat, cases.test, tmp_path / "out", replace(plan, diseases=("acne", "eczema")))
    with pytest.raises(DataError, match=r"another evaluation \(other cases\)"):
        predict(chat, cases.fit, tmp_path / "out", plan)
    with pytest.raises(DataError, match=r"another evaluation \(other model\)"):
        predict(chat, cases.test, tmp_path / "out", plan, model={"precision": "bf16"})
    with torch.no_grad():
        chat.model.llama_proj.bias.add_(1.0)
    with pytest.raises(DataError, match=r"another evaluation \(other projection\).*--force"):
        predict(chat, cases.test, tmp_path / "out", plan)
    answers.forget(tmp_path / "out")
    assert len(predict(chat, cases.test, tmp_path / "out", plan)) == 10


@pytest.mark.usefixtures("short")
def test_each_process_asks_about_its_share(
    tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path
) -> None:
    class Second:
        process_index, num_processes = 1, 2
        meetings = 0

        def wait_for_everyone(self) -> None:
            self.meetings += 1
            if self.meetings == 2:  # the first process did the other batches meanwhile
                predict(Chat(*tiny_model), cases.test, folder, plan)

    folder, plan = tmp_path / "out", replace(PLAN, concepts=False, classes=False, repeats=0)
    chat = Failing(*tiny_model)
    found = predict(chat, cases.test, folder, plan, processes=Second())
    assert chat.calls == 1  # of three batches the second
    alone = predict(Chat(*tiny_model), cases.test, tmp_path / "alone", plan)
    assert found.diagnosis_answer == alone.diagnosis_answer and found.image == alone.image


def test_concepts_need_a_prior(tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need `prior`"):
        predict(Chat(*tiny_model), cases.test, tmp_path, PLAN)


@pytest.mark.usefixtures("short")
def test_scores_that_are_no_numbers_are_told_at_the_first_batch(
    tiny_model: tuple[SkinGPT4, Processor], cases: Cases, tmp_path: Path
) -> None:
    model, processor = tiny_model
    chat = Chat(model, processor)
    prior = mean_features(chat, cases.test)
    with torch.no_grad():
        model.llama_proj.weight[0, 0] = float("nan")
    with pytest.raises(WeightsError, match=r"disease_log_scores of .*png are no numbers.*model\.precision=bf16"):
        predict(chat, cases.test, tmp_path / "out", PLAN, prior)
    assert not list((tmp_path / "out").glob("*.parquet"))
