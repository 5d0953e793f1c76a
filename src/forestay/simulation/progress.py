"""How far a comparison is: a bar on a terminal, a line now and then elsewhere."""

import signal
import time
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from forestay.simulation.comparison import Progress

LINE_EVERY_S = 15.0
"""Seconds between lines where there is no terminal."""


class ProgressBar:
    """Shows progress on a console; a context manager around comparisons, called after every run.

    Within it SIGTERM does what Ctrl-C does.

    Attributes:
        ended: runs that have ended, those that were known before left out.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.ended = 0
        self._next_line_s = time.monotonic() + LINE_EVERY_S
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("runs", total=None, left="")

    def __enter__(self) -> "ProgressBar":
        self._on_sigterm = signal.signal(signal.SIGTERM, _interrupt)  # so that workers are ended and the cursor shown
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def __call__(self, progress: Progress) -> None:
        """One more run has ended."""
        self.ended += bool(progress.latest)
        left = "" if progress.left_s is None else f"{_duration(progress.left_s)} left"
        self._bars.update(
            self._task, total=progress.total, completed=progress.done, left=f"{left:<14} {progress.latest}"
        )
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s >= self._next_line_s:
            self._console.print(f"{progress.done} of {progress.total} runs, {left}", soft_wrap=True)
            self._next_line_s = now_s + LINE_EVERY_S


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d}"
