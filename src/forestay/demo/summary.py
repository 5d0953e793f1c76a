"""The figures of a run, and the table that puts the policies side by side.

Everything is computed from what servers and clients wrote down themselves; nothing is taken from forestay.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table
from rich.text import Text

from forestay.demo.records import Run, ServerSample
from forestay.demo.scenario import HANDSHAKE_MS, STORM_S, Scenario

STARVED = 0.85
"""Load under which a server that had work all the time was kept from it: the throttle itself lets it reach 1."""

WARM = 0.2
"""Mean load from which "max / mean" is counted: below it, a ratio of two small numbers says nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one policy gave. Lower is better in every one but `messages` and `load_mean`.

    Attributes:
        policy: whose.
        messages: that were due.
        latency_ms_p50, latency_ms_p99: from when a message was due to its answer; what was never answered counts with
            the time until the end of the run, which is less than it deserves.
        connect_ms_p99: from the attempt to the end of the handshake, successful attempts.
        unanswered: messages that never got an answer.
        refused: attempts that got a 503.
        failed: attempts that ended in an error or took too long.
        cut: connections that ended before the client was done.
        over_70_s, over_100_s: server-seconds with demand over 70 % of the budget, and with work left over.
        load_mean: CPU used over the CPU of the servers that were alive.
        load_max_over_mean: busiest server over the mean of those alive, averaged over the seconds.
        storm_accepts_peak: most accepts in one second on one survivor, in the `STORM_S` after the kill.
        storm_over_fair: in the second with most accepts of all survivors, the most that one of them had over its fair
            share, which goes by budget.
        storm_accept_load_peak: the same as a share of what the survivor can do: handshakes' CPU time over its budget.
        return_accepts_peak: accepts likewise on the server that came back, after its return.
        starved_s: server-seconds in which a server with work to do did not get the CPU of its budget: the machine's
            fault, not the policy's.
    """

    policy: str
    messages: int
    latency_ms_p50: float
    latency_ms_p99: float
    connect_ms_p99: float
    unanswered: int
    refused: int
    failed: int
    cut: int
    over_70_s: float
    over_100_s: float
    load_mean: float
    load_max_over_mean: float
    storm_accepts_peak: int
    storm_over_fair: float
    storm_accept_load_peak: float
    return_accepts_peak: int
    starved_s: float


ROWS = (
    ("latency_ms_p50", "message latency p50, ms", ".0f"),
    ("latency_ms_p99", "message latency p99, ms", ".0f"),
    ("connect_ms_p99", "connect p99, ms", ".0f"),
    ("unanswered", "messages never answered", "d"),
    ("refused", "connects refused", "d"),
    ("failed", "connects failed", "d"),
    ("over_70_s", "server-seconds over 70 % load", ".0f"),
    ("over_100_s", "server-seconds over 100 % load", ".0f"),
    ("load_max_over_mean", "busiest server / mean load", ".2f"),
    ("storm_accepts_peak", "peak accepts/s per server, crash", "d"),
    ("storm_over_fair", "the worst server over its fair share", ".2f"),
    ("storm_accept_load_peak", "handshakes of a second over budget", ".2f"),
    ("return_accepts_peak", "peak accepts/s per server, return", "d"),
)
"""Field, label and format of the rows in which policies compete."""


def figures(run: Run, scenario: Scenario) -> Figures:
    """The figures of one run."""
    latencies_s = [latency_s for _, latency_s, _ in run.books.messages]
    seconds = [sample for samples in run.samples.values() for sample in samples]
    storm = (scenario.kill_at_s, scenario.kill_at_s + STORM_S)
    stormed = {
        server: accepts_peak(run.samples[server.name], *storm)
        for server in scenario.servers
        if server.name != scenario.killed
    }
    back = (scenario.back_at_s, scenario.back_at_s + STORM_S)
    return Figures(
        policy=run.policy,
        messages=len(latencies_s),
        latency_ms_p50=1000 * percentile(latencies_s, 0.50),
        latency_ms_p99=1000 * percentile(latencies_s, 0.99),
        connect_ms_p99=1000 * percentile([took_s for _, took_s in run.books.connects], 0.99),
        unanswered=sum(not answered for _, _, answered in run.books.messages),
        refused=run.books.refused,
        failed=run.books.failed,
        cut=run.books.cut,
        over_70_s=sum(sample.window_s for sample in seconds if sample.demand > 0.7),
        over_100_s=sum(sample.window_s for sample in seconds if sample.demand > 1.0),
        load_mean=_load_mean(run, scenario),
        load_max_over_mean=_load_max_over_mean(run.samples.values()),
        storm_accepts_peak=max(stormed.values()),
        storm_over_fair=accepts_over_fair([(server.budget, run.samples[server.name]) for server in stormed], *storm),
        storm_accept_load_peak=max(n * HANDSHAKE_MS / 1000 / server.budget for server, n in stormed.items()),
        return_accepts_peak=accepts_peak(run.samples[scenario.killed], *back),
        starved_s=sum(_starved_s(samples) for samples in run.samples.values()),
    )


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share `q` of the values does not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else 0.0


def accepts_peak(samples: Iterable[ServerSample], from_s: float, until_s: float) -> int:
    """Most accepts of one server within any one second of [from_s, until_s)."""
    accepts = sorted(at_s for sample in samples for at_s in sample.accepts if from_s <= at_s < until_s)
    return max((bisect.bisect_left(accepts, at_s + 1.0) - i for i, at_s in enumerate(accepts)), default=0)


def accepts_over_fair(servers: Iterable[tuple[float, Sequence[ServerSample]]], from_s: float, until_s: float) -> float:
    """Worst server in the second of [from_s, until_s) with most accepts of all: its accepts over its fair share.

    Args:
        servers: budget and samples of each; shares go by budget.
        from_s: where the part of the run that counts begins.
        until_s: where it ends.
    """
    servers = list(servers)
    accepts = [sorted(at_s for sample in samples for at_s in sample.accepts) for _, samples in servers]
    budget = sum(budget for budget, _ in servers)
    peak: list[int] = []
    for at_s in sorted(at_s for each in accepts for at_s in each if from_s <= at_s < until_s):
        counts = [
            bisect.bisect_left(each, min(at_s + 1.0, until_s)) - bisect.bisect_left(each, at_s) for each in accepts
        ]
        if sum(counts) > sum(peak):
            peak = counts
    shares = [mine / budget * sum(peak) for mine, _ in servers]
    return max((count / share for count, share in zip(peak, shares, strict=False)), default=0.0)


def _starved_s(samples: Sequence[ServerSample]) -> float:
    """Seconds of one server that began and ended with work left over and yet did not use its budget."""
    return sum(
        now.window_s
        for before, now in pairwise(samples)
        if before.demand > 1.3 and now.demand > 1.3 and now.load < STARVED
    )


def _load_mean(run: Run, scenario: Scenario) -> float:
    budgets = {server.name: server.budget for server in scenario.servers}
    used = sum(budgets[name] * s.load * s.window_s for name, samples in run.samples.items() for s in samples)
    could = sum(budgets[name] * s.window_s for name, samples in run.samples.items() for s in samples)
    return used / could if could else 0.0


def _load_max_over_mean(servers: Iterable[Sequence[ServerSample]]) -> float:
    """Mean over the seconds of the busiest server's load over the mean load, where that is at least `WARM`."""
    by_second: dict[int, list[float]] = {}
    for samples in servers:
        for sample in samples:
            by_second.setdefault(round(sample.at_s), []).append(sample.load)
    ratios = []
    for loads in by_second.values():
        mean = sum(loads) / len(loads)
        if mean >= WARM:
            ratios.append(max(loads) / mean)
    return sum(ratios) / len(ratios) if ratios else 1.0


