"""A worker's link to the control process. It never blocks the worker, and nothing is lost when the other end dies.

Each time the link comes up it first carries a *resync*: the picks that are accounted for, and every live connection.
After it come journal batches, in order, on a reliable stream. So there is nothing to acknowledge and nothing to keep
for resending: whatever the control process had not read, or not yet stored, when it died, is part of the next resync if
it still matters. The same answer serves a control process that is too slow: over `BACKLOG_MAX` bytes the link is
dropped, and comes up again with a resync.
"""

import marshal
import select
import socket
from array import array
from collections.abc import Callable

from forestay.dataplanes.relay.counters import NAMES, Counters
from forestay.dataplanes.relay.flow import NONBLOCKING, Flows
from forestay.dataplanes.relay.frames import BadFrame, Drain, FrameReader, Hello, Kind, encode
from forestay.dataplanes.relay.picker import Picker

BACKLOG_MAX = 8 << 20
RETRY_S = 0.15
LIVE_BATCH = 1000
"""Live connections per tick of a resync: some 2 ms each, so that traffic hardly notices."""
COUNTERS_EVERY_S = 0.5


class Link:
    """See the module.

    Args:
        path: of the control process's socket.
        hello: says who this worker is.
        listener: descriptor of the listening socket, sent along with HELLO; None once it is closed.
        on_drain: follows the command.
    """

    def __init__(
        self,
        path: str,
        epoll: select.epoll,
        flows: Flows,
        picker: Picker,
        counters: Counters,
        hello: Callable[[], Hello],
        listener: Callable[[], int | None],
        on_drain: Callable[[Drain], None],
    ) -> None:
        self._path, self._epoll, self._flows, self._picker, self._counters = path, epoll, flows, picker, counters
        self._hello, self._listener, self._on_drain = hello, listener, on_drain
        self._socket: socket.socket | None = None
        self._reader = FrameReader()
        self._out = bytearray()
        self._resync: list[tuple[object, ...]] | None = None
        self._retry_at_s = self._counters_at_s = 0.0
        self.descriptor = -1

    @property
    def busy(self) -> bool:
        """Whether there is more to send than one tick takes."""
        return self._resync is not None or bool(self._out)

    def tick(self, now_s: float) -> None:
        """Send what has gathered; connect where the link is down."""
        if self._socket is None:
            if now_s >= self._retry_at_s:
                self._connect(now_s)
            else:
                # covered by the resync to come: but for picks that came to nothing, which it covers as well
                self._flows.journal.clear()
            return
        if self._resync is not None:
            self._send_live()
        elif self._flows.journal:
            self._out += encode(Kind.JOURNAL, marshal.dumps(self._flows.journal))
            self._flows.journal.clear()
        if now_s >= self._counters_at_s:
            self._counters_at_s = now_s + COUNTERS_EVERY_S
            self.send_counters()
        self.flush(now_s)

    def send_counters(self) -> None:
        """Add the counters to what is sent next."""
        if self._socket is None:
            return
        counts = {name: getattr(self._counters, name) for name in NAMES}
        self._out += encode(Kind.COUNTERS, marshal.dumps(counts))

    def flush(self, now_s: float) -> None:
        """Send as much as the socket takes."""
        if self._socket is None or not self._out:
            return
        try:
            sent = self._socket.send(self._out, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(now_s)
            return
        del self._out[:sent]
        if len(self._out) > BACKLOG_MAX and self._resync is None:
            self._drop(now_s)

    def on_event(self, now_s: float) -> None:
        """The control process said something, or is gone."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(65_536)
            if not data:
                self._drop(now_s)
                return
            for kind, payload in self._reader.feed(data):
                if kind == Kind.DRAIN:
                    self._on_drain(Drain.decode(payload))
        except BlockingIOError:
            return
        except (OSError, BadFrame):
            self._drop(now_s)

    def close(self, now_s: float) -> None:
        """Say the last words and hang up; waits for the control process to read them, briefly."""
        if self._socket is None:
            return
        while self._resync is not None:
            self._send_live()
        if self._flows.journal:
            self._out += encode(Kind.JOURNAL, marshal.dumps(self._flows.journal))
        self.send_counters()
        self._socket.settimeout(1.0)
        try:
            self._socket.sendall(self._out)
        except OSError:
            self._out.clear()  # the control process will see the end of this process instead
        self._drop(now_s)

    def _connect(self, now_s: float) -> None:
        link = socket.socket(socket.AF_UNIX, NONBLOCKING)
        try:
            link.connect(self._path)
            self._begin(link)
        except OSError:  # nobody listens, or its backlog is full
            link.close()
            self._retry_at_s = now_s + RETRY_S
            self._flows.journal.clear()

    def _begin(self, link: socket.socket) -> None:
        """HELLO and the snapshot; the rest of the resync follows by ticks."""
        hello = self._hello().encode()
        listener = self._listener()
        sent = socket.send_fds(link, [hello], [] if listener is None else [listener])
        resolved = array("q", self._picker.placed)
        live: list[tuple[object, ...]] = []
        for side in list(self._flows.sides.values()):
            flow = side.flow
            if flow is None or side is not flow.server:
                continue
            if flow.opened is not None:
                live.append(flow.opened)
            else:
                resolved[flow.slot] -= 1  # its record is yet to come
        self._out = bytearray(hello[sent:]) + encode(Kind.RESOLVED, resolved.tobytes())
        self._resync = live
        self._flows.journal.clear()  # what it says is contained in the snapshot
        self._counters.resyncs += 1
        self._socket, self._reader, self.descriptor = link, FrameReader(), link.fileno()
        self._epoll.register(self.descriptor, select.EPOLLIN)

    def _send_live(self) -> None:
        assert self._resync is not None
        batch = self._resync[:LIVE_BATCH]
        del self._resync[:LIVE_BATCH]
        self._out += encode(Kind.LIVE, marshal.dumps(batch))
        if not self._resync:
            self._resync = None
            self._out += encode(Kind.RESYNCED)

    def _drop(self, now_s: float) -> None:
        if self._socket is not None:
            self._epoll.unregister(self.descriptor)
            self._socket.close()
        self._socket, self._resync, self.descriptor = None, None, -1
        self._out = bytearray()
        self._retry_at_s = now_s + RETRY_S
