"""One relayed connection: two sides, and the set of all flows of a worker.

The garbage collector is off in workers (a full collection stops 10,000 connections for tens of milliseconds), so
closing a flow breaks every reference cycle by hand.
"""

import select
import socket
import struct
from collections.abc import Callable

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.frames import Opened, Record
from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.shared_table import Target

RawSocket = socket.SocketType
"""The C type under `socket.socket`: no Python wrapper, no `__del__`, a third of its cost."""

NONBLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
LINGER_RESET = struct.pack("ii", 1, 0)
WATCH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
FAILED = select.EPOLLERR | select.EPOLLHUP


class Side:
    """One socket of a flow.

    Attributes:
        out: bytes that this socket could not take yet. While there are any, the peer is not read: back-pressure.
        ended: end of stream was read from it.
        live: both sides are connected and bytes move; until then `on_event` handles what epoll says.
        more: there may be unread bytes; edge-triggered epoll will not say so again.
        hup: a FIN or RST was seen: a short read no longer means that nothing is left, read on to the end.
        recv: `sock.recv`, bound once: two attribute chains less per message.
        forward: `peer.sock.send`, likewise.
    """

    __slots__ = ("ended", "flow", "forward", "hup", "live", "more", "on_event", "out", "peer", "recv", "sock")

    flow: "Flow | None"
    peer: "Side | None"
    out: bytes | None
    on_event: Callable[["Flow", int], None] | None

    def __init__(self, sock: RawSocket, flow: "Flow") -> None:
        self.sock, self.flow, self.peer, self.out = sock, flow, None, None
        self.ended = self.live = self.more = self.hup = False
        self.recv: Callable[[int, int], bytes] = sock.recv
        self.forward: Callable[[bytes | memoryview, int], int] | None = None
        self.on_event = None


class Flow:
    """A client's connection from accept to close.

    Attributes:
        id: connection id, 32 hexadecimal digits.
        server: None until a connect is under way.
        client_address: of the client, as the PROXY header says where there is one.
        accepted_at_s: monotonic.
        not_before_s: monotonic time before which a waiting flow is not tried again.
        tried: slots that failed it.
        slot, target: where it is, or is being connected to; -1 and None before.
        opened: its journal record once established.
        original: destination address that the client connected to, where a PROXY header named it.
        closed: it is gone.
    """

    __slots__ = (
        "accepted_at_s", "client", "client_address", "closed", "id", "not_before_s", "opened", "original", "server",
        "slot", "target", "tried",
    )  # fmt: skip

    def __init__(self, flow_id: str, sock: RawSocket, client_address: tuple[str, int], now_s: float) -> None:
        self.id, self.client_address, self.accepted_at_s, self.not_before_s = flow_id, client_address, now_s, 0.0
        self.client = Side(sock, self)
        self.server: Side | None = None
        self.slot = -1
        self.target: Target | None = None
        self.tried: tuple[int, ...] = ()
        self.opened: Opened | None = None
        self.original: tuple[str, int] | None = None
        self.closed = False


class Flows:
    """All flows of a worker, by descriptor for epoll, and the one way to end them.

    Attributes:
        sides: by descriptor; what epoll watches.
        connected: flows that are established or being connected; `connections_max` bounds them.
        journal: records for the control process, oldest first.
        graves: sockets to close when this turn's events are dealt with. Not before: the kernel would give the number to
            a new socket, which a left-over event of the old one would then be taken for.
    """

    def __init__(self, epoll: select.epoll, picker: Picker, counters: Counters) -> None:
        self.epoll, self._picker, self._counters = epoll, picker, counters
        self.sides: dict[int, Side] = {}
        self.connected = 0
        self.journal: list[tuple[object, ...]] = []
        self.graves: list[RawSocket] = []
        self.now_s = 0.0

    def watch(self, side: Side, events: int, on_event: Callable[[Flow, int], None] | None) -> None:
        """Watch a side's descriptor; `on_event` is called until the side is live."""
        side.on_event = on_event
        descriptor = side.sock.fileno()
        if descriptor in self.sides:
            self.epoll.modify(descriptor, events)
        else:
            self.sides[descriptor] = side
            self.epoll.register(descriptor, events)

    def connecting(self, flow: Flow, sock: RawSocket, slot: int, target: Target) -> Side:
        """A connect to the flow's endpoint is under way."""
        side = flow.server = Side(sock, flow)
        side.peer, flow.client.peer = flow.client, side
        flow.slot, flow.target = slot, target
        self._picker.hold(target.endpoint_id)
        self.connected += 1
        return side

    def disconnect(self, flow: Flow) -> None:
        """Undo `connecting`: the client stays. The caller journals what became of the pick."""
        side, target = flow.server, flow.target
        assert side is not None
        assert target is not None
        self.sides.pop(side.sock.fileno(), None)
        self.graves.append(side.sock)
        side.flow = side.peer = side.on_event = None
        flow.server, flow.client.peer = None, None
        self._picker.release(target.endpoint_id)
        self.connected -= 1
        flow.slot, flow.target = -1, None

    def reset(self, flow: Flow) -> None:
        """Close both sides by RST."""
        for side in (flow.client, flow.server):
            if side is not None:
                linger_reset(side)
        self.close(flow)

    def close(self, flow: Flow) -> None:
        """Close both sides, journal it, forget it. Again: no effect."""
        if flow.closed:
            return
        flow.closed = True
        self._counters.open -= 1
        client, server, target = flow.client, flow.server, flow.target
        pop = self.sides.pop
        if server is not None and target is not None:
            if flow.opened is not None:
                self.journal.append((Record.CLOSED, flow.id, self.now_s))
                flow.opened = None
            else:
                self.journal.append((Record.ABORTED, flow.slot))
            self._picker.release(target.endpoint_id)
            self.connected -= 1
            pop(server.sock.fileno(), None)
            self.graves.append(server.sock)
            server.flow = server.peer = server.forward = server.on_event = None
            client.peer = client.forward = None
            flow.server = None
        pop(client.sock.fileno(), None)
        self.graves.append(client.sock)
        client.flow = client.on_event = None

    def bury(self) -> None:
        """Close the sockets of flows that ended."""
        for sock in self.graves:
            sock.close()
        self.graves.clear()


def linger_reset(side: Side) -> None:
    """Let the coming close send an RST: to its peer, truncation must not look like success."""
    try:
        side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    except OSError:
        return  # the connection is gone already: there is nobody left to tell
