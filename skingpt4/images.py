"""Any picture a user has -> an upright RGB image -> pixels."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from skingpt4.errors import ImageError
from skingpt4.image_formats import BITS_TAG, check_size, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform
    from torch import Tensor

# CLIP's mean and standard deviation of RGB in [0, 1]; LAVIS's `blip2_image_train` / `blip2_image_eval` use them.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_PIXELS = 100_000_000  # a 48-megapixel phone photograph passes, a decompression bomb does not
# What `open_image` reads, by suffix (lower case), for those who look through folders.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".heic", ".heif", ".hif", ".avif", ".dcm", ".dicom"),
)

PHOTOMETRIC_TAG, WHITE_IS_ZERO = 262, 0  # of TIFF
BAND_PIXELS = 4_000_000
SAME_COLOUR = 2  # grey levels of 255: two profiles of one colour space differ by rounding
CROP_AREA = (0.5, 1.0)  # of the training view; MiniGPT-4's `blip2_image_train`


class HasBytes(Protocol):
    """A picture inside something else, an archive for example; its `str()` is what a user knows it by."""

    def read_bytes(self) -> bytes:
        """The whole content of the image file."""


def open_image(source: str | Path | bytes | Image | HasBytes) -> Image:
    """An upright sRGB image (mode "RGB", 0-255, without metadata) from a file, bytes, an open PIL image (which is left
    as it is) or an object with `read_bytes()`, whose `str()` is the name in errors.

    JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF and DICOM are read, whatever the suffix says; of several frames the
    first. EXIF orientation is honoured, transparency is laid over white, 16 bits are scaled to 8, and colours with an
    ICC profile are converted to sRGB. Raises `ImageError`, naming the file, for what is no image, is torn, or has more
    than `MAX_PIXELS` pixels (found from the header, before anything is decoded).
    """
    from PIL import Image, ImageOps

    name = "the picture" if isinstance(source, (bytes, Image.Image)) else str(source)
    try:
        if isinstance(source, Image.Image):
            check_size(source.size, name, MAX_PIXELS)
            image, levels = ImageOps.exif_transpose(source), _grey_levels(source)  # a copy, without the tags of a TIFF
        else:
            with _stream(source, name) as stream:
                image = read_picture(stream, name, MAX_PIXELS)
                levels = _grey_levels(image)
                ImageOps.exif_transpose(image, in_place=True)
        return _to_srgb(image, levels, name)
    except (ImageError, ImportError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has too many pixels; at most {MAX_PIXELS:,} are read. Make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is. Make it smaller.") from error
    except Exception as error:  # decoders raise almost anything for torn files
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ImageError(f"{name} is damaged: {reason}. Copy or export it again.") from error


def _stream(source: str | Path | bytes | HasBytes, name: str) -> BinaryIO:
    try:
        if isinstance(source, (str, Path)):
            if stat.S_IFMT(os.stat(source).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):  # a pipe never ends
                raise ImageError(f"{name} is a pipe or a device; an image file was expected.")
            return open(source, "rb")  # a stream: of a large TIFF or DICOM not all is needed
        return io.BytesIO(source if isinstance(source, bytes) else source.read_bytes())
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder; an image file was expected.") from error
    except (OSError, KeyError, ValueError) as error:  # no permission, a member that an archive lacks, a NUL in a name
        raise ImageError(f"{name} cannot be read: {error}. Check that the file exists and may be opened.") from error


def _to_srgb(image: Image, levels: tuple[int, bool], name: str) -> Image:
    """A loaded picture of any mode -> mode "RGB" in sRGB, over white where it is transparent, without the metadata.

    In bands, so that what is between takes little memory. Raises `ImageError` for numbers without black and white.
    """
    from PIL import Image as PILImage

    result = PILImage.new("RGB", image.size)
    band_rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, band_rows):
        band = image.crop((0, top, image.width, min(top + band_rows, image.height)))
        if band.mode == "F" or band.mode.startswith("I"):
            band = _eight_bit_grey(band, *levels, name)
        result.paste(_over_white(band), (0, top))
    return result


def _over_white(band: Image) -> Image:
    from PIL import Image as PILImage

    profile, key = band.info.get("icc_profile"), band.info.get("transparency")
    if band.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and key is None:
        return _colours(band, profile)
    if isinstance(key, tuple) and max(key) > 255:  # of 16 bits, of which Pillow keeps the upper 8
        band.info["transparency"] = tuple(level >> 8 for level in key)
    band = band.convert("LA" if band.mode == "La" else "RGBA").convert("RGBA")
    rgba = _colours(band.convert("RGB"), profile)
    rgba.putalpha(band.getchannel("A"))
    return PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _grey_levels(image: Image) -> tuple[int, bool]:
    """The highest level of grey of more than 8 bits, and whether zero is white; Pillow applies neither to a TIFF."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_TAG, (16,))[0]
    return 4095 if bits == 12 else 65535, image.mode != "I" and tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO


def _eight_bit_grey(band: Image, white: int, inverted: bool, name: str) -> Image:
    """Grey of more bits, scaled (Pillow's own conversion clips)."""
    levels = band.convert("I") if band.mode != "F" else band
    darkest, lightest = levels.getextrema()
    if band.mode == "F" or not 0 <= darkest <= lightest <= white:  # type: ignore[operator]
        raise ImageError(
            f"{name} holds measurements (32-bit or negative numbers), of which none is known to be black or white; "
            "8 or 16 bits were expected. Save the picture as PNG."
        )
    if inverted:
        levels = levels.point(lambda level: level * -1 + white)
    grey = levels.point(lambda level: level * (255 / white) + 0.5).convert("L")
    if isinstance(key := grey.info.get("transparency"), int):
        grey.info["transparency"] = round(key * 255 / white)
    return grey


def _colours(image: Image, profile: bytes | None) -> Image:
    """A picture without transparency -> mode "RGB" in sRGB. A profile that is broken or is for another kind of colour
    is ignored; under one that is sRGB already no pixel changes.
    """
    from PIL import ImageCms

    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _transform(ImageCms.ImageCmsProfile(lab), "LAB").apply(image)
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")  # palettes, one bit, YCbCr
    if not profile:
        return image.convert("RGB")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(opened.profile.xcolor_space.strip(), "")
        if image.mode == "L" and mode == "RGB":
            image = image.convert("RGB")
        if image.mode != mode:
            return image.convert("RGB")
        transform = _transform(opened, mode)
        if _changes_nothing(transform, mode):
            return image.convert("RGB")
        return transform.apply(image)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image.convert("RGB")


def _transform(profile: object, mode: str) -> ImageCmsTransform:
    """To sRGB; relative colours and a black that stays black, as photo editors and browsers do."""
    from PIL import ImageCms

    return ImageCms.ImageCmsTransform(
        profile,  # type: ignore[arg-type]
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _changes_nothing(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether the profile is sRGB, told by what it does to a cube of colours: names of profiles are many."""
    import numpy
    from PIL import Image as PILImage

    if mode == "CMYK":
        return False
    steps = numpy.linspace(0, 255, 18).round().astype(numpy.uint8)
    cube = numpy.stack(numpy.meshgrid(*[steps] * (3 if mode == "RGB" else 1), indexing="ij"), axis=-1)
    cube = cube.reshape(1, -1, 3) if mode == "RGB" else cube.reshape(1, -1)
    before = PILImage.fromarray(cube)
    after = transform.apply(before)
    difference = numpy.asarray(after).astype(int) - numpy.asarray(before.convert("RGB")).astype(int)
    return bool(numpy.abs(difference).max() <= SAME_COLOUR)


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
