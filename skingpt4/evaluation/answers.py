"""Ask a model the same questions about many photographs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from skingpt4.data.loading import read_source
from skingpt4.data.manifest import PARQUET
from skingpt4.data.records import ImageRef
from skingpt4.engines.batched import generate_many
from skingpt4.errors import DataError
from skingpt4.evaluation.metrics import wilson_interval
from skingpt4.evaluation.parsing import named_disease
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import ImageSlot, Turn, render, token_segments, until_stop, without_open_end
from skingpt4.settings import Settings, SourceSettings
from skingpt4.vocabulary import DIAGNOSIS_PROMPTS

BATCH = 64


def encode_photographs(model: SkinGPT4, processor: Processor, images: Sequence[ImageRef]) -> Tensor:
    """Features float32[n, Q, 768] of photographs, evaluation view."""
    chunks = []
    for start in range(0, len(images), BATCH):
        pixels = torch.stack([processor.pixels(image) for image in images[start : start + BATCH]])
        with torch.inference_mode():
            chunks.append(model.encode_images(pixels.to(model.device)).cpu())
    return torch.cat(chunks)


def answer_many(
    model: SkinGPT4,
    processor: Processor,
    features: Tensor,
    conversations: Sequence[Sequence[Turn]],
    max_new_tokens: int = 120,
) -> list[str]:
    """The greedy answer to each conversation's last turn, which has no reply yet; equal to `Chat` asking one by one.

    features: float[n, Q, 768], one photograph per conversation.
    """
    answers: list[str] = []
    for start in range(0, len(conversations), BATCH):
        with torch.inference_mode():
            image_tokens = model.project(features[start : start + BATCH].to(model.device))
        answers += _answer_batch(model, processor, image_tokens, conversations[start : start + BATCH], max_new_tokens)
    return answers


def _answer_batch(
    model: SkinGPT4,
    processor: Processor,
    image_tokens: Tensor,
    conversations: Sequence[Sequence[Turn]],
    max_new_tokens: int,
) -> list[str]:
    template, tokenizer = processor.chat_template, processor.tokenizer
    prompts = []
    for turns, tokens in zip(conversations, image_tokens, strict=True):
        parts = token_segments(render(template, turns), tokenizer)
        prompts.append([tokens if isinstance(part, ImageSlot) else part for part in parts])

    def finished(ids: list[int]) -> str | None:
        return until_stop(tokenizer.decode(ids), template.stops)

    made = generate_many(
        model.decoder, prompts, max_new_tokens, tokenizer.eos_ids, lambda ids: finished(ids) is not None
    )
    texts = []
    for ids in made:
        text, answer, is_cut = tokenizer.decode(ids).strip(), finished(ids), len(ids) == max_new_tokens
        texts.append(answer if answer is not None else without_open_end(text, template.stops) if is_cut else text)
    return texts


def evaluate_data(settings: Settings, data: Path, images: str, split: str, out: Path | None) -> str:
    """Ask for the diagnosis of every photograph of a manifest or table; returns a sentence with top-1 accuracy, n and a
    95 % interval.

    A diagnosis counts when the answer names the disease of the row and no other disease of the data. split: of a
    manifest; empty = all rows. out: every answer, as JSONL.
    """
    from skingpt4.weights.build import build_model

    is_manifest = data.is_dir() or data.suffix == PARQUET
    if split and not is_manifest:
        raise DataError(f"{data} is a table and has no splits; a folder of `skingpt4 data split` has them.")
    kind = "manifest" if is_manifest else "table"
    source = SourceSettings(source=kind, path=str(data), images=images, task="diagnosis", split=split)
    records = [record for record in read_source(source, on_bad_image="error", seed=0).records if record.disease]
    if not records:
        raise DataError(f"{data} gave no photograph of a known disease to evaluate.")
    model, processor = build_model(settings)
    question = DIAGNOSIS_PROMPTS[1]
    features = encode_photographs(model, processor, [record.image for record in records])
    answers = answer_many(model, processor, features, [[Turn(question, images=1)] for _ in records])
    diseases = sorted({record.disease for record in records})
    named = [named_disease(answer, diseases) for answer in answers]
    if out:
        _write(
            out,
            (
                {"image": r.image.name, "disease": r.disease, "answer": a, "named": n}
                for r, a, n in zip(records, answers, named, strict=True)
            ),
        )
    right = sum(name == record.disease for name, record in zip(named, records, strict=True))
    low, high = wilson_interval(right, len(records))
    counts = Counter(name or "none of them" for name in named)
    commonest = max(Counter(record.disease for record in records).values())
    return (
        f"{right} of {len(records)} diagnoses right: {right / len(records):.1%} (95 % interval "
        f"{low:.1%} to {high:.1%}; always the commonest answer: {commonest / len(records):.1%}). The model named: "
        + ", ".join(f"{name} {times} times" for name, times in counts.most_common())
        + "."
    )


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
