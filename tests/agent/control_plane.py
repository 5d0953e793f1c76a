"""A control plane for agents to talk to: a real HTTP server on loopback that keeps what it is sent."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from forestay.telemetry.reports import Report, parse_reports


class ControlPlane:
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.requests = 0
        self.connections = 0
        self.authorization = ""
        self.status = "200 OK"
        self.answer = "{}"
        self.hang = False
        self.url = "http://127.0.0.1:1"
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["ControlPlane"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with server:
                yield self
        finally:
            for writer in self._writers:
                writer.close()
            self._writers.clear()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
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
                answer = self.answer if self.status.startswith("2") else json.dumps({"detail": "no"})
                writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
                await writer.drain()
        writer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that has no event, up to ten seconds."""
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 -- there is none to wait for
            await asyncio.sleep(0.005)
