"""Colours with an ICC profile become sRGB: the expected numbers are computed here, not by the library."""

from __future__ import annotations

import io
import struct

import numpy
import pytest
from PIL import Image, ImageCms

from skingpt4.images import open_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Columns red, green, blue in XYZ under D50, as profiles hold them (ICC's and Apple's published ones).
SRGB_TO_XYZ = numpy.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3_TO_XYZ = numpy.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
PATCHES = [(200, 150, 120), (90, 60, 50), (128, 128, 128), (255, 255, 255), (0, 0, 0), (120, 140, 200)]


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(fixed(value) for value in values)


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2. space: b"RGB ", b"GRAY" or b"CMYK"."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), b"wtpt": D50, **tags}
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    offset, table, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    header = struct.pack(">I", 128 + len(body)) + bytes(4) + b"\x02\x10\0\0" + kind + space + pcs
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(fixed(value) for value in WHITE_D50)
    return header.ljust(128, b"\0") + body


WHITE_D50 = (0.9642, 1.0, 0.8249)
D50 = xyz(*WHITE_D50)


def rgb_profile(matrix: numpy.ndarray, curve: bytes) -> bytes:
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), (xyz(*column) for column in matrix.T), strict=True))
    return profile(b"RGB ", {**columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def cmyk_profile() -> bytes:
    """A press whose first ink is red, not cyan; the others are grey: L* 100 without ink, 0 with all of it."""
    ramp = bytes(range(256))
    nodes = b""
    for node in range(16):  # the first ink changes slowest
        first, others = node >> 3 & 1, bin(node & 7).count("1")
        lightness, redness = (53, 80) if first else (100, 0)
        nodes += bytes([round(lightness * (3 - others) / 3 * 2.55), 128 + round(redness * (3 - others) / 3), 128])
    identity = b"".join(fixed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + nodes + ramp * 3
    return profile(b"CMYK", {b"A2B0": table}, pcs=b"Lab ")


def to_linear(levels: numpy.ndarray) -> numpy.ndarray:
    part = levels / 255
    return numpy.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def from_linear(part: numpy.ndarray) -> numpy.ndarray:
    part = part.clip(0, 1)
    return numpy.where(part <= 0.0031308, part * 12.92, 1.055 * part ** (1 / 2.4) - 0.055) * 255


def p3() -> bytes:
    """Display P3: the curve of sRGB, wider primaries, as on every iPhone."""
    part = to_linear(numpy.linspace(0, 255, 1024))
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + (part * 65535).round().astype(">u2").tobytes()
    return rgb_profile(P3_TO_XYZ, curve)


def patches(colours: list[tuple[int, int, int]]) -> Image.Image:
    picture = Image.new("RGB", (len(colours), 1))
    picture.putdata(colours)
    return picture


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> numpy.ndarray:
    return numpy.asarray(image).reshape(-1, 3).astype(int)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_display_p3_becomes_srgb(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    seen = pixels(open_image(saved(patches(PATCHES), form, icc_profile=p3(), **options)))
    linear = to_linear(numpy.array(PATCHES)) @ (numpy.linalg.inv(SRGB_TO_XYZ) @ P3_TO_XYZ).T
    wanted = from_linear(linear)
    assert numpy.abs(seen - wanted).max() <= 1.5
    assert numpy.abs(numpy.array(PATCHES) - wanted).max() > 5


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG"])
def test_the_profile_of_a_phone_is_honoured(form: str) -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    red = Image.new("RGB", (32, 32), (200, 150, 120))
    plain, wide = (open_image(saved(red, form, quality=95, **more)) for more in ({}, {"icc_profile": p3()}))
    change = numpy.array(wide.getpixel((16, 16))) - numpy.array(plain.getpixel((16, 16)))
    assert change[0] >= 5
    assert change[2] <= -2


def test_swapped_colours_are_swapped_back_under_alpha_and_in_palettes() -> None:
    swapped = SRGB.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    opaque = open_image(saved(patches([(200, 100, 50)]), icc_profile=swapped))
    assert numpy.abs(pixels(opaque) - [(50, 100, 200)]).max() <= 1
    picture = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    picture.putpixel((1, 0), (200, 100, 50, 0))
    seen = pixels(open_image(saved(picture, icc_profile=swapped)))
    assert numpy.abs(seen - [(50, 100, 200), (255, 255, 255)]).max() <= 1
    palette = patches([(200, 100, 50)]).quantize(4)
    assert numpy.abs(pixels(open_image(saved(palette, icc_profile=swapped))) - [(50, 100, 200)]).max() <= 1


def test_srgb_changes_no_pixel() -> None:
    """Under the library's own profile and under one built otherwise: the published matrix, a curve of 1024 points."""
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8))
    part = to_linear(numpy.linspace(0, 255, 1024))
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + (part * 65535).round().astype(">u2").tobytes()
    for name, data in {"the library's": SRGB, "another": rgb_profile(SRGB_TO_XYZ, curve)}.items():
        assert open_image(saved(noise, icc_profile=data)).tobytes() == noise.tobytes(), name


def test_grey_with_a_profile_of_grey_and_of_colours() -> None:
    linear = profile(b"GRAY", {b"kTRC": gamma(1.0)})
    grey = Image.new("L", (1, 1), 55)
    wanted = from_linear(numpy.array([55 / 255]))[0]  # 128
    seen = pixels(open_image(saved(grey, icc_profile=linear)))
    assert numpy.abs(seen - wanted).max() <= 1
    assert pixels(open_image(saved(grey, icc_profile=SRGB))).tolist() == [[55, 55, 55]]
    sixteen = Image.fromarray(numpy.array([[55 * 257]], numpy.uint16))
    assert numpy.abs(pixels(open_image(saved(sixteen, "TIFF", icc_profile=linear))) - wanted).max() <= 1


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_inks_with_a_profile(form: str) -> None:
    options = {"quality": 100} if form == "JPEG" else {}
    for inks, wanted in {(255, 0, 0, 0): (254, 0, 0), (0, 0, 0, 0): (255, 255, 255)}.items():
        data = saved(Image.new("CMYK", (8, 8), inks), form, icc_profile=cmyk_profile(), **options)
        red, green, blue = open_image(data).getpixel((4, 4))  # type: ignore[misc]
        if inks[0]:
            assert red > 200
            assert max(green, blue) < 150
        else:
            assert numpy.abs(numpy.array([red, green, blue]) - wanted).max() <= 2
    plain = open_image(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), form, **options)).getpixel((4, 4))
    assert numpy.abs(numpy.array(plain) - (0, 255, 255)).max() <= 3


