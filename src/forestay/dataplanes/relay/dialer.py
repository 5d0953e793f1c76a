"""From accepted to connected: pick an endpoint, connect to it, try the next one, or wait for one.

A client is not read before its endpoint is connected: its early bytes stay in the kernel, so a retry costs nothing and
there is no buffer to bound. Attempts are bounded by the time since the accept and not by their number: with most of
eight servers dead, three attempts are too few, and while a server restarts one deadline covers waiting and trying.
"""

import errno
import select
import socket
from collections import deque
from collections.abc import Callable
from itertools import islice

from forestay.dataplanes.relay import proxy_protocol
from forestay.dataplanes.relay.client_rates import client_key
from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import FAILED, NONBLOCKING, WATCH, Flow, Flows, RawSocket, Side
from forestay.dataplanes.relay.frames import Record
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.pump import Pump
from forestay.dataplanes.relay.refusal import Refusal
from forestay.placement.waiting import Drip, Queue

RETRY_MIN_S, RETRY_MAX_S = 0.1, 1.0
"""Pause before a flow that every endpoint failed tries them again: a quarter of its age, so that a full queue
before dead servers does not turn into a storm of connects."""
WAITING_PER_TICK = 4096
"""Looked at for their deadline."""
SERVED_PER_TICK, PASSED_OVER_MAX = 256, 64
"""Flows from the queue that are placed in one tick, and that are looked past because they pause after failures."""
HANGUP = select.EPOLLRDHUP | FAILED
CONNECT_PENDING = frozenset({0, errno.EINPROGRESS})


