"""How text answers read beside the doctor's: BLEU, ROUGE-L, BERTScore; their length; and whether they answer at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.errors import DataError
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import Values, measured, proportion

NO_REFERENCE = "no case has a reference answer"
LONGEST_RUN = 4  # words: BLEU-4, as everywhere
LONGEST_TEXT = 512  # tokens, for BERTScore; what is longer is cut

# A model that says that it cannot answer. Our own list: no published one covers both MiniGPT-4's and our own wording.
_CANNOT = (
    r"(?:can ?not|can['’]t|could ?n['o’]t|am (?:not able|unable)|['’]m (?:not able|unable)|do(?: not|n['’]t) know)"
)
_REFUSALS = re.compile(
    rf"\bI(?: am sorry[,.]? (?:but )?I)?,? ?{_CANNOT}\b"
    r"|\bI(?: a|['’])m (?:really |very )?sorry\b|\bas an? (?:AI|(?:large )?language model)\b"
    r"|\b(?:it is|it['’]s) (?:not possible|impossible) to (?:tell|say|determine|diagnose|identify|see|know)\b"
    r"|\b(?:cannot|can['’]t|can not) be (?:determined|diagnosed|identified|seen|told)\b"
    r"|\bno image (?:is|was|has been) (?:given|provided|attached)\b",
    re.IGNORECASE,
)


def is_refusal(answer: str) -> bool:
    """Whether an answer says that it cannot answer ("I cannot tell that from the image"), or says nothing."""
    return not answer.strip() or _REFUSALS.search(answer) is not None


def text_figures(
    answers: Sequence[str],
    references: Sequence[str | None],
    groups: Sequence[str] | None = None,
    bertscore_model: Path | None = None,
    seed: int = 0,
) -> dict[str, Figure]:
    """Figures of n text answers, each with n and a 95 % interval by groups.

    references: the doctor's answer of each case, None or empty where there is none; BLEU, ROUGE-L and BERTScore are
    of the cases that have one. bertscore_model: a folder with a transformers encoder and its tokenizer.
    Keys: bleu and rouge_l (0-1), bertscore_f1 (-1 to 1), words (of an answer, mean), refusals (share). Raises
    `ValueError` for lists of different lengths, `DataError` for a folder that holds no model.
    """
    if len(answers) != len(references) or (groups is not None and len(groups) != len(answers)):
        raise ValueError(f"{len(answers)} answers, but {len(references)} references, or other groups.")
    kept = [row for row, reference in enumerate(references) if reference and reference.strip()]
    said, wanted = [answers[row] for row in kept], [references[row] or "" for row in kept]
    patients = None if groups is None else [groups[row] for row in kept]

    def mean_of(score: Callable[[Sequence[str], Sequence[str]], Values]) -> Figure:
        return mean_figure(score(said, wanted), patients, seed) if kept else Figure.undefined(NO_REFERENCE, 0)

    figures = {"bleu": bleu(said, wanted, patients, seed), "rouge_l": mean_of(rouge_l)}
    if bertscore_model is None:
        figures["bertscore_f1"] = Figure.undefined("no folder with a model for BERTScore was given", len(kept))
    else:
        folder = bertscore_model
        figures["bertscore_f1"] = mean_of(lambda answer, reference: bertscore_f1(answer, reference, folder))
    figures["words"] = mean_figure(np.array([len(answer.split()) for answer in answers], dtype=float), groups, seed)
    figures["refusals"] = proportion([is_refusal(answer) for answer in answers], groups, seed)
    return figures


def mean_figure(values: Values, groups: Sequence[str] | None, seed: int = 0) -> Figure:
    """The mean of one number per case, float[n], with its interval."""
    return measured(lambda rows: float(values[rows].mean()), groups, len(values), "no number", seed)


def bleu(answers: Sequence[str], references: Sequence[str], groups: Sequence[str] | None, seed: int = 0) -> Figure:
    """BLEU-4 of the whole corpus (Papineni et al. 2002), words as sacreBLEU's "13a" divides them (Post 2018), 0-1.

    It is no mean over cases: a resample adds up the cases' counts. Undefined where no answer has four words.
    """
    if not answers:
        return Figure.undefined(NO_REFERENCE, 0)
    counts = _run_counts(answers, references)
    figure = measured(
        lambda rows: _bleu_of(counts[rows].sum(axis=0)), groups, len(answers), "no answer has four words", seed
    )
    if figure.value == 0:
        note = "no answer shares four words in a row with its reference, so BLEU is 0"
        return replace(figure, note="; ".join(filter(None, [note, figure.note])))
    return figure


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> Values:
    """ROUGE-L's F-measure (Lin 2004) of each answer, float64[n], 0-1; Google's implementation, without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    pairs = zip(references, answers, strict=True)
    return np.array([scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs])


def bertscore_f1(answers: Sequence[str], references: Sequence[str], model: Path) -> Values:
    """BERTScore's F1 (Zhang et al. 2020) of each answer, float64[n], by the last layer of a model on this computer; not
    rescaled. Raises `DataError` where the folder holds no model.
    """
    from torchmetrics.functional.text.bert import bert_score
    from transformers import AutoModel, AutoTokenizer

    require_encoder(model)
    try:
        encoder = AutoModel.from_pretrained(model, local_files_only=True, trust_remote_code=False).eval()
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(_no_model(model, str(error))) from error
    # RoBERTa's first place is the third. A tokenizer that was saved without its model's length knows none.
    places = getattr(encoder.config, "max_position_embeddings", LONGEST_TEXT + 2) - 2
    longest = min(LONGEST_TEXT, tokenizer.model_max_length, places)
    scores = []
    for answer, reference in zip(answers, references, strict=True):
        # One pair a call: torchmetrics sorts answers and references by length, each for itself, and its way back is
        # wrong, so that in a batch answers meet other cases' references (1.9).
        f1: Any = bert_score(
            [answer], [reference], model=encoder, user_tokenizer=tokenizer, truncation=True, max_length=longest,
        )["f1"]  # fmt: skip
        scores.append(float(f1) if answer.strip() else 0.0)
    return np.array(scores, dtype=np.float64)


def require_encoder(folder: Path) -> None:
    """Raise `DataError` where a folder is none of a transformers model, without loading it."""
    if not (folder / "config.json").is_file():
        raise DataError(_no_model(folder, "it has no config.json"))


def _no_model(folder: Path, why: str) -> str:
    return (
        f"{folder} holds no model for BERTScore: {why}. Give the folder of a transformers encoder, with config.json, "
        "weights and tokenizer files, or leave BERTScore out."
    )


def _run_counts(answers: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """float64[n, 10] per case: runs of 1-4 words shared and said, words of the answer and of the reference."""
    from torchmetrics.text import SacreBLEUScore

    counts = []
    metric = SacreBLEUScore(n_gram=LONGEST_RUN)
    for answer, reference in zip(answers, references, strict=True):
        metric.reset()
        metric.update([answer], [[reference]])
        counts.append([*metric.numerator, *metric.denominator, metric.preds_len, metric.target_len])
    return np.array(counts, dtype=np.float64)


def _bleu_of(counts: Values) -> float | None:
    shared, said = counts[:LONGEST_RUN], counts[LONGEST_RUN : 2 * LONGEST_RUN]
    answered, wanted = counts[2 * LONGEST_RUN :]
    if said[-1] == 0:
        return None
    if shared.min() == 0:
        return 0.0
    return float(min(1.0, np.exp(1 - wanted / answered)) * np.exp(np.log(shared / said).mean()))
