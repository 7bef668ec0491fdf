"""Requests that come together, decoded together (`BatchingEngine`, what `skingpt4 serve` uses) or one after the other.

Every request is a prompt of 94 tokens with an image in it and an answer of `--tokens`; all come at the same moment,
each in a thread of its own, as in the server. One after the other they go through `TransformersEngine`. Pictures are
encoded beforehand in both. Each number of requests is measured `ROUNDS` times, the two in turns; medians.

Command: python benchmarks/serve_batching.py [--size mini|7b|13b] [--tokens N] [--threads N] [--precision fp32|bf16]
Random weights: speed does not depend on them. No token ends an answer, so that all make the same number.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import threading
import time

import torch
from decode_speed import prompt
from models import SIZES, ours

from skingpt4.engines.batching import BatchingEngine
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Segment
from skingpt4.engines.transformers_engine import TransformersEngine

WIDTHS = (1, 4, 16)
ROUNDS = 3


def one_by_one(engine: TransformersEngine, asked: list[list[Segment]], how: Sampling) -> list[float]:
    """Seconds from the common start until each request has its first and its last token: firsts, then lasts."""
    started, firsts, lasts = time.perf_counter(), [], []
    for segments in asked:
        answer = engine.start().generate(segments, how)
        next(answer)
        firsts.append(time.perf_counter() - started)
        assert sum(1 for _ in answer) == how.max_new_tokens - 1
        lasts.append(time.perf_counter() - started)
    return [*firsts, *lasts]


def together(engine: BatchingEngine, asked: list[list[Segment]], how: Sampling) -> list[float]:
    """The same, all at one time."""
    firsts, lasts = [0.0] * len(asked), [0.0] * len(asked)
    started = time.perf_counter()

    def ask(index: int) -> None:
        answer = engine.start().generate(asked[index], how)
        next(answer)
        firsts[index] = time.perf_counter() - started
        assert sum(1 for _ in answer) == how.max_new_tokens - 1
        lasts[index] = time.perf_counter() - started

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [*firsts, *lasts]


def main() -> None:
    """Print tokens a second of all requests, and how long a request waits for its first word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if torch.cuda.is_available():
        torch.set_default_device("cuda")
    size, how = SIZES[arguments.size], Sampling(max_new_tokens=arguments.tokens)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[arguments.precision]
    decoder = ours(size, dtype, with_encoder=False).decoder
    with torch.device("cpu"):
        segments = prompt(size.decoder[0])
    alone, batching = TransformersEngine(decoder, ()), BatchingEngine(decoder, (), max(WIDTHS))
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    print(
        f"{machine}, {arguments.threads} threads, torch {torch.__version__}, {arguments.size}, {arguments.precision}\n"
    )
    print("| requests at once | one by one, tokens/s | together, tokens/s | ratio | first word, s | together, s |")
    print("|---:|---:|---:|---:|---:|---:|")
    for width in WIDTHS:
        asked = [[*segments]] * width
        found: dict[str, list[list[float]]] = {"alone": [], "together": []}
        for _ in range(ROUNDS + 1):  # the first warms up
            found["alone"].append(one_by_one(alone, asked, how))
            found["together"].append(together(batching, asked, how))
        rates, waits = [], []
        for rounds in found.values():
            rates.append(width * arguments.tokens / statistics.median(max(each) for each in rounds[1:]))
            waits.append(statistics.median(statistics.mean(each[:width]) for each in rounds[1:]))
        ratio = rates[1] / rates[0]
        print(
            f"| {width} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio:.2f} | {waits[0]:.2f} | {waits[1]:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
