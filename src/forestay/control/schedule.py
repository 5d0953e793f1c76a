"""When the next tick is due: an absolute schedule, so that lateness neither adds up nor turns into a burst."""

import math


class Schedule:
    """Due times `start_s + k * every_s`. A tick that comes late skips the due times it missed.

    Attributes:
        due_s: when the next tick is due.
    """

    __slots__ = ("_every_s", "due_s")

    def __init__(self, start_s: float, every_s: float) -> None:
        self.due_s = start_s
        self._every_s = every_s

    def begin(self, now_s: float) -> tuple[float, int]:
        """Say that the tick due at `due_s` begins at `now_s`, and move on to the next due time after it.

        Returns:
            How late it is, seconds >= 0, and how many further due times went by unused.
        """
        late_s = max(0.0, now_s - self.due_s)
        missed = math.floor(late_s / self._every_s)
        self.due_s += (missed + 1) * self._every_s
        return late_s, missed
