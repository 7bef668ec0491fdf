"""The paper's Figure 3 as numbers: no fine-tuning, step 1 only, step 2 only and both steps, trained with the same seeds
from the same projection and asked about the same held-out cases (Zhou et al. 2024, Nature Communications 15, doi
10.1038/s41467-024-50043-3).
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.config import resolve_path
from skingpt4.data.loading import LoadedData
from skingpt4.data.sequences import Records
from skingpt4.durable import write_whole
from skingpt4.errors import DataError, SettingsError
from skingpt4.evaluation.answers import Plan, predict
from skingpt4.evaluation.cases import Cases, refuse_leaks
from skingpt4.evaluation.predictions import Predictions
from skingpt4.settings import Settings
from skingpt4.training.devices import build_accelerator
from skingpt4.training.inputs.photographs import prepare_inputs
from skingpt4.training.reports.run_folder import FINISHED, read_record
from skingpt4.training.runner import train
from skingpt4.training.samples import InputOf
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator

START, STEP1, STEP2, BOTH = "no fine-tuning", "step 1 only", "step 2 only", "both steps"
ARMS = (START, STEP1, STEP2, BOTH)
PLAN_FILE = "made_from.json"  # what all runs of the folder have in common


@dataclass(frozen=True)
class Ablation:
    """What came of it. predictions: arm -> one for each of `seeds` (of the model before fine-tuning: the only one), all
    about the same cases. remarks: what a reader of the figures must know.
    """

    predictions: dict[str, list[Predictions]]
    seeds: tuple[int, ...]
    remarks: list[str]


@dataclass(frozen=True)
class Arms:
    """The runs of one seed. Step 1 is trained once: alone it is an arm, and `both` goes on from it."""

    step1: Settings
    both: Settings
    step2: Settings

    @classmethod
    def of(cls, steps: Sequence[Settings], folder: Path, seed: int | None = None) -> Arms:
        """The runs of a file of two steps, below `folder`. seed: in place of the steps' own.

        Raises `SettingsError` where there are not two steps, where step 1 starts from no projection, and where more
        than the projection is trained (the arms could then not share their photographs' features).
        """
        _require_two_steps(steps)
        step1, both, step2 = (copy.deepcopy(step) for step in (steps[0], steps[1], steps[1]))
        for settings, name in ((step1, "two_step/step1"), (both, "two_step/step2"), (step2, "step2_only")):
            settings.run.output_dir = str(folder / name)
            settings.run.seed = settings.run.seed if seed is None else seed
        both.model.ckpt, step2.model.ckpt = step1.run.output_dir, step1.model.ckpt
        return cls(step1, both, step2)

    @property
    def checkpoints(self) -> dict[str, str]:
        """Arm -> where its projection is (of a run: its folder, which stands for its best weights)."""
        trained = {STEP1: self.step1, STEP2: self.step2, BOTH: self.both}
        return {START: resolve_path(self.step1.model.ckpt)} | {arm: run.run.output_dir for arm, run in trained.items()}

    def train(self) -> None:
        """Train what is not finished yet; a run that was broken off goes on. Raises as `training.runner.train`."""
        for settings in self._unfinished():
            train([settings], resume=True)

    def _unfinished(self) -> Iterator[Settings]:
        for settings in (self.step1, self.both, self.step2):
            if read_record(Path(settings.run.output_dir)).get("state") != FINISHED:
                yield settings


def _require_two_steps(steps: Sequence[Settings]) -> None:
    if len(steps) != 2:
        raise SettingsError(
            f"An ablation compares two training steps; these settings describe {len(steps)}. Give a file whose `steps` "
            "lists two, as configs/vicuna7b/two_step.yaml does."
        )
    if not steps[0].model.ckpt:
        raise SettingsError(
            "An ablation begins with a model that answers before fine-tuning, and step 1 starts from random numbers. "
            "Set model.ckpt of step 1 to an aligned projection, e.g. MiniGPT-4's."
        )
    if not all(step.model.freeze_vit and step.model.freeze_qformer for step in steps):
        raise SettingsError(
            "An ablation compares what the projection learns: set model.freeze_vit and model.freeze_qformer to true."
        )


def ablate(
    steps: Sequence[Settings], cases: Cases, seeds: Sequence[int], out: Path, allow_leaks: bool = False
) -> Ablation:
    """Train all arms with every seed, and ask each about the cases. What an earlier call left in `out` is not done
    again; more seeds may be added to it.

    Every photograph is encoded once: the runs share one cache of features. Processes that a launcher started share the
    work, and all get the result. Raises `SettingsError` (see `Arms.of`), and `DataError` where cases are in the
    training data (unless `allow_leaks`), where nobody noted a disease, and where `out` holds another ablation.
    """
    if not cases.diseases:
        raise DataError("The held-out cases have no diseases to compare the answers with.")
    steps = [copy.deepcopy(step) for step in steps]
    for step in steps:
        step.data.feature_cache = step.data.feature_cache or str(out / "features")
    by_seed = {seed: Arms.of(steps, out / f"seed_{seed}", seed) for seed in seeds}
    with build_accelerator(steps[0]).main_process_first():  # one writes the file, the others read it
        _same_ablation(out / PLAN_FILE, steps)
    remarks = [*cases.remarks]
    for arms in by_seed.values():
        for step in (arms.step1, arms.step2):
            remarks += refuse_leaks(cases, _with_validation_to_learn_from(step), allow_leaks)
    for arms in by_seed.values():
        arms.train()
    found = _ask_all(by_seed, cases, out / "answers")
    return Ablation(found, tuple(seeds), list(dict.fromkeys(remarks)))


def _with_validation_to_learn_from(step: Settings) -> Settings:
    """A run ends with the weights that fit its validation pairs best: figures over those would be too good as well."""
    data = dataclasses.replace(step.data, train=[*step.data.train, *step.data.validation])
    return dataclasses.replace(step, data=data)


def _ask_all(by_seed: Mapping[int, Arms], cases: Cases, folder: Path) -> dict[str, list[Predictions]]:
    settings = next(iter(by_seed.values())).step2
    accelerator = build_accelerator(settings)
    test, features, prior = _encoded(cases, settings, accelerator)
    chat = Chat(*build_model(settings, with_encoder=False))
    plan = Plan(cases.diseases, classes=False, repeats=0, batch=settings.run.batch_size_eval)
    found: dict[str, list[Predictions]] = {arm: [] for arm in ARMS}
    for seed, arms in by_seed.items():
        for arm, checkpoint in arms.checkpoints.items():
            if arm == START and found[START]:
                continue  # nothing is trained, so no seed changes it
            with torch.no_grad():
                load_checkpoint(chat.model, checkpoint)
            name = arm if arm == START else f"{arm}, seed {seed}"
            place = folder / name.replace(",", "").replace(" ", "_")
            asked = predict(chat, test, place, plan, prior, features, processes=accelerator, what=f"asking: {name}")
            found[arm].append(asked)
    return found


def _encoded(cases: Cases, settings: Settings, accelerator: Accelerator) -> tuple[Records, Tensor, Tensor]:
    """The cases whose photographs can be read, their features float32[n, Q, W], and the mean feature float32[Q, W] of
    the cases to fit on (without any: of the cases themselves, as the concepts' AUROC takes no notice of it).
    """
    whole = copy.deepcopy(settings)
    whole.data.random_crop, whole.data.cached_views = False, 1
    inputs = prepare_inputs(LoadedData(Records([cases.test]), Records([cases.fit]), []), whole, accelerator)
    gc.collect()  # the encoder is gone, the decoder comes
    features = _stacked(inputs.data.train, inputs.train)
    fit = features if inputs.validation is None else _stacked(inputs.data.validation, inputs.validation)
    return Records([inputs.data.train]), features, fit.mean(dim=0)


def _stacked(records: Records, input_of: InputOf) -> Tensor:
    return torch.stack([input_of(number, image, 0).float() for number, image in enumerate(records.images())])


def _same_ablation(file: Path, steps: Sequence[Settings]) -> None:
    """Note in the folder what all its runs have in common, or raise `DataError` where it holds something else."""
    described = json.loads(json.dumps([_described(step) for step in steps]))
    described[1]["model"].pop("ckpt")  # step 1's folder, wherever that was
    if not file.is_file():
        write_whole(file, json.dumps(described, indent=1).encode())
    elif json.loads(file.read_text(encoding="utf-8")) != described:
        raise DataError(
            f"{file.parent} holds an ablation of other settings (they are in {file.name}). Give another folder with "
            "--out, or the settings that it was begun with."
        )


def _described(step: Settings) -> dict[str, dict[str, object]]:
    """A step's settings but for seed and folders, which differ between runs that belong together."""
    values = dataclasses.asdict(step)
    for section, key in (
        ("run", "seed"),
        ("run", "output_dir"),
        ("run", "resume_ckpt_path"),
        ("data", "feature_cache"),
    ):
        values[section].pop(key)
    return values
