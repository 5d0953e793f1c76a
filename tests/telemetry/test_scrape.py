import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from forestay.model.errors import InvalidInput
from forestay.model.load import LoadReport
from forestay.telemetry.scrape import Scraper, ScrapeRule
from tests.telemetry.page_server import PageServer
from tests.waiting import until

METRICS = {"cpu": "cpu_seconds_total", "open_connections": "connections"}


class Sink:
    def __init__(self) -> None:
        self.reports: list[LoadReport] = []

    def __call__(self, report: LoadReport) -> None:
        self.reports.append(report)


@contextlib.asynccontextmanager
async def scraping(scraper: Scraper) -> AsyncIterator[None]:
    task = asyncio.create_task(scraper.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def rule(**changes: object) -> ScrapeRule:
    return ScrapeRule(**({"metrics": METRICS, "interval_s": 0.02, "timeout_s": 0.2} | changes))  # type: ignore[arg-type]


async def test_reports_come_from_a_real_page_with_rates_from_the_second_look_on() -> None:
    sink = Sink()
    async with PageServer().running() as server:
        server.page("cpu_seconds_total 100\nconnections 7\n")
        scraper = Scraper(rule(), sink)
        scraper.set_endpoints([server.endpoint_id])
        async with scraping(scraper):
            await until(lambda: len(sink.reports) >= 2)
            server.page("cpu_seconds_total 100.01\nconnections 9\n")
            await until(lambda: sink.reports[-1].open_connections == 9)
            growing = next(report for report in sink.reports if report.open_connections == 9)
    assert sink.reports[0].cpu is None
    assert (sink.reports[1].cpu, sink.reports[1].open_connections) == (0.0, 7)
    assert growing.cpu is not None
    assert 0.05 < growing.cpu < 1.0  # 10 ms of CPU between two looks, 20 ms apart if this machine is quick
    assert all(report.endpoint_id == server.endpoint_id for report in sink.reports)


@pytest.mark.parametrize("reason", ["status", "too_large", "encoded", "malformed", "timeout", "protocol", "nothing"])
async def test_a_page_that_cannot_be_used_is_counted_by_reason_and_nothing_is_reported(reason: str) -> None:
    sink = Sink()
    async with PageServer().running() as server:
        server.page("connections high\n" if reason == "malformed" else "other 1\n" if reason == "nothing" else "")
        if reason == "status":
            server.page("", status="503 Busy")
        if reason == "too_large":
            server.page("x" * 2000)
        if reason == "encoded":
            server.page("", headers="Content-Encoding: gzip\r\n")
        if reason == "protocol":
            server.answer = b"gibberish\r\n\r\n"
        server.hang = reason == "timeout"
        scraper = Scraper(rule(bytes_max=1000), sink)
        scraper.set_endpoints([server.endpoint_id])
        async with scraping(scraper):
            await until(lambda: scraper.scrapes[reason] >= 2)
            assert sink.reports == []
            server.hang = False
            server.page("connections 1\n")
            await until(lambda: len(sink.reports) >= 2)
    assert sink.reports[0].open_connections == 1
    assert scraper.missing["cpu"] >= 1


async def test_a_dead_server_is_counted_and_its_staleness_grows() -> None:
    now_s = 0.0
    scraper = Scraper(rule(), Sink(), now_s=lambda: now_s)
    async with PageServer().running() as server:
        pass
    scraper.set_endpoints([server.endpoint_id])
    now_s = 100.0
    scraper.set_endpoints([server.endpoint_id, "127.0.0.1:2"])
    assert scraper.staleness_s() == {server.endpoint_id: 100.0, "127.0.0.1:2": 0.0}
    async with scraping(scraper):
        await until(lambda: scraper.scrapes["connect"] >= 2)
    assert set(scraper.scrapes) == {"connect"}


async def test_endpoints_come_and_go_and_the_page_may_have_its_own_port() -> None:
    sink = Sink()
    async with PageServer().running() as one, PageServer().running() as two:
        for server in (one, two):
            server.page("connections 1\n")
        scraper = Scraper(rule(), sink, rng=random.Random(1))
        scraper.set_endpoints([one.endpoint_id])
        async with scraping(scraper):
            await until(lambda: one.requests >= 2)
            scraper.set_endpoints([two.endpoint_id])
            asked, told = one.requests, len(sink.reports)
            await until(lambda: two.requests >= 3)
            assert one.requests <= asked + 1
            assert {report.endpoint_id for report in sink.reports[told:]} == {two.endpoint_id}
    assert rule(port=9100, url_path="/m").url("[::1]:80") == "http://[::1]:9100/m"


def test_a_mapping_that_cannot_work_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInput, match="metrics is empty"):
        Scraper(ScrapeRule(), Sink())
