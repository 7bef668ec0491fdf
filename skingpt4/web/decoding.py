"""Decoding of strangers' pictures in a process of its own: a picture that was made to do harm ends that process only.

A decoder may crash, run for minutes or take any memory; here that is told to whoever sent the picture.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from skingpt4.errors import ImageError
from skingpt4.images import open_image
from skingpt4.web.logs import LOGGER, places

LONGEST_SIDE_PX = 2048  # of what is kept; the model looks at fewer
LONGEST_RATIO = 100  # of the sides; made smaller, a longer strip would be less than 20 pixels wide
DECODING_SECONDS = 20  # a photograph of 48 megapixels takes about two
# What a picture may take beside what the process has at its start. An opaque one of 100 million pixels takes 0.9 GB.
DECODING_BYTES = 1400 << 20
REPLY_BYTES = 4 * LONGEST_SIDE_PX**2 + (1 << 20)  # no PNG of that many pixels has more
DECODER_THREADS = 4  # of AVIF; each reserves memory, and some machines have a hundred cores

LENGTH = struct.Struct(">Q")
PICTURE, REFUSED, FAULT = b"P", b"R", b"F"  # what a reply holds: a PNG, the reason for the visitor, that for the log

TOO_SLOW = "The picture could not be read in time. Save it anew as JPEG or PNG, and smaller."
CRASHED = "The picture could not be read: it is damaged, or needs too much memory. Save it anew as JPEG or PNG."
# Modules come from the same places as those of the server, wherever that was started.
PROGRAM = (
    f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import main; main(int(sys.argv[2]))"
)


class Decoder:
    """A warm process that makes PNGs, one at a time. After a crash, or where a picture takes longer than `seconds`,
    it is a new one. `close()` ends it; it also ends by itself when this process does, however that ends.
    """

    def __init__(self, seconds: float | None = None):
        self._seconds = DECODING_SECONDS if seconds is None else seconds
        self._lock = threading.Lock()
        self._closed = False
        self._process = self._start()

    def decode(self, data: bytes) -> bytes:
        """What `as_png` makes of it. Raises `ImageError` in plain words."""
        with self._lock:
            if self._process.poll() is not None:  # ended by the kernel, for the memory that it kept
                self._replace()
            late = threading.Event()
            process = self._process

            def end() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(self._seconds, end)
            timer.start()
            try:
                kind, content = _ask(process, data)
            except (OSError, EOFError):
                self._replace()
                raise ImageError(TOO_SLOW if late.is_set() else CRASHED) from None
            finally:
                timer.cancel()
        if kind == PICTURE:
            return content
        if kind == FAULT:
            LOGGER.error(content.decode(errors="replace"))
        raise ImageError(content.decode(errors="replace") if kind == REFUSED else CRASHED)

    def close(self) -> None:
        """End the process, also amidst a picture; done twice is no fault."""
        self._closed = True
        _end(self._process)

    def _replace(self) -> None:
        _end(self._process)
        if not self._closed:
            self._process = self._start()  # at once: the next picture need not wait for it

    def _start(self) -> subprocess.Popen[bytes]:
        # Its own session: Ctrl-C at the terminal is for the server. What decoders print may quote the file.
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(sys.path), str(int(self._seconds) + 5)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            start_new_session=True,
            close_fds=True,
        )


def _ask(process: subprocess.Popen[bytes], data: bytes) -> tuple[bytes, bytes]:
    """Kind and content of the reply. Raises `OSError` or `EOFError` where there is none."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    try:
        process.stdin.write(LENGTH.pack(len(data)))
        process.stdin.write(data)
        process.stdin.flush()
        kind, size = _read(process.stdout, 1), LENGTH.unpack(_read(process.stdout, LENGTH.size))[0]
        if size > REPLY_BYTES:
            raise EOFError
        return kind, _read(process.stdout, size)
    except ValueError as error:  # closed meanwhile
        raise EOFError from error


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, ValueError):  # what was not sent yet cannot be sent any more
            if pipe is not None:
                pipe.close()


def as_png(data: bytes) -> bytes:
    """A picture of any format that is read -> upright, in sRGB, without metadata, at most `LONGEST_SIDE_PX` long.

    Without loss, so that a small picture is answered about exactly as from the command line. Raises `ImageError`.
    """
    from PIL.Image import Resampling

    image = open_image(data)
    width, height = image.size
    if max(width, height) > LONGEST_RATIO * min(width, height):
        raise ImageError(
            f"the picture has {width} x {height} pixels: it is too narrow a strip for anything to be seen in it. "
            "Send the whole photograph."
        )
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Resampling.LANCZOS, reducing_gap=None)
    with io.BytesIO() as file:
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()


def main(seconds: int) -> None:
    """The process: files come by the standard input, each after its length, and replies leave by the output. It ends
    with its input, and if a picture takes longer than `seconds` though nobody ended it.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    _load_decoders()
    _confine()
    files: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take_in, args=(files,), daemon=True).start()
    while True:
        data = files.get()
        _alarm(seconds)
        kind, content = _reply(data)
        del data
        _alarm(0)
        replies.write(kind + LENGTH.pack(len(content)))
        replies.write(content)
        replies.flush()
        del content


def _take_in(files: queue.SimpleQueue[bytes]) -> None:
    """In a thread, which hears that the server is gone while a picture is being decoded."""
    try:
        while True:
            files.put(_read(sys.stdin.buffer, LENGTH.unpack(_read(sys.stdin.buffer, LENGTH.size))[0]))
    finally:
        os._exit(0)


def _reply(data: bytes) -> tuple[bytes, bytes]:
    try:
        return PICTURE, as_png(data)
    except ImageError as error:
        message = str(error)
        return REFUSED, (message[:1].upper() + message[1:]).encode()
    except Exception as error:
        return FAULT, places(error).encode()


def _load_decoders() -> None:
    """What most pictures need, so that the first is not slow; DICOM's are loaded when one comes."""
    import numpy  # noqa: F401
    import pillow_heif  # noqa: F401
    from PIL import AvifImagePlugin, Image, ImageCms  # noqa: F401

    AvifImagePlugin.DEFAULT_MAX_THREADS = DECODER_THREADS
    as_png(_smallest())


def _smallest() -> bytes:
    from PIL import Image

    with io.BytesIO() as file:
        Image.new("RGB", (8, 8)).save(file, "JPEG")
        return file.getvalue()


def _alarm(seconds: int) -> None:
    """The kernel ends the process then, even where a decoder lets no Python run. 0: not any more."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def _confine() -> None:
    """Bounded memory, no core dumps, and if the machine has too little memory this process is the one to go."""
    os.umask(0o077)
    with suppress(ImportError, OSError, ValueError):  # another system
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + DECODING_BYTES, taken + DECODING_BYTES))
        Path("/proc/self/oom_score_adj").write_text("1000")
