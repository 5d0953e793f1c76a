"""The control process's side of the relay: publishes plans, passes on what workers report, keeps them running."""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog

from forestay.control.ports import ConnectionSink
from forestay.dataplanes.relay.addresses import Addresses
from forestay.dataplanes.relay.crew import Crew
from forestay.dataplanes.relay.ledger import Ledger
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.shared_table import SLOTS_MIN, SharedTable, TableUnusable, Target, encode_targets
from forestay.model.errors import ForestayError, InvalidInput
from forestay.model.plan import BoolArray, Plan, Table

RESOLVE_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class AlreadyRunning(ForestayError):
    """Another control process serves this cluster from the same runtime directory: end it, or choose another."""


class RelayPlane:
    """Relays the connections of one cluster's listeners. Implements `forestay.control.ports.DataPlane`.

    Args:
        cluster: name.
        listeners: at least one, of this cluster.
        runtime_dir: for sockets, locks and the shared table; best on a tmpfs, e.g. /run/forestay. Created with mode
            0700. The same directory after a restart is what workers are found by.
        slots: endpoints to make room for at first; more make the table move to a larger file.

    Raises:
        InvalidInput: if a listener belongs to another cluster, or two have one name or address.
    """

    def __init__(
        self, cluster: str, listeners: Sequence[ListenerSpec], runtime_dir: Path | str, slots: int = SLOTS_MIN
    ) -> None:
        self._cluster, self._dir, self._slots = cluster, Path(runtime_dir).resolve(), slots
        self._specs = {spec.name: spec for spec in listeners}
        fixed = [(spec.host, spec.port) for spec in listeners if spec.port]
        if len(self._specs) != len(listeners) or len(set(fixed)) != len(fixed) or not listeners:
            raise InvalidInput(f"cluster {cluster}: every listener needs a name and an address of its own")
        for spec in listeners:
            if spec.cluster != cluster:
                raise InvalidInput(f"listener {spec.name} belongs to cluster {spec.cluster}, not to {cluster}")
        self._addresses = Addresses()
        self._ledger = Ledger(slots)
        self._table: SharedTable | None = None
        self._crew: Crew | None = None
        self._plan: tuple[Table, float] | None = None
        self._named: tuple[tuple[Target | None, ...], tuple[str, ...]] = ((), ())
        self._known: BoolArray = np.zeros(0, np.bool_)
        self._names, self._names_version = b"", 0
        self._slot_of: dict[str, int] = {}
        self._lock: int | None = None
        self._resolver: asyncio.Task[None] | None = None

    async def start(self, sink: ConnectionSink) -> None:
        """Serve: adopt or replace the workers of an earlier life, start the others.

        Raises:
            AlreadyRunning: if another control process does.
            InvalidInput: if an address cannot be bound.
            forestay.dataplanes.relay.crew.WorkerFailed: if a worker does not come up. In all these cases workers of an
                earlier life go on, and those that were just started are ended.
        """
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self._table = self._open_table()
        self._ledger.widen(self._table.capacity)
        self._ledger.reset(0, self._table.placed_array(0))
        self._ledger.join(0)
        self._names_version = self._table.names_version
        control = self._dir / f"{self._cluster}.sock"
        self._crew = Crew(self._dir, control, self._specs, self._current_table, self._ledger, sink, self._write)
        try:
            await self._crew.start()
        except BaseException:
            self._crew.abandon()
            self._release()
            raise
        self._write()
        self._resolver = asyncio.get_running_loop().create_task(self._resolve())

    def publish(self, plan: Plan) -> None:
        """Make the plan's table the one that workers pick from.

        To be called right after the tick that made it: what was reported since would pass for part of its prices.
        """
        self._plan = (plan.table, plan.now_s)
        if self._table is not None:
            self._ledger.reset(0, self._table.placed_array(0))  # the balancer places these itself
            self._ledger.plan()
            self._write()

    def placed(self, endpoint_id: str) -> None:
        """The balancer placed a connection itself: count it for the workers."""
        slot = self._slot_of.get(endpoint_id)
        if slot is not None and self._table is not None:
            self._table.placed[0][slot] += 1

    async def roll(self) -> None:
        """Replace all workers by successors that run the code and settings of now; no connection is refused."""
        await self._running().roll()

    async def stop(self, drain_s: float) -> None:
        """Accept nothing new, let connections finish for up to `drain_s`, then reset the rest."""
        await self._stop_resolving()
        if self._crew is not None:
            await self._crew.stop(drain_s)
        self._release()

    async def detach(self) -> None:
        """Leave the workers and their connections to the next control process."""
        await self._stop_resolving()
        self._running().detach()
        self._release()

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port that each listener is bound to."""
        return self._running().addresses()

    def stats(self) -> dict[str, dict[str, int]]:
        """By listener: the fields of `counters.Counters`, and "workers". Growing counters never fall, whatever dies."""
        return self._running().stats()

    @property
    def worker_restarts(self) -> int:
        """Workers that died by themselves and were replaced."""
        return self._running().restarts

    def worker_pids(self) -> dict[str, list[int]]:
        """Processes by listener, draining ones included."""
        found: dict[str, list[int]] = {name: [] for name in self._specs}
        for member in self._running().members.values():
            if member.process is not None:
                found.setdefault(member.listener, []).append(member.process.pid)
        return found

    def _running(self) -> Crew:
        if self._crew is None:
            raise ForestayError(f"the relay of cluster {self._cluster} was not started: await start() first")
        return self._crew

    def _current_table(self) -> SharedTable:
        assert self._table is not None
        return self._table

    def _write(self) -> None:
        """Publish the last plan with the pickers and addresses of now."""
        if self._plan is None or self._table is None or self._crew is None:
            return
        plan, published_at_s = self._plan
        now_s = time.monotonic()
        targets = tuple(self._addresses.lookup(i, now_s) if i else None for i in plan.endpoint_ids)
        if (targets, plan.zones) != self._named or not self._names_version:
            self._named, self._names = (targets, plan.zones), encode_targets(targets, plan.zones)
            self._names_version += 1
            self._known = np.array([target is not None for target in targets], np.bool_)
            self._slot_of = {endpoint_id: slot for slot, endpoint_id in enumerate(plan.endpoint_ids) if endpoint_id}
            self._addresses.keep(self._slot_of)
        if not self._known.all():
            plan = replace(plan, slots=plan.slots * self._known, paced=plan.paced * self._known)
        table, count = self._table, len(targets)
        if not table.fits(plan, self._names):
            table = table.succeed(plan, self._names)
            self._ledger.widen(table.capacity)
            log.info("table_moved", cluster=self._cluster, slots=table.capacity, generation=table.generation)
        active = self._crew.active
        table.publish(plan, self._ledger.base(active, count), self._names, self._names_version, published_at_s, active)
        if table is not self._table:
            self._table.retire(table)
            self._table = table

    def _open_table(self) -> SharedTable:
        """The newest generation that is there, or a first one."""
        paths = SharedTable.paths(self._dir, self._cluster)
        newest = SharedTable.newest(self._dir, self._cluster)
        if newest is None:
            generation = int(paths[-1].suffix[1:]) + 1 if paths else 1
            return SharedTable.create(self._dir / f"{self._cluster}.table.{generation}", self._slots)
        for path in paths:
            if int(path.suffix[1:]) < newest.generation:
                # An earlier life died between publishing in a new generation and sending its workers there.
                with contextlib.suppress(TableUnusable):
                    SharedTable.open(path).retire(newest)
        return newest

    def _take_lock(self) -> int:
        lock = os.open(self._dir / f"{self._cluster}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise AlreadyRunning(
                f"another control process serves cluster {self._cluster} from {self._dir}: "
                "end it, or set another runtime_dir"
            ) from error
        return lock

    def _release(self) -> None:
        self._table = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _resolve(self) -> None:
        while True:
            if await self._addresses.refresh(time.monotonic()):
                self._write()
            await asyncio.sleep(RESOLVE_EVERY_S)

    async def _stop_resolving(self) -> None:
        if self._resolver is not None:
            self._resolver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._resolver
            self._resolver = None
