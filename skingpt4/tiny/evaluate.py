"""Measures the embedded default: both fine-tuning steps in a few seconds, on features in memory, from generated
answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from skingpt4.evaluation.figures.metrics import micro_macro_f1
from skingpt4.prompts import Turn
from skingpt4.tiny import wording
from skingpt4.tiny.align import save_projection
from skingpt4.tiny.bridge import Frozen, answer, features_of, load_frozen, load_projection, tune_projection
from skingpt4.tiny.corpus import CUE, SLOT_ARRANGEMENTS, SLOT_WORDS
from skingpt4.tiny.dataset import SETS, SetSize, draw_set
from skingpt4.tiny.diseases import DISEASES, DISEASES_BY_NAME
from skingpt4.tiny.measure import (
    AnswerFunction,
    measure,
    measure_concepts,
    measure_diagnosis,
    measure_unseen_follow_ups,
)
from skingpt4.tiny.questions import HELD_OUT
from skingpt4.tiny.renderer import Description, disease_description
from skingpt4.tiny.slots import fill_slot, slot_embeddings
from skingpt4.tiny.wording import parse_concepts, parse_disease
from skingpt4.vocabulary import CONCEPT_PROMPT, DIAGNOSIS_PROMPTS

Figures = dict[str, dict[str, float]]
STEP1_STEPS, STEP1_LR = 500, 1e-2  # 4,000 photographs, 4 epochs, 32 a step
STEP2_STEPS, STEP2_LR = 75, 3e-3  # 600 photographs, 4 epochs


@dataclass(frozen=True)
class Drawn:
    """A data set in memory: features float[N, Q, 128]."""

    images: np.ndarray
    descriptions: list[Description]
    notes: list[str | None]
    features: Tensor


def draw(frozen: Frozen, size: SetSize) -> Drawn:
    """Render a set of `dataset.SETS` and encode it."""
    drawn = list(draw_set(size))
    images = np.stack([rendering.image for rendering, _ in drawn])
    return Drawn(
        images,
        [rendering.description for rendering, _ in drawn],
        [note for _, note in drawn],
        features_of(frozen, images),
    )


def speaker(frozen: Frozen, projection: nn.Linear, features: Tensor) -> AnswerFunction:
    """Answers in the chat prompt through `projection`."""
    with torch.no_grad():
        image_tokens = projection(features)
    return lambda rows, conversations: answer(frozen, image_tokens[list(rows)], conversations)


def run_step1(frozen: Frozen, projection: nn.Linear, data: Drawn, seed: int, steps: int = STEP1_STEPS) -> None:
    """Clinical concepts."""

    def dialogue(row: int, rng: np.random.Generator) -> tuple[str, str]:
        return CONCEPT_PROMPT, wording.concept_sentence(data.descriptions[row].concepts)

    tune_projection(frozen, projection, data.features, dialogue, steps, STEP1_LR, seed)


def run_step2(frozen: Frozen, projection: nn.Linear, data: Drawn, seed: int, steps: int = STEP2_STEPS) -> None:
    """Diagnoses and notes."""

    def dialogue(row: int, rng: np.random.Generator) -> tuple[str, str]:
        disease = DISEASES_BY_NAME[str(data.descriptions[row].disease)]
        return DIAGNOSIS_PROMPTS[int(rng.integers(2))], wording.diagnosis(disease, data.notes[row] or "")

    tune_projection(frozen, projection, data.features, dialogue, steps, STEP2_LR, seed)


def reading_test(frozen: Frozen, seed: int, count: int = 304) -> dict[str, float]:
    """Does the decoder read what stands between `<Img>` and `</Img>`? Concept words in the slot, no photograph."""
    rng = np.random.default_rng([seed, 9])
    generator = torch.Generator().manual_seed(seed)
    cases = [disease_description(DISEASES[index % len(DISEASES)].name, rng) for index in range(count)]
    table = frozen.decoder.get_input_embeddings().weight
    slots = []
    for case in cases:
        words = [*(SLOT_WORDS[name] for name in case.concepts), SLOT_ARRANGEMENTS[case.arrangement], CUE]
        slots.append(fill_slot([frozen.tokenizer.encode(words[index]) for index in rng.permutation(len(words))], rng))
    tokens = slot_embeddings(slots, table, generator)
    listed = answer(frozen, tokens, [[Turn(CONCEPT_PROMPT, 1)] for _ in cases])
    named = answer(frozen, tokens, [[Turn(DIAGNOSIS_PROMPTS[0], 1)] for _ in cases])
    micro, _ = micro_macro_f1([set(case.concepts) for case in cases], [parse_concepts(reply) for reply in listed])
    right = sum(parse_disease(reply) == case.disease for reply, case in zip(named, cases, strict=True))
    return {"reading: concepts micro-F1": micro, "reading: disease": right / count}


def evaluate(assets: Path, seed: int, test_images: int = 1000) -> tuple[Figures, list[str]]:
    """Fine-tune and score all four models; writes `skingpt4.safetensors` (both steps). Returns figures and a sample
    conversation.
    """
    frozen, start = load_frozen(assets), load_projection(assets / "projection.safetensors")
    figures: Figures = {"decoder": reading_test(frozen, seed)}
    step1, step2 = draw(frozen, SETS["step1"]), draw(frozen, SETS["step2"])
    test, mixed = draw(frozen, _first(SETS["test"], test_images)), draw(frozen, SETS["test_random"])
    models = {"no fine-tuning": start, "step 1 only": copy.deepcopy(start), "step 2 only": copy.deepcopy(start)}
    run_step1(frozen, models["step 1 only"], step1, seed)
    run_step2(frozen, models["step 2 only"], step2, seed)
    models["both"] = copy.deepcopy(models["step 1 only"])
    run_step2(frozen, models["both"], step2, seed)
    save_projection(models["both"], assets / "skingpt4.safetensors")
    for name, projection in models.items():
        ask = speaker(frozen, projection, test.features)
        figures[name] = measure(ask, test.descriptions)
        on_random = measure_concepts(speaker(frozen, projection, mixed.features), mixed.descriptions)
        figures[name] |= {f"random combinations: {key}": value for key, value in on_random.items()}
        print(name, figures[name], flush=True)
    figures["step 1 only"] |= second_turn(
        speaker(frozen, models["step 1 only"], test.features), test.descriptions[:300]
    )
    figures["both"] |= robustness(frozen, models["both"], test)
    return figures, sample_conversation(speaker(frozen, models["both"], test.features), test.descriptions)


def _first(size: SetSize, count: int) -> SetSize:
    return size if count >= size.diseases else SetSize(count, size.random, size.notes, size.seed)


def second_turn(ask: AnswerFunction, cases: Sequence[Description]) -> dict[str, float]:
    """Concepts first, then `What could this disease be?`: can the decoder reason from the concepts it read?"""
    rows = range(len(cases))
    replies = ask(rows, [[Turn(CONCEPT_PROMPT, 1)] for _ in rows])
    named = ask(rows, [[Turn(CONCEPT_PROMPT, 1, replies[row]), Turn("What could this disease be?")] for row in rows])
    right = sum(parse_disease(reply) == case.disease for reply, case in zip(named, cases, strict=True))
    return {"disease, asked after the concepts": right / len(cases)}


def robustness(frozen: Frozen, projection: nn.Linear, test: Drawn, count: int = 300) -> dict[str, float]:
    """Unseen wordings, shuffled, blurred and noisy photographs (300 of the test set)."""
    cases, features = test.descriptions[:count], test.features[:count]
    ask = speaker(frozen, projection, features)
    figures: dict[str, float] = {}
    unseen = [measure_diagnosis(ask, cases, question)[0]["disease"] for question in HELD_OUT["diagnosis"]]
    figures["disease, unseen wordings (mean)"] = float(np.mean(unseen))
    figures["disease, unseen wordings (worst)"] = min(unseen)
    rows = range(100)
    first = ask(rows, [[Turn(DIAGNOSIS_PROMPTS[0], 1)] for _ in rows])
    figures |= measure_unseen_follow_ups(ask, rows, first, HELD_OUT)
    order = np.random.default_rng(0).permutation(len(cases))
    shuffled = speaker(frozen, projection, features[order])
    figures["shuffled photographs: disease"] = measure_diagnosis(shuffled, cases)[0]["disease"]
    figures["shuffled photographs: concepts micro-F1"] = measure_concepts(shuffled, cases)["concepts micro-F1"]
    noise = np.random.default_rng(1)
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "blur 1 px": lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1))),
        "blur 2 px": lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2))),
        "noise 20 of 255": lambda image: np.clip(image + noise.normal(0, 20, image.shape), 0, 255).astype(np.uint8),
    }
    for name, change in changes.items():
        changed = features_of(frozen, np.stack([change(image) for image in test.images[:count]]))
        figures[f"{name}: disease"] = measure_diagnosis(speaker(frozen, projection, changed), cases)[0]["disease"]
    return figures


def sample_conversation(ask: AnswerFunction, cases: Sequence[Description]) -> list[str]:
    """The four clinical questions and two of a patient's, about the first three photographs."""
    from skingpt4.vocabulary import CLINICAL_PROMPTS

    lines = []
    for row in range(3):
        turns: list[Turn] = []
        lines.append(f"(truth: {cases[row].disease}; {', '.join(cases[row].concepts)}; {cases[row].arrangement})")
        for question in (*CLINICAL_PROMPTS, "When should I see a doctor?", "Is it contagious?"):
            reply = ask([row], [[*turns, Turn(question, int(not turns))]])[0]
            turns.append(Turn(question, int(not turns), reply))
            lines += [f"Q: {question}", f"A: {reply}"]
    return lines
