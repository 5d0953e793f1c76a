"""Says no cleanly: an RST where the protocol is unknown, a 503 that really arrives where it is HTTP.

Closing a socket that still has unread bytes sends an RST, which makes the peer's kernel throw away what it had received
but not yet read: the 503 itself. So the answer waits for the request, is followed by a FIN, and what the client
still sends is read and thrown away until it closes too, or a deadline passes.
"""

import select
import socket
from collections import deque

from forestay.dataplanes.relay.flow import FAILED, Flow, Flows

LINGER_S = 2.0
LINGERING_MAX = 1024
DISCARD = 64 * 1024

BODY = b"all servers are busy\n"


def response(retry_after_s: int) -> bytes:
    """A complete HTTP/1.1 503."""
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nConnection: close\r\n"
        b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (retry_after_s, len(BODY), BODY)
    )


class Refusal:
    """Refuses flows.

    Args:
        http: answer by a 503.
        retry_after_s: what it tells the client.
    """

    def __init__(self, flows: Flows, http: bool, retry_after_s: int) -> None:
        self._flows, self._http = flows, http
        self._response = response(retry_after_s)
        self._lingering: deque[tuple[float, Flow]] = deque()
        self._answered: set[Flow] = set()

    def refuse(self, flow: Flow) -> None:
        """End a flow that has no endpoint."""
        if not self._http or len(self._lingering) >= LINGERING_MAX:
            self._flows.reset(flow)
            return
        self._lingering.append((self._flows.now_s + LINGER_S, flow))
        self._flows.watch(flow.client, select.EPOLLIN | select.EPOLLRDHUP, self._on_event)

    def tick(self, now_s: float) -> None:
        """End those that linger too long."""
        lingering = self._lingering
        while lingering and (lingering[0][1].closed or lingering[0][0] <= now_s):
            _, flow = lingering.popleft()
            self._close(flow)

    def _on_event(self, flow: Flow, events: int) -> None:
        sock = flow.client.sock
        try:
            data = sock.recv(DISCARD, socket.MSG_DONTWAIT)
            if data and flow not in self._answered:
                self._answered.add(flow)
                sock.send(self._response, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)  # an empty buffer takes it whole
                sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or events & FAILED:
            self._close(flow)

    def _close(self, flow: Flow) -> None:
        self._answered.discard(flow)
        self._flows.close(flow)
