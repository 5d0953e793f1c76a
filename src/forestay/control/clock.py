"""The two clocks of a control process, as one value that tests can replace with virtual time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from.

    Attributes:
        now_s: monotonic seconds, the same for every process of the machine; decisions use this one.
        wall_s: Unix time, seconds; for the calendar, for records that outlive the process, and for people.
    """

    now_s: Callable[[], float]
    wall_s: Callable[[], float]

    def monotonic(self, unix_s: float) -> float:
        """The moment `unix_s` on the monotonic clock, by the offset that holds now."""
        return self.now_s() + unix_s - self.wall_s()

    def unix(self, monotonic_s: float) -> float:
        """The moment `monotonic_s` as Unix time, by the offset that holds now."""
        return self.wall_s() + monotonic_s - self.now_s()


SYSTEM_CLOCK = Clock(time.monotonic, time.time)  # noqa: TID251 -- the one place where wall time enters the control process
