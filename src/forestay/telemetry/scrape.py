"""Pulls load reports from the Prometheus page of every server: for servers without an agent."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import httpx
import structlog

from forestay.control.address import join_address, split_address
from forestay.control.per_endpoint import PerEndpoint
from forestay.control.ports import ReportSink
from forestay.control.schedule import Schedule
from forestay.model.load import LoadReport
from forestay.telemetry.exposition import Meter, PageMalformed
from forestay.telemetry.page import FetchFailed, client, fetch

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeRule:
    """Where the pages are and what they mean.

    Attributes:
        metrics: expression by field of a load report, see `forestay.telemetry.exposition`.
        port: of the page; None: the endpoint's own.
        url_path: of the page.
        interval_s: from one look at an endpoint to the next.
        timeout_s: a look that takes longer has failed.
        bytes_max: a larger page is refused.
    """

    metrics: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    url_path: str = "/metrics"
    interval_s: float = 1.0
    timeout_s: float = 0.8
    bytes_max: int = 4 << 20

    def url(self, endpoint_id: str) -> str:
        """Address of an endpoint's page."""
        host, port = split_address(endpoint_id)
        return f"http://{join_address(host, self.port or port)}{self.url_path}"


class Scraper:
    """Looks at every endpoint of the set once an interval, each at its own phase of it.

    Attributes:
        scrapes: looks by outcome: "reported", "first" (no rates yet), "nothing" (no metric was there), "malformed", or
            a reason of `FetchFailed`.
        missing: looks that lacked a field of the mapping, by field.
    """

    def __init__(
        self,
        rule: ScrapeRule,
        sink: ReportSink,
        *,
        rng: random.Random | None = None,
        scrapes_max: int = 64,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a scraper that does nothing until `run`.

        Args:
            rule: for all endpoints alike.
            sink: takes the reports, on the loop's thread.
            rng: spreads the endpoints over the interval.
            scrapes_max: looks under way at once; further ones wait.
            now_s: the clock of the reports.

        Raises:
            InvalidInput: `rule.metrics` cannot be used.
        """
        Meter(rule.metrics)
        self.scrapes: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self._rule = rule
        self._sink = sink
        self._rng = rng or random.Random()
        self._now_s = now_s
        self._slots = asyncio.Semaphore(scrapes_max)
        self._tasks = PerEndpoint(self._watch)
        self._since_s: dict[str, float] = {}
        self._failing: set[str] = set()
        self._client: httpx.AsyncClient

    def set_endpoints(self, endpoint_ids: Iterable[str]) -> None:
        """Take the whole set of endpoints.

        Raises:
            ValueError: an id is not "host:port".
        """
        wanted = dict.fromkeys(endpoint_ids)
        for endpoint_id in wanted:
            split_address(endpoint_id)
        now_s = self._now_s()
        self._since_s = {endpoint_id: self._since_s.get(endpoint_id, now_s) for endpoint_id in wanted}
        self._failing &= wanted.keys()
        self._tasks.set_endpoints(wanted)

    def staleness_s(self) -> dict[str, float]:
        """Seconds since each endpoint last gave a report (or joined, if it never did)."""
        now_s = self._now_s()
        return {endpoint_id: now_s - since_s for endpoint_id, since_s in self._since_s.items()}

    async def run(self) -> None:
        """Scrape until cancelled."""
        async with client() as self._client:
            await self._tasks.run()

    async def _watch(self, endpoint_id: str) -> None:
        meter = Meter(self._rule.metrics)
        schedule = Schedule(self._now_s() + self._rng.uniform(0.0, self._rule.interval_s), self._rule.interval_s)
        while True:
            await asyncio.sleep(max(0.0, schedule.due_s - self._now_s()))
            schedule.begin(self._now_s())
            async with self._slots:
                self.scrapes[await self._scrape(endpoint_id, meter)] += 1

    async def _scrape(self, endpoint_id: str, meter: Meter) -> str:
        url = self._rule.url(endpoint_id)
        try:
            body = await fetch(self._client, url, timeout_s=self._rule.timeout_s, bytes_max=self._rule.bytes_max)
            at_s = self._now_s()
            measured = meter.measure(body.decode(errors="replace"), at_s)
        except (FetchFailed, PageMalformed) as error:
            if endpoint_id not in self._failing:
                log.warning("scrape_failed", endpoint=endpoint_id, why=str(error))
                self._failing.add(endpoint_id)
            return error.reason if isinstance(error, FetchFailed) else "malformed"
        self._failing.discard(endpoint_id)
        self.missing.update(meter.missing)
        if not measured:
            return "nothing" if meter.missing else "first"
        self._since_s[endpoint_id] = at_s
        self._sink(LoadReport(endpoint_id, at_s, **measured))
        return "reported"
