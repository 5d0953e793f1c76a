"""The registry over SQLite: how many opens and closes it takes, how soon they are durable, what a connection costs.

    python benchmarks/registry.py [--seconds 10] [--connections 100000] [--path DIR]

Rates are offered in an open loop (what is late is not waited for): each 10 ms some connections open, as many of the
oldest close, and the time until `flush` says they are durable is taken. The disk's own fdatasync is printed beside
them: it bounds everything. CPU is of the whole process, the thread of the file included.
"""

import argparse
import asyncio
import itertools
import os
import platform
import sqlite3
import statistics
import tempfile
import time
import tracemalloc
from collections import deque
from pathlib import Path

import structlog

from forestay.model.connection import Connection
from forestay.registries.index import Index
from forestay.registries.memory import MemoryStore
from forestay.registries.records import connection_key, encode_body
from forestay.registries.registry import Registry
from forestay.registries.sqlite import SqliteStore

ENDPOINTS = 100
TICK_S = 0.01
RATES_PER_S = (1_000, 5_000, 10_000)
REPEATS = 5


def connection(number: int) -> Connection:
    endpoint = number % ENDPOINTS
    return Connection(
        id=f"{1_700_000_000_000 + number // 10:012x}0001{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
        endpoint_id=f"10.0.1.{endpoint}:8080",
        client=f"192.0.{number // 250 % 250}.{number % 250}:{1024 + number % 60000}",
        opened_at=1_700_000_000.0 + number / 10_000,
        upstream=("10.1.0.1", 1024 + number % 60000, f"10.0.1.{endpoint}", 8080),
    )


def fdatasync_ms(directory: Path) -> tuple[float, float]:
    """Median and worst of 200, of 4 KiB each."""
    times = []
    descriptor = os.open(directory / "probe", os.O_RDWR | os.O_CREAT)
    for _ in range(200):
        os.pwrite(descriptor, os.urandom(4096), 0)
        started_s = time.perf_counter()
        os.fdatasync(descriptor)
        times.append((time.perf_counter() - started_s) * 1000)
    os.close(descriptor)
    return statistics.median(times), max(times)


async def offered(path: Path, rate_per_s: int, seconds: float) -> str:
    """Open `rate_per_s` connections a second and close as many, with 10,000 open."""
    store = await SqliteStore.open(path)
    registry = Registry(store, "bench")
    await registry.start()
    numbers = itertools.count()
    live = deque(connection(next(numbers)) for _ in range(10_000))
    for one in live:
        registry.register(one)
    await registry.flush()
    durable_ms: list[float] = []
    waiting: set[asyncio.Task[None]] = set()

    async def wait_durable(opened_s: float) -> None:
        await registry.flush()
        durable_ms.append((time.perf_counter() - opened_s) * 1000)

    per_tick = int(rate_per_s * TICK_S)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    making_s = 0.0
    for tick in range(int(seconds / TICK_S)):
        before_s = time.process_time()
        fresh = [connection(next(numbers)) for _ in range(per_tick)]
        making_s += time.process_time() - before_s
        for one in fresh:
            registry.register(one)
            registry.unregister(live.popleft().id)
        live.extend(fresh)
        task = asyncio.create_task(wait_durable(time.perf_counter()))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        await asyncio.sleep(max(0.0, started_s + (tick + 1) * TICK_S - time.perf_counter()))
    late_s = time.perf_counter() - started_s - seconds
    await asyncio.gather(*waiting)
    took_s = time.perf_counter() - started_s
    cpu = (time.process_time() - cpu_s - making_s) / took_s
    health = registry.health()
    size_bytes = _size(path)
    await registry.close()
    await store.close()
    durable_ms.sort()
    p50, p99 = (durable_ms[int(len(durable_ms) * q)] for q in (0.5, 0.99))
    return (
        f"  {rate_per_s:>6} opens/s + {rate_per_s:>6} closes/s  open -> durable p50 {p50:5.1f} p99 {p99:6.1f} "
        f"worst {durable_ms[-1]:6.1f} ms  CPU {cpu:.2f} cores  folds {health.folds}  retries {health.retries}  "
        f"file and log {size_bytes / 1e6:.1f} MB  generator late by {max(0.0, late_s) * 1000:.0f} ms"
    )


