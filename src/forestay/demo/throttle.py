"""A CPU budget without cgroups: a process that pays for its CPU seconds in wall seconds before it works again.

The idea: after burning x CPU seconds on a budget of b cores, the next piece of work may start no sooner than x / b wall
seconds after this one could start. Under overload work then waits as it would under a cgroup CPU quota, and below the
budget nothing is delayed by more than the piece of work before it.
"""

import time

CATCH_UP_MAX_S = 1.0
"""Time that a late start may earn back. Late timers and a machine that is busy for a moment must not shrink the budget;
a machine that cannot give it at all must not be asked for ever more.
"""


class CpuThrottle:
    """When work may start again, on a budget. Pure arithmetic: the clocks are arguments.

    Attributes:
        budget: cores, (0, 1].
        ready_at_s: monotonic time before which no work may start.
    """

    def __init__(self, budget: float) -> None:
        if not 0.0 < budget <= 1.0:
            raise ValueError(f"budget = {budget}: must lie in (0, 1] cores")
        self.budget = budget
        self.ready_at_s = 0.0

    def charge(self, cpu_s: float, asked_s: float, started_s: float) -> None:
        """Pay for `cpu_s` CPU seconds of work that was there at monotonic `asked_s` and started at `started_s`.

        Idle time earns nothing: a server that slept for a minute must not then run at full speed for a while.
        """
        self.ready_at_s = max(self.ready_at_s, asked_s, started_s - CATCH_UP_MAX_S) + cpu_s / self.budget

    def wait_s(self, now_s: float) -> float:
        """How long until work may start, seconds, >= 0."""
        return max(0.0, self.ready_at_s - now_s)


def burn(cpu_s: float) -> None:
    """Use `cpu_s` seconds of CPU time of this thread, measured by the kernel and not by calibration."""
    end_s = time.thread_time() + cpu_s
    value = 1
    while time.thread_time() < end_s:
        for _ in range(50):  # about 3 us: the clock is read often enough, and is not all that is burnt
            value = value * 1_103_515_245 + 12_345 & 0xFFFFFFFF
