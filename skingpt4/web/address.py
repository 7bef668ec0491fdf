"""Where a server listens, and by which names it is asked."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from skingpt4.errors import DeviceError, SettingsError

LOOPBACK = "127.0.0.1"
PORTS = range(7860, 7960)  # tried in turn where none is asked for


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    host: a name or an address of this computer; 0.0.0.0 or :: for all that it has. port: None takes the first free one
    from 7860 on, 0 any. Raises `SettingsError` for what cannot be.
    """

    host: str = LOOPBACK
    port: int | None = None

    def __post_init__(self) -> None:
        if not self.address:
            raise SettingsError("--host is empty. Give an address of this computer, or 0.0.0.0 for all that it has.")
        if self.port is not None and not 0 <= self.port < 1 << 16:
            raise SettingsError(f"--port is {self.port}; ports go from 1 to 65535.")

    @property
    def address(self) -> str:
        """The host without the brackets of an IPv6 address."""
        return self.host.strip("[] ")

    @property
    def names(self) -> set[str]:
        """The names and addresses that lead here."""
        names = {"localhost", LOOPBACK, "::1", self.address} - {"0.0.0.0", "::"}
        if not is_loopback(self.address):
            names |= {socket.gethostname(), f"{socket.gethostname()}.local", *_own_addresses()}
        return names

    @property
    def host_names(self) -> list[str]:
        """`names` as they stand in a URL. Any other name was made to lead here by somebody else."""
        return sorted(_in_url(name).lower() for name in self.names)

    @property
    def url_host(self) -> str:
        """The host as it is shown to the user who starts the server."""
        return _in_url(socket.gethostname() if self.address in ("0.0.0.0", "::") else self.address)


def listen(at: Address) -> socket.socket:
    """A socket that listens there. Raises `DeviceError` where it cannot."""
    family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
    ports = PORTS if at.port is None else [at.port]
    for port in ports:
        try:
            return socket.create_server((at.address, port), family=family)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            if error.errno == errno.EACCES:
                message = f"Port {port} may not be used by you; choose one from 1024 on with --port."
            else:
                message = f"{at.host} is no address of this computer; choose another with --host."
            raise DeviceError(message) from error
    tried = str(at.port) if at.port is not None else f"from {PORTS[0]} to {PORTS[-1]}"
    raise DeviceError(f"Port {tried} of {at.host} is taken; choose another with --port.")


def is_loopback(address: str) -> bool:
    """Whether only this computer reaches it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def origin_host(origin: str) -> str | None:
    """Host and port in a browser's `Origin`, as they would stand in `Host`; None for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # http://[
        return None


def _own_addresses() -> set[str]:
    """Addresses of this computer's network cards. No name server is asked."""
    import psutil

    cards = psutil.net_if_addrs().values()
    found = {entry.address for card in cards for entry in card if entry.family in (socket.AF_INET, socket.AF_INET6)}
    return {address for address in found if "%" not in address}  # fe80::1%eth0 stands in no browser's address


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
