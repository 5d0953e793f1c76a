import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.control.health import EndpointHealth, HealthChecker, HealthRule
from tests.serving import Handler, serving
from tests.waiting import until

RULE = HealthRule(interval_s=1.0, timeout_s=0.5, rise=2, fall=2, retry_s=0.1)


class Transitions:
    """What the checker says, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool, str]] = []
        self._news = asyncio.Event()

    def __call__(self, endpoint_id: str, healthy: bool, outcome: str) -> None:
        self.seen.append((endpoint_id, healthy, outcome))
        self._news.set()

    async def next(self, count: int) -> float:
        """Wait until there are `count`; returns the monotonic time."""
        async with asyncio.timeout(10.0):
            while len(self.seen) < count:
                self._news.clear()
                await self._news.wait()
        return time.monotonic()


@contextlib.asynccontextmanager
async def running(checker: HealthChecker) -> AsyncIterator[None]:
    task = asyncio.create_task(checker.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def probe(state: EndpointHealth, passed: bool) -> tuple[bool, float]:
    """One probe when it is due; whether health changed, and how long until the next."""
    now_s = state.due_s
    state.begin(now_s)
    return state.observe(passed), round(state.due_s - now_s, 6)


def test_it_falls_after_fall_failures_in_a_row_and_the_second_look_comes_at_once() -> None:
    state = EndpointHealth(RULE, due_s=0.0)
    assert probe(state, False) == (False, 0.1)
    assert probe(state, True) == (False, 1.0)
    assert probe(state, False) == (False, 0.1)
    assert state.healthy
    assert probe(state, False) == (True, 1.0)
    assert not state.healthy


def test_it_rises_after_rise_successes_in_a_row() -> None:
    state = EndpointHealth(RULE, due_s=0.0)
    for _ in range(2):
        probe(state, False)
    assert [probe(state, passed)[0] for passed in (True, False, True, True)] == [False, False, False, True]
    assert state.healthy


def test_suspicion_brings_the_probe_forward_but_not_closer_than_retry_s_to_the_last() -> None:
    state = EndpointHealth(RULE, due_s=0.0)
    state.begin(0.0)
    state.observe(True)
    state.suspect(0.03)
    assert state.due_s == pytest.approx(0.1)
    state.begin(0.1)
    state.suspect(0.7)
    assert state.due_s == pytest.approx(0.7)


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.0, 2.0)), max_size=60),
)
def test_health_changes_only_after_enough_contradictions_and_probes_keep_their_distance(
    rise: int, fall: int, history: list[tuple[bool, bool, float]]
) -> None:
    rule = HealthRule(rise=rise, fall=fall)
    state = EndpointHealth(rule, due_s=0.0)
    results: list[bool] = []
    healthy, now_s, last_s = True, 0.0, -1.0
    for passed, suspected, later_s in history:
        if suspected:
            state.suspect(now_s + later_s)
        now_s = max(now_s, state.due_s)
        assert now_s - last_s >= rule.retry_s - 1e-9
        assert now_s - last_s <= rule.interval_s + 2.0 + 1e-9
        last_s = now_s
        state.begin(now_s)
        results.append(passed)
        changed = state.observe(passed)
        needed = fall if healthy else rise
        assert changed == (len(results) >= needed and all(result != healthy for result in results[-needed:]))
        if changed:
            healthy = not healthy
            results.clear()
        assert state.healthy == healthy


def answering(status: str) -> Handler:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nLocation: /x\r\n\r\nok".encode())
        await writer.drain()

    return answer


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("200 OK", "passed"), ("302 Found", "passed"), ("503 Busy", "status"), ("nonsense", "protocol")],
)
async def test_http_probes_accept_2xx_and_3xx_only(status: str, outcome: str) -> None:
    transitions = Transitions()
    async with serving(answering(status)) as port:
        endpoint_id = f"127.0.0.1:{port}"
        checker = HealthChecker(HealthRule(type="http", interval_s=0.02, retry_s=0.01, path="/healthz"), transitions)
        checker.set_endpoints([endpoint_id])
        async with running(checker):
            await until(lambda: checker.probes[outcome] >= 3)
    assert set(checker.probes) == {outcome}
    assert checker.healthy(endpoint_id) == (outcome == "passed")
    assert [healthy for _, healthy, _ in transitions.seen] == ([] if outcome == "passed" else [False])


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_only_transitions_are_told_and_a_refused_port_is_named(kind: str) -> None:
    transitions = Transitions()
    rule = HealthRule(type="tcp" if kind == "tcp" else "http", interval_s=0.02, retry_s=0.01)
    checker = HealthChecker(rule, transitions)
    async with running(checker):
        async with serving(answering("200 OK")) as port:
            endpoint_id = f"127.0.0.1:{port}"
            checker.set_endpoints([endpoint_id])
            await until(lambda: checker.probes["passed"] >= 3)
            assert transitions.seen == []
        await transitions.next(1)
        await until(lambda: checker.probes["refused"] >= 5)
        async with serving(answering("200 OK"), port):
            await transitions.next(2)
    assert transitions.seen == [(endpoint_id, False, "refused"), (endpoint_id, True, "passed")]


async def test_a_stall_of_the_own_process_condemns_nobody() -> None:
    transitions = Transitions()
    rule = HealthRule(interval_s=0.2, timeout_s=0.1, retry_s=0.01, fall=1)
    async with serving(answering("200 OK")) as port:
        endpoint_id = f"127.0.0.1:{port}"
        checker = HealthChecker(rule, transitions)
        checker.set_endpoints([endpoint_id])
        async with running(checker):
            stall_ended_s = time.monotonic() + 10.0
            while not checker.probes["stalled"]:
                assert time.monotonic() < stall_ended_s, "no probe was ever under way when the process stood still"
                time.sleep(0.3)  # noqa: ASYNC251 -- the stall is what is tested
                for _ in range(3):
                    await asyncio.sleep(0)
            passed = checker.probes["passed"]
            await until(lambda: checker.probes["passed"] > passed)
    assert transitions.seen == []


async def test_an_endpoint_that_left_is_not_probed_any_more_and_starts_healthy_when_it_returns() -> None:
    transitions = Transitions()
    checker = HealthChecker(HealthRule(interval_s=0.02, retry_s=0.01), transitions)
    dead, other = "127.0.0.1:1", "127.0.0.1:2"
    checker.set_endpoints([dead])
    async with running(checker):
        await transitions.next(1)
        checker.set_endpoints([other])
        assert checker.healthy(dead)
        await transitions.next(2)
        checker.set_endpoints([dead])
        assert checker.healthy(dead)
        await transitions.next(3)
    assert [endpoint_id for endpoint_id, _, _ in transitions.seen] == [dead, other, dead]


def test_an_id_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="is not an address"):
        HealthChecker(RULE, lambda *_: None).set_endpoints(["nonsense"])


async def test_suspecting_an_unknown_endpoint_is_harmless() -> None:
    HealthChecker(RULE, lambda *_: None).suspect("127.0.0.1:1")


SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    connection.close()
"""


