"""kill -9 of a real process that registers connections: what it was told is durable is there afterwards."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from forestay.registries.registry import Registry
from forestay.registries.sqlite import SqliteStore
from tests.registries.connections import connection

ROUNDS = 3
LINES_BEFORE_KILL = 3000

CHILD = """
import asyncio, structlog, sys
from forestay.registries.registry import Registry
from forestay.registries.sqlite import SqliteStore
from tests.registries.connections import connection

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

def say(mark, numbers):
    sys.stdout.write("".join(f"{mark}{number}\\n" for number in numbers))
    sys.stdout.flush()

async def main():
    store = await SqliteStore.open(sys.argv[1])
    registry = Registry(store, "chat", interval_s=0.002)
    await registry.start()
    number, turn, live = int(sys.argv[2]), 0, []
    while True:
        new = range(number, number + 40)
        number += 40
        for one in new:
            registry.register(connection(one, endpoint=one % 5))
        closing = [live.pop(turn * 7 % len(live)) for _ in range(30) if live]
        say("?", closing)
        for one in closing:
            registry.unregister(connection(one, endpoint=one % 5).id)
        if turn % 20 == 0:
            asyncio.ensure_future(registry.fold())
        await registry.flush()
        say("+", new)
        say("-", closing)
        live.extend(new)
        turn += 1

asyncio.run(main())
"""


@pytest.mark.process
async def test_after_kill_9_every_acknowledged_registration_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    rng = random.Random(7)
    must, may, never = set[int](), set[int](), set[int]()
    start = 1
    for _ in range(ROUNDS):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD, str(path), str(start)), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        lines = LINES_BEFORE_KILL + rng.randrange(2000)
        said: list[bytes] = []
        async with asyncio.timeout(60.0):
            while len(said) < lines:
                said.append(await child.stdout.readline())
                assert said[-1], "the child ended by itself"
        child.kill()
        said += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
        for line in said:
            if not line.endswith(b"\n"):
                continue  # cut off by the kill: not said
            mark, number = chr(line[0]), int(line[1:])
            if mark == "+":
                must.add(number)
            elif mark == "?":
                must.discard(number)
                may.add(number)
            elif mark == "-":
                may.discard(number)
                never.add(number)
        start = max(must | may | never) + 1000  # what it was about to register may or may not be there

        store = await SqliteStore.open(path)
        registry = Registry(store, "chat")
        await registry.start()
        found = {one.id: one for one in registry.recovered()}
        assert all(connection(number).id in found for number in must)
        assert all(found[connection(number).id] == connection(number, endpoint=number % 5) for number in must)
        assert not any(connection(number).id in found for number in never)
        await registry.close()
        await store.close()
    assert len(must) > 500
    assert len(never) > 500


@pytest.mark.process
async def test_a_second_process_on_the_same_file_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    store = await SqliteStore.open(path)
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(path), "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30.0):
        _, said = await second.communicate()
    assert second.returncode == 1
    assert b"is in use by process" in said
    registry = Registry(store, "chat")
    await registry.start()
    registry.register(connection(1))
    assert await registry.flush(timeout_s=10.0)
    await registry.close()
    await store.close()
