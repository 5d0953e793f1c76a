"""Takes connections from the listening socket, which all workers of a listener share.

One socket for all, and not one per worker with SO_REUSEPORT: closing one of those resets the connections that wait in
its queue (39 of 5,600 in eight restarts), while a shared queue outlives any worker.
"""

import errno
import os
import select
import socket
from collections.abc import Callable

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import Flow, Flows, RawSocket
from forestay.dataplanes.relay.proxy_protocol import plain

PAUSE_S = 0.05
"""Without a descriptor a level-triggered listener would spin: leave it alone for a while."""
BATCH = 64
BATCH_SHARED = 8
"""Accepts per event: fewer where workers share, or the first to wake would take them all."""

GONE = frozenset({
    errno.ECONNABORTED, errno.EINTR, errno.EPERM,
    # errors of the network that accept(2) passes on
    errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH,
    errno.EOPNOTSUPP, errno.ENETUNREACH,
})  # fmt: skip
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
NONBLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
"""As the type it spares Python a system call; the descriptor itself still blocks, hence MSG_DONTWAIT everywhere."""


class Acceptor:
    """See the module.

    Args:
        listener: bound and listening, non-blocking. TCP options set on it are inherited by what it accepts.
        shared: other workers accept from it too.
        next_id: makes connection ids.
        on_flow: takes every accepted flow.
    """

    def __init__(
        self,
        listener: socket.socket,
        shared: bool,
        flows: Flows,
        counters: Counters,
        next_id: Callable[[], str],
        on_flow: Callable[[Flow], None],
    ) -> None:
        self._listener, self._flows, self._counters = listener, flows, counters
        self._family, self._batch = listener.family, BATCH_SHARED if shared else BATCH
        self._accept: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined] # the C method: a descriptor instead of a socket object
        self._next_id, self._on_flow = next_id, on_flow
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._resume_at_s: float | None = None
        self.descriptor: int | None = listener.fileno()
        self._watch()

    def accept(self, batch: int | None = None) -> None:
        """Take what waits, up to a batch."""
        flows, counters, mapped = self._flows, self._counters, self._family == socket.AF_INET6
        for _ in range(batch or self._batch):
            try:
                descriptor, address = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._shed_one()
                    return
                if error.errno in GONE:
                    continue  # only that client is lost
                raise
            sock = RawSocket(self._family, NONBLOCKING, 0, descriptor)
            host, port = address[0], address[1]
            flow = Flow(self._next_id(), sock, (plain(host) if mapped else host, port), flows.now_s)
            counters.accepted += 1
            counters.open += 1
            self._on_flow(flow)

    def tick(self, now_s: float) -> None:
        """Listen again after a pause."""
        if self._resume_at_s is not None and now_s >= self._resume_at_s:
            self._resume_at_s = None
            if self.descriptor is not None:
                self._watch()

    def close(self, accept_rest: bool) -> None:
        """Stop accepting.

        Args:
            accept_rest: take what waits first: no successor will, and closing the socket resets it.
        """
        if self.descriptor is None:
            return
        if accept_rest:
            self.accept(batch=1 << 16)
        if self._resume_at_s is None:
            self._flows.epoll.unregister(self.descriptor)
        self._listener.close()
        self.descriptor = None
        os.close(self._spare)

    def _watch(self) -> None:
        assert self.descriptor is not None
        self._flows.epoll.register(self.descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _shed_one(self) -> None:
        """No descriptor left: end the first in the queue with the spare one, and pause."""
        self._counters.descriptors_exhausted += 1
        os.close(self._spare)
        try:
            descriptor, _ = self._accept()
            os.close(descriptor)
        except OSError:
            pass  # another worker took it
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        assert self.descriptor is not None
        self._flows.epoll.unregister(self.descriptor)
        self._resume_at_s = self._flows.now_s + PAUSE_S
