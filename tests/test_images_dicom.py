"""DICOM photographs: visible light and dermoscopy, in every kind of colour that the standard allows them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    VLPhotographicImageStorage,
)

from skingpt4 import images
from skingpt4.errors import ImageError
from skingpt4.images import open_image

COLOURS = (
    numpy.array([[[255, 0, 0], [0, 0, 255]], [[0, 255, 0], [255, 255, 255]]], numpy.uint8).repeat(8, 0).repeat(8, 1)
)
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def dicom(levels: numpy.ndarray | bytes, photometric: str, **changes: object) -> Dataset:
    """A VL photograph of 16 x 16 pixels, of a patient, uncompressed unless `coding` is given."""
    photograph = Dataset()
    photograph.file_meta = FileMetaDataset()
    photograph.file_meta.TransferSyntaxUID = changes.pop("coding", ExplicitVRLittleEndian)
    photograph.SOPClassUID = VLPhotographicImageStorage
    photograph.SOPInstanceUID = "1.2.3"
    photograph.PatientName = "Doe^Jane"
    photograph.Rows = photograph.Columns = 16
    photograph.SamplesPerPixel = 3 if photometric.startswith(("RGB", "YBR")) else 1
    if photograph.SamplesPerPixel == 3:
        photograph.PlanarConfiguration = 0
    photograph.PhotometricInterpretation = photometric
    bits = 8 * levels.itemsize if isinstance(levels, numpy.ndarray) else 8
    photograph.BitsAllocated = photograph.BitsStored = bits
    photograph.HighBit = bits - 1
    photograph.PixelRepresentation = 0
    photograph.PixelData = levels.tobytes() if isinstance(levels, numpy.ndarray) else levels
    photograph["PixelData"].VR = "OW" if bits == 16 else "OB"
    for name, value in changes.items():
        setattr(photograph, name, value)
    return photograph


def stored(photograph: Dataset) -> bytes:
    buffer = io.BytesIO()
    photograph.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def frame(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, form, **options)
    return buffer.getvalue()


def seen(data: bytes) -> numpy.ndarray:
    return numpy.asarray(open_image(data)).astype(int)


def grey(levels: numpy.ndarray, photometric: str = "MONOCHROME2", **changes: object) -> list[int]:
    """The first four pixels of the first row."""
    rows = numpy.zeros((16, 16), levels.dtype)
    rows[0, :4] = levels
    return seen(stored(dicom(rows, photometric, **changes)))[0, :4, 0].tolist()


@pytest.mark.parametrize("coding", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed_colours(coding: UID, tmp_path: Path) -> None:
    file = tmp_path / "IM000001"  # archives give no suffix
    file.write_bytes(stored(dicom(COLOURS, "RGB", coding=coding)))
    image = open_image(file)
    assert (image.mode, image.info) == ("RGB", {})
    assert numpy.array_equal(numpy.asarray(image), COLOURS)
    planes = numpy.ascontiguousarray(numpy.moveaxis(COLOURS, -1, 0))
    assert numpy.array_equal(seen(stored(dicom(planes, "RGB", PlanarConfiguration=1, coding=coding))), COLOURS)


def test_brightness_and_colour_differences() -> None:
    ybr = convert_color_space(COLOURS, "RGB", "YBR_FULL")
    assert numpy.abs(seen(stored(dicom(ybr, "YBR_FULL"))) - COLOURS).max() <= 2
    pairs = ybr.reshape(-1, 2, 3)  # two brightnesses, then the differences of both
    halved = numpy.concatenate([pairs[:, :, 0], pairs[:, 0, 1:]], axis=1).astype(numpy.uint8)
    assert numpy.abs(seen(stored(dicom(halved, "YBR_FULL_422"))) - COLOURS).max() <= 2


def test_grey_of_either_sense_and_any_depth() -> None:
    assert grey(numpy.array([0, 10, 128, 255], numpy.uint8)) == [0, 10, 128, 255]
    assert grey(numpy.array([0, 10, 128, 255], numpy.uint8), "MONOCHROME1") == [255, 245, 127, 0]
    assert grey(numpy.array([0, 2570, 257 * 128, 65535], numpy.uint16)) == [0, 10, 128, 255]
    assert grey(numpy.array([0, 161, 2056, 4095], numpy.uint16), BitsStored=12, HighBit=11) == [0, 10, 128, 255]
    signed = grey(numpy.array([-32768, -32768 + 2570, 0, 32767], numpy.int16), PixelRepresentation=1)
    assert signed == [0, 10, 128, 255]


def test_colours_of_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = COLOURS.astype(numpy.uint16) * 257
    levels[0, 0] = (2570, 257 * 128, 257)
    wanted = COLOURS.astype(int)
    wanted[0, 0] = (10, 128, 1)
    assert numpy.array_equal(seen(stored(dicom(levels, "RGB"))), wanted)


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_a_palette(bits: int, scale: int) -> None:
    photograph = dicom(numpy.tile(numpy.arange(4, dtype=numpy.uint8), (16, 4)), "PALETTE COLOR")
    palette = numpy.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 128, 255]]) * scale
    for colour, entries in zip(("Red", "Green", "Blue"), palette.T, strict=True):
        data = entries.astype("<u1" if bits == 8 else "<u2").tobytes()
        setattr(photograph, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, bits])
        setattr(photograph, f"{colour}PaletteColorLookupTableData", data)
        photograph[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        photograph[f"{colour}PaletteColorLookupTableData"].VR = "OW"
    assert seen(stored(photograph))[0, :4].tolist() == (palette // scale).tolist()


def test_compressed_frames_of_which_the_first_is_taken() -> None:
    other = io.BytesIO()
    Image.new("RGB", (16, 16)).save(other, "JPEG")
    frames = encapsulate([frame("JPEG", quality=95, subsampling=0), other.getvalue()])
    data = dicom(frames, "YBR_FULL_422", coding=JPEGBaseline8Bit, NumberOfFrames=2)
    data["PixelData"].is_undefined_length = True
    assert numpy.abs(seen(stored(data)) - COLOURS)[4:12:7, 4:12:7].max() <= 6
    data = dicom(encapsulate([frame("JPEG2000")]), "YBR_RCT", coding=JPEG2000Lossless)
    data["PixelData"].is_undefined_length = True
    assert numpy.array_equal(seen(stored(data)), COLOURS)
    packed = dicom(COLOURS, "RGB")
    packed.compress(RLELossless)
    assert numpy.array_equal(seen(stored(packed)), COLOURS)
    two = numpy.stack([COLOURS, 255 - COLOURS])
    assert numpy.array_equal(seen(stored(dicom(two, "RGB", NumberOfFrames=2))), COLOURS)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
@pytest.mark.parametrize("marks", ["JFIF", "Adobe", "both"])
def test_what_a_jpeg_says_about_its_colours_is_heeded_once(marks: str, photometric: str) -> None:
    """pydicom 3.0.2 with Pillow makes white skin pink if Adobe's mark is there."""
    jpeg = frame("JPEG", quality=95, subsampling=0)
    assert jpeg[2:4] == b"\xff\xe0"
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    jfif = jpeg[2:end] if marks != "Adobe" else b""
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x01" if marks != "JFIF" else b""
    data = dicom(encapsulate([jpeg[:2] + jfif + adobe + jpeg[end:]]), photometric, coding=JPEGBaseline8Bit)
    data["PixelData"].is_undefined_length = True
    assert numpy.abs(seen(stored(data)) - COLOURS)[4:13:8, 4:13:8].max() <= 2


