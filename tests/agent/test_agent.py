import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from forestay.agent import AgentSettings, run_agent
from forestay.agent.sampler import Sampler
from forestay.telemetry.host import TargetLost
from tests.agent.control_plane import ControlPlane
from tests.telemetry.page_server import PageServer
from tests.waiting import until

BURNER = """
import sys, time
print("ready", flush=True)
while True:  # busy for a share of each 20 ms, by the process's own CPU clock
    began_s, used_s = time.monotonic(), time.process_time()
    while time.process_time() - used_s < 0.02 * float(sys.argv[1]):
        pass
    time.sleep(max(0.0, 0.02 - (time.monotonic() - began_s)))
"""

AGENT = """
import asyncio, sys
from forestay.agent import AgentSettings, run_agent
sys.exit(asyncio.run(run_agent(AgentSettings.model_validate_json(sys.argv[1]))))
"""


@contextlib.contextmanager
def burner(share: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", BURNER, str(share)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def agent_process(**settings: object) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, json.dumps({"cluster": "chat"} | settings), stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.process
async def test_an_agent_reports_cpu_of_the_budget_and_sockets_by_four_tuple() -> None:
    async with ControlPlane().running() as plane:
        with burner(0.1) as server, socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            with socket.create_connection((host, port)) as client:
                async with agent_process(
                    endpoint=f"{host}:{port}",
                    control_planes=[plane.url],
                    pid=server.pid,
                    cpu_budget=0.2,
                    interval_s=0.6,
                ):
                    await until(lambda: len(plane.reports) >= 3)
                client_port = client.getsockname()[1]
    assert statistics.median(report.cpu or 0.0 for report in plane.reports) == pytest.approx(0.5, rel=0.4)
    first = plane.reports[0]
    assert first.endpoint == f"127.0.0.1:{port}"
    assert first.load is None
    assert 0 <= first.age_s < 0.5
    assert first.connections is not None
    assert first.connections.listed == [("127.0.0.1", client_port, "127.0.0.1", port)]
    assert plane.connections == 1


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_agent_that_is_told_to_stop_ends_well(number: signal.Signals) -> None:
    async with (
        ControlPlane().running() as plane,
        agent_process(endpoint="127.0.0.1:1", control_planes=[plane.url], interval_s=0.2, timeout_s=0.1) as process,
    ):
        await until(lambda: len(plane.reports) >= 1)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 5.0) == 0


@pytest.mark.process
async def test_an_agent_ends_with_the_process_it_was_given() -> None:
    async with ControlPlane().running() as plane:
        with burner(0.01) as server:
            async with agent_process(
                endpoint="127.0.0.1:1", control_planes=[plane.url], pid=server.pid, interval_s=0.2, timeout_s=0.1
            ) as process:
                await until(lambda: len(plane.reports) >= 1)
                os.kill(server.pid, signal.SIGKILL)
                assert await asyncio.wait_for(process.wait(), 5.0) == 1


@contextlib.asynccontextmanager
async def agent(**settings: object) -> AsyncIterator[None]:
    stop = asyncio.Event()
    base = {"cluster": "chat", "endpoint": "127.0.0.1:1", "interval_s": 0.1, "timeout_s": 0.09, "sockets": "none"}
    task = asyncio.create_task(run_agent(AgentSettings.model_validate(base | settings), stop))
    try:
        yield
    finally:
        stop.set()
        assert await asyncio.wait_for(task, 5.0) == 0


@pytest.mark.process
async def test_with_a_pid_file_the_agent_waits_for_the_successor(tmp_path: Path) -> None:
    pid_file = tmp_path / "server.pid"
    async with ControlPlane().running() as plane, agent(control_planes=[plane.url], pid_file=str(pid_file)):
        with burner(0.01) as server:
            pid_file.write_text(f"{server.pid}\n")
            await until(lambda: len(plane.reports) >= 2)
        silent = len(plane.reports)
        with burner(0.01) as server:
            pid_file.write_text(f"{server.pid}\n")
            await until(lambda: len(plane.reports) >= silent + 3)
    assert all(report.cpu is not None for report in plane.reports)


async def test_after_an_outage_the_missed_reports_arrive_with_their_age() -> None:
    plane = ControlPlane()
    async with plane.running():
        pass
    async with agent(control_planes=[plane.url]):
        await asyncio.sleep(0.5)  # the outage itself
        async with plane.running(plane.port):
            await until(lambda: len(plane.reports) >= 5)
    ages_s = [report.age_s for report in plane.reports]
    assert ages_s[0] > ages_s[1] > 0.05


