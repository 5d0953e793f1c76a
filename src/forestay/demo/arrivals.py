"""Who connects when, for how long, and what they cost: the committed load of the demo and the law it was drawn from.

`arrivals.csv` is replayed as it is; `python -m forestay.demo.arrivals --seed 7 > arrivals.csv` made it. The law, chosen
before any result was seen:

- arrivals: Poisson, `RATE_PER_S` times the factor of the phase (`PHASES`: filling up, two bursts, a quiet phase);
- durations: lognormal, median 10 s, sigma 0.8 (mean 13.8 s), cut to 1-60 s: most leave soon, some never;
- messages: lognormal rate, median 0.42/s, sigma 0.8 (mean 0.58/s), cut to 0.1-4/s, evenly spaced within a connection;
- cost: lognormal CPU time per message, median 2.8 ms, sigma 0.6 (mean 3.35 ms), cut to 0.5-15 ms.

The budget arithmetic, in cores (`scenario.py` has the servers: 0.85 cores together):

    messages    11/s * 13.8 s = 152 open, * 0.58/s = 88 messages/s, * (3.35 + 0.25 overhead) ms    = 0.32
    handshakes  11/s * (8 + 1 overhead) ms                                                         = 0.10
    background  0.30 cores * 50 % * 3 s of 12 s                                                    = 0.04
    together    0.46 cores = 0.54 of the fleet in a plain phase, up to 0.8 in a burst, 0.55 as a mean over the run

With the killed server gone (0.25 cores) the same plain phase is 0.46 / 0.60 = 0.76 of what is left: over the threshold,
under what the survivors can do.
"""

import argparse
import csv
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from importlib.resources import files
from typing import TextIO

from forestay.model.errors import InvalidInput

SEED = 7
DURATION_S = 58.0
"""Newcomers until here; the run itself goes on for a little while."""

RATE_PER_S = 11.0
PHASES = (
    (0.0, 1.5, "filling up"),  # half as many again, so that the plain level is there after some ten seconds
    (8.0, 1.0, "plain"),
    (14.0, 2.2, "burst"),
    (18.0, 1.0, "plain"),
    (42.0, 0.4, "quiet"),
    (48.0, 2.2, "burst"),
    (52.0, 1.0, "plain"),
)
"""When each phase starts, seconds; what it multiplies the arrival rate by; its name."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One client.

    Attributes:
        t_s: when it connects, seconds from the start of the run.
        duration_s: how long it stays.
        messages_per_s: how often it says something, evenly spaced from `t_s` on.
        cost_ms: CPU milliseconds that each message costs the server.
    """

    t_s: float
    duration_s: float
    messages_per_s: float
    cost_ms: float

    def __post_init__(self) -> None:
        for name, low, high in (
            ("t_s", 0.0, 3600.0),
            ("duration_s", 0.1, 3600.0),
            ("messages_per_s", 0.01, 100.0),
            ("cost_ms", 0.0, 1000.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidInput(f"{name} = {getattr(self, name)}: must lie in [{low:g}, {high:g}]")

    def due_s(self) -> list[float]:
        """When its messages are due, seconds from the start of the run, ascending."""
        return [self.t_s + k / self.messages_per_s for k in range(int(self.duration_s * self.messages_per_s) + 1)]


def draw(seed: int) -> list[Arrival]:
    """Arrivals of one run by the law above, in order of time; the same for the same seed."""
    rng = random.Random(seed)
    arrivals = []
    for t_s in _poisson(rng):
        duration_s = _lognormal(rng, 10.0, 0.8, 1.0, 60.0)
        messages_per_s = _lognormal(rng, 0.42, 0.8, 0.1, 4.0)
        cost_ms = _lognormal(rng, 2.8, 0.6, 0.5, 15.0)
        arrivals.append(Arrival(round(t_s, 3), round(duration_s, 2), round(messages_per_s, 3), round(cost_ms, 2)))
    return arrivals


def phase(t_s: float) -> tuple[float, str]:
    """Factor and name of the phase that second `t_s` >= 0 of the run is in."""
    return [(factor, name) for starts_s, factor, name in PHASES if starts_s <= t_s][-1]


def committed() -> list[Arrival]:
    """The arrivals that come with the package."""
    with (files("forestay.demo") / "arrivals.csv").open(encoding="utf-8") as lines:
        return read(lines)


def read(lines: Iterable[str]) -> list[Arrival]:
    """Arrivals from CSV with the fields of `Arrival` as its header, in order of time.

    Raises:
        InvalidInput: a column is missing, or a value is unusable; names the line.
    """
    reader = csv.DictReader(lines)
    names = [field.name for field in fields(Arrival)]
    if missing := set(names) - set(reader.fieldnames or ()):
        raise InvalidInput(f"arrivals: no column {', '.join(sorted(missing))}; the header must be {','.join(names)}")
    arrivals = []
    for row in reader:
        try:
            arrivals.append(Arrival(*(float(row[name]) for name in names)))
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"arrivals, line {reader.line_num}: {error}") from None
    return sorted(arrivals, key=lambda arrival: arrival.t_s)


def write(arrivals: Iterable[Arrival], out: TextIO) -> None:
    """The inverse of `read`."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(field.name for field in fields(Arrival))
    writer.writerows(astuple(arrival) for arrival in arrivals)


def _poisson(rng: random.Random) -> Iterator[float]:
    """Times of a Poisson process whose rate follows `PHASES`, by thinning: draw at the highest rate, keep a share."""
    factor_max = max(factor for _, factor, _ in PHASES)
    t_s = 0.0
    while (t_s := t_s + rng.expovariate(RATE_PER_S * factor_max)) < DURATION_S:
        factor, _ = phase(t_s)
        if rng.random() < factor / factor_max:
            yield t_s


def _lognormal(rng: random.Random, median: float, sigma: float, low: float, high: float) -> float:
    return min(max(median * rng.lognormvariate(0.0, sigma), low), high)


def main() -> None:
    """Entry of `python -m forestay.demo.arrivals`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED)
    write(draw(parser.parse_args().seed), sys.stdout)


if __name__ == "__main__":
    main()
