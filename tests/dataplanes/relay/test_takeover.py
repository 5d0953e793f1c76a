"""The control process dies, returns, is upgraded: connections never notice."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import forestay
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.picker import STALE_AFTER_S
from forestay.dataplanes.relay.plane import AlreadyRunning, RelayPlane
from tests.dataplanes.relay.world import (
    Recorder,
    Relay,
    close_all,
    plan_of,
    relaying,
    runtime_directory,
    serving,
    spec,
    until,
)

pytestmark = pytest.mark.process

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Control:
    """The control process in `control_process.py`, and what it printed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    def of(self, event: str) -> list[dict[str, Any]]:
        return [item for item in self.events if item["event"] == event]

    async def ready(self) -> dict[str, Any]:
        return (await until(lambda: self.of("ready"), 20))[0]  # type: ignore[no-any-return] # JSON

    async def kill(self) -> None:
        """SIGKILL, and everything that it had said."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))


@asynccontextmanager
async def controlling(
    directory: Path, listener: ListenerSpec, *endpoints: str, environment: dict[str, str] | None = None
) -> AsyncIterator[Control]:
    arguments = ["-m", "tests.dataplanes.relay.control_process", str(directory), listener.to_json(), *endpoints]
    control = Control(await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE, env=environment))
    try:
        yield control
    finally:
        await control.kill()


@asynccontextmanager
async def successor(directory: Path, listener: ListenerSpec) -> AsyncIterator[Relay]:
    """A control process's next life, within the test."""
    plane, sink = RelayPlane("chat", [listener], directory), Recorder()
    await plane.start(sink)
    try:
        yield Relay(plane, sink)
    finally:
        await plane.stop(0.0)


async def talk(client: Client, word: bytes = b"x") -> None:
    reader, writer = client
    writer.write(word)
    assert await reader.readexactly(len(word)) == word


async def test_killed_control_process_costs_no_connection_and_the_next_one_learns_all_of_them() -> None:
    with runtime_directory() as directory:
        async with serving() as one, serving() as two:
            async with controlling(directory, spec(), one, two) as control:
                ready = await control.ready()
                before = [await asyncio.open_connection(*ready["address"]) for _ in range(10)]
                await until(lambda: len(control.of("opened")) == 10)
                await control.kill()
            registered = {event["id"] for event in control.of("opened")}
            during = [await asyncio.open_connection(*ready["address"]) for _ in range(10)]
            for client in before + during:
                await talk(client)
            async with successor(directory, spec()) as relay:
                assert relay.pids == ready["pids"]  # adopted
                [(owner, live)] = relay.sink.resyncs
                assert {connection.id for connection in live} >= registered
                assert len(live) == 20
                assert {connection.id[12:16] for connection in live} == {owner}
                assert relay.address == tuple(ready["address"])
                relay.plane.publish(plan_of([one, two]))
                after = await relay.connect()
                for client in [*before, *during, after]:
                    await talk(client)
                await close_all(writer for _, writer in [*before, *during, after])
                await until(lambda: not relay.sink.live)


async def test_without_a_control_process_placing_turns_to_least_connections() -> None:
    with runtime_directory() as directory:
        async with serving() as one, serving() as two, serving() as unhealthy:
            async with controlling(directory, spec(), one, two) as control:
                ready = await control.ready()
                await control.kill()
            await asyncio.sleep(STALE_AFTER_S)  # what is tested is that time passes
            clients = [await asyncio.open_connection(*ready["address"]) for _ in range(20)]
            for client in clients:
                await talk(client)
            async with successor(directory, spec()) as relay:
                placed = [connection.endpoint_id for connection in relay.sink.live.values()]
                assert (placed.count(one), placed.count(two), placed.count(unhealthy)) == (10, 10, 0)
                await until(lambda: relay.stat("stale_picks") == 20)
                assert relay.stat("stale") == 1
                relay.plane.publish(plan_of([one, two]))
                await relay.stat_becomes("stale", 0)
                await close_all(writer for _, writer in clients)


