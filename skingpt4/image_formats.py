"""The bytes of a picture, whatever its format -> its pixels in sRGB. `images.open_image` is the way in."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from io import SEEK_CUR, BytesIO
from typing import TYPE_CHECKING, BinaryIO

from skingpt4.errors import ImageError

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile
    from pydicom.dataset import Dataset

READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF or DICOM"

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2")
AVIF_BRANDS = (b"avif", b"avis")
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
BITS_TAG, PLANAR_TAG, TILE_WIDTH_TAG, TILE_HEIGHT_TAG = 258, 284, 322, 323  # of TIFF
PLANES_APART = 2

# All that is read of a DICOM file; the patient's elements are skipped unread.
DICOM_PALETTE = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
DICOM_ELEMENTS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"),
    *("PixelRepresentation", "NumberOfFrames", "ICCProfile", "OpticalPathSequence", *DICOM_PALETTE),
)
DICOM_COLOURS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")  # a file, a frame
JPEG_FAMILY = "1.2.840.10008.1.2.4."  # JPEG 2000 and JPEG-LS among them
JPEG_CODINGS = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline, extended
JPEG_2000_CODINGS = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")  # without and with loss
PIXEL_DATA = b"\xe0\x7f\x10\0"  # the tag (7FE0,0010)
# Marker segments of JPEG and JPEG-LS. What else begins with FF is data, filling or a restart.
JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
JPEG_START, JPEG_END, JPEG_SCAN = 0xD8, 0xD9, 0xDA
JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # they hold the size; F7 is that of JPEG-LS
MAX_SCANS = 100  # of a JPEG; each decodes the whole picture again, and encoders make about ten
JPEG_2000_SIZE = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16})", re.DOTALL)
BAND_ROWS = 256  # what is converted at a time: indices take eight times the memory of the pixels


def read_picture(stream: BinaryIO, name: str, max_pixels: int) -> Image:
    """The picture in a seekable stream, of any Pillow mode and not yet upright; its ICC profile is in `info`.

    The content decides about the format, not the suffix of `name`. Raises `ImageError` for what is no picture or has
    more than `max_pixels` pixels, from the header. Damaged content raises whatever the decoder raises.
    """
    head = stream.read(132)
    stream.seek(0)
    if head[128:] == b"DICM":  # first: DICOM's free 128 bytes may hold the head of a TIFF
        return _read_dicom(stream, name, max_pixels)
    image = _tiff(stream, name, max_pixels) if head.startswith(TIFF_SIGNATURES) else _opened(stream, head)
    if image is None:
        raise ImageError(
            f"{name} is no image that can be read ({READABLE} were expected). Save the picture as JPEG or PNG."
        )
    check_size(image.size, name, max_pixels)
    if image.format in ("JPEG", "MPO"):
        stream.seek(0)
        _check_scans(stream.read(), name)
    _load(image)
    return image


def _load(image: ImageFile) -> None:
    from PIL import Image as PILImage

    if image.width * image.height <= (PILImage.MAX_IMAGE_PIXELS or 0):
        image.load()
        return
    with warnings.catch_warnings():  # the TIFF plugin warns here, below our limit. Only then: this is not thread-safe
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        image.load()


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise `ImageError` if width x height is more than `max_pixels`."""
    width, height = size
    if width * height > max_pixels:
        raise ImageError(f"{name} has {width} x {height} pixels; at most {max_pixels:,} are read. Make it smaller.")


def _check_scans(jpeg: bytes, name: str) -> None:
    """Raise `ImageError` for a JPEG that holds its picture so many times over that decoding would take minutes."""
    if sum(marker == JPEG_SCAN for marker, _ in _jpeg_segments(jpeg)) > MAX_SCANS:
        raise ImageError(f"{name} is a JPEG of more than {MAX_SCANS} scans, which is not read. Save it anew as JPEG.")


def _jpeg_segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and beginning of each segment of a JPEG's (first) picture, without those inside of other segments."""
    at = 0
    while found := JPEG_MARKER.search(jpeg, at):
        marker, at = found[1][0], found.end()
        if marker == JPEG_END:
            return
        if marker == JPEG_START:
            continue
        yield marker, jpeg[at : at + 7]
        at += max(2, int.from_bytes(jpeg[at : at + 2], "big"))


