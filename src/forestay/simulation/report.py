"""A whole comparison as one record, and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from forestay.simulation.cache import as_plain
from forestay.simulation.outcome import Outcome
from forestay.simulation.scenario import Scenario
from forestay.simulation.statistics import Standing
from forestay.simulation.verdicts import Verdict

DIGITS = 6
"""Significant digits of numbers in JSON."""


@dataclass(frozen=True, slots=True)
class About:
    """How to make the comparison again.

    Attributes:
        command: that makes it.
        version: of forestay.
        date: when it was made, as people write it.
        seeds: fewest and most seeds of a scenario.
        minutes: fewest and most simulated minutes of a run.
    """

    command: str
    version: str
    date: str
    seeds: tuple[int, int]
    minutes: tuple[float, float]

    def circumstances(self) -> str:
        """Everything but the command, in words."""
        seeds, minutes = (_range(*bounds) for bounds in (self.seeds, self.minutes))
        return f"forestay {self.version}, {self.date}, seeds per scenario: {seeds}, minutes per run: {minutes}"


@dataclass(frozen=True, slots=True)
class Report:
    """What ran and what came out.

    Attributes:
        scenarios: by name.
        standings: one for each scenario.
        verdicts: empty if forestay, reactive peers and the limit did not all run.
        outcomes: of every run.
    """

    about: About
    scenarios: Mapping[str, Scenario]
    standings: Sequence[Standing]
    verdicts: Sequence[Verdict]
    outcomes: Sequence[Outcome]

    def as_json(self, runs: bool = True) -> str:
        """Everything, for programs; what does not apply is null.

        Args:
            runs: with every single run, not just the scenarios.
        """
        data: dict[str, Any] = {
            "about": asdict(self.about),
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "scenarios": [
                {"description": self.scenarios[standing.scenario].description, **asdict(standing)}
                for standing in self.standings
            ],
            "digests": self._digests(),
        }
        if runs:
            data["runs"] = [as_plain(outcome) for outcome in self.outcomes]
        return json.dumps(_plain(data), indent=1, allow_nan=False) + "\n"

    def _digests(self) -> dict[str, dict[str, str]]:
        """Of forestay's placements, by scenario and seed: whoever runs it again can see that it is the same."""
        ours = {standing.scenario: standing.candidate for standing in self.standings}
        found: dict[str, dict[str, str]] = {}
        for outcome in self.outcomes:
            if outcome.policy == ours[outcome.scenario]:
                found.setdefault(outcome.scenario, {})[str(outcome.seed)] = outcome.digest[:16]
        return found


def _plain(value: Any) -> Any:
    """Without NaN and infinity, which are not JSON, and without digits that say nothing."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _range(least: float, most: float) -> str:
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"