class Dialer:
    """See the module.

    Args:
        connections_max: flows of this worker that may be connected or connecting at once; more wait.
        queue_max: flows of this worker that may wait; more are refused.
        wall_offset_s: Unix time minus monotonic time.
    """

    def __init__(
        self,
        spec: ListenerSpec,
        flows: Flows,
        picker: Picker,
        pump: Pump,
        refusal: Refusal,
        counters: Counters,
        connections_max: int,
        queue_max: int,
        wall_offset_s: Callable[[], float],
    ) -> None:
        self._spec, self._flows, self._picker, self._pump, self._counters = spec, flows, picker, pump, counters
        self._refuse = refusal.refuse
        self._connections_max, self._wall_offset_s = connections_max, wall_offset_s
        self._connecting: deque[tuple[float, Side]] = deque()  # the timeout is constant, so it is ordered
        self._waiting: Queue[Flow] = Queue(queue_max)
        self._drip = Drip()

    @property
    def busy(self) -> bool:
        """Whether anything here needs a tick soon."""
        return bool(self._connecting or self._waiting.waiting)

    @property
    def waiting(self) -> int:
        """Flows in the queue."""
        return len(self._waiting)

    def place(self, flow: Flow) -> None:
        """Find an endpoint for a flow that has none."""
        flows = self._flows
        overtakes = self._waiting.waiting and not flow.tried and flow.id not in self._waiting
        if overtakes or flows.connected >= self._connections_max:
            self._wait(flow)
            return
        slot = self._picker.pick(flows.now_s, flow.tried)
        if slot >= 0:
            self._connect(flow, slot)
        elif flow.tried:
            pause_s = min(max((flows.now_s - flow.accepted_at_s) / 4, RETRY_MIN_S), RETRY_MAX_S)
            flow.tried, flow.not_before_s = (), flows.now_s + pause_s
            self._wait(flow)
        elif self._picker.shed:
            self._counters.shed += 1
            self._leave_queue(flow)
            self._refuse(flow)
        else:
            self._wait(flow)

    def tick(self, now_s: float) -> None:
        """Time out connects, serve the queue."""
        connecting = self._connecting
        while connecting:
            deadline_s, side = connecting[0]
            if deadline_s > now_s and side.flow is not None and not side.live:
                break
            connecting.popleft()
            if side.flow is not None and not side.live:
                self._counters.connect_timeout += 1
                self._failed(side.flow)
        if self._waiting.waiting:
            self._serve_queue(now_s)

    def _serve_queue(self, now_s: float) -> None:
        for flow in list(islice(self._waiting, WAITING_PER_TICK)):
            if now_s - flow.accepted_at_s >= self._spec.queue_deadline_s:
                self._counters.deadline += 1
                self._leave_queue(flow)
                self._refuse(flow)
        allowed = min(self._drip.allow(self._picker.places(now_s), now_s), SERVED_PER_TICK)
        for flow in self._waiting.first(allowed + PASSED_OVER_MAX) if allowed else ():
            if flow.not_before_s > now_s:
                continue
            if not allowed:
                break
            flow.not_before_s = 0.0
            self.place(flow)
            if flow.id in self._waiting and not flow.not_before_s:
                break  # nobody behind can be served either
            self._drip.take()
            allowed -= 1

    def _wait(self, flow: Flow) -> None:
        if flow.id in self._waiting:
            return
        if self._waiting.full:
            self._counters.shed += 1
            self._refuse(flow)
            return
        self._counters.queued += 1
        self._waiting.push(flow.id, flow, client_key(flow.client_address[0]))
        # Not EPOLLIN: its bytes stay where they are. A client that leaves must give up its place.
        self._flows.watch(flow.client, HANGUP | select.EPOLLET, self._on_waiting_event)

    def _leave_queue(self, flow: Flow) -> None:
        self._waiting.remove(flow.id)

    def _on_waiting_event(self, flow: Flow, events: int) -> None:
        if not events & FAILED:
            try:
                if flow.client.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    return  # it sent its request and half-closed: it still wants the answer
            except BlockingIOError:
                return
            except OSError:
                events |= FAILED  # an RST
        self._counters.abandoned += 1
        self._leave_queue(flow)
        self._flows.close(flow)

    def _connect(self, flow: Flow, slot: int) -> None:
        flows = self._flows
        target = self._picker.target(slot)
        try:
            sock = RawSocket(socket.AF_INET6 if ":" in target.host else socket.AF_INET, NONBLOCKING)
        except OSError:  # no descriptor: as if there were no endpoint right now
            self._counters.descriptors_exhausted += 1
            flows.journal.append((Record.ABORTED, slot))
            flow.not_before_s = flows.now_s + RETRY_MIN_S
            self._wait(flow)
            return
        self._leave_queue(flow)
        side = flows.connecting(flow, sock, slot, target)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sock.connect_ex((target.host, target.port)) not in CONNECT_PENDING:
            self._counters.connect_failed += 1
            self._failed(flow)
            return
        flows.watch(side, WATCH, self._on_connect_event)
        self._connecting.append((flows.now_s + self._spec.connect_timeout_s, side))

    def _on_connect_event(self, flow: Flow, events: int) -> None:
        if events & FAILED:
            self._counters.connect_failed += 1
            self._failed(flow)
        elif events & select.EPOLLOUT:
            self._established(flow, events)

    def _failed(self, flow: Flow) -> None:
        """An attempt came to nothing: this endpoint pays for it, and the next one is tried."""
        flows, slot, target = self._flows, flow.slot, flow.target
        assert target is not None
        flows.journal.append((Record.FAILED, flow.id, slot, target.endpoint_id, flows.now_s))
        self._picker.penalise(target.endpoint_id, flows.now_s)
        flows.disconnect(flow)
        flow.tried += (slot,)
        if flows.now_s - flow.accepted_at_s >= self._spec.queue_deadline_s:
            self._counters.deadline += 1
            self._refuse(flow)
        else:
            self.place(flow)

    def _established(self, flow: Flow, events: int) -> None:
        server, client, target, flows = flow.server, flow.client, flow.target, self._flows
        assert server is not None
        assert target is not None
        try:
            local = server.sock.getsockname()
        except OSError:
            local = None  # reset since
        if local is None or local[:2] == (target.host, target.port):  # a socket that met itself: nobody listens there
            self._counters.connect_failed += 1
            self._failed(flow)
            return
        flow.opened = (
            Record.OPENED, flow.id, flow.slot, target.endpoint_id, flow.client_address,
            (local[0], local[1], target.host, target.port), flows.now_s + self._wall_offset_s(), flows.now_s,
        )  # fmt: skip
        flows.journal.append(flow.opened)
        self._counters.placed += 1
        self._picker.absolve(target.endpoint_id)
        server.live = client.live = True
        client.on_event = server.on_event = None
        client.forward, server.forward = server.sock.send, client.sock.send
        if self._spec.proxy_out:
            self._send_header(flow, server)
        # The client's first message has usually come by now: reading before watching saves a turn.
        self._pump.read(client)
        if not flow.closed:
            flows.watch(client, WATCH, None)
            if events & select.EPOLLRDHUP:
                server.hup = True
            if events & select.EPOLLIN:  # a server that speaks first
                self._pump.read(server)

    def _send_header(self, flow: Flow, server: Side) -> None:
        destination = flow.original or flow.client.sock.getsockname()[:2]
        header = proxy_protocol.build(flow.client_address, destination, flow.id.encode())
        try:
            sent = server.sock.send(header, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            sent = 0  # an error will show at the next use of the socket
        if sent < len(header):
            server.out = header[sent:]
