"""The one renderer of prompts: training, chat, evaluation and demo all take their text, ids, loss mask and image slots
from here.

A conversation is a list of `Turn`s. A `Template` says which words stand around them. Text between two photographs is
one segment, encoded on its own (so each segment gets SentencePiece's prefix space), and `<s>` stands before the first
segment only: that is how MiniGPT-4 built its inputs, in training (`mini_gpt4.py`) and in chat (`conversation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skingpt4.errors import SettingsError
from skingpt4.tokenizer import SPECIAL_MARKS as SPECIAL_MARKS
from skingpt4.tokenizer import Tokenizer
from skingpt4.tokenizer import plain as plain

IMAGE_OPEN, IMAGE_CLOSE = "<Img>", "</Img>"
IMAGE_SLOT = -1  # stands in a list of ids where one image token (one query vector) goes

_IMAGE_SYSTEM = (
    f"Give the following image: {IMAGE_OPEN}ImageContent{IMAGE_CLOSE}. "
    "You will be able to see the image once I provide it to you. Please answer my questions."
)


@dataclass(frozen=True)
class Template:
    """The words around a conversation.

    system: stands before everything. turn: one question, `{}` its text. reply: a finished answer, `{}` its text, before
    the next turn. stops: strings that end an answer and are never shown, the first of them what training closes every
    answer with; the tokenizer's end-of-sequence ends it too. opening: what stands between the last turn and the answer
    that is to be made, and nowhere else. lead: what an answer begins with that is encoded as a segment of its own.
    begins: whether the tokenizer's `<s>` stands before all.
    """

    system: str
    turn: str
    reply: str
    stops: tuple[str, ...]
    opening: str = ""
    lead: str = ""
    begins: bool = True


AUTO = "auto"  # in the settings: the decoder's own chat template (`chat_template`)

# Where two published families differ, both stand here; a checkpoint's settings record which one it uses.
TEMPLATES: dict[str, Template] = {
    # MiniGPT-4's and SkinGPT-4's chat for Vicuna v0 (`CONV_VISION`): other spaces than in training, and a system text.
    "minigpt4": Template(_IMAGE_SYSTEM, "###Human: {}###Assistant:", " {}", ("###",)),
    # The words that MiniGPT-4's training shows (`prompt_template` of its YAML files), also between turns.
    "minigpt4_train": Template("", "###Human: {} ###Assistant: ", "{}", ("###",)),
    # Vicuna v1.1 and later (FastChat `vicuna_v1.1`).
    "vicuna_v1": Template(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
        " USER: {} ASSISTANT:",
        " {}</s>",
        ("</s>", "USER:"),
    ),
    # Llama-2-chat in MiniGPT-4 (`CONV_VISION_LLama2`).
    "llama2": Template(_IMAGE_SYSTEM, "<s>[INST] {} [/INST] ", "{}", ("</s>", "[INST]")),
}


def named_template(name: str) -> Template:
    """A template of `TEMPLATES`. Raises `SettingsError` for another name."""
    if name not in TEMPLATES:
        raise SettingsError(f"model.chat_template is {name!r}; it must be one of {', '.join(TEMPLATES)}, or {AUTO}.")
    return TEMPLATES[name]


def training_template(prompt_template: str, end_sym: str) -> Template:
    """The template of `model.prompt_template`: no system text, one question."""
    return Template("", prompt_template, "{}", (end_sym,))


@dataclass(frozen=True)
class Turn:
    """One question with the photographs it shows (before its words) and, once there is one, its answer."""

    question: str
    images: int = 0
    reply: str | None = None


@dataclass(frozen=True)
class ImageSlot:
    """Where photograph number `index` of the conversation goes."""

    index: int


Segment = str | ImageSlot


def render(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """A conversation as text segments and image slots, in order; it ends where the next answer begins.

    What a user types stays text: `<ImageHere>` in a question opens no slot.
    """
    before, after = template.turn.split("{}")
    segments: list[Segment] = []
    text, images = template.system, 0
    for turn in turns:
        text += before
        for _ in range(turn.images):
            segments += [text + IMAGE_OPEN, ImageSlot(images)]
            text, images = IMAGE_CLOSE, images + 1
        text += (" " if turn.images else "") + turn.question + after
        if turn.reply is not None:
            text += template.reply.replace("{}", turn.reply)
    return [*segments, text + template.opening]


def render_text(template: Template, turns: Sequence[Turn]) -> str:
    """The same as one string, `<ImageHere>` for each photograph: what MiniGPT-4's `get_prompt` returns."""
    return "".join(part if isinstance(part, str) else "<ImageHere>" for part in render(template, turns))


