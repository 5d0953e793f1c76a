"""The routes, over the real loop and balancer."""

import asyncio
from typing import Any

import httpx
import pytest

from forestay.control.loop import ClusterLoop
from forestay.service.problems import MEDIA_TYPE
from tests.control.worlds import A, B, relay_id, relayed

CHAT = "/v1/clusters/chat"


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal; every one of them has a detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["detail"]
    return document


async def test_health_and_readiness_need_a_plan_and_nothing_else(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok", "problems": []}
    assert (await api.get("/readyz")).status_code == 200
    cluster.plan = None
    unready = await api.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["problems"] == ["cluster chat: no plan yet"]
    assert (await api.get("/healthz")).status_code == 200


async def test_clusters_are_listed_with_what_happened_in_them(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    cluster.opened(relayed(relay_id(1, 1), A), cluster.clock.now_s())
    await api.post(f"{CHAT}/placements", json={})
    (view,) = (await api.get("/v1/clusters")).json()["clusters"]
    assert (view["name"], view["endpoints"], view["eligible"]) == ("chat", 2, 2)
    assert (view["open_connections"], view["reserved"], view["queued"]) == (1, 1, 0)
    assert view["decisions"] == {"admit/fittest": 1}
    assert view["connections"] == {"opened": 1}


async def test_an_unknown_cluster_is_not_found_and_the_known_ones_are_named(api: httpx.AsyncClient) -> None:
    for path in ("endpoints", "plan", "connections", "events"):
        assert problem(await api.get(f"/v1/clusters/chta/{path}"), 404)["remedy"] == "use one of: chat"


async def test_endpoints_show_health_load_and_forecast(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    report = {"cluster": "chat", "endpoint": A, "cpu": 0.4, "network": 0.1, "memory": 0.5, "requests_per_s": 20}
    assert (await api.post("/v1/reports", json=report)).json() == {"taken": 1, "unknown": [], "unusable": []}
    cluster.health_changed(B, False, "refused")
    cluster.tick(cluster.clock.now_s())
    first, second = (await api.get(f"{CHAT}/endpoints")).json()["endpoints"]
    assert (first["id"], first["load"], first["report"]["memory"], first["eligible"]) == (A, 0.4, 0.5, True)
    assert [point["horizon_s"] for point in first["forecast"]] == [5.0, 10.0, 30.0]
    assert all(0.0 <= point["load"] <= point["load_q90"] + 1e-9 for point in first["forecast"])
    assert (second["healthy"], second["health_detail"], second["eligible"]) == (False, "refused", False)
    assert (await api.get(f"{CHAT}/endpoints/{A}")).json()["load"] == 0.4


async def test_endpoints_are_added_changed_drained_and_removed(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    added = await api.post(f"{CHAT}/endpoints", json={"id": "LocalHost:80", "capacity": 2, "zone": "a"})
    assert added.status_code == 201
    assert added.json()["id"] == "localhost:80"
    assert added.json()["named_by"] == ["api"]
    changed = await api.post(f"{CHAT}/endpoints", json={"id": "localhost:80", "connections_max": 5})
    assert (changed.json()["capacity"], changed.json()["connections_max"]) == (None, 5)
    assert (await api.post(f"{CHAT}/endpoints/localhost%3A80/drain")).json()["draining"] is True
    cluster.tick(cluster.clock.now_s())
    assert set((await api.get(f"{CHAT}/plan")).json()["pool"]) == {A, B}
    assert (await api.post(f"{CHAT}/endpoints/localhost%3A80/undrain")).json()["draining"] is False
    assert (await api.delete(f"{CHAT}/endpoints/localhost:80")).status_code == 204
    for method, path in (("DELETE", ""), ("POST", "/drain"), ("POST", "/undrain"), ("GET", "")):
        document = problem(await api.request(method, f"{CHAT}/endpoints/localhost:80{path}"), 404)
        assert "localhost:80" in document["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({"id": "nonsense"}, "id"),
        ({"id": "a:0"}, "id"),
        ({"id": A, "capacity": 0}, "capacity"),
        ({"id": A, "capacity": "big"}, "capacity"),
        ({"id": A, "connections_max": 0}, "connections_max"),
        ({"id": A, "zone": "x" * 300}, "zone"),
        ({"id": A, "capactiy": 2}, "capactiy"),
    ],
)
async def test_a_bad_endpoint_is_refused_by_the_name_of_its_field(
    api: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    (error,) = problem(await api.post(f"{CHAT}/endpoints", json=body), 422)["errors"]
    assert error["field"] == field
    assert error["remedy"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 5000, b'{"id": 1e999}', b"9" * 5000])
async def test_a_body_that_is_no_json_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    response = await api.post(f"{CHAT}/endpoints", content=body, headers={"content-type": "application/json"})
    assert problem(response, response.status_code)["status"] in (400, 422)


async def test_the_plan_says_who_takes_newcomers(api: httpx.AsyncClient) -> None:
    plan = (await api.get(f"{CHAT}/plan")).json()
    assert set(plan["pool"]) == set(plan["weights"]) == set(plan["slots"]) == {A, B}
    assert plan["fallbacks"] == ["telemetry_missing"]
    assert plan["age_s"] >= 0.0
    assert not plan["shed"]


async def test_connections_are_listed_by_page_and_by_endpoint(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    ids = [relay_id(1, n) for n in range(5)]
    for n, connection_id in enumerate(ids):
        cluster.opened(relayed(connection_id, A if n < 3 else B), cluster.clock.now_s())
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = (await api.get(f"{CHAT}/connections", params={"limit": 2, "offset": offset})).json()
        assert len(page["connections"]) <= 2
        seen += [connection["id"] for connection in page["connections"]]
        offset = page["next_offset"]
    assert seen == ids
    on_b = (await api.get(f"{CHAT}/connections", params={"endpoint": B})).json()["connections"]
    assert [connection["id"] for connection in on_b] == ids[3:]
    one = (await api.get(f"{CHAT}/connections/{ids[0]}")).json()
    assert (one["endpoint_id"], one["client"], one["upstream"][1]) == (A, "192.0.2.1:5555", 40_000)
    problem(await api.get(f"{CHAT}/connections/nobody"), 404)
    problem(await api.get(f"{CHAT}/connections", params={"limit": 0}), 422)


async def test_a_placement_can_be_explained(api: httpx.AsyncClient) -> None:
    placed = (await api.post(f"{CHAT}/placements", json={"id": "p"})).json()
    explanation = (await api.get(f"{CHAT}/connections/p/explain")).json()
    assert placed["endpoint_id"] in explanation["explanation"]
    problem(await api.get(f"{CHAT}/connections/nobody/explain"), 404)


async def test_events_are_announced_listed_replaced_and_withdrawn(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    body = {"name": "final", "in_s": 60, "for_s": 600, "arrival_factor": 3}
    first = await api.post(f"{CHAT}/events", json=body)
    assert first.status_code == 201
    assert first.json()["starts_at"] == pytest.approx(cluster.clock.wall_s() + 60, abs=5)
    starts_at = cluster.clock.wall_s() - 5
    body = {"name": "final", "starts_at": starts_at, "ends_at": starts_at + 10, "arrival_factor": 2}
    assert (await api.post(f"{CHAT}/events", json=body)).status_code == 201
    assert (await api.get(f"{CHAT}/events")).json() == {"events": [body]}
    assert (await api.delete(f"{CHAT}/events/final")).status_code == 204
    assert (await api.get(f"{CHAT}/events")).json() == {"events": []}
    problem(await api.delete(f"{CHAT}/events/final"), 404)


@pytest.mark.parametrize(
    "change",
    [
        {"for_s": None},
        {"ends_at": 1.0, "for_s": None},
        {"ends_at": 4e9},
        {"starts_at": 4e9, "in_s": 1},
        {"starts_at": 4e9, "for_s": None, "ends_at": 3e9},
        {"arrival_factor": -1},
        {"name": ""},
        {"name": "a/b"},
        {"for_s": 0},
    ],
)
async def test_an_event_that_makes_no_sense_is_refused(api: httpx.AsyncClient, change: dict[str, Any]) -> None:
    body = {"name": "final", "for_s": 600, "arrival_factor": 3} | change
    assert problem(await api.post(f"{CHAT}/events", json=body), 422)["remedy"]


async def test_reports_for_unknown_endpoints_are_named_and_the_others_count(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/v1/reports",
        json=[
            {"cluster": "chat", "endpoint": A, "load": 0.5},
            {"cluster": "chat", "endpoint": "10.9.9.9:1", "load": 0.5},
            {"cluster": "nope", "endpoint": A, "load": 0.5},
        ],
    )
    assert answer.json() == {"taken": 1, "unknown": ["chat/10.9.9.9:1", f"nope/{A}"], "unusable": []}


async def test_a_percentage_sent_as_load_is_refused_with_the_remedy(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/reports", json={"cluster": "chat", "endpoint": A, "load": 42})
    (error,) = problem(response, 422)["errors"]
    assert error["field"] == "load"
    assert "42 % is 0.42" in error["remedy"]


async def test_a_direct_placement_from_question_to_end(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    asked = await api.post(f"{CHAT}/placements", json={"client": "player-17", "hint": "match"})
    assert asked.status_code == 201
    placement = asked.json()
    path = f"{CHAT}/placements/{placement['id']}"
    assert placement["state"] == "reserved"
    assert placement["endpoint_id"] in (A, B)
    again = await api.post(f"{CHAT}/placements", json={"id": placement["id"]})
    assert (again.status_code, again.json()["endpoint_id"]) == (201, placement["endpoint_id"])
    confirmed = (await api.put(path)).json()
    assert (confirmed["endpoint_id"], confirmed["client"]) == (placement["endpoint_id"], "player-17")
    assert (await api.put(path, json={})).status_code == 200
    assert (await api.get(path)).json()["state"] == "confirmed"
    assert (await api.get(f"{CHAT}/connections/{placement['id']}")).status_code == 200
    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(path)).status_code == 204
    problem(await api.get(path), 404)
    problem(await api.put(path), 404)
    assert cluster.connections.open == {}


async def test_preferred_and_excluded_endpoints_are_heeded(api: httpx.AsyncClient) -> None:
    for endpoint_id, other in ((A, B), (B, A)):
        preferred = (await api.post(f"{CHAT}/placements", json={"exclude": [other]})).json()
        assert preferred["endpoint_id"] == endpoint_id


async def test_a_failed_placement_costs_the_endpoint(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    first = (await api.post(f"{CHAT}/placements", json={"id": "p"})).json()
    assert (await api.delete(f"{CHAT}/placements/p", params={"failed": True})).status_code == 204
    second = (await api.post(f"{CHAT}/placements", json={"id": "p"})).json()
    assert second["endpoint_id"] != first["endpoint_id"]


async def test_without_waiting_a_full_cluster_answers_202_and_keeps_the_place(
    cluster: ClusterLoop, api: httpx.AsyncClient
) -> None:
    for endpoint_id in (A, B):
        await api.post(f"{CHAT}/endpoints/{endpoint_id}/drain")
    cluster.tick(cluster.clock.now_s())
    queued = await api.post(f"{CHAT}/placements", json={"id": "p"})
    assert (queued.status_code, queued.json()["state"]) == (202, "queued")
    assert int(queued.headers["retry-after"]) >= 1
    problem(await api.put(f"{CHAT}/placements/p"), 422)
    await api.post(f"{CHAT}/endpoints/{A}/undrain")
    cluster.tick(cluster.clock.now_s())
    turn = await api.post(f"{CHAT}/placements", json={"id": "p"})
    assert (turn.status_code, turn.json()["endpoint_id"]) == (201, A)


async def test_a_wait_in_vain_ends_with_503_and_leaves_the_queue(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    for endpoint_id in (A, B):
        await api.post(f"{CHAT}/endpoints/{endpoint_id}/drain")
    response = await api.post(f"{CHAT}/placements", json={"wait_s": 0.05})
    problem(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    assert cluster.placements.queued == 0


async def test_a_waiting_request_is_answered_when_its_turn_comes(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    for endpoint_id in (A, B):
        await api.post(f"{CHAT}/endpoints/{endpoint_id}/drain")
    asked = asyncio.create_task(api.post(f"{CHAT}/placements", json={"wait_s": 30}))
    async with asyncio.timeout(5):
        await cluster.placements.waiting.wait()
    await api.post(f"{CHAT}/endpoints/{B}/undrain")
    cluster.placements.poll(cluster.clock.now_s())
    response = await asked
    assert (response.status_code, response.json()["endpoint_id"]) == (201, B)


async def test_a_connection_of_a_data_plane_is_no_placement(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    connection = relayed(relay_id(1, 1), A)
    cluster.opened(connection, cluster.clock.now_s())
    for method in ("GET", "PUT", "DELETE"):
        document = problem(await api.request(method, f"{CHAT}/placements/{connection.id}"), 422)
        assert "data plane" in document["detail"]
    assert cluster.connections.open == {A: 1}


async def test_every_route_is_described(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    operations = [
        (path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    assert len(operations) >= 20
    for path, method, operation in operations:
        assert operation.get("summary"), (path, method)
        assert operation.get("description"), (path, method)
        assert operation.get("tags"), (path, method)


async def test_what_does_not_exist_is_answered_with_a_problem(api: httpx.AsyncClient) -> None:
    problem(await api.get("/nope"), 404)
    problem(await api.put("/v1/clusters"), 405)
