"""Stale information does to our peers what is published of it.

Mean response of the bulletin board model, n = 100, load .9, by age of the board; long runs of an independent program
give the figures, Mitzenmacher 2000 the shapes: argmin falls behind random between ages 1 and 5, two choices only after
30, and counting own placements mends argmin at every age.
"""

import pytest

from forestay.simulation.peers.blind import Random
from forestay.simulation.peers.own_placements import LoadAndOwnPlacements, LowestLoad
from forestay.simulation.peers.two_choices import TwoChoicesByLoad
from forestay.simulation.pickers import Pickers
from forestay.simulation.policy import Policy
from tests.simulation.peers.bulletin_board import mean_response

RANDOM = 9.86
PUBLISHED = {
    "two choices": {1: 2.95, 5: 3.97, 10: 5.03, 30: 8.88},
    "argmin": {1: 3.97, 5: 11.9, 10: 23.1, 30: 176.0},
    "argmin + own placements": {1: 1.82, 5: 2.59, 10: 3.00, 30: 3.71},
}


def peer(name: str) -> Policy:
    if name == "two choices":
        return TwoChoicesByLoad(1)
    return LowestLoad(1) if name == "argmin" else LoadAndOwnPlacements(1, cost=1.0, window_s=0.0)


@pytest.mark.parametrize(
    ("name", "period"), [("two choices", 1), ("two choices", 10), ("argmin", 1), ("argmin", 5)]
    + [("argmin + own placements", period) for period in (1, 5, 10, 30)],
)  # fmt: skip
def test_responses_by_age_of_the_board(name: str, period: int) -> None:
    response = mean_response(peer(name), period, duration=400)
    assert response == pytest.approx(PUBLISHED[name][period], rel=0.12)


def test_argmin_without_own_placements_is_worse_than_random_on_an_old_board() -> None:
    assert mean_response(LowestLoad(1), 5, duration=400) > RANDOM


@pytest.mark.parametrize(("counted", "response"), [(1, 8.69), (10, 4.71)])
def test_ten_dispatchers_that_do_not_talk_mend_it_by_counting_each_placement_tenfold(
    counted: int, response: float
) -> None:
    def dispatcher(seed: int) -> Policy:
        return LoadAndOwnPlacements(seed, cost=1.0, window_s=0.0, pickers=counted)

    assert mean_response(Pickers(dispatcher, 10), 5, duration=300) == pytest.approx(response, rel=0.15)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "period", "tolerance"),
    [(name, period, 0.07) for name in ("two choices", "argmin + own placements") for period in (1, 5, 10, 30)]
    + [("argmin", 1, 0.1), ("argmin", 5, 0.15), ("argmin", 10, 0.25), ("argmin", 30, 0.4)],
)
def test_long_runs_come_to_the_published_figures(name: str, period: int, tolerance: float) -> None:
    response = mean_response(peer(name), period, duration=6000)
    assert response == pytest.approx(PUBLISHED[name][period], rel=tolerance)


@pytest.mark.soak
def test_random_responds_as_a_single_queue_does() -> None:
    assert mean_response(Random(1), 10, duration=6000) == pytest.approx(RANDOM, rel=0.05)
