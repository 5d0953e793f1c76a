"""One relay worker: a plain edge-triggered epoll loop in a process of its own.

No asyncio: streams halve the request rate, uvloop's readers and sock_* calls cost 1.5 to 4 times as much CPU as
this loop, which comes out level with HAProxy per request.

    python -m forestay.dataplanes.relay.worker CONFIG     (JSON, see `WorkerConfig`)

The control process starts it with the listening socket inherited. From then on it needs nobody: it goes on placing
when the control process dies, and finds the next one by itself. It ends by SIGTERM or a DRAIN command.
"""

import gc
import json
import os
import resource
import secrets
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from forestay.dataplanes.relay.acceptor import Acceptor
from forestay.dataplanes.relay.client_rates import ClientGate, ClientRates
from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.dialer import Dialer
from forestay.dataplanes.relay.flow import FAILED, Flows, Side
from forestay.dataplanes.relay.frames import WIRE, Drain, Hello, code_version
from forestay.dataplanes.relay.idle import IdleSweep
from forestay.dataplanes.relay.link import Link
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.proxy_inbound import PENDING_MAX, ProxyInbound
from forestay.dataplanes.relay.pump import Pump
from forestay.dataplanes.relay.refusal import LINGERING_MAX, Refusal
from forestay.dataplanes.relay.shared_table import SharedTable

TICK_S = 0.01
"""Journal batches, queue and timeouts: a hundredth of the second between two tables."""
REST_S = 0.1
"""The same where nothing is due."""
EVENTS_MAX = 256
DESCRIPTORS_RESERVED = 64
"""For the epoll, the table, the link, the listener, Python itself."""

DESCRIPTORS_MAX = 1 << 20
"""The kernel's own limit where nobody has changed it (fs.nr_open)."""

TRACEBACKS_MAX = 100
"""In the log of one worker."""

