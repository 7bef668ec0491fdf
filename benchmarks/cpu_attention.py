"""Plain against fused attention for the embedded default on a CPU in bf16: one training step, in one run.

Command: python benchmarks/cpu_attention.py     The claim it backs: `weights/decoder.py` takes plain attention there.
"""

from __future__ import annotations

import platform
import time

import torch

from skingpt4.config import EMBEDDED_FOLDER, load_settings
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.vocabulary import CONCEPT_PROMPT
from skingpt4.weights.build import build_model

ANSWER = "This is a skin disease image with following clinical concepts: Plaque, Scale, Erythema"
ROUNDS, STEPS, BATCH = 5, 10, 32


def cpu_ms_per_step(model: SkinGPT4, features: torch.Tensor, batch: TrainingBatch) -> float:
    """CPU milliseconds of a forward and backward pass; the machine may be shared, so not the clock's."""
    started = time.process_time()
    for _ in range(STEPS):
        model(features, batch).backward()
    return (time.process_time() - started) / STEPS * 1e3


def main() -> None:
    """Print both and their ratio, the rounds taken in turn."""
    torch.set_num_threads(1)
    settings = load_settings(EMBEDDED_FOLDER.parent / "configs" / "model.yaml", ["model.precision=bf16"])[0]
    model, processor = build_model(settings)
    features = torch.randn(BATCH, processor.queries, model.llama_proj.in_features)
    batch = TrainingBatch.collate([processor.training_sequence(CONCEPT_PROMPT, ANSWER)] * BATCH)
    best: dict[str, list[float]] = {"eager": [], "sdpa": []}
    for _ in range(ROUNDS + 1):
        for kind, times in best.items():
            model.decoder.set_attn_implementation(kind)
            times.append(cpu_ms_per_step(model, features, batch))
    plain, fused = (sorted(times[1:])[ROUNDS // 2] for times in best.values())  # the first round warms up
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, batch {BATCH}, bf16")
    print(f"plain {plain:.0f} ms, fused {fused:.0f} ms of CPU time per step: fused / plain = {fused / plain:.2f}")


if __name__ == "__main__":
    main()
