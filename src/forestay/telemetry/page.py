"""Fetches a small page of a server by HTTP: bounded in time and size, failures named by one word."""

import asyncio

import httpx

from forestay.model.errors import ForestayError


class FetchFailed(ForestayError):
    """There is no page this time.

    Attributes:
        reason: "timeout", "connect", "status", "too_large", "encoded" or "protocol"; for metrics.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def client() -> httpx.AsyncClient:
    """A client for pages of the operator's own servers: no proxies from the environment, no compression.

    Uncompressed, because the bound on size must hold for what is read into memory, and a second's CPU matters more
    than bytes inside a data centre.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
    return httpx.AsyncClient(headers={"Accept-Encoding": "identity"}, limits=limits, trust_env=False)


async def fetch(client: httpx.AsyncClient, url: str, *, timeout_s: float, bytes_max: int) -> bytes:
    """The body of a page.

    Raises:
        FetchFailed: it did not come whole in `timeout_s`, is larger than `bytes_max`, compressed, or not 2xx.
    """
    try:
        async with asyncio.timeout(timeout_s), client.stream("GET", url, timeout=timeout_s) as response:
            if not response.is_success:
                raise FetchFailed("status", f"{url} answered {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchFailed("encoded", f"{url} is compressed although identity was asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > bytes_max:
                    raise FetchFailed("too_large", f"{url} is larger than {bytes_max} bytes")
            return bytes(body)
    except (TimeoutError, httpx.TimeoutException):
        raise FetchFailed("timeout", f"{url} did not answer within {timeout_s:g} s") from None
    except httpx.ConnectError as error:
        raise FetchFailed("connect", f"{url}: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed("protocol", f"{url}: {error or type(error).__name__}") from None
