"""The pictures that the page offers to someone who has none: drawn by the package's renderer, never a patient's."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SEED = 5
SIDE_PX = 448  # four times as large as they are drawn, so that they look like pictures
DISEASES = ("psoriasis", "acne vulgaris", "melanoma")


@dataclass(frozen=True)
class Example:
    """name: what was drawn. picture: mode "RGB"."""

    name: str
    picture: Image

    @property
    def uri(self) -> str:
        """For the page's style sheet."""
        buffer = io.BytesIO()
        self.picture.resize((128, 128)).save(buffer, "JPEG", quality=85)
        return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


@cache
def examples() -> tuple[Example, ...]:
    """The same ones every time."""
    import numpy as np
    from PIL import Image

    from skingpt4.tiny.renderer import disease_description, render

    drawn = []
    for number, disease in enumerate(DISEASES):
        rng = np.random.default_rng([SEED, number])
        image = Image.fromarray(render(disease_description(disease, rng), rng).image)
        drawn.append(Example(disease, image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)))
    return tuple(drawn)
