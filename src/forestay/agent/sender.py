"""Sends reports to the control plane, keeps the newest ones while it is away.

Every attempt carries everything that waits, in one request. Between failed attempts it waits longer and longer, up to
`RETRY_S_MAX`, each time a random part of that (at least half), so that a control plane that returns is not met by all
agents at once.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable

import httpx
import structlog

from forestay.agent.sampler import Sample
from forestay.agent.settings import AgentSettings
from forestay.telemetry.reports import CONNECTIONS_MAX, OpenSockets, Report, Reports

log = structlog.get_logger(__name__)

RETRY_S_MAX = 2.0
"""A control plane that returns must not place blindly for long; and it has to stand a report a second anyway."""


class Sender:
    """A bounded buffer of reports and the way out of it.

    Attributes:
        attempts: requests by outcome: "taken"; "unknown" (the cluster has no such endpoint) and "refused" (malformed in
            the control plane's eyes): dropped; "denied" (the token), "busy" (429 or 5xx), "away" (no answer): kept for
            the next attempt.
        dropped: reports that did not count: unknown, refused, or pushed out of the full buffer.
    """

    def __init__(
        self,
        settings: AgentSettings,
        control_plane: str,
        client: httpx.AsyncClient,
        *,
        rng: random.Random | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.attempts: Counter[str] = Counter()
        self.dropped = 0
        self._settings = settings
        self._control_plane = control_plane
        self._client = client
        self._rng = rng or random.Random()
        self._now_s = now_s
        self._waiting: deque[Sample] = deque()
        self._failures = 0
        self._not_before_s = float("-inf")
        self._listed: tuple[str | None, float] = (None, float("-inf"))
        self._last_outcome = "taken"

    @property
    def waiting(self) -> int:
        """Reports in the buffer."""
        return len(self._waiting)

    def add(self, sample: Sample) -> None:
        """Put one into the buffer; the oldest makes room."""
        if len(self._waiting) >= self._settings.buffer_max:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(sample)

    async def send(self) -> None:
        """Try to send what waits, unless the last failure was too short a while ago. Never takes over `timeout_s`."""
        now_s = self._now_s()
        if not self._waiting or now_s < self._not_before_s:
            return
        newest = self._waiting[-1]
        reports = [self._dated(sample, now_s) for sample in self._waiting]
        lists = self._list_is_due(newest, now_s)
        if lists and newest.report.connections is not None:
            counted = newest.report.connections
            listed = OpenSockets(count=counted.count, digest=counted.digest, listed=list(newest.sockets))
            reports[-1] = reports[-1].model_copy(update={"connections": listed})
        outcome, detail = await self._post(Reports(reports))
        self.attempts[outcome] += 1
        self._log_change(outcome, detail)
        if outcome in ("taken", "unknown", "refused"):
            self._failures = 0
            self.dropped += 0 if outcome == "taken" else len(self._waiting)
            self._waiting.clear()
            if outcome == "taken" and lists and newest.report.connections is not None:
                self._listed = (newest.report.connections.digest, now_s)
        else:
            self._failures += 1
            wait_s = min(RETRY_S_MAX, self._settings.interval_s * 2.0 ** min(self._failures - 1, 10))
            self._not_before_s = self._now_s() + self._rng.uniform(wait_s / 2, wait_s)

    def _list_is_due(self, newest: Sample, now_s: float) -> bool:
        """Whether the list of connections goes along: it changed since it last arrived, long enough ago."""
        counted = newest.report.connections
        if self._settings.sockets != "list" or counted is None or counted.count > CONNECTIONS_MAX:
            return False
        digest, listed_s = self._listed
        return counted.digest != digest and now_s - listed_s >= self._settings.sockets_every_s

    @staticmethod
    def _dated(sample: Sample, now_s: float) -> Report:
        return sample.report.model_copy(update={"age_s": max(0.0, now_s - sample.ended_s)})

    async def _post(self, reports: Reports) -> tuple[str, str]:
        """Send one request; returns the outcome as it is counted, and the detail for people."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response = await self._client.post(
                    f"{self._control_plane}/v1/reports",
                    content=reports.model_dump_json(exclude_none=True),
                    headers=self._headers(),
                    timeout=self._settings.timeout_s,
                )
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            return "away", str(error) or type(error).__name__
        if response.is_success:
            return ("unknown", response.text[:500]) if _names_unknown(response) else ("taken", "")
        detail = f"{response.status_code} {response.text[:500]}"
        if response.status_code in (401, 403):
            return "denied", f"{detail}; is the token right?"
        if response.status_code == 429 or response.status_code >= 500:
            return "busy", detail
        return "refused", detail

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if token := self._settings.token.get_secret_value():
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _log_change(self, outcome: str, detail: str) -> None:
        """Log when the outcome changes, not every second."""
        if outcome == self._last_outcome:
            return
        self._last_outcome = outcome
        if outcome == "taken":
            log.info("reports_taken_again", control_plane=self._control_plane, dropped=self.dropped)
        else:
            log.warning(f"reports_{outcome}", control_plane=self._control_plane, why=detail)


def _names_unknown(response: httpx.Response) -> bool:
    """Whether the answer to a report says that nobody knows its endpoint."""
    try:
        answer = response.json()
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("unknown"))
