"""What a decoder in 8 or 4 bits costs in loss and time: against full precision, in one run.

    python benchmarks/quantization.py [--steps 10]

Two decoders: `mini` (12 layers of 768, vocabulary 32,000, random weights; answers of 20-60 tokens, batch 8) and the
small one that this package ships, whose weights are trained and whose answers are sentences (batch 8). For each: the
loss before training, the loss after `--steps` steps on one batch, and seconds per step. float32, so that nothing else
rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from memory_estimate import MINI  # noqa: E402
from memory_meter import machine  # noqa: E402
from models import QUERIES  # noqa: E402
from tiny_models import llama_config, llama_shapes  # noqa: E402
from training_speed import BATCH, sequences  # noqa: E402
from true_size import Values, write_decoder_shards  # noqa: E402

from skingpt4.config import embedded_settings  # noqa: E402
from skingpt4.model.packing import TrainingBatch  # noqa: E402
from skingpt4.model.skingpt4 import SkinGPT4  # noqa: E402
from skingpt4.weights.build import build_model, random_projection  # noqa: E402
from skingpt4.weights.decoder import load_decoder  # noqa: E402

LIMIT = 0.02  # of the loss, on `mini`
WIDTH = 384
DISEASES = ("psoriasis", "eczema", "acne", "melanoma", "rosacea", "urticaria", "vitiligo", "tinea")


def mini(folder: Path, kind: str) -> tuple[SkinGPT4, Tensor, TrainingBatch]:
    """Model, features and batch at the `mini` sizes, the same for every kind."""
    generator = torch.Generator().manual_seed(0)
    decoder = load_decoder(folder, torch.float32, torch.device("cpu"), kind)
    model = SkinGPT4(None, None, random_projection(WIDTH, MINI.llama_width, generator), decoder).eval()
    return model, torch.randn(BATCH, QUERIES, WIDTH, generator=generator), TrainingBatch.collate(sequences(generator))


def shipped(kind: str) -> tuple[SkinGPT4, Tensor, TrainingBatch]:
    """The package's own model, features of eight pictures of noise, and an answer for each."""
    settings = embedded_settings(["model.precision=fp32"])
    settings.model.decoder_quantization = kind
    model, processor = build_model(settings)
    size, question = settings.model.image_size, "Could you describe the skin disease in this image for me?"
    answers = [f"This could be a skin disease image of {disease}." for disease in DISEASES]
    with torch.no_grad():
        pixels = torch.randn(len(answers), 3, size, size, generator=torch.Generator().manual_seed(0))
        features = model.encode_images(pixels)
    model.train_only("llama_proj")
    return model, features, TrainingBatch.collate([processor.training_sequence(question, text) for text in answers])


def train(model: SkinGPT4, features: Tensor, batch: TrainingBatch, steps: int) -> tuple[float, float, float]:
    """Loss before and after `steps` steps, and seconds per step."""
    learned: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    losses = []
    started = time.perf_counter()
    for _ in range(steps):
        loss = model(features, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    seconds = (time.perf_counter() - started) / steps
    with torch.no_grad():
        return losses[0], model(features, batch).item(), seconds


def main() -> int:
    """Returns 1 when the loss of the `mini` decoder is off by more than `LIMIT`, before or after training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{machine()}, {arguments.steps} steps\n")
    print("| decoder | weights | loss before | difference | loss after | difference | seconds per step |")
    print("|---|---|---:|---:|---:|---:|---:|")
    within = True
    with tempfile.TemporaryDirectory(prefix="skingpt4_quantization_") as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_text(json.dumps(llama_config(MINI)), encoding="utf-8")
        write_decoder_shards(folder, Values(), llama_shapes(MINI), "safetensors")
        for name, build in (("mini", lambda kind: mini(folder, kind)), ("shipped", shipped)):
            whole: tuple[float, float, float] | None = None
            for kind in ("", "int8", "nf4"):
                found = train(*build(kind), arguments.steps)
                whole = whole or found
                before, after = found[0] / whole[0] - 1, found[1] / whole[1] - 1
                print(
                    f"| {name} | {kind or 'fp32'} | {found[0]:.4f} | {before:+.2%} | {found[1]:.4f} | {after:+.2%} "
                    f"| {found[2]:.2f} |",
                    flush=True,
                )
                within &= name != "mini" or max(abs(before), abs(after)) <= LIMIT
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
