"""Connections of other pickers: told by reports, or guessed from the number of pickers."""

import numpy as np
import pytest

from forestay.forecasting.ages import AGES
from forestay.forecasting.unseen import Unseen

NOBODY = np.full(2, np.nan)
EVEN = np.full(2, 0.5)
BOTH = np.ones(2, bool)


def unseen(pickers: int) -> Unseen:
    made = Unseen(pickers)
    made.resize(2)
    return made


def test_a_single_picker_sees_everything_whatever_reports_tell() -> None:
    alone = unseen(1)
    alone.learn(np.array([1.0, 1.0]), np.array([90.0, 90.0]), EVEN, BOTH, BOTH)
    counts = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert alone.added(counts, 2.0) is counts
    assert (alone.ratio, alone.guessed) == (1.0, 0.0)


def test_connections_are_as_many_as_reports_tell_and_as_old_as_the_known_ones() -> None:
    told = unseen(4)
    told.learn(np.array([10.0, 30.0]), np.array([50.0, 130.0]), EVEN, BOTH, BOTH)
    everybody = told.added(np.array([[10.0, 20.0], [0.0, 10.0]]), 40.0)
    assert everybody.sum(0) == pytest.approx([50.0, 130.0])
    assert everybody.sum(1) == pytest.approx([30 + 0.75 * 140, 10 + 0.25 * 140])
    assert told.guessed == 0.0


def test_nothing_is_told_of_the_others_by_a_picker_without_connections() -> None:
    idle = unseen(4)
    idle.learn(np.zeros(2), np.array([50.0, 130.0]), EVEN, BOTH, BOTH)
    assert idle.added(np.zeros((3, 2)), 0.0).sum() == 0.0
    assert idle.totals(np.zeros(2)) == pytest.approx([50.0, 130.0])


def test_fewer_than_the_own_ones_are_never_told() -> None:
    late = unseen(2)
    late.learn(np.array([10.0, 10.0]), np.array([8.0, 10.0]), EVEN, BOTH, BOTH)
    assert late.counts.tolist() == [0.0, 0.0]


def test_untold_connections_are_guessed_from_the_number_of_pickers_and_the_sizes_of_endpoints() -> None:
    untold = unseen(4)
    untold.learn(np.array([30.0, 10.0]), NOBODY, np.array([1.5, 0.5]), BOTH, BOTH)
    assert untold.counts == pytest.approx([90.0, 30.0])
    assert untold.guessed == pytest.approx(0.75)


def test_the_ratio_begins_at_the_number_of_pickers_and_follows_what_reports_tell() -> None:
    uneven = unseen(4)
    assert uneven.ratio == pytest.approx(4.0)
    for _ in range(200):
        uneven.learn(np.array([100.0, 100.0]), np.array([1000.0, 1000.0]), EVEN, BOTH, BOTH)
    assert uneven.ratio == pytest.approx(10.0, rel=0.05)


def test_an_endpoint_that_begins_anew_has_no_unseen_connections() -> None:
    told = unseen(2)
    told.learn(np.array([10.0, 10.0]), np.array([50.0, 50.0]), EVEN, BOTH, BOTH)
    told.forget(0)
    assert told.counts.tolist() == [0.0, 40.0]


@pytest.mark.parametrize("told", [False, True])
def test_what_this_picker_did_since_the_report_the_others_did_as_well(told: bool) -> None:
    others = unseen(4)
    then = np.array([10.0, 10.0])
    others.learn(then, np.array([40.0, 40.0]) if told else NOBODY, EVEN, BOTH, BOTH)
    now = np.array([30.0, 9.0])
    seen = np.zeros((1, AGES, 2))
    seen[0, 0], seen[0, -1] = [20.0, 0.0], [10.0, 9.0]
    everybody = others.population(seen, np.ones(1)).sum((0, 1))
    assert everybody == pytest.approx(now + 30 + (others.ratio - 1) * (now - then), rel=0.05)


def test_newborn_connections_of_others_are_where_ours_are_where_reports_tell() -> None:
    others = unseen(4)
    others.learn(np.array([10.0, 10.0]), np.array([40.0, 40.0]), EVEN, BOTH, BOTH)
    seen = np.zeros((1, AGES, 2))
    seen[0, 0], seen[0, -1] = [4.0, 0.0], [6.0, 10.0]
    young = others.population(seen, np.ones(1))[0, 0]
    assert young == pytest.approx([4.0 * others.ratio, 0.0])
