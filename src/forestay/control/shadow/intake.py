"""What a shadow hears, turned into openings and closings in the order of time, each at its own moment."""

from collections import Counter
from collections.abc import Iterable, Iterator

import structlog

from forestay.control.clock import Clock
from forestay.control.shadow.sightings import Sighting, WaitingLine
from forestay.model.load import LoadReport

log = structlog.get_logger(__name__)


ANNOUNCED_MAX = 1_000_000
"""Connections that may be open as far as we know: a source that never says "closed" must not fill the memory."""


class Intake:
    """Sightings and load reports on their way.

    Attributes:
        outcomes: what became of sightings; others count here, too.
        clock: the shadow's own, behind by the delay; set before anything is heard.
    """

    def __init__(self, cluster: str, delay_s: float) -> None:
        """Make one that hands everything on `delay_s` after it happened."""
        self.outcomes: Counter[str] = Counter()
        self.clock: Clock
        self._delay_s = delay_s
        self._line: WaitingLine[LoadReport | Sighting] = WaitingLine()
        self._sockets: dict[str, frozenset[str]] = {}  # of each endpoint, as last listed
        self._announced: set[str] = set()  # openings that were seen and not their closings
        self._lived = 0
        self._log = log.bind(cluster=cluster)

    def __len__(self) -> int:
        return len(self._line)

    @property
    def now_s(self) -> float:
        """This moment in the world outside; `clock` is the shadow's own, which is behind by the delay."""
        return self.clock.now_s() + self._delay_s

    def observe(self, sighting: Sighting) -> None:
        """Take what was seen of a connection; its moment is never later than now."""
        now_s = self.now_s
        at_s = now_s if sighting.at is None else min(self.clock.monotonic(sighting.at), now_s)
        if sighting.event == "lived" and sighting.at is None:
            at_s = now_s - sighting.duration_s
        if sighting.event == "lived" and sighting.id in self._announced:  # only its end is news
            at_s = min(at_s + sighting.duration_s, now_s)
            sighting = Sighting("closed", sighting.id)
        if sighting.event == "closed":  # never left out: it frees memory
            self._announced.discard(sighting.id)
            self._line.join(at_s, sighting)
        elif self._line.full or len(self._announced) >= ANNOUNCED_MAX:
            self.count("overflow", sighting, "lower clusters.NAME.shadow.delay_s; does the source say what closes?")
        elif sighting.event == "lived":
            self._observe_life(sighting, at_s)
        else:
            self._announced.add(sighting.id)
            self._line.join(at_s, sighting)

    def observe_sockets(self, endpoint_id: str, sockets: Iterable[tuple[str, int, str, int]], age_s: float) -> None:
        """Take the list of all connections that a server has; what is new since the last one has opened."""
        now = frozenset(f"{source}:{port}>{endpoint_id}" for source, port, _, _ in sockets)
        before = self._sockets.get(endpoint_id)
        self._sockets[endpoint_id] = now
        at = self.clock.unix(self.now_s - age_s)
        for connection_id in sorted(before - now if before else ()):
            self.observe(Sighting("closed", connection_id, at=at))
        for connection_id in sorted(now - before if before is not None else now):
            self.observe(Sighting("present" if before is None else "opened", connection_id, endpoint_id, at=at))

    def hold(self, report: LoadReport) -> bool:
        """Let a load report wait for its moment; False: it need not, or cannot."""
        if not self._delay_s or self._line.full:
            return False
        self._line.join(self.now_s, report)
        return True

    def forget_endpoint(self, endpoint_id: str) -> None:
        """It is gone; if it comes back, its connections were there before."""
        self._sockets.pop(endpoint_id, None)

    def due(self, now_s: float) -> Iterator[tuple[float, LoadReport | Sighting]]:
        """What has happened until `now_s` on the shadow's clock: openings, closings and load reports."""
        return self._line.due(now_s)

    def count(self, outcome: str, sighting: Sighting, remedy: str) -> None:
        """Count a sighting that is of no use, and say so the first time."""
        if not self.outcomes[outcome]:
            self._log.warning(
                "sighting_unusable", outcome=outcome, id=sighting.id, endpoint=sighting.endpoint_id, remedy=remedy
            )
        self.outcomes[outcome] += 1

    def _observe_life(self, sighting: Sighting, opened_s: float) -> None:
        self._lived += 1
        connection_id = sighting.id or f"lived-{self._lived}"
        opened = Sighting("opened", connection_id, sighting.endpoint_id, client=sighting.client, hint=sighting.hint)
        self._line.join(opened_s, opened)
        self._line.join(min(opened_s + sighting.duration_s, self.now_s), Sighting("closed", connection_id))
