"""Reads the PROXY header of accepted connections where the listener demands one.

The header is peeked until it is whole and only then taken out of the kernel's buffer, to the byte: what follows stays
there until the endpoint is connected.
"""

import select
import socket
from collections.abc import Callable

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import FAILED, Flow, Flows
from forestay.dataplanes.relay.proxy_protocol import HEADER_MAX, BadHeader, parse

PENDING_MAX = 1024
"""Connections without a header at once; one more is refused."""

DEADLINE_S = 3.0
"""A trusted proxy sends its header with the first packet; a retransmitted one is here by then."""


class ProxyInbound:
    """See the module.

    Args:
        on_header: takes the flow once its header was read.
    """

    def __init__(self, flows: Flows, counters: Counters, on_header: Callable[[Flow], None]) -> None:
        self._flows, self._counters, self._on_header = flows, counters, on_header
        self._pending: dict[Flow, float] = {}  # deadlines; the timeout is constant, so they are in order

    def greet(self, flow: Flow) -> None:
        """Wait for the header of a flow that was just accepted."""
        if len(self._pending) >= PENDING_MAX:
            self._counters.proxy_rejected += 1
            self._flows.reset(flow)
            return
        self._pending[flow] = self._flows.now_s + DEADLINE_S
        # Edge-triggered: an incomplete header must not spin; every further packet is an edge.
        self._flows.watch(flow.client, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET, self._on_event)

    def tick(self, now_s: float) -> None:
        """Refuse those whose header does not come."""
        while self._pending:
            flow, deadline_s = next(iter(self._pending.items()))
            if deadline_s > now_s:
                break
            self._reject(flow)

    def _on_event(self, flow: Flow, events: int) -> None:
        sock = flow.client.sock
        try:
            data = sock.recv(HEADER_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            header = parse(data)
            if header is not None:
                sock.recv(header.length, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, BadHeader):
            self._reject(flow)
            return
        if header is None:
            if events & (FAILED | select.EPOLLRDHUP):  # there will never be more of it
                self._reject(flow)
            return
        del self._pending[flow]
        flow.client_address = header.source or flow.client_address
        flow.original = header.destination
        # Watched, but silent, until the flow is connected or waits.
        self._flows.watch(flow.client, select.EPOLLET, None)
        self._on_header(flow)

    def _reject(self, flow: Flow) -> None:
        del self._pending[flow]
        self._counters.proxy_rejected += 1
        self._flows.reset(flow)
