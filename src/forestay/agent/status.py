"""The server's own word on its work: a small flat JSON object in a file or at a URL.

    {"requests_total": 81234, "request_bytes_total": 5.1e6, "processing_s_total": 310.5, "open_connections": 912}

Counters rather than rates, because a server then only ever adds, and a lost look loses nothing. The object is read as a
page of metrics, so what holds for those (restarts, expressions) holds here too.
"""

import json
import math
import re
from pathlib import Path

import httpx

from forestay.model.errors import ForestayError
from forestay.telemetry.page import FetchFailed, fetch

STATUS_METRICS = {
    "load": "load",
    "requests_per_s": "requests_total",
    "request_bytes": "request_bytes_total / requests_total",
    "processing_s": "processing_s_total / requests_total",
    "open_connections": "open_connections",
}
"""What the usual keys mean; a server may leave out any."""

BYTES_MAX = 64 << 10
STALE_AFTER_S = 10.0
"""A file that nobody wrote for this long is a dead server's last word."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class StatusUnusable(ForestayError):
    """The status says nothing this time."""


class Status:
    """Where the status is, and what it says."""

    def __init__(self, where: str) -> None:
        """Choose a file or an http(s) URL."""
        self._where = where
        self._is_url = where.startswith(("http://", "https://"))
        self._written: tuple[int, float] | None = None

    async def read(self, client: httpx.AsyncClient, timeout_s: float, now_s: float) -> str:
        """The status now, as a page of metrics.

        Raises:
            StatusUnusable: there is none, it is stale, or no flat JSON object.
        """
        if self._is_url:
            try:
                return as_page(await fetch(client, self._where, timeout_s=timeout_s, bytes_max=BYTES_MAX))
            except FetchFailed as error:
                raise StatusUnusable(str(error)) from None
        return as_page(self._read_file(now_s))

    def _read_file(self, now_s: float) -> bytes:
        try:
            with Path(self._where).open("rb") as file:
                body = file.read(BYTES_MAX + 1)
            written_ns = Path(self._where).stat().st_mtime_ns
        except OSError as error:
            raise StatusUnusable(f"{self._where}: {error.strerror}") from None
        if len(body) > BYTES_MAX:
            raise StatusUnusable(f"{self._where} is larger than {BYTES_MAX} bytes")
        # The file's own time is on the wall clock, which may jump: what counts is for how long we saw no change.
        if self._written is None or self._written[0] != written_ns:
            self._written = (written_ns, now_s)
        if now_s - self._written[1] > STALE_AFTER_S:
            raise StatusUnusable(f"{self._where} was not written for {STALE_AFTER_S:g} s")
        return body


def as_page(body: bytes) -> str:
    """The numbers of a flat JSON object as lines of a Prometheus page; what is no number is left out.

    Raises:
        StatusUnusable: not a JSON object.
    """
    try:
        status = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StatusUnusable(f"the status is not JSON: {error}") from None
    if not isinstance(status, dict):
        raise StatusUnusable('the status is not a JSON object: write {"requests_total": 1}')
    return "".join(
        f"{name} {float(value)!r}\n"
        for name, value in status.items()
        if _NAME.fullmatch(name)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= 1e300  # also false for NaN, and keeps integers inside what a float can hold
        and math.isfinite(value)
    )
