"""Runs of the relay benchmark: a load, a proxy under it, and what that cost."""

import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.compiled import compile_into
from benchmarks.contenders import Contender, Cpus, Running, direct
from benchmarks.processes import BenchmarkFailed, child, cpu_s, memory_kib

SERVERS = 4
SETTLE_S = 0.2
"""After a run, before CPU time is read: sockets close, the journal reaches the registry."""
TICK_S = 1.0
"""Of forestay's control process: after one, it has dealt with all that happened."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of load.

    Attributes:
        mode: of the load program.
        clients: at once.
        request_bytes: of bulk; 0: messages of 64 bytes.
        seconds: of one run, and of one with --quick.
    """

    title: str
    unit: str
    mode: str
    clients: int
    request_bytes: int
    seconds: tuple[float, float]

    @property
    def per_operation(self) -> float:
        """Units per operation of the load program: megabytes for bulk."""
        return self.request_bytes / MB or 1.0


KEEP_ALIVE = Phase("requests on 64 connections that stay", "request", "keepalive", 64, 0, (2.0, 0.5))
CONNECTIONS = Phase("connect, one request, close; 64 at once", "connection", "connections", 64, 0, (2.0, 0.5))
DOWNLOAD = Phase("download, 4 connections", "MB", "download", 4, 8 * MB, (1.5, 0.4))
UPLOAD = Phase("upload, 4 connections", "MB", "upload", 4, 8 * MB, (1.5, 0.4))
LATENCY = Phase("one client, one request at a time", "request", "keepalive", 1, 0, (1.5, 0.4))
PHASES = (KEEP_ALIVE, CONNECTIONS, DOWNLOAD, UPLOAD, LATENCY)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    Attributes:
        rate: units per second.
        cpu_us: of the processes that carry bytes, per unit.
        control_us: of forestay's control process, per unit; its ticks, health checks and API included.
        busy: share of one core that the carriers used.
        errors: refused, reset, cut.
    """

    rate: float
    cpu_us: float
    control_us: float
    busy: float
    p50_us: float
    p99_us: float
    errors: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Private memory per idle connection, KiB."""

    carriers_kib: float
    control_kib: float


Samples = dict[tuple[str, str], list[Sample]]
"""By contender's name and phase's title."""


def divide_cpus() -> Cpus:
    """The first core for the proxy, the others for the rest; no pinning on a single core."""
    first, *rest = sorted(os.sched_getaffinity(0))
    return Cpus((first,), tuple(rest)) if rest else Cpus((), ())


class Bench:
    """Runs loads against contenders."""

    def __init__(self, directory: Path, cpus: Cpus, quick: bool, progress: Progress) -> None:
        self._directory, self._cpus, self._quick, self._progress = directory, cpus, quick, progress
        self._programs = compile_into(directory)
        if cpus.rest:
            os.sched_setaffinity(0, cpus.rest)

    def throughput(self, present: Sequence[Contender], repeats: int) -> Samples:
        """All phases, interleaved: in every repeat each phase meets each contender once, in another order."""
        samples: Samples = defaultdict(list)
        everybody = [Contender("direct", direct), *present]
        task = self._progress.add_task("throughput", total=repeats * len(PHASES) * len(everybody))
        with ExitStack() as stack:
            servers = stack.enter_context(self._servers())
            running = [stack.enter_context(self._start(contender, servers)) for contender in everybody]
            for repeat in range(repeats):
                for phase in PHASES:
                    for contender in running[repeat % len(running) :] + running[: repeat % len(running)]:
                        self._progress.update(task, description=f"{contender.name}: {phase.title}")
                        samples[contender.name, phase.title].append(self._run(contender, phase))
                        self._progress.advance(task)
        return samples

    def memory(self, present: Sequence[Contender], connections: int, repeats: int) -> dict[str, list[Idle]]:
        """Growth of a proxy that was just started: later, memory that earlier connections left would hide it."""
        found: dict[str, list[Idle]] = defaultdict(list)
        task = self._progress.add_task("memory", total=repeats * len(present))
        with self._servers() as servers:
            for _ in range(repeats):
                for contender in present:
                    self._progress.update(task, description=f"{contender.name}: {connections} idle connections")
                    with self._start(contender, servers) as running:
                        self._load(running, "connections", 64, 0.05, 0)  # code paths and first arenas
                        found[contender.name].append(self._idle(running, connections))
                    self._progress.advance(task)
        return found

    @contextmanager
    def _servers(self) -> Iterator[list[int]]:
        command = [self._programs["backend"], SERVERS]
        with child(command, cpus=self._cpus.rest, stdout=subprocess.PIPE) as backend:
            assert backend.stdout is not None
            yield [int(port) for port in backend.stdout.readline().split()]

    @contextmanager
    def _start(self, contender: Contender, servers: Sequence[int]) -> Iterator[Running]:
        with (
            tempfile.TemporaryDirectory(dir=self._directory) as name,
            contender.start(Path(name), servers, self._cpus) as running,
        ):
            yield running

    def _run(self, contender: Running, phase: Phase) -> Sample:
        before_s, control_before_s = cpu_s(contender.carriers), cpu_s(contender.control)
        result = self._load(contender, phase.mode, phase.clients, phase.seconds[self._quick], phase.request_bytes)
        time.sleep(SETTLE_S)
        used_s, control_s = cpu_s(contender.carriers) - before_s, cpu_s(contender.control) - control_before_s
        units = result["operations"] * phase.per_operation
        if not units:
            raise BenchmarkFailed(f"{contender.name}: nothing came through ({phase.title})")
        return Sample(
            rate=units / result["seconds"],
            cpu_us=used_s / units * 1e6,
            control_us=control_s / units * 1e6,
            busy=used_s / result["seconds"],
            p50_us=result["latency_us"]["p50"],
            p99_us=result["latency_us"]["p99"],
            errors=result["errors"],
        )

    def _load(self, contender: Running, mode: str, clients: int, seconds: float, size: int) -> dict[str, Any]:
        command = [self._programs["load"], contender.port, mode, clients, seconds, size]
        with child(command, cpus=self._cpus.rest, stdout=subprocess.PIPE) as load:
            text, _ = load.communicate(timeout=seconds + 30)
        return parsed(text, contender)

    def _idle(self, contender: Running, connections: int) -> Idle:
        time.sleep(TICK_S + SETTLE_S)
        before, control_before = memory_kib(contender.carriers), memory_kib(contender.control)
        command = [self._programs["load"], contender.port, "hold", connections, 60, 0]
        with child(command, cpus=self._cpus.rest, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
            assert load.stdout is not None
            assert load.stdin is not None
            load.stdout.readline()
            time.sleep(TICK_S + SETTLE_S)
            after, control_after = memory_kib(contender.carriers), memory_kib(contender.control)
            load.stdin.close()
            result = parsed(load.stdout.read(), contender)
        if result["alive"] != connections:
            raise BenchmarkFailed(f"{contender.name}: {result['alive']} of {connections} idle connections lived")
        return Idle((after - before) / connections, (control_after - control_before) / connections)


def parsed(text: str, contender: Running) -> dict[str, Any]:
    """What the load program printed."""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise BenchmarkFailed(f"{contender.name}: the load program failed, see above") from None
    return found
