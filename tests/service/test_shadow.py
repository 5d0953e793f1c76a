"""The API of a cluster in shadow mode."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestay import Balancer, Endpoint, LoadReport
from forestay.control.loop import ClusterLoop
from forestay.control.shadow.shadow import Shadow, ShadowRule
from forestay.service.api import create_app
from forestay.service.exposition import Metrics
from tests.control.worlds import A, B, DictStore

from .test_api import problem
from .test_fuzz import SCALARS, VALUES

CHAT = "/v1/clusters/chat"
OBSERVATIONS = st.fixed_dictionaries(
    {"event": st.sampled_from(["opened", "closed"]), "id": st.sampled_from(["a", "b"]) | SCALARS},
    optional={"endpoint": st.sampled_from([A, B]) | SCALARS, "at": SCALARS, "client": SCALARS, "hint": SCALARS},
)
LOADS = [{"cluster": "chat", "endpoint": endpoint_id, "load": 0.4, "open_connections": 2} for endpoint_id in (A, B)]


@pytest.fixture
def shadow() -> Shadow:
    return Shadow("chat", ShadowRule("agents", warm_up_s=0.0))


@pytest.fixture
async def observed(shadow: Shadow) -> ClusterLoop:
    """A cluster in shadow mode; nothing ticks unless a test does it."""
    loop = ClusterLoop("chat", Balancer(), DictStore(), shadow=shadow)
    loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], loop.clock.now_s())
    await loop.start()
    return loop


@pytest.fixture
async def client(observed: ClusterLoop) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app({"chat": observed}), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://forestay") as client:
        yield client


def turn(observed: ClusterLoop, shadow: Shadow) -> None:
    """What the shadow's task and the loop's tick do."""
    now_s = observed.clock.now_s()
    shadow.step(now_s)
    observed.tick(now_s)
    assert observed.counts.errors == {}


async def test_what_is_posted_is_judged_and_shown(
    observed: ClusterLoop, shadow: Shadow, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/reports", json=LOADS)
    turn(observed, shadow)
    body = {
        "observations": [
            {"event": "opened", "id": "a1", "endpoint": A},
            {"event": "opened", "id": "a2", "endpoint": "10.9.9.9:80"},
            {"event": "opened", "id": "a3", "endpoint": B, "at": 1.0},
        ]
    }
    assert (await client.post(f"{CHAT}/observations", json=body)).json() == {"taken": 2, "unknown": ["10.9.9.9:80"]}
    turn(observed, shadow)
    shown = (await client.get(f"{CHAT}/shadow")).json()
    assert shown["choice"]["judged"] == 1
    assert shown["sightings"] == {"judged": 1, "late": 1}
    assert shown["coverage"] == 0.5
    assert list(shown["caveats"]) == ["connections_unseen", "many_seen_late"]
    assert [(each["id"], each["load"], each["connections"]) for each in shown["endpoints"]] == [
        (A, 0.4, 1),
        (B, 0.4, 1),
    ]
    assert shown["as_is"]["max_over_mean"] == pytest.approx(1.0)
    closed = {"observations": [{"event": "closed", "id": "a1"}]}
    assert (await client.post(f"{CHAT}/observations", json=closed)).json()["taken"] == 1
    turn(observed, shadow)
    assert (await client.get(f"{CHAT}/shadow")).json()["sightings"]["closed"] == 1


async def test_before_anything_is_known_it_says_what_is_missing(client: httpx.AsyncClient) -> None:
    shown = (await client.get(f"{CHAT}/shadow")).json()
    assert list(shown["caveats"]) == ["no_load_reports", "warming_up"]
    assert shown["warm_up_left_s"] is None
    assert shown["fallbacks"] == ["telemetry_missing"]
    assert shown["as_is"] == shown["would_be"]


async def test_agents_lists_of_sockets_are_followed(
    observed: ClusterLoop, shadow: Shadow, client: httpx.AsyncClient
) -> None:
    for sockets in ([], [["10.1.0.1", 5000, "10.0.0.1", 80]]):
        listed = {"count": len(sockets), "listed": sockets}
        report = {"cluster": "chat", "endpoint": A, "load": 0.4, "connections": listed}
        assert (await client.post("/v1/reports", json=report)).json()["taken"] == 1
        turn(observed, shadow)
    assert (await client.get(f"{CHAT}/shadow")).json()["sightings"] == {"judged": 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/placements"),
        ("GET", "/placements/c"),
        ("PUT", "/placements/c"),
        ("DELETE", "/placements/c"),
        ("POST", f"/endpoints/{A}/drain"),
        ("POST", f"/endpoints/{A}/undrain"),
    ],
)
async def test_it_places_and_drains_nothing_and_says_why(client: httpx.AsyncClient, method: str, path: str) -> None:
    refusal = problem(await client.request(method, f"{CHAT}{path}", json={}), 409)
    assert "shadow mode" in refusal["detail"]
    assert "without --shadow" in refusal["remedy"]


@pytest.mark.parametrize(("method", "path"), [("GET", "shadow"), ("POST", "observations")])
async def test_a_cluster_that_places_has_no_shadow(api: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"observations": [{"event": "closed", "id": "a"}]}
    assert "--shadow" in problem(await api.request(method, f"{CHAT}/{path}", json=body), 409)["remedy"]


@pytest.mark.parametrize(
    ("observation", "field"),
    [
        ({"event": "opened", "id": "a"}, "observations.0"),
        ({"event": "moved", "id": "a"}, "observations.0.event"),
        ({"event": "closed", "id": ""}, "observations.0.id"),
        ({"event": "closed", "id": "a", "at": -1}, "observations.0.at"),
        ({"event": "opened", "id": "a", "endpoint": "x"}, "observations.0.endpoint"),
    ],
)
async def test_a_bad_observation_names_its_field(
    client: httpx.AsyncClient, observation: dict[str, object], field: str
) -> None:
    answer = problem(await client.post(f"{CHAT}/observations", json={"observations": [observation]}), 422)
    assert answer["errors"][0]["field"] == field


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observations=st.lists(OBSERVATIONS, max_size=4) | VALUES)
def test_any_observation_is_taken_or_refused_and_harms_nothing(observations: Any) -> None:
    async def answer() -> httpx.Response:
        shadow = Shadow("chat", ShadowRule(warm_up_s=0.0))
        loop = ClusterLoop("chat", Balancer(), DictStore(), shadow=shadow)
        loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], loop.clock.now_s())
        await loop.start()
        loop.report(LoadReport(A, loop.clock.now_s(), load=0.5))
        turn(loop, shadow)
        transport = httpx.ASGITransport(create_app({"chat": loop}))
        async with httpx.AsyncClient(transport=transport, base_url="http://forestay") as client:
            content = json.dumps({"observations": observations}).encode()
            response = await client.post(f"{CHAT}/observations", content=content)
            turn(loop, shadow)
            assert (await client.get(f"{CHAT}/shadow")).status_code == 200
        return response

    response = asyncio.run(answer())
    assert response.status_code in (200, 422)
    if response.status_code == 422:
        assert response.json()["detail"]


async def test_the_metrics_say_the_same(observed: ClusterLoop, shadow: Shadow, client: httpx.AsyncClient) -> None:
    await client.post("/v1/reports", json=LOADS)
    turn(observed, shadow)
    opened = {"observations": [{"event": "opened", "id": f"c{number}", "endpoint": A} for number in range(5)]}
    await client.post(f"{CHAT}/observations", json=opened)
    turn(observed, shadow)
    shadow.sources["access_log"] = shadow.intake.outcomes
    page = (await Metrics({"chat": observed}).page()).decode().splitlines()
    verdicts = [line for line in page if line.startswith("forestay_shadow_choices_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in verdicts) == 5.0
    for sample in (
        'forestay_shadow_sightings_total{cluster="chat",outcome="judged"} 5.0',
        'forestay_background_total{activity="access_log",cluster="chat",outcome="judged"} 5.0',
        'forestay_shadow_server_seconds_total{cluster="chat",over="0.7",world="as_is"} 0.0',
        'forestay_shadow_caveat{caveat="warming_up",cluster="chat"} 0.0',
    ):
        assert sample in page
    even = 'forestay_shadow_max_over_mean_ratio{cluster="chat",world="would_be"} '
    assert [float(line.removeprefix(even)) for line in page if line.startswith(even)] == [pytest.approx(1.0)]
