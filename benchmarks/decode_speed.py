"""Decoding speed against what a user would write today: prefill of a prompt, then greedy tokens one by one, batch 1.

Baseline: `transformers`' own BLIP-2 of the `mini` sizes (see `training_speed.py`), float32, its language model's
`generate` on the embeddings of prompt and image. Ours: `TransformersEngine` on the same sizes in bf16 and in float32.
The photograph is encoded beforehand in all of them.

Command: python benchmarks/decode_speed.py [--tokens N] [--threads N]
Random weights: speed does not depend on them. No token ends an answer, so that all make the same number.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch
from training_speed import VOCABULARY, baseline, ours
from transformers import LlamaForCausalLM

from skingpt4.engines.sampling import Sampling
from skingpt4.engines.transformers_engine import Segment, TransformersEngine, embed

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
    started = time.perf_counter()
    made = decoder.generate(
        inputs_embeds=embeddings, attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
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


def main() -> None:
    """Print prefill, tokens a second and ratios; the candidates take turns, the median round counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=65)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plain = baseline().language_model
    segments = prompt(plain.config.hidden_size)
    engines = {
        "ours, float32": TransformersEngine(ours(torch.float32).decoder, ()),
        "ours, bf16": TransformersEngine(ours(torch.bfloat16).decoder, ()),
        "ours, bf16, compiled": TransformersEngine(ours(torch.bfloat16).decoder, (), compiled=True),
    }
    candidates: dict[str, Callable[[int], float]] = {
        "plain `generate`, float32": lambda count: plain_seconds(plain, segments, count),
        **{name: (lambda count, e=engine: our_seconds(e, segments, count)) for name, engine in engines.items()},
    }
    prefill: dict[str, list[float]] = {name: [] for name in candidates}
    each: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, seconds in candidates.items():
            first = seconds(1)
            prefill[name].append(first)
            each[name].append((seconds(arguments.tokens) - first) / (arguments.tokens - 1))
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads\n")
    print("| | prefill of 94 tokens, ms | ratio | tokens/s | ratio |\n|---|---:|---:|---:|---:|")
    names = list(candidates)
    for name in names:
        ratios = [median(times[names[0]]) / median(times[name]) for times in (prefill, each)]
        first, rate = median(prefill[name]) * 1000, 1 / median(each[name])
        print(f"| {name} | {first:.0f} | {ratios[0]:.2f} | {rate:.1f} | {ratios[1]:.2f} |")
    for rows in (94, 1):
        full, half = (matrix_products_ms(engines[name].decoder, rows) for name in ("ours, float32", "ours, bf16"))
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
