"""A decoder's own chat template (jinja, beside its tokenizer) as a `Template`: conversations of known words are
rendered, and what stands between those words is the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.prompts import AUTO, TEMPLATES, ImageSlot, Template, Turn, encode_turns, render_text
from skingpt4.tokenizer import Tokenizer

# Words that no template holds or changes, in conversations of one, two and three questions.
WORDS = ("Zq1x", "Za1x", "Zq2x")
_FIRST, _SECOND = Turn(WORDS[0], reply=WORDS[1]), Turn(WORDS[2], reply="Za2x")
CONVERSATIONS = ([Turn(WORDS[0])], [_FIRST, Turn(WORDS[2])], [_FIRST, _SECOND, Turn("Zq3x")])


def own_template(tokenizer: Tokenizer) -> Template:
    """What `auto` in the settings means: a template that gives the text of the tokenizer's chat template.

    Raises `SettingsError` where it has none, and where that does what turns of fixed words cannot express.
    """
    texts = [_rendered(tokenizer, turns) for turns in CONVERSATIONS]
    if any("{}" in text for text in texts):
        raise _inexpressible(tokenizer, "its words hold `{}`")
    head, to_answer, to_question, to_new_answer = _between(texts[1], tokenizer)
    begins = [name for name, token in tokenizer.specials.items() if token == tokenizer.bos_id and head.startswith(name)]
    begin = max(begins, default="", key=len)
    head = head.removeprefix(begin)
    end, reply_end, before = _around_end(to_question, head, tokenizer)
    after = _common_beginning(to_answer, to_new_answer)
    start = to_answer.removeprefix(after)
    if start.strip():
        raise _inexpressible(tokenizer, f"it leaves {start.strip()!r}, which opens an answer, to the decoder")
    roles = (text.strip() for text in (before, after) if not any(mark in text for mark in tokenizer.specials))
    template = Template(
        system=head.removesuffix(before),
        turn=before + "{}" + after,
        reply=start + "{}" + reply_end,
        stops=tuple(dict.fromkeys(text for text in (end, *roles) if text)),
        opening=to_new_answer.removeprefix(after),
        begins=bool(begin),
    )
    for text, turns in zip(texts, CONVERSATIONS, strict=True):
        if begin + render_text(template, turns) != text:
            raise _inexpressible(tokenizer, "not all turns are alike in it")
    return replace(template, lead=_lead(template, start, tokenizer))


def _rendered(tokenizer: Tokenizer, turns: Sequence[Turn]) -> str:
    messages = []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages += [{"role": "assistant", "content": turn.reply}] if turn.reply else []
    try:
        text = tokenizer.chat_text(messages)
    except WeightsError:
        raise
    except Exception as error:  # jinja's own, and whatever the template's program runs into
        raise _inexpressible(tokenizer, f"it fails with {error!r}") from error
    if text is None:
        raise SettingsError(
            f"The tokenizer in {tokenizer.directory} has no chat template, which {AUTO!r} asks for. {_choose()}"
        )
    return text


def _between(text: str, tokenizer: Tokenizer) -> list[str]:
    """What stands before, between and after the words of two turns."""
    parts = []
    for word in WORDS:
        part, found, text = text.partition(word)
        if not found:
            raise _inexpressible(tokenizer, "it leaves messages out, or changes their words")
        parts.append(part)
    return [*parts, text]


def _common_beginning(one: str, other: str) -> str:
    return "".join(pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _around_end(text: str, head: str, tokenizer: Tokenizer) -> tuple[str, str, str]:
    """What stands between an answer and the next question -> the mark of the answer's end (a special token, else the
    first words after it), all that belongs to the answer, and the beginning of a turn, which `head` ends with too.
    """
    marks = [mark for mark in tokenizer.specials if mark in text]
    end = min(marks, key=lambda mark: (text.index(mark), -len(mark)), default="")
    cut = text.index(end) + len(end)
    while not head.endswith(text[cut:]):
        cut += 1
    if not (end or text.strip()):
        raise _inexpressible(tokenizer, "it does not mark where an answer ends")
    return end or text.strip(), text[:cut], text[cut:]


def _lead(template: Template, start: str, tokenizer: Tokenizer) -> str:
    """What an answer of its own begins with, so that its ids are those that it has in the middle of a text: `start`,
    or nothing where the tokenizer puts a space before each segment by itself.
    """

    def asked(template: Template) -> list[int]:
        parts = encode_turns(template, CONVERSATIONS[0], tokenizer)
        return [token for part in parts if not isinstance(part, ImageSlot) for token in part]

    answered = asked(replace(template, turn=template.turn + start + WORDS[1], opening=""))
    alike = (lead for lead in ("", start) if asked(template) + tokenizer.encode(lead + WORDS[1]) == answered)
    return next(alike, start)


def _inexpressible(tokenizer: Tokenizer, why: str) -> SettingsError:
    return SettingsError(f"The chat template in {tokenizer.directory} cannot be used for {AUTO!r}: {why}. {_choose()}")


def _choose() -> str:
    return f"Set model.chat_template to the one that the decoder was trained with: {', '.join(TEMPLATES)}."