async def test_other_settings_are_handed_over_without_losing_a_connection_or_the_port() -> None:
    with runtime_directory() as directory:
        async with serving() as endpoint:
            async with controlling(directory, spec(), endpoint) as control:
                ready = await control.ready()
                client = await asyncio.open_connection(*ready["address"])
                await talk(client)
                await control.kill()
            changed = spec(idle_timeout_s=100.0)
            async with successor(directory, changed) as relay:
                relay.plane.publish(plan_of([endpoint]))
                assert relay.address == tuple(ready["address"])
                assert set(relay.pids) > set(ready["pids"])
                newcomer = await relay.connect()
                await talk(newcomer)
                await talk(client)
                await until(lambda: len(relay.sink.live) == 2)
                assert len({connection.id[12:16] for connection in relay.sink.live.values()}) == 2
                await close_all([client[1]])
                await until(lambda: not set(relay.pids) & set(ready["pids"]))
                await close_all([newcomer[1]])


def other_version(directory: Path, change: Callable[[str], str]) -> dict[str, str]:
    """An environment whose forestay has another pump."""
    installed = Path(forestay.__file__).parent
    shutil.copytree(installed, directory / "forestay", ignore=shutil.ignore_patterns("__pycache__"))
    pump = directory / "forestay/dataplanes/relay/pump.py"
    source = pump.read_text()
    assert change(source) != source
    pump.write_text(change(source))
    return {**os.environ, "PYTHONPATH": f"{directory}:{Path.cwd()}"}


async def test_upgraded_code_takes_over_the_port_and_all_that_is_known_of_the_connections(tmp_path: Path) -> None:
    earlier = other_version(tmp_path, lambda source: source + "# an earlier version\n")
    with runtime_directory() as directory:
        async with serving() as endpoint:
            async with controlling(directory, spec(), endpoint, environment=earlier) as control:
                ready = await control.ready()
                client = await asyncio.open_connection(*ready["address"])
                await talk(client)
                await until(lambda: control.of("opened"))
                await control.kill()
            async with successor(directory, spec()) as relay:
                relay.plane.publish(plan_of([endpoint]))
                assert relay.address == tuple(ready["address"])
                assert set(relay.pids) > set(ready["pids"])  # a successor beside the one that drains
                assert list(relay.sink.live) == [control.of("opened")[0]["id"]]
                await talk(client)
                await close_all([client[1]])
                await until(lambda: not relay.sink.live)
                await until(lambda: not set(relay.pids) & set(ready["pids"]))


async def test_a_defect_met_by_one_connection_costs_that_connection_only(tmp_path: Path) -> None:
    defect = 'if data == b"boom":\n                raise RuntimeError("a defect")\n            if not data:'
    defective = other_version(tmp_path, lambda source: source.replace("if not data:", defect))
    with runtime_directory() as directory:
        async with serving() as endpoint:
            async with controlling(directory, spec(), endpoint, environment=defective) as control:
                ready = await control.ready()
                clients = [await asyncio.open_connection(*ready["address"]) for _ in range(2)]
                for client in clients:
                    await talk(client)
                clients[0][1].write(b"boom")
                with pytest.raises(ConnectionResetError):
                    await clients[0][0].read()
                await talk(clients[1])
                await control.kill()
            async with successor(directory, spec()) as relay:
                await until(lambda: relay.stat("internal_errors") == 1)
                await talk(clients[1])
                await close_all(writer for _, writer in clients)


async def test_a_listener_that_is_gone_from_the_settings_is_drained() -> None:
    with runtime_directory() as directory:
        async with serving() as endpoint:
            async with controlling(directory, spec(name="old"), endpoint) as control:
                ready = await control.ready()
                client = await asyncio.open_connection(*ready["address"])
                await talk(client)
                await control.kill()
            async with successor(directory, spec()) as relay:
                assert relay.address != tuple(ready["address"])
                await until(lambda: refused(ready["address"]))
                await talk(client)
                assert len(relay.sink.live) == 1
                await close_all([client[1]])
                await until(lambda: not relay.plane.worker_pids().get("old"))


async def test_detached_workers_are_adopted_and_a_second_control_process_is_turned_away() -> None:
    with runtime_directory() as directory:
        async with serving() as endpoint:
            plane, sink = RelayPlane("chat", [spec()], directory), Recorder()
            await plane.start(sink)
            plane.publish(plan_of([endpoint]))
            with pytest.raises(AlreadyRunning, match="runtime_dir"):
                await RelayPlane("chat", [spec()], directory).start(Recorder())
            client = await asyncio.open_connection(*plane.addresses()["public"])
            await talk(client)
            await until(lambda: sink.live)
            pids = plane.worker_pids()
            await plane.detach()
            await talk(client)
            async with successor(directory, spec()) as relay:
                assert relay.plane.worker_pids() == pids
                assert relay.sink.live == sink.live
                await talk(client)
                await close_all([client[1]])


