"""Pictures that the photo check learns to tell from good ones: good ones that are spoiled, and some that show no skin.

They are made by code, so that a check can be fitted where nobody has collected bad photographs. Images without skin
follow Baradad et al. 2021 ("Learning to see by looking at noise"): dead leaves and noise of several scales share the
statistics of natural images without showing anything; beside them what ends up in front of a camera by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 224
Generator = np.random.Generator
Maker = Callable[[Generator], "Image"]
Spoiler = Callable[["Image", Generator], "Image"]


def blurred(picture: Image, rng: Generator) -> Image:
    """Out of focus or shaken: a Gaussian of 1.5 to 5 % of the longer side. The noise over it is small, since a large
    photograph loses its own when it is made smaller.
    """
    from PIL import ImageFilter

    soft = picture.filter(ImageFilter.GaussianBlur(max(picture.size) * rng.uniform(0.015, 0.05)))
    return _with_grain(np.asarray(soft, np.float64), rng.uniform(0, 0.6), rng)


def dark(picture: Image, rng: Generator) -> Image:
    """Underexposed, until its brightest parts have 3 to 15 % of white, whatever the skin's colour was: a well lit
    photograph of the darkest skin is brighter than that, and must not be taken for a dark one.
    """
    values = np.asarray(picture, np.float64)
    brightest = max(float(np.percentile(values, 95)), 1.0)
    return _with_grain(values * (255 * rng.uniform(0.03, 0.15) / brightest), rng.uniform(0, 1), rng)


def far(picture: Image, rng: Generator) -> Image:
    """Taken from too far away: all of it on a tenth to a fifth of the side, on more skin of the same colour or in front
    of something else.
    """
    from PIL import Image as PILImage
    from PIL import ImageDraw, ImageFilter

    size = SIDE_PX, SIDE_PX
    side = round(SIDE_PX * rng.uniform(0.1, 0.2))
    small = picture.resize((side, side), PILImage.Resampling.BOX)
    around = _more_skin(picture, rng) if rng.random() < 0.5 else without_skin(rng)
    mask = PILImage.new("L", small.size, 0)
    ImageDraw.Draw(mask).ellipse([0, 0, side - 1, side - 1], fill=255)
    left, top = (int(place) for place in rng.integers(0, SIDE_PX - side, 2))
    around = around.resize(size)
    around.paste(small, (left, top), mask.filter(ImageFilter.GaussianBlur(side * 0.06)))
    return around


SPOILERS: dict[str, Spoiler] = {"blurred": blurred, "dark": dark, "far": far}


def without_skin(rng: Generator) -> Image:
    """One picture without skin, 224 x 224, of any kind of `WITHOUT_SKIN`."""
    return list(WITHOUT_SKIN.values())[int(rng.integers(len(WITHOUT_SKIN)))](rng)


def pictures_without_skin(count: int, seed: int) -> Iterator[Image]:
    """`count` pictures without skin, of all kinds in turn."""
    rng = np.random.default_rng([seed, 1])
    makers = list(WITHOUT_SKIN.values())
    for number in range(count):
        yield makers[number % len(makers)](rng)


def _blank(rng: Generator) -> Image:
    """A lens cap, a wall."""
    return _with_grain(_filled(_colour(rng)), rng.uniform(0, 2), rng)


def _gradient(rng: Generator) -> Image:
    """A wall with light on it, the sky."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX - 0.5
    share = np.clip(0.5 + np.cos(angle) * across + np.sin(angle) * down, 0, 1)[..., None]
    return _with_grain(_colour(rng) * (1 - share) + _colour(rng) * share, rng.uniform(0, 2), rng)


def _white_noise(rng: Generator) -> Image:
    """A broken file."""
    grey = rng.random() < 0.5
    values = rng.uniform(0, 255, (SIDE_PX, SIDE_PX, 1 if grey else 3))
    return _image(np.broadcast_to(values, (SIDE_PX, SIDE_PX, 3)))


def _coloured_noise(rng: Generator) -> Image:
    """Clouds, grass, cloth: noise of one scale, or of several, in one colour or in all."""
    scales = rng.uniform(0.7, 30, int(rng.integers(1, 4)))
    channels = [sum(_field(scale, rng) for scale in scales) for _ in range(3 if rng.random() < 0.5 else 1)]
    mixed = np.stack([channels[number % len(channels)] for number in range(3)], -1)
    return _image(_colour(rng) + mixed * rng.uniform(8, 50, 3) / len(scales) ** 0.5)


