"""Which words of a text say that something is so, and which deny it, ask about it or call it possible. For English.

Rules on words after Chapman et al. 2001 (NegEx), with questions and advice added. Where they cannot tell, a word
counts as stated: a warning too many is better than one too few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

_JOINED_NEGATION = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|wo|ca|can)n'?t\b")
_WORDS_OF_JOINED = {"wo": "will not", "ca": "can not", "can": "can not"}
_MISSPELT_AND_MEANT = (
    "bleding bleeding, bleedin bleeding, bleds bleeds, biger bigger, moll mole, molls moles, swolen swollen, "
    "sweling swelling, swellin swelling, brething breathing, breathin breathing, breething breathing, breth breath, "
    "dificulty difficulty, diffculty difficulty, feaver fever, fevr fever, rashs rashes, tempreature temperature, "
    "temprature temperature, tempature temperature, temperture temperature, temperatur temperature, spreding "
    "spreading, spreadin spreading, growin growing, purpel purple, ulsers ulcers, ulser ulcer, melonoma melanoma, "
    "melenoma melanoma, blisers blisters, blistars blisters, itchin itching"
)
_MISSPELT: dict[str, str] = dict(re.findall(r"(\w+) (\w+)", _MISSPELT_AND_MEANT))
_MISSPELT_WORD = re.compile(rf"\b(?:{'|'.join(_MISSPELT)})\b")
# Text without full stops is cut where it grows long: the rules below look back to a sentence's beginning each time.
_SENTENCE = re.compile(r"(?:[^.!?\n]|\.(?=\d)){1,400}(?:[.!?]+|(?=\n|\Z)|(?<=\s))|(?:[^.!?\n]){1,400}")


def _any_of(*patterns: str) -> str:
    return rf"\b(?:{'|'.join(patterns)})\b"


# What denies a list after it ("no bleeding, fever or pain") and what denies only its own clause ("does not bleed").
_NO = re.compile(
    _any_of(
        "no|non|without|denies|denied|neither|nor|none of|absence of|lack of|negative for|free of",
        "unlike|rather than|instead of|(?:not|never) (?:have|had|has|having|got|get|see|seen|show|shown|any|a|an)",
        "(?:not|never) (?:notice|noticed|feel|felt)|ruled out|excluded(?! from)",
    )
)
_NOT = re.compile(
    _any_of("not|never|nothing|nobody|confused with|distinguish\\w* (?:it )?from|different from|differs? from")
)
# Words of denial that deny nothing, or not what follows.
_NO_DENIAL = re.compile(
    r"\bno(?:pe)? *[,:] |\bno (?=(?:i|it|he|she|they|we|my)\b)|"
    + _any_of(
        "no (?:doubt|wonder|idea|longer|matter|improvement|better|relief|help|reason)",
        "not (?:only|just|sure|certain|know|understand|remember|determine|tell|say|exclude|rule)",
        "not (?:better|improv\\w*|normal|right|help\\w*|work\\w*)",
        "(?:not|never) (?:quite |fully |really )?(?:heal|clos)\\w*",
        "not (?:go away|going away|gone|wait|sleep|old|young|long)",
        "(?:not|never) (?:ever )?stop\\w*|(?:not|never|be|been|nobody|no one)(?: \\w+){0,2}? (?:ruled out|excluded)",
        "without (?:any |an? |obvious |apparent |being )*(?:reason|cause|injury|trauma|touch\\w*|scratch\\w*|warning)",
    )
)
# Where what was denied ends. Of a disease, "no sign that this is …" goes on denying.
_SUBJECTS = "i|it|its|he|she|they|we|there|this|these|my|his|her|the"
_VERBS = "has|have|had|is|are|was|were|am|keeps?|becomes?|became"
_FOUND = "show(?:s|ed|ing)|confirm\\w*|reveal\\w*|found|finding|diagnos\\w*"
_BREAK = (
    r"[;:()–—]| - |(?:,|,? and) (?=" + _any_of(_SUBJECTS, _VERBS, _FOUND, "now|just|only|also|then|sometimes") + ")|"
    + _any_of("but|however|although|though|yet|except|apart from|while|whereas|until|when|so|now")
)  # fmt: skip
_BREAK_OF_A_DISEASE = re.compile(_BREAK)
_BREAK_OF_A_SIGN = re.compile(_BREAK + "|" + _any_of("that|which|who|because|since|as if"))
# "not grown, bled or itched": a list of short items, whose "or" stands before the words or after them.
_ITEM = r" *[\w']+(?: [\w']+){0,2}"
_LIST_TO_ITS_END = re.compile(rf"{_ITEM}(?:,{_ITEM})*?,? (?:or|nor) (?:[\w']+ ){{0,2}}")
_LIST = re.compile(rf"(?:{_ITEM}, )+(?:[\w']+ ){{0,2}}")
_LIST_GOES_ON = re.compile(rf"(?: [\w']+){{0,2}}(?:,{_ITEM}){{0,6}}?,? (?:or|nor) ")
_TELLS = re.compile(r"(?:bleed|ooze|itche|weep|grow|spread|hurt|scab|crust|change)s\b")
_DENIED_AFTER = re.compile(
    r" *(?:[:=]|-) *(?:no|none|not|negative|absent|nil)\b"
    r"|(?: \w+){0,2}? (?:is|are|was|were|has been|have been|can be|seems?|looks?) (?:now |all )*"
    + _any_of(
        "absent|denied|negative|rare|uncommon|(?:very |highly |less )?unlikely|improbable|excluded|ruled out",
        "not (?:present|seen|visible|there|noted|observed|likely|suspected|identified|apparent|evident|found|detected)",
    )
)
_TEMPERATURE = re.compile(r"\btemp(?:erature)?$")
_NORMAL_TEMPERATURE = re.compile(r" (?:(?:of|is|was|at|around) )?(?:3[67]|9[78])(?:[.,]\d)?(?!\d)")

_BEGINS_AS_QUESTION = re.compile(
    r"^(?:is|are|do|does|did|can|could|should|will|would|has|have)"
    r" (?:it|this|that|these|i|you|he|she|we|they|my|the|there)\b"
)
_ASKS_YES_OR_NO = re.compile(
    r"^(?:[\w ]{0,30}, )?(?:(?:and|so|but|please|doctor|ok|or) )*"
    + _any_of("is|are|was|were|do|does|did|can|could|should|would|will|may|might|has|have|must")
)
_OWN = _any_of("my|our|his|her|their|your|this|these|those|the")
_LOOKS_LIKE = re.compile(r"what (?:do|does|would|might|could) (?:an? )?(?!" + _OWN + r").* (?:look|feel) like$")
_OWN_NEXT = re.compile(_OWN + " $")
_TAKEN_FOR_GRANTED = re.compile(_OWN + "|" + _any_of("that|because|since|which|who|now"))
_OF_SOMEONE = re.compile(
    r"\b(?:my|our|his|her|their)(?: \w+)? $|\b(?<!do )(?<!did )i (?:have|had)\b|"
    + _any_of("diagnos\\w*|told|biops\\w*|confirmed|has been")
)
_IF = re.compile(_any_of("if|unless|whether|in case|should (?:it|you|they|there)"))
_IF_IS_OVER = re.compile(",| then ")
_ONLY_POSSIBLE = re.compile(
    _any_of(
        "may|might|can|could|would|should|sometimes|often|usually|typically|commonly|develops?|when|whenever|such as",
        "risks?|risk of|prevent\\w*|avoid\\w*|watch|monitor\\w*|look(?:ing)? (?:out )?for|signs of|symptoms?",
        "side effects?|complications?|includ\\w*",
    )
)
_OTHERS_DISEASE = re.compile(
    _any_of(
        "family history|history of|runs in|worried about|afraid of|scared of|fear|fear of|read about|heard of",
        "(?:mother|mum|mom|father|dad|parents?|sister|brother|aunt|uncle|grand\\w+|family|relatives?) (?:had|died)",
    )
)
_YES, _NO_ANSWER = re.compile(r"^(?:yes|yeah|yep)\b"), re.compile(r"^(?:no|nope|none|never|not)\b")


@dataclass(frozen=True)
class Sentence:
    """text: normal spelling, see `normal`, without its end mark. answer: to a question, by the sentence after it."""

    text: str
    is_question: bool
    answer: bool | None = None


def normal(text: str) -> str:
    """Lower case, one kind of apostrophe, "can not" for "can't" and "cant", spaces for hyphens inside words, and common
    misspellings put right.
    """
    text = text.lower().replace("°", " ").replace("º", " ").replace("’", "'").replace("ʼ", "'").replace("`", "'")
    text = re.sub(r"(?<=\w)[-‐‑/](?=\w)", " ", text)
    text = re.sub(r"\bcannot\b", "can not", text)
    text = _MISSPELT_WORD.sub(lambda found: _MISSPELT[found[0]], text)
    return _JOINED_NEGATION.sub(lambda found: _WORDS_OF_JOINED.get(found[1], f"{found[1]} not"), text)


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order; "Fever? No." is a question with its answer."""
    spoken = [part.group().strip() for part in _SENTENCE.finditer(normal(text))]
    found = []
    for part, following in zip_longest(spoken, spoken[1:], fillvalue=""):
        words = re.sub(r"[ \t]+", " ", part.rstrip(".!?")).strip(" \t\"'*#>•")
        if words:
            is_question = part.rstrip("!.").endswith("?") or _BEGINS_AS_QUESTION.match(words) is not None
            answer = True if _YES.match(following) else False if _NO_ANSWER.match(following) else None
            found.append(Sentence(words, is_question, answer if is_question else None))
    return found


