"""Bombs take no memory; torn files and noise are an error with a name, never anything else."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_images_formats import FORMATS, encoded, scene

from skingpt4 import images
from skingpt4.errors import ImageError
from skingpt4.images import open_image


def test_pillow_does_not_warn_below_our_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(images, "BAND_PIXELS", 480)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in FORMATS:
            assert open_image(encoded(scene(), form)).size == (48, 32)


@pytest.mark.parametrize("form", FORMATS)
def test_the_limit_holds_before_pixels_are_decoded(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(), form)
    monkeypatch.setattr(images, "MAX_PIXELS", 48 * 32 - 1)
    loaded: list[object] = []
    monkeypatch.setattr(Image.Image, "load", lambda image: loaded.append(image))
    with pytest.raises(ImageError, match="has 48 x 32 pixels; at most 1,535 are read"):
        open_image(data)
    assert loaded == []


BOMB = """
import resource, struct, sys, zlib
from skingpt4.errors import ImageError
from skingpt4.images import open_image

def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

side, bits = 13_000, 1
rows = zlib.compress(bytes((side * bits // 8 + 1) * side), 9)
header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0))
file = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_image(file)
except ImageError as error:
    print(len(file), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_a_bomb_takes_no_memory() -> None:
    """13,000 x 13,000 pixels in 21 kB would be 0.7 GB decoded."""
    run = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, timeout=60, check=True)
    size_bytes, grown_kilobytes, message = run.stdout.strip().split(maxsplit=2)
    assert 20_000 < int(size_bytes) < 22_000
    assert int(grown_kilobytes) < 50_000
    assert message == "the picture has 13000 x 13000 pixels; at most 100,000,000 are read. Make it smaller."
    assert run.stderr == ""


SMALL = {form: encoded(scene(), form) for form in FORMATS}
HEADS = sorted({data[:16] for data in SMALL.values()} | {bytes(128) + b"DICM"})


@settings(deadline=None)  # the first call imports
@given(head=st.sampled_from([b"", *HEADS]), tail=st.binary(max_size=400))
def test_noise_is_an_image_error_or_a_picture(head: bytes, tail: bytes) -> None:
    try:
        assert open_image(head + tail).mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("the picture ")


@settings(deadline=None)
@given(form=st.sampled_from(FORMATS), data=st.data())
def test_a_torn_or_altered_file_is_an_image_error_or_a_picture(form: str, data: st.DataObject) -> None:
    whole = SMALL[form]
    torn = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(torn) - 1)), max_size=4)) if torn else []:
        torn[place] = data.draw(st.integers(0, 255))
    try:
        assert open_image(bytes(torn)).mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("the picture ")


@pytest.mark.parametrize("form", FORMATS)
def test_half_a_file_is_refused_by_name(form: str, tmp_path: Path) -> None:
    file = tmp_path / "half"
    noise = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8)
    whole = encoded(Image.fromarray(noise), form)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"half is damaged: .*\. Copy or export it again\."):
        open_image(file)