def _text(rng: Generator) -> Image:
    """A page or a screen with lines of words."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    pale, black = rng.uniform(200, 256, 3), rng.uniform(0, 80, 3)
    paper, ink = (pale, black) if rng.random() < 0.8 else (black, pale)
    page = PILImage.new("RGB", (SIDE_PX, SIDE_PX), tuple(paper.astype(int)))
    pen, height = ImageDraw.Draw(page), int(rng.integers(7, 26))
    for top in range(8, SIDE_PX - height, round(height * rng.uniform(1.3, 2))):
        left = int(rng.integers(4, 20))
        while left < SIDE_PX - 20:
            word = "".join(chr(int(letter)) for letter in rng.integers(97, 123, int(rng.integers(1, 9))))
            pen.text((left, top), word, fill=tuple(ink.astype(int)), font_size=height)
            left += round(pen.textlength(word + " ", font_size=height))
        if rng.random() < 0.15:
            break
    return page


def _stripes(rng: Generator) -> Image:
    """Cloth, blinds, wood."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 60)
    down, across = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    wave = across * np.cos(angle) + down * np.sin(angle) + _field(30, rng) * rng.uniform(0, 8)
    first = (np.sin(2 * np.pi * wave / period) * rng.uniform(1, 8) + rng.uniform(0, 1)).clip(0, 1)[..., None]
    return _with_grain(_colour(rng) * first + _colour(rng) * (1 - first), rng.uniform(0, 8), rng)


def _dead_leaves(rng: Generator) -> Image:
    """Things that lie over one another, at all sizes."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    image = PILImage.new("RGB", (SIDE_PX, SIDE_PX), tuple(_colour(rng).astype(int)))
    pen, kind = ImageDraw.Draw(image), int(rng.integers(3))
    for _ in range(int(10 ** rng.uniform(0, 2.7))):
        radius = min(6 / max(rng.random(), 0.03) ** 0.8, SIDE_PX)
        x, y = rng.uniform(0, SIDE_PX, 2)
        colour = tuple(_colour(rng).astype(int))
        if kind == 0:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
        elif kind == 1:
            high = radius * rng.uniform(0.3, 1.5)
            pen.rectangle([x - radius, y - high, x + radius, y + high], fill=colour)
        else:
            corners = rng.uniform(-radius, radius, (int(rng.integers(3, 8)), 2))
            pen.polygon([(float(x + across), float(y + down)) for across, down in corners], fill=colour)
    return _with_grain(np.asarray(image, np.float64) + _field(20, rng)[..., None] * rng.uniform(0, 20), 2, rng)


def _two_parts(rng: Generator) -> Image:
    """A horizon, the edge of a table: two other pictures side by side."""
    from PIL import Image as PILImage

    first, second = (np.asarray(make(rng)) for make in (_coloured_noise, _dead_leaves))
    edge = int(SIDE_PX * rng.uniform(0.2, 0.8))
    joined = np.concatenate([first[:edge], second[edge:]])
    return PILImage.fromarray(joined if rng.random() < 0.7 else joined.transpose(1, 0, 2).copy())


WITHOUT_SKIN: dict[str, Maker] = {
    "blank": _blank,
    "gradient": _gradient,
    "white noise": _white_noise,
    "coloured noise": _coloured_noise,
    "text": _text,
    "stripes": _stripes,
    "dead leaves": _dead_leaves,
    "two parts": _two_parts,
}


def _more_skin(picture: Image, rng: Generator) -> Image:
    """The colour of the picture's edge with soft unevenness and grain, 224 x 224."""
    values = np.asarray(picture, np.float64)
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    uneven = _field(rng.uniform(8, 40), rng)[..., None] * rng.uniform(1, 8)
    return _with_grain(np.median(edge, axis=0) + uneven, rng.uniform(0.5, 4), rng)


def _colour(rng: Generator) -> np.ndarray:
    """float64[3], 0-255: half of them any colour, half of them as dull as most things are."""
    colour = rng.uniform(0, 255, 3)
    return colour if rng.random() < 0.5 else colour.mean() + (colour - colour.mean()) * rng.uniform(0, 0.5)


def _filled(colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colour, (SIDE_PX, SIDE_PX, 3))


def _field(scale_px: float, rng: Generator) -> np.ndarray:
    """float64[224, 224]: Gaussian noise with structures of about this size, mean 0, deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX)), scale_px / 2, mode="wrap")
    return (field - field.mean()) / max(float(field.std()), 1e-9)


def _with_grain(values: np.ndarray, deviation: float, rng: Generator) -> Image:
    """float64[H, W, 3], 0-255, with a camera's noise."""
    return _image(
        values + rng.normal(0, deviation, (*values.shape[:2], 1)) + rng.normal(0, deviation / 3, values.shape)
    )


def _image(values: np.ndarray) -> Image:
    from PIL import Image as PILImage

    return PILImage.fromarray(np.clip(values, 0, 255).astype(np.uint8))
