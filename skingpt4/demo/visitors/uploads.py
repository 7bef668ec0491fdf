"""A visitor's photograph on its way in: taken before Gradio sees it, without its metadata, never written to disk."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from skingpt4.demo.visitors.private_folder import PrivateFolder
from skingpt4.demo.visitors.sessions import VISITOR, SessionError, Sessions
from skingpt4.errors import ImageError
from skingpt4.images import open_image

if TYPE_CHECKING:
    import gradio as gr
    from PIL.Image import Image

UPLOAD_LIMIT = 20_000_000  # bytes of a file
FORM_BYTES = 100_000  # what a browser adds around it
DRAINED_BYTES = 200_000_000  # read and thrown away, so that the browser hears the answer instead of a broken line
ARRIVING_BYTES = 200_000_000  # of all files that are on their way at one time
LONGEST_SIDE_PX = 2048  # of what is kept; the model looks at fewer

UPLOAD_PATH = re.compile(r"/gradio_api/upload/?$")
FILE_PATH = re.compile(r"/gradio_api/file=(.*)", re.DOTALL)

TOO_BIG = f"The picture has more than {UPLOAD_LIMIT // 1_000_000} MB. Send a smaller copy of it."
BUSY = "Too many pictures are arriving at this moment. Send yours again in a minute."


class Uploads:
    """What visitors send, in the memory of `sessions`.

    `folder` is for Gradio (`GRADIO_TEMP_DIR`, before a page is built): private, memory-backed where the machine has
    such a place, and empty: what Gradio takes for a file in it is only the name of something in memory.
    A context manager; at its end the folder is gone. Folders of servers that were killed go at the next start.
    """

    def __init__(self, sessions: Sessions):
        self.sessions = sessions
        self.one_at_a_time = anyio.CapacityLimiter(1)  # decoding 100 million pixels takes more than half a gigabyte
        self.arriving_bytes = 0
        self._folder = PrivateFolder()
        self.folder = self._folder.path

    def __enter__(self) -> Uploads:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; done twice is no fault."""
        self._folder.close()

    def take(self, value: Any, request: gr.Request) -> Image:
        """The picture, upright RGB, of a file value that a handler with `preprocess=False` was given, which is handed
        out once. At most `LONGEST_SIDE_PX` wide and high, else pixel by pixel what was sent.

        value: `{"path": …}` or None. Raises `ImageError` in plain words for what was no picture and for what is not
        there (any more) or another visitor's; `SessionError` where the page itself is another visitor's.
        """
        from PIL import Image as PILImage

        visitor, _ = self.sessions.check(request)
        if not value:
            raise ImageError("There is no picture yet. Add a photograph first.")
        kept = self.sessions.pop(Path(str(value.get("path"))).stem, visitor)
        if kept is None:
            raise ImageError("The picture is not here any more. Add it again.")
        if kept.media_type != "image/png":
            raise ImageError(kept.data.decode())
        with PILImage.open(io.BytesIO(kept.data)) as picture:
            return picture.convert("RGB")

    async def receive(self, request: Request) -> str:
        """The name of what a form's one file became: a picture, or the reason why it is none, which `take` tells.

        Raises `MultiPartException` for what is no such form or far too big, `SessionError` where memory is full.
        """
        from gradio.routes import file_upload_statuses

        visitor, upload_id = request.scope[VISITOR], request.query_params.get("upload_id", "")
        arrived, whole = 0, False

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal arrived, whole
            async for chunk in request.stream():
                arrived += len(chunk)
                self.arriving_bytes += len(chunk)
                if arrived > UPLOAD_LIMIT + FORM_BYTES:
                    raise _Refused(TOO_BIG)
                if self.arriving_bytes > ARRIVING_BYTES:
                    raise _Refused(BUSY)
                if upload_id:  # the browser's bar moves, as with Gradio's own upload
                    file_upload_statuses.append(upload_id, "photograph", chunk)
                yield chunk
            whole = True

        try:
            data = await _file_of(request, counted())
            png = await anyio.to_thread.run_sync(as_png, data, limiter=self.one_at_a_time)
        except _Refused as error:
            if not whole:
                await _drain(request)
            return self._name(visitor, "text/plain", error.message.encode())
        except ImageError as error:
            message = str(error)
            return self._name(visitor, "text/plain", (message[:1].upper() + message[1:]).encode())
        finally:
            self.arriving_bytes -= arrived
            if upload_id:
                file_upload_statuses.set_done(upload_id)
        return self._name(visitor, "image/png", png)

    def holds(self, path: str) -> bool:
        """Whether a path leads into `folder`, from which nothing is handed out."""
        try:
            return Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # a name that no file can have
            return False

    def _name(self, visitor: str, media_type: str, data: bytes) -> str:
        return str(self.folder / f"{self.sessions.add(visitor, None, 'photograph.png', media_type, data)}.png")


