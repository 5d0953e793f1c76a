import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from forestay.demo.load import Books
from forestay.demo.records import Run, ServerSample, read_samples
from forestay.demo.scenario import HANDSHAKE_MS, Scenario, ServerSpec
from forestay.demo.summary import accepts_over_fair, accepts_peak, figures, percentile, table, verdict

SCENARIO = Scenario(
    servers=(ServerSpec("a", 0.5), ServerSpec("b", 0.25, has_job=True)),
    length_s=20.0,
    killed="b",
    kill_at_s=5.0,
    back_at_s=12.0,
)


def second(at_s: float, load: float, demand: float | None = None, accepts: tuple[float, ...] = ()) -> ServerSample:
    return ServerSample(at_s, 1.0, load, load if demand is None else demand, connections=1, accepts=accepts)


def run(policy: str = "forecast") -> Run:
    return Run(
        policy,
        samples={
            "a": [second(1, 0.6), second(2, 0.8), second(6, 1.0, demand=1.4, accepts=(5.1, 5.2, 5.9, 6.05, 6.3))],
            "b": [second(1, 0.2), second(2, 0.4), second(14, 0.5, accepts=(12.5, 13.4, 13.6, 19.0))],
        },
        books=Books(messages=[(0.0, 0.010, True)] * 98 + [(1.0, 0.5, True), (15.0, 5.0, False)], refused=3, cut=2),
    )


def test_figures_come_from_the_records_by_their_definitions() -> None:
    result = figures(run(), SCENARIO)
    assert result.messages == 100
    assert result.latency_ms_p50 == pytest.approx(10.0)
    assert result.latency_ms_p99 == pytest.approx(500.0)
    assert (result.unanswered, result.refused, result.cut) == (1, 3, 2)
    assert result.over_70_s == pytest.approx(2.0)
    assert result.over_100_s == pytest.approx(1.0)
    # CPU used, 0.5 * (0.6 + 0.8 + 1.0) + 0.25 * (0.2 + 0.4 + 0.5), over 0.5 * 3 + 0.25 * 3 that there was.
    assert result.load_mean == pytest.approx((1.2 + 0.275) / 2.25)
    # By second: 0.6 / 0.4, 0.8 / 0.6, and two seconds with one server.
    assert result.load_max_over_mean == pytest.approx((1.5 + 4 / 3 + 1 + 1) / 4)


def test_a_server_kept_from_its_budget_by_the_machine_is_told_from_one_that_had_nothing_to_do() -> None:
    starved = [second(1, 1.0, demand=2.0), second(2, 0.5, demand=2.5), second(3, 0.5, demand=3.0), second(4, 0.5)]
    samples = {"a": starved, "b": [second(1, 0.2), second(2, 0.4), second(3, 1.0, demand=5.0)]}
    assert figures(replace(run(), samples=samples), SCENARIO).starved_s == pytest.approx(2.0)


def test_the_storm_is_counted_on_survivors_and_the_return_on_the_returned() -> None:
    result = figures(run(), SCENARIO)
    assert result.storm_accepts_peak == 4  # 5.1 to 6.05 lie within one second, 6.3 does not
    assert result.storm_accept_load_peak == pytest.approx(4 * HANDSHAKE_MS / 1000 / 0.5)
    assert result.storm_over_fair == pytest.approx(1.0)  # the only survivor
    assert result.return_accepts_peak == 2  # 12.5 and 13.4


def test_what_was_never_answered_counts_in_the_tail() -> None:
    books = Books(messages=[(0.0, 0.01, True)] * 90 + [(1.0, 9.0, False)] * 10)
    assert figures(replace(run(), books=books), SCENARIO).latency_ms_p99 == pytest.approx(9000.0)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0], 0.99, 1.0), ([], 0.5, 0.0), (list(range(1, 101)), 0.99, 99)],
)
def test_percentiles_are_values_that_occurred(values: list[float], q: float, expected: float) -> None:
    assert percentile(values, q) == expected


def test_peaks_slide_over_second_borders_and_stay_in_their_window() -> None:
    samples = [second(1, 0.0, accepts=(0.2, 0.9)), second(2, 0.0, accepts=(1.1, 1.15, 1.95))]
    assert accepts_peak(samples, 0.0, 5.0) == 4  # 0.2 to 1.15
    assert accepts_peak(samples, 1.12, 1.5) == 1
    assert accepts_peak([], 0.0, 5.0) == 0


def test_the_fair_share_of_a_storm_goes_by_budget_in_its_busiest_second() -> None:
    large = [second(1, 0.0, accepts=(0.1, 0.2, 0.3, 0.4, 3.0, 3.1))]
    small = [second(1, 0.0, accepts=(0.5, 0.6, 0.7, 0.8))]
    assert accepts_over_fair([(0.3, large), (0.1, small)], 0.0, 5.0) == pytest.approx(4 / (8 / 4))
    assert accepts_over_fair([(0.3, large), (0.1, small)], 2.0, 5.0) == pytest.approx(2 / (2 * 3 / 4))
    assert accepts_over_fair([(0.3, []), (0.1, [])], 0.0, 5.0) == 0.0


def test_the_table_and_the_verdict_name_losses_like_wins() -> None:
    ours = figures(run(), SCENARIO)
    peer = replace(ours, policy="random", latency_ms_p99=900.0, over_70_s=1.0)
    console = Console(file=io.StringIO(), width=120)
    console.print(table([ours, peer]))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as made above
    assert "forecast" in text
    assert "900" in text
    words = verdict([ours, peer]).splitlines()
    assert words[1:] == [
        "  better: message latency p99, ms: 500, random 900",
        "  WORSE: server-seconds over 70 % load: 2, random 1",
    ]
    assert verdict([ours, replace(ours, policy="random")]).endswith("no difference")


def test_samples_outside_the_run_and_lines_cut_short_are_dropped() -> None:
    raw = {"window_s": 1.0, "cpu_s": 0.2, "backlog_s": 0.3, "connections": 4, "messages": 9, "accepts": [101.5]}
    lines = [json.dumps({"at_s": at_s, **raw}) + "\n" for at_s in (99.0, 102.0, 131.0)] + ['{"at_s": 103']
    assert read_samples(lines, budget=0.4, start_at_s=100.0, length_s=30.0) == [
        ServerSample(at_s=2.0, window_s=1.0, load=0.5, demand=1.25, connections=4, accepts=(1.5,))
    ]