async def saturated(path: Path, connections: int) -> float:
    """Open and close as fast as the registry takes it, waiting for durability every 4,000."""
    store = await SqliteStore.open(path)
    registry = Registry(store, "bench", interval_s=0.0)
    await registry.start()
    made = [connection(number) for number in range(connections)]
    started_s = time.perf_counter()
    for start in range(0, connections, 4000):
        for one in made[start : start + 4000]:
            registry.register(one)
        await registry.flush()
    for start in range(0, connections, 4000):
        for one in made[start : start + 4000]:
            registry.unregister(one.id)
        await registry.flush()
    took_s = time.perf_counter() - started_s
    await registry.close()
    await store.close()
    return 2 * connections / took_s


async def calls(connections: int) -> str:
    """CPU of one call on the event loop, without the writing behind."""
    made = [connection(number) for number in range(connections)]
    costs_us: dict[str, list[float]] = {"register": [], "get": [], "unregister": []}
    for _ in range(REPEATS):
        registry = Registry(MemoryStore(), "bench")
        await registry.start()
        for name, costs in costs_us.items():
            call = getattr(registry, name)
            started_s = time.process_time()
            for one in made:
                call(one if name == "register" else one.id)
            costs.append((time.process_time() - started_s) / connections * 1e6)
        await registry.close(timeout_s=0.0)
    return "  " + "  ".join(f"{name} {statistics.median(costs):.1f} us" for name, costs in costs_us.items())


async def footprint(path: Path, connections: int) -> str:
    """Bytes per connection in memory and on disk, and how long a restart takes."""
    store = await SqliteStore.open(path)
    registry = Registry(store, "bench")
    await registry.start()
    for number in range(connections):
        registry.register(connection(number))
        if number % 4000 == 0:
            await registry.flush()
    await registry.flush()
    unfolded_bytes = _size(path)
    await registry.fold()
    await registry.close()
    await store.close()
    folded_bytes = _size(path)
    compact = path.with_name("compact.db")
    await asyncio.to_thread(_vacuum, path, compact)
    compact_bytes = _size(compact)

    store = await SqliteStore.open(path)
    registry = Registry(store, "bench")
    started_s = time.perf_counter()
    await registry.start()
    start_s = time.perf_counter() - started_s
    recovered = len(registry)
    registry.settle("0001", registry.recovered())
    await registry.close()
    await store.close()

    index = Index()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(connections):
        one = connection(number)
        index.put(connection_key(one.id), one.endpoint_id, encode_body(one))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (
        f"  {connections:,} connections: {(after - before) / connections:.0f} B each in memory; on disk "
        f"{compact_bytes / connections:.0f} B without free pages, {folded_bytes / connections:.0f} B after a fold, "
        f"{unfolded_bytes / connections:.0f} B before it with the log; restart {start_s:.2f} s for {recovered:,}"
    )


def _size(path: Path) -> int:
    """Of the file and its write-ahead log."""
    return sum(one.stat().st_size for one in (path, path.with_name(path.name + "-wal")) if one.exists())


def _vacuum(source: Path, target: Path) -> None:
    database = sqlite3.connect(source)
    database.execute("VACUUM INTO ?", (str(target),))
    database.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each offered rate")
    parser.add_argument("--connections", type=int, default=100_000, help="for the footprint")
    parser.add_argument("--path", type=Path, default=None, help="directory on the disk to measure")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    with tempfile.TemporaryDirectory(dir=given.path) as name:
        directory = Path(name)
        median_ms, worst_ms = fdatasync_ms(directory)
        load = os.getloadavg()[0]
        print(
            f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {load:.1f}, "
            f"fdatasync median {median_ms:.2f} worst {worst_ms:.2f} ms"
        )
        print("calls")
        print(await calls(50_000))
        print("offered")
        for rate_per_s in RATES_PER_S:
            print(await offered(directory / f"{rate_per_s}.db", rate_per_s, given.seconds), flush=True)
        print("saturated")
        rates = [await saturated(directory / f"saturated-{n}.db", 100_000) for n in range(REPEATS)]
        print(f"  {statistics.median(rates):,.0f} opens+closes/s, all durable (worst of {REPEATS}: {min(rates):,.0f})")
        print("footprint")
        print(await footprint(directory / "footprint.db", given.connections))


if __name__ == "__main__":
    asyncio.run(main())
