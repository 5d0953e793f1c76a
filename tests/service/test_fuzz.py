"""Whatever a client sends, the answer is a success or a refusal that says why; never a 500, never a hanging request."""

import asyncio
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestay import Balancer, Endpoint
from forestay.control.loop import ClusterLoop
from forestay.service.api import create_app
from tests.control.worlds import A, B, DictStore

ROUTES = [
    ("POST", "/v1/clusters/chat/endpoints"),
    ("POST", "/v1/clusters/chat/events"),
    ("POST", "/v1/clusters/chat/placements"),
    ("PUT", "/v1/clusters/chat/placements/p"),
    ("POST", "/v1/reports"),
]
FIELDS = st.sampled_from(
    [
        *["id", "capacity", "zone", "connections_max", "name", "arrival_factor", "starts_at", "ends_at", "in_s"],
        *["for_s", "client", "hint", "prefer", "exclude", "wait_s", "endpoint_id", "cluster", "endpoint", "load"],
        *["cpu", "memory", "age_s", "connections", "open_connections"],
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["chat", A, B, "p", "[::1]:80", 1e308, 10**400, "\ud800", "\x00", 0, -1, 0.5, 1.0])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(FIELDS, SCALARS | st.lists(SCALARS, max_size=3), max_size=6) | VALUES


async def _answer(method: str, path: str, content: bytes | None) -> httpx.Response:
    loop = ClusterLoop("chat", Balancer(), DictStore())
    loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], 0.0)
    await loop.start()
    transport = httpx.ASGITransport(create_app({"chat": loop}))
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://forestay") as client:
        response = await client.request(method, path, content=content, headers=headers)
    loop.tick(loop.clock.now_s())
    assert loop.counts.errors == {}
    return response


def check(method: str, path: str, content: bytes | None = None) -> None:
    response = asyncio.run(_answer(method, path, content))
    assert response.status_code < 500 or response.status_code == 503, response.text
    if response.status_code >= 400:
        assert response.json()["detail"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(route=st.sampled_from(ROUTES), body=BODIES)
def test_any_json_body_is_taken_or_refused(route: tuple[str, str], body: Any) -> None:
    check(*route, json.dumps(body).encode())


@settings(max_examples=50, deadline=None)
@given(route=st.sampled_from(ROUTES), body=st.binary(max_size=50))
def test_any_bytes_are_taken_or_refused(route: tuple[str, str], body: bytes) -> None:
    check(*route, body)


@settings(max_examples=100, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH"]),
    topic=st.sampled_from(["endpoints", "connections", "events", "placements", "plan"]),
    name=st.text(max_size=12),
    query=st.sampled_from(["", "?limit=x", "?offset=-1", "?limit=1000&offset=99999999", "?failed=2", "?endpoint="]),
)
def test_any_path_is_answered(method: str, topic: str, name: str, query: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass"))
    check(method, f"/v1/clusters/chat/{topic}/{quoted}{query}")
