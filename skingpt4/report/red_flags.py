"""Signs that need a doctor soon: the list, and whether a conversation names one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from skingpt4.errors import SettingsError
from skingpt4.report.statements import is_stated, normal, sentences

if TYPE_CHECKING:
    from yaml import Node

Urgency = Literal["emergency", "today", "soon"]
Speaker = Literal["user", "answer"]
# In the order in which flags are shown, with what a page calls them.
URGENCIES: dict[Urgency, str] = {
    "emergency": "Emergency: get help now",
    "today": "See a doctor today",
    "soon": "See a doctor within days",
}
RED_FLAGS_FILE = Path(__file__).with_name("red_flags.yaml")
GAP_WORDS = 3  # what `...` stands for, at most
# Nobody who tells of a sign comes near these; a text that was made to keep the computer busy does.
SENTENCE_MENTIONS = 5  # of one list in one sentence
PART_CHOICES = 300
CHOICES = 3000


@dataclass(frozen=True)
class Source:
    """Published guidance behind a flag."""

    title: str
    url: str


@dataclass(frozen=True)
class Evidence:
    """What raised a flag. words: as they were said, in lower case, " … " where others stand between."""

    said_by: Speaker
    words: str


@dataclass(frozen=True)
class RedFlag:
    """A sign that was named. sign, advice: for patients; urgency: a key of `URGENCIES`."""

    id: str
    sign: str
    advice: str
    urgency: Urgency
    sources: tuple[Source, ...]
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class WordList:
    """Phrases that mean the same. of_user: only the user's own count."""

    pattern: re.Pattern[str]
    of_user: bool


@dataclass(frozen=True)
class Rule:
    """When a flag is raised: by any of `ways`, which needs all of its parts, each the lists that stand together."""

    flag: RedFlag
    is_disease: bool
    ways: tuple[tuple[tuple[WordList, ...], ...], ...]


@dataclass(frozen=True, order=True)
class _Mention:
    """Stated words. text: index among the texts of a conversation; sentence: in it; start, end: characters of it."""

    text: int
    sentence: int
    start: int
    end: int
    said_by: Speaker
    words: str


_Mentions = dict[tuple[int, int], list[_Mention]]  # of one list, by text and sentence


def load_red_flags(path: str | Path | None = None) -> tuple[Rule, ...]:
    """The rules of a YAML file in the form of `red_flags.yaml`; None: of that one.

    Raises `SettingsError`, with the line, for a file that is missing or wrong.
    """
    return _shipped() if path is None else _read(Path(path))


def find_red_flags(
    user_texts: Sequence[str], answers: Sequence[str], flags: Sequence[Rule] | None = None
) -> list[RedFlag]:
    """The flags that a conversation raises, the most urgent first, each with the words that raised it.

    user_texts: what the user wrote; answers: what the model did; flags: of `load_red_flags`, None for the shipped ones.
    """
    said: list[tuple[Speaker, str]] = [("user", text) for text in user_texts] + [("answer", text) for text in answers]
    spoken = [(speaker, sentences(text)) for speaker, text in said]

    def stated(text: int, number: int, words: WordList, is_disease: bool) -> Iterator[_Mention]:
        speaker, sentence = spoken[text][0], spoken[text][1][number]
        for found in words.pattern.finditer(sentence.text):
            if is_stated(sentence, found.start(1), found.end(1), speaker == "user", is_disease):
                yield _Mention(text, number, found.start(1), found.end(1), speaker, found[1])

    @cache
    def mentions(words: WordList, is_disease: bool) -> _Mentions:
        found: _Mentions = {}
        for text, (speaker, parts) in enumerate(spoken):
            for number in range(len(parts) if speaker == "user" or not words.of_user else 0):
                if some := list(islice(stated(text, number, words, is_disease), SENTENCE_MENTIONS)):
                    found[text, number] = some
        return found

    raised = []
    for rule in load_red_flags() if flags is None else flags:
        for way in rule.ways:
            found = _together([[mentions(words, rule.is_disease) for words in part] for part in way])
            if found is not None:
                raised.append(replace(rule.flag, evidence=_evidence(found)))
                break
    order = list(URGENCIES)
    return sorted(raised, key=lambda flag: order.index(flag.urgency))


def _together(parts: Sequence[Sequence[_Mentions]]) -> tuple[_Mention, ...] | None:
    """One mention of each list of each part, none over another; those of a part in neighbouring sentences of a text."""
    if not all(all(part) for part in parts):
        return None
    choices = [list(islice(_near(part), PART_CHOICES)) for part in parts]
    whole = (sum(chosen, ()) for chosen in islice(product(*choices), CHOICES))
    return next((chosen for chosen in whole if not _any_overlap(chosen)), None)


def _near(part: Sequence[_Mentions], near: tuple[_Mention, ...] = ()) -> Iterator[tuple[_Mention, ...]]:
    """One mention of each list, in neighbouring sentences of a text, none over another."""
    if not part:
        yield near
        return
    if near:
        text, numbers = near[0].text, [mention.sentence for mention in near]
        places = [(text, number) for number in range(max(numbers) - 1, min(numbers) + 2)]
    else:
        places = list(part[0])
    for place in places:
        for mention in part[0].get(place, ()):
            if not _any_overlap((*near, mention)):
                yield from _near(part[1:], (*near, mention))


def _any_overlap(mentions: Sequence[_Mention]) -> bool:
    return any(_overlap(one, other) for one, other in combinations(mentions, 2))


def _overlap(one: _Mention, other: _Mention) -> bool:
    same = (one.text, one.sentence) == (other.text, other.sentence)
    return same and one.start < other.end and other.start < one.end


