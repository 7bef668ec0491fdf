"""Where the page listens and who may use it, from the options that a user gives."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from skingpt4.errors import SettingsError
from skingpt4.web.address import LOOPBACK, Address, is_loopback

SHARED = "*.gradio.live"  # where `--share` publishes


@dataclass(frozen=True)
class Access(Address):
    """Where the page listens and who may use it.

    accounts: passwords by user; none: whoever reaches the page uses it. root_path: "", or where a reverse proxy shows
    the page: a path, "/skin", or better the address, "https://clinic.example/skin". share: also published on the
    internet. Raises `SettingsError` for what cannot be.
    """

    accounts: dict[str, str] = field(default_factory=dict, repr=False)  # never in a log
    root_path: str = ""
    share: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.root_path and not self.root_path.startswith("/") and not self.public_host:
            raise SettingsError(
                f"--root-path is {self.root_path!r}; give a path as /skin, or an address as https://clinic.example/skin"
            )

    @property
    def path(self) -> str:
        """What stands before every path as the browser sees it: "" or "/skin"."""
        return urlsplit(self.root_path).path.rstrip("/")

    @property
    def public_host(self) -> str:
        """The name that a reverse proxy is reached by, "" where it was not told."""
        parts = urlsplit(self.root_path)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""

    @property
    def origins(self) -> list[str]:
        """What a browser calls this page when its address differs from the one asked here: the reverse proxy's."""
        parts = urlsplit(self.root_path)
        return [f"{parts.scheme}://{parts.netloc}".lower()] if self.public_host else []

    @property
    def is_public(self) -> bool:
        """Whether others than the users of this computer can reach the page."""
        return self.share or not all(map(is_loopback, filter(None, (self.address, self.public_host))))

    @property
    def names(self) -> set[str]:
        """The names and addresses that lead to the page, also by way of others."""
        return super().names | ({self.public_host} - {""}) | ({SHARED} if self.share else set())


def access_of(
    host: str = LOOPBACK,
    port: int | None = None,
    share: bool = False,
    auth: str | None = None,
    no_auth: bool = False,
    root_path: str = "",
) -> Access:
    """The options of `skingpt4 demo`. auth: "user:password", or a file with one such line per user.

    Raises `SettingsError` for a contradiction, and where others could reach a page without a password unasked.
    """
    if auth is not None and no_auth:
        raise SettingsError("--auth and --no-auth contradict each other; give one of them.")
    access = Access(host, port, accounts_of(auth) if auth is not None else {}, root_path, share)
    if access.is_public and not access.accounts and not no_auth:
        where = "--share" if share else f"--root-path {root_path}" if is_loopback(access.address) else f"--host {host}"
        raise SettingsError(
            f"With {where} others can open the page. Give --auth FILE with a line user:password for each of them, "
            "or say with --no-auth that everyone who reaches this computer may use it."
        )
    return access


def accounts_of(auth: str) -> dict[str, str]:
    """Passwords by user, from a file of lines "user:password" (empty ones and those from # on are left out) or from
    such a text. Raises `SettingsError`, which never repeats what was given.
    """
    given, lines = "--auth", [auth]
    if Path(auth).is_file():
        given = f"The file of --auth, {auth},"
        try:
            lines = Path(auth).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{given} cannot be read as text: {type(error).__name__}.") from None
    elif ":" in auth:
        print(
            "skingpt4: the password stands on the command line, where every user of this computer can read it. "
            "Better: write it into a file and give --auth FILE.",
            file=sys.stderr,
        )
    else:
        raise SettingsError("--auth is neither a file that is there nor user:password.")
    accounts = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise SettingsError(f"{given} has no user:password in line {number}.")
        accounts[user] = password
    if not accounts:
        raise SettingsError(f"{given} holds no user:password.")
    return accounts
