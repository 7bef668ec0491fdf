"""Is `skingpt4 train --estimate` right? Its figures beside those measured while a decoder of random weights is loaded
and takes one training step.

    python benchmarks/memory_estimate.py [--decoder mini|7b|13b] [--samples 2] [--answer-tokens 160] [--device cpu|cuda]

On a GPU the peak is the allocator's (without the context); on a CPU it is the process's own memory, sampled, and what
autograd keeps is counted tensor by tensor on both. Each kind of weights is a process of its own. 7b writes 13 GB of
scratch files and needs as much memory, 13b twice that; `mini` (12 layers of 768) needs 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from memory_meter import GIB, Meter, machine, resident  # noqa: E402
from tiny_models import llama_config, llama_shapes  # noqa: E402
from true_size import DECODERS, PUBLISHED, Values, write_decoder_shards  # noqa: E402

from skingpt4.model.packing import TrainingBatch  # noqa: E402
from skingpt4.model.skingpt4 import SkinGPT4  # noqa: E402
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence  # noqa: E402
from skingpt4.settings import Settings  # noqa: E402
from skingpt4.training import memory  # noqa: E402
from skingpt4.training.estimate import Device, estimate  # noqa: E402
from skingpt4.weights.decoder import load_decoder  # noqa: E402
from skingpt4.weights.quantize import quantization_config  # noqa: E402

MINI = replace(PUBLISHED, llama_width=768, llama_layers=12, llama_heads=12, llama_intermediate=2048)
SIZES = {"mini": MINI, **DECODERS}
LIMIT = 0.10


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Estimated and measured GiB per part, of one process that does nothing else."""
    device = torch.device(arguments.device)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[arguments.precision]
    settings = Settings()
    model, run = settings.model, settings.run
    model.llama_model, model.precision = str(folder), arguments.precision
    model.decoder_quantization, model.max_txt_len = arguments.quantization, arguments.answer_tokens
    run.batch_size_train = arguments.samples
    parts = {part.name: part.size_bytes for part in estimate(settings, Device(device.type == "cuda", 0, ""))}
    torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)  # context and libraries are there before
    if arguments.quantization:
        quantization_config(arguments.quantization, dtype)  # imports the library
    at_start = _used(device)
    load_peak, decoder = _peak(device, lambda: load_decoder(folder, dtype, device, arguments.quantization))
    loaded = _used(device) - at_start
    projected = SkinGPT4(None, None, torch.nn.Linear(model.qformer_width, decoder.config.hidden_size), decoder).to(
        device
    )
    batch = TrainingBatch.collate([_sequence(model.num_query_token, arguments.answer_tokens)] * arguments.samples)
    batch = batch.to(device)
    features = torch.randn(arguments.samples, model.num_query_token, model.qformer_width, device=device)
    before = _used(device)
    peak, _ = _peak(device, lambda: projected(features, batch).backward())
    own = [*projected.parameters(), *projected.buffers(), *_scales(projected)]
    kept = memory.saved_bytes(lambda: projected(features, batch), own)
    step = parts["kept for backward"] + parts["working memory"]
    return {
        "decoder": (parts["decoder"] / GIB, loaded / GIB),
        "kept for backward": (parts["kept for backward"] / GIB, kept / GIB),
        "step at its peak": (step / GIB, (peak - before) / GIB),
        "load at its peak": (parts["decoder"] / GIB, (load_peak - at_start) / GIB),
    }


def _sequence(queries: int, answer_tokens: int) -> TrainingSequence:
    before = [3] * memory.BEFORE_IMAGE + [IMAGE_SLOT] * queries + [4] * memory.AFTER_IMAGE
    return TrainingSequence(before + [5] * answer_tokens, [False] * len(before) + [True] * answer_tokens)


def _scales(model: torch.nn.Module) -> list[torch.Tensor]:
    """What belongs to quantised weights and is no parameter of its own."""
    found = []
    for weight in model.parameters():
        found += [getattr(weight, name) for name in ("qdata", "scale") if hasattr(weight, name)]
    return found


def _used(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident()[1]


def _peak(device: torch.device, work: Callable[[], Any]) -> tuple[int, Any]:
    """The most that was used while `work` ran, and what it returned."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        outcome = work()
        return torch.cuda.max_memory_allocated(device), outcome
    meter = Meter()
    with meter.stage("measured"):
        outcome = work()
    return meter.stages[-1].peak_anonymous, outcome


def main() -> int:
    """Returns 1 when the step's peak differs by more than `LIMIT` from the estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoder", choices=SIZES, default="mini")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--answer-tokens", type=int, default=160)
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scratch", type=Path, help="folder for the weights (default: a temporary one)")
    parser.add_argument("--quantization", help=argparse.SUPPRESS)  # given to the process that measures
    arguments = parser.parse_args()
    folder = arguments.scratch or Path(tempfile.mkdtemp(prefix="skingpt4_memory_estimate_"))
    if arguments.quantization is not None:
        print(json.dumps(measure(folder, arguments)))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(SIZES[arguments.decoder])), encoding="utf-8")
    write_decoder_shards(folder, Values(), llama_shapes(SIZES[arguments.decoder]), "safetensors")
    print(f"{arguments.decoder}, {arguments.samples} x {arguments.answer_tokens} answer tokens, {arguments.precision}")
    print(f"{machine()}\n\n| weights | part | estimated, GiB | measured, GiB | difference |\n|---|---|---:|---:|---:|")
    within = True
    try:
        for kind in ("", "int8", "nf4"):
            command = [sys.executable, *sys.argv, "--scratch", str(folder), "--quantization", kind]
            # Freed memory goes back at once, as that of true-sized matrices does.
            environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            for part, (wanted, found) in json.loads(done.stdout.strip().splitlines()[-1]).items():
                differs = wanted / found - 1
                print(f"| {kind or arguments.precision} | {part} | {wanted:.3f} | {found:.3f} | {differs:+.1%} |")
                within &= part != "step at its peak" or abs(differs) <= LIMIT
    finally:
        if not arguments.scratch:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
