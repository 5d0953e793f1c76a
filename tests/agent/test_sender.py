import random
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest

from forestay.agent.sampler import Sample
from forestay.agent.sender import RETRY_S_MAX, Sender
from forestay.agent.settings import AgentSettings
from forestay.telemetry.reports import OpenSockets, Report, digest
from tests.agent.control_plane import ControlPlane


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane().running() as plane:
        yield plane


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


class Now:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def settings(**changes: object) -> AgentSettings:
    return AgentSettings.model_validate({"cluster": "chat", "endpoint": "127.0.0.1:80"} | changes)


def sample(ended_s: float, cpu: float = 0.5, ports: tuple[int, ...] = ()) -> Sample:
    sockets = tuple(("10.0.0.9", port, "10.0.0.1", 80) for port in ports)
    counted = OpenSockets(count=len(sockets), digest=digest(sockets))
    report = Report(cluster="chat", endpoint="127.0.0.1:80", cpu=cpu, connections=counted)
    return Sample(ended_s, report, sockets)


async def test_what_waits_goes_out_in_one_request_dated_by_age(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    now = Now()
    sender = Sender(settings(token="secret"), plane.url, client, now_s=now)
    sender.add(sample(98.0, cpu=0.25))
    sender.add(sample(99.5, cpu=0.5))
    await sender.send()
    assert [(report.cpu, report.age_s) for report in plane.reports] == [(0.25, 2.0), (0.5, 0.5)]
    assert (plane.requests, sender.waiting, sender.attempts["taken"]) == (1, 0, 1)
    assert plane.authorization == "bearer secret"
    await sender.send()
    assert plane.requests == 1


async def test_one_connection_is_kept_for_all_reports(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    sender = Sender(settings(), plane.url, client, now_s=Now())
    for second in range(5):
        sender.add(sample(float(second)))
        await sender.send()
    assert (plane.requests, plane.connections) == (5, 1)


@pytest.mark.parametrize(
    ("status", "outcome"), [("503 Busy", "busy"), ("429 Too Many", "busy"), ("401 Unauthorized", "denied")]
)
async def test_reports_are_kept_while_the_control_plane_cannot_take_them(
    plane: ControlPlane, client: httpx.AsyncClient, status: str, outcome: str
) -> None:
    now = Now()
    sender = Sender(settings(), plane.url, client, now_s=now)
    plane.status = status
    sender.add(sample(99.0))
    await sender.send()
    assert (sender.attempts[outcome], sender.waiting, sender.dropped) == (1, 1, 0)
    plane.status = "200 OK"
    now.s += RETRY_S_MAX
    await sender.send()
    assert [report.age_s for report in plane.reports] == [1.0 + RETRY_S_MAX]


async def test_reports_that_nobody_wants_are_dropped(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    sender = Sender(settings(), plane.url, client, now_s=Now())
    plane.status = "422 Unprocessable"
    sender.add(sample(99.0))
    await sender.send()
    plane.status, plane.answer = "200 OK", '{"taken": 0, "unknown": ["chat/127.0.0.1:80"]}'
    sender.add(sample(100.0))
    await sender.send()
    assert (sender.waiting, sender.dropped) == (0, 2)
    assert sender.attempts == {"refused": 1, "unknown": 1}


async def test_a_control_plane_that_hangs_costs_the_timeout_and_no_report(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    sender = Sender(settings(timeout_s=0.05), plane.url, client, now_s=Now())
    plane.hang = True
    sender.add(sample(99.0))
    await sender.send()
    assert (sender.attempts["away"], sender.waiting) == (1, 1)


async def test_the_buffer_keeps_the_newest(client: httpx.AsyncClient) -> None:
    plane, now = ControlPlane(), Now()
    async with plane.running():
        pass
    sender = Sender(settings(buffer_max=3), plane.url, client, now_s=now)
    for second in range(10):
        sender.add(sample(float(second), cpu=second / 10))
        await sender.send()
    assert (sender.waiting, sender.dropped) == (3, 7)
    async with plane.running(plane.port):
        now.s += RETRY_S_MAX
        await sender.send()
    assert [report.cpu for report in plane.reports] == [0.7, 0.8, 0.9]


async def test_attempts_grow_rarer_up_to_a_bound_and_are_spread(client: httpx.AsyncClient) -> None:
    waits: list[list[float]] = []
    for seed in range(3):
        now = Now()
        sender = Sender(settings(), "http://127.0.0.1:1", client, rng=random.Random(seed), now_s=now)
        sender.add(sample(99.0))
        times: list[float] = []
        while now.s < 200.0:
            if sender.attempts["away"] > len(times):
                times.append(now.s)
            await sender.send()
            now.s += 0.1
        waits.append([later - earlier for earlier, later in pairwise(times)])
        assert 100 / RETRY_S_MAX <= len(times) < 100
        assert max(waits[-1]) <= RETRY_S_MAX + 0.2
    assert waits[0] != waits[1] != waits[2]


async def test_a_list_of_sockets_goes_along_when_it_changed_and_not_too_often(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    now = Now()
    sender = Sender(settings(sockets_every_s=10.0), plane.url, client, now_s=now)

    async def report(*ports: int) -> list[int] | None:
        sender.add(sample(now.s, ports=ports))
        await sender.send()
        connections = plane.reports[-1].connections
        assert connections is not None
        assert connections.count == len(ports)
        return None if connections.listed is None else [peer_port for _, peer_port, _, _ in connections.listed]

    assert await report(1, 2) == [1, 2]
    now.s += 5.0
    assert await report(1, 3) is None
    now.s += 5.0
    assert await report(1, 3) == [1, 3]
    now.s += 50.0
    assert await report(3, 1) is None


async def test_only_a_count_goes_along_if_that_is_what_is_wanted(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    sender = Sender(settings(sockets="count"), plane.url, client, now_s=Now())
    sender.add(sample(99.0, ports=(1, 2)))
    await sender.send()
    assert plane.reports[0].connections is not None
    assert (plane.reports[0].connections.count, plane.reports[0].connections.listed) == (2, None)
