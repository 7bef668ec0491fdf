"""Start the server, load the model behind it, and end both."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from skingpt4.demo.server.access import Access, is_loopback, listen
from skingpt4.errors import SettingsError
from skingpt4.settings import Settings

if TYPE_CHECKING:
    import uvicorn

    from skingpt4.serving.app import Application

KEY = "SKINGPT4_API_KEY"
CLOSING_SECONDS = 10  # for answers that still stream


def access_of(host: str, port: int, key: str) -> Access:
    """Raises `SettingsError` where others could reach a server without a key."""
    access = Access(host, port)
    if not is_loopback(access.address) and not key:
        raise SettingsError(
            f"With --host {host} other computers reach the server. Set a key in the environment first, for example\n"
            f'  export {KEY}="$(openssl rand -hex 32)"\nand give it to your programs. Without a key only this computer '
            "is served."
        )
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError(f"{KEY} holds a space or a sign that cannot stand in a header; use letters and digits.")
    return access


def serve(settings: Settings, access: Access, key: str, name: str, at_once: int, waiting: int) -> int:
    """Answer until Ctrl-C or SIGTERM; returns the exit code.

    Requests that come before the model is loaded are told so. Raises `SkinGPTError` for what the user can mend.
    """
    from skingpt4.demo.logs import keep_out_of_logs
    from skingpt4.demo.server.connections import allow_many_files

    os.umask(0o077)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with listen(access) as listening:
        from skingpt4.serving.app import Application

        keep_out_of_logs()
        allow_many_files()
        app = Application(access, key, name, at_once, waiting)
        server = server_of(app)
        failed: list[Exception] = []

        def load() -> None:
            try:
                load_into(app, settings)
                print("Ready.", flush=True)
            except Exception as error:
                failed.append(error)
                server.should_exit = True

        where = f"http://{access.url_host}:{listening.getsockname()[1]}"
        print(f"Listening at {where}/v1 {'with' if key else 'without'} an API key. Loading the model …", flush=True)
        threading.Thread(target=load, name="load", daemon=True).start()
        server.run(sockets=[listening])
    if failed:
        raise failed[0]
    return 0


def load_into(app: Application, settings: Settings) -> None:
    """From here on it answers. Raises `SettingsError`, `WeightsError` or `DeviceError`."""
    from skingpt4.chat.load import load_chat
    from skingpt4.serving.service import Service

    app.service = Service(load_chat(settings), settings, app.places, app.metrics)


def server_of(app: Application) -> uvicorn.Server:
    """uvicorn, with connections that have deadlines and no log of who asked what."""
    import uvicorn

    from skingpt4.demo.server.connections import ACCEPTED_AT_ONCE, ConnectionWithDeadlines

    return uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="on",
            timeout_graceful_shutdown=CLOSING_SECONDS, http=ConnectionWithDeadlines, backlog=ACCEPTED_AT_ONCE,
        )
    )  # fmt: skip