def encode_turns(template: Template, turns: Sequence[Turn], tokenizer: Tokenizer) -> list[list[int] | ImageSlot]:
    """A conversation as ids and image slots, in order: what the decoder reads, in training and in chat.

    Questions and replies come from outside: the names of special tokens are taken out of them.
    """
    marks = tokenizer.specials
    typed = [
        replace(turn, question=plain(turn.question, marks), reply=turn.reply and plain(turn.reply, marks))
        for turn in turns
    ]
    return token_segments(render(template, typed), tokenizer, template.begins)


def token_segments(
    segments: Sequence[Segment], tokenizer: Tokenizer, begins: bool = True
) -> list[list[int] | ImageSlot]:
    """Text segments as ids, each encoded on its own, `<s>` before the first one that `begins`; image slots as they are.

    Special tokens by name become those tokens; text from outside must be `plain`.
    """
    result: list[list[int] | ImageSlot] = []
    for position, segment in enumerate(segments):
        if isinstance(segment, ImageSlot):
            result.append(segment)
            continue
        start = [tokenizer.bos_id] if position == 0 and begins and tokenizer.bos_id is not None else []
        result.append(start + tokenizer.encode_template(segment))
    return result


@dataclass(frozen=True)
class TrainingSequence:
    """One training pair as the decoder reads it. ids: int[T], `IMAGE_SLOT` at image tokens. in_loss: bool[T], true at
    the answer.
    """

    ids: list[int]
    in_loss: list[bool]


def training_sequence(
    template: Template, question: str, answer: str, tokenizer: Tokenizer, queries: int, max_answer_tokens: int
) -> TrainingSequence:
    """`<s>`, prompt up to the image, `queries` slots, prompt after it, answer and end symbol; the loss is on the last
    two.

    The answer is its own segment. One of more than `max_answer_tokens` is cut *before* its end symbol, so that long
    notes learn to stop (the original cut the symbol off).
    """
    ids: list[int] = []
    for segment in encode_turns(template, [Turn(question, images=1)], tokenizer):
        ids += [IMAGE_SLOT] * queries if isinstance(segment, ImageSlot) else segment
    said = template.lead + plain(answer, tokenizer.specials)
    answer_ids = encode_answer(said, template.stops[0], tokenizer, max_answer_tokens)
    return TrainingSequence(ids + answer_ids, [False] * len(ids) + [True] * len(answer_ids))


def encode_answer(answer: str, end_symbol: str, tokenizer: Tokenizer, max_tokens: int) -> list[int]:
    """Ids of the answer with its end symbol, encoded together, at most `max_tokens`, the end symbol always whole."""
    end = tokenizer.specials.get(end_symbol)
    ids = tokenizer.encode(answer + end_symbol) if end is None else [*tokenizer.encode(answer), end]
    if len(ids) <= max_tokens:
        return ids
    if end is None:
        suffixes = (ids[-count:] for count in range(1, len(ids) + 1))
        end_ids = next(suffix for suffix in suffixes if tokenizer.decode(suffix).endswith(end_symbol))
    else:
        end_ids = [end]
    return tokenizer.encode(answer)[: max_tokens - len(end_ids)] + end_ids


def read_questions(path: str | Path) -> list[str]:
    """The questions of a MiniGPT-4 prompt file: one per line, with or without the `<Img><ImageHere></Img>` in front.

    Raises `SettingsError` for a file that is missing or empty.
    """
    file = Path(path)
    if not file.is_file():
        raise SettingsError(f"model.prompt_path {file} does not exist (looked in {file.parent.resolve()}).")
    marker = f"{IMAGE_OPEN}<ImageHere>{IMAGE_CLOSE}"
    lines = [line.replace(marker, "").strip() for line in file.read_text(encoding="utf-8").splitlines()]
    questions = [line for line in lines if line]
    if not questions:
        raise SettingsError(f"model.prompt_path {file} holds no question; write one per line.")
    return questions


def without_open_end(text: str, stops: Sequence[str]) -> str:
    """Text without an end that later tokens may change: spaces, half a character, the beginning of a stop string."""
    text = text.rstrip("\ufffd")
    begun = (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length]))
    return text[: len(text) - max(begun, default=0)].rstrip()


def until_stop(text: str, stops: Sequence[str]) -> str | None:
    """The answer before the first stop string; None where no stop string has come."""
    found = [text.find(stop) for stop in stops if stop in text]
    return text[: min(found)].strip() if found else None


def answer_text(ids: Sequence[int], tokenizer: Tokenizer, stops: Sequence[str], is_cut: bool) -> str:
    """What an answer's tokens say, without stop strings. is_cut: the answer was broken off, so that an end like a stop
    string's beginning is taken for one.
    """
    text = tokenizer.decode(list(ids)).strip()
    answer = until_stop(text, stops)
    if answer is not None:
        return answer
    return without_open_end(text, stops) if is_cut else text