def test_a_jpeg_that_says_nothing_is_what_the_header_says() -> None:
    rgb_as_it_is = io.BytesIO()
    Image.frombytes("YCbCr", (16, 16), COLOURS.tobytes()).save(rgb_as_it_is, "JPEG", quality=95, subsampling=0)
    jpeg = rgb_as_it_is.getvalue()
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    data = dicom(encapsulate([jpeg[:2] + jpeg[end:]]), "RGB", coding=JPEGBaseline8Bit)
    data["PixelData"].is_undefined_length = True
    assert numpy.abs(seen(stored(data)) - COLOURS)[4:13:8, 4:13:8].max() <= 2


def test_a_jpeg_larger_than_its_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 255)
    data = dicom(encapsulate([frame("JPEG")]), "YBR_FULL_422", coding=JPEGBaseline8Bit, Rows=8, Columns=8)
    data["PixelData"].is_undefined_length = True
    with pytest.raises(ImageError, match="has 16 x 16 pixels; at most 255 are read"):
        open_image(stored(data))


@pytest.mark.parametrize(
    ("file", "reference", "tolerance"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", 0),  # JPEG lossless
        ("SC_rgb_jls_lossy_line.dcm", "SC_rgb_rle.dcm", 6),  # JPEG-LS
        ("SC_rgb_rle_16bit.dcm", "SC_rgb_rle.dcm", 0),
        ("SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm", 255),  # its halved colours show at the edges
    ],
)
def test_files_of_other_makers(file: str, reference: str, tolerance: int) -> None:
    """One picture in several codings, among the test files that pydicom brings."""
    seen_pixels, wanted = (numpy.asarray(open_image(BUNDLED / name)).astype(int) for name in (file, reference))
    difference = numpy.abs(seen_pixels - wanted)
    assert difference.max() <= tolerance
    assert difference.mean() <= 1


