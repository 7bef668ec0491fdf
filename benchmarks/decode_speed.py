"""Decoding speed against what a user would write today: prefill of a prompt, then greedy tokens one by one, batch 1.

Baseline: `transformers`' own BLIP-2 of the same sizes (`models.py`; `mini` is for CPUs, in float32, `7b` and `13b` for
GPUs, in float16), its language model's `generate` on the embeddings of prompt and image. Ours: `TransformersEngine`, in
float32 and in bf16. The photograph is encoded beforehand in all of them.

Command: python benchmarks/decode_speed.py [--size mini|7b|13b] [--tokens N] [--threads N] [--bandwidth GB/s]
Random weights: speed does not depend on them. No token ends an answer, so that all make the same number.
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
from collections.abc import Callable

import torch
from models import SIZES, VOCABULARY, Size, baseline, ours
from transformers import LlamaForCausalLM

from skingpt4.engines.at_once import embed
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Segment
from skingpt4.engines.transformers_engine import TransformersEngine

PROMPT_TOKENS = (8, 54)  # before and after the 32 of the image: 94 together
ROUNDS = 5


def prompt(width: int) -> list[Segment]:
    """Ids, an image, ids."""
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(3, VOCABULARY, (n,), generator=generator).tolist() for n in PROMPT_TOKENS)
    return [before, torch.randn(32, width, generator=generator), after]


@torch.inference_mode()
def plain_seconds(decoder: LlamaForCausalLM, segments: list[Segment], tokens: int) -> float:
    """Wall seconds of `generate`."""
    embeddings = embed(decoder, segments).unsqueeze(0)
    attended = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
    started = time.perf_counter()
    made = decoder.generate(
        inputs_embeds=embeddings, attention_mask=attended,
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0,
    )  # fmt: skip
    assert made.shape == (1, tokens)
    return time.perf_counter() - started


def our_seconds(engine: TransformersEngine, segments: list[Segment], tokens: int) -> float:
    """Wall seconds of a new conversation's first answer."""
    started = time.perf_counter()
    made = sum(1 for _ in engine.start().generate(segments, Sampling(max_new_tokens=tokens)))
    assert made == tokens
    return time.perf_counter() - started


Candidate = Callable[[int], float]  # seconds of a prompt and so many tokens


def candidates(size: Size, segments: list[Segment], on_gpu: bool) -> dict[str, Callable[[], Candidate]]:
    """What is compared, each made when it is called."""

    def plain() -> Candidate:
        decoder = baseline(size).language_model
        decoder = decoder.half() if on_gpu else decoder
        return lambda count: plain_seconds(decoder, segments, count)

    def own(dtype: torch.dtype, compiled: bool) -> Candidate:
        engine = TransformersEngine(ours(size, dtype, with_encoder=False).decoder, (), compiled)
        return lambda count: our_seconds(engine, segments, count)

    full = {} if on_gpu else {"ours, float32": lambda: own(torch.float32, False)}
    return {
        f"plain `generate`, {'float16' if on_gpu else 'float32'}": plain,
        **full,
        "ours, bf16": lambda: own(torch.bfloat16, False),
        "ours, bf16, compiled": lambda: own(torch.bfloat16, True),
    }


def measured(made: dict[str, Candidate], tokens: int) -> dict[str, tuple[float, float]]:
    """Median seconds of prefill and of each token after it; the candidates take turns, the first round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(ROUNDS + 1):
        for name, seconds in made.items():
            first = seconds(1)
            times[name].append((first, (seconds(tokens) - first) / (tokens - 1)))
    return {name: (median([f for f, _ in found]), median([e for _, e in found])) for name, found in times.items()}


def main() -> None:
    """Print prefill, tokens a second and ratios; on a GPU also the share of its memory's bandwidth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--tokens", type=int, default=65)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bandwidth", type=float, default=3350.0, help="of the GPU's memory, GB/s; an H100 has 3,350")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size, on_gpu = SIZES[arguments.size], torch.cuda.is_available()
    name = torch.cuda.get_device_name() if on_gpu else f"{platform.machine()}, {arguments.threads} threads"
    print(f"{name}, torch {torch.__version__}, size {arguments.size}\n")
    makers = candidates(size, prompt(size.decoder[0]), on_gpu)
    found: dict[str, tuple[float, float]] = {}
    if on_gpu:
        torch.set_default_device("cuda")
        for each, make in makers.items():  # each alone in memory
            found |= measured({each: make()}, arguments.tokens)
            gc.collect()
            torch.cuda.empty_cache()
    else:
        found = measured({each: make() for each, make in makers.items()}, arguments.tokens)
    width, layers, _, hidden = size.decoder
    gigabytes = 2 * (layers * (4 * width**2 + 3 * width * hidden) + VOCABULARY * width) / 1e9  # in 16 bits
    print("| | prefill of 94 tokens, ms | ratio | tokens/s | ratio |" + " share of bandwidth |" * on_gpu)
    print("|---|---:|---:|---:|---:|" + "---:|" * on_gpu)
    first = next(iter(found.values()))
    for each, (prefill, token) in found.items():
        share = f" {gigabytes / token / arguments.bandwidth:.0%} |" if on_gpu else ""
        ratios = first[0] / prefill, first[1] / token
        print(f"| {each} | {prefill * 1e3:.0f} | {ratios[0]:.2f} | {1 / token:.1f} | {ratios[1]:.2f} |{share}")
    if not on_gpu:
        decoders = [ours(size, dtype, with_encoder=False).decoder for dtype in (torch.float32, torch.bfloat16)]
        for rows in (94, 1):
            full, half = (matrix_products_ms(decoder, rows) for decoder in decoders)
            ratio = f"{full:.1f} ms in float32, {half:.1f} in bf16: {full / half:.2f}"
            print(f"\nThe layers' matrix products alone, {rows} token(s): {ratio}")


def matrix_products_ms(decoder: LlamaForCausalLM, rows: int) -> float:
    """Median wall milliseconds of the layers' matrix products alone, one after the other, for so many tokens."""
    weights = [parameter for name, parameter in decoder.model.layers.named_parameters() if parameter.ndim == 2]
    inputs = {width: torch.randn(rows, width, dtype=decoder.dtype) for width in {w.shape[1] for w in weights}}
    found = []
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            found.append((time.perf_counter() - started) * 1000)
    return median(found)


def median(rounds: list[float]) -> float:
    """Of all rounds but the first."""
    return sorted(rounds[1:])[ROUNDS // 2]


if __name__ == "__main__":
    main()
