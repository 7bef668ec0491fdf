"""Start the demo page: for this computer, or where the user says so for others, and close it without a trace."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from skingpt4.demo.server.access import Access
from skingpt4.errors import DeviceError, SettingsError
from skingpt4.settings import Settings
from skingpt4.web.address import LOOPBACK, listen
from skingpt4.web.process import fetch_nothing, prepare_process

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI
    from gradio import Blocks

    from skingpt4.chat.conversation import Chat
    from skingpt4.demo.visitors.sessions import Sessions
    from skingpt4.demo.visitors.uploads import Uploads

QUEUE_LIMIT = 64  # events that wait; above it Gradio answers "busy" before anything is computed
CLOSING_SECONDS = 2  # for answers that still stream
SHARE_EXPLAINED = """\
--share publishes this page on the internet, at an address that ends in gradio.live, for up to a week:
  - Photographs, questions and answers travel through a computer of the company behind Gradio.
  - Whoever learns the address reaches the page.
  - A program (frpc) is fetched from the internet and run here to keep the line open.
For patients' photographs this is rarely allowed. In a clinic's own network use --host, see docs/demo.md.
Publish it? Type yes: """


def launch(settings: Settings, access: Access | None = None) -> int:
    """Load the model and show the page until Ctrl-C or SIGTERM; returns the exit code.

    access: None is for this computer only. Raises `SkinGPTError` for what the user can mend.
    """
    access = access or Access()
    if access.share:
        _ask_before_sharing()
    prepare_process()
    with _ended_by_signals(), ExitStack() as stack:
        from skingpt4.chat.load import load_chat
        from skingpt4.web.logs import keep_out_of_logs

        print("Loading the model …", flush=True)
        chat = load_chat(settings)
        keep_out_of_logs()
        page = stack.enter_context(open_page(chat, settings, access))
        try:
            for line in _told(page, access):
                print(line, flush=True)
            if access.share:
                print(f"Published at {stack.enter_context(_published(page))}", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            _ignore_signals()  # a second one would leave the rest undone
            print("Closing the page.", flush=True)
    return 0


class OpenPage:
    """A page that is served from a thread. `close()`, or leaving a `with` block, ends it and forgets what visitors
    gave.
    """

    def __init__(self, page: Blocks, access: Access, port: int, sessions: Sessions, uploads: Uploads, end: ExitStack):
        self.blocks, self.access, self.port = page, access, port
        self.sessions, self.uploads = sessions, uploads
        self._end = end

    @property
    def local_url(self) -> str:
        """Where this computer reaches it."""
        wildcard = {"0.0.0.0": LOOPBACK, "::": "[::1]"}
        return f"http://{wildcard.get(self.access.address, self.access.url_host)}:{self.port}/"

    def close(self) -> None:
        """End it; done twice is no fault."""
        self._end.close()

    def __enter__(self) -> OpenPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_page(chat: Chat, settings: Settings, access: Access | None = None) -> OpenPage:
    """Serve the page from a thread, without `access` on the first free port of this computer.

    Raises `DeviceError` where nothing can listen there.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    fetch_nothing()
    from skingpt4.demo.page.view import build_page
    from skingpt4.demo.page.words import FAULT
    from skingpt4.demo.server.faults import hide_faults
    from skingpt4.demo.visitors.sessions import Sessions
    from skingpt4.demo.visitors.uploads import Uploads

    access = access or Access()
    with ExitStack() as stack:
        listening = stack.enter_context(listen(access))
        port = listening.getsockname()[1]
        sessions = stack.enter_context(Sessions(access.path))
        uploads = stack.enter_context(Uploads(sessions))
        os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)
        page = build_page(chat, settings, sessions, uploads)
        page.queue(max_size=QUEUE_LIMIT, api_open=False)
        hide_faults(page, FAULT)
        _serve(_application(page, access, sessions, uploads), page, listening, stack)
        return OpenPage(page, access, port, sessions, uploads, stack.pop_all())
    raise AssertionError  # for type checkers: an ExitStack might swallow errors, this one does not


def _application(page: Blocks, access: Access, sessions: Sessions, uploads: Uploads) -> FastAPI:
    """The page behind its guards. Nothing is taken from the environment, where GRADIO_SHARE or GRADIO_ALLOWED_PATHS
    might stand: unlike `Blocks.launch`, mounting knows no tunnel, no second server and no way to ask itself.
    """
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware import Middleware

    from skingpt4.demo.page import style
    from skingpt4.demo.server.guard import middlewares
    from skingpt4.demo.visitors.sessions import SessionMiddleware
    from skingpt4.demo.visitors.uploads import UploadMiddleware

    inside = [Middleware(SessionMiddleware, sessions=sessions), Middleware(UploadMiddleware, uploads=uploads)]
    no_documents: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    app = gr.mount_gradio_app(
        FastAPI(middleware=middlewares(access, *inside), **no_documents),
        page,
        path="/",
        root_path=access.root_path,
        app_kwargs={**no_documents},  # Gradio adds to it
        theme=style.theme(),
        css=style.CSS,
        footer_links=[],
        run_history=False,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    page.app = app.routes[-1].app  # else that of `queue`, which serves nobody
    return app


def _serve(app: FastAPI, page: Blocks, listening: socket.socket, stack: ExitStack) -> None:
    """Run the server in a thread until `stack` is closed."""
    from skingpt4.demo.visitors.uploads import UPLOAD_PATH
    from skingpt4.web.server import server_of

    server = server_of(app, UPLOAD_PATH, CLOSING_SECONDS)
    thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)

    def stop() -> None:
        page.close(verbose=False)  # the open tabs' heartbeats end
        server.should_exit = True
        thread.join()

    stack.callback(stop)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise DeviceError("The page could not be started; the lines above say where.")
        thread.join(0.01)


def _told(page: OpenPage, access: Access) -> Iterator[str]:
    """What the user reads once the page is there."""
    if not access.is_public:
        yield f"The page is at {page.local_url} on this computer. Ctrl-C ends it."
        return
    who = "whoever has a password" if access.accounts else "EVERYONE who reaches this computer (--no-auth)"
    where = access.root_path if access.public_host else f"http://{access.url_host}:{page.port}/"
    yield f"The page is at {where} for {who}. Ctrl-C ends it."
    if not where.startswith("https"):
        yield "Without HTTPS, photographs and passwords can be read on their way. docs/demo.md shows how to add it."


def _ask_before_sharing() -> None:
    """Raises `SettingsError` unless a person at the terminal agrees."""
    if not sys.stdin.isatty():
        raise SettingsError("--share publishes the page on the internet and asks first; start it from a terminal.")
    if input(SHARE_EXPLAINED).strip().lower() != "yes":
        raise SettingsError("Nothing was published and no page was started. Start it without --share.")


@contextmanager
def _published(page: OpenPage) -> Iterator[str]:
    """Gradio's tunnel; yields the public address."""
    from gradio import networking, tunneling

    try:
        yield networking.setup_tunnel(LOOPBACK, page.port, secrets.token_urlsafe(32), None, None)
    except (RuntimeError, OSError, ValueError) as error:
        raise DeviceError("No public address could be had; is this computer on the internet?") from error
    finally:
        for tunnel in tunneling.CURRENT_TUNNELS:
            tunnel.kill()


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """What ends a service, or the terminal's end, ends the page as Ctrl-C does; what the shell ignores is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
