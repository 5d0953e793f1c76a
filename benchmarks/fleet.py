"""The servers of a fault run: real processes that can be killed and started again on the same port."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.backend import accept_times
from benchmarks.processes import child

PROGRAM = Path(__file__).with_name("backend.py")


class Server:
    """One of them."""

    def __init__(self, directory: Path, number: int, options: Sequence[object], stack: ExitStack) -> None:
        self._accepts = directory / f"accepts-{number}"
        self._options, self._stack = list(options), stack
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        """As forestay calls it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again on its old port."""
        command = [sys.executable, PROGRAM, "--accepts", self._accepts, "--port", self.port, *self._options]
        self._process = self._stack.enter_context(child(command, stdout=subprocess.PIPE))
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def accept_times(self) -> list[float]:
        """When it got new connections, monotonic seconds, over all its lives."""
        return accept_times(self._accepts)


@contextmanager
def servers(directory: Path, count: int, *options: object) -> Iterator[list[Server]]:
    """Some servers; `options` are those of `backend.py`."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield [Server(directory, number, options, stack) for number in range(count)]


def peak_per_s(times: Sequence[float], from_s: float, to_s: float, window_s: float = 1.0) -> float:
    """Most events within any `window_s` of an interval, per second."""
    within = sorted(time for time in times if from_s <= time < to_s)
    most, first = 0, 0
    for last, time in enumerate(within):
        while within[first] <= time - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most / window_s
