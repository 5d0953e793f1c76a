"""Follows an access log and hands on what it says, for as long as it runs. Whatever stands in it, it goes on."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs.line import LineUnusable, Parse
from forestay.telemetry.following import FollowedFile

log = structlog.get_logger(__name__)

LOOK_S = 0.1
"""Between two looks at the file: a tenth of a tick."""
YIELD_EVERY = 500
"""Lines that are parsed before others get a turn: some 10 ms."""


class AccessLogWatcher:
    """See the module.

    Attributes:
        lines: by outcome: "seen", "other", "malformed", "unnamed", "too_long"; and "rotations", "read_errors".
    """

    def __init__(self, path: Path, parse: Parse, sink: Callable[[Sighting], None]) -> None:
        """Watch `path`; `sink` is called on the loop's thread."""
        self.lines: Counter[str] = Counter()
        self._parse = parse
        self._sink = sink
        self._path = path
        self._explained: set[str] = set()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        file = FollowedFile(self._path)
        try:
            while True:
                await self.look(file)
                await asyncio.sleep(LOOK_S)
        finally:
            file.close()

    async def look(self, file: FollowedFile) -> None:
        """Take what has been written since the last look."""
        try:
            lines = await asyncio.to_thread(lambda: list(file.read()))
        except OSError as error:
            self._explain("read_errors", str(error))
            return
        for number, line in enumerate(lines, 1):
            self._take(line)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        self.lines["too_long"] = file.too_long
        self.lines["rotations"] = file.rotations

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        try:
            sighting = self._parse(line)
        except LineUnusable as error:
            if error.outcome == "other":
                self.lines["other"] += 1
            else:
                self._explain(error.outcome, str(error), line)
            return
        self.lines["seen"] += 1
        self._sink(sighting)

    def _explain(self, outcome: str, reason: str, line: str = "") -> None:
        """Count, and the first time say what is wrong: a wrong format would fill our own log."""
        self.lines[outcome] += 1
        if outcome not in self._explained:
            self._explained.add(outcome)
            log.warning("access_log_unusable", path=str(self._path), outcome=outcome, reason=reason, line=line[:300])
