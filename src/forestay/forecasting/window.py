"""Connections as a load report saw them: averaged over the report's own window, not counted at the tick.

A report is a mean over one second that ended a little before it arrived. Relating it to the connections of any other
moment blurs what is learned from it, most of all where connections live for seconds.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forestay.model.plan import FloatArray, IntArray

REPORT_WINDOW_S = 1.0
INTERVALS = 8
"""Ticks kept: reports up to some seven seconds late can still be learned from."""


class Interval(NamedTuple):
    """What was observed between two ticks, a mean over them: `x` of shape (rows, endpoints)."""

    starts_s: float
    ends_s: float
    x: FloatArray


@dataclass(frozen=True, slots=True)
class Cohort:
    """Connections that opened or closed lately, in any order; arrays of shape (connections,).

    Attributes:
        endpoint: of each.
        opened_s: when.
        ended_s: when; infinite where it is open.
        unit: load that is expected of it at scale 1.
        doubt: part of the variance of costs that is still open about it, in [0, 1].
    """

    endpoint: IntArray
    opened_s: FloatArray
    ended_s: FloatArray
    unit: FloatArray
    doubt: FloatArray

    def mean(self, load: FloatArray, starts_s: FloatArray, ends_s: FloatArray) -> FloatArray:
        """Mean over a window of what they bring together, shape (endpoints,).

        Args:
            load: of each, shape (connections,).
            starts_s: of each endpoint's window, shape (endpoints,).
            ends_s: of the same.
        """
        i = self.endpoint
        lived = self.within(starts_s[i], ends_s[i])
        return np.bincount(i, load * lived, minlength=len(ends_s)) / np.maximum(ends_s - starts_s, 1e-9)

    def within(self, starts_s: FloatArray, ends_s: FloatArray) -> FloatArray:
        """Seconds that each lived between two moments, shapes (connections,)."""
        lived: FloatArray = np.maximum(np.minimum(self.ended_s, ends_s) - np.maximum(self.opened_s, starts_s), 0.0)
        return lived


class Window:
    """The last few intervals."""

    def __init__(self) -> None:
        self._intervals: deque[Interval] = deque(maxlen=INTERVALS)

    def clear(self) -> None:
        """Forget everything: the endpoints' slots have changed."""
        self._intervals.clear()

    def push(self, interval: Interval) -> None:
        """Remember one interval."""
        self._intervals.append(interval)

    def amend(self, row: int, cohort: Cohort, load: FloatArray, after_s: float) -> None:
        """Some connections brought more load than was thought when the intervals were noted.

        Args:
            row: of x, which counts load.
            cohort: the connections.
            load: that each brought more, shape (connections,).
            after_s: nobody asks for anything that ended before it any more.
        """
        for interval in self._intervals:
            if interval.ends_s <= after_s:
                continue
            starts_s, ends_s = (np.full(interval.x.shape[1], bound) for bound in (interval.starts_s, interval.ends_s))
            interval.x[row] += cohort.mean(load, starts_s, ends_s)

    def at(self, at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean connections over each endpoint's report window.

        Args:
            at_s: end of the latest report's window by endpoint, shape (endpoints,).

        Returns:
            X of shape (rows, endpoints), and the part of each window that is covered, in [0, 1].
        """
        if not self._intervals:
            return np.zeros((0, len(at_s))), np.zeros(len(at_s))
        x = np.zeros_like(self._intervals[-1].x)
        covered = np.zeros(len(at_s))
        for interval in self._intervals:
            overlap = np.minimum(at_s, interval.ends_s) - np.maximum(at_s - REPORT_WINDOW_S, interval.starts_s)
            if overlap.max() > 0:
                overlap = np.maximum(overlap, 0.0)
                x += overlap * interval.x
                covered += overlap
        return x / np.maximum(covered, 1e-9), covered / REPORT_WINDOW_S
