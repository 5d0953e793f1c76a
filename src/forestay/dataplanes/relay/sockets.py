"""The listening sockets of the control process: bound here, or handed over by workers of an earlier life."""

import ipaddress
import socket
from collections.abc import Iterable

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.model.errors import InvalidInput

BACKLOG = 4096
KEEPALIVE_S = 60
"""A peer whose host died without a word is noticed after two minutes, and not at the idle timeout."""


def keep_alive(sock: socket.socket | socket.SocketType) -> None:
    """Let the kernel probe the peer when nothing was heard of it for a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S // 4)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def listen(spec: ListenerSpec) -> socket.socket:
    """Bind and listen. Options set here are inherited by accepted sockets (Linux): no call per connection.

    Raises:
        InvalidInput: if the address is not numeric, or cannot be bound.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(spec.host).version == 6 else socket.AF_INET
    except ValueError as error:
        raise InvalidInput(
            f"listener {spec.name}: host = {spec.host!r}: use a numeric address, 0.0.0.0 or ::"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.host != "::")
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(listener)
        listener.bind((spec.host, spec.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"listener {spec.name}: cannot listen on {spec.host}:{spec.port} ({error.strerror}): "
            "choose another port, or end the process that has it"
        ) from error
    return listener


class ListeningSockets:
    """One socket per listener, by its address, so that it may be renamed; by its name where any port will do."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int | str], socket.socket] = {}

    def open(self, spec: ListenerSpec) -> None:
        """Bind it if it is not there yet.

        Raises:
            InvalidInput: see `listen`.
        """
        key = _key(spec.name, spec.address)
        if key not in self._sockets:
            self._sockets[key] = listen(spec)

    def adopt(self, name: str, address: tuple[str, int], descriptor: int) -> None:
        """Take over a descriptor that a worker sent, unless the socket is known."""
        sock = socket.socket(fileno=descriptor)
        if self._sockets.setdefault(_key(name, address), sock) is not sock:
            sock.close()

    def of(self, spec: ListenerSpec) -> socket.socket:
        """The open socket of a listener."""
        return self._sockets[_key(spec.name, spec.address)]

    def close_all_but(self, specs: Iterable[ListenerSpec]) -> None:
        """Let go of sockets that no listener needs."""
        wanted = {_key(spec.name, spec.address) for spec in specs}
        for key in self._sockets.keys() - wanted:
            self._sockets.pop(key).close()


def _key(name: str, address: tuple[str, int]) -> tuple[str, int | str]:
    host, port = address
    return host, port or name
