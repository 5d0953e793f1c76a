from collections.abc import AsyncIterator

import httpx
import pytest

from forestay import Balancer, Endpoint
from forestay.control.loop import ClusterLoop
from forestay.service.api import create_app
from tests.control.worlds import A, B, DictStore


@pytest.fixture
async def cluster() -> ClusterLoop:
    """A cluster of two endpoints that has made its first plan; nothing ticks unless a test does it."""
    loop = ClusterLoop("chat", Balancer(), DictStore())
    loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], loop.clock.now_s())
    await loop.start()
    return loop


@pytest.fixture
async def api(cluster: ClusterLoop) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API of that cluster, without a socket in between."""
    transport = httpx.ASGITransport(create_app({"chat": cluster}), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://forestay") as client:
        yield client
