"""The layers of the package: `lint-imports` passes, and it would not pass if an import pointed up."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PLANTED = {
    "a low room uses training": ("images.py", "from skingpt4.training import schedule"),
    "hidden in a function": ("prompts.py", "def late():\n    import skingpt4.weights.build"),
    "the demo's visitors know the page": ("demo/visitors/sessions.py", "from skingpt4.demo.page import words"),
    "what makes the embedded default": ("data/records.py", "from skingpt4.tiny import pretrain_vision"),
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)


def copy_of_the_package(folder: Path) -> Path:
    shutil.copytree(ROOT / "skingpt4", folder / "skingpt4", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder / "skingpt4"


def test_imports_point_down_only() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 kept, 0 broken" in result.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_is_found(name: str, tmp_path: Path) -> None:
    file, line = PLANTED[name]
    package = copy_of_the_package(tmp_path)
    with (package / file).open("a", encoding="utf-8") as source:
        source.write(f"\n\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout
    planted = "skingpt4." + file.removesuffix(".py").replace("/", ".")
    assert planted in result.stdout.split("Broken contracts")[1]


def test_every_module_has_a_layer() -> None:
    """A module that the contract does not name could import anything: add it to `layers` in pyproject.toml."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.importlinter]")[1]
    named = set(re.findall(r"skingpt4\.((?:tiny\.)?\w+)", contract))
    package = ROOT / "skingpt4"
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    modules |= {f"tiny.{path.stem}" for path in (package / "tiny").glob("*.py")}
    assert len(modules) >= 30
    assert modules - {"__init__", "tiny", "tiny.__init__"} - named == set()