MESSAGE = select.EPOLLIN | select.EPOLLOUT
HANGUP = select.EPOLLRDHUP | FAILED
READABLE = select.EPOLLIN | HANGUP


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Command line of a worker.

    Attributes:
        spec: `ListenerSpec.to_json`.
        listener: inherited descriptor of the listening socket.
        table: path of the shared table's current generation.
        column: this worker's column in it.
        picker: 16-bit number in its connection ids; tells its connections from those of the column's earlier owners.
        control: path of the control process's socket.
    """

    spec: str
    listener: int
    table: str
    column: int
    picker: int
    control: str


class ConnectionIds:
    """Connection ids: 48-bit Unix milliseconds, 16-bit picker, 64-bit counter from a random start; time-ordered."""

    def __init__(self, picker: int, wall_s: float) -> None:
        self._picker, self._counter = f"{picker:04x}", secrets.randbits(63)
        self.advance(wall_s)

    def advance(self, wall_s: float) -> None:
        """Set the time of the ids to come."""
        self._prefix = f"{int(wall_s * 1000):012x}{self._picker}"

    def next(self) -> str:
        """A new id."""
        self._counter += 1
        return f"{self._prefix}{self._counter:016x}"


class Worker:
    """Wires the parts together and runs them. The parts do not know the loop."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._spec = spec = ListenerSpec.from_json(config.spec)
        self._wall_offset_s = _wall_offset_s()
        self._ids = ConnectionIds(config.picker, time.monotonic() + self._wall_offset_s)
        self._counters = counters = Counters()
        self._epoll = select.epoll()
        self._picker = Picker(
            SharedTable.open(Path(config.table)),
            config.column,
            spec.policy,
            seed=config.picker,
            zone=spec.zone,
            zone_factor=spec.zone_factor,
        )
        self._flows = flows = Flows(self._epoll, self._picker, counters)
        flows.now_s = time.monotonic()
        self._pump = Pump(flows, counters)
        counters.connections_ceiling, queue_max = self._limits(spec)
        self._refusal = Refusal(flows, http=spec.protocol == "http", retry_after_s=max(1, round(spec.queue_deadline_s)))
        self._dialer = Dialer(
            spec, flows, self._picker, self._pump, self._refusal, counters,
            counters.connections_ceiling, queue_max, lambda: self._wall_offset_s,
        )  # fmt: skip
        on_flow = self._dialer.place
        if spec.client_rate_per_s:
            path = Path(config.table).with_name(f"{spec.cluster}.{spec.name}.clients")
            rates = ClientRates(path, spec.client_rate_per_s, spec.client_burst)
            on_flow = ClientGate(rates, flows, counters, self._refusal.refuse, on_flow).greet
        self._inbound = ProxyInbound(flows, counters, on_flow)
        listener = socket.socket(fileno=config.listener)
        listener.setblocking(False)
        self._acceptor = Acceptor(
            listener, spec.workers > 1, flows, counters, self._ids.next,
            self._inbound.greet if spec.proxy_in else on_flow,
        )  # fmt: skip
        self._sweep = IdleSweep(flows, counters, spec.idle_timeout_s)
        self._link = Link(
            config.control, self._epoll, flows, self._picker, counters,
            self._hello, lambda: self._acceptor.descriptor, self._drain,
        )  # fmt: skip
        self._drain_until_s: float | None = None
        self._terminated = self._restless = False
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the control process's to answer

    def run(self) -> None:
        """Until drained."""
        gc.collect()
        gc.freeze()
        gc.disable()
        poll, flows, pump = self._epoll.poll, self._flows, self._pump
        side_of, read, write, monotonic = flows.sides.get, pump.read, pump.write, time.monotonic
        next_tick_s = 0.0
        events: list[tuple[int, int]] = []
        while True:
            # After events a tick is due soon, to report them; it then says whether more are needed.
            wait_s = 0.0 if pump.ready else TICK_S if events or self._restless else REST_S
            events = poll(wait_s, EVENTS_MAX)
            flows.now_s = now_s = monotonic()
            for descriptor, event in events:
                side = side_of(descriptor)
                try:
                    if side is None:
                        self._on_other(descriptor, now_s)
                    elif event == MESSAGE and side.live and not side.ended:  # by far the most frequent
                        if side.out is None:
                            read(side)
                        else:
                            write(side)
                            if side.flow is not None:
                                read(side)
                    elif side.live:
                        if event & select.EPOLLOUT and side.out is not None:
                            write(side)
                        if side.flow is not None and event & READABLE:
                            if not side.ended:
                                if event & HANGUP:
                                    side.hup = True
                                read(side)
                            elif event & select.EPOLLERR:  # HUP alone is the normal end of both halves
                                pump.reset(side)
                    elif side.on_event is not None and side.flow is not None:
                        side.on_event(side.flow, event)
                except Exception:  # a defect met by one connection must not end the thousands of others
                    self._contain(side)
            if pump.ready:
                pump.resume()
            if now_s >= next_tick_s:
                next_tick_s = now_s + TICK_S
                if not self._tick(now_s):
                    return
            if flows.graves:
                flows.bury()

    def _contain(self, side: Side | None) -> None:
        self._counters.internal_errors += 1
        if self._counters.internal_errors <= TRACEBACKS_MAX:
            traceback.print_exc()
        if side is not None and side.flow is not None:
            self._flows.reset(side.flow)

    def _on_other(self, descriptor: int, now_s: float) -> None:
        """Events of what is not a flow's socket."""
        if descriptor == self._acceptor.descriptor:
            self._acceptor.accept()
        elif descriptor == self._link.descriptor:
            self._link.on_event(now_s)
        elif descriptor == self._wake:
            os.read(self._wake, 512)
        # else: of a flow that an earlier event of this batch closed

    def _tick(self, now_s: float) -> bool:
        """What time brings. False: drained, the end."""
        counters, picker = self._counters, self._picker
        if self._terminated and self._drain_until_s is None:
            self._drain(Drain(self._spec.drain_s, accept_rest=True))
        self._wall_offset_s = _wall_offset_s()
        self._ids.advance(now_s + self._wall_offset_s)
        picker.refresh()
        self._dialer.tick(now_s)
        self._inbound.tick(now_s)
        self._refusal.tick(now_s)
        self._sweep.tick(now_s)
        self._acceptor.tick(now_s)
        counters.waiting, counters.stale = self._dialer.waiting, int(picker.is_stale(now_s))
        counters.stale_picks, counters.penalty_picks = picker.stale_picks, picker.penalty_picks
        counters.torn_reads = picker.torn_reads
        if self._drain_until_s is not None and (not counters.open or now_s >= self._drain_until_s):
            self._end(now_s)
            return False
        self._link.tick(now_s)
        draining = self._drain_until_s is not None
        self._restless = draining or self._link.busy or self._dialer.busy or bool(self._flows.journal)
        return True

    def _drain(self, command: Drain) -> None:
        """Stop accepting; what is open may go on. Again: a new deadline."""
        self._acceptor.close(command.accept_rest)
        self._drain_until_s = self._flows.now_s + command.drain_s
        self._counters.draining = 1
        self._link.send_counters()  # a successor is needed now

    def _end(self, now_s: float) -> None:
        flows = self._flows
        for side in list(flows.sides.values()):
            if side.flow is not None:
                self._counters.drain_closed += 1
                flows.reset(side.flow)
        flows.bury()
        self._link.close(now_s)

    def _on_sigterm(self, *_: object) -> None:
        self._terminated = True

    def _hello(self) -> Hello:
        return Hello(
            column=self._config.column,
            name=self._spec.name,
            address=self._spec.address,
            spec=self._config.spec,
            version=code_version(),
            wire=WIRE,
            draining=bool(self._counters.draining),
        )

    def _limits(self, spec: ListenerSpec) -> tuple[int, int]:
        """Connections and waiting ones that this worker may have: its share of the settings, within its descriptors."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
        queue_max = -(-spec.queue_max // spec.workers)
        single = DESCRIPTORS_RESERVED + queue_max
        single += LINGERING_MAX * (spec.protocol == "http") + PENDING_MAX * spec.proxy_in
        ceiling = max(1, (descriptors - single) // 2)
        if spec.connections_max is not None:
            ceiling = min(ceiling, -(-spec.connections_max // spec.workers))
        return ceiling, queue_max


def _wall_offset_s() -> float:
    """Unix time minus monotonic time; asked again every tick, because the wall clock may be set."""
    return time.time() - time.monotonic()  # noqa: TID251 # a worker is a shell: connections are recorded in Unix time


def main() -> None:
    """Entry point of the process."""
    Worker(WorkerConfig(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
