"""What a run leaves behind, read back from the files of its processes. Times are seconds from the start of the run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forestay.demo.load import Books


@dataclass(frozen=True, slots=True)
class ServerSample:
    """One second of one server, as it saw itself.

    Attributes:
        at_s: end of the second.
        window_s: its exact length.
        load: CPU time used over the budget; cannot exceed 1 by much, as the throttle holds.
        demand: CPU time used and still waiting to be used, over the budget: above 1, work was left over.
        connections: established at its end.
        accepts: when connections arrived in it.
    """

    at_s: float
    window_s: float
    load: float
    demand: float
    connections: int
    accepts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ForecastSample:
    """What forestay said at `at_s` about one server: its load now, and in ten seconds."""

    at_s: float
    load: float | None
    predicted: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's run: samples and forecasts by server name, and the clients' books."""

    policy: str
    samples: Mapping[str, list[ServerSample]]
    books: Books
    forecasts: Mapping[str, list[ForecastSample]] = field(default_factory=dict)


def read_samples(lines: Iterable[str], budget: float, start_at_s: float, length_s: float) -> list[ServerSample]:
    """Samples of one server from what it wrote, of the seconds that lie within the run.

    A last line that SIGKILL cut short is dropped.
    """
    samples = []
    for line in lines:
        if not line.endswith("\n"):
            continue
        raw = json.loads(line)
        at_s = raw["at_s"] - start_at_s
        if not 0.5 < at_s <= length_s + 0.5:
            continue
        can_do_s = budget * raw["window_s"]
        samples.append(
            ServerSample(
                at_s=at_s,
                window_s=raw["window_s"],
                load=raw["cpu_s"] / can_do_s,
                demand=(raw["cpu_s"] + raw["backlog_s"]) / can_do_s,
                connections=raw["connections"],
                accepts=tuple(accept_s - start_at_s for accept_s in raw["accepts"]),
            )
        )
    return samples


def read_books(path: Path) -> Books:
    """The clients' books from the file of the load generator."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Books(
        messages=[(due_s, latency_s, bool(answered)) for due_s, latency_s, answered in raw["messages"]],
        connects=[(began_s, took_s) for began_s, took_s in raw["connects"]],
        refused=raw["refused"],
        failed=raw["failed"],
        cut=raw["cut"],
    )
