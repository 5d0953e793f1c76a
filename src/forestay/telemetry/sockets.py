"""Established TCP connections to the server's own ports, by 4-tuple.

Asked of the kernel by netlink (sock_diag), which sends only the sockets that match. Measured with 9,500 connections
on loopback, CPU of one listing: netlink 26-31 ms, parsing /proc/net/tcp 110-155 ms (the kernel walks and prints every
socket of the machine), psutil.net_connections 380-790 ms (it also searches every process's descriptors). Where netlink
is shut (some sandboxes) or the server lives in another network namespace, /proc/PID/net is parsed instead.

Source: sock_diag(7); include/uapi/linux/inet_diag.h.
"""

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import structlog

from forestay.model.errors import ForestayError

log = structlog.get_logger(__name__)

FourTuple = tuple[str, int, str, int]
"""The peer's address and port, then the server's: a connection as the proxy before the server sees it."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_TCP_ESTABLISHED = 1
_ATTRIBUTE_BYTECODE = 1  # INET_DIAG_REQ_BYTECODE
_SOURCE_PORT_AT_LEAST, _SOURCE_PORT_AT_MOST = 2, 3  # INET_DIAG_BC_S_GE, _S_LE
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
_PORTS = struct.Struct("!HH")  # of struct inet_diag_sockid, after family, state, timer, retransmits
_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 0.5


class SocketsUnreadable(ForestayError):
    """Neither netlink nor /proc shows this user the machine's sockets: report without them."""


class SocketLister:
    """Lists the connections to some ports; falls back from netlink to /proc by itself and says so once.

    Attributes:
        method: "netlink" or "procfs": what the next listing uses.
    """

    def __init__(self, ports: Collection[int], pid: int | None = None) -> None:
        """Choose ports.

        Args:
            ports: local ports that the server listens on.
            pid: the server's process; None: it lives in the agent's own network namespace.
        """
        self._ports = sorted(set(ports))
        self._procfs = Path("/proc/self/net") if pid is None else Path(f"/proc/{pid}/net")
        self.method = "netlink" if pid is None or _same_network(pid) else "procfs"

    def established(self) -> list[FourTuple]:
        """All established connections, in no particular order.

        Raises:
            SocketsUnreadable: no way to list them works.
        """
        if self.method == "netlink":
            try:
                return list(_by_netlink(self._ports))
            except OSError as error:
                log.warning("sockets_by_procfs", why=str(error))
                self.method = "procfs"
        try:
            return list(by_procfs(self._procfs, self._ports))
        except OSError as error:
            raise SocketsUnreadable(f"cannot list sockets: {error}") from None


def _by_netlink(ports: Collection[int]) -> Iterator[FourTuple]:
    """Ask the kernel, once for each address family and port.

    Raises:
        OSError: the kernel does not answer such questions here.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                netlink.send(_request(family, port))
                yield from _answers(netlink)


def _request(family: int, port: int) -> bytes:
    """A dump of the family's established sockets with this local port: struct inet_diag_req_v2 and a filter."""
    # Each step of the filter: code, offset if it holds, offset if not (beyond the end: reject), then its operand.
    at_least = struct.pack("=BBHBBH", _SOURCE_PORT_AT_LEAST, 8, 20, 0, 0, port)
    at_most = struct.pack("=BBHBBH", _SOURCE_PORT_AT_MOST, 8, 12, 0, 0, port)
    attribute = struct.pack("=HH", 4 + 16, _ATTRIBUTE_BYTECODE) + at_least + at_most
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 1 << _TCP_ESTABLISHED) + bytes(48) + attribute
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body


def _answers(netlink: socket.socket) -> Iterator[FourTuple]:
    while True:
        data = netlink.recv(_RECEIVE_BYTES)
        offset = 0
        while offset < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if kind == _NLMSG_DONE:
                return
            body = offset + _HEADER.size
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", data, body)[0]
                raise OSError(number, os.strerror(number))
            local_port, peer_port = _PORTS.unpack_from(data, body + 4)
            family = data[body]
            size = 4 if family == socket.AF_INET else 16
            local, peer = data[body + 8 : body + 8 + size], data[body + 24 : body + 24 + size]
            yield _address(family, peer), peer_port, _address(family, local), local_port
            offset += (length + 3) & ~3


def by_procfs(directory: Path, ports: Collection[int]) -> Iterator[FourTuple]:
    """Parse the tcp and tcp6 files of a /proc/PID/net directory.

    Raises:
        OSError: it cannot be read.
    """
    endings = tuple(f":{port:04X}".encode() for port in ports)
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = (directory / name).read_bytes().splitlines()[1:]
        except FileNotFoundError:
            if name == "tcp6":  # IPv6 is off
                continue
            raise
        for line in lines:
            _, local, peer, state, _ = line.split(None, 4)
            if state == b"01" and local.endswith(endings):
                local_address, local_port = local.split(b":")
                peer_address, peer_port = peer.split(b":")
                yield (
                    _address(family, _network_order(peer_address)),
                    int(peer_port, 16),
                    _address(family, _network_order(local_address)),
                    int(local_port, 16),
                )


def _network_order(text: bytes) -> bytes:
    """The kernel prints each 32-bit word of an address in the machine's byte order."""
    raw = bytes.fromhex(text.decode())
    if sys.byteorder == "big":
        return raw
    return b"".join(raw[word : word + 4][::-1] for word in range(0, len(raw), 4))


@lru_cache(maxsize=4096)  # one server, and usually few proxies before it
def _address(family: int, raw: bytes) -> str:
    """Text of an address; a dual-stack socket's IPv4 peer (::ffff:a.b.c.d) is the IPv4 address it really is."""
    if family == socket.AF_INET6 and raw.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(family, raw)


def _same_network(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return True