def test_lab_becomes_srgb() -> None:
    """L* 53.2, a* 80, b* 67 is the red of sRGB."""
    lab = Image.merge("LAB", [Image.new("L", (2, 2), level) for level in (136, 208, 195)])
    assert numpy.abs(pixels(open_image(saved(lab, "TIFF"))) - (255, 0, 0)).max() <= 12


@pytest.mark.parametrize(
    "broken", [b"x", b"not a profile" * 20, SRGB[:200], SRGB[:-300], SRGB.replace(b"acsp", b"....")]
)
def test_a_broken_profile_is_ignored(broken: bytes) -> None:
    picture = patches(PATCHES)
    assert open_image(saved(picture, icc_profile=broken)).tobytes() == picture.tobytes()


def test_a_profile_for_another_kind_of_colour_is_ignored() -> None:
    picture = patches(PATCHES)
    for data in (profile(b"GRAY", {b"kTRC": gamma(1.0)}), cmyk_profile()):
        assert open_image(saved(picture, "TIFF", icc_profile=data)).tobytes() == picture.tobytes()
    inks = Image.new("CMYK", (2, 2), (0, 0, 0, 0))
    assert open_image(saved(inks, "TIFF", icc_profile=SRGB)).getpixel((0, 0)) == (255, 255, 255)
