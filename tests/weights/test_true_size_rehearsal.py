"""`benchmarks/true_size.py` works: run at tiny size, so that it does when someone has the memory for the true one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "true_size.py"
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="measures through /proc"),
    pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not here"),
]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script adds the folders of its helpers
    spec = importlib.util.spec_from_file_location("true_size", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_all_stages_at_tiny_size(form: str, script: ModuleType, tmp_path: Path) -> None:
    scratch, results = tmp_path / "scratch", tmp_path / "results"
    assert script.main(["--decoder", "tiny", "--format", form, "--scratch", str(scratch), "--write-only"]) == 0
    assert len(list((scratch / "llm").glob(f"*-of-*.{form}"))) == 1
    arguments = ["--decoder", "tiny", "--format", form, "--scratch", str(scratch), "--results", str(results)]
    assert script.main([*arguments, "--tokens", "3"]) == 0
    assert not scratch.exists()
    figures = json.loads((results / "true_size.json").read_text())
    assert [stage["name"] for stage in figures["stages"]] == ["write", "load", "training step", "answer"]
    assert all(stage["peak_resident"] > stage["peak_anonymous"] > 0 for stage in figures["stages"])
    assert figures["answer_tokens"] == 3
    assert set(figures["weight_bytes"]) == {"vision", "qformer", "llama_proj", "decoder"}
    assert "| training step |" in (results / "true_size.md").read_text()


def test_sizes_are_the_published_ones(script: ModuleType) -> None:
    """Parameters: EVA-g's 39 of 40 blocks, Vicuna-7B and -13B."""
    import math

    from tiny_models import eva_shapes, llama_shapes

    def count(shapes: dict[str, tuple[int, ...]]) -> int:
        return sum(math.prod(shape) for shape in shapes.values())

    assert count(llama_shapes(script.DECODERS["7b"])) == 6_738_415_616
    assert count(llama_shapes(script.DECODERS["13b"])) == 13_015_864_320
    used = {name: shape for name, shape in eva_shapes(script.DECODERS["7b"]).items() if "blocks.39." not in name}
    used = {name: shape for name, shape in used.items() if not name.startswith(("norm.", "head."))}
    assert 985_000_000 < count(used) < 987_000_000