def _opened(stream: BinaryIO, head: bytes) -> ImageFile | None:
    """The picture with its header read, or None. Each plugin is called by name, not through `PIL.Image.open`: that
    warns below our limit, and tries every format that some package has registered (Ghostscript among them).
    """
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        WebPImagePlugin,
    )

    if head.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.jpeg_factory(stream, "")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile(stream, "")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile(stream, "")
    if head.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile(stream, "")
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile(stream, "")
    if head[4:8] == b"ftyp":  # a box of brands: what the file is first, then what it can be read as
        box = head[8 : int.from_bytes(head[:4], "big")]
        brands = [box[at : at + 4] for at in range(0, len(box), 4) if at != 4]  # at 4 stands a version
        if any(brand in AVIF_BRANDS for brand in brands):
            return AvifImagePlugin.AvifImageFile(stream, "")
        if any(brand in HEIF_BRANDS for brand in brands):
            from pillow_heif.as_plugin import HeifImageFile

            return HeifImageFile(stream, "")
    return None


def _tiff(stream: BinaryIO, name: str, max_pixels: int) -> ImageFile:
    """A TIFF with its header read. Raises `ImageError` for kinds that Pillow does not read or reads wrong."""
    from PIL import TiffImagePlugin

    advice = "Save the picture as PNG, or as TIFF of 8 bits."
    try:
        image = TiffImagePlugin.TiffImageFile(stream, "")
    except SyntaxError as error:
        if "unknown" not in str(error):
            raise
        raise ImageError(f"{name} is a kind of TIFF that is not read. {advice}") from error
    tags = image.tag_v2
    check_size(
        (tags.get(TILE_WIDTH_TAG, 0), tags.get(TILE_HEIGHT_TAG, 0)), name, max_pixels
    )  # Pillow makes a whole one
    apart = tags.get(PLANAR_TAG) == PLANES_APART
    if apart and max(tags.get(BITS_TAG, (1,))) > 8:  # Pillow takes the bytes of a level for two pixels
        raise ImageError(f"{name} is TIFF of 16 bits with its colours one after another, which is not read. {advice}")
    return image


def _read_dicom(stream: BinaryIO, name: str, max_pixels: int) -> Image:
    """The first frame of a DICOM file, mode "L" or "RGB". Of the file only `DICOM_ELEMENTS` and the pixels are read."""
    from pydicom import dcmread
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    stream.seek(132)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    stream.seek(0)
    coding = str(meta.get("TransferSyntaxUID", ""))
    if coding in DEFLATED:  # its header cannot be read without inflating all of it, to any size
        raise ImageError(f"{name} is deflated DICOM, which is not read. Export it uncompressed or as JPEG.")
    header = dcmread(stream, stop_before_pixels=True, specific_tags=list(DICOM_ELEMENTS))
    bits = _checked_bits(header, name, max_pixels)
    if coding.startswith(JPEG_FAMILY):
        _check_codestream(_frame(stream, header), header, name, max_pixels)
    try:
        image = _dicom_jpeg(stream, header) if coding in JPEG_CODINGS and bits == 8 else _dicom_levels(stream, header)
    except (RuntimeError, NotImplementedError) as error:  # of every decoder at once, with its several lines of reasons
        raise ImageError(
            f"{name} is DICOM whose pixels ({UID(coding).name}) are damaged or compressed in a way that is not read. "
            "Export it uncompressed, or as JPEG or PNG."
        ) from error
    check_size(image.size, name, max_pixels)  # of the JPEG itself
    image.load()
    optics = header.get("OpticalPathSequence") or [header]  # of microscopes; others hold the profile at the top
    profile = header.get("ICCProfile") or optics[0].get("ICCProfile")
    if profile:
        image.info["icc_profile"] = bytes(profile)
    return image


def _dicom_jpeg(stream: BinaryIO, header: Dataset) -> Image:
    """The first frame, a JPEG of 8 bits, not yet decoded. pydicom 3.0 converts its colours twice if the frame says in
    Adobe's way that it is YCbCr, as every JPEG out of Photoshop does.
    """
    from PIL import Image as PILImage
    from PIL import JpegImagePlugin

    image = JpegImagePlugin.JpegImageFile(BytesIO(_frame(stream, header)), "")
    if header.PhotometricInterpretation == "RGB" and not {"jfif", "adobe"} & image.info.keys():
        image.draft("YCbCr", image.size)  # to Pillow it is YCbCr: so nothing is converted
        if image.mode == "YCbCr":
            return PILImage.frombytes("RGB", image.size, image.tobytes())
    return image


