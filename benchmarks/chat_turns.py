"""Time to the first token, turn by turn: a conversation that keeps keys and values, beside one that reads everything
anew for every question (as MiniGPT-4's demo does), in one run.

Each turn asks a question of equal length (another first word, so that nothing can be remembered) and gets an answer of
`--tokens` greedy tokens. Both conversations are held side by side; their greedy answers must be equal. Sizes as in
`models.py` (`mini` is for CPUs, in float32) with random weights, on which speed does not depend; the decoder's head
speaks whole words of the package's tokenizer only, so that its answers are tokens again when they are read as text.

Command: python benchmarks/chat_turns.py [--size mini|7b|13b] [--turns N] [--tokens N] [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
from pathlib import Path

import torch
from models import SIZES, ours

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.engines.sampling import Sampling
from skingpt4.processor import Processor
from skingpt4.prompts import TEMPLATES
from skingpt4.tokenizer import load_tokenizer

WORDS = ("What", "Where", "When", "Why", "How", "Who", "Which", "Whose")
QUESTION = "{} could you tell me about the skin disease that this image shows, please?"
TOKENIZER = Path(__file__).parents[1] / "skingpt4" / "tiny" / "assets" / "llm"


def chat_of(size_name: str) -> Chat:
    """A chat over a random model of this size."""
    size = SIZES[size_name]
    on_gpu = torch.cuda.is_available()
    model = ours(size, torch.float16 if on_gpu else torch.float32, with_encoder=False)
    tokenizer, template = load_tokenizer(TOKENIZER), TEMPLATES["minigpt4"]
    words = [token for token in range(tokenizer.size) if re.fullmatch("▁[a-z]+", tokenizer._pieces.id_to_piece(token))]
    with torch.no_grad():
        head = model.decoder.lm_head.weight
        spoken = head[words].clone()
        head.zero_()[words] = spoken
    processor = Processor(tokenizer, 224, 32, template, template, 160)
    chat = Chat(model.cuda() if on_gpu else model, processor)
    chat.engine.end_ids = frozenset()  # type: ignore[attr-defined]  # so that every answer has the same length
    return chat


def conversation_seconds(
    chat: Chat, features: torch.Tensor, turns: int, tokens: int, keeps: bool
) -> tuple[list[float], list[str]]:
    """Seconds to the first token of each turn, and the answers."""
    conversation: Conversation = chat.start_from_features(features)
    seconds, answers = [], []
    for word in WORDS[:turns]:
        if not keeps:
            conversation._state = chat.engine.start()
        answers.append(conversation.ask(QUESTION.format(word), Sampling(max_new_tokens=tokens)))
        assert conversation.timing is not None
        seconds.append(conversation.timing.first_token_seconds)
    return seconds, answers


def main() -> None:
    """Print a table: turn, kept, anew, ratio; and turn 4 against turn 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--turns", type=int, default=6, choices=range(4, len(WORDS) + 1))
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    chat = chat_of(arguments.size)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(32, chat.model.llama_proj.in_features, generator=generator)
    times: dict[bool, list[list[float]]] = {True: [], False: []}
    said: dict[bool, list[str]] = {}
    for _ in range(arguments.rounds + 1):  # the first warms up
        for keeps in (True, False):
            seconds, said[keeps] = conversation_seconds(chat, features, arguments.turns, arguments.tokens, keeps)
            times[keeps].append(seconds)
    assert said[True] == said[False], "the greedy answers differ"
    kept, anew = ([statistics.median(turn) for turn in zip(*times[keeps][1:], strict=True)] for keeps in (True, False))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(f"{arguments.size}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{arguments.turns} greedy answers of {arguments.tokens} tokens, all equal; median of {arguments.rounds} rounds"
    )
    print("turn  kept (ms)  anew (ms)  anew / kept")
    for number, (ours_, theirs) in enumerate(zip(kept, anew, strict=True), 1):
        print(f"{number:4}  {ours_ * 1e3:9.1f}  {theirs * 1e3:9.1f}  {theirs / ours_:11.2f}")
    print(f"turn 4 / turn 2: kept {kept[3] / kept[1]:.2f}, anew {anew[3] / anew[1]:.2f} (limit for kept: 1.3)")


if __name__ == "__main__":
    main()