async def test_every_control_plane_gets_every_report_and_a_dead_one_delays_nobody() -> None:
    async with (
        ControlPlane().running() as one,
        ControlPlane().running() as two,
        agent(control_planes=[one.url, "http://127.0.0.1:1", two.url]),
    ):
        await until(lambda: len(one.reports) >= 5 and len(two.reports) >= 5)
    assert abs(len(one.reports) - len(two.reports)) <= 1


async def test_the_schedule_does_not_drift() -> None:
    began_s = time.monotonic()
    async with ControlPlane().running() as plane, agent(control_planes=[plane.url]):
        await until(lambda: len(plane.reports) >= 15)
    # The first of 16 measurements has nothing to compare with, and the phase takes up to one interval more.
    assert 1.5 <= time.monotonic() - began_s < 2.5


def sampler(client: httpx.AsyncClient, **settings: object) -> Sampler:
    base = {"cluster": "chat", "endpoint": "127.0.0.1:1", "sockets": "none"}
    return Sampler(AgentSettings.model_validate(base | settings), client)


@pytest.mark.parametrize(
    ("load_from", "load"), [("max", lambda r: None), ("cpu", lambda r: r.cpu), ("server", lambda r: 0.125)]
)
async def test_what_the_load_is_can_be_chosen(tmp_path: Path, load_from: str, load: object) -> None:
    status = tmp_path / "status.json"
    status.write_text('{"load": 0.125, "open_connections": 3}')
    async with httpx.AsyncClient(trust_env=False) as client:
        taker = sampler(client, status=str(status), load_from=load_from)
        assert await taker.sample() is None
        sample = await taker.sample()
    assert sample is not None
    assert callable(load)
    assert sample.report.load == load(sample.report)
    assert sample.report.open_connections == 3
    assert sample.report.memory is not None


async def test_a_server_that_does_not_answer_is_still_measured_from_outside() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        taker = sampler(
            client,
            status="http://127.0.0.1:1/status",
            metrics_url="http://127.0.0.1:1/metrics",
            metrics={"requests_per_s": "requests_total"},
        )
        assert await taker.sample() is None
        sample = await taker.sample()
    assert sample is not None
    assert sample.report.cpu is not None
    assert sample.report.requests_per_s is None


async def test_requests_size_and_processing_time_come_from_the_servers_own_page() -> None:
    metrics = {
        "requests_per_s": "requests_total",
        "request_bytes": "request_bytes_total / requests_total",
        "processing_s": "latency_seconds_sum / latency_seconds_count",
    }
    async with httpx.AsyncClient(trust_env=False) as client, PageServer().running() as server:
        taker = sampler(client, metrics_url=f"http://{server.endpoint_id}/metrics", metrics=metrics)
        server.page("requests_total 0\nrequest_bytes_total 0\nlatency_seconds_sum 0\nlatency_seconds_count 0\n")
        assert await taker.sample() is None
        server.page("requests_total 4\nrequest_bytes_total 400\nlatency_seconds_sum 1\nlatency_seconds_count 4\n")
        sample = await taker.sample()
        assert sample is not None
        assert sample.report.requests_per_s is not None
        assert sample.report.requests_per_s > 0
        assert sample.report.request_bytes == pytest.approx(100)
        assert sample.report.processing_s == pytest.approx(0.25)


async def test_an_overdrawn_tiny_budget_is_reported_as_the_most_that_is_believed() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        taker = sampler(client, pid=os.getpid(), cpu_budget=1e-6)
        await taker.sample()
        sample = await taker.sample()
    assert sample is not None
    assert sample.report.cpu == 10.0


async def test_a_pid_file_that_is_missing_or_no_number_is_a_lost_target(tmp_path: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        taker = sampler(client, pid_file=str(tmp_path / "pid"))
        with pytest.raises(TargetLost, match="No such file"):
            await taker.sample()
        (tmp_path / "pid").write_text("chat")
        with pytest.raises(TargetLost, match="invalid literal"):
            await taker.sample()
        (tmp_path / "pid").write_text(str(os.getpid()))
        assert await taker.sample() is None
        assert await taker.sample() is not None
