import io
import math
from statistics import mean, median

import pytest

from forestay.demo.arrivals import DURATION_S, RATE_PER_S, SEED, Arrival, committed, draw, phase, read, write
from forestay.demo.scenario import FULL, HANDSHAKE_MS
from forestay.model.errors import InvalidInput

OVERHEAD_MS = 0.25
"""Of one message: the WebSocket library and the event loop, measured."""


def test_the_committed_arrivals_are_what_the_law_and_the_seed_give() -> None:
    assert committed() == draw(SEED)


def test_what_is_written_is_read_back() -> None:
    arrivals = draw(1)[:50]
    out = io.StringIO()
    write(arrivals, out)
    assert read(out.getvalue().splitlines()) == arrivals


def test_another_seed_gives_other_arrivals_of_the_same_law() -> None:
    one, other = draw(1), draw(2)
    assert one != other
    for arrivals in (one, other):
        assert 0.8 < len(arrivals) / (RATE_PER_S * 1.03 * DURATION_S) < 1.25
        assert 8.5 < median(arrival.duration_s for arrival in arrivals) < 11.5


def test_the_load_is_half_to_six_tenths_of_the_fleet() -> None:
    work_s = 0.0
    for arrival in committed():
        due = [due_s for due_s in arrival.due_s() if due_s < FULL.length_s]
        work_s += (HANDSHAKE_MS + 1.0 + len(due) * (arrival.cost_ms + OVERHEAD_MS)) / 1000
    job = next(server for server in FULL.servers if server.has_job)
    jobs = sum(action.kind == "job" for action in FULL.actions())
    work_s += jobs * FULL.job_length_s * FULL.job_share * job.budget
    fleet = sum(server.budget for server in FULL.servers)
    assert fleet <= 1.0
    assert 0.5 <= work_s / (fleet * FULL.length_s) <= 0.6


def test_messages_are_evenly_spaced_from_the_arrival_on() -> None:
    assert Arrival(t_s=2.0, duration_s=3.1, messages_per_s=1.0, cost_ms=1.0).due_s() == [2.0, 3.0, 4.0, 5.0]


def test_bursts_bring_more_and_the_quiet_phase_less() -> None:
    def rate(from_s: float, until_s: float) -> float:
        return mean(sum(from_s <= a.t_s < until_s for a in draw(seed)) for seed in range(10)) / (until_s - from_s)

    assert rate(14, 18) > 1.8 * rate(20, 40) > 1.8 * 1.8 * rate(42, 48)
    assert [phase(t_s)[1] for t_s in (0.0, 15.0, 43.0, math.nextafter(42.0, 0.0))] == [
        "filling up",
        "burst",
        "quiet",
        "plain",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("t_s,duration_s\n1,2\n", "no column cost_ms, messages_per_s"),
        ("t_s,duration_s,messages_per_s,cost_ms\n1,2,3,x\n", "line 2.*x"),
        ("t_s,duration_s,messages_per_s,cost_ms\n1,2,3,4\n1,-2,3,4\n", "line 3.*duration_s"),
        ("t_s,duration_s,messages_per_s,cost_ms\n1,2,nan,4\n", "line 2.*messages_per_s"),
        ("t_s,duration_s,messages_per_s,cost_ms\n1,2\n", "line 2"),
        ("", "no column"),
    ],
)
def test_unusable_files_are_refused_with_the_place_and_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(text.splitlines())
