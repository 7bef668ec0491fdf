"""An evaluation from a model and a data set to a folder of figures: `skingpt4 evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.chat.conversation import Chat
from skingpt4.chat.load import load_chat
from skingpt4.chat.notices import notices
from skingpt4.data.records import few
from skingpt4.data.sequences import column_of, images_of
from skingpt4.durable import write_whole
from skingpt4.errors import DataError
from skingpt4.evaluation.answers import Plan, forget, launched_processes, mean_features, predict
from skingpt4.evaluation.cases import Cases, read_cases, refuse_leaks
from skingpt4.evaluation.compare import compare, in_order_of
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.text import require_encoder
from skingpt4.evaluation.levels import DISEASE
from skingpt4.evaluation.measure import Metrics, measure
from skingpt4.evaluation.predictions import Predictions
from skingpt4.settings import Settings
from skingpt4.training.reports.log import with_progress
from skingpt4.vocabulary import NOT_A_DIAGNOSIS

if TYPE_CHECKING:
    from accelerate import PartialState

    from skingpt4.chat.photo_check import PhotoCheck
    from skingpt4.evaluation.photo_check.fit import Negatives

PREDICTIONS, FIT_PREDICTIONS = "predictions.parquet", "fit_predictions.parquet"
METRICS, REPORT = "metrics.json", "report.html"
ANSWERS = "answers"  # the folder of what `predict` keeps
_NAMED = 8  # diseases in the sentence at the end; the report has all


@dataclass(frozen=True)
class Job:
    """What to evaluate. data, images, split, fit_on: as `read_cases` takes them. out: the folder to fill. compare: the
    folder of another evaluation over the same cases. negatives: a folder of pictures that are no photographs to judge
    by. force: begin anew where the folder holds another evaluation.
    """

    settings: Settings
    data: Path
    out: Path
    images: str = ""
    split: str | None = None
    fit_on: str | None = None
    repeats: int = 10
    repeat_cases: int = 100
    temperature: float = 1.0
    seed: int = 0
    compare: Path | None = None
    bertscore_model: Path | None = None
    negatives: Path | None = None
    allow_leaks: bool = False
    force: bool = False


def evaluate(job: Job) -> str:
    """Ask, measure, write; returns the sentence for the end (empty on all processes but the first).

    What is done already is not done again. Raises `DataError` for data that is wrong or leaks, and for a folder that
    holds another evaluation; `SettingsError`, `WeightsError`, `DeviceError`, `ImageError`.
    """
    from skingpt4.chat.photo_check import load_photo_check
    from skingpt4.evaluation.photo_check.fit import negatives_in

    cases = read_cases(job.data, job.images, job.split, job.fit_on)
    remarks = [line for line in notices(job.settings) if line != NOT_A_DIAGNOSIS]
    remarks += [*cases.remarks, *refuse_leaks(cases, job.settings, job.allow_leaks)]
    other = _predictions_in(job.compare) if job.compare else None
    if other:
        in_order_of(Predictions.of_records(cases.test, cases.diseases), other)
    if job.bertscore_model:
        require_encoder(job.bertscore_model)
    negatives = negatives_in(job.negatives) if job.negatives else None
    processes = launched_processes(job.settings)
    is_main = processes is None or processes.is_main_process
    if job.force and is_main:
        forget(job.out / ANSWERS / "test")
        forget(job.out / ANSWERS / "fit")
    if processes:
        processes.wait_for_everyone()
    chat = load_chat(job.settings)
    photo_check = load_photo_check(job.settings)
    validation, test = _ask(job, cases, chat, photo_check, processes)
    if processes:
        processes.destroy_process_group()  # the first measures for minutes; nobody needs to wait for it
    if not is_main:
        return ""
    metrics = measure(test, validation, cases.concept_images, job.bertscore_model, job.seed, _stages)
    metrics.remarks[:0] = remarks
    if negatives:
        found = _photo_check(job, *negatives, cases, chat, photo_check)
        metrics.others["photo_check"] = metrics.others.get("photo_check", {}) | found
    _write(job, cases, metrics, test, validation, other)
    return sentence(metrics, test)


def _ask(
    job: Job, cases: Cases, chat: Chat, photo_check: PhotoCheck | None, processes: PartialState | None
) -> tuple[Predictions | None, Predictions]:
    """What the model says and scores about the cases of the fit (None without any), and about those measured on."""
    plan = Plan(
        cases.diseases, cases.class_of, classes=bool(cases.class_of), repeats=0, temperature=job.temperature,
        seed=job.seed,
    )  # fmt: skip
    prior = mean_features(chat, cases.fit if len(cases.fit) else cases.test)
    model = {name: value for name, value in vars(job.settings.model).items() if name != "ckpt"}
    asked = partial(predict, chat, prior=prior, photo_check=photo_check, processes=processes, model=model)
    validation = None
    if len(cases.fit):
        what = f"Asking about the {len(cases.fit):,} cases to fit on, in batches"
        validation = asked(cases.fit, job.out / ANSWERS / "fit", plan, what=what)
    again = dataclasses.replace(plan, repeats=job.repeats, repeat_cases=job.repeat_cases)
    what = f"Asking about the {len(cases.test):,} cases to measure on, in batches"
    return validation, asked(cases.test, job.out / ANSWERS / "test", again, what=what)


def _photo_check(
    job: Job, to_fit: Negatives, to_measure: Negatives, cases: Cases, chat: Chat, check: PhotoCheck | None
) -> dict[str, Figure]:
    """How well the model's photo check (without one: one that is fitted on the cases of the fit and on the negatives
    `to_fit`, and kept in `job.out`) tells the negatives `to_measure` from the cases.
    """
    from skingpt4.chat.photo_check import FILE_NAME
    from skingpt4.evaluation.photo_check.fit import fit_photo_check, measure_photo_check

    if check is None:
        if not len(cases.fit):
            why = "the model has no photo check, and there are no cases to fit one on (--fit-on)"
            return {"auroc": Figure.undefined(why, len(cases.test))}
        check = fit_photo_check(chat, list(images_of(cases.fit)), to_fit)
        check.save(job.out / FILE_NAME)
    return measure_photo_check(check, chat, list(images_of(cases.test)), to_measure, column_of(cases.test, "group"))


def _write(
    job: Job,
    cases: Cases,
    metrics: Metrics,
    test: Predictions,
    validation: Predictions | None,
    other: Predictions | None,
) -> None:
    from skingpt4.evaluation.page.write import write_page

    job.out.mkdir(parents=True, exist_ok=True)
    test.write(job.out / PREDICTIONS)
    if validation is not None:
        validation.write(job.out / FIT_PREDICTIONS)
    tests = compare(test, other, job.seed, validation) if other else None
    about = _about(job, cases)
    content: dict[str, Any] = {**metrics.to_dict(), "about": about}
    if tests is not None:
        content["comparison"] = {name: each.to_dict() for name, each in tests.items()}
    write_whole(job.out / METRICS, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode())
    write_page(job.out / REPORT, metrics, about, tests)


def _about(job: Job, cases: Cases) -> dict[str, Any]:
    """What a reader needs to repeat the evaluation."""
    import skingpt4

    return {
        "data": str(job.data),
        "split": cases.split,
        "fitted_on": cases.fit_split,
        "model": dataclasses.asdict(job.settings.model),
        "compared_with": str(job.compare or ""),
        "repeats": job.repeats,
        "repeat_temperature": job.temperature,
        "seed": job.seed,
        "date": datetime.now().astimezone().date().isoformat(),
        "version": skingpt4.__version__,
    }


def sentence(metrics: Metrics, test: Predictions) -> str:
    """Top-1 accuracy of the text answers with n, a 95 % interval and the accuracy of the commonest answer, in words."""
    answered = metrics.diagnosis.get(f"{DISEASE}_answered")
    if answered is None:
        return f"{len(test)} cases were asked about; none names a disease, so no diagnosis is right or wrong."
    figure, commonest = answered.headline["top_1"], metrics.others["commonest"][DISEASE]
    assert figure.value is not None and commonest.value is not None  # a level has cases
    right = round(figure.value * figure.n)
    interval = "" if figure.low is None else f"95 % interval {figure.low:.1%} to {figure.high:.1%}; "
    given = answered.confusion.sum(axis=0)
    named = Counter({name: int(times) for name, times in zip(answered.columns, given, strict=True) if times})
    return (
        f"{right} of {figure.n} diagnoses right: {figure.value:.1%} ({interval}always the commonest answer: "
        f"{commonest.value:.1%}). The model named: "
        + few([f"{name} {times} times" for name, times in named.most_common()], _NAMED)
        + "."
    )


def _stages(stages: Sequence[str]) -> Iterable[str]:
    return (stages[index] for index in with_progress(range(len(stages)), "Measuring", len(stages)))


def _predictions_in(folder: Path) -> Predictions:
    if not (folder / PREDICTIONS).is_file():
        raise DataError(
            f"{folder} has no {PREDICTIONS}; --compare expects the folder that another `skingpt4 evaluate` wrote."
        )
    return Predictions.read(folder / PREDICTIONS)
