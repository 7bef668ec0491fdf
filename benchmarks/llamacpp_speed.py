"""Decoding speed of llama.cpp against `transformers`: the same prompt and decoder as in `decode_speed.py`, batch 1.

Baseline: `generate` of `transformers` in float32. Compared: our default engine in bf16, and `LlamaCppEngine` over files
that `write_gguf` made of the same decoder in each precision. Then eight prompts at once against one after the other.

Command: python benchmarks/llamacpp_speed.py [--size mini] [--tokens N] [--threads N]
Random weights: speed does not depend on them. No token ends an answer, so that all make the same number.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch
from decode_speed import Candidate, measured, our_seconds, plain_seconds, prompt
from models import SIZES, VOCABULARY, Size, baseline, ours

from skingpt4.engines.llamacpp_engine import LlamaCppEngine
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Segment, never
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.weights.gguf import write_gguf

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_models import TINY, write_tokenizer

KINDS = ("f32", "bf16", "q8_0", "q4_0", "q4_k_m")
MANY = 8


def gguf_files(size: Size, folder: Path) -> dict[str, Path]:
    """The decoder of `models.py` in each precision."""
    decoder = ours(size, torch.float32, with_encoder=False).decoder
    decoder.save_pretrained(folder / "llm")
    write_tokenizer(folder / "llm" / "tokenizer.model", TINY.llama_vocabulary)
    return {kind: write_gguf(folder / "llm", folder / f"{kind}.gguf", kind) for kind in KINDS}


def candidates(size: Size, segments: list[Segment], files: dict[str, Path]) -> dict[str, Candidate]:
    """What is compared."""
    engines = {kind: LlamaCppEngine(file, ()) for kind, file in files.items()}
    bf16 = TransformersEngine(ours(size, torch.bfloat16, with_encoder=False).decoder, ())
    plain = baseline(size).language_model
    return {
        "`transformers`, float32": lambda count: plain_seconds(plain, segments, count),
        "`transformers`, bf16": lambda count: our_seconds(bf16, segments, count),
        **{
            f"llama.cpp, {kind}": lambda count, engine=engine: our_seconds(engine, segments, count)
            for kind, engine in engines.items()
        },
    }


def many_seconds(engine: LlamaCppEngine, segments: list[Segment], tokens: int) -> tuple[float, float]:
    """Wall seconds of `MANY` answers one after the other, and at once."""
    prompts = [[[3 + row], *segments] for row in range(MANY)]
    times = [time.perf_counter()]
    for one in prompts:
        assert sum(1 for _ in engine.start().generate(one, Sampling(max_new_tokens=tokens))) == tokens
    times.append(time.perf_counter())
    made = engine.generate_many(prompts, tokens, never)
    times.append(time.perf_counter())
    assert [len(row) for row in made] == [tokens] * MANY
    return times[1] - times[0], times[2] - times[1]


def main() -> None:
    """Print prefill, tokens a second and ratios, then the answers at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--tokens", type=int, default=65)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = SIZES[arguments.size]
    segments = prompt(size.decoder[0])
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}, size {arguments.size}\n")
    with tempfile.TemporaryDirectory() as folder:
        files = gguf_files(size, Path(folder))
        found = measured(candidates(size, segments, files), arguments.tokens)
        print("| | file, MB | prefill of 94 tokens, ms | ratio | tokens/s | ratio |\n|---|---:|---:|---:|---:|---:|")
        first = next(iter(found.values()))
        for name, (prefill, token) in found.items():
            file = files.get(name.rsplit(" ", 1)[-1])
            megabytes = f"{file.stat().st_size / 1e6:.0f}" if file and "llama" in name else ""
            ratios = first[0] / prefill, first[1] / token
            print(
                f"| {name} | {megabytes} | {prefill * 1e3:.0f} | {ratios[0]:.2f} | {1 / token:.1f} | {ratios[1]:.2f} |"
            )
        print(
            f"\n| {MANY} answers of {arguments.tokens} tokens | one by one, s | at once, s | ratio |\n"
            "|---|---:|---:|---:|"
        )
        for kind, file in files.items():
            alone, together = many_seconds(LlamaCppEngine(file, ()), segments, arguments.tokens)
            print(f"| {kind} | {alone:.2f} | {together:.2f} | {alone / together:.2f} |")
    assert max(max(part) for part in segments if isinstance(part, list)) < VOCABULARY


if __name__ == "__main__":
    main()
