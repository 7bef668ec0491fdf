"""Whether the model says the same when it is asked again: agreement over sampled repeats, the paper's consistency.

It says nothing of being right: a model that always gives one answer is consistent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from skingpt4.evaluation.figures.agreement import krippendorff_alpha
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import NO_CASE, measured, proportion


def consistency_figures(
    repeats: Sequence[Sequence[str | None]], groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Figure]:
    """`pairs`, `all_equal`, `alpha` and `named` of the answers to n pictures, each asked R times.

    repeats: per picture the R diseases named, None where an answer named none (which is an answer of its own kind).
    pairs: the share of two answers to one picture that agree, averaged over the pictures. all_equal: the share of
    pictures whose R answers agree. alpha: Krippendorff's nominal alpha, agreement beyond chance: 0 for a model whose
    answers do not depend on the picture, and undefined for one that always says the same. named: the share of answers
    that name one disease, without which agreement means little. Raises `ValueError` for fewer than two repeats and for
    unequal numbers of them.
    """
    n = len(repeats)
    counts = {len(answers) for answers in repeats}
    if n == 0:
        return dict.fromkeys(("pairs", "all_equal", "alpha", "named"), Figure.undefined(NO_CASE, 0))
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(
            f"The same number of repeats, at least 2, was expected for each picture, not {sorted(counts)}."
        )
    number = {name: code for code, name in enumerate(sorted({name or "" for row in repeats for name in row}))}
    codes = np.array([[number[name or ""] for name in row] for row in repeats])  # int[n, R]
    named = np.array([[bool(name) for name in row] for row in repeats]).mean(axis=1)
    agreeing = np.array([_agreeing_pairs(row) for row in repeats])
    return {
        "pairs": measured(lambda rows: float(agreeing[rows].mean()), groups, n, NO_CASE, seed),
        "all_equal": proportion((codes == codes[:, :1]).all(axis=1), groups, seed),
        "alpha": _alpha(codes, groups, seed),
        "named": measured(lambda rows: float(named[rows].mean()), groups, n, NO_CASE, seed),
    }


def _agreeing_pairs(answers: Sequence[str | None]) -> float:
    pairs = len(answers) * (len(answers) - 1)
    return sum(count * (count - 1) for count in Counter(name or "" for name in answers).values()) / pairs


def _alpha(codes: np.ndarray, groups: Sequence[str] | None, seed: int) -> Figure:
    if codes.min() == codes.max():
        return Figure.undefined("every answer to every picture is the same one", len(codes))
    return krippendorff_alpha(codes.T, "nominal", groups=groups, seed=seed)
