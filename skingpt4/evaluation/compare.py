"""Two evaluations over the same cases: which differences are more than luck."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skingpt4.errors import DataError
from skingpt4.evaluation.concept_cases import concept_cases
from skingpt4.evaluation.figures.paired import PairedTest, mcnemar, paired_bootstrap
from skingpt4.evaluation.levels import class_map, levels_of
from skingpt4.evaluation.predictions import Predictions


def compare(
    first: Predictions, second: Predictions, seed: int = 0, validation: Predictions | None = None
) -> dict[str, PairedTest]:
    """The first less the second, by "SECTION.METRIC" as in `Metrics.figures`: McNemar's exact test of right diagnoses,
    the paired bootstrap of every other metric that both have.

    Concepts are compared over all 48, with F1 from text only: thresholds are each run's own. validation: the cases that
    `measure` had besides, since they say the classes of diseases too. Raises `DataError` as `in_order_of`.
    """
    second = in_order_of(first, second)
    class_of = class_map(first, *([validation] if validation else []))
    found: dict[str, PairedTest] = {}
    levels = levels_of(first, class_of), levels_of(second, class_of)
    for name in [each for each in levels[0] if each in levels[1]]:
        one, other = levels[0][name], levels[1][name]
        for kind in ("scored", "answered"):
            a, b = getattr(one, kind), getattr(other, kind)
            if a is None or b is None:
                continue
            section = f"diagnosis.{name}_{kind}"
            found[f"{section}.top_1"] = mcnemar(a.right(), b.right(), one.groups, seed)
            for metric in a.metrics[1:]:
                found[f"{section}.{metric}"] = paired_bootstrap(
                    a.metric(metric), b.metric(metric), one.groups, len(one.truth), seed
                )  # fmt: skip
    return found | _concepts(first, second, seed)


def _concepts(first: Predictions, second: Predictions, seed: int) -> dict[str, PairedTest]:
    found = {}
    one, other = concept_cases(first), concept_cases(second)
    for kind in [each for each in one if each in other]:
        a, b, groups = one[kind].concepts, other[kind].concepts, one[kind].groups
        for metric in a.metrics:
            if kind == "answered" or not metric.endswith("f1"):
                tested = paired_bootstrap(a.metric(metric, 1), b.metric(metric, 1), groups, len(groups), seed)
                found[f"concepts.{kind}.all.{metric}"] = tested
    return found


def in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """The second's cases in the first's order. Raises `DataError` where the cases, their truth or the diseases to
    choose from differ; what the models said does not matter.
    """
    if first.diseases != second.diseases:
        raise DataError("The two evaluations chose from other diseases; evaluate both on one data set.")
    place: Mapping[str, int] = {name: row for row, name in enumerate(second.image)}
    missing = [name for name in first.image if name not in place]
    if missing or len(first) != len(second):
        example = f" ({missing[0]} is in one of them only)" if missing else ""
        raise DataError(f"The two evaluations are over other cases{example}; evaluate both on the same data and split.")
    ordered = second.select(np.array([place[name] for name in first.image], np.intp))
    for name in ("disease", "disease_class", "concepts", "group"):
        if getattr(ordered, name) != getattr(first, name):
            raise DataError(f"The two evaluations know another {name} of the same photographs; evaluate both again.")
    return ordered
