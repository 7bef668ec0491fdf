"""Contact sheets: many photographs in one picture, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def contact_sheet(images: Sequence[np.ndarray], columns: int = 8, scale: int = 1) -> Image.Image:
    """Photographs uint8[S, S, 3] side by side, row by row."""
    side = images[0].shape[0]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * side, columns * side, 3), 255, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = image
    picture = Image.fromarray(sheet)
    return (
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        if scale > 1
        else picture
    )
