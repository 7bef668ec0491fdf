"""Any picture a user has -> an upright RGB image -> pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# CLIP's mean and standard deviation of RGB in [0, 1]; LAVIS's `blip2_image_train` / `blip2_image_eval` use them.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_PIXELS = 100_000_000  # a 48-megapixel phone photograph passes, a decompression bomb does not
CROP_AREA = (0.5, 1.0)  # of the training view; MiniGPT-4's `blip2_image_train`


def open_image(source: str | Path | bytes | Image) -> Image:
    """An upright RGB image (mode "RGB", 0-255) from a file, from bytes, or from an open PIL image.

    EXIF orientation is honoured and transparency is laid over white. Raises `ImageError`, naming the file, for what is
    no image, is torn, or has more than `MAX_PIXELS` pixels (found from the header, before anything is decoded).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    try:
        if isinstance(source, Image.Image):
            image = source
        else:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{name} has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read. Make it smaller."
            )
        return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder; an image file was expected.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{name} is no image that can be read (JPEG, PNG, WebP, TIFF, BMP or GIF were expected)."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for torn files
        raise ImageError(f"{name} is damaged: {error}.") from error


def _to_rgb(image: Image) -> Image:
    from PIL import Image as PILImage

    if image.mode in ("I", "I;16", "I;16B", "I;16L"):  # 16-bit grey: `convert` would clip, not scale
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def evaluation_transform(size_px: int) -> Callable[[Image], Tensor]:
    """RGB image -> float32[3, S, S], CLIP-normalised. The whole picture is squashed to the square (bicubic): the
    weights expect it.
    """
    from torchvision import transforms

    return transforms.Compose(
        [
            lambda image: squash(image, size_px),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )


def squash(image: Image, size_px: int) -> Image:
    """Bicubic resize to a square, with the same values under every Pillow.

    Pillow rounds to 8 bits between its two passes, so their order shows (by one grey level). Until Pillow 12 the
    horizontal pass came first; since 13 the vertical one does where the height shrinks by more than twice as many
    pixels as the width. The reference numbers have the latter order, and Gradio does not allow Pillow 13 yet: so the
    order is made here.
    """
    from PIL.Image import Resampling

    shrink_height, shrink_width = image.height - size_px, image.width - size_px
    if shrink_height > 0 and shrink_height > 2 * shrink_width:
        image = image.resize((image.width, size_px), Resampling.BICUBIC)
    return image.resize((size_px, size_px), Resampling.BICUBIC)


def training_transform(size_px: int) -> Callable[[Image], Tensor]:
    """The same after a random crop of 0.5-1.0 of the area (torch's random numbers); the original flips nothing."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size_px, scale=CROP_AREA, interpolation=InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
