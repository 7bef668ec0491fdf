"""The whole demo as a process of its own: what it turns to on the network, what it logs, how it ends."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_process
import httpx
import pytest
from demo_process import LISTENING, NETWORK, PROGRAMS, Server, started, visit

pytestmark = pytest.mark.slow
MARK = "Zebrafinch"  # in names of files and in questions
LOOPBACK = re.compile(r"127\.\d+\.\d+\.\d+|::1|localhost")


@dataclass
class Past:
    """A server that was visited, disturbed and ended by SIGTERM while tabs were open."""

    server: Server
    answer: str
    code: int
    asked_proxy: list[Any]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        threading.Thread(target=_note_callers, args=(proxy, asked := []), daemon=True).start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), address)
        environment |= {"NO_PROXY": "", "no_proxy": "", "GRADIO_SHARE": "True", "GRADIO_ANALYTICS_ENABLED": "True"}
        environment |= {"HF_HUB_OFFLINE": "0", "GRADIO_NUM_WORKERS": "2", "OMP_NUM_THREADS": "1"}
        with started(tmp_path_factory.mktemp("server"), environment=environment) as server:
            answer = visit(server.url, f"{MARK} Smith.jpg", f"Is {MARK} ill?")
            disturb(server)
            with httpx.stream("GET", f"{server.url}gradio_api/heartbeat/an-open-tab", trust_env=False):
                code = server.end()
        yield Past(server, answer, code, asked)


def _note_callers(proxy: socket.socket, callers: list[Any]) -> None:
    while True:
        try:
            callers.append(proxy.accept()[1])
        except OSError:
            return


def disturb(server: Server) -> None:
    """Requests that fail inside of Gradio and of the page, with something in them that belongs in no log."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as browser:
        browser.get("/", headers={"accept": "text/html"})
        config = browser.get("/config").json()
        file = {"path": f"/{MARK}/{MARK}.png", "orig_name": MARK, "meta": {"_type": "gradio.FileData"}}
        for function in config["dependencies"]:
            for value in (file, {MARK: MARK}, MARK, [MARK]):
                values = [value] * len(function["inputs"])
                body = {"data": values, "fn_index": function["id"], "session_hash": f"{MARK}{function['id']}"}
                browser.post(f"/gradio_api/run/{function['api_name']}", json=body)
                browser.post("/gradio_api/queue/join", json=body)
        browser.post("/gradio_api/run/ask", json={"data": MARK})
        browser.post("/gradio_api/upload", files={"files": (f"{MARK}.png", b"<html>")})
        browser.post("/gradio_api/upload", content=MARK, headers={"content-type": "multipart/form-data; boundary=x"})
        for path in (f"/{MARK}?{MARK}", f"/assets/{MARK}", f"/kept/{MARK}/x", f"/gradio_api/file={MARK}"):
            browser.get(path)


def test_it_answered(past: Past) -> None:
    assert '"role": "assistant"' in past.answer and MARK in past.answer


def test_it_turned_to_nothing_outside_of_this_computer(past: Past) -> None:
    assert past.server.events(LISTENING)  # the notes work
    assert [each for each in past.server.events(*NETWORK) if not LOOPBACK.search(each)] == []


def test_it_listened_on_loopback_alone(past: Past) -> None:
    listened = past.server.events(LISTENING)
    assert len(listened) == 1 and "('127.0.0.1', 0)" in listened[0]


def test_a_proxy_in_the_environment_is_not_asked(past: Past) -> None:
    assert past.asked_proxy == []


def test_it_started_no_other_program(past: Past) -> None:
    # ctypes looks for libraries with ldconfig, gcc or ld; matplotlib, once in a new home, for fonts with fc-list.
    # The one that the page starts itself decodes pictures, and is watched by the same hook.
    looking = re.compile(r"ldconfig|gcc|\bld\b|objdump|\bcc\b|uname|^\('fc-list'|web\.decoding import main")
    assert [each for each in past.server.events(*PROGRAMS) if not looking.search(each)] == []


def test_names_and_texts_are_in_no_log(past: Past) -> None:
    logged = past.server.logged
    assert "raised by way of" in logged  # the disturbances were faults, and their places are told
    assert [word for word in (MARK, "Smith", "Cookie", "GET /") if word in logged] == []


def test_sigterm_closes_it_though_tabs_are_open(past: Past) -> None:
    assert past.code == 0
    assert past.server.logged.endswith("Closing the page.\n")


def test_it_works_where_there_is_no_network(tmp_path: Path) -> None:
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    alone = [str(unshare), "--user", "--map-root-user", "--net", "sh", "-c", f'{ip} link set lo up && exec "$@"', "sh"]
    if not (unshare and ip) or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no network namespace (unshare --net)")
    no_way_out = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    assert b"unreachable" in subprocess.run([*alone, sys.executable, "-c", no_way_out], capture_output=True).stderr
    command = [*alone, sys.executable, str(Path(demo_process.__file__))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"role": "assistant"' in done.stdout
