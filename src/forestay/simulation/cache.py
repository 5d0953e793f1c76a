"""Results of earlier runs on disk: one small file each, named by the hash of all that the result depends on.

A file is written under another name and then moved into place, so that a run that is cut short leaves none by halves,
and two processes that write the same result do no harm.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from forestay.simulation.outcome import Cold, Outcome, Series

UNUSED_MAX_S = 30 * 86_400.0
"""Results that nobody asked for in so long are deleted: the code has moved on."""

DECIMALS = 3
"""Of loads over time: they are for pictures."""


def cache_key(*parts: object) -> str:
    """Name of a result that depends on `parts`, each with a repr that tells all of it."""
    return hashlib.sha256(repr((np.__version__, *parts)).encode()).hexdigest()[:40]


class Cache:
    """Outcomes by key in one directory, which is made when first written to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, key: str, series: bool = False) -> Outcome | None:
        """What was written; None if nothing, or nothing usable, or without the series that is asked for."""
        path = self._path(key)
        try:
            outcome = from_plain(json.loads(path.read_bytes()))
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it will be computed and written again, whatever is wrong with the file
        return None if series and outcome.series is None else outcome

    def write(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        half = path.with_suffix(f".{os.getpid()}.half")
        half.write_text(json.dumps(as_plain(outcome)), encoding="utf-8")
        half.replace(path)

    def prune(self) -> None:
        """Delete what has not been used for `UNUSED_MAX_S`."""
        if not self.directory.is_dir():
            return
        used_before = time.time() - UNUSED_MAX_S  # noqa: TID251 - compared with the clock of files
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process prunes as well
                if path.stat().st_mtime < used_before:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.json"


def as_plain(outcome: Outcome) -> dict[str, Any]:
    """As JSON can say it, with NaN."""
    plain = asdict(outcome)
    if outcome.series is not None:
        plain["series"] = {
            "times_s": outcome.series.times_s.tolist(),
            "load": outcome.series.load.round(DECIMALS).tolist(),
        }
    return plain


def from_plain(plain: Mapping[str, Any]) -> Outcome:
    """The reverse of `as_plain`.

    Raises:
        KeyError, TypeError: it was written by another version.
    """
    series = plain["series"]
    changed = {
        "delay_quantiles": tuple(plain["delay_quantiles"]),
        "cold": Cold(**plain["cold"]),
        "series": series and Series(np.array(series["times_s"]), np.array(series["load"])),
    }
    return Outcome(**{**plain, **changed})
