"""What every test of the doctor stands on."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder that another test's `weights use` named is looked in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
