"""Training speed against what a user would write today: samples a second at the `mini` sizes, both in one run.

Baseline: `transformers`' own BLIP-2 of the same sizes with a LLaMA decoder, float32, images read and encoded at every
step, logits of the whole padded sequence; the projection alone is trained, as here. Ours: this package's model and
loss, in float32 and in bf16, with images read and encoded at every step, and with the features read from a feature
cache (as from the second pass on; filling it is `feature_cache.py`'s). A step is all of it: reading eight photographs
(JPEG, 800 x 600) or their features, forward, backward, AdamW.

Command: python benchmarks/training_speed.py [--size mini|7b|13b] [--batch N] [--steps N] [--peak-tflops X]
`mini`, for CPUs: ViT 384 x 12 at 224 px, Q-Former 384 x 6 with 32 queries, decoder 768 x 12, vocabulary 32,000,
batch 8, answers of 20-60 tokens. `7b` and `13b`, for GPUs: the true sizes; there the baseline computes in fp16
autocast, and the candidates run one after the other, each alone in memory. Random weights: speed does not depend on
them.
"""

from __future__ import annotations

import argparse
import gc
import math
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from feature_cache import photographs
from models import IMAGE_PX, IMAGE_TOKEN, QUERIES, SIZES, VOCABULARY, Size, baseline, ours
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

from skingpt4.images import evaluation_transform, open_image
from skingpt4.model.packing import TrainingBatch
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence
from skingpt4.training.inputs.shards import Shards, as_digests

BATCH = 8
BEFORE, QUESTION = 8, 24  # tokens before the image and between it and the answer
ROUNDS = 5
PHOTOGRAPHS = 32
Reader = Callable[[int], Tensor]


def sequences(generator: torch.Generator, batch: int = BATCH) -> list[TrainingSequence]:
    """A batch of random text around the image, answers of 20-60 tokens."""
    made = []
    before = torch.randint(3, IMAGE_TOKEN, (BEFORE,), generator=generator).tolist()  # the template's, all alike
    for length in torch.linspace(20, 60, batch, device="cpu").round().int().tolist():
        words = torch.randint(3, IMAGE_TOKEN, (QUESTION + length,), generator=generator).tolist()
        ids = [*before, *[IMAGE_SLOT] * QUERIES, *words]
        made.append(TrainingSequence(ids, [False] * (len(ids) - length) + [True] * length))
    return made


def readers(
    folder: Path, size: Size, batch: int
) -> tuple[Callable[[int], Tensor], Callable[[int], Tensor], Callable[[int], Tensor]]:
    """What reads the batch of a step: pixels in a plain loop, pixels with this package, cached features."""
    files = [record.image for record in photographs(folder, PHOTOGRAPHS)]
    plain = Compose(
        [
            Resize((IMAGE_PX, IMAGE_PX), InterpolationMode.BICUBIC),
            ToTensor(),
            Normalize((0.481, 0.458, 0.408), (0.269, 0.261, 0.276)),
        ]
    )
    own = evaluation_transform(IMAGE_PX)
    shards = Shards(folder)
    digests = as_digests(np.arange(PHOTOGRAPHS * 32, dtype=np.uint8).reshape(PHOTOGRAPHS, 32))
    shards.add(digests, {"features": torch.randn(PHOTOGRAPHS, 4, QUERIES, size.qformer[0], device="cpu")}, {})
    shards.refresh()
    rows = shards.find(digests)

    def of(read: Reader) -> Reader:
        device = torch.get_default_device()
        return lambda step: torch.stack([read((step * batch + n) % PHOTOGRAPHS) for n in range(batch)]).to(device)

    return (
        of(lambda number: plain(Image.open(files[number]).convert("RGB"))),
        of(lambda number: own(open_image(files[number]))),
        of(lambda number: shards.read("features", rows[number], number % 4)),
    )


def baseline_loss(model: nn.Module, batch: TrainingBatch) -> Callable[[Tensor], Tensor]:
    """The plain loop's loss of pixels."""
    ids = batch.ids.masked_fill(batch.ids == IMAGE_SLOT, IMAGE_TOKEN)[batch.rows]
    in_answer = torch.zeros_like(batch.ids, dtype=torch.bool).index_fill(0, batch.predictors + 1, True)
    labels = ids.masked_fill(~(in_answer[batch.rows] & batch.attended), -100)
    mask, on_gpu = batch.attended.long(), ids.is_cuda

    def loss(pixels: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.float16, enabled=on_gpu):
            return model(pixel_values=pixels, input_ids=ids, attention_mask=mask, labels=labels).loss

    return loss


