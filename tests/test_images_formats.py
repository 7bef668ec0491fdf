"""Every format that phones, cameras and browsers make is read; content decides; bombs and noise are refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import numpy
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from skingpt4 import images
from skingpt4.errors import ImageError
from skingpt4.images import IMAGE_SUFFIXES, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
LEVELS = [0, 257 * 10, 257 * 128, 65535]  # of 16 bits
GREYS = [0, 10, 128, 255]


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if form == "HEIF":
        register_heif_opener()  # `open_image` does without
        options = {"quality": -1, **options}
    image.save(buffer, form, **options)
    return buffer.getvalue()


def scene() -> Image.Image:
    """48 x 32; red at the top left, blue at the top right, green at the bottom left, the rest white."""
    picture = Image.new("RGB", (48, 32), WHITE)
    for corner, colour in {(0, 0): RED, (32, 0): BLUE, (0, 16): GREEN}.items():
        picture.paste(colour, (*corner, corner[0] + 16, corner[1] + 16))
    return picture


def corners(image: Image.Image) -> list[object]:
    return [image.getpixel(point) for point in ((8, 8), (40, 8), (8, 24), (40, 24))]


def assert_close(seen: list[object], wanted: list[tuple[int, int, int]], tolerance: int) -> None:
    assert numpy.abs(numpy.array(seen, int) - numpy.array(wanted, int)).max() <= tolerance, seen


def tiff(levels: numpy.ndarray, photometric: int, bits: int = 16, planar: int = 1, data: bytes = b"") -> bytes:
    """A TIFF that Pillow would not write, of uint16[H, W] or [H, W, 3]. photometric: 0 white is zero, 1 grey, 2 RGB."""
    height, width = levels.shape[:2]
    samples = levels.shape[2] if levels.ndim == 3 else 1
    data = data or (numpy.moveaxis(levels, -1, 0) if planar == 2 else levels).astype("<u2").tobytes()
    planes = samples if planar == 2 else 1
    length = len(data) // planes
    entries = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric], 273: [0] * planes}
    entries |= {277: [samples], 278: [height], 279: [length] * planes, 284: [planar]}
    start = 8 + 2 + 12 * len(entries) + 4
    longer = sum(4 * len(values) for values in entries.values() if len(values) > 1)
    entries[273] = [start + longer + length * plane for plane in range(planes)]
    directory, beyond = b"", b""
    for tag, values in entries.items():
        kind, packed = (3, struct.pack(f"<{len(values)}H", *values)) if tag == 258 else (4, b"")
        packed = packed or struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            field = struct.pack("<I", start + len(beyond))
            beyond += packed
        else:
            field = packed.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, len(values)) + field
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return head + beyond.ljust(longer, b"\0") + data


def png16(rows: numpy.ndarray, kind: int, transparent: bytes = b"") -> bytes:
    """A PNG of 16 bits from uint16[H, W, samples]. kind: 0 grey, 2 RGB, 4 grey with alpha, 6 RGB with alpha."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, kind, 0, 0, 0))
    key = chunk(b"tRNS", transparent) if transparent else b""
    content = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + header + key + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_under_any_name(form: str, tmp_path: Path) -> None:
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    file = tmp_path / "mislabelled.dcm"
    file.write_bytes(encoded(scene(), form, **options.get(form, {})))
    image = open_image(file)
    assert (image.mode, image.size, image.info) == ("RGB", (48, 32), {})
    assert_close(corners(image), [RED, BLUE, GREEN, WHITE], 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_orientation_in_every_format_that_has_one(form: str, orientation: int) -> None:
    """The stored picture is such that the orientation turns it upright: written out, not with Pillow's own names."""
    upright = numpy.asarray(scene())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: numpy.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: numpy.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    picture = Image.fromarray(numpy.ascontiguousarray(stored))
    image = open_image(encoded(picture, form, exif=exif.tobytes(), **options.get(form, {})))
    assert image.size == (48, 32)
    assert_close(corners(image), [RED, BLUE, GREEN, WHITE], 6)


def test_of_several_frames_the_first() -> None:
    others = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, BLUE)]
    first = Image.new("RGB", (8, 8), RED)
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        data = encoded(first, form, save_all=True, append_images=others, **options)
        assert open_image(data).getpixel((4, 4)) == RED, form


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_alpha_lies_over_white_in_every_format_that_has_it(form: str) -> None:
    picture = Image.new("RGBA", (32, 32), (*RED, 0))
    picture.paste((*RED, 255), (0, 0, 16, 32))
    image = open_image(encoded(picture, form, **({"lossless": True} if form == "WEBP" else {})))
    assert_close([image.getpixel((6, 16)), image.getpixel((26, 16))], [RED, WHITE], 6)


def test_sixteen_bit_colours_are_scaled_not_clipped() -> None:
    grey = numpy.array([LEVELS], numpy.uint16)
    colours = numpy.stack([grey, grey[:, ::-1], grey], axis=-1)
    wanted = list(zip(GREYS, reversed(GREYS), GREYS, strict=True))
    opaque = numpy.full((1, 4, 1), 65535, numpy.uint16)
    files = {
        "PNG": png16(colours, 2),
        "PNG, alpha": png16(numpy.concatenate([colours, opaque], axis=2), 6),
        "TIFF": tiff(colours, 2),
    }
    for name, data in files.items():
        image = open_image(data)
        assert [image.getpixel((column, 0)) for column in range(4)] == wanted, name


