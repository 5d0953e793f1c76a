"""One cluster without listeners, in this process: what a reload does to health checks, DNS and scrapes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from forestay import Connection
from forestay.assembly.cluster import RunningCluster
from forestay.registries.memory import MemoryStore
from forestay.settings import ClusterSettings

from .running import until


@pytest.fixture
def dead() -> Iterator[str]:
    """An address where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
async def cluster(tmp_path: Path, dead: str) -> AsyncIterator[RunningCluster]:
    store = MemoryStore()
    cluster = await RunningCluster.build(
        "chat", settings(dead), store=store, runtime_dir=tmp_path, seed=0, access_log=None
    )
    await cluster.start()
    yield cluster
    await cluster.stop(asyncio.Event())
    await store.close()


def settings(endpoint: str, **changes: Any) -> ClusterSettings:
    health = {"type": "none", "interval_s": 0.1, "timeout_s": 0.1, "retry_s": 0.02}
    return ClusterSettings.model_validate({"endpoints": [endpoint], "health": health, **changes})


async def test_what_was_learned_survives_a_restart(tmp_path: Path, dead: str) -> None:
    store = MemoryStore()

    async def life() -> RunningCluster:
        return await RunningCluster.build(
            "chat", settings(dead), store=store, runtime_dir=tmp_path, seed=0, access_log=None
        )

    first = await life()
    await first.start()
    first.loop.opened(Connection("player-1", dead, "me", first.loop.clock.wall_s()), first.loop.clock.now_s())
    await first.stop(asyncio.Event())
    second = await life()
    assert list(second.loop.balancer.connections) == ["player-1"]
    await second.start()
    assert second.loop.connections.open == {dead: 1}
    await second.stop(asyncio.Event())
    await store.close()


async def test_a_reload_turns_health_checks_on_and_off(cluster: RunningCluster, dead: str) -> None:
    state = cluster.loop.endpoints.get(dead)
    assert state.healthy
    checked = settings(dead, health={"type": "tcp", "interval_s": 0.1, "timeout_s": 0.1, "retry_s": 0.02})
    assert await cluster.reload(checked) == []
    await until(lambda: not state.healthy, "failed health check")
    probes = cluster.surroundings.background["health_probe"]["refused"]
    assert probes >= 2

    await cluster.reload(settings(dead))
    assert state.healthy
    assert cluster.surroundings.background["health_probe"]["refused"] >= probes


async def test_a_reload_adds_and_removes_servers_from_dns(cluster: RunningCluster, dead: str) -> None:
    await cluster.reload(settings(dead, dns={"name": "localhost", "port": 9}))
    await until(lambda: "127.0.0.1:9" in cluster.loop.endpoints, "endpoint from DNS")
    await cluster.reload(settings(dead))
    await until(lambda: "127.0.0.1:9" not in cluster.loop.endpoints, "end of the endpoint from DNS")
    assert dead in cluster.loop.endpoints
    assert cluster.surroundings.background["dns"]["changed"] == 1


async def test_a_reload_turns_scrapes_on(cluster: RunningCluster, dead: str) -> None:
    scrape = {"metrics": {"cpu": "x"}, "interval_s": 0.1, "timeout_s": 0.1}
    await cluster.reload(settings(dead, scrape=scrape))
    await until(lambda: cluster.surroundings.background["scrape"]["connect"], "failed scrape")


async def test_a_reload_gives_endpoints_their_new_attributes(cluster: RunningCluster, dead: str) -> None:
    changed = ClusterSettings.model_validate(
        {**settings(dead).model_dump(), "endpoints": [{"address": dead, "zone": "b"}]}
    )
    await cluster.reload(changed)
    assert cluster.loop.endpoints.get(dead).endpoint.zone == "b"


async def test_a_reload_changes_the_threshold_without_forgetting(cluster: RunningCluster, dead: str) -> None:
    balancer = cluster.loop.balancer
    assert await cluster.reload(settings(dead, balancer={"threshold": 0.5})) == []
    assert cluster.loop.balancer is balancer
    assert balancer.settings.threshold == 0.5


async def test_a_reload_names_what_needs_a_restart(cluster: RunningCluster, dead: str) -> None:
    assert await cluster.reload(settings(dead, balancer={"reservation_s": 5.0})) == ["balancer.reservation_s"]
