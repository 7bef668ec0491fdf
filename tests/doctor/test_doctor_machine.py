"""`skingpt4 doctor` on the computer and its Python: versions, packages that are broken, disk, network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import planted
import pytest

from skingpt4.doctor.finding import FAULT, GOOD, WARNING
from skingpt4.doctor.machine import disk, network, packages, python_version, torch_pair
from skingpt4.settings import Settings


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's real settings file is read."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_torch_and_torchvision_that_do_not_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_pair().status == GOOD
    planted.install(tmp_path, "torchvision", "0.15.2", "torch (==2.0.1)", "numpy")
    monkeypatch.syspath_prepend(tmp_path)
    found = torch_pair()
    assert found.status == FAULT and "torchvision 0.15.2, which was built for torch ==2.0.1" in found.found
    assert "pip install --upgrade torch torchvision" in found.advice


def test_torch_and_torchvision_for_different_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.install(tmp_path, "torch", "2.10.0+cu130")
    planted.install(tmp_path, "torchvision", "0.25.0+cpu", "torch==2.10.0")
    monkeypatch.syspath_prepend(tmp_path)
    found = torch_pair()
    assert found.status == FAULT and "builds for different devices (cpu, cu130)" in found.found


@pytest.mark.parametrize(
    ("package", "fault"),
    [
        ("torchvision", "RuntimeError('operator torchvision::nms does not exist')"),
        ("torch", "OSError('libcudart.so: cannot open shared object file')"),
    ],
)
def test_the_command_survives_what_it_examines(package: str, fault: str, tmp_path: Path) -> None:
    """As it happens: the whole command, in a process that cannot import the package."""
    (tmp_path / f"{package}.py").write_text(f"raise {fault}")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "skingpt4", "doctor"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (1, "")
    for check in ("torch and torchvision", "all else"):
        line = next(line for line in ended.stdout.splitlines() if line.startswith(f"✗  {check}"))
        assert fault.split("'")[1] in line


def test_an_old_python() -> None:
    assert python_version((3, 11)).status == GOOD
    assert python_version((3, 9)).status == FAULT


def test_a_package_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.status for finding in packages()] == [GOOD, GOOD]
    planted.install(tmp_path, "gradio", "4.0.0")
    monkeypatch.syspath_prepend(tmp_path)
    wrong = next(iter(packages()))
    assert wrong.status == FAULT and "gradio (4.0.0, needs " in wrong.found and 'pip install "gradio' in wrong.advice


def test_a_disk_that_cannot_be_written_to_and_one_with_room(tiny_settings: Settings) -> None:
    assert disk(tiny_settings).status in (GOOD, WARNING)
    tiny_settings.run.output_dir = "/proc/skingpt4"
    assert disk(tiny_settings).status != GOOD


def test_offline_mode_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "offline mode off" in network().found
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode on" in network().found