def seconds_per_step(step: Callable[[int], Tensor], optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Mean wall seconds of reading, forward, backward and update."""
    started = time.perf_counter()
    for number in range(steps):
        step(number).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


Made = tuple[Callable[[int], Tensor], nn.Module]  # the loss of a step, by its number, and what it trains


def candidates(size: Size, batch: TrainingBatch, folder: Path) -> dict[str, Callable[[], Made]]:
    """What is compared, each made when it is called."""
    plain_pixels, pixels, features = readers(folder, size, len(batch.rows))
    on_gpu = batch.ids.is_cuda

    def plain() -> Made:
        model = baseline(size)
        loss = baseline_loss(model, batch)
        return lambda step: loss(plain_pixels(step)), model

    def encoding(dtype: torch.dtype) -> Made:
        model = ours(size, dtype)
        return lambda step: model(model.encode_images(pixels(step)), batch), model

    def cached(dtype: torch.dtype, compiled: bool = False) -> Made:
        model = ours(size, dtype, compiled, with_encoder=False)
        return lambda step: model(features(step), batch), model

    half = torch.bfloat16
    found: dict[str, Callable[[], Made]] = {"plain loop, fp16 autocast" if on_gpu else "plain loop, float32": plain}
    if not on_gpu:
        found["ours, float32, images each step"] = lambda: encoding(torch.float32)
        found["ours, float32, cached features"] = lambda: cached(torch.float32)
    found["ours, bf16, images each step"] = lambda: encoding(half)
    found["ours, bf16, cached features"] = lambda: cached(half)
    found["ours, bf16, cached features, compiled"] = lambda: cached(half, compiled=True)
    return found


def measured(made: dict[str, Made], steps: int) -> dict[str, float]:
    """Seconds per step: the candidates take turns, the median round counts; the first warms up."""
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS + 1):
        for name, (step, model) in made.items():
            learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
            times[name].append(seconds_per_step(step, torch.optim.AdamW(learned, lr=1e-4), steps))
    return {name: sorted(found[1:])[ROUNDS // 2] for name, found in times.items()}


def measured_alone(make: Callable[[], Made], name: str, steps: int) -> tuple[float, float]:
    """Seconds per step and peak GiB of GPU memory of one candidate; not a number where it does not fit."""
    torch.cuda.reset_peak_memory_stats()
    try:
        seconds = measured({name: make()}, steps)[name]
    except torch.OutOfMemoryError:
        seconds = math.nan
    peak = torch.cuda.max_memory_allocated() / 2**30
    gc.collect()
    torch.cuda.empty_cache()
    return seconds, peak


def main() -> None:
    """Print samples a second and ratios; on a GPU also the share of its matrix peak, and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--steps", type=int, default=3, help="steps per round and candidate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU, dense bf16; an H100 has 989")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    on_gpu = torch.cuda.is_available()
    size = SIZES[arguments.size]
    batch = TrainingBatch.collate(sequences(torch.Generator().manual_seed(0), arguments.batch))
    name = torch.cuda.get_device_name() if on_gpu else f"{platform.machine()}, {arguments.threads} threads"
    print(f"{name}, torch {torch.__version__}, size {arguments.size}, batch {arguments.batch}\n")
    with tempfile.TemporaryDirectory() as folder:
        if on_gpu:
            torch.set_default_device("cuda")
            batch = batch.to(torch.device("cuda"))
            makers = candidates(size, batch, Path(folder))
            on_gpu_table(makers, size, batch, arguments.steps, arguments.peak_tflops)
        else:
            makers = candidates(size, batch, Path(folder))
            on_cpu_table(measured({name: make() for name, make in makers.items()}, arguments.steps), arguments.batch)


def on_cpu_table(seconds: dict[str, float], batch: int) -> None:
    """Against the first row."""
    print("| | samples/s | ratio |\n|---|---:|---:|")
    first = next(iter(seconds.values()))
    for name, each in seconds.items():
        print(f"| {name} | {batch / each:.2f} | {first / each:.2f} |")


def on_gpu_table(
    makers: dict[str, Callable[[], Made]], size: Size, batch: TrainingBatch, steps: int, peak_tflops: float
) -> None:
    """The matrix work counted is what our packed step needs: two products per weight forward, two backward."""
    width, layers, _, hidden = size.decoder
    per_token = layers * (4 * width**2 + 3 * width * hidden)
    tflop = 4 * (per_token * len(batch.ids) + VOCABULARY * width * batch.answer_tokens) / 1e12
    print("| | samples/s | ratio | share of the peak | peak memory, GiB |\n|---|---:|---:|---:|---:|")
    first = math.nan
    for number, (name, make) in enumerate(makers.items()):
        seconds, peak = measured_alone(make, name, steps)
        first = seconds if number == 0 else first
        share = tflop / seconds / peak_tflops
        print(f"| {name} | {len(batch.rows) / seconds:.2f} | {first / seconds:.2f} | {share:.0%} | {peak:.1f} |")


if __name__ == "__main__":
    main()
