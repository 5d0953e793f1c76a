"""The processes that the demo starts: each with a log file, none left behind.

Every child is in a session of its own, so that Ctrl-C reaches the demo alone, which then ends the children in order. A
child that ends when nobody asked it to is a `ChildFailed` with the tail of its log.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from forestay.model.errors import ForestayError

STOP_S = 6.0
"""Time between SIGTERM and SIGKILL."""

POLL_S = 0.05
TAIL_LINES = 20

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

_LIBC = ctypes.CDLL(None)

Result = TypeVar("Result")


class ChildFailed(ForestayError):
    """A process of the demo ended or never came up. The message holds the tail of its log."""


class Child:
    """One process and its log."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.expected_to_end = False
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # preexec_fn must not meet threads: the demo has none.
                preexec_fn=_end_with_the_demo if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tail(self, lines_max: int = TAIL_LINES) -> str:
        """The end of its log, under a heading."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"the end of {self.log}:", *(lines[-lines_max:] or ["(empty)"])])

    def failure(self, what: str) -> ChildFailed:
        """What went wrong, for people."""
        return ChildFailed(f"{self.name} {what}\n{self.tail()}")

    def check(self) -> None:
        """Raise `ChildFailed` if it has ended on its own account."""
        if not self.expected_to_end and self.process.poll() is not None:
            raise self.failure(f"ended with exit code {self.process.returncode}")

    def finish(self, within_s: float) -> None:
        """Wait for its end.

        Raises:
            ChildFailed: it went wrong, or takes longer.
        """
        self.expected_to_end = True
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {within_s:g} s") from None
        if code != 0:
            raise self.failure(f"ended with exit code {code}")

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.expected_to_end = True
        self.process.kill()
        self.process.wait(STOP_S)

    def wait_for(self, probe: Callable[[], Result | None], within_s: float, what: str) -> Result:
        """Ask `probe` until it answers.

        Raises:
            ChildFailed: the process ended, or there was no answer in time.
        """
        deadline_s = time.monotonic() + within_s
        while (result := probe()) is None:
            self.check()
            if time.monotonic() > deadline_s:
                raise self.failure(f"did not {what} within {within_s:g} s")
            time.sleep(POLL_S)
        return result


class Children:
    """All of them; a context manager that leaves none behind.

    Args:
        directory: for their logs.
        mark: what the command line of every process shows that they start themselves and may leave behind: a directory
            that no other run has. Relay workers outlive their control process on purpose, also when it crashes.
    """

    def __init__(self, directory: Path, mark: str) -> None:
        self._directory = directory
        self._mark = mark
        self._children: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        impatience = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
        try:
            self.stop()
        finally:
            signal.signal(signal.SIGINT, impatience)

    def start(self, name: str, *arguments: str) -> Child:
        """Start `python -m <arguments>`; its output goes to `<directory>/<name>.log`."""
        child = Child(name, arguments, self._directory / f"{name}.log")
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise `ChildFailed` if any has ended on its own account."""
        for child in self._children:
            child.check()

    def failure(self, what: str, of: str) -> ChildFailed:
        """A failure that no single child is known to have caused: with the logs of names that start with `of`."""
        tails = [child.tail(TAIL_LINES // 4) for child in self._children if child.name.startswith(of)]
        return ChildFailed("\n".join([what, *tails]))

    def stop(self) -> None:
        """End all, and whatever they started that names `mark` in its command line."""
        running = [child for child in self._children if child.process.poll() is None]
        for child in running:
            child.expected_to_end = True
            child.process.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_S
        for child in running:
            try:
                child.process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
        _, stubborn = psutil.wait_procs(self._marked(), timeout=max(0.0, deadline_s - time.monotonic()))
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn, timeout=STOP_S)
        self._children.clear()

    def _marked(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid != os.getpid() and any(self._mark in part for part in process.info["cmdline"] or ())
        ]


def _end_with_the_demo() -> None:
    """Between fork and exec: have the kernel send SIGTERM when the demo dies, even by SIGKILL."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
