"""Real little images, and the shared data where it is present."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture
def draw_picture() -> Callable[..., Path]:
    """Write an 8 x 6 picture of one colour, in the format of the file's suffix; folders are made."""

    def write(path: Path, colour: str = "salmon") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), colour).save(path)
        return path

    return write


@pytest.fixture
def shared_data() -> Path:
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the published SKINCON and ISIC tables are not part of the repository")
    return folder
