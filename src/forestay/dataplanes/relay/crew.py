"""Keeps every listener staffed with worker processes of the present code and settings.

A worker outlives the control process. The next one adopts it if it runs the same code with the same settings, and
otherwise hands over: a successor gets the listening socket, then the predecessor drains. `roll` does so on demand. The
socket is shared, so at no moment does nobody accept from it.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from forestay.control.ports import ConnectionSink
from forestay.dataplanes.relay import member as members
from forestay.dataplanes.relay import processes
from forestay.dataplanes.relay.frames import WIRE, BadFrame, Drain, Hello, Kind, code_version
from forestay.dataplanes.relay.ledger import Ledger
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.member import Member
from forestay.dataplanes.relay.reception import Reception, Visitor
from forestay.dataplanes.relay.shared_table import COLUMNS, SharedTable
from forestay.dataplanes.relay.sockets import ListeningSockets
from forestay.dataplanes.relay.tally import Tally
from forestay.dataplanes.relay.worker import WorkerConfig
from forestay.model.errors import ForestayError

RETURN_S = 5.0
"""Workers of an earlier life knock every 0.15 s; one that is stopped must not hold the start up."""
READY_S = 20.0
"""From exec to HELLO takes half a second; a loaded machine may need a few."""
STRANGER_DRAIN_S = 30.0
"""For connections of a listener that is no longer configured: its own `drain_s` went with it."""
RESTART_MIN_S, RESTART_MAX_S = 0.1, 5.0
LIVED_S = 5.0
KILL_GRACE_S = 2.0

log = structlog.get_logger(__name__)


class WorkerFailed(ForestayError):
    """A worker does not come up. The message has its last words."""


class Crew:
    """See the module.

    Args:
        runtime_dir: holds sockets and logs.
        control: path of the control socket, as workers are told it.
        specs: listeners by name.
        table: the current generation.
        on_change: pickers joined or left: publish again.
    """

    def __init__(
        self,
        runtime_dir: Path,
        control: Path,
        specs: dict[str, ListenerSpec],
        table: Callable[[], SharedTable],
        ledger: Ledger,
        sink: ConnectionSink,
        on_change: Callable[[], None],
    ) -> None:
        self._runtime_dir, self._control, self._specs = runtime_dir, control, specs
        self._table, self._ledger, self._sink, self._on_change = table, ledger, sink, on_change
        self.reception = Reception(control, self._on_frame, self._on_leave)
        self.members: dict[int, Member] = {}  # by column
        self._sockets = ListeningSockets()
        self._tally = Tally(specs)
        self._understaffed: set[str] = set()
        self._failures = dict.fromkeys(specs, 0)
        self._staffing = {name: asyncio.Lock() for name in specs}
        self._started = self._stopping = False
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.restarts = 0

    @property
    def active(self) -> tuple[int, ...]:
        """Columns that count: the control process's own and those of all workers, draining ones included."""
        return (0, *sorted(self.members))

    async def start(self) -> None:
        """Find the workers of an earlier life, adopt or replace them, start what is missing.

        Raises:
            InvalidInput: if an address cannot be bound.
            WorkerFailed: if a worker does not come up.
        """
        self.reception.open()
        self._expect_earlier()
        if not await self._wait(lambda: all(m.ready.is_set() for m in self.members.values()), RETURN_S):
            silent = [m.process.pid for m in self.members.values() if m.process and not m.ready.is_set()]
            log.warning("workers_silent", pids=silent, waited_s=RETURN_S)
        for spec in self._specs.values():
            self._sockets.open(spec)
        self._sockets.close_all_but(self._specs.values())
        for name in self._specs:
            await self._staff(name)
        self._dismiss_strangers()
        self._started = True

    async def roll(self) -> None:
        """Replace every worker by a successor that runs what is installed now; nobody is refused."""
        for name in self._specs:
            for member in self._of(name):
                member.outdated = True
            await self._staff(name)

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where each listener really listens."""
        found = {}
        for name, spec in self._specs.items():
            host, port = self._sockets.of(spec).getsockname()[:2]
            found[name] = (host, port)
        return found

    async def stop(self, drain_s: float) -> None:
        """Drain all workers for up to `drain_s`, then end them."""
        self._stopping = True
        self._sockets.close_all_but(())
        for member in self.members.values():
            self._drain(member, drain_s, accept_rest=True)
        if not await self._wait(lambda: not self.members, drain_s + KILL_GRACE_S):
            for member in self.members.values():
                log.warning("worker_killed", pid=member.process.pid if member.process else None)
                if member.process is not None:
                    member.process.kill()
            await self._wait(lambda: not self.members, KILL_GRACE_S)
        self._leave()

    def abandon(self) -> None:
        """A start failed: end the workers that this process started, leave the others alone."""
        self._give_up([member for member in self.members.values() if member.process and member.process.is_child])
        self.detach()

    def detach(self) -> None:
        """Leave all workers running, for the next control process."""
        self._stopping = True
        self._sockets.close_all_but(())
        for member in self.members.values():
            if member.process is not None:
                member.process.forget()
        self._leave()

    def stats(self) -> dict[str, dict[str, int]]:
        """Counters by listener, of all its workers that ever were; gauges of those that are."""
        return self._tally.of(self.members.values())

    # -- workers of an earlier life

    def _expect_earlier(self) -> None:
        table = self._table()
        for column in range(1, COLUMNS):
            pid = table.owners[column]
            if not pid:
                continue
            member = Member(column, _picker(column, table.incarnations[column]))
            try:
                alive = processes.is_worker(pid, str(self._control))
                if alive:
                    self._watch(member, processes.WorkerProcess(pid, lambda m=member: self._on_exit(m)))  # type: ignore[misc] # mypy cannot infer a lambda with a default
            except ProcessLookupError:
                alive = False
            if not alive:
                self._vacate(member)
                members.bury(member, self._sink, time.monotonic())

    def _dismiss_strangers(self) -> None:
        """Workers whose listener is no longer configured drain."""
        for member in list(self.members.values()):
            if member.listener not in self._specs and member.ready.is_set() and not member.draining:
                self._drain(member, STRANGER_DRAIN_S, accept_rest=True)

    # -- staffing

    def _of(self, name: str) -> list[Member]:
        return [m for m in self.members.values() if m.listener == name and not m.draining]

    async def _staff(self, name: str) -> None:
        """Start successors until enough workers are up to date, then drain the others."""
        async with self._staffing[name]:
            await self._staff_alone(self._specs[name])

    async def _staff_alone(self, spec: ListenerSpec) -> None:
        name = spec.name
        current = [m for m in self._of(name) if not m.outdated]
        started = [self._start(spec) for _ in range(spec.workers - len(current))]
        if started:
            await self._wait(lambda: all(m.ready.is_set() or m.column not in self.members for m in started), READY_S)
        for member in started:
            if not member.ready.is_set():
                self._give_up(started)
                raise WorkerFailed(
                    f"listener {name}: a worker did not come up: {processes.last_words(self._log_path(member))}"
                )
        current += started
        for member in self._of(name):
            if member.outdated or member not in current[: spec.workers]:
                moved = member.address != spec.address
                self._drain(member, spec.handover_s, accept_rest=moved)

    def _give_up(self, started: list[Member]) -> None:
        """End those of a failed start; who has served till now goes on."""
        for member in started:
            member.draining = True
            if member.process is not None:
                member.process.kill()

    def _start(self, spec: ListenerSpec) -> Member:
        if self._stopping:
            raise WorkerFailed(f"listener {spec.name}: the relay is being stopped")
        table = self._table()
        column = next((c for c in range(1, COLUMNS) if c not in self.members and not table.owners[c]), None)
        if column is None:
            raise WorkerFailed(f"{COLUMNS - 1} workers are running or draining: wait for some to finish")
        table.incarnations[column] += 1
        picker = _picker(column, table.incarnations[column])
        member = Member(column, picker, spec.name, spec.address)
        self.members[column] = member
        self._ledger.join(column)
        self._on_change()  # the others must count its picks from the first one on
        config = WorkerConfig(
            spec=spec.to_json(),
            listener=self._sockets.of(spec).fileno(),
            table=str(self._table().path),
            column=column,
            picker=member.picker,
            control=str(self._control),
        )
        self._watch(member, processes.start(config, self._log_path(member), lambda: self._on_exit(member)))
        return member

    def _watch(self, member: Member, process: processes.WorkerProcess) -> None:
        member.process = process
        self.members[member.column] = member
        self._table().owners[member.column] = process.pid

    def _drain(self, member: Member, drain_s: float, accept_rest: bool) -> None:
        member.draining = True
        told = member.visitor is not None and member.visitor.send(Drain(drain_s, accept_rest).encode())
        if not told and member.process is not None:
            member.process.terminate()

    def _on_exit(self, member: Member) -> None:
        if member.visitor is not None:
            self.reception.read_rest(member.visitor)
        members.bury(member, self._sink, time.monotonic())
        last_words = processes.last_words(self._log_path(member))
        self._vacate(member)
        self._tally.retire(member)
        self._on_change()
        self._notify()
        if not (member.draining or self._stopping) and member.listener in self._specs:
            self._restart(member, last_words)

    def _vacate(self, member: Member) -> None:
        """Free the column. What its picker placed without telling is accounted for by its death."""
        table, column = self._table(), member.column
        self.members.pop(column, None)
        self._ledger.reset(column, table.placed_array(column))
        table.held_array(column)[:] = 0
        table.owners[column] = 0
        self._log_path(member).unlink(missing_ok=True)

    def _restart(self, member: Member, last_words: str) -> None:
        """A worker died by itself: replace it, ever slower while they die young."""
        name = member.listener
        lived_s = time.monotonic() - member.started_at_s
        failures = self._failures[name] = 0 if lived_s > LIVED_S else self._failures[name] + 1
        delay_s = min(RESTART_MAX_S, RESTART_MIN_S * 2**failures) if failures else 0.0
        self.restarts += 1
        log.error("worker_died", listener=name, lived_s=round(lived_s, 3), restart_in_s=delay_s, last_words=last_words)
        self._staff_soon(name, delay_s)

    def _staff_soon(self, name: str, delay_s: float) -> None:
        """Staff in the background, once, however many reasons there are."""
        if name not in self._understaffed:
            self._understaffed.add(name)
            self._spawn(self._staff_later(name, delay_s))

    async def _staff_later(self, name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._understaffed.discard(name)
        if self._stopping or name not in self._specs:
            return
        try:
            await self._staff(name)
        except WorkerFailed as error:
            log.error("worker_not_replaced", listener=name, error=str(error), next_try_s=RESTART_MAX_S)
            self._staff_soon(name, RESTART_MAX_S)

    # -- links

    def _on_frame(self, visitor: Visitor, kind: int, payload: bytes) -> None:
        if kind == Kind.HELLO:
            self._on_hello(visitor, payload)
            return
        member = visitor.owner
        if not isinstance(member, Member):
            raise BadFrame("a frame before HELLO")
        if member.foreign:
            return
        members.receive(member, kind, payload, self._sink, self._ledger)
        if kind == Kind.RESYNCED:
            self._notify()
            if self._started and not (member.process and member.process.is_child):
                self._staff_soon(member.listener, 0.0)  # it was silent at the start: now there may be too many
        elif member.counters.get("draining") and not member.draining:  # an operator sent it SIGTERM
            self._on_draining(member)

    def _on_draining(self, member: Member) -> None:
        """It drains without having been told by this process."""
        member.draining = True
        if self._started:
            log.info("worker_drains", listener=member.listener, pid=member.process.pid if member.process else None)
            self._staff_soon(member.listener, 0.0)

    def _on_hello(self, visitor: Visitor, payload: bytes) -> None:
        hello = Hello.decode(payload)
        member = self.members.get(hello.column)
        if member is None or member.process is None or member.process.pid != visitor.pid:
            raise BadFrame(f"HELLO of process {visitor.pid}, which does not own column {hello.column}")
        visitor.owner, member.visitor = member, visitor
        member.listener, member.address = hello.name, hello.address
        if hello.draining and not member.draining:
            self._on_draining(member)
        wanted = self._specs.get(hello.name)
        member.outdated |= hello.version != code_version() or wanted is None or hello.spec != wanted.to_json()
        member.foreign = hello.wire != WIRE
        if member.foreign:
            log.warning(
                "worker_foreign", listener=hello.name, pid=visitor.pid, consequence="its connections are not known"
            )
            member.ready.set()
        for descriptor in visitor.descriptors:
            self._sockets.adopt(hello.name, hello.address, descriptor)
        visitor.descriptors.clear()
        if self._stopping:
            self._sockets.close_all_but(())

    def _on_leave(self, visitor: Visitor) -> None:
        if isinstance(visitor.owner, Member) and visitor.owner.visitor is visitor:
            visitor.owner.visitor = None

    # -- waiting

    async def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Until `condition` holds, looked at whenever a worker comes or goes; False if it does not in time."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return False
        return True

    def _notify(self) -> None:
        self._spawn(self._notify_all())

    async def _notify_all(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- leaving

    def _leave(self) -> None:
        self.reception.close()
        for task in self._tasks:
            task.cancel()

    def _log_path(self, member: Member) -> Path:
        return self._runtime_dir / f"{self._control.stem}.worker-{member.owner}.log"


def _picker(column: int, incarnation: int) -> int:
    return (incarnation & 0xFF) << 8 | column
