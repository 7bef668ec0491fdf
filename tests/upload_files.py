"""Files that visitors may send, good and bad."""

from __future__ import annotations

import io
import struct
import zlib

import numpy
import pillow_heif
from PIL import Image

from skingpt4.demo.visitors.uploads import TOO_BIG, UPLOAD_LIMIT


def png(side: int, rows: bytes) -> bytes:
    """One bit per pixel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def grainy(size: tuple[int, int]) -> Image.Image:
    """A picture whose file is about as large as a photograph's."""
    small = numpy.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), numpy.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BILINEAR)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    with io.BytesIO() as file:
        if form == "HEIF":
            pillow_heif.from_pillow(image).save(file, quality=90)
        else:
            image.save(file, form, **options)
        return file.getvalue()


BOMB = png(13_000, bytes((13_000 // 8 + 1) * 13_000))
BAD = {
    "no image": (b"only words", "⚠ The picture is no image that can be read"),
    "nothing": (b"", "⚠ The picture is no image that can be read"),
    "HTML": (b"<html><script>alert(1)</script></html>", "⚠ The picture is no image that can be read"),
    "a torn JPEG": (encoded(grainy((640, 480)), "JPEG")[:5000], "⚠ The picture is damaged"),
    "a torn PNG": (encoded(grainy((64, 48)), "PNG")[:300], "⚠ The picture is damaged"),
    "a header of 50,000 x 50,000": (png(50_000, b""), "⚠ The picture has 50000 x 50000 pixels; at most 100,000,000"),
    "13,000 x 13,000 in 21 kB": (BOMB, "⚠ The picture has 13000 x 13000 pixels; at most 100,000,000 are read"),
    "more than 20 MB": (encoded(grainy((64, 48)), "JPEG") + bytes(UPLOAD_LIMIT), f"⚠ {TOO_BIG}"),
}
