"""Turns endpoint ids into numeric addresses, which is all that workers connect to.

An id with an address in it is ready at once. Host names are resolved in the background and again every 30 s; until
the first answer the endpoint is not eligible, and afterwards the last good answer stays (fail static).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import structlog

from forestay.dataplanes.relay.shared_table import Target

REFRESH_S = 30.0
RETRY_S = 2.0
TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


def split(endpoint_id: str) -> tuple[str, int] | None:
    """Host and port of an endpoint id; None if it has no port in [1, 65535]."""
    host, _, port = endpoint_id.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        return None
    return host, int(port)


class Addresses:
    """Targets by endpoint id. Call `lookup` freely; `refresh` does the waiting."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._due_s: dict[str, float] = {}
        self._unusable: set[str] = set()

    def lookup(self, endpoint_id: str, now_s: float) -> Target | None:
        """Where to connect; None: not known, or not yet."""
        target = self._targets.get(endpoint_id)
        if target is None and endpoint_id not in self._due_s and endpoint_id not in self._unusable:
            parts = split(endpoint_id)
            if parts is None or "\t" in endpoint_id or "\n" in endpoint_id:
                log.error("endpoint_unusable", endpoint=endpoint_id, remedy="use host:port, or [IPv6]:port")
                self._unusable.add(endpoint_id)
                return None
            try:
                target = self._targets[endpoint_id] = Target(endpoint_id, str(ipaddress.ip_address(parts[0])), parts[1])
            except ValueError:
                self._due_s[endpoint_id] = now_s
        return target

    def keep(self, endpoint_ids: Iterable[str]) -> None:
        """Forget all others."""
        wanted = set(endpoint_ids)
        for known in (self._targets, self._due_s):
            for endpoint_id in known.keys() - wanted:
                del known[endpoint_id]
        self._unusable &= wanted

    async def refresh(self, now_s: float) -> bool:
        """Resolve the names that are due. True: some target changed."""
        due = [endpoint_id for endpoint_id, due_s in self._due_s.items() if due_s <= now_s]
        return any(await asyncio.gather(*(self._resolve(endpoint_id, now_s) for endpoint_id in due)))

    async def _resolve(self, endpoint_id: str, now_s: float) -> bool:
        parts = split(endpoint_id)
        assert parts is not None
        host, port = parts
        try:
            lookup = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers = await asyncio.wait_for(lookup, TIMEOUT_S)
        except (OSError, TimeoutError, UnicodeError) as error:
            log.warning("endpoint_unresolved", endpoint=endpoint_id, error=str(error) or "timed out")
            if endpoint_id in self._due_s:
                self._due_s[endpoint_id] = now_s + RETRY_S
            return False
        target = Target(endpoint_id, str(answers[0][4][0]), port)
        if endpoint_id not in self._due_s:  # removed in the meantime
            return False
        changed = self._targets.get(endpoint_id) != target
        self._targets[endpoint_id], self._due_s[endpoint_id] = target, now_s + REFRESH_S
        return changed