def _evidence(mentions: Sequence[_Mention]) -> tuple[Evidence, ...]:
    by_speaker: dict[Speaker, list[str]] = {}
    for mention in sorted(mentions):
        by_speaker.setdefault(mention.said_by, []).append(mention.words)
    return tuple(Evidence(speaker, " … ".join(words)) for speaker, words in by_speaker.items())


@cache
def _shipped() -> tuple[Rule, ...]:
    return _read(RED_FLAGS_FILE)


def _read(path: Path) -> tuple[Rule, ...]:
    import yaml

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The list of red flags {path} cannot be read: {error}. Give a text file.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(
            f"{path}, line {line}: this is no YAML ({error.problem}). Look for a missing quote, bracket or space there."
        ) from error
    except yaml.YAMLError as error:  # a control character, say
        raise SettingsError(f"{path} is no YAML: {error}") from error
    return _File(path).rules(root)


class _File:
    """What is wrong in a file is told with its line."""

    def __init__(self, path: Path):
        self._path = path

    def rules(self, root: Node | None) -> tuple[Rule, ...]:
        if root is None:
            raise SettingsError(f"{self._path} is empty; `words` and `flags` were expected.")
        content = self._mapping(root, ("words", "flags"), ("words_of_the_user",))
        lists: dict[str, WordList] = {}
        for key in ("words", "words_of_the_user"):
            for name, node in self._mapping(content[key]).items() if key in content else ():
                if name in lists or not re.fullmatch(r"[^+,]+", name):
                    raise self._wrong(node, f"{name!r} is there twice, or has a + or a comma in it")
                phrases = [self._text(phrase) for phrase in self._items(node)]
                lists[name] = WordList(phrases_pattern(phrases), of_user=key == "words_of_the_user")
        rules: dict[str, Rule] = {}
        for node in self._items(content["flags"]):
            rule = self._rule(node, lists)
            if rule.flag.id in rules:
                raise self._wrong(node, f"the id {rule.flag.id!r} is there twice")
            rules[rule.flag.id] = rule
        return tuple(rules.values())

    def _rule(self, node: Node, lists: Mapping[str, WordList]) -> Rule:
        fields = self._mapping(node, ("id", "kind", "urgency", "sign", "advice", "raised_by", "sources"))
        sources = [self._mapping(source, ("title", "url")) for source in self._items(fields["sources"])]
        for source in sources:
            if not re.fullmatch(r"https://\S+", self._text(source["url"])):
                raise self._wrong(source["url"], "an address that begins with https:// was expected")
        flag = RedFlag(
            id=self._text(fields["id"]),
            sign=self._text(fields["sign"]),
            advice=self._text(fields["advice"]),
            urgency=self._one_of(fields["urgency"], get_args(Urgency)),
            sources=tuple(Source(self._text(source["title"]), self._text(source["url"])) for source in sources),
        )
        ways = tuple(self._way(way, lists) for way in self._items(fields["raised_by"]))
        return Rule(flag, self._one_of(fields["kind"], ("sign", "disease")) == "disease", ways)

    def _way(self, node: Node, lists: Mapping[str, WordList]) -> tuple[tuple[WordList, ...], ...]:
        parts = [[name.strip() for name in part.split("+")] for part in self._text(node).split(",")]
        for name in (name for part in parts for name in part):
            if name not in lists:
                raise self._wrong(node, f"there is no list of words called {name!r}")
        return tuple(tuple(lists[name] for name in part) for part in parts)

    def _mapping(self, node: Node, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Node]:
        if node.id != "mapping":
            raise self._wrong(node, "`name: value` lines were expected")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if name in found or (required and name not in (*required, *optional)):
                raise self._wrong(key, f"{name!r} is there twice" if name in found else f"there is no field {name!r}")
            found[name] = value
        missing = [name for name in required if name not in found]
        if missing:
            raise self._wrong(node, f"{', '.join(missing)} is missing")
        return found

    def _items(self, node: Node) -> list[Node]:
        if node.id != "sequence" or not node.value:
            raise self._wrong(node, "a list was expected, [in brackets] or one `- item` a line")
        items: list[Node] = node.value
        return items

    def _text(self, node: Node) -> str:
        if node.id != "scalar" or not node.value.strip():
            raise self._wrong(node, "a text was expected")
        return str(node.value).strip()

    def _one_of(self, node: Node, allowed: tuple[str, ...]) -> Any:
        if self._text(node) not in allowed:
            raise self._wrong(node, f"{node.value!r} is none of {', '.join(allowed)}")
        return node.value

    def _wrong(self, node: Node, what: str) -> SettingsError:
        line = node.start_mark.line + 1
        return SettingsError(f"{self._path}, line {line}: {what}. The head of {RED_FLAGS_FILE.name} explains the form.")


def phrases_pattern(phrases: Sequence[str]) -> re.Pattern[str]:
    """Finds these phrases, as group 1, also where one reaches into another, in text that `normal` has spelt; see the
    head of `red_flags.yaml` for `*`, `...` and `|`.
    """
    patterns = []
    for phrase in phrases:
        pattern = ""
        for word in normal(phrase).split():
            if word == "...":
                pattern += rf"(?: +(?!(?:not?|never|without) )[\w']+){{0,{GAP_WORDS}}}?"
                continue
            any_of = [re.escape(one.removesuffix("*")) + r"[\w'.]*" * one.endswith("*") for one in word.split("|")]
            pattern += (" +" if pattern else "") + f"(?:{'|'.join(any_of)})"
        patterns.append(pattern)
    return re.compile(rf"(?<![\w'])(?=({'|'.join(patterns)})(?!\w))")