def table(results: Sequence[Figures]) -> Table:
    """The policies side by side, the best of each row in bold green."""
    side_by_side = Table(title="the same arrivals, the same crash, through the same relay")
    side_by_side.add_column("lower is better", no_wrap=True)
    for result in results:
        side_by_side.add_column(result.policy.replace("_", " "), justify="right")
    for name, label, form in ROWS:
        shown = [format(getattr(result, name), form) for result in results]
        best = shown[min(range(len(results)), key=lambda i: float(getattr(results[i], name)))]
        differ = len(set(shown)) > 1
        side_by_side.add_row(
            label, *(Text(cell, style="bold green" if differ and cell == best else "") for cell in shown)
        )
    return side_by_side


def verdict(results: Sequence[Figures]) -> str:
    """In words: what the first policy won and lost against the better of the others. Losses are named like wins."""
    ours, *peers = results
    lines = []
    for name, label, form in ROWS:
        mine = getattr(ours, name)
        best = min(peers, key=lambda peer: float(getattr(peer, name)))
        theirs = getattr(best, name)
        if format(mine, form) != format(theirs, form):
            word = "better" if mine < theirs else "WORSE"
            lines.append(f"  {word}: {label}: {mine:{form}}, {best.policy} {theirs:{form}}")
    head = f"{ours.policy} against the best of the others, row by row:"
    return "\n".join([head, *sorted(lines, key=lambda line: "WORSE" in line)]) if lines else f"{head} no difference"