@pytest.mark.parametrize("place", ["at the top", "in the optics"])
def test_the_profile_inside_is_honoured(place: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    photograph = dicom(COLOURS, "RGB")
    assert numpy.array_equal(seen(stored(dicom(COLOURS, "RGB", ICCProfile=srgb))), COLOURS)
    if place == "at the top":
        photograph.ICCProfile = swapped
    else:
        optics = Dataset()
        optics.ICCProfile = swapped
        photograph.OpticalPathSequence = [optics]
    assert numpy.abs(seen(stored(photograph)) - COLOURS[..., ::-1]).max() <= 1


def test_content_decides_even_with_the_head_of_a_tiff() -> None:
    """Slide scanners write files that are both; the 128 bytes before DICM are free."""
    data = b"II*\0" + stored(dicom(COLOURS, "RGB"))[4:]
    assert numpy.array_equal(seen(data), COLOURS)


def test_the_limit_is_found_in_the_header(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "slide.dcm"
    file.write_bytes(stored(dicom(COLOURS, "RGB", Rows=60_000, Columns=50_000)))
    with pytest.raises(ImageError, match=r"slide\.dcm has 50000 x 60000 pixels; at most 100,000,000 are read"):
        open_image(file)
    monkeypatch.setattr(images, "MAX_PIXELS", 255)
    with pytest.raises(ImageError, match="has 16 x 16 pixels; at most 255 are read"):
        open_image(stored(dicom(COLOURS, "RGB")))


def test_what_is_no_photograph_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.dcm"
    report = dicom(COLOURS, "RGB")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    dose = dicom(numpy.zeros((16, 16), numpy.uint32), "MONOCHROME2")
    deflated = dicom(COLOURS, "RGB", coding=DeflatedExplicitVRLittleEndian)
    empty = dicom(COLOURS, "RGB")
    del empty.PixelData
    for photograph, message in (
        (report, r"x\.dcm is a DICOM file without a picture .*Give the file of the photograph"),
        (dose, r"x\.dcm is DICOM of 32 bits, MONOCHROME2; 8 or 16 bits of .*Export the picture as JPEG or PNG"),
        (dicom(COLOURS, "HSV", SamplesPerPixel=3), r"x\.dcm is DICOM of 8 bits, HSV; 8 or 16 bits of"),
        (deflated, r"x\.dcm is deflated DICOM, which is not read\. Export it uncompressed or as JPEG"),
        (empty, r"x\.dcm is damaged: The dataset in 'src' has no 'Pixel Data'"),
    ):
        file.write_bytes(stored(photograph))
        with pytest.raises(ImageError, match=message):
            open_image(file)


def test_a_deflated_bomb_is_not_inflated() -> None:
    photograph = stored(dicom(COLOURS, "RGB", coding=DeflatedExplicitVRLittleEndian))
    start = 132 + 12 + struct.unpack("<I", photograph[140:144])[0]
    assert zlib.decompress(photograph[start:], -15)  # the rest is the deflated part
    with pytest.raises(ImageError, match="is deflated DICOM"):
        open_image(photograph[:start] + b"no deflated data")


def test_a_torn_file_and_an_unknown_compression_are_told(tmp_path: Path) -> None:
    file = tmp_path / "x.dcm"
    file.write_bytes(stored(dicom(COLOURS, "RGB"))[:-300])
    with pytest.raises(ImageError, match=r"x\.dcm is damaged: "):
        open_image(file)
    data = dicom(encapsulate([frame("JPEG")[:200]]), "YBR_FULL_422", coding=JPEGBaseline8Bit)
    data["PixelData"].is_undefined_length = True
    file.write_bytes(stored(data))
    with pytest.raises(ImageError, match=r"x\.dcm is damaged: "):
        open_image(file)
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")  # MPEG-2
    file.write_bytes(stored(data))
    with pytest.raises(ImageError, match=r"x\.dcm is DICOM whose pixels \(MPEG2 .*Export it uncompressed"):
        open_image(file)


def test_no_error_tells_the_patient(tmp_path: Path) -> None:
    whole = stored(dicom(COLOURS, "RGB"))
    assert b"Doe^Jane" in whole
    for length in range(132, len(whole), 7):
        try:
            open_image(whole[:length])
        except ImageError as error:
            assert "Jane" not in str(error)


WHOLE = stored(dicom(COLOURS, "RGB"))


@settings(deadline=None)
@given(data=st.data())
def test_a_torn_or_altered_file_is_an_image_error_or_a_picture(data: st.DataObject) -> None:
    torn = bytearray(WHOLE[: data.draw(st.integers(132, len(WHOLE)))])
    for place in data.draw(st.lists(st.integers(132, max(132, min(len(torn) - 1, 700))), max_size=4)):
        if place < len(torn):
            torn[place] = data.draw(st.integers(0, 255))
    try:
        assert open_image(bytes(torn)).mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("the picture ")
