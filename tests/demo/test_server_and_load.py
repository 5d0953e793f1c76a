"""The server process under the load generator, without forestay in between."""

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from forestay.demo.arrivals import Arrival
from forestay.demo.children import Children
from forestay.demo.fleet import FleetServer
from forestay.demo.load import Books, replay
from forestay.demo.records import ServerSample, read_samples
from forestay.demo.scenario import ServerSpec

pytestmark = pytest.mark.process


def samples_of(server: FleetServer, start_at_s: float, length_s: float) -> list[ServerSample]:
    with server.samples.open(encoding="utf-8") as lines:
        return read_samples(lines, server.spec.budget, start_at_s, length_s)


def test_under_overload_the_server_keeps_to_its_budget_and_latency_grows_with_the_backlog(tmp_path: Path) -> None:
    length_s, budget = 3.0, 0.1
    # 20 messages/s of 10 ms are 0.2 cores, on a budget of 0.1.
    arrivals = [Arrival(t_s=0.05 * i, duration_s=3.0, messages_per_s=5.0, cost_ms=10.0) for i in range(4)]
    books = Books()
    with Children(tmp_path, str(tmp_path)) as children:
        server = FleetServer(children, ServerSpec("a", budget), tmp_path)
        start_at_s = math.ceil(time.monotonic())  # where servers begin a sample
        asyncio.run(replay(arrivals, server.endpoint_id, start_at_s, length_s, 0, books))
        samples = samples_of(server, start_at_s, length_s)
    assert sum(sample.load * sample.window_s for sample in samples) / length_s < 1.15
    assert samples[-1].demand > 3.0
    assert len(books.messages) == sum(len([d for d in a.due_s() if d < length_s]) for a in arrivals)
    first, last = books.messages[0][1], max(latency_s for _, latency_s, answered in books.messages if answered)
    assert first < 0.5 < last
    assert any(not answered for _, _, answered in books.messages)
    assert (books.refused, books.failed, books.cut) == (0, 0, 0)
    assert len(books.connects) == sum(len(sample.accepts) for sample in samples) == 4


def test_clients_of_a_killed_server_come_back_and_lose_no_message(tmp_path: Path) -> None:
    length_s = 5.0
    arrivals = [Arrival(t_s=0.0, duration_s=4.0, messages_per_s=4.0, cost_ms=1.0) for _ in range(5)]
    books = Books()

    async def story(server: FleetServer) -> None:
        replaying = asyncio.create_task(replay(arrivals, server.endpoint_id, time.monotonic(), length_s, 0, books))
        await until(lambda: sum(answered for _, _, answered in books.messages) >= 10)
        await asyncio.to_thread(server.kill)
        await until(lambda: books.failed > 0)
        await asyncio.to_thread(server.back)
        await replaying

    with Children(tmp_path, str(tmp_path)) as children:
        asyncio.run(story(FleetServer(children, ServerSpec("a", 1.0), tmp_path)))
    assert books.cut == 5
    assert len(books.connects) == 10
    assert len(books.messages) == 5 * 17
    assert all(answered for _, _, answered in books.messages)
    assert max(latency_s for _, latency_s, _ in books.messages) > 0.1  # those that waited for the return count


def test_the_background_job_asks_for_its_share_of_the_budget(tmp_path: Path) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        server = FleetServer(children, ServerSpec("a", 0.4, has_job=True), tmp_path)
        start_at_s = time.monotonic()
        assert httpx.get(f"http://{server.endpoint_id}/healthz", trust_env=False).text == "ok\n"
        server.run_job(length_s=1.5, share=0.5)
        asyncio.run(until(lambda: len(samples_of(server, start_at_s, 10.0)) >= 3))
        samples = samples_of(server, start_at_s, 10.0)
    assert sum(sample.load * sample.window_s for sample in samples) == pytest.approx(0.75, rel=0.25)


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "not within its time"
        await asyncio.sleep(0.02)
