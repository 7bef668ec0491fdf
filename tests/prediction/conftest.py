"""What the tests of `skingpt4 predict` ask, and about what."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import draw_data_set

from skingpt4.config import save_settings
from skingpt4.prediction import parts
from skingpt4.settings import Settings


@pytest.fixture
def model(tiny_settings: Settings, tmp_path: Path) -> Path:
    """A YAML file of a random model."""
    save_settings(tiny_settings, tmp_path / "model.yaml")
    return tmp_path / "model.yaml"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten photographs in a folder; the sixth is torn."""
    draw_data_set(tmp_path / "pictures", 10)
    torn = tmp_path / "pictures" / "b" / "1.png"
    torn.write_bytes(torn.read_bytes()[:60])
    return tmp_path / "pictures"


@pytest.fixture
def each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch is written at once."""
    monkeypatch.setattr(parts, "SECONDS_PER_PART", 0.0)
