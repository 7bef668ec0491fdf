"""Where in the photograph the model looked, laid over it as colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from skingpt4.chat.conversation import Chat

HEATMAP_LEGEND = (
    "Where the model looked: yellow = most, violet = least. It shows where it looked, not why, and does not prove "
    "that its answer is right."
)
LONGEST_SIDE_PX = 1024  # the map has 16 × 16 cells or so; more pixels would only show the photograph larger
COLOURS = "viridis"  # grows evenly brighter, for the colour-blind and in a grey print alike
FAINTEST, STRONGEST = 0.5, 0.75  # how much of the colour lies over the photograph


def heatmap(chat: Chat, picture: Image) -> Image | None:
    """The photograph in grey under colours of attention: cross-attention of the Q-Former's queries, see
    `skingpt4.model.attention`. Say `HEATMAP_LEGEND` beside it.

    picture: upright, mode "RGB", of any size. Returns mode "RGB" in the picture's own proportions, at most
    `LONGEST_SIDE_PX` long; None for a model whose encoder has no grid of patches. Encodes the picture once more.
    """
    from skingpt4.model.attention import attention_map

    pixels = chat.processor.pixels(picture).unsqueeze(0).to(chat.model.device)
    shares = attention_map(chat.model, pixels)
    return None if shares is None else overlay(picture, shares[0].cpu().numpy())


def overlay(picture: Image, shares: np.ndarray) -> Image:
    """picture: mode "RGB"; shares: float32[h, w] >= 0, of the whole picture squashed to a square, which is undone here.

    Violet is no attention at all, so that an even map is even; yellow is the most of this picture, taken as the
    99th percentile: one odd patch among hundreds would leave the others dark.
    """
    import matplotlib
    import numpy as np
    from PIL import Image as PILImage

    shrink = min(1.0, LONGEST_SIDE_PX / max(picture.size))
    size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
    brightest = max(float(np.quantile(shares, 0.99)), float(np.finfo(np.float32).tiny))
    cells = PILImage.fromarray(np.clip(shares / brightest, 0, 1).astype(np.float32))
    heat = np.clip(np.asarray(cells.resize(size, PILImage.Resampling.BICUBIC)), 0, 1)
    colours = matplotlib.colormaps[COLOURS](heat, bytes=True)[..., :3]
    grey = np.asarray(picture.resize(size, PILImage.Resampling.BICUBIC).convert("L"), np.float32)[..., None]
    strength = (FAINTEST + (STRONGEST - FAINTEST) * heat)[..., None].astype(np.float32)
    return PILImage.fromarray((grey + strength * (colours - grey) + 0.5).astype(np.uint8))
