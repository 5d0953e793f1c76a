"""What happened in one cluster, as plain numbers that only the control loop writes and anybody may read.

Counting is kept apart from exporting: the loop adds to integers, the metrics page reads them when it is asked.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SECONDS_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of histogram buckets, seconds: three a decade from a good tick to the longest sensible wait."""


class Histogram:
    """Counts of observations by bucket.

    Attributes:
        bounds: upper bounds of the buckets, ascending, inclusive.
        buckets: observations in each bucket (not cumulative); the last one is for all above the last bound.
        total: sum of the observations.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS_BOUNDS) -> None:
        self.bounds = tuple(bounds)
        self.buckets = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Counts:
    """Everything that is counted in one cluster, from the start of the process.

    Attributes:
        ticks: ticks begun.
        ticks_late: of these, how many began more than 0.1 s after their time.
        ticks_missed: due times that passed without a tick.
        tick_s: time that a tick took.
        wait_s: time that queued direct placements waited, whatever became of them.
        decisions: verdicts of direct placements by (kind, reason).
        connections: by what became of them: "opened", "moved", "closed", "failed", "adopted",
            "adopted_gone", "resync_gone".
        placements: direct placements by what became of them: "confirmed", "expired", "closed", "failed", "abandoned".
        reports: load reports by outcome: "taken", "unknown_endpoint", "unusable".
        fallbacks: ticks made with a fallback in force, by its name.
        moves: connections that a plan wanted moved, by reason.
        errors: things that went wrong and were survived, by where.
    """

    ticks: int = 0
    ticks_late: int = 0
    ticks_missed: int = 0
    tick_s: Histogram = field(default_factory=Histogram)
    wait_s: Histogram = field(default_factory=Histogram)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    placements: Counter[str] = field(default_factory=Counter)
    reports: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