@contextlib.contextmanager
def server_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_killed_server_is_found_within_two_seconds_at_the_default_rule(seed: int) -> None:
    transitions = Transitions()
    with server_process() as (process, endpoint_id):
        checker = HealthChecker(HealthRule(), transitions, rng=random.Random(seed))
        checker.set_endpoints([endpoint_id])
        async with running(checker):
            await until(lambda: checker.probes["passed"] >= 1)
            killed_s = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            assert await transitions.next(1) - killed_s < 2.0
    assert transitions.seen == [(endpoint_id, False, "refused")]


@pytest.mark.process
async def test_a_suspected_dead_server_is_found_in_a_fraction_of_a_second() -> None:
    transitions = Transitions()
    with server_process() as (process, endpoint_id):
        checker = HealthChecker(HealthRule(interval_s=60.0), transitions, rng=random.Random(1))
        checker.set_endpoints([endpoint_id])
        async with running(checker):
            checker.suspect(endpoint_id)
            await until(lambda: checker.probes["passed"] == 1)
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            killed_s = time.monotonic()
            checker.suspect(endpoint_id)
            assert await transitions.next(1) - killed_s < 0.5


@pytest.mark.process
async def test_a_server_that_hangs_fails_http_probes_by_their_timeout() -> None:
    transitions = Transitions()
    with server_process() as (process, endpoint_id):
        checker = HealthChecker(HealthRule(type="http"), transitions, rng=random.Random(1))
        checker.set_endpoints([endpoint_id])
        async with running(checker):
            await until(lambda: checker.probes["passed"] >= 1)
            stopped_s = time.monotonic()
            os.kill(process.pid, signal.SIGSTOP)
            assert await transitions.next(1) - stopped_s < 2.5
            os.kill(process.pid, signal.SIGCONT)
            await transitions.next(2)
    assert transitions.seen == [(endpoint_id, False, "timeout"), (endpoint_id, True, "passed")]
