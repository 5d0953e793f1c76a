"""The whole of it: a real control process, real relay workers, real servers and clients on loopback."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from .running import EchoServer, Forestay, answers, ask

pytestmark = pytest.mark.process

LISTEN = ("--listen", "127.0.0.1:0")


def configured(directory: Path, *endpoints: str, more: str = "") -> tuple[str, str]:
    """Arguments for a file that names these endpoints."""
    file = directory / "forestay.toml"
    file.write_text(
        f"""
        [clusters.chat]
        endpoints = {list(endpoints)}
        [clusters.chat.listeners.public]
        listen = "127.0.0.1:0"
        drain_s = 5.0
        {more}
        """
    )
    return ("--config", str(file))


async def test_without_a_file_connections_are_spread_over_the_servers(tmp_path: Path) -> None:
    async with (
        EchoServer("a") as a,
        EchoServer("b") as b,
        Forestay(tmp_path, *LISTEN, "--to", a.address, "--to", b.address) as forestay,
    ):
        addresses = await forestay.serving()
        names = [await ask(addresses["default/default"]) for _ in range(20)]
        assert set(names) == {"a", "b"}
        await forestay.shows('forestay_relay_events_total{cluster="default",event="placed",listener="default"} 20.0')
        await forestay.shows('forestay_registry_degraded{cluster="default"} 0.0')
        forestay.signal(signal.SIGTERM)
        assert await forestay.wait() == 0


async def test_a_relayed_connection_can_be_explained(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        address = (await forestay.serving())["chat/public"]
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.read(100) == b"a:one"
        connection = (await forestay.connections("chat"))[0]
        answer = await forestay.api(f"/v1/clusters/chat/connections/{connection}/explain")
        assert f"{connection} was placed on {a.address}" in answer["explanation"]
        writer.close()


async def test_the_access_log_has_a_line_for_every_connection_that_ended(tmp_path: Path) -> None:
    async with (
        EchoServer("a") as a,
        Forestay(tmp_path, *LISTEN, "--to", a.address, "--set", "log.access=true") as forestay,
    ):
        assert await ask((await forestay.serving())["default/default"]) == "a"
        line = await forestay.logged("closed")
        assert (line["cluster"], line["endpoint"]) == ("default", a.address)


async def test_sigterm_lets_connections_finish_and_accepts_nothing_new(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        host, _, port = (await forestay.serving())["chat/public"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.read(100) == b"a:one"
        forestay.signal(signal.SIGTERM)
        await forestay.logged("draining")
        await answers(f"{host}:{port}", "")
        writer.write(b"two")
        assert await reader.read(100) == b"two"
        writer.close()
        assert await forestay.wait() == 0


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        host, _, port = (await forestay.serving())["chat/public"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.read(100) == b"a:one"
        forestay.signal(signal.SIGTERM)
        await forestay.logged("draining")
        forestay.signal(signal.SIGINT)
        async with asyncio.timeout(3):  # far under drain_s
            assert await forestay.wait() == 0
        writer.close()


async def test_sighup_adds_and_removes_endpoints(tmp_path: Path) -> None:
    async with (
        EchoServer("a") as a,
        EchoServer("b") as b,
        Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay,
    ):
        address = (await forestay.serving())["chat/public"]
        assert await ask(address) == "a"
        configured(tmp_path, b.address)
        forestay.signal(signal.SIGHUP)
        await forestay.logged("reloaded")
        await answers(address, "b")
        assert {await ask(address) for _ in range(5)} == {"b"}


async def test_an_invalid_file_keeps_the_old_configuration_and_says_so(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        address = (await forestay.serving())["chat/public"]
        configured(tmp_path, a.address, more="colour = 'red'")
        forestay.signal(signal.SIGHUP)
        refused = await forestay.logged("reload_refused")
        assert "clusters.chat.listeners.public.colour" in refused["problems"][0]
        assert await ask(address) == "a"


async def test_sighup_adds_and_removes_listeners_and_cuts_nothing(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        host, _, port = (await forestay.serving())["chat/public"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.read(100) == b"a:one"

        second = "[clusters.chat.listeners.second]\nlisten = '127.0.0.1:0'\n"
        configured(tmp_path, a.address, more=second)
        forestay.signal(signal.SIGHUP)
        addresses = (await forestay.logged("reloaded"))["addresses"]
        assert addresses["chat/public"] == f"{host}:{port}"
        assert await ask(addresses["chat/second"]) == "a"

        configured(tmp_path, a.address)
        seen = len(forestay.log)
        forestay.signal(signal.SIGHUP)
        assert "chat/second" not in (await forestay.logged("reloaded", seen))["addresses"]
        await answers(addresses["chat/second"], "")
        writer.write(b"two")
        assert await reader.read(100) == b"two"
        writer.close()


async def test_a_listener_whose_port_is_taken_changes_nothing(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        address = (await forestay.serving())["chat/public"]
        configured(tmp_path, a.address, more=f"[clusters.chat.listeners.second]\nlisten = '{a.address}'\n")
        forestay.signal(signal.SIGHUP)
        assert "cannot listen" in (await forestay.logged("reload_failed"))["error"]
        assert await ask(address) == "a"


async def test_sighup_adds_and_removes_clusters(tmp_path: Path) -> None:
    async with (
        EchoServer("a") as a,
        EchoServer("b") as b,
        Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay,
    ):
        await forestay.serving()
        second = f'[clusters.mqtt]\nendpoints = ["{b.address}"]\nlisteners.x = {{ listen = "127.0.0.1:0" }}\n'
        configured(tmp_path, a.address, more=second)
        forestay.signal(signal.SIGHUP)
        reloaded = await forestay.logged("reloaded")
        assert await ask(reloaded["addresses"]["mqtt/x"]) == "b"

        configured(tmp_path, a.address)
        seen = len(forestay.log)
        forestay.signal(signal.SIGHUP)
        assert list((await forestay.logged("reloaded", seen))["addresses"]) == ["api", "chat/public"]
        clusters = (await forestay.api("/v1/clusters"))["clusters"]
        assert [cluster["name"] for cluster in clusters] == ["chat"]


async def test_a_kill_of_the_control_process_cuts_no_connection_and_its_successor_finds_it(tmp_path: Path) -> None:
    async with EchoServer("a") as a:
        arguments = configured(tmp_path, a.address)
        async with Forestay(tmp_path, *arguments) as forestay:
            host, _, port = (await forestay.serving())["chat/public"].rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"one")
            assert await reader.read(100) == b"a:one"
            before = await forestay.connections("chat")
            forestay.signal(signal.SIGKILL)
            await forestay.wait()
            writer.write(b"two")
            assert await reader.read(100) == b"two"
            assert await ask(f"{host}:{port}") == "a"
        async with Forestay(tmp_path, *arguments) as successor:
            assert (await successor.serving())["chat/public"] == f"{host}:{port}"
            assert set(before) <= set(await successor.connections("chat"))
            writer.write(b"three")
            assert await reader.read(100) == b"three"
            writer.close()


async def test_sigquit_leaves_the_workers_running(tmp_path: Path) -> None:
    async with EchoServer("a") as a:
        arguments = configured(tmp_path, a.address)
        async with Forestay(tmp_path, *arguments) as forestay:
            address = (await forestay.serving())["chat/public"]
            forestay.signal(signal.SIGQUIT)
            assert await forestay.wait() == 0
            assert await ask(address) == "a"
        async with Forestay(tmp_path, *arguments) as successor:
            assert (await successor.serving())["chat/public"] == address


async def test_sigusr2_replaces_the_workers_and_loses_no_connection(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, *configured(tmp_path, a.address)) as forestay:
        host, _, port = (await forestay.serving())["chat/public"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.read(100) == b"a:one"
        forestay.signal(signal.SIGUSR2)
        await forestay.logged("workers_upgraded")
        assert await ask(f"{host}:{port}") == "a"
        writer.write(b"two")
        assert await reader.read(100) == b"two"
        writer.close()


async def test_a_second_forestay_on_the_same_directories_is_refused(tmp_path: Path) -> None:
    async with Forestay(tmp_path, "--to", "127.0.0.1:9") as first:
        await first.serving()
        async with Forestay(tmp_path, "--to", "127.0.0.1:9") as second:
            assert await second.wait() == 2
            refusal = await second.logged("text")
            assert f"another forestay (pid {first.pid}) uses it" in refusal["text"]


async def test_a_taken_port_exits_with_2_and_leaves_no_worker(tmp_path: Path) -> None:
    async with EchoServer("a") as a, Forestay(tmp_path, "--listen", a.address, "--to", "127.0.0.1:9") as forestay:
        assert await forestay.wait() == 2
        refusal = await forestay.logged("text")
        assert "cannot listen" in refusal["text"]


async def test_a_taken_api_address_exits_with_2_and_says_what_to_do(tmp_path: Path) -> None:
    async with (
        EchoServer("a") as a,
        Forestay(tmp_path, *LISTEN, "--to", a.address, FORESTAY_SERVICE__LISTEN=a.address) as forestay,
    ):
        assert await forestay.wait() == 2
        refusal = await forestay.logged("text")
        assert f"service.listen = '{a.address}'" in refusal["text"]


async def test_reports_reach_the_forecast(tmp_path: Path) -> None:
    async with Forestay(tmp_path, "--to", "127.0.0.1:9") as forestay:
        api = (await forestay.serving())["api"]
        report = {"cluster": "default", "endpoint": "127.0.0.1:9", "load": 0.42}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://{api}/v1/reports", json=report)
        assert answer.json()["taken"] == 1
        endpoint = (await forestay.api("/v1/clusters/default/endpoints"))["endpoints"][0]
        assert endpoint["load"] == 0.42
