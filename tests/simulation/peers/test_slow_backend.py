import pytest

from forestay.simulation.peers.blind import RoundRobin
from forestay.simulation.peers.peak_ewma import DECAY_S, PENALTY, PeakEwma
from forestay.simulation.peers.two_choices import TwoChoicesByConnections
from tests.simulation.peers.slow_backend import success_rate


def test_round_robin_fails_the_slow_backends_share() -> None:
    assert success_rate(RoundRobin(1)) == pytest.approx(0.95, abs=0.007)


def test_least_loaded_goes_on_sending_what_the_slow_backend_answers() -> None:
    assert success_rate(TwoChoicesByConnections(1)) == pytest.approx(0.99, abs=0.007)


def test_peak_ewma_all_but_leaves_the_slow_backend_alone() -> None:
    assert success_rate(PeakEwma(1)) == pytest.approx(0.999, abs=0.001)


def test_a_peak_counts_at_once_and_is_forgiven_within_the_decay_time() -> None:
    policy = PeakEwma(1)
    policy.add_endpoint("a:1", 0.0)
    for second in range(5):
        policy.observe("a:1", 0.1, float(second))
    policy.observe("a:1", 2.0, 5.0)
    assert policy.score(0, 5.0) == pytest.approx(2.0)
    policy.observe("a:1", 0.1, 5.0 + DECAY_S)
    assert policy.score(0, 5.0 + DECAY_S) == pytest.approx(2.0 * 0.3679 + 0.1 * 0.6321, rel=1e-3)


def test_an_endpoint_without_answers_yet_ranks_behind_all_others_once_it_was_tried() -> None:
    policy = PeakEwma(1)
    policy.add_endpoint("a:1", 0.0)
    assert policy.score(0, 0.0) == 0.0
    policy.place("x", 0.0)
    assert policy.score(0, 0.0) > PENALTY