def is_stated(sentence: Sentence, start: int, end: int, by_user: bool, is_disease: bool) -> bool:
    """Whether the characters from `start` to `end` are said to be so.

    by_user: a user who says "it may bleed" has seen something; a model that does speaks in general. is_disease: of a
    sign, a question can take for granted that it is there ("Is this bleeding normal?"); a disease is only named.
    """
    before, after = sentence.text[:start], sentence.text[end:]
    if _is_denied_before(sentence.text, start, end, is_disease) or _DENIED_AFTER.match(after):
        return re.match(r"(?: \w+){0,3} until\b", after) is not None
    if _TEMPERATURE.search(sentence.text[start:end]) and _NORMAL_TEMPERATURE.match(after):
        return False
    if not by_user:
        in_general = _IF.search(sentence.text) or _ONLY_POSSIBLE.search(_clause(before, _BREAK_OF_A_SIGN))
        return is_disease or not in_general
    if is_disease and _OTHERS_DISEASE.search(before):
        return False
    if sentence.is_question:
        return _is_asked_as_there(sentence, before, is_disease)
    return not _is_condition(before) or (not is_disease and _OWN_NEXT.search(before) is not None)


def _is_asked_as_there(sentence: Sentence, before: str, is_disease: bool) -> bool:
    if sentence.answer is not None:
        return sentence.answer
    if is_disease:
        return _OF_SOMEONE.search(before) is not None
    if _is_condition(before):
        return _OWN_NEXT.search(before) is not None
    if _LOOKS_LIKE.fullmatch(sentence.text):
        return False
    if _ASKS_YES_OR_NO.match(sentence.text):
        return _TAKEN_FOR_GRANTED.search(before) is not None
    return len(sentence.text.split()) > 3  # "Bleeding?" alone asks; "Why does it bleed so often?" tells


