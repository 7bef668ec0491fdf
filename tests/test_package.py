"""What `import skingpt4` does: give the public names, and nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skingpt4

ROOT = Path(__file__).parent.parent
HEAVY = {
    "torch",
    "torchvision",
    "transformers",
    "gradio",
    "timm",
    "matplotlib",
    "accelerate",
    "omegaconf",
    "PIL",
    "numpy",
}
NAMES = ["Chat", "Conversation", "Processor", "Sampling", "SkinGPT4", "__version__", "load_model", "make_report"]

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(ROOT / "skingpt4")], "skingpt4.")
    if not module.name.endswith("__main__")
)

# Imports everything named on the command line while the network raises, and reports what it found changed.
WATCHED_IMPORT = """
import importlib, json, os, random, socket, sys
def refuse(*args, **kwargs):
    raise RuntimeError("an import reached for the network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import numpy, torch, gradio, transformers, timm, matplotlib  # what these do is their own affair
random.seed(7); numpy.random.seed(7); torch.manual_seed(7)
def state():
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "arguments": list(sys.argv),
        "random": hash(random.getstate()), "numpy": numpy.random.get_state()[1].tobytes().hex(),
        "torch": torch.get_rng_state().tolist(), "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()), "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cuda": torch.cuda.is_initialized(),
    }
before, failed = state(), {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
after = state()
print(json.dumps({"failed": failed, "changed": [key for key in before if before[key] != after[key]]}))
"""


def run_python(*arguments: str) -> str:
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    """The time is printed, not asserted: what makes it long is the list of modules."""
    program = (
        "import sys, time, json; start = time.perf_counter(); import skingpt4; seconds = time.perf_counter() - start; "
        "print(json.dumps([seconds, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    seconds, loaded = json.loads(run_python("-c", program))
    print(f"import skingpt4: {seconds * 1000:.1f} ms (at most 300 wanted)")
    assert HEAVY & set(loaded) == set()
    assert "skingpt4" in loaded


def test_every_module_imports_and_changes_nothing() -> None:
    """No network, no seed, no environment, no threads, no argument parsing at import."""
    assert len(MODULES) >= 30
    outcome = json.loads(run_python("-c", WATCHED_IMPORT, *MODULES).splitlines()[-1])
    assert outcome == {"failed": {}, "changed": []}


def test_public_names() -> None:
    assert skingpt4.__all__ == NAMES
    assert set(NAMES) <= set(dir(skingpt4))
    for name in NAMES:
        assert getattr(skingpt4, name) is not None
    from skingpt4.chat.conversation import Chat
    from skingpt4.engines.sampling import Sampling
    from skingpt4.model.skingpt4 import SkinGPT4
    from skingpt4.processor import Processor
    from skingpt4.weights.build import load_model

    assert (skingpt4.Chat, skingpt4.Processor, skingpt4.Sampling) == (Chat, Processor, Sampling)
    assert (skingpt4.SkinGPT4, skingpt4.load_model) == (SkinGPT4, load_model)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(
        AttributeError, match=r"no attribute 'Chatt'; its public names are Chat, Conversation, Processor"
    ):
        skingpt4.Chatt  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'SkinGPT5'"):
        from skingpt4 import SkinGPT5  # noqa: F401


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", skingpt4.__version__)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {skingpt4.__version__}\n" in citation
    try:
        installed = importlib.metadata.version("skingpt4")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("skingpt4 is not installed here (run through PYTHONPATH); `make test` installs it")
    assert installed == skingpt4.__version__


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """Such paths in published YAML files were one of the original's faults."""
    suffixes = {".py", ".yaml", ".toml", ".md", ".cff", ".json", ".txt", ".html", ""}
    ignored = re.compile(
        r"^(\.venv|\.git$|\.mypy|\.pytest|\.ruff|\.import|\.hypo|build|dist|output|quickstart|weights$)"
    )
    files = [
        path
        for top in ROOT.iterdir()
        if not ignored.match(top.name) and not top.name.endswith(".egg-info")
        for path in ([top] if top.is_file() else sorted(top.rglob("*")))
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    ]
    assert len(files) >= 40
    private = re.compile(r"(?<![\w.~])/(home|Users|root|work|mnt|scratch|tmp)/\w+")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (match := private.search(line))
    ]
    assert found == []