def test_one_transparent_colour_of_sixteen_bits() -> None:
    grey = numpy.array([LEVELS], numpy.uint16)
    image = open_image(png16(grey, 0, struct.pack(">H", LEVELS[1])))
    assert [image.getpixel((column, 0)) for column in range(4)] == [(0, 0, 0), WHITE, (128, 128, 128), WHITE]
    image = open_image(png16(numpy.stack([grey] * 3, axis=-1), 2, struct.pack(">3H", *[LEVELS[1]] * 3)))
    assert [image.getpixel((column, 0)) for column in range(4)] == [(0, 0, 0), WHITE, (128, 128, 128), WHITE]


def test_grey_tiffs_of_sixteen_and_twelve_bits() -> None:
    grey = numpy.array([LEVELS], numpy.uint16)
    assert list(open_image(tiff(grey, 1)).getchannel("R").tobytes()) == GREYS
    with Image.open(io.BytesIO(tiff(grey, 0))) as opened:  # by a caller
        assert list(open_image(opened).getchannel("R").tobytes()) == [255 - level for level in GREYS]
    assert list(open_image(tiff(grey, 0)).getchannel("R").tobytes()) == [255 - level for level in GREYS]
    twelve = int("".join(f"{level:012b}" for level in (0, 161, 2056, 4095)), 2).to_bytes(6, "big")
    assert list(open_image(tiff(grey, 1, bits=12, data=twelve)).getchannel("R").tobytes()) == GREYS


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = numpy.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=numpy.uint8)
    grey = tiff(alpha[..., 0].astype(numpy.uint16) * 257, 0)
    palette = encoded(scene().quantize(8), "PNG", transparency=0)
    for data in (encoded(Image.fromarray(alpha), "PNG"), encoded(scene(), "JPEG"), grey, palette):
        whole = open_image(data)
        with monkeypatch.context() as patch:
            patch.setattr(images, "BAND_PIXELS", 7 * whole.width)
            assert open_image(data).tobytes() == whole.tobytes()


def test_numbers_without_black_and_white_are_refused(tmp_path: Path) -> None:
    for name, picture in {"float": Image.new("F", (2, 2), 0.5), "wide": Image.new("I", (2, 2), 70_000)}.items():
        file = tmp_path / f"{name}.tif"
        picture.save(file)
        with pytest.raises(ImageError, match=rf"{name}\.tif holds measurements .*Save the picture as PNG"):
            open_image(file)


def test_tiffs_that_pillow_would_read_wrong_are_refused(tmp_path: Path) -> None:
    """Pillow 12 takes each byte of a planar 16-bit TIFF for a pixel, without a word."""
    colours = numpy.zeros((2, 2, 3), numpy.uint16)
    file = tmp_path / "scan.tif"
    file.write_bytes(tiff(colours, 2, planar=2))
    with pytest.raises(ImageError, match=r"scan\.tif is TIFF of 16 bits with its colours one after another"):
        open_image(file)
    file.write_bytes(tiff(colours, 2, bits=24))
    with pytest.raises(ImageError, match=r"scan\.tif is a kind of TIFF that is not read\. Save the picture as PNG"):
        open_image(file)


def test_the_open_image_of_a_caller_is_left_as_it_is() -> None:
    picture = scene()
    picture.info["icc_profile"] = b"broken"
    before = picture.tobytes()
    opened = open_image(picture)
    opened.paste(0, (0, 0, 48, 32))
    assert picture.tobytes() == before
    assert picture.info == {"icc_profile": b"broken"}


def test_a_picture_in_an_archive(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a/1.png", encoded(scene(), "PNG"))
        archive.writestr("a/2.png", b"no picture")
    packed = ZipPath(tmp_path / "all.zip")
    assert corners(open_image(packed / "a/1.png")) == [RED, BLUE, GREEN, WHITE]
    with pytest.raises(ImageError, match=r"all\.zip/a/2\.png is no image"):
        open_image(packed / "a/2.png")
    with pytest.raises(ImageError, match=r"all\.zip/a/3\.png does not exist"):
        open_image(packed / "a/3.png")


def test_nothing_but_pixels_leaves() -> None:
    exif = Image.Exif()
    exif[0x9003] = "2026:01:02 03:04:05"
    image = open_image(encoded(scene(), "JPEG", exif=exif, comment=b"Jane"))
    assert type(image) is Image.Image  # a JPEG's own class keeps the segments of the file
    assert image.info == {}
    assert dict(image.getexif()) == {}
    assert b"2026" not in encoded(image, "JPEG")


def test_a_name_that_cannot_be_a_file() -> None:
    with pytest.raises(ImageError, match="cannot be read: embedded null byte"):
        open_image("a\0b")


def test_suffixes_are_lower_case_and_named_once() -> None:
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES) == 15
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
