"""Every command that README and documentation tell people to type is run, in the order of its page.

Each page gets a folder with what its reader would have: photographs, a download of Dermnet, a finished run. What a
command makes there, the next ones find. Nothing is changed in a command, except that long work is made short
(`SHORTER`). What runs in a test of its own, or cannot run here, is in `ELSEWHERE`.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from documented import ROOT, Command, documented_commands
from PIL import Image
from studies import json_file
from test_documented_commands import OURS, arguments_of
from training_runs import write_table

from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.settings import SourceSettings
from skingpt4.study.folder import Folder
from skingpt4.tiny.renderer import disease_description, render
from skingpt4.training.runner import train
from skingpt4.vocabulary import CONCEPTS

pytestmark = pytest.mark.very_slow

SHARED = ROOT.parent / "shared" / "data"
RELEASED = "configs/vicuna|eval_configs/"  # what needs weights that this package does not have

# Pattern of a command -> the test that runs it, or why nothing here can.
ELSEWHERE = {
    "skingpt4 quickstart": "tests/tiny/test_quickstart.py",
    "skingpt4 demo": "tests/demo/test_offline.py",
    "skingpt4 serve --engine llamacpp": "tests/serving/test_serving_engines.py",
    "skingpt4 serve": "tests/serving/test_serving_logs.py",
    "skingpt4 ablate": "tests/evaluation/test_ablation.py",
    "accelerate launch .*train.py": "tests/training/test_launchers.py",
    "accelerate launch .*evaluate": "tests/evaluation/test_evaluate_command.py",
    "(torchrun|accelerate launch) .*predict": "tests/prediction/test_predict_command.py",
    "export (MASTER|OMP|RANK|WORLD)": "tests/test_hardware_page.py",
    "export SKINGPT4_API_KEY": "tests/serving/test_serving_logs.py",
    "skingpt4 chat .*--engine vllm": "tests/engines/test_vllm_server.py",
    "skingpt4 verify": "tests/test_cli.py",
    "skingpt4 weights download": "tests/commands/test_weights_command.py",
    "python -m fastchat": "needs LLaMA and the published deltas",
}
# Pattern -> what is added, so that minutes become seconds.
SHORTER = {
    "train .*real_input": ["--options", "run.iters_per_epoch=2", "run.max_epoch=1", "run.warmup_steps=0"],
    "study new": ["--max-new-tokens", "8"],
}
# Pattern -> exit code (None: it is the machine's) and what is said; without an entry: 0, and anything.
ENDS = {
    "data check DIR OTHER": (1, "same content"),  # ten photographs are in both
    "--gpu-id 0": (None, "GPU 0"),
    rf"(train|demo)(.py)? .*({RELEASED})(?!.*--(estimate|device-memory))": (2, "skingpt4 weights download"),
    rf"doctor .*({RELEASED})": (1, "skingpt4 weights download"),
    "--estimate": (None, "together"),  # 0 where this machine has the memory, 1 where not
}


def matching(table: dict, words: str) -> object:
    return next((value for pattern, value in table.items() if re.search(pattern, words)), None)


def stories() -> dict[str, list[Command]]:
    """Page -> its commands that run here."""
    found: dict[str, list[Command]] = {}
    for command in documented_commands():
        if command.words.split(" ")[0] in (*OURS, "export") and matching(ELSEWHERE, command.words) is None:
            real = " (real input)" * bool(re.search("real_input|SKINGPT4_DATA", command.words))
            found.setdefault(command.place.split(":")[0] + real, []).append(command)
    return found


def draw(folder: Path, disease: str, count: int) -> None:
    """So many photographs of one disease, each another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(disease))
    for number in range(count):
        rendering = render(disease_description(disease, rng), rng)
        Image.fromarray(rendering.image).save(folder / f"{disease}-{number}.jpg", quality=95)


def photograph(here: Path) -> None:
    draw(here / "one", "psoriasis", 1)
    next((here / "one").iterdir()).rename(here / "photo.jpg")


def dermnet(here: Path) -> None:
    for name, disease in (
        ("Psoriasis pictures Lichen Planus and related diseases", "psoriasis"),
        ("Eczema Photos", "atopic dermatitis"),
    ):
        draw(here / "path" / "to" / "dermnet" / "train" / name, disease, 10)


def data_set(here: Path, name: str) -> None:
    """A manifest with splits."""
    if not (here / "path").exists():
        dermnet(here)
    assert main(["data", "build", "dermnet", "path/to/dermnet", "--out", name]) == 0
    assert main(["data", "split", name, "--fractions", "train=0.6", "validation=0.2", "test=0.2", "--force"]) == 0


def notes(here: Path) -> None:
    import openpyxl

    draw(here / "photographs", "psoriasis", 10)
    book = openpyxl.Workbook()
    book.active.append(["image", "disease", "notes"])
    for picture in sorted((here / "photographs").iterdir()):
        book.active.append([picture.name, "psoriasis", f"Keep the skin moist; photograph {picture.stem}."])
    book.save(here / "notes.xlsx")


