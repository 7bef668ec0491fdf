"""A visitor's photograph on its way in: taken before Gradio sees it, without its metadata, never written to disk."""

from __future__ import annotations

import io
import re
from collections import Counter
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
from skingpt4.web.connections import ARRIVING_SECONDS
from skingpt4.web.decoding import Decoder

if TYPE_CHECKING:
    import gradio as gr
    from PIL.Image import Image

UPLOAD_LIMIT = 20_000_000  # bytes of a file
FORM_BYTES = 100_000  # what a browser adds around it
DRAINED_BYTES = 200_000_000  # read and thrown away, so that the browser hears the answer instead of a broken line
ARRIVING_BYTES = 200_000_000  # of all files that are on their way at one time
VISITOR_UPLOADS = 2  # at one time
WAITING_PICTURES = 8  # that have arrived and wait for those before them; one may take `DECODING_SECONDS`
SILENT_SECONDS = 60.0  # a line on which nothing comes for so long is closed

UPLOAD_PATH = re.compile(r"/gradio_api/upload/?$")
FILE_PATH = re.compile(r"/gradio_api/file=(.*)", re.DOTALL)

TOO_BIG = f"The picture has more than {UPLOAD_LIMIT // 1_000_000} MB. Send a smaller copy of it."
TOO_MANY = f"{VISITOR_UPLOADS} of your pictures are still on their way. Wait for them, then send the next one."
TOO_SLOW = "The picture did not arrive in time. Send a smaller copy of it, or try a better connection."
BUSY = "Too many pictures are arriving at this moment. Send yours again in a minute."


class Uploads:
    """What visitors send, in the memory of `sessions`.

    `folder` is for Gradio (`GRADIO_TEMP_DIR`, before a page is built): private, memory-backed where the machine has
    such a place, and empty: what Gradio takes for a file in it is only the name of something in memory.
    A context manager; at its end the folder is gone. Folders of servers that were killed go at the next start.
    """

    def __init__(self, sessions: Sessions):
        self.sessions = sessions
        self._turn = anyio.Lock()  # decoding 100 million pixels takes about a gigabyte
        self._thread = anyio.CapacityLimiter(1)  # not one of those that all handlers share
        self.arriving_bytes = 0
        self._uploads: Counter[str] = Counter()  # visitor -> how many arrive
        self._decoder = Decoder()
        self._folder = PrivateFolder()
        self.folder = self._folder.path

    def __enter__(self) -> Uploads:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoder and remove the folder; done twice is no fault."""
        self._decoder.close()
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

    async def receive(self, request: Request, body: Body) -> str:
        """The name of what a form's one file became: a picture, or the reason why it is none, which `take` tells.

        body: what `request` reads from. Raises `MultiPartException` for what is no such form or far too big,
        `SessionError` where memory is full, `TimeoutError` for a body that does not arrive.
        """
        visitor = request.scope[VISITOR]
        self._uploads[visitor] += 1
        try:
            if self._uploads[visitor] > VISITOR_UPLOADS:
                raise _Refused(TOO_MANY)
            png = await self._png(request)
        except _Refused as error:
            await body.drain()
            return self._name(visitor, "text/plain", error.message.encode())
        except ImageError as error:
            return self._name(visitor, "text/plain", str(error).encode())
        finally:
            self._uploads[visitor] -= 1
            self._uploads += Counter()  # without those who have none left
        return self._name(visitor, "image/png", png)

    async def _png(self, request: Request) -> bytes:
        """Raises `ImageError`, `_Refused`, `MultiPartException`, `ClientDisconnect`."""
        from gradio.routes import file_upload_statuses

        upload_id = request.query_params.get("upload_id", "")
        arrived = 0

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal arrived
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

        try:
            data = await _file_of(request, counted())
            if self._turn.statistics().tasks_waiting >= WAITING_PICTURES:
                raise _Refused(BUSY)
            async with self._turn:
                if await request.is_disconnected():  # nobody would hear of it, and others wait
                    raise ClientDisconnect
                return await anyio.to_thread.run_sync(self._decoder.decode, data, limiter=self._thread)
        finally:
            self.arriving_bytes -= arrived
            if upload_id:
                file_upload_statuses.set_done(upload_id)

    def holds(self, path: str) -> bool:
        """Whether a path leads into `folder`, from which nothing is handed out."""
        try:
            return Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # a name that no file can have
            return False

    def _name(self, visitor: str, media_type: str, data: bytes) -> str:
        return str(self.folder / f"{self.sessions.add(visitor, None, 'photograph.png', media_type, data)}.png")


class Body:
    """ASGI's `receive` of one request, which waits for a body so long and no longer: it raises `TimeoutError`."""

    def __init__(self, receive: Any):
        self._receive = receive
        self._ended = False
        self._until = anyio.current_time() + ARRIVING_SECONDS

    async def __call__(self) -> Any:
        if self._ended:  # what comes now is the end of the line, which may be far away
            return await self._receive()
        with anyio.fail_after(min(SILENT_SECONDS, self._until - anyio.current_time())):
            message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on and throw away. Raises `_Refused` where there is too much even for that."""
        drained = 0
        while not self._ended:
            drained += len((await self()).get("body", b""))
            if drained > DRAINED_BYTES:
                raise _Refused(TOO_BIG)


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
            answer = await self._take_in(scope, Body(receive))
        elif scope["type"] == "http" and (found := FILE_PATH.search(scope["path"])) and self._uploads.holds(found[1]):
            answer = PlainTextResponse("There is no such file.", 404)
        await (answer or self._app)(scope, receive, send)

    async def _take_in(self, scope: Any, body: Body) -> Response:
        request = Request(scope, body)
        if request.method != "POST":
            return PlainTextResponse("Only POST is answered here.", 405)
        if not request.scope[VISITOR]:
            return PlainTextResponse("This browser sent no cookie. Allow cookies here, then load the page again.", 403)
        if int(request.headers.get("content-length", 0)) > DRAINED_BYTES:
            return PlainTextResponse(TOO_BIG, 413)
        try:
            return JSONResponse([await self._uploads.receive(request, body)])
        except MultiPartException as error:
            too_big = isinstance(error, _Refused)
            return PlainTextResponse(
                error.message if too_big else "One file in a form was expected.", 413 if too_big else 400
            )
        except SessionError as error:
            return PlainTextResponse(str(error), 503)
        except TimeoutError:
            return PlainTextResponse(TOO_SLOW, 408, {"connection": "close"})
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
