"""A control plane for agents to talk to: a real HTTP server on loopback that keeps what it is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from forestay.telemetry.reports import Report, parse_reports
from tests.serving import serving


class ControlPlane:
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.requests = 0
        self.connections = 0
        self.authorization = ""
        self.status = "200 OK"
        self.answer = "{}"
        self.hang = False
        self.port = 1
        self.url = "http://127.0.0.1:1"

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["ControlPlane"]:
        async with serving(self._serve, port) as self.port:
            self.url = f"http://127.0.0.1:{self.port}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            assert head.startswith("POST /v1/reports HTTP/1.1")
            self.requests += 1
            self.authorization = headers.get("authorization", "")
            if self.hang:
                await reader.read()
            if self.status.startswith("2"):
                self.reports += parse_reports(body)
            writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.answer)}\r\n\r\n{self.answer}".encode())
            await writer.drain()
