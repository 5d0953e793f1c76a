"""Recorded traffic: when connections came, and where the recording says so how long they stayed and what they cost."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forestay.model.errors import InvalidInput
from forestay.model.plan import FloatArray, IntArray
from forestay.simulation.scenario import Replay

TIME_NAMES = ("time", "t", "timestamp")
TOKEN_NAMES = ("in_tokens", "out_tokens")


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A recording, shape (connections,) each.

    Attributes:
        time_s: arrival, ascending from 0.
        duration_s: life; None: not recorded.
        cost: relative; None: not recorded.
    """

    time_s: FloatArray
    duration_s: FloatArray | None
    cost: FloatArray | None

    @property
    def span_s(self) -> float:
        """From the first to the last arrival."""
        return float(self.time_s[-1])


def read(settings: Replay) -> Trace:
    """Read a recording.

    Raises:
        InvalidInput: if it cannot be read, has no time column, fewer than two rows or a bad value; or if it is parquet
            and pyarrow is not installed.
    """
    path = Path(settings.path)
    columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    time_name = next((name for name in TIME_NAMES if name in columns), None)
    if time_name is None:
        raise InvalidInput(f"trace {path}: has no column {', '.join(TIME_NAMES)}; it has {', '.join(columns)}")
    time_s = columns[time_name]
    if len(time_s) < 2 or not np.isfinite(time_s).all() or time_s.max() <= time_s.min():
        raise InvalidInput(f"trace {path}: column {time_name} must hold two different times at least, in seconds")
    duration_s, cost = columns.get("duration"), columns.get("cost")
    if duration_s is None and all(name in columns for name in TOKEN_NAMES):
        duration_s = settings.base_s + columns["in_tokens"] * settings.seconds_per_input
        duration_s = duration_s + columns["out_tokens"] * settings.seconds_per_output
    for name, values in (("duration", duration_s), ("cost", cost)):
        if values is not None and not (np.isfinite(values) & (values > 0)).all():
            raise InvalidInput(f"trace {path}: column {name} must hold positive numbers only; remove the other rows")
    order = np.argsort(time_s, kind="stable")
    return Trace(
        time_s=time_s[order] - time_s.min(),
        duration_s=None if duration_s is None else duration_s[order],
        cost=None if cost is None else cost[order],
    )


def lay_over(trace: Trace, copies: int, length_s: float, random: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Arrivals of several copies of a recording, each turned by a random shift, until `length_s`.

    Returns:
        Arrival times, ascending, and the row of the recording that each comes from.
    """
    times, rows = [], []
    repeats = int(np.ceil(length_s / trace.span_s))
    for _ in range(copies):
        turned = (trace.time_s + random.uniform(0.0, trace.span_s)) % trace.span_s
        for lap in range(repeats):
            times.append(turned + lap * trace.span_s)
            rows.append(np.arange(len(turned)))
    time_s, row = np.concatenate(times), np.concatenate(rows)
    order = np.argsort(time_s, kind="stable")
    order = order[time_s[order] < length_s]
    return time_s[order], row[order]


def _csv(path: Path) -> dict[str, FloatArray]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows = list(table)
            header: Sequence[str] = table.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"trace {path}: cannot be read ({error}): name a CSV or parquet file") from error
    return {name: _numbers(path, name, rows) for name in header if name in _WANTED}


def _numbers(path: Path, name: str, rows: Sequence[Mapping[str, str]]) -> FloatArray:
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            values[index] = float(row[name])
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"trace {path}, line {index + 2}: {name} = {row[name]!r}: must be a number of seconds"
            ) from error
    return values


def _parquet(path: Path) -> dict[str, FloatArray]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 an extra: only who replays parquet needs it
    except ImportError as error:
        raise InvalidInput(
            f"trace {path}: parquet needs pyarrow: pip install 'forestay[traces]', or convert it to CSV"
        ) from error
    try:
        table = parquet.read_table(path)
        wanted = [name for name in table.column_names if name in _WANTED]
        return {name: np.array(table[name].to_numpy(), dtype=np.float64) for name in wanted}
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(f"trace {path}: cannot be read ({error}): name a CSV or parquet file") from error


_WANTED = (*TIME_NAMES, *TOKEN_NAMES, "duration", "cost")
