"""How far a differential can be trusted: calibration, abstention, sets of diagnoses; fitted on validation cases."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from skingpt4.evaluation.figures.calibration import (
    ReliabilityBin,
    calibration_figures,
    fit_temperature,
    probabilities,
    reliability_bins,
)
from skingpt4.evaluation.figures.conformal import ConformalFigures, conformal_figures, fit_conformal
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.selection import (
    RiskCoverage,
    abstention_figures,
    abstention_threshold,
    aurc,
    risk_coverage_curve,
)
from skingpt4.evaluation.levels import Level

WANTED_RISKS = (0.05, 0.1, 0.2)
SURETIES = {"": None, "_sure": 0.95}  # that the wanted risk holds on other cases too
COVERAGE = 0.9  # promised by the sets of diagnoses
NOT_FITTED = "no validation cases to fit on; --fit-on names a split of the data"
_CURVE_POINTS = 200  # of a risk-coverage curve in files and plots; all are used for its area


@dataclass(frozen=True)
class Trust:
    """Of one level. figures: by name; those that end with `_fitted` are at the validation's temperature. reliability:
    by "raw" and (where a temperature is) "fitted". curve: of the confidences that `abstention` is about. conformal:
    None without validation cases.
    """

    figures: dict[str, Figure]
    reliability: dict[str, list[ReliabilityBin]]
    curve: RiskCoverage
    conformal: ConformalFigures | None

    def to_dict(self) -> dict[str, Any]:
        """Bins, curve and the sets' coverage per class, ready for JSON; the figures are told apart."""
        bins = {name: [_bin(each) for each in found] for name, found in self.reliability.items()}
        some = np.unique(np.linspace(0, len(self.curve.coverage) - 1, _CURVE_POINTS).round().astype(int))
        some = some[some >= 0] if len(self.curve.coverage) else some[:0]
        curve = {name: values[some].tolist() for name, values in vars(self.curve).items()}
        per_class = self.conformal.per_class if self.conformal else {}
        return {
            "reliability": bins,
            "risk_coverage": curve,
            "conformal_per_class": {name: figure.to_dict() for name, figure in per_class.items()},
        }


def _bin(of: ReliabilityBin) -> dict[str, Any]:
    return {"from": of.low, "to": of.high, "confidence": of.confidence.value, "accuracy": of.accuracy.to_dict()}


def trust_of(test: Level, validation: Level | None, seed: int = 0) -> Trust:
    """Everything about one level's scores. validation: cases that neither the model nor the test saw."""
    fitted = validation is not None and len(validation.truth) > 0
    temperature = Figure.undefined(NOT_FITTED, 0)
    if fitted and validation is not None:
        temperature = fit_temperature(validation.scores, validation.truth, validation.groups, seed)
    heat = temperature.value or 1.0
    stages = {"raw": 1.0} | ({"fitted": heat} if temperature.value else {})
    figures = {"temperature": temperature}
    reliability = {}
    for stage, degrees in stages.items():
        share = probabilities(test.scores, degrees)
        found = calibration_figures(share, test.truth, test.groups, seed)
        figures |= {name if stage == "raw" else f"{name}_fitted": figure for name, figure in found.items()}
        reliability[stage] = reliability_bins(share, test.truth, test.groups, seed)
    if not temperature.value:
        figures |= {f"{name}_fitted": Figure.undefined(temperature.note, len(test.truth)) for name in ("ece", "brier")}
    share = probabilities(test.scores, heat)
    confidence, right = share.max(axis=1), share.argmax(axis=1) == test.truth
    figures["aurc"] = aurc(confidence, right, test.groups, seed)
    figures |= _abstention(test, validation if fitted else None, heat, seed)
    conformal = None
    if fitted and validation is not None:
        threshold = fit_conformal(probabilities(validation.scores, heat), validation.truth, COVERAGE)
        conformal = conformal_figures(threshold.sets(share), test.truth, test.names, test.groups, seed)
        note = threshold.note or f"promised {threshold.coverage:.0%} from {threshold.n} validation cases"
        figures["set_threshold"] = Figure(threshold.probability, threshold.n, note=note)
        figures |= {f"set_{name}": getattr(conformal, name) for name in ("coverage", "size", "empty", "single")}
    else:
        figures |= {f"set_{name}": Figure.undefined(NOT_FITTED, len(test.truth)) for name in ("coverage", "size")}
    return Trust(figures, reliability, risk_coverage_curve(confidence, right), conformal)


def _abstention(test: Level, validation: Level | None, heat: float, seed: int) -> dict[str, Figure]:
    """For each wanted risk, the thresholds chosen on validation, and their risk and coverage on the test cases."""
    share = probabilities(test.scores, heat)
    confidence, right = share.max(axis=1), share.argmax(axis=1) == test.truth
    figures = {}
    for risk, (suffix, surety) in product(WANTED_RISKS, SURETIES.items()):
        threshold = Figure.undefined(NOT_FITTED, 0)
        if validation is not None:
            known = probabilities(validation.scores, heat)
            threshold = abstention_threshold(known.max(axis=1), known.argmax(axis=1) == validation.truth, risk, surety)
        name = f"abstain_risk_{100 * risk:.0f}{suffix}"
        figures[f"{name}_threshold"] = threshold
        found = abstention_figures(threshold, confidence, right, test.groups, seed)
        figures |= {f"{name}_{kind}": figure for kind, figure in found.items()}
    return figures
