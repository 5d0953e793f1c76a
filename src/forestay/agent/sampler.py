"""Measures one server: use of its machine, process tree or control group, its connections, and its own status."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from forestay.agent.settings import AgentSettings
from forestay.agent.status import STATUS_METRICS, Status, StatusUnusable
from forestay.control.address import split_address
from forestay.telemetry.exposition import Meter, PageMalformed
from forestay.telemetry.host import Budget, ControlGroup, Host, Links, ProcessTree, Target, TargetLost
from forestay.telemetry.page import FetchFailed, fetch
from forestay.telemetry.reports import FRACTION_MAX, OpenSockets, Report, digest
from forestay.telemetry.sockets import FourTuple, SocketLister, SocketsUnreadable
from forestay.telemetry.usage import Reading, usage

log = structlog.get_logger(__name__)

METRICS_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        ended_s: end of its window, monotonic seconds.
        report: what to send; its `connections` hold count and digest, not the list.
        sockets: the list.
    """

    ended_s: float
    report: Report
    sockets: tuple[FourTuple, ...] = ()


class Sampler:
    """Takes one sample after another; each is about the time since the one before."""

    def __init__(
        self, settings: AgentSettings, client: httpx.AsyncClient, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is measured yet.

        Args:
            settings: what to measure.
            client: for the server's pages.
            now_s: the clock.

        Raises:
            InvalidInput: the metrics or the control group cannot be used.
        """
        self._settings = settings
        self._client = client
        self._now_s = now_s
        mbit_per_s = settings.link_mbit_per_s
        self._links = Links(settings.interfaces, None if mbit_per_s is None else mbit_per_s * 1e6)
        self._budget = Budget(settings.cpu_budget, settings.memory_limit_bytes)
        self._ports = settings.ports or (split_address(settings.endpoint)[1],)
        self._status = Status(settings.status) if settings.status else None
        self._status_meter = Meter(STATUS_METRICS)
        self._page_meter = Meter(settings.metrics) if settings.metrics else None
        self._target: Target | None = None
        self._sockets: SocketLister | None = None
        self._before: Reading | None = None
        self._troubles: set[str] = set()
        if settings.cgroup is not None:
            self._target = ControlGroup(settings.cgroup, self._budget, self._links)

    async def sample(self) -> Sample | None:
        """Measure now.

        Returns:
            None: nothing to compare with yet.

        Raises:
            TargetLost: the process or control group is gone; the next call looks for its successor.
        """
        measured = await self._ask_server()
        try:
            target = self._target = self._target or self._find_target()
            reading = target.read(self._now_s())
        except TargetLost:
            if self._settings.cgroup is None:
                self._target = self._sockets = None
            self._before = None
            raise
        before, self._before = self._before, reading
        used = None if before is None else usage(before, reading)
        if used is None:
            return None
        for name in ("cpu", "memory", "network"):
            if (value := getattr(used, name)) is not None:
                measured[name] = min(value, FRACTION_MAX)  # a tiny budget can be overdrawn without any mistake
        if self._settings.load_from != "server":
            measured.pop("load", None)
        if self._settings.load_from in ("cpu", "network"):
            measured["load"] = measured.get(self._settings.load_from)
        sockets = self._list_sockets()
        report = Report(
            cluster=self._settings.cluster,
            endpoint=self._settings.endpoint,
            connections=None if sockets is None else OpenSockets(count=len(sockets), digest=digest(sockets)),
            **measured,
        )
        return Sample(reading.at_s, report, tuple(sockets or ()))

    def _find_target(self) -> Target:
        settings = self._settings
        pid = settings.pid
        if settings.pid_file is not None:
            try:
                pid = int(settings.pid_file.read_text())
            except (OSError, ValueError) as error:
                raise TargetLost(f"pid_file {settings.pid_file}: {error}") from None
        if settings.sockets != "none":
            self._sockets = SocketLister(self._ports, pid)
        return Host(self._budget, self._links) if pid is None else ProcessTree(pid, self._budget, self._links)

    def _list_sockets(self) -> list[FourTuple] | None:
        if self._settings.sockets == "none":
            return None
        self._sockets = self._sockets or SocketLister(self._ports)
        try:
            found = self._sockets.established()
        except SocketsUnreadable as error:
            self._note("sockets", str(error))
            return None
        self._note("sockets", "")
        return found

    async def _ask_server(self) -> dict[str, Any]:
        """What the server says of itself; less when it says nothing, because its load is seen from outside too."""
        timeout_s = self._settings.timeout_s / 2  # asking and sending together must fit into an interval
        measured: dict[str, Any] = {}
        if self._status is not None:
            try:
                page = await self._status.read(self._client, timeout_s, self._now_s())
                measured |= self._status_meter.measure(page, self._now_s())
                self._note("status", "")
            except (StatusUnusable, PageMalformed) as error:
                self._note("status", str(error))
        if self._page_meter is not None and self._settings.metrics_url is not None:
            url = self._settings.metrics_url
            try:
                body = await fetch(self._client, url, timeout_s=timeout_s, bytes_max=METRICS_BYTES_MAX)
                measured |= self._page_meter.measure(body.decode(errors="replace"), self._now_s())
                self._note("metrics", "")
            except (FetchFailed, PageMalformed) as error:
                self._note("metrics", str(error))
        return measured

    def _note(self, source: str, trouble: str) -> None:
        """Log a trouble when it begins and when it ends, not every second."""
        if trouble and source not in self._troubles:
            log.warning("source_unusable", source=source, why=trouble)
        if not trouble and source in self._troubles:
            log.info("source_usable_again", source=source)
        if trouble:
            self._troubles.add(source)
        else:
            self._troubles.discard(source)
