"""Runs policies on the same worlds: cases one after the other on all cores, known results from a cache.

A case is one scenario with one seed. Its world is built once and shared by all its policies, which run next to each
other in one process: a machine that gets slower for a while slows all of them, and their timings stay comparable.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from forestay.model.errors import ForestayError
from forestay.simulation.cache import Cache, cache_key
from forestay.simulation.contenders import Contender
from forestay.simulation.engine import run
from forestay.simulation.outcome import Outcome
from forestay.simulation.scenario import Scenario
from forestay.simulation.sources import code_hash
from forestay.simulation.world import World

POLL_S = 0.2
"""How often the parent looks for results: what people see as at once."""

ENGINE = "forestay.simulation.engine"
"""What every result depends on, besides the policy's own modules."""

Find = Callable[[str], Contender]
"""A contender by name. A function of a module, so that worker processes can be given it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario with one seed, under several policies.

    Attributes:
        series: keep the load over time, for plots.
    """

    scenario: Scenario
    seed: int
    policies: tuple[str, ...]
    series: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a comparison is.

    Attributes:
        done: runs whose outcome is known; `cached` of them were known before.
        total: runs.
        left_s: expected time to the end, seconds; None while nothing can be said.
        latest: scenario, seed and policy of the run that has just ended; "" before the first one.
    """

    done: int
    total: int
    cached: int
    left_s: float | None
    latest: str


class RunFailed(ForestayError):
    """A policy or the engine raised; the message names the run and holds the traceback."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One policy of a case, to be run.

    Attributes:
        index: of the outcome in the list that `compare` returns.
        key: in the cache.
    """

    index: int
    policy: str
    key: str


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker process is given: the runs of a case that nobody knows yet."""

    case: Case
    runs: tuple[_Run, ...]
    find: Find
    cache: Cache | None


def compare(
    cases: Sequence[Case],
    find: Find,
    cache: Cache | None = None,
    jobs: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Outcome]:
    """Run every policy of every case; the same cases give the same outcomes, timings aside, whatever `jobs` is.

    Args:
        cases: in the order in which they shall run.
        find: who is meant by the name of a policy.
        cache: where known outcomes are and new ones go, each as soon as it is known.
        jobs: worker processes; 1: none, it all runs here.
        on_progress: called after every run, from this thread.

    Returns:
        One outcome for each policy of each case, in their order.

    Raises:
        RunFailed: with the scenario, seed and policy.
        KeyboardInterrupt: the workers have been ended; what was done is in the cache.
    """
    outcomes, works = _look_up(cases, find, cache)
    tally = _Tally(len(outcomes), sum(outcome is not None for outcome in outcomes), on_progress)
    for index, outcome in _run_all(works, jobs):
        outcomes[index] = outcome
        tally.count(outcome)
    return [outcome for outcome in outcomes if outcome is not None]


def _look_up(cases: Sequence[Case], find: Find, cache: Cache | None) -> tuple[list[Outcome | None], list[_Work]]:
    """Outcomes that are known, None for the others, and the work that is left."""
    outcomes: list[Outcome | None] = []
    works = []
    codes: dict[str, str] = {}
    for case in cases:
        missing = []
        world = _content(case.scenario)
        for policy in case.policies:
            if policy not in codes:
                codes[policy] = code_hash(ENGINE, *find(policy).modules)
            key = cache_key(codes[policy], world, case.seed, policy)
            known = cache.read(key, case.series) if cache else None
            if known is None:
                missing.append(_Run(len(outcomes), policy, key))
            outcomes.append(known)
        if missing:
            works.append(_Work(case, tuple(missing), find, cache))
    return outcomes, works


def _content(scenario: Scenario) -> tuple[str, str]:
    """All that decides what a scenario is, the recording that it replays included."""
    path = scenario.replay.path
    recording = hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""
    return scenario.model_dump_json(exclude={"description"}), recording


@dataclass(slots=True)
class _Tally:
    """Counts runs and says how long the rest will take, by the mean of those that were not known before."""

    total: int
    cached: int
    tell: Callable[[Progress], None]
    ran: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._tell("")

    def count(self, outcome: Outcome) -> None:
        """One more run has ended."""
        self.ran += 1
        self._tell(f"{outcome.scenario} seed {outcome.seed} {outcome.policy}")

    def _tell(self, latest: str) -> None:
        done = self.cached + self.ran
        left_s = (time.monotonic() - self.began_s) / self.ran * (self.total - done) if self.ran else None
        self.tell(Progress(done, self.total, self.cached, left_s, latest))


def _run_all(works: Sequence[_Work], jobs: int) -> Iterator[tuple[int, Outcome]]:
    """Outcomes as they come, with their indices."""
    if jobs == 1 or len(works) < 2:
        for work in works:
            yield from _run_case(work)
        return
    context = multiprocessing.get_context("spawn")  # fork copies the locks of the thread that draws the progress bar
    results: SimpleQueue[tuple[int, Outcome]] = context.SimpleQueue()
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(min(jobs, len(works)), context, initializer=_begin_worker, initargs=(results,))
    try:
        pending: set[Future[None]] = {executor.submit(_run_in_worker, work) for work in works}
        while pending:
            ended, pending = wait(pending, POLL_S, FIRST_COMPLETED)
            while not results.empty():
                yield results.get()
            for future in ended:
                future.result()
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()  # else its shutdown waits for the case it is at, which may take minutes
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _run_case(work: _Work) -> Iterator[tuple[int, Outcome]]:
    case = work.case
    world = World.build(case.scenario, case.seed)
    for entry in work.runs:
        try:
            policy = work.find(entry.policy).make(world, case.seed)
            outcome = run(world, policy, entry.policy, keep_series=case.series)
        except Exception as error:
            raise RunFailed(
                f"{entry.policy} failed on scenario {case.scenario.name}, seed {case.seed}: {error!r}\n"
                + traceback.format_exc()
            ) from error
        if work.cache:
            work.cache.write(entry.key, outcome)
        yield entry.index, outcome


# ---- in a worker process


_results: SimpleQueue[tuple[int, Outcome]]


def _begin_worker(results: "SimpleQueue[tuple[int, Outcome]]") -> None:
    global _results  # noqa: PLW0603 - how an initializer hands something to what runs later in its process
    _results = results
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end us."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_in_worker(work: _Work) -> None:
    for result in _run_case(work):
        _results.put(result)