async def test_what_workers_placed_in_an_earlier_life_uses_up_no_slots_of_a_plan_that_was_there_at_the_start() -> None:
    impatient = spec(queue_deadline_s=2.0)  # does not last until the table is stale
    with runtime_directory() as directory:
        async with serving() as endpoint:
            plane = RelayPlane("chat", [impatient], directory)
            await plane.start(Recorder())
            plane.publish(plan_of([endpoint]))
            clients = [await asyncio.open_connection(*plane.addresses()["public"]) for _ in range(5)]
            for client in clients:
                await talk(client)
            plane.placed(endpoint)
            await plane.detach()
            plane = RelayPlane("chat", [impatient, spec(name="more", queue_deadline_s=2.0)], directory)
            plane.publish(plan_of([endpoint], slots=2))
            await plane.start(Recorder())
            try:
                for name in ("public", "more"):
                    clients.append(await asyncio.open_connection(*plane.addresses()[name]))
                    await talk(clients[-1])
                await close_all(writer for _, writer in clients)
            finally:
                await plane.stop(0.0)


async def test_a_worker_that_died_while_nobody_watched_is_recognised() -> None:
    with runtime_directory() as directory:
        async with serving() as endpoint:
            async with controlling(directory, spec(), endpoint) as control:
                ready = await control.ready()
                client = await asyncio.open_connection(*ready["address"])
                await until(lambda: control.of("opened"))
                await control.kill()
            [pid] = ready["pids"]
            kill(pid)
            async with successor(directory, spec()) as relay:
                owner = control.of("opened")[0]["id"][12:16]
                assert (owner, ()) in relay.sink.resyncs  # all that it had is gone
                assert pid not in relay.pids
            await close_all([client[1]])


async def test_rolling_the_workers_under_load_refuses_and_cuts_nobody() -> None:
    async with serving() as one, serving() as two, relaying(plan_of([one, two]), workers=2) as relay:
        lasting = [await relay.connect() for _ in range(10)]
        trips, stop = 0, False

        async def load() -> None:
            nonlocal trips
            while not stop:
                client = await relay.connect()
                await talk(client, b"short lived")
                await close_all([client[1]])
                trips += 1

        loads = [asyncio.create_task(load()) for _ in range(10)]
        await until(lambda: trips > 100)
        for _ in range(2):
            old = set(relay.pids)
            await relay.plane.roll()
            reached = trips
            await until(lambda reached=reached: trips > reached + 200, 10)  # type: ignore[misc] # mypy: a lambda with a default
            assert len(set(relay.pids) - old) == 2
        stop = True
        await asyncio.gather(*loads)  # raises what any of them met
        for client in lasting:
            await talk(client)
        await close_all(writer for _, writer in lasting)
        await until(lambda: len(relay.pids) == 2)
        await until(lambda: not relay.sink.live)
        assert len(relay.sink.opens) == trips + 10


async def test_placements_of_the_balancer_itself_are_seen_by_the_workers() -> None:
    async with serving() as one, serving() as two, relaying(plan_of([one, two], slots=[3, 3], growth=2.0)) as relay:
        for _ in range(3):
            relay.plane.placed(one)
        clients = [await relay.connect() for _ in range(4)]
        await until(lambda: len(relay.sink.opens) == 3)
        await relay.stat_becomes("waiting", 1)
        assert [connection.endpoint_id for connection in relay.sink.opens] == [two] * 3
        await close_all(writer for _, writer in clients)


async def test_more_endpoints_than_the_table_holds_move_it_without_losing_counts() -> None:
    with runtime_directory() as directory:
        async with serving() as endpoint:
            plane, sink = RelayPlane("chat", [spec()], directory, slots=2), Recorder()
            await plane.start(sink)
            try:
                relay = Relay(plane, sink)
                plane.publish(plan_of([endpoint]))
                first = await relay.connect()
                await talk(first)
                many = ["", *(f"192.0.2.{i}:80" for i in range(1, 200)), endpoint]
                plane.publish(plan_of(many, slots=[0] * 200 + [2]))
                more = [await relay.connect() for _ in range(2)]
                for client in more:
                    await talk(client)
                await until(lambda: len(sink.opens) == 3)
                third = await relay.connect()
                await relay.stat_becomes("waiting", 1)
                plane.publish(plan_of(many, slots=[0] * 200 + [1]))
                await talk(third)
                await close_all(writer for _, writer in [first, third, *more])
            finally:
                await plane.stop(0.0)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline_s


def refused(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(tuple(address)) != 0
