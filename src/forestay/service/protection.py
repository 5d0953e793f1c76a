"""What every request passes around its route: the token, a bound on its body, a count. Plain ASGI middleware."""

import hmac
import ipaddress
from collections import Counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forestay.model.errors import InvalidInput
from forestay.service.problems import Problem, problem_response

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
BODY_MAX_BYTES = 16 << 20
"""The largest load report, one that lists 200,000 sockets, has about 10 MB; nothing that people send comes near."""


def require_token_beyond_loopback(host: str, token: str) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        InvalidInput: `host` is not a loopback address and `token` is empty.
    """
    try:
        is_loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback and not token:
        raise InvalidInput(f"listen = {host!r}: set a token to listen beyond loopback, or listen on 127.0.0.1")


class TokenRequired:
    """Lets requests pass that carry the bearer token; health is open to everybody.

    Without a token the API is for this machine only. Browsers on it may still be told by any web page to send
    requests here; they mark those as cross-site, and those are refused.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            refusal = self._refusal(Headers(scope=scope))
            if refusal is not None:
                await problem_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> Problem | None:
        if self._expected:
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                return Problem(
                    401,
                    "the token is missing or wrong",
                    'send the header "Authorization: Bearer TOKEN" with the token of [service] in the configuration',
                    headers={"WWW-Authenticate": "Bearer"},
                )
        elif headers.get("sec-fetch-site") == "cross-site":
            return Problem(403, "a web page of another site sent this request", "set a token to allow this")
        return None


class BodyBound:
    """Refuses bodies of more than `body_max_bytes`, announced or not."""

    def __init__(self, app: ASGIApp, body_max_bytes: int = BODY_MAX_BYTES) -> None:
        self._app = app
        self._body_max_bytes = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > self._body_max_bytes:
            await problem_response(self._too_large())(scope, receive, send)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._body_max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, receive_bounded, send)

    def _too_large(self) -> Problem:
        return Problem(413, f"the body is larger than {self._body_max_bytes} bytes", "send less at once")


class ResponsesCounted:
    """Counts answers by status."""

    def __init__(self, app: ASGIApp, responses: Counter[int]) -> None:
        self._app = app
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._responses[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, send_counted)
