"""A watcher on a real file."""

import asyncio
from pathlib import Path

import structlog.testing

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs import haproxy
from forestay.telemetry.access_logs.line import ServerNames
from forestay.telemetry.access_logs.watcher import AccessLogWatcher
from tests.waiting import until

from .test_haproxy import SRV1, TCP


async def test_lines_become_sightings_and_the_rest_is_counted_and_explained_once(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.log"
    path.write_text(TCP + "\n")
    seen: list[Sighting] = []
    watcher = AccessLogWatcher(path, haproxy.parser(ServerNames({"srv1": SRV1})), seen.append)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(watcher.run())
        try:
            with path.open("a") as file:
                await asyncio.sleep(0)  # the watcher has opened the file: what it held is the past
                file.write(f"{TCP}\n\nnonsense\nmore nonsense\nhaproxy[1]: Proxy bench started.\n{TCP}\n")
                file.flush()
                await until(lambda: len(seen) == 2)
        finally:
            task.cancel()
    assert [sighting.endpoint_id for sighting in seen] == [SRV1, SRV1]
    assert {outcome: count for outcome, count in watcher.lines.items() if count} == {
        "seen": 2,
        "malformed": 2,
        "other": 1,
    }
    unusable = [line for line in logs if line["event"] == "access_log_unusable"]
    assert [(line["outcome"], line["line"]) for line in unusable] == [("malformed", "nonsense")]


async def test_a_path_that_cannot_be_read_is_said_once_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.mkdir()
    seen: list[Sighting] = []
    watcher = AccessLogWatcher(path, haproxy.parser(ServerNames({"srv1": SRV1})), seen.append)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(watcher.run())
        try:
            await until(lambda: watcher.lines["read_errors"] >= 2)
            path.rmdir()
            path.write_text(TCP + "\n")
            await until(lambda: len(seen) == 1)
        finally:
            task.cancel()
    assert len([line for line in logs if line["event"] == "access_log_unusable"]) == 1
