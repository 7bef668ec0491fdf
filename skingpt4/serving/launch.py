"""Start the server, load the model behind it, and end both."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from skingpt4.errors import SettingsError
from skingpt4.settings import Settings
from skingpt4.web.address import Address, is_loopback, listen
from skingpt4.web.process import prepare_process

if TYPE_CHECKING:
    from skingpt4.serving.app import Application
    from skingpt4.web.server import Server

KEY = "SKINGPT4_API_KEY"
CLOSING_SECONDS = 10  # for answers that still stream
PHOTOGRAPH_PATHS = re.compile(r"^/v1/(chat/completions|report)$")


def address_of(host: str, port: int, key: str) -> Address:
    """Raises `SettingsError` where others could reach a server without a key."""
    at = Address(host, port)
    if not is_loopback(at.address) and not key:
        raise SettingsError(
            f"With --host {host} other computers reach the server. Set a key in the environment first, for example\n"
            f'  export {KEY}="$(openssl rand -hex 32)"\nand give it to your programs. Without a key only this computer '
            "is served."
        )
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError(f"{KEY} holds a space or a sign that cannot stand in a header; use letters and digits.")
    return at


def serve(settings: Settings, at: Address, key: str, name: str, at_once: int, waiting: int) -> int:
    """Answer until Ctrl-C or SIGTERM; returns the exit code.

    Requests that come before the model is loaded are told so. Raises `SkinGPTError` for what the user can mend.
    """
    prepare_process()
    with listen(at) as listening:
        from skingpt4.serving.app import Application
        from skingpt4.web.logs import keep_out_of_logs

        keep_out_of_logs()
        app = Application(at, key, name, at_once, waiting)
        server = server_for(app)
        failed: list[Exception] = []

        def load() -> None:
            try:
                load_into(app, settings)
                print("Ready.", flush=True)
            except Exception as error:
                failed.append(error)
                server.should_exit = True

        where = f"http://{at.url_host}:{listening.getsockname()[1]}"
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


def server_for(app: Application) -> Server:
    """With deadlines for those who ask, and time for their photographs."""
    from skingpt4.web.server import server_of

    return server_of(app, PHOTOGRAPH_PATHS, CLOSING_SECONDS)
