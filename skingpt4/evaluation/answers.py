"""Ask a model the same questions about many photographs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from skingpt4.chat.conversation import Chat
from skingpt4.data.loading import read_source
from skingpt4.data.manifest import PARQUET
from skingpt4.errors import DataError
from skingpt4.evaluation.metrics import wilson_interval
from skingpt4.evaluation.parsing import named_disease
from skingpt4.prompts import Turn
from skingpt4.settings import Settings, SourceSettings
from skingpt4.vocabulary import DIAGNOSIS_PROMPTS

LONGEST_ANSWER = 120  # tokens


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
    chat = Chat(*build_model(settings))
    question = DIAGNOSIS_PROMPTS[1]
    features = chat.encode_many([record.image for record in records])
    turns = [[Turn(question, images=1)] for _ in records]
    answers = chat.answer_conversations(features, turns, LONGEST_ANSWER)
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
