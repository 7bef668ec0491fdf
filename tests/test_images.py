"""Any picture a user has becomes an upright RGB image, and what is none is named."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from skingpt4.errors import ImageError
from skingpt4.images import CLIP_MEAN, CLIP_STD, evaluation_transform, open_image, squash

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=numpy.uint8))


def png(width: int, height: int, bits: int, kind: int, rows: bytes, transparent: bytes = b"") -> bytes:
    """A PNG that Pillow would not write. kind: 0 grey, 2 RGB; transparent: the content of `tRNS`."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    key = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    return png(width, height, 8, 2, b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    """The camera's picture has red in the corner that must end up at the top left, and is 3 x 2 when upright."""
    upright = Image.new("RGB", (3, 2), WHITE)
    upright.putpixel((0, 0), RED)
    upright.putpixel((2, 0), BLUE)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, "PNG", exif=exif))
    assert image.size == (3, 2)
    assert (image.getpixel((0, 0)), image.getpixel((2, 0)), image.getpixel((0, 1))) == (RED, BLUE, WHITE)


def test_transparency_lies_over_white() -> None:
    half = Image.new("RGBA", (3, 1))
    for column, pixel in enumerate([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]):
        half.putpixel((column, 0), pixel)
    image = open_image(encoded(half, "PNG"))
    assert image.mode == "RGB"
    assert [image.getpixel((column, 0)) for column in range(3)] == [RED, WHITE, (127, 127, 127)]
    grey = open_image(encoded(Image.new("LA", (1, 1), (0, 0)), "PNG"))
    assert grey.getpixel((0, 0)) == WHITE


def test_palette_with_and_without_a_transparent_colour() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    opaque = open_image(encoded(palette, "PNG"))
    assert [opaque.getpixel((column, 0)) for column in range(2)] == [RED, GREEN]
    holed = open_image(encoded(palette, "PNG", transparency=1))
    assert [holed.getpixel((column, 0)) for column in range(2)] == [RED, WHITE]


def test_one_transparent_colour_of_a_picture_without_alpha() -> None:
    assert open_image(encoded(Image.new("RGB", (1, 1), RED), "PNG", transparency=RED)).getpixel((0, 0)) == WHITE
    assert open_image(encoded(Image.new("L", (1, 1), 9), "PNG", transparency=9)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    levels = numpy.array([[0, 257 * 10, 257 * 128, 65535]], dtype=numpy.uint16)
    image = open_image(encoded(Image.fromarray(levels), form))
    assert [image.getpixel((column, 0)) for column in range(4)] == [(value,) * 3 for value in (0, 10, 128, 255)]


def test_sixteen_bit_grey_with_a_transparent_level_is_scaled_too() -> None:
    """Pillow's way to RGBA clips every level above 255 to white."""
    file = png(3, 1, 16, 0, b"\0" + struct.pack(">3H", 257 * 10, 257 * 128, 65535), struct.pack(">H", 65535))
    image = open_image(file)
    assert [image.getpixel((column, 0)) for column in range(3)] == [(10,) * 3, (128,) * 3, WHITE]


def test_cmyk_and_grey_and_one_bit() -> None:
    assert open_image(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "TIFF")).getpixel((4, 4)) == WHITE
    cyan = open_image(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100)).getpixel((4, 4))
    assert isinstance(cyan, tuple)
    assert all(abs(value - wanted) <= 3 for value, wanted in zip(cyan, (0, 255, 255), strict=True))
    assert open_image(encoded(Image.new("L", (2, 2), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)
    assert open_image(encoded(Image.new("1", (2, 2), 1), "PNG")).getpixel((0, 0)) == WHITE


def test_a_file_its_bytes_and_an_open_image_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    noise(20, 10).save(file)
    pixels = open_image(file).tobytes()
    assert pixels == open_image(str(file)).tobytes() == open_image(file.read_bytes()).tobytes()
    with Image.open(file) as image:
        assert open_image(image).tobytes() == pixels


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_torn_files_are_refused(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"torn.{form.lower()}"
    whole = encoded(noise(64, 64), form)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=rf"torn\.{form.lower()} is (damaged|no image)"):
        open_image(file)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    text = tmp_path / "note.png"
    text.write_text("This is a letter.", encoding="utf-8")
    with pytest.raises(ImageError, match=r"note\.png is no image that can be read \(JPEG, PNG,"):
        open_image(text)
    with pytest.raises(ImageError, match=r"absent\.png does not exist"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="is a folder; an image file was expected"):
        open_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png is a pipe or a device"):  # and does not wait for a writer
        open_image(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="the picture is no image"):
        open_image(b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_giant_picture_is_refused_from_its_header() -> None:
    """Nothing is decoded: the file holds no pixels at all."""
    with pytest.raises(ImageError, match=r"has 13000 x 13000 pixels; at most 100,000,000 are read"):
        open_image(png_header(13_000, 13_000))
    with pytest.raises(ImageError):
        open_image(png_header(100_000, 100_000))
    with pytest.raises(ImageError, match="damaged"):  # the same file of a size that is read
        open_image(png_header(130, 130))


def two_passes(image: Image.Image, size_px: int, vertical_first: bool) -> Image.Image:
    between = (image.width, size_px) if vertical_first else (size_px, image.height)
    return image.resize(between, Image.Resampling.BICUBIC).resize((size_px, size_px), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("width", "height", "vertical_first"), [(57, 133, True), (133, 57, False), (120, 121, False), (80, 113, True)]
)
def test_the_order_of_the_two_passes_of_a_squash(width: int, height: int, vertical_first: bool) -> None:
    """Pillow rounds between them, so the order shows; 57 x 133 -> 56 was found one grey level off."""
    image = noise(width, height)
    squashed = squash(image, 56)
    assert squashed.size == (56, 56)
    assert squashed.tobytes() == two_passes(image, 56, vertical_first).tobytes()
    assert squashed.tobytes() != two_passes(image, 56, not vertical_first).tobytes()


def test_pixels_as_the_encoder_expects_them() -> None:
    grey = evaluation_transform(14)(Image.new("RGB", (30, 20), (0, 128, 255)))
    assert (grey.dtype, tuple(grey.shape)) == (torch.float32, (3, 14, 14))
    expected = [(value / 255 - mean) / std for value, mean, std in zip((0, 128, 255), CLIP_MEAN, CLIP_STD, strict=True)]
    assert torch.allclose(grey.mean(dim=(1, 2)), torch.tensor(expected), atol=1e-6)
    assert grey.std(dim=(1, 2)).max() < 1e-6
