"""The counters of a listener: those of its workers, and of all that it ever had."""

from collections.abc import Iterable

from forestay.dataplanes.relay.counters import GAUGES
from forestay.dataplanes.relay.member import Member


class Tally:
    """Adds up workers so that counters never fall, whoever dies.

    Args:
        listeners: names.
    """

    def __init__(self, listeners: Iterable[str]) -> None:
        self._retired: dict[str, dict[str, int]] = {name: {} for name in listeners}

    def retire(self, member: Member) -> None:
        """A worker is gone; what it counted stays, what it gauged does not."""
        if member.listener in self._retired:
            _add(self._retired[member.listener], {n: c for n, c in member.counters.items() if n not in GAUGES})

    def of(self, members: Iterable[Member]) -> dict[str, dict[str, int]]:
        """By listener: counters and gauges, and "workers"."""
        totals = {name: {**counts, "workers": 0} for name, counts in self._retired.items()}
        for member in members:
            if member.listener in totals:
                _add(totals[member.listener], {**member.counters, "workers": 1})
        return totals


def _add(total: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count
