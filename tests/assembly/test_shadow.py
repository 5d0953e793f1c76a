"""`forestay serve --shadow` beside real HAProxy and nginx: their logs, their connections, their rotations."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from .balancers import envoy, free_port, haproxy, needs_envoy, needs_haproxy, needs_nginx, nginx
from .running import WITHIN_S, EchoServer, Forestay

pytestmark = pytest.mark.process

JUDGING = 'forestay_shadow_caveat{caveat="warming_up",cluster="chat"} 0.0'


async def connect(port: int, count: int, lasts_s: float) -> None:
    """That many clients, one after the other, each connected for a while."""
    tasks = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        await reader.read(100)
        tasks.append(asyncio.create_task(_leave(writer, lasts_s)))
    await asyncio.gather(*tasks)


async def _leave(writer: asyncio.StreamWriter, after_s: float) -> None:
    await asyncio.sleep(after_s)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def shown(forestay: Forestay, **wanted: int) -> dict[str, Any]:
    """What the shadow shows once its sightings are at least these."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        found: dict[str, Any] = await forestay.api("/v1/clusters/chat/shadow")
        if all(found["sightings"].get(name, 0) >= count for name, count in wanted.items()):
            return found
        assert time.monotonic() < deadline_s, json.dumps(found, indent=1)
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def reporting(forestay: Forestay, servers: Sequence[EchoServer]) -> AsyncIterator[None]:
    """Every server reports its connections as load, several times a second."""
    api = (await forestay.serving())["api"]

    async def report() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                body = [{"cluster": "chat", "endpoint": server.address, "load": 0.3} for server in servers]
                (await client.post(f"http://{api}/v1/reports", json=body)).raise_for_status()
                await asyncio.sleep(0.2)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()


def configured(directory: Path, servers: Sequence[EchoServer], shadow: str, more: str = "") -> Iterator[str]:
    """Arguments for a cluster with a listener, which must not be opened, and a shadow; `more` of the cluster."""
    file = directory / "forestay.toml"
    file.write_text(
        f"""
        [clusters.chat]
        endpoints = {[server.address for server in servers]}
        {more}
        [clusters.chat.listeners.public]
        listen = "127.0.0.1:{free_port()}"
        [clusters.chat.shadow]
        warm_up_s = 0
        {shadow}
        """
    )
    yield from ("--config", str(file), "--shadow")


@needs_haproxy
async def test_haproxys_log_is_followed_through_rotation_truncation_and_a_restart_of_the_shadow(tmp_path: Path) -> None:
    log = tmp_path / "haproxy.log"
    async with EchoServer("s1") as s1, EchoServer("s2") as s2, haproxy(tmp_path, log, (s1, s2)) as port:
        names = f'servers = {{ s1 = "{s1.address}", s2 = "{s2.address}" }}'
        arguments = list(
            configured(tmp_path, (s1, s2), f'source = "log"\npath = "{log}"\nformat = "haproxy"\ndelay_s = 2\n{names}')
        )
        async with Forestay(tmp_path, *arguments) as forestay, reporting(forestay, (s1, s2)):
            assert list(await forestay.serving()) == ["api"]
            await forestay.shows(JUDGING)
            accepted = s1.accepted + s2.accepted
            await connect(port, 10, lasts_s=0.3)
            found = await shown(forestay, judged=10, closed=10)
            assert found["choice"]["judged"] >= 10
            assert found["choice"]["same"] + found["choice"]["other"] == found["choice"]["judged"]

            log.rename(tmp_path / "haproxy.log.1")
            await connect(port, 6, lasts_s=0.3)
            await shown(forestay, judged=16, closed=16)

            log.write_bytes(b"")
            with log.open("ab") as file:
                file.write(b"\xff\x00 not a line of HAProxy\n")
            await connect(port, 4, lasts_s=0.3)
            found = await shown(forestay, judged=20, closed=20)
            assert found["sources"]["access_log"]["malformed"] == 1
            assert found["sources"]["access_log"]["rotations"] >= 1
            assert found["as_is"]["seconds"] > 0
            assert s1.accepted + s2.accepted == accepted + 20  # nobody but the clients was there
            forestay.signal(signal.SIGKILL)
            await forestay.wait()
        assert list((tmp_path / "state").glob("*.sqlite")) == []
        async with Forestay(tmp_path, *arguments) as forestay, reporting(forestay, (s1, s2)):
            await forestay.shows(JUDGING)
            await connect(port, 5, lasts_s=0.3)
            found = await shown(forestay, judged=5, closed=5)
            assert found["choice"]["judged"] == 5  # what stood in the log before is not read again


@needs_nginx
async def test_nginxs_log_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with EchoServer("s1") as s1, EchoServer("s2") as s2, nginx(tmp_path, log, (s1, s2)) as port:
        shadow = f'source = "log"\npath = "{log}"\nformat = "nginx"\ndelay_s = 2'
        async with (
            Forestay(tmp_path, *configured(tmp_path, (s1, s2), shadow)) as forestay,
            reporting(forestay, (s1, s2)),
        ):
            await forestay.shows(JUDGING)
            await connect(port, 10, lasts_s=0.3)
            found = await shown(forestay, judged=10, closed=10)
            assert found["sources"]["access_log"]["seen"] >= 10
            assert "malformed" not in found["sources"]["access_log"]


