"""Many answers at once equal answers one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from skingpt4.chat.conversation import Chat
from skingpt4.cli import main
from skingpt4.config import save_settings
from skingpt4.engines.sampling import Sampling
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import Turn
from skingpt4.settings import Settings


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


def test_evaluate_counts_right_diagnoses(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training_runs import write_table

    save_settings(tiny_settings, tmp_path / "model.yaml")
    table, out = write_table(tmp_path / "data", 6), tmp_path / "answers.jsonl"
    command = ["evaluate", "--cfg-path", str(tmp_path / "model.yaml"), "--data", str(table), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    right = sum(answer["named"] == answer["disease"] for answer in answers)
    assert len(answers) == 6 and f"{right} of 6 diagnoses right" in printed and "commonest answer: 33.3%" in printed
