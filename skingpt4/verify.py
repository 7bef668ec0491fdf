"""`skingpt4 verify DIR`: the numbers of the original, reproduced through the same code as any checkpoint.

The directory holds small checkpoints in the published formats (`eva_vit.pth`, `blip2_qformer.pth`, `llm/`,
`skingpt4.pth`), photographs, and what the original computes from them (`expected.json`, `expected.safetensors`).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.errors import DataError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import ImageSlot, Turn, encode_answer, encode_turns, training_sequence, training_template
from skingpt4.settings import ModelSettings, RunSettings, Settings
from skingpt4.training.schedule import build_optimizer, learning_rate, set_learning_rate
from skingpt4.weights.build import build_model
from skingpt4.weights.files import read_tensors

EXACT = 0.0
IMAGE_HERE = "<Img><ImageHere></Img> "


@dataclass(frozen=True)
class Check:
    """One stage. difference: largest absolute difference (for ids and text: how many differ); it must not exceed
    `limit`.
    """

    stage: str
    difference: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit  # False for NaN


def verify(directory: Path) -> Iterator[Check]:
    """Every stage's check, in the order of the data's way. float32 on the CPU. Raises `DataError` for a directory of
    another form.
    """
    expected, tensors = _read(directory)
    settings = reference_settings(directory, expected["config"])
    model, processor = build_model(settings)
    pixels = torch.stack([processor.pixels(path) for path in _images(directory, tensors)])
    yield Check("pixels", _difference(pixels, tensors["pixel_values"]), 1e-6)
    features = yield from _encoder_checks(model, pixels, tensors)
    yield from _id_checks(processor, expected)
    yield from _loss_checks(model, processor, features, expected, tensors)
    yield from _chat_checks(model, processor, features, expected, tensors)
    yield from _trajectory_checks(model, processor, features, expected, tensors)  # last: it trains the projection


def reference_settings(directory: Path, sizes: dict[str, Any]) -> Settings:
    """The settings that load such a directory; sizes: its `expected.json` -> `config`."""
    vit, qformer = sizes["vit"], sizes["qformer"]
    model = ModelSettings(
        image_size=vit["image_size"],
        precision="fp32",
        vit_weights=str(directory / "eva_vit.pth"),
        vit_patch_size=vit["patch"],
        vit_width=vit["width"],
        vit_depth=vit["depth"],
        vit_heads=vit["heads"],
        vit_mlp_ratio=vit["mlp_ratio"],
        q_former_model=str(directory / "blip2_qformer.pth"),
        num_query_token=qformer["queries"],
        qformer_width=qformer["hidden"],
        qformer_layers=qformer["layers"],
        qformer_heads=qformer["heads"],
        qformer_intermediate_width=qformer["intermediate"],
        qformer_cross_attention_frequency=qformer["cross_attention_frequency"],
        llama_model=str(directory / "llm"),
        ckpt=str(directory / "skingpt4.pth"),
    )
    return Settings(model=model, run=RunSettings(device="cpu"))


def _read(directory: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    wanted = (
        "expected.json",
        "expected.safetensors",
        "eva_vit.pth",
        "blip2_qformer.pth",
        "skingpt4.pth",
        "llm/config.json",
    )
    missing = [name for name in wanted if not (directory / name).is_file()]
    if missing:
        raise DataError(f"{directory} is no reference directory: {', '.join(missing)} missing.")
    return json.loads((directory / "expected.json").read_text(encoding="utf-8")), read_tensors(
        directory / "expected.safetensors"
    )


def _images(directory: Path, tensors: dict[str, Tensor]) -> list[Path]:
    return [directory / f"image_{index}.png" for index in range(len(tensors["pixel_values"]))]


def _encoder_checks(model: SkinGPT4, pixels: Tensor, tensors: dict[str, Tensor]) -> Generator[Check, None, Tensor]:
    assert model.vision is not None and model.qformer is not None
    with torch.no_grad():
        yield Check("vision encoder", _difference(model.vision.tokens(pixels), tensors["vit_out"]), 1e-4)
        normalised = model.vision(pixels)
        yield Check("ln_vision", _difference(normalised, tensors["ln_vision_out"]), 1e-4)
        features = model.qformer(normalised)
        yield Check("Q-Former", _difference(features, tensors["qformer_out"]), 1e-4)
        yield Check("projected image tokens", _difference(model.project(features), tensors["inputs_llama"]), 1e-4)
    return features


def _id_checks(processor: Processor, expected: dict[str, Any]) -> Iterator[Check]:
    ids = expected["token_ids"]
    answers = [encode_answer(text, "###", processor.tokenizer, 10**6) for text in expected["texts"]]
    yield Check("token ids of the texts", _unequal(answers, ids["texts"]), EXACT)
    before, after = [], []
    for prompt in expected["prompts"]:
        template, question = _template_of(prompt)
        parts = encode_turns(template, [Turn(question, images=1)], processor.tokenizer)
        first, last = parts[0], parts[2]
        assert not isinstance(first, ImageSlot) and not isinstance(last, ImageSlot)
        before.append(first[1:])  # the file lists the segment without `<s>`
        after.append(last)
    yield Check("token ids of the prompts", _unequal(before, ids["before"]) + _unequal(after, ids["after"]), EXACT)


def _template_of(prompt: str) -> tuple[Any, str]:
    """A full training prompt -> the template and the question it was made of."""
    start, _, rest = prompt.partition(IMAGE_HERE)
    question, _, end = rest.partition(" ###")
    return training_template(f"{start}{{}} ###{end}", "###"), question


def _training_batch(processor: Processor, prompt: str, texts: list[str]) -> TrainingBatch:
    template, question = _template_of(prompt)
    return TrainingBatch.collate(
        [
            training_sequence(
                template, question, text, processor.tokenizer, processor.queries, processor.max_answer_tokens
            )
            for text in texts
        ]
    )


def _loss_checks(
    model: SkinGPT4, processor: Processor, features: Tensor, expected: dict[str, Any], tensors: dict[str, Tensor]
) -> Iterator[Check]:
    for index, record in enumerate(expected["train"]):
        model.zero_grad()
        loss = model(features, _training_batch(processor, record["prompt"], expected["texts"]))
        loss.backward()
        yield Check(f"training loss, prompt {index}", abs(loss.item() - record["loss"]), 1e-4)
        weight, bias = model.llama_proj.weight.grad, model.llama_proj.bias.grad
        assert weight is not None and bias is not None
        difference = max(_difference(weight, tensors[f"grad_w_{index}"]), _difference(bias, tensors[f"grad_b_{index}"]))
        yield Check(f"gradients of the projection, prompt {index}", difference, 1e-4)


def _chat_checks(
    model: SkinGPT4, processor: Processor, features: Tensor, expected: dict[str, Any], tensors: dict[str, Tensor]
) -> Iterator[Check]:
    conversation = Chat(model, processor).start_from_features(features[0])
    for index, turn in enumerate(expected["chat"]):
        question, name = turn["question"], f"chat turn {index + 1}"
        turns = [*conversation.turns, Turn(question, images=0 if conversation.turns else 1)]
        yield Check(f"{name}: prompt text", float(conversation.prompt_text(question) != turn["prompt"]), EXACT)
        yield Check(f"{name}: context length", abs(conversation.length(turns) - turn["context_length"]), EXACT)
        logits = conversation.next_token_logits(question)
        yield Check(f"{name}: next-token logits", _difference(logits, tensors[f"chat_logits_{index}"]), 1e-3)
        wanted = turn["greedy_ids"][1:]  # the first is an artefact of the original's `generate`
        yield Check(
            f"{name}: greedy tokens", _unequal([conversation.answer_ids(question, len(wanted))], [wanted]), EXACT
        )
        yield Check(f"{name}: their text", float(processor.tokenizer.decode(wanted) != turn["greedy_text"]), EXACT)
        conversation.add_turn(question, turn["reply_kept_in_history"])


def _trajectory_checks(
    model: SkinGPT4, processor: Processor, features: Tensor, expected: dict[str, Any], tensors: dict[str, Tensor]
) -> Iterator[Check]:
    """Eighteen steps of AdamW. The original's loop clears gradients after a step, never before the first one, and the
    reference was
    made right after the gradients of the last prompt: they are still there (from `_loss_checks`) and count in the first
    step."""
    schedule = expected["trajectory"]["schedule"]
    run = RunSettings(
        **{key: value for key, value in schedule.items() if key in RunSettings.__dataclass_fields__}, weight_decay=0.05
    )
    total_steps = run.max_epoch * run.iters_per_epoch
    optimizer = build_optimizer(model.named_parameters(), run.weight_decay)
    rate_difference = loss_difference = 0.0
    for step, record in enumerate(expected["trajectory"]["steps"]):
        rate = learning_rate(step, total_steps, run)
        rate_difference = max(rate_difference, abs(rate - record["lr"]))
        set_learning_rate(optimizer, rate)
        rows = record["batch"]
        batch = _training_batch(processor, expected["prompts"][0], [expected["texts"][row] for row in rows])
        loss = model(features[rows], batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss_difference = max(loss_difference, abs(loss.item() - record["loss"]))
    count = len(expected["trajectory"]["steps"])
    yield Check(f"learning rates of {count} steps", rate_difference, 1e-9)
    yield Check(f"losses of {count} steps", loss_difference, 1e-3)
    after = max(
        _difference(model.llama_proj.weight, tensors["proj_w_after"]),
        _difference(model.llama_proj.bias, tensors["proj_b_after"]),
    )
    yield Check("projection after them", after, 1e-3)


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    return float((found.detach().double() - wanted.double()).abs().max())


def _unequal(found: list[list[int]], wanted: list[list[int]]) -> float:
    return float(sum(a != b for a, b in zip(found, wanted, strict=True)))