def _is_condition(before: str) -> bool:
    *_, last = [None, *_IF.finditer(before)]
    return last is not None and not _IF_IS_OVER.search(before, last.end())


def _is_denied_before(text: str, start: int, end: int, is_disease: bool) -> bool:
    before, words, after = text[:start], text[start:end], text[end:]
    clause = _clause(_NO_DENIAL.sub(" ", before), _BREAK_OF_A_DISEASE if is_disease else _BREAK_OF_A_SIGN)
    *_, last = [None, *_NO.finditer(clause)]
    if last is not None:
        # "no fever, blisters or pain" goes on; "no fever, blisters everywhere on the arms" does not reach this far
        *listed, own = clause[last.end() :].split(",")
        return all(len(item.split()) <= 3 for item in listed) and len(own.split()) <= (2 if listed else 8)
    *_, last = [None, *_NOT.finditer(clause)]
    if last is None:
        return False
    between = clause[last.end() :]
    in_list = _LIST_TO_ITS_END.fullmatch(between) or (_LIST.fullmatch(between) and _LIST_GOES_ON.match(after))
    if in_list and not (last[0] == "not" and _TELLS.match(words)):  # "not painful, bleeds or oozes"
        return True
    return "," not in re.sub(r", (?:or|nor) ", " ", between) and not re.search(r"\band (?:\w+s )?$", between)


def _clause(before: str, breaks: re.Pattern[str]) -> str:
    """What stands between the last break and the words themselves."""
    *_, last = [None, *breaks.finditer(before)]
    return before[last.end() :] if last else before
