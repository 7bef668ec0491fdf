"""The photo check of the embedded default: `python -m skingpt4.tiny.photo_check` fits it and prints its figures.

It is fitted on drawn photographs of skin, since these are what the model knows, and measured on other ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from skingpt4.chat.conversation import Chat
from skingpt4.chat.photo_check import FILE_NAME, PhotoCheck
from skingpt4.config import EMBEDDED_FOLDER
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.photo_check.fit import fit_photo_check, measure_photo_check
from skingpt4.tiny.dataset import SetSize, draw_set
from skingpt4.weights.build import load_model

# In no set of `skingpt4.tiny.dataset.SETS`.
FITTED_ON = SetSize(diseases=300, random=100, notes=False, seed=31)
MEASURED_ON = SetSize(diseases=300, random=100, notes=False, seed=32)


def drawn(size: SetSize) -> tuple[list[Image.Image], list[int]]:
    """The photographs of a set, with the Fitzpatrick type 1-6 of each (0 = drawn on no skin)."""
    renderings = [rendering for rendering, _ in draw_set(size)]
    pictures = [Image.fromarray(rendering.image) for rendering in renderings]
    return pictures, [rendering.description.skin_tone for rendering in renderings]


def fit_embedded(chat: Chat, path: Path) -> PhotoCheck:
    """Fit the check on `FITTED_ON` and write it."""
    check = fit_photo_check(chat, drawn(FITTED_ON)[0])
    check.save(path)
    return check


def measure_embedded(check: PhotoCheck, chat: Chat) -> dict[str, Figure]:
    """The figures on `MEASURED_ON`."""
    return measure_photo_check(check, chat, drawn(MEASURED_ON)[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, write and measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skingpt4.tiny.photo_check", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=EMBEDDED_FOLDER / FILE_NAME,
        metavar="FILE",
        help="what to write (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    chat = Chat(*load_model())
    check = fit_embedded(chat, arguments.out)
    print(f"wrote {arguments.out}")
    for name, figure in measure_embedded(check, chat).items():
        print(f"{name}: {figure}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
