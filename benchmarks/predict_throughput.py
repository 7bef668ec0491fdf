"""Batch prediction (`skingpt4 predict`) with 16 pictures side by side beside one by one, in one run.

From pictures on disk to rows on disk: decoding by threads, encoder, answers, ranked diagnoses. Two kinds of work: one
question with an answer of `--tokens` tokens, and what the command does by default (two questions, the 15 classes
ranked; a ranking reads each picture's candidates as one tree, which is no faster for many pictures).

Sizes as in `models.py` (`mini` is for CPUs, in float32) with random weights, on which speed does not depend; the head
is changed so that no answer ends before its last token. The tokenizer is the package's.

Command: python benchmarks/predict_throughput.py [--size mini|7b|13b] [--tokens N] [--pictures N] [--rounds N]
    [--threads N]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from models import IMAGE_PX, QUERIES, SIZES, ours
from PIL import Image

import skingpt4.tiny
from skingpt4.chat.conversation import Chat
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.prediction.asking import Asker, Plan
from skingpt4.prediction.parts import done_numbers
from skingpt4.prediction.pictures import Pictures, find_pictures
from skingpt4.prediction.run import ask_all
from skingpt4.processor import Processor
from skingpt4.prompts import TEMPLATES
from skingpt4.tokenizer import load_tokenizer
from skingpt4.vocabulary import DIAGNOSIS_PROMPTS

TOKENIZER = Path(skingpt4.tiny.__file__).parent / "assets" / "llm"
BATCHES = (1, 16)
PICTURE_PX = (640, 480)


def chat_of(name: str) -> Chat:
    """A model of random weights whose answers consist of the tokenizer's pieces and never end."""
    on_gpu = torch.cuda.is_available()
    tokenizer, template = load_tokenizer(TOKENIZER), TEMPLATES["minigpt4"]
    model = ours(SIZES[name], torch.float16 if on_gpu else torch.float32)
    ending = [number for number in range(tokenizer.size) if "#" in tokenizer.decode([number])]
    with torch.no_grad():
        model.decoder.lm_head.weight[tokenizer.size :] = 0
        model.decoder.lm_head.weight[[*tokenizer.eos_ids, *ending]] = 0
    model = model.cuda() if on_gpu else model
    processor = Processor(tokenizer, IMAGE_PX, QUERIES, template, template, 160)
    return Chat(model, processor, TransformersEngine(model.decoder, ()))


def draw(folder: Path, count: int) -> Pictures:
    """Photographs of noise, as JPEG files."""
    noise = np.random.default_rng(0)
    for number in range(count):
        pixels = noise.integers(0, 255, (*PICTURE_PX[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=90)
    return find_pictures(folder)


def seconds(chat: Chat, plan: Plan, batch_size: int, pictures: Pictures, threads: int) -> float:
    """Wall seconds for all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        ask_all(Asker(chat, plan, batch_size), pictures, Path(folder), threads)
        took = time.perf_counter() - started
        assert len(done_numbers(Path(folder))) == len(pictures)
    return took


def main() -> None:
    """Print a table: what is asked, pictures a minute one by one and 16 at once, their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chat = chat_of(arguments.size)
    plans = {
        f"one question, {arguments.tokens} tokens": Plan(
            (DIAGNOSIS_PROMPTS[1],), diagnoses=(), max_new_tokens=arguments.tokens
        ),
        f"default: two questions of {arguments.tokens} tokens, 15 classes ranked": Plan(
            max_new_tokens=arguments.tokens
        ),
    }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(f"{arguments.size}, {device}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"{arguments.pictures} pictures; median of {arguments.rounds} rounds, after one of 2 pictures\n")
    print("| | one by one, pictures/min | 16 at once, pictures/min | ratio |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        pictures = draw(Path(folder), arguments.pictures)
        few = Pictures(pictures.names[:2], pictures.image)
        for name, plan in plans.items():
            took: dict[int, list[float]] = {size: [] for size in BATCHES}
            for size in BATCHES:
                seconds(chat, plan, size, few, arguments.threads)
            for _ in range(arguments.rounds):
                for size in BATCHES:
                    took[size].append(seconds(chat, plan, size, pictures, arguments.threads))
            single, together = (60 * len(pictures) / statistics.median(took[size]) for size in BATCHES)
            print(f"| {name} | {single:.1f} | {together:.1f} | {together / single:.2f} |", flush=True)


if __name__ == "__main__":
    main()
