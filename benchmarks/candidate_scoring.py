"""Scoring all 48 concepts for a photograph at once, beside a separate forward pass for each answer, in one run.

Two kinds of answers: the 48 of a single concept ("... with following clinical concepts: X"), and those of
`evaluation/candidates.py`: the model's list (SKINCON's commonest one of three concepts) and each of the 48 lists that
differ from it by one concept. A separate pass reads prompt, image and one answer, and computes the vocabulary's logits
at the answer only. The log-likelihoods of both ways must be equal within 1e-4 in float32.

Sizes as in `models.py` (`mini` is for CPUs, in float32) with random weights, on which speed does not depend; the
tokenizer is the package's, whose 1,100 pieces the answers consist of.

Command: python benchmarks/candidate_scoring.py [--size mini|7b|13b] [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from models import QUERIES, SIZES, ours

from skingpt4.chat.context import segments
from skingpt4.data.records import in_column_order
from skingpt4.engines.at_once import embed
from skingpt4.engines.seam import Segment
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.processor import Processor
from skingpt4.prompts import TEMPLATES, Turn, encode_answer
from skingpt4.tokenizer import load_tokenizer
from skingpt4.vocabulary import CONCEPT_ANSWER, CONCEPT_PROMPT, CONCEPTS

TOKENIZER = Path(__file__).parents[1] / "skingpt4" / "tiny" / "assets" / "llm"
COMMONEST = frozenset({"Plaque", "Scale", "Erythema"})


@torch.inference_mode()
def separately(engine: TransformersEngine, prompt: list[Segment], answers: list[list[int]]) -> list[float]:
    """One forward pass for each answer."""
    found = []
    for answer in answers:
        row = embed(engine.decoder, [*prompt, answer]).unsqueeze(0)
        logits = engine.decoder(inputs_embeds=row, use_cache=False, logits_to_keep=len(answer) + 1).logits[0, :-1]
        found.append(float(logits.float().log_softmax(-1)[range(len(answer)), answer].sum()))
    return found


def together(engine: TransformersEngine, prompt: list[Segment], answers: list[list[int]]) -> list[float]:
    """What the package does."""
    return [float(scores.sum()) for scores in engine.score(prompt, answers)]


def answers_of(processor: Processor) -> dict[str, list[list[int]]]:
    """What is scored, as token ids."""
    lists = [COMMONEST, *(COMMONEST ^ {concept} for concept in CONCEPTS)]
    texts = {
        "48 single concepts": [CONCEPT_ANSWER.format(concepts=name) for name in CONCEPTS],
        "a list, 48 lists that differ by one": [
            CONCEPT_ANSWER.format(concepts=", ".join(in_column_order(names))) for names in lists
        ],
    }
    end = processor.chat_template.stops[0]
    return {name: [encode_answer(text, end, processor.tokenizer, 999) for text in of] for name, of in texts.items()}


def compare(
    engine: TransformersEngine, prompt: list[Segment], answers: list[list[int]], rounds: int
) -> tuple[float, float, float]:
    """Median seconds of both ways, which take turns, and the largest difference of a log-likelihood."""
    seconds: dict[Callable[..., list[float]], list[float]] = {separately: [], together: []}
    scores: dict[Callable[..., list[float]], torch.Tensor] = {}
    for _ in range(rounds + 1):  # the first warms up
        for way, times in seconds.items():
            started = time.perf_counter()
            scores[way] = torch.tensor(way(engine, prompt, answers))
            times.append(time.perf_counter() - started)
    slow, fast = (statistics.median(times[1:]) for times in seconds.values())
    return slow, fast, float((scores[separately] - scores[together]).abs().max())


def main() -> None:
    """Print a table: what is scored, tokens read, seconds of both ways and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    size, on_gpu = SIZES[arguments.size], torch.cuda.is_available()
    model = ours(size, torch.float16 if on_gpu else torch.float32, with_encoder=False)
    model = model.cuda() if on_gpu else model
    template = TEMPLATES["minigpt4"]
    processor = Processor(load_tokenizer(TOKENIZER), 224, QUERIES, template, template, 160)
    engine = TransformersEngine(model.decoder, processor.tokenizer.eos_ids)
    image = torch.randn(QUERIES, size.decoder[0], generator=torch.Generator().manual_seed(0)).to(model.decoder.device)
    prompt = segments(processor, [Turn(CONCEPT_PROMPT, images=1)], [image])
    read = sum(map(len, prompt))
    device = torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine()
    print(f"{arguments.size}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"prompt of {read} tokens; median of {arguments.rounds} rounds\n")
    print("| | tokens of an answer | separate passes, s | at once, s | ratio | largest difference |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, answers in answers_of(processor).items():
        slow, fast, difference = compare(engine, prompt, answers, arguments.rounds)
        lengths = f"{min(map(len, answers))}-{max(map(len, answers))}"
        print(f"| {name} | {lengths} | {slow:.3f} | {fast:.3f} | {slow / fast:.1f} | {difference:.0e} |", flush=True)
        assert on_gpu or difference < 1e-4, "the scores differ"


if __name__ == "__main__":
    main()