@needs_envoy
async def test_envoys_log_shows_connections_when_they_open(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with EchoServer("s1") as s1, EchoServer("s2") as s2, envoy(tmp_path, log, (s1, s2)) as port:
        shadow = f'source = "log"\npath = "{log}"\nformat = "envoy"\ndelay_s = 0'
        async with (
            Forestay(tmp_path, *configured(tmp_path, (s1, s2), shadow)) as forestay,
            reporting(forestay, (s1, s2)),
        ):
            await forestay.shows(JUDGING)
            clients = asyncio.create_task(connect(port, 6, lasts_s=5.0))
            found = await shown(forestay, judged=6)
            assert sum(endpoint["connections"] for endpoint in found["endpoints"]) == 6
            await clients
            found = await shown(forestay, closed=6)
            assert "malformed" not in found["sources"]["access_log"]
            assert "late" not in found["sightings"]


@needs_haproxy
async def test_agents_lists_of_sockets_show_connections_that_are_still_open(tmp_path: Path) -> None:
    log = tmp_path / "haproxy.log"
    async with (
        EchoServer("s1") as s1,
        haproxy(tmp_path, log, (s1,)) as port,
        Forestay(tmp_path, *configured(tmp_path, (s1,), 'source = "agents"')) as forestay,
    ):
        api = (await forestay.serving())["api"]
        agent = subprocess.Popen(  # noqa: ASYNC220 -- returns at once
            [
                *(sys.executable, "-m", "forestay", "agent", "--cluster", "chat", "--endpoint", s1.address),
                *("--to", f"http://{api}", "--set", "sockets_every_s=0.2"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            await forestay.shows(JUDGING)
            clients = asyncio.create_task(connect(port, 5, lasts_s=4.0))
            deadline_s = time.monotonic() + WITHIN_S
            while (found := await forestay.api("/v1/clusters/chat/shadow"))["endpoints"][0]["connections"] < 5:
                assert time.monotonic() < deadline_s, json.dumps(found, indent=1)
                await asyncio.sleep(0.1)
            assert found["coverage"] == pytest.approx(1.0, abs=0.3)
            await clients
            await shown(forestay, closed=5)
        finally:
            agent.terminate()
            agent.wait(WITHIN_S)


async def test_the_command_line_shows_the_shadow_and_what_it_refuses(tmp_path: Path) -> None:
    async with (
        EchoServer("s1") as s1,
        Forestay(tmp_path, *configured(tmp_path, (s1,), "")) as forestay,
        reporting(forestay, (s1,)),
    ):
        api = (await forestay.serving())["api"]

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "forestay", *arguments, "--api", f"http://{api}"]
            return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)

        table = await asyncio.to_thread(run, "shadow")
        assert (table.returncode, table.stderr) == (0, "")
        assert "chat  shadow of a live balancer, by api" in table.stdout
        found = json.loads((await asyncio.to_thread(run, "shadow", "--json")).stdout)
        assert found["choice"]["judged"] == 0
        refused = await asyncio.to_thread(run, "drain", s1.address)
        assert refused.returncode == 1
        assert "shadow mode" in refused.stderr
        assert 'activity="health_probe"' not in await forestay.api("/metrics")
        forestay.signal(signal.SIGTERM)
        assert await forestay.wait() == 0
        assert any(line["event"] == "shadow" for line in forestay.log)


async def test_a_reload_opens_no_listener_and_names_what_needs_a_restart(tmp_path: Path) -> None:
    async with (
        EchoServer("s1") as s1,
        EchoServer("s2") as s2,
        Forestay(tmp_path, *configured(tmp_path, (s1,), "")) as forestay,
    ):
        assert list(await forestay.serving()) == ["api"]
        list(configured(tmp_path, (s1, s2), "delay_s = 1"))
        forestay.signal(signal.SIGHUP)
        assert (await forestay.logged("reload_incomplete"))["needs_restart"] == ["clusters.chat.shadow"]
        assert list((await forestay.logged("reloaded"))["addresses"]) == ["api"]
        endpoints = (await forestay.api("/v1/clusters/chat/shadow"))["endpoints"]
        assert [endpoint["id"] for endpoint in endpoints] == [s1.address, s2.address]


async def test_servers_are_probed_only_where_the_configuration_asks_for_it(tmp_path: Path) -> None:
    async with (
        EchoServer("s1") as s1,
        Forestay(tmp_path, *configured(tmp_path, (s1,), "", 'health = { type = "tcp" }')) as forestay,
    ):
        deadline_s = time.monotonic() + WITHIN_S
        while 'activity="health_probe"' not in await forestay.api("/metrics"):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
