"""A small server on loopback that speaks as much of the Hugging Face Hub's protocol as a download uses, and its faults.

GET /api/models/OWNER/NAME?blobs=True        what a repository holds, with sizes and SHA-256
GET /OWNER/NAME/resolve/main/FILE            a file, from any byte on (`Range`), for those who may read it
HEAD, GET /plain/FILE                        an address outside the Hub
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

TOKEN = "hf_of_somebody_who_accepted"


@dataclass
class HubServer:
    """What it has and how it fails. Tests change it while it runs.

    files: repository -> name -> content. plain: name -> content. gated: repositories whose files want `TOKEN`, and with
    which status others are refused. cut_after: name -> after how many bytes of each answer the connection is closed.
    stated_size, stated_hash: what the listing says instead of the truth. broken: names that answer 503. no_head: names
    whose HEAD is refused, as some servers do. ignores_range: names that are always sent from their beginning.
    held: name -> an event; the answer waits for it after its first half. portal: what every listing is answered with.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    gated: dict[str, int] = field(default_factory=dict)
    cut_after: dict[str, int] = field(default_factory=dict)
    stated_size: dict[str, int] = field(default_factory=dict)
    stated_hash: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    no_head: set[str] = field(default_factory=set)
    ignores_range: set[str] = field(default_factory=set)
    held: dict[str, threading.Event] = field(default_factory=dict)
    portal: bytes = b""
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)  # method, path, Range, Authorization
    url: str = ""

    def __enter__(self) -> HubServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ranges_of(self, name: str) -> list[str]:
        """The `Range` of every GET of a file, "" for a whole one."""
        return [sent for method, path, sent, _ in self.requests if method == "GET" and path.endswith("/" + name)]


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[HubServer]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        authorization = self.headers.get("Authorization", "")
        self.hub.requests.append((self.command, path, self.headers.get("Range", ""), authorization))
        listing = re.fullmatch(r"/api/models/(.+/.+)", path)
        in_repository = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path)
        if listing:
            self._list(listing[1])
        elif in_repository:
            repository, name = in_repository.groups()
            if repository in self.hub.gated and authorization != f"Bearer {TOKEN}":
                self._refuse(self.hub.gated[repository], "GatedRepo")
            elif name not in self.hub.files.get(repository, {}):
                self._refuse(404, "EntryNotFound")
            else:
                self._send(name, self.hub.files[repository][name], with_body)
        elif path.startswith("/plain/") and path.removeprefix("/plain/") in self.hub.plain:
            name = path.removeprefix("/plain/")
            self._send(name, self.hub.plain[name], with_body)
        else:
            self._refuse(404, "")

    def _list(self, repository: str) -> None:
        if self.hub.portal:
            self._begin(200, len(self.hub.portal))
            self.wfile.write(self.hub.portal)
            return
        if repository not in self.hub.files:
            self._refuse(401, "RepoNotFound")
            return
        siblings = []
        for name, content in self.hub.files[repository].items():
            size = self.hub.stated_size.get(name, len(content))
            described: dict[str, object] = {"rfilename": name, "size": size, "blobId": "0" * 40}
            if not name.endswith((".json", ".txt")):  # large files are in LFS
                digest = self.hub.stated_hash.get(name, hashlib.sha256(content).hexdigest())
                described["lfs"] = {"sha256": digest, "size": size, "pointerSize": 130}
            siblings.append(described)
        body = json.dumps({"id": repository, "siblings": siblings}).encode()
        self._begin(200, len(body))
        self.wfile.write(body)

    def _send(self, name: str, content: bytes, with_body: bool) -> None:
        if name in self.hub.broken:
            self._refuse(503, "")
            return
        if name in self.hub.no_head and not with_body:
            self._refuse(405, "")
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))
        start = int(asked[1]) if asked and name not in self.hub.ignores_range else 0
        if start >= len(content) > 0:
            self._begin(416, 0, {"Content-Range": f"bytes */{len(content)}"})
            return
        body = content[start:]
        extra = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._begin(206 if start else 200, len(body), extra)
        if not with_body:
            return
        cut = self.hub.cut_after.get(name, len(body))
        if name in self.hub.held:
            self.wfile.write(body[: cut // 2])
            self.wfile.flush()
            self.hub.held[name].wait(60)
            body, cut = body[cut // 2 :], cut - cut // 2
        self.wfile.write(body[:cut])
        self.wfile.flush()
        self.close_connection = cut < len(body)

    def _refuse(self, status: int, code: str) -> None:
        self._begin(status, 0, {"X-Error-Code": code} if code else {})

    def _begin(self, status: int, length: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(length), **(extra or {})}.items():
            self.send_header(key, value)
        self.end_headers()
