"""Addresses as operators write them: "10.0.0.1:8080", "[::1]:8080", "db.internal:5432", and ":8080" to listen on.

One idea: an address is checked and normalised where it enters, so that two spellings of one address can never be two
endpoints or two listeners.
"""

import ipaddress
import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_WILDCARDS = ("", "0.0.0.0", "::")


class HostPort(NamedTuple):
    """A host name or IP address (IPv6 without brackets; "" for every address) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def collides_with(self, other: "HostPort") -> bool:
        """Whether both cannot be listened on at once; port 0 (the kernel chooses) collides with nothing."""
        if self.port == 0 or self.port != other.port:
            return False
        return self.host == other.host or self.host in _WILDCARDS or other.host in _WILDCARDS


def parse_host_port(text: str, *, listen: bool = False) -> HostPort:
    """Read "host:port".

    Args:
        text: IPv6 addresses stand in brackets.
        listen: also allow an empty host (every address of the machine) and port 0 (the kernel chooses).

    Raises:
        ValueError: with what is wrong and an example of what is right.
    """
    example = '":8080" or "127.0.0.1:8080"' if listen else '"10.0.0.1:8080" or "[::1]:8080"'
    host, colon, port_text = text.strip().rpartition(":")
    if not colon:
        raise ValueError(f'has no port: write "host:port", e.g. {example}')
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        raise ValueError(f"port {port_text!r} is not a number: write e.g. {example}")
    port = int(port_text)
    if not (0 if listen else 1) <= port <= 65535:
        raise ValueError(f"port {port} is out of range: {'0' if listen else '1'} to 65535")
    return HostPort(_normal_host(host, example, listen), port)


def _normal_host(host: str, example: str, listen: bool) -> str:
    if host == "" and listen:
        return ""
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if bracketed or not _HOST_NAME.fullmatch(host) or len(host) > 253:
            raise ValueError(f"host {host!r} is neither a name nor an IP address: write e.g. {example}") from None
        return host.lower()
    if address.version == 6 and not bracketed:
        raise ValueError(f'IPv6 addresses stand in brackets: write "[{bare}]:port"')
    if address.version == 4 and bracketed:
        raise ValueError(f'only IPv6 addresses stand in brackets: write "{bare}:port"')
    return address.compressed


ListenAddress = Annotated[str, AfterValidator(lambda text: str(parse_host_port(text, listen=True)))]
"""Where to accept: "host:port", ":port" for every address of the machine; port 0: the kernel chooses."""

EndpointAddress = Annotated[str, AfterValidator(lambda text: str(parse_host_port(text)))]
"""Where to connect to: "host:port"."""