class UploadMiddleware:
    """ASGI middleware: pictures go to `Uploads`, not to Gradio. To stand inside of `SessionMiddleware`, and behind
    whatever asks for passwords.
    """

    def __init__(self, app: Any, uploads: Uploads):
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer: Response | None = None
        if scope["type"] == "http" and UPLOAD_PATH.search(scope["path"]):
            answer = await self._take_in(Request(scope, receive))
        elif scope["type"] == "http" and (found := FILE_PATH.search(scope["path"])) and self._uploads.holds(found[1]):
            answer = PlainTextResponse("There is no such file.", 404)
        await (answer or self._app)(scope, receive, send)

    async def _take_in(self, request: Request) -> Response:
        if request.method != "POST":
            return PlainTextResponse("Only POST is answered here.", 405)
        if not request.scope[VISITOR]:
            return PlainTextResponse("This browser sent no cookie. Allow cookies here, then load the page again.", 403)
        if int(request.headers.get("content-length", 0)) > DRAINED_BYTES:
            return PlainTextResponse(TOO_BIG, 413)
        try:
            return JSONResponse([await self._uploads.receive(request)])
        except MultiPartException as error:
            too_big = isinstance(error, _Refused)
            return PlainTextResponse(
                error.message if too_big else "One file in a form was expected.", 413 if too_big else 400
            )
        except SessionError as error:
            return PlainTextResponse(str(error), 503)
        except ClientDisconnect:
            return PlainTextResponse("The line broke.", 400)  # nobody hears it


class _Refused(MultiPartException):
    """More bytes than are read. message: in plain words."""


class _InMemory(MultiPartParser):
    spool_max_size = UPLOAD_LIMIT + FORM_BYTES + 1  # Starlette would write a file of more than a megabyte to disk


async def _file_of(request: Request, stream: AsyncGenerator[bytes, None]) -> bytes:
    """The one file of a form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise MultiPartException("no form")
    form = await _InMemory(request.headers, stream, max_files=1, max_fields=1).parse()
    file = form.get("files")
    if file is None or isinstance(file, str):
        raise MultiPartException("no file")
    if (file.size or 0) > UPLOAD_LIMIT:
        raise _Refused(TOO_BIG)
    return await file.read()


async def _drain(request: Request) -> None:
    """Read on and throw away. Raises `_Refused` where there is too much even for that."""
    drained = 0
    async for chunk in request.stream():
        drained += len(chunk)
        if drained > DRAINED_BYTES:
            raise _Refused(TOO_BIG)


def as_png(data: bytes) -> bytes:
    """A picture of any format that is read -> upright, in sRGB, without metadata, at most `LONGEST_SIDE_PX` long.

    Without loss, so that a small picture is answered about exactly as from the command line. Raises `ImageError`.
    """
    from PIL.Image import Resampling

    image = open_image(data)
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Resampling.LANCZOS, reducing_gap=None)
    with io.BytesIO() as file:
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()
