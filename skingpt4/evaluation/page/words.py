"""The names of figures in words, and figures as people read them."""

from __future__ import annotations

from skingpt4.evaluation.figures.figure import Figure

TITLES: dict[str, str] = {
    "top_1": "Top-1 accuracy",
    "top_3": "Top-3 accuracy",
    "top_5": "Top-5 accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "macro_auroc": "Macro-AUROC",
    "macro_average_precision": "Macro average precision",
    "named": "Answers that name one diagnosis",
    "temperature": "Temperature, fitted",
    "ece": "Expected calibration error",
    "ece_if_calibrated": "… of a calibrated model, by chance",
    "brier": "Brier score (0–2)",
    "log_loss": "Logarithmic loss",
    "confidence": "Mean probability of the first diagnosis",
    "accuracy": "Share of first diagnoses that is right",
    "aurc": "Area under the risk-coverage curve",
    "set_threshold": "Least probability in a set",
    "set_coverage": "Sets that hold the true diagnosis",
    "set_size": "Diagnoses per set, mean",
    "set_empty": "Empty sets",
    "set_single": "Sets of one diagnosis",
    "bleu": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "bertscore_f1": "BERTScore F1",
    "words": "Words per answer, mean",
    "refusals": "Refusals",
    "pairs": "Pairs of answers that agree",
    "all_equal": "Cases whose answers all agree",
    "alpha": "Krippendorff's alpha",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "f1": "F1",
}
SECTIONS: dict[str, str] = {
    "diagnosis.disease_scored": "disease, by score",
    "diagnosis.disease_answered": "disease, in the text",
    "diagnosis.class_scored": "class, by score",
    "diagnosis.class_answered": "class, in the text",
    "concepts.scored": "concepts, by score",
    "concepts.scored.all": "all 48 concepts, by score",
    "concepts.answered": "concepts, in the text",
    "concepts.answered.all": "all 48 concepts, in the text",
    "trust.disease": "disease",
    "trust.class": "class",
    "text_diagnosis": "answer with the diagnosis",
    "text_concepts": "answer with the concepts",
}


def title_of(name: str) -> str:
    """A figure's name in words; `_fitted` names are at the temperature of the validation cases."""
    base = name.removesuffix("_fitted")
    if base.startswith("abstain_risk_"):
        risk, kind = base.removeprefix("abstain_risk_").split("_", 1)
        what = {"threshold": "answer from this probability on", "coverage": "share answered", "risk": "share wrong"}
        sure = ", with a surety of 95 %" if kind.startswith("sure_") else ""
        return f"Wanted risk {risk} %{sure}: {what[kind.removeprefix('sure_')]}"
    words = TITLES.get(base, base.replace("_", " ").capitalize())
    return f"{words}, after temperature" if name.endswith("_fitted") else words


def full_title(name: str) -> str:
    """SECTION.METRIC in words."""
    section, metric = name.rsplit(".", 1)
    return f"{title_of(metric)} ({SECTIONS.get(section, section)})"


def shown(figure: Figure) -> str:
    """Three decimals, a dash where the figure is undefined."""
    return "–" if figure.value is None else f"{figure.value:.3f}"


def interval(figure: Figure) -> str:
    """`0.840–0.900` that no line breaks, empty where there is none."""
    return "" if figure.low is None or figure.high is None else f"{figure.low:.3f}\u2060–\u2060{figure.high:.3f}"
