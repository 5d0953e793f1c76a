"""Connections of other pickers: told by reports, or guessed from the number of pickers."""

import numpy as np
import pytest

from forestay.forecasting.ages import AGES
from forestay.forecasting.unseen import Unseen
from forestay.model.plan import FloatArray

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


def guessing(own: "list[float]") -> FloatArray:
    """Ten pickers' connections by endpoint, where this one has `own`, all just opened, and reports do not tell."""
    unseen = Unseen(pickers=10)
    unseen.resize(len(own))
    seen = np.zeros((1, AGES, len(own)))
    seen[0, 0] = own
    everybody = np.ones(len(own), bool)
    nothing = np.full(len(own), np.nan)
    unseen.learn(np.array(own), nothing, np.ones(len(own)), everybody, everybody)
    by_endpoint: FloatArray = unseen.population(seen, float(sum(own))).sum((0, 1))
    return by_endpoint


def test_a_run_for_a_valley_is_what_the_others_do_too() -> None:
    all_pickers = guessing([0.0, 30.0, 0.0, 0.0])
    assert all_pickers[1] > 0.9 * all_pickers.sum()


def test_newcomers_that_chance_explains_do_not_tell_where_the_others_went() -> None:
    all_pickers = guessing([6.0, 9.0, 8.0, 7.0])
    assert all_pickers.max() / all_pickers.min() < 1.1
