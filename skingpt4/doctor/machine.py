"""What this computer and its Python bring: versions that fit together, devices, disk, network."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from skingpt4.doctor.finding import FAULT, GOOD, WARNING, Finding, attempt
from skingpt4.settings import Settings

OLDEST_PYTHON = (3, 10)
SMALL_DISK_BYTES = 5 << 30  # a run's checkpoints and cached features of some thousand photographs


def examine_python() -> Iterator[Finding]:
    """What is installed, as far as nothing of it must work."""
    yield python_version(sys.version_info[:2])
    yield torch_pair()
    yield from packages()


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Everything else that can be said without a look at the weights."""
    yield devices(settings)
    yield disk(settings)
    yield network()


def python_version(found: tuple[int, int]) -> Finding:
    """found: major and minor version."""
    name = ".".join(map(str, found))
    if found < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding("Python", FAULT, name, f"Python {wanted} or newer is needed: make a new environment with it.")
    return Finding("Python", GOOD, f"{name} ({sys.executable})")


def torch_pair() -> Finding:
    """Whether torch and torchvision are of one release: a torchvision wheel states which torch it was built for."""
    check = "torch and torchvision"
    try:
        torch_version, vision_version = version("torch"), version("torchvision")
    except PackageNotFoundError as error:
        return Finding(check, FAULT, f"{error.name} is not installed", "pip install torch torchvision")
    found = f"torch {torch_version}, torchvision {vision_version}"
    mend = "Install both in one command, so that pip chooses the pair: pip install --upgrade torch torchvision"
    wanted = next((need for need in _needs("torchvision") if need.name == "torch"), None)
    if wanted is not None and not wanted.specifier.contains(torch_version, prereleases=True):
        return Finding(check, FAULT, f"{found}, which was built for torch {wanted.specifier}", mend)
    builds = {Version(text).local for text in (torch_version, vision_version)} - {None}
    if len(builds) > 1:
        return Finding(
            check, FAULT, f"{found}: builds for different devices ({', '.join(sorted(map(str, builds)))})", mend
        )
    try:
        import torchvision  # noqa: F401
    except Exception as error:  # a broken pair fails in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return Finding(check, FAULT, f"{found} cannot be imported together: {reason}", mend)
    return Finding(check, GOOD, found)


def packages() -> Iterator[Finding]:
    """Gradio, and whatever else is missing or of a version that this package was not made for."""
    needed = [need for need in _needs("skingpt4") if need.name not in ("torch", "torchvision")]
    if not needed:
        yield Finding(
            "packages", WARNING, "skingpt4 itself is not installed, so its needs are not known",
            "Install it in its folder: pip install -e .",
        )  # fmt: skip
        return
    wrong = [
        f"{need.name} ({_installed(need.name) or 'missing'}, needs {need.specifier or 'any'})"
        for need in needed
        if not _fits(need)
    ]
    if wrong:
        again = " ".join(f'"{need.name}{need.specifier}"' for need in needed if not _fits(need))
        yield Finding("packages", FAULT, ", ".join(wrong), f"pip install {again}")
    else:
        yield Finding("packages", GOOD, f"{len(needed)} in versions that fit")
    yield (
        Finding("Gradio", GOOD, _installed("gradio"))
        if _installed("gradio")
        else Finding("Gradio", WARNING, "not installed", "The web page (`skingpt4 demo`) needs it: pip install gradio")
    )


def devices(settings: Settings) -> Finding:
    """The device that these settings choose, and what else there is."""
    import psutil
    import torch

    from skingpt4.device import cpu_has_bf16, resolve_device

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_properties(index) for index in range(count)]
    there = [f"{gpu.name} with {gpu.total_memory / (1 << 30):.0f} GiB" for gpu in gpus] or ["no GPU that torch can use"]
    bf16 = "bf16 in hardware" if cpu_has_bf16() else "no bf16 in hardware: fp32 is used"
    there.append(f"{psutil.cpu_count(logical=False) or os.cpu_count()} CPU cores ({bf16})")
    finding = attempt("device", lambda: f"{resolve_device(settings.run.device)}; there are: {', '.join(there)}")
    if finding.status == GOOD and not gpus and torch.version.cuda and Path("/dev/nvidia0").exists():
        return Finding(
            "device", WARNING, finding.found,
            "This machine has an NVIDIA GPU, and torch cannot use it: the driver may be older than "
            f"CUDA {torch.version.cuda} needs. Update it, or install a torch for an older CUDA (pytorch.org).",
        )  # fmt: skip
    return finding


def disk(settings: Settings) -> Finding:
    """Room where runs are written."""
    folder = Path(settings.run.output_dir).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free at {existing}"
    if not os.access(existing, os.W_OK):
        return Finding("disk", FAULT, f"{existing} cannot be written to", "Set run.output_dir to a folder of yours.")
    if free < SMALL_DISK_BYTES:
        return Finding("disk", WARNING, found, "Make room, or set run.output_dir to another disk.")
    return Finding("disk", GOOD, found)


def network() -> Finding:
    """What would happen if something were to be downloaded. Nothing is asked of any server."""
    from huggingface_hub import constants, get_token

    from skingpt4.user_settings import user_settings_file, weights_folders

    def look() -> str:
        offline = "on (HF_HUB_OFFLINE): `weights download` is off" if constants.HF_HUB_OFFLINE else "off"
        folders = ", ".join(map(str, weights_folders()))
        return f"offline mode {offline}; hub {constants.ENDPOINT}, {'with' if get_token() else 'without'} a token; " + (
            f"weights also in {folders} ({user_settings_file()})" if folders else "no folder of weights in use"
        )

    return attempt("downloads", look)


def _needs(package: str) -> list[Requirement]:
    """What an installed package requires here, extras left out; nothing where it is not installed."""
    try:
        needs = [Requirement(line) for line in requires(package) or ()]
    except PackageNotFoundError:
        return []
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _fits(need: Requirement) -> bool:
    installed = _installed(need.name)
    return bool(installed) and need.specifier.contains(installed, prereleases=True)