def _frame(stream: BinaryIO, header: Dataset) -> bytes:
    """The first frame as it is stored, of a stream that stands before compressed pixels, and does so again after."""
    from pydicom.encaps import get_frame

    before = stream.tell()
    if stream.read(4) != PIXEL_DATA:
        raise EOFError("it ends before the pixels")
    stream.seek(8, SEEK_CUR)  # the kind and the length of the element
    frame = get_frame(stream, 0, number_of_frames=int(header.get("NumberOfFrames") or 1))
    stream.seek(before)
    return frame


def _check_codestream(frame: bytes, header: Dataset, name: str, max_pixels: int) -> None:
    """Raise `ImageError` where the frame says another size than the file's header: decoders believe the frame, take
    memory for it, and GDCM ends the whole process when it cannot have that.
    """
    sizes = []
    for marker, segment in _jpeg_segments(frame) if frame.startswith(b"\xff\xd8") else ():
        if marker in JPEG_FRAMES and len(segment) == 7:
            sizes.append((int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[3:5], "big")))
    for found in JPEG_2000_SIZE.finditer(frame):
        right, bottom, left, top = struct.unpack(">4I", found[1])
        sizes.append((right - left, bottom - top))
    for size in sizes:
        check_size(size, name, max_pixels)
        if size != (header.Columns, header.Rows):
            raise ImageError(
                f"{name} is DICOM for {header.Columns} x {header.Rows} pixels, but holds {size[0]} x {size[1]}. "
                "Export it again, or as JPEG or PNG."
            )
    _check_scans(frame if frame.startswith(b"\xff\xd8") else b"", name)


def _dicom_levels(stream: BinaryIO, header: Dataset) -> Image:
    """The first frame of any other kind."""
    from PIL import Image as PILImage
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    colours, coding = header.PhotometricInterpretation, header.file_meta.TransferSyntaxUID
    as_stored = colours.startswith("YBR_FULL") and not coding.is_compressed  # Pillow needs less memory than pydicom
    # pydicom would prefer other decoders if they are installed: with Pillow, pixels do not depend on that
    plugin = "pillow" if coding in JPEG_2000_CODINGS and header.BitsStored == 8 else ""
    levels = pixel_array(stream, index=0, raw=as_stored, decoding_plugin=plugin)
    if as_stored and levels.itemsize == 1:
        return PILImage.frombytes("YCbCr", levels.shape[1::-1], levels.tobytes())
    if colours == "PALETTE COLOR":
        levels = apply_color_lut(levels, header)
        darkest, white = 0, 255 if levels.itemsize == 1 else 65535
    else:
        darkest = -(2 ** (header.BitsStored - 1)) if header.get("PixelRepresentation") == 1 else 0
        white = 2**header.BitsStored - 1
    pixels = _eight_bits(levels, darkest, white)
    return PILImage.fromarray(255 - pixels if colours == "MONOCHROME1" else pixels)


def _checked_bits(header: Dataset, name: str, max_pixels: int) -> int:
    """The bits of a level that are in use. Raises `ImageError` unless the file holds a picture that can be read."""
    if not header.get("Rows") or not header.get("Columns") or "PhotometricInterpretation" not in header:
        raise ImageError(
            f"{name} is a DICOM file without a picture (a report, for example). Give the file of the photograph."
        )
    check_size((header.Columns, header.Rows), name, max_pixels)
    colours, bits = header.PhotometricInterpretation, header.get("BitsAllocated")
    if colours not in DICOM_COLOURS or bits not in (1, 8, 16) or not 1 <= header.get("BitsStored", 0) <= bits:
        raise ImageError(
            f"{name} is DICOM of {bits} bits, {colours}; 8 or 16 bits of {', '.join(DICOM_COLOURS)} were expected. "
            "Export the picture as JPEG or PNG."
        )
    return int(header.BitsStored)


def _eight_bits(levels: numpy.ndarray, darkest: int, white: int) -> numpy.ndarray:
    """Integers from `darkest` to `darkest` + `white`, of any shape -> uint8 of the same shape, rounded, not clipped."""
    import numpy

    if (darkest, white, levels.itemsize) == (0, 255, 1):
        return levels
    table = (numpy.arange(white + 1) * 255 / white + 0.5).astype(numpy.uint8)
    pixels = numpy.empty(levels.shape, numpy.uint8)
    for top in range(0, len(levels), BAND_ROWS):
        band = levels[top : top + BAND_ROWS].astype(numpy.int32) - darkest
        pixels[top : top + BAND_ROWS] = table[band.clip(0, white)]
    return pixels
