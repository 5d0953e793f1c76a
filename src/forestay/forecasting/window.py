"""Connections as a load report saw them: averaged over the report's own window, not counted at the tick.

A report is a mean over one second that ended a little before it arrived. Relating it to the connections of any other
moment blurs what is learned from it, most of all where connections live for seconds.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from forestay.model.plan import FloatArray

REPORT_WINDOW_S = 1.0
INTERVALS = 8
"""Ticks kept: reports up to some seven seconds late can still be learned from."""


class Interval(NamedTuple):
    """Mean connections between two ticks: `x` of shape (costs + 1, endpoints), the last row accepts a second."""

    starts_s: float
    ends_s: float
    x: FloatArray


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

    def at(self, at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean connections over each endpoint's report window.

        Args:
            at_s: end of the latest report's window by endpoint, shape (endpoints,).

        Returns:
            X of shape (costs + 1, endpoints), and the part of each window that is covered, in [0, 1].
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
