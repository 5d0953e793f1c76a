import math

import numpy as np
import pytest

from forestay.simulation.outcome import Outcome
from forestay.simulation.statistics import MEASURE, Standing, bootstrap, median_gap, standings
from tests.simulation.outcomes import ROLES, outcome, runs


def standing(*groups: "list[Outcome]") -> Standing:
    (found,) = standings([run for group in groups for run in group], ROLES)
    return found


def five(policy: str, delay: float) -> "list[Outcome]":
    """Five seeds around a delay."""
    return list(runs(policy, [delay * factor for factor in (0.8, 0.9, 1.0, 1.1, 1.2)]))


def test_the_best_reactive_peer_has_the_least_mean_delay() -> None:
    found = standing(
        list(runs("random", [1.0, 9.0])), list(runs("least_connections", [4.0, 4.0])), list(runs("limit", [2.0, 2.0]))
    )
    assert found.best == "least_connections"


def test_who_predicts_or_knows_the_truth_is_no_reactive_peer() -> None:
    found = standing(five("random", 4.0), five("lowest_predicted", 2.0), five("limit", 1.0))
    assert found.best == "random"


def test_the_limit_is_the_best_of_its_variants() -> None:
    found = standing(five("random", 4.0), five("limit", 3.0), five("limit_mid", 2.0))
    assert found.limit == "limit_mid"
    assert found.room == pytest.approx(0.5)


def test_the_gap_closed_is_the_way_from_the_best_peer_to_the_limit() -> None:
    found = standing(five("random", 4.0), five("limit", 2.0), five("forestay", 2.5))
    assert found.gap is not None
    assert found.gap.value == pytest.approx(0.75)


def test_a_loss_closes_less_than_nothing() -> None:
    found = standing(five("random", 4.0), five("limit", 2.0), five("forestay", 5.0))
    assert found.gap is not None
    assert found.gap.value == pytest.approx(-0.5)


def test_there_is_no_gap_where_the_limit_saves_five_per_cent_at_most() -> None:
    assert standing(five("random", 4.0), five("limit", 3.81), five("forestay", 3.9)).gap is None
    assert standing(five("random", 4.0), five("limit", 3.79), five("forestay", 3.9)).gap is not None


def test_the_ratio_is_that_of_means_and_its_worst_seed_is_told() -> None:
    found = standing(list(runs("random", [2.0, 6.0])), list(runs("forestay", [2.2, 5.0])))
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(7.2 / 8.0)
    assert found.ratio_worst == pytest.approx(1.1)


def test_without_a_part_what_needs_it_is_missing() -> None:
    found = standing(five("forestay", 2.0))
    assert (found.best, found.limit, found.ratio, found.gap) == (None, None, None, None)
    assert found.delay["forestay"].value == pytest.approx(2.0)


def test_policies_are_ordered_by_delay() -> None:
    found = standing(five("random", 4.0), five("forestay", 2.0), five("least_connections", 3.0))
    assert list(found.roles) == ["forestay", "least_connections", "random"]


def test_scenarios_keep_their_order_and_apart() -> None:
    found = standings([outcome("random", 2.0, "b"), outcome("random", 3.0, "a")], ROLES)
    assert [(one.scenario, one.delay["random"].value) for one in found] == [("b", 2.0), ("a", 3.0)]


def test_the_median_gap_is_over_the_scenarios_that_have_one() -> None:
    found = [
        standing(five("random", 4.0), five("limit", limit), five("forestay", own))
        for limit, own in ((2.0, 2.0), (2.0, 3.0), (2.0, 2.5), (3.99, 9.0))
    ]
    assert median_gap(found) == pytest.approx(0.75)
    assert math.isnan(median_gap(found[3:]))


def test_the_mean_of_a_measure_leaves_out_seeds_to_which_it_does_not_apply() -> None:
    found = standing([outcome("forestay", 2.0, seed=0, storm_share=1.5), outcome("forestay", 2.0, seed=1)])
    assert found.means["forestay"]["storm_share"] == 1.5
    assert math.isnan(standing([outcome("forestay", 2.0)]).means["forestay"]["storm_share"])


def test_a_loss_is_what_forestay_could_save_if_it_were_told() -> None:
    outcomes = [*runs("forestay", [2.2, 4.4]), *runs("told_background", [2.0, 4.0]), *runs("limit", [1.1, 2.2])]
    (found,) = standings(outcomes, {**ROLES, "told_background": "told"})
    assert found.losses["told_background"].value == pytest.approx(1.1)
    assert found.above_limit is not None
    assert found.above_limit.value == pytest.approx(2.0)


def test_policies_are_compared_seed_by_seed() -> None:
    """Delays that differ widely between seeds say nothing about a ratio that is the same for every seed."""
    found = standing(list(runs("random", [1.0, 10.0, 30.0])), list(runs("forestay", [0.9, 9.0, 27.0])))
    assert found.ratio is not None
    assert (found.ratio.low, found.ratio.value, found.ratio.high) == pytest.approx((0.9, 0.9, 0.9))
    assert found.delay["random"].high > 2 * found.delay["random"].low


def test_one_seed_has_no_width() -> None:
    interval = standing([outcome("random", 3.0)]).delay["random"]
    assert interval.low == interval.value == interval.high


def test_intervals_are_the_same_each_time_and_whatever_pythons_hash_seed() -> None:
    delays = [np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 3.0])]
    first = bootstrap(delays, lambda sums: sums[0] / sums[1])
    assert first == bootstrap(delays, lambda sums: sums[0] / sums[1])


def test_nineteen_in_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(5)  # noqa: TID251 - a test's own
    trials, held = 300, 0
    for _ in range(trials):
        interval = bootstrap([rng.normal(10.0, 1.0, 20)], lambda sums: sums[0] / 20)
        held += interval.low <= 10.0 <= interval.high
    assert 0.88 < held / trials < 0.98  # percentile intervals of 20 seeds are a little too narrow


def test_a_measure_reads_its_figure_and_shows_it() -> None:
    run = outcome("forestay", 2.0, over=0.0123, cold=1.25)
    assert MEASURE["slowdown_p99"].of(run) == 4.0
    assert MEASURE["over"].show(MEASURE["over"].of(run)) == "1.23"
    assert MEASURE["cold.connections_max_over_mean"].of(run) == 1.25
    assert MEASURE["storm_share"].show(MEASURE["storm_share"].of(run)) == "-"
