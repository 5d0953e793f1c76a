"""Closes connections on which no byte moved for the idle timeout, and has the kernel probe silent servers.

The kernel already stamps every socket, so messages are not stamped here: TCP_INFO of the client's side is asked for a
few flows per tick, such that every flow is looked at four times per timeout, and at least once a minute.
"""

import socket
import struct

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import Flows
from forestay.dataplanes.relay.sockets import keep_alive

LOOKS_PER_TIMEOUT = 4
LOOK_EVERY_S = 60.0
_LAST_DATA = struct.Struct("<44xI4xI")  # tcpi_last_data_sent, tcpi_last_data_recv: milliseconds ago


class IdleSweep:
    """See the module.

    Args:
        timeout_s: a connection idle for so long is closed, up to a quarter later.
    """

    def __init__(self, flows: Flows, counters: Counters, timeout_s: float) -> None:
        self._flows, self._counters, self._timeout_s = flows, counters, timeout_s
        self._pass_s = min(timeout_s / LOOKS_PER_TIMEOUT, LOOK_EVERY_S)
        self._todo: list[int] = []
        self._started_at_s = self._due = 0.0
        self._last_s = 0.0
        self._rate_per_s = 0.0

    def tick(self, now_s: float) -> None:
        """Look at the flows that are due."""
        if not self._todo:
            if now_s - self._started_at_s < self._pass_s:
                return
            self._todo = list(self._flows.sides)
            self._started_at_s = self._last_s = now_s
            self._rate_per_s, self._due = len(self._todo) / self._pass_s, 0.0
        self._due += (now_s - self._last_s) * self._rate_per_s
        self._last_s = now_s
        while self._todo and self._due >= 1.0:
            self._due -= 1.0
            self._look(self._todo.pop(), now_s)

    def _look(self, descriptor: int, now_s: float) -> None:
        side = self._flows.sides.get(descriptor)
        if side is None or side.flow is None or not side.live or side is not side.flow.client:
            return
        age_s = now_s - side.flow.accepted_at_s
        if age_s < 2 * self._pass_s and side.peer is not None:
            keep_alive(side.peer.sock)  # here and not at connect: short connections need not pay for it
        if age_s < self._timeout_s:
            return  # a socket that never sent reports the age of the machine
        try:
            sent_ms, received_ms = _LAST_DATA.unpack(
                side.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
            )
        except OSError:
            return  # gone: its event is on the way
        if min(sent_ms, received_ms) >= self._timeout_s * 1000:
            self._counters.idle_closed += 1
            self._flows.close(side.flow)
