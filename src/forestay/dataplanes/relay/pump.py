"""Moves bytes between the two sides of a flow.

Epoll is edge-triggered, so every path must end in "drained", "blocked, and it is remembered that there is more", or
"its turn is over, and it is in `ready`".

Memory is bounded: at most one unsent tail (`Side.out`, up to `BULK`) per direction, and a side is not read while its
peer has one. This is the relay's hot path: methods are bound once, the common message costs one recv and one send.
"""

import socket

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import Flows, Side, linger_reset

MESSAGE = 16 * 1024
"""First read of an event: most messages fit, and a bytes object costs less than a slice of the buffer."""
BULK = 256 * 1024
ROUNDS = 4
"""Bulk reads per event before other flows get their turn."""

RECV = int(socket.MSG_DONTWAIT)
SEND = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class Pump:
    """See the module.

    Attributes:
        ready: sides whose turn ended before they were drained; call `resume`.
    """

    def __init__(self, flows: Flows, counters: Counters) -> None:
        self._flows, self._counters = flows, counters
        self._buffer = memoryview(bytearray(BULK))
        self.ready: list[Side] = []

    def read(self, side: Side) -> None:
        """`side` is readable: move bytes to its peer."""
        peer = side.peer
        assert peer is not None
        if peer.out is not None or side.ended:
            side.more = True
            return
        forward = side.forward
        assert forward is not None
        try:
            data = side.recv(MESSAGE, RECV)
            if not data:
                self._end(side)
                return
        except BlockingIOError:
            return
        except OSError:
            self.reset(side)
            return
        try:
            sent = forward(data, SEND)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.reset(peer)
            return
        length = len(data)
        if sent < length:
            peer.out, side.more = data[sent:], True
        elif length == MESSAGE or side.hup:
            self._read_bulk(side, peer)
        # else a short read: drained (epoll(7)); a later FIN raises an edge of its own

    def _read_bulk(self, side: Side, peer: Side) -> None:
        buffer, recv_into, forward = self._buffer, side.sock.recv_into, side.forward
        assert forward is not None
        for _ in range(ROUNDS):
            try:
                length = recv_into(buffer, 0, RECV)
            except BlockingIOError:
                return
            except OSError:
                self.reset(side)
                return
            if length == 0:
                self._end(side)
                return
            view = buffer[:length]
            try:
                sent = forward(view, SEND)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.reset(peer)
                return
            if sent < length:
                peer.out, side.more = bytes(view[sent:]), True
                return
            if length < BULK and not side.hup:
                return
        side.more = True
        self.ready.append(side)

    def write(self, side: Side) -> None:
        """`side` is writable and has an unsent tail."""
        out = side.out
        assert out is not None
        try:
            sent = side.sock.send(out, SEND)
        except BlockingIOError:
            return
        except OSError:
            self.reset(side)
            return
        if sent < len(out):
            side.out = out[sent:]
            return
        side.out = None
        peer = side.peer
        assert peer is not None
        if peer.ended:
            self._shut(side)
        elif peer.more:
            peer.more = False
            self.read(peer)

    def resume(self) -> None:
        """Another turn for those whose last one ended early."""
        again, self.ready = self.ready, []
        for side in again:
            if side.flow is not None and side.more:
                side.more = False
                self.read(side)

    def reset(self, side: Side) -> None:
        """An error on one side is an RST on the other, never a clean FIN: truncation would look like success."""
        flow = side.flow
        if flow is None:
            return
        if side.peer is not None:
            linger_reset(side.peer)
        self._counters.reset += 1
        self._flows.close(flow)

    def _end(self, side: Side) -> None:
        """End of stream: pass it on once the peer has taken everything."""
        side.ended = True
        peer = side.peer
        assert peer is not None
        if peer.out is None:
            self._shut(peer)

    def _shut(self, side: Side) -> None:
        """`side` got all that its peer sent: pass the half-close on, or end the flow with the second one."""
        peer, flow = side.peer, side.flow
        assert peer is not None
        assert flow is not None
        if side.ended and peer.out is None:
            self._flows.close(flow)
            return
        try:
            side.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset(side)
