"""The API on a real socket, in this process and in one of its own."""

import asyncio
import socket
import subprocess
import sys
import textwrap
import time

import httpx
import pytest

from forestay.control.loop import ClusterLoop
from forestay.service.api import create_app
from forestay.service.server import ApiServer


async def test_the_server_answers_once_started_and_frees_its_port_when_stopped(cluster: ClusterLoop) -> None:
    server = ApiServer(create_app({"chat": cluster}))
    await server.start()
    host, port = server.address
    assert port > 0
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        assert (await client.get("/healthz")).status_code == 200
        await server.stop()
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
    with socket.create_server((host, port)):
        pass


async def test_an_address_in_use_is_an_error(cluster: ClusterLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = ApiServer(create_app({"chat": cluster}), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.stop()


async def test_a_client_that_hangs_up_while_it_waits_leaves_the_queue(cluster: ClusterLoop) -> None:
    server = ApiServer(create_app({"chat": cluster}))
    await server.start()
    try:
        for state in cluster.endpoints:
            cluster.endpoints.drain(state.endpoint.id, cluster.clock.now_s())
        _, writer = await asyncio.open_connection(*server.address)
        body = b'{"wait_s": 60}'
        head = f"POST /v1/clusters/chat/placements HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        async with asyncio.timeout(5):
            await cluster.placements.waiting.wait()
            writer.close()
            await writer.wait_closed()
        deadline_s = time.monotonic() + 5
        while cluster.placements.queued and time.monotonic() < deadline_s:  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.01)
        assert cluster.counts.placements == {"abandoned": 1}
    finally:
        await server.stop()


async def test_stopping_answers_those_who_wait(cluster: ClusterLoop) -> None:
    server = ApiServer(create_app({"chat": cluster}))
    await server.start()
    for state in cluster.endpoints:
        cluster.endpoints.drain(state.endpoint.id, cluster.clock.now_s())
    host, port = server.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        asked = asyncio.create_task(client.post("/v1/clusters/chat/placements", json={"wait_s": 60}, timeout=70))
        async with asyncio.timeout(4):
            await cluster.placements.waiting.wait()
            await server.stop()
            assert (await asked).status_code == 503


PROGRAM = textwrap.dedent(
    """
    import asyncio, signal
    from forestay import Balancer, Endpoint
    from forestay.control.loop import ClusterLoop
    from forestay.service.api import create_app
    from forestay.service.logs import configure_logs
    from forestay.service.server import ApiServer
    from tests.control.worlds import A, DictStore

    async def main():
        configure_logs()
        loop = ClusterLoop("chat", Balancer(), DictStore())
        loop.endpoints.add(Endpoint(A), loop.clock.now_s(), "config")
        await loop.start()
        ticks = asyncio.create_task(loop.run())
        server = ApiServer(create_app({"chat": loop}, token="s3cret"))
        await server.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print(server.address[1], flush=True)
        await stop.wait()
        await server.stop()
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)
        await loop.stop()
        print("stopped", flush=True)

    asyncio.run(main())
    """
)


@pytest.mark.process
def test_a_process_serves_ticks_and_stops_cleanly_on_sigterm() -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        headers = {"Authorization": "Bearer s3cret"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            deadline_s = time.monotonic() + 10
            while client.get("/v1/clusters").json()["clusters"][0]["ticks"] < 3:
                assert time.monotonic() < deadline_s, "no ticks"
                time.sleep(0.1)  # between two looks, with a deadline
            began_s = time.perf_counter()
            for _ in range(20):
                assert client.post("/v1/clusters/chat/placements", json={}).status_code == 201
            assert time.perf_counter() - began_s < 20 * 0.04, "answers wait for delayed ACKs"
            assert client.get("/v1/clusters", headers={"Authorization": "Bearer no"}).status_code == 401
        process.terminate()
        assert process.stdout.read() == "stopped\n"
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
