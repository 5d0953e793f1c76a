"""Listening sockets."""

import ipaddress
import socket

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.model.errors import InvalidInput

BACKLOG = 4096
KEEPALIVE_S = 60
"""A client whose host died without a word is noticed after two minutes, and not at the idle timeout."""


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
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S // 4)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        listener.bind((spec.host, spec.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"listener {spec.name}: cannot listen on {spec.host}:{spec.port} ({error.strerror}): "
            "choose another port, or end the process that has it"
        ) from error
    return listener