def skincon(here: Path) -> None:
    draw(here / "fitzpatrick17k", "psoriasis", 6)
    with (here / "annotations_fitzpatrick17k.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["", "ImageID", *CONCEPTS, "Do not consider this image"])
        for number, picture in enumerate(sorted((here / "fitzpatrick17k").iterdir())):
            table.writerow([number, picture.name, *(int(name in ("Plaque", "Scale")) for name in CONCEPTS), 0])


def finished_run(here: Path, name: str) -> None:
    """A short training of the package's own model."""
    steps = load_settings(ROOT / "configs" / "embedded" / "step2_only.yaml", [f"run.output_dir={here / name}"])
    (settings,) = steps
    settings.data.train = [SourceSettings(source="table", path=str(write_table(here / f"{name}-pairs", 4)))]
    settings.data.validation = []
    settings.run.max_epoch, settings.run.iters_per_epoch, settings.run.warmup_steps = 1, 2, 0
    train(steps, False)


def ratings(here: Path) -> None:
    (here / "INBOX").mkdir()
    folder = Folder(here / "study")
    for rater in folder.read().raters:
        json_file(here / "INBOX" / f"{rater.id}.json", folder.read(), rater.id)


def first_rows(folder: Path, count: int = 40) -> None:
    """The published tables, shortened, and ISIC's photographs."""
    for table in ("skincon/annotations_fitzpatrick17k.csv", "skincon/annotations_ddi.csv", "isic/metadata.csv"):
        (folder / table).parent.mkdir(parents=True, exist_ok=True)
        with (SHARED / table).open(encoding="utf-8") as file:
            (folder / table).write_text("".join(itertools.islice(file, count + 1)), encoding="utf-8")
    (folder / "isic" / "images").symlink_to(SHARED / "isic" / "images")


# What a page's commands name -> what makes it, before the first command that names it.
MAKERS: dict[str, Callable[[Path], object]] = {
    r"photo\.jpg": photograph,
    r"predict photos": lambda here: draw(here / "photos", "psoriasis", 3),
    "path/to/dermnet": dermnet,
    r"notes\.xlsx": notes,
    r"annotations_fitzpatrick17k\.csv --fitzpatrick-images fitzpatrick17k": skincon,
    r"RUN\b": lambda here: finished_run(here, "RUN"),
    "output/my_run": lambda here: finished_run(here, "output/my_run"),
    "runs output|output/ours": lambda here: finished_run(here, "output/ours"),
    "output/other": lambda here: finished_run(here, "output/other"),
    r"build SOURCE": lambda here: draw(here / "PLACE" / "psoriasis", "psoriasis", 20),
    r"check DIR OTHER": lambda here: data_set(here, "OTHER"),
    r"study new .*--data DIR": lambda here: data_set(here, "DIR"),
    "data/clinic": lambda here: data_set(here, "data/clinic"),
    "INBOX": ratings,
    "weights use /data/models": lambda here: (here / "data" / "models").mkdir(parents=True),
}


STORIES = stories()


def test_what_does_not_run_here_runs_in_a_test_that_exists() -> None:
    for pattern, place in ELSEWHERE.items():
        assert any(re.search(pattern, command.words) for command in documented_commands()), f"{pattern}: not told"
        assert not place.startswith("tests/") or (ROOT / place).is_file(), place


@pytest.mark.parametrize("page", STORIES)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    for name in ("configs", "eval_configs", "skingpt4"):
        (tmp_path / name).symlink_to(ROOT / name)
    if page.endswith("(real input)"):
        if not SHARED.is_dir():
            pytest.skip(f"{SHARED} is absent: the published SKINCON and ISIC tables are not part of the repository")
        first_rows(tmp_path / "data")
    made: set[str] = set()
    for command in STORIES[page]:
        for pattern, make in MAKERS.items():
            if pattern not in made and re.search(pattern, command.words):
                make(tmp_path)
                made.add(pattern)
        run(command, monkeypatch, capfd)


def run(command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """One command as a shell would run it; it ends as `ENDS` has it."""
    words = os.path.expandvars(command.words).replace(" /data/", " data/")
    if words.startswith("export "):
        monkeypatch.setenv(*words.removeprefix("export ").split("=", 1))
        return
    monkeypatch.setattr("sys.stdin", io.StringIO("Is it contagious?\n"))
    capfd.readouterr()
    code = main([*arguments_of(words), *(matching(SHORTER, words) or [])])
    said = "".join(capfd.readouterr())
    expected, text = matching(ENDS, words) or (0, "")
    assert expected in (None, code), f"{command.place}: {words}: exit code {code}\n{said[-2000:]}"
    assert text in said, f"{command.place}: {words}\n{said[-2000:]}"
