"""Scores answers about rendered photographs: concepts, disease, cause and treatment, whatever model gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import eq

from skingpt4.evaluation.figures.metrics import micro_macro_f1
from skingpt4.prompts import Turn
from skingpt4.tiny.diseases import DISEASES_BY_NAME
from skingpt4.tiny.renderer import Description
from skingpt4.tiny.wording import about, parse_concepts, parse_disease
from skingpt4.vocabulary import CLINICAL_PROMPTS, CONCEPT_PROMPT, DIAGNOSIS_PROMPTS

PATIENT_QUESTIONS = {
    "doctor": "When should I see a doctor?",
    "contagious": "Is it contagious?",
    "cancer": "Is it cancer?",
}
# (numbers of photographs, one conversation about each, whose last turn has no reply yet) -> replies
AnswerFunction = Callable[[Sequence[int], Sequence[Sequence[Turn]]], list[str]]


def measure_concepts(
    ask: AnswerFunction, cases: Sequence[Description], question: str = CONCEPT_PROMPT
) -> dict[str, float]:
    """Micro and macro F1 of the concepts that the answer to `question` names."""
    replies = ask(range(len(cases)), [[Turn(question, 1)] for _ in cases])
    micro, macro = micro_macro_f1([set(case.concepts) for case in cases], [parse_concepts(reply) for reply in replies])
    return {"concepts micro-F1": micro, "concepts macro-F1": macro}


def measure_diagnosis(
    ask: AnswerFunction, cases: Sequence[Description], question: str = DIAGNOSIS_PROMPTS[0]
) -> tuple[dict[str, float], list[str]]:
    """Shares of cases whose disease, and whose class, the answer to `question` names; F1 of its concepts; and the
    answers.
    """
    replies = ask(range(len(cases)), [[Turn(question, 1)] for _ in cases])
    named = [parse_disease(reply) for reply in replies]
    right = sum(name == case.disease for name, case in zip(named, cases, strict=True))
    same_class = sum(
        _class_of(name) == _class_of(case.disease) for name, case in zip(named, cases, strict=True) if name
    )
    micro, macro = micro_macro_f1([set(case.concepts) for case in cases], [parse_concepts(reply) for reply in replies])
    figures = {
        "disease": right / len(cases),
        "class": same_class / len(cases),
        "features micro-F1": micro,
        "features macro-F1": macro,
    }
    return figures, replies


def _class_of(disease: str | None) -> str | None:
    return DISEASES_BY_NAME[disease].disease_class if disease else None


def _fitting(what: str, names: Sequence[str], replies: Sequence[str]) -> float:
    """Share of replies to a question of the kind `what` that are word for word what the corpus says of the disease."""
    return sum(map(eq, replies, (about(what, DISEASES_BY_NAME[name], (), None) for name in names))) / len(names)


def measure_unseen_follow_ups(
    ask: AnswerFunction, rows: Sequence[int], first: Sequence[str], unseen: dict[str, tuple[str, ...]]
) -> dict[str, float]:
    """After the diagnoses `first` of the photographs `rows`: follow-ups in wordings that are not in the corpus, mean
    per kind of question.
    """
    named = [(row, reply, name) for row, reply in zip(rows, first, strict=True) if (name := parse_disease(reply))]
    figures = {}
    for what in ("cause", "treatment", "doctor", "contagious", "cancer", "again"):
        shares = []
        for question in unseen[what]:
            asked = [[Turn(DIAGNOSIS_PROMPTS[0], 1, reply), Turn(question)] for _, reply, _ in named]
            replies = ask([row for row, _, _ in named], asked)
            shares.append(_fitting(what, [name for _, _, name in named], replies))
        figures[f"unseen wordings: {what} fits the disease named"] = sum(shares) / len(shares)
    return figures


def measure_dialogue(
    ask: AnswerFunction, cases: Sequence[Description], first: list[str], again: str
) -> dict[str, float]:
    """Follow-ups after the answers `first`: does the cause, the treatment and a repeated diagnosis fit the disease
    named?
    """
    named = [(row, name) for row, reply in enumerate(first) if (name := parse_disease(reply))]
    if not named:
        return {"names a disease": 0.0}
    rows = [row for row, _ in named]
    figures = {"names a disease": len(named) / len(cases)}
    opening = {row: Turn(DIAGNOSIS_PROMPTS[0], 1, first[row]) for row in rows}
    for label, question in (("cause", CLINICAL_PROMPTS[2]), ("treatment", CLINICAL_PROMPTS[3])):
        replies = ask(rows, [[opening[row], Turn(question)] for row in rows])
        facts = [
            getattr(DISEASES_BY_NAME[name], label) in reply for (_, name), reply in zip(named, replies, strict=True)
        ]
        true = [
            getattr(DISEASES_BY_NAME[str(cases[row].disease)], label) in reply
            for row, reply in zip(rows, replies, strict=True)
        ]
        figures[f"{label} fits the disease named"] = sum(facts) / len(facts)
        figures[f"{label} right for the true disease"] = sum(true) / len(cases)
    for what, question in PATIENT_QUESTIONS.items():
        replies = ask(rows, [[opening[row], Turn(question)] for row in rows])
        figures[f"{question} fits the disease named"] = _fitting(what, [name for _, name in named], replies)
    for label, question in (("same question again", DIAGNOSIS_PROMPTS[0]), ("asked again otherwise", again)):
        replies = ask(rows, [[opening[row], Turn(question)] for row in rows])
        figures[f"names it again, {label}"] = sum(
            parse_disease(reply) == name for (_, name), reply in zip(named, replies, strict=True)
        ) / len(named)
    return figures


def measure(ask: AnswerFunction, cases: Sequence[Description], dialogues: int = 300) -> dict[str, float]:
    """All of it, for photographs of diseases; follow-up questions about the first `dialogues` of them."""
    figures = measure_concepts(ask, cases)
    diagnosed, replies = measure_diagnosis(ask, cases)
    followed = measure_dialogue(ask, cases[:dialogues], replies[:dialogues], "Sorry, which disease was that?")
    return {**figures, **diagnosed, **followed}
