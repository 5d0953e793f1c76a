from collections.abc import AsyncIterator

import httpx
import pytest

from forestay import InvalidInput
from forestay.control.loop import ClusterLoop
from forestay.service.api import create_app
from forestay.service.exposition import Metrics
from forestay.service.protection import BODY_MAX_BYTES


def client_of(cluster: ClusterLoop, token: str = "", metrics: Metrics | None = None) -> httpx.AsyncClient:
    app = create_app({"chat": cluster}, token=token, metrics=metrics)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://forestay")


@pytest.mark.parametrize("path", ["/v1/clusters", "/metrics", "/docs", "/openapi.json", "/nope"])
async def test_everything_but_health_needs_the_token(cluster: ClusterLoop, path: str) -> None:
    async with client_of(cluster, token="s3cret") as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            refused = await client.get(path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "Authorization: Bearer" in refused.json()["remedy"]
        assert (await client.get(path, headers={"Authorization": "Bearer s3cret"})).status_code in (200, 404)


async def test_health_is_open_to_everybody(cluster: ClusterLoop) -> None:
    async with client_of(cluster, token="s3cret") as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_web_pages_of_other_sites_cannot_use_an_api_without_a_token(cluster: ClusterLoop) -> None:
    async with client_of(cluster) as client:
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/v1/clusters/chat/endpoints/a:1/drain", headers=headers)).status_code == 403
        assert (await client.get("/v1/clusters", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "example.org", ""])
def test_no_app_is_made_for_other_machines_without_a_token(host: str) -> None:
    with pytest.raises(InvalidInput, match="set a token"):
        create_app({}, host=host)
    create_app({}, host=host, token="s3cret")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    create_app({}, host=host)


async def test_a_body_over_the_bound_is_refused_whether_announced_or_not(cluster: ClusterLoop) -> None:
    too_large = b" " * (BODY_MAX_BYTES + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(too_large), 1 << 20):
            yield too_large[start : start + (1 << 20)]

    async with client_of(cluster) as client:
        headers = {"content-type": "application/json"}
        for content in (too_large, chunks()):
            response = await client.post("/v1/reports", content=content, headers=headers)
            assert response.status_code == 413
            assert response.json()["remedy"] == "send less at once"


async def test_answers_are_counted_by_status_refusals_included(cluster: ClusterLoop) -> None:
    metrics = Metrics({"chat": cluster})
    async with client_of(cluster, token="s3cret", metrics=metrics) as client:
        await client.get("/healthz")
        await client.get("/v1/clusters")
    assert metrics.responses == {200: 1, 401: 1}
