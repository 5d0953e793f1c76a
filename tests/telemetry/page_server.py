"""A real HTTP server on loopback with one page, which tests change while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.serving import serving


class PageServer:
    def __init__(self) -> None:
        self.answer = b""
        self.hang = False
        self.requests = 0
        self.endpoint_id = ""

    def page(self, text: str, *, status: str = "200 OK", headers: str = "") -> None:
        body = text.encode()
        self.answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["PageServer"]:
        async with serving(self._serve) as port:
            self.endpoint_id = f"127.0.0.1:{port}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            assert request.startswith(b"GET /metrics HTTP/1.1")
            self.requests += 1
            if self.hang:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
