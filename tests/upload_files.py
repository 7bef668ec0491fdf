"""Files that visitors may send, good and bad."""

from __future__ import annotations

import io
import struct
import zlib

import numpy
import pillow_heif
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEGLSLossless
from test_images_dicom import dicom, stored

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


def many_scans(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each time all pixels are decoded anew."""
    whole = encoded(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


def dicom_of_64(frame: bytes, coding: str, bits: int) -> bytes:
    """A DICOM file whose header says 64 x 64 pixels, whatever is in its frame."""
    data = dicom(encapsulate([frame]), "MONOCHROME2", coding=coding, Rows=64, Columns=64)
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    return stored(data)


# The frame says 65,535 x 65,535. GDCM throws through C code that cannot pass it on, and so ends its process.
JPEG_LS = b"\xff\xd8\xff\xf7\0\x0b\x10\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0" + bytes(1000)
JPEG_2000 = encoded(Image.new("L", (13_000, 13_000)), "JPEG2000", quality_layers=[2000], no_jp2=True)
BOMB = png(13_000, bytes((13_000 // 8 + 1) * 13_000))
BAD = {
    "no image": (b"only words", "⚠ The picture is no image that can be read"),
    "nothing": (b"", "⚠ The picture is no image that can be read"),
    "HTML": (b"<html><script>alert(1)</script></html>", "⚠ The picture is no image that can be read"),
    "a torn JPEG": (encoded(grainy((640, 480)), "JPEG")[:5000], "⚠ The picture is damaged"),
    "a torn PNG": (encoded(grainy((64, 48)), "PNG")[:300], "⚠ The picture is damaged"),
    "a header of 50,000 x 50,000": (png(50_000, b""), "⚠ The picture has 50000 x 50000 pixels; at most 100,000,000"),
    "13,000 x 13,000 in 21 kB": (BOMB, "⚠ The picture has 13000 x 13000 pixels; at most 100,000,000 are read"),
    "a DICOM frame of 65,535 x 65,535": (
        dicom_of_64(JPEG_LS, JPEGLSLossless, 16),
        "⚠ The picture has 65535 x 65535 pixels; at most 100,000,000 are read",
    ),
    "a DICOM frame of 13,000 x 13,000": (
        dicom_of_64(JPEG_2000, JPEG2000, 8),
        "⚠ The picture has 13000 x 13000 pixels; at most 100,000,000 are read",
    ),
    "a DICOM frame of another size than the header": (
        dicom_of_64(encoded(Image.new("L", (32, 64)), "JPEG2000", no_jp2=True), JPEG2000, 8),
        "⚠ The picture is DICOM for 64 x 64 pixels, but holds 32 x 64",
    ),
    "6,000 scans": (many_scans(10_000, 6000), "⚠ The picture is a JPEG of more than 100 scans"),
    "100 million pixels that take three times the memory": (
        encoded(Image.new("RGB", (10_000, 10_000)), "WEBP", lossless=True, method=0),
        "⚠ The picture needs more memory than there is",
    ),
    "a strip": (
        encoded(Image.new("L", (10, 10_000)), "PNG"),
        "⚠ The picture has 10 x 10000 pixels: it is too narrow a strip",
    ),
    "one chunk more than 20 MB": (bytes(UPLOAD_LIMIT + 100_100), f"⚠ {TOO_BIG}"),
    "more than 20 MB": (encoded(grainy((64, 48)), "JPEG") + bytes(UPLOAD_LIMIT), f"⚠ {TOO_BIG}"),
}
