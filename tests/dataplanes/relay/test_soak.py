"""Many connections for long, and a control process killed under load."""

import asyncio
import resource
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.dataplanes.relay.test_takeover import controlling, successor
from tests.dataplanes.relay.world import close_all, plan_of, relaying, runtime_directory, spec, until

pytestmark = [pytest.mark.process, pytest.mark.soak, pytest.mark.timeout(400)]


@asynccontextmanager
async def echo_process() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.dataplanes.relay.echo_process", stdout=PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


def private_kib(pid: int) -> int:
    """Memory that only this process has."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


async def exchange(socks: list[socket.socket]) -> None:
    """A message there and back on every connection."""
    loop = asyncio.get_running_loop()
    for at in range(0, len(socks), 500):
        batch = socks[at : at + 500]
        for sock in batch:
            await loop.sock_sendall(sock, b"still here")
        for sock in batch:
            assert await loop.sock_recv(sock, 100) == b"still here"


@pytest.mark.parametrize(("workers", "connections"), [(1, 8_000), (2, 10_000)])
async def test_thousands_of_connections_stay_and_leave_no_memory_behind(workers: int, connections: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * connections / workers + 2_000:
        pytest.skip(f"the hard descriptor limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with (
        echo_process() as one,
        echo_process() as two,
        relaying(plan_of([one, two]), workers=workers, queue_deadline_s=60.0) as relay,
    ):

        async def publish() -> None:
            while True:
                relay.plane.publish(plan_of([one, two]))
                await asyncio.sleep(1)

        publishing = asyncio.create_task(publish())
        idle = sum(map(private_kib, relay.pids))
        peaks = []
        for _ in range(2):
            socks: list[socket.socket] = []
            while len(socks) < connections:
                socks += await asyncio.gather(*(relay.dial() for _ in range(100)))
            await until(lambda: len(relay.sink.live) == connections, 60)
            until_s = time.monotonic() + 30
            while time.monotonic() < until_s:
                await exchange(socks)
                await asyncio.sleep(2)
            peaks.append(sum(map(private_kib, relay.pids)))
            assert len(relay.sink.live) == connections
            for sock in socks:
                sock.close()
            await relay.stat_becomes("open", 0, 30)
        print(f"{(peaks[0] - idle) / connections:.2f} KiB per connection; peaks {peaks} KiB over {idle}")
        assert (peaks[0] - idle) / connections < 4
        assert peaks[1] < peaks[0] * 1.05  # the second crowd found room in what the first had left
        publishing.cancel()


async def test_a_control_process_killed_under_load_costs_nobody_anything() -> None:
    with runtime_directory() as directory:
        async with echo_process() as one, echo_process() as two:
            trips, stop = 0, False
            address: tuple[str, int] = ("", 0)

            async def load() -> None:
                nonlocal trips
                while not stop:
                    reader, writer = await asyncio.open_connection(*address)
                    writer.write(b"x")
                    assert await reader.readexactly(1) == b"x"
                    await close_all([writer])
                    trips += 1

            async with controlling(directory, spec(), one, two) as control:
                address = tuple((await control.ready())["address"])
                lasting = [await asyncio.open_connection(*address) for _ in range(200)]
                await until(lambda: len(control.of("opened")) == 200)
                loads = [asyncio.create_task(load()) for _ in range(20)]
                await until(lambda: trips > 1_000, 20)
                await control.kill()
            registered = {event["id"] for event in control.of("opened")} - {e["id"] for e in control.of("closed")}
            killed_s, before = time.monotonic(), trips
            await until(lambda: time.monotonic() - killed_s > 8, 10)
            away = (trips - before) / (time.monotonic() - killed_s)
            async with successor(directory, spec()) as relay:
                relay.plane.publish(plan_of([one, two]))
                known = relay.sink.live.keys() | set(relay.sink.closes)
                [(_, live)] = relay.sink.resyncs
                lasting_ids = {connection.id for connection in live} & registered
                assert len(lasting_ids) >= 200
                assert known >= lasting_ids
                await until(lambda: trips > before + 2_000, 20)
                stop = True
                await asyncio.gather(*loads)
                for reader, writer in lasting:
                    writer.write(b"y")
                    assert await reader.readexactly(1) == b"y"
                print(f"{away:.0f} connections/s while the control process was away")
                await close_all(writer for _, writer in lasting)
                await until(lambda: not relay.sink.live)
