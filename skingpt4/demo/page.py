"""Start the demo page on this computer, for this computer."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from skingpt4.chat.notices import notices
from skingpt4.errors import DeviceError
from skingpt4.settings import Settings

if TYPE_CHECKING:
    from gradio import Blocks

    from skingpt4.chat.conversation import Chat

HOST = "127.0.0.1"
UPLOAD_LIMIT = "50mb"

# Nothing is loaded from elsewhere, whatever an answer or a question contains.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; frame-src 'none'; form-action 'self'; frame-ancestors 'none'"
)


def launch(settings: Settings, port: int | None = None) -> int:
    """Load the model and show the page until Ctrl-C; returns the exit code.

    port: None takes the first free one from 7860 on. Raises `SkinGPTError` for what the user can mend.
    """
    from skingpt4.chat.conversation import Chat
    from skingpt4.weights.build import build_model

    print("Loading the model …", flush=True)
    chat = Chat(*build_model(settings))
    with tempfile.TemporaryDirectory(prefix="skingpt4-") as uploads:
        page = open_page(chat, settings, port, uploads)
        try:
            print(f"The page is at {page.local_url} on this computer. Ctrl-C ends it.", flush=True)
            page.block_thread()
        except KeyboardInterrupt:
            print("Closing the page.", flush=True)
        finally:
            page.close(verbose=False)
    return 0


def open_page(chat: Chat, settings: Settings, port: int | None, uploads: str) -> Blocks:
    """Serve the page from a thread; `close()` of the result ends it.

    uploads: a folder for the pictures that visitors add. Raises `DeviceError` where the port is taken.
    """
    _keep_gradio_at_home(uploads)
    from skingpt4.demo.view import build_page

    page = build_page(chat, notices(settings))
    try:
        page.queue(max_size=32, api_open=False).launch(**launch_settings(port))
    except OSError as error:
        raise DeviceError(f"Port {port or 'from 7860 on'} of {HOST} is taken; choose another with --port.") from error
    return page


def launch_settings(port: int | None) -> dict[str, Any]:
    """How the page is served: to this computer only, never shared, with nothing recorded."""
    from starlette.middleware import Middleware

    from skingpt4.demo import style

    return {
        "server_name": HOST,
        "server_port": port,
        "share": False,
        "prevent_thread_lock": True,
        "quiet": True,
        "theme": style.theme(),
        "css": style.CSS,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "max_file_size": UPLOAD_LIMIT,
        "app_kwargs": {"middleware": [Middleware(ContentPolicy)]},
    }


class ContentPolicy:
    """ASGI middleware: the browser is told to load nothing from other computers, and to keep nothing."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"content-security-policy", CONTENT_POLICY.encode())]
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _keep_gradio_at_home(uploads: str) -> None:
    """Gradio reads these when it is imported or a page is built."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = uploads
    for name in ("NO_PROXY", "no_proxy"):  # Gradio asks its own page whether it is there
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST, "localhost"]))
