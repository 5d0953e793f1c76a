"""n balls into n bins: the fullest holds some ln n / ln ln n at random, ln ln n / ln 2 by two choices."""

from forestay.simulation.peers.blind import Random
from forestay.simulation.peers.peer import Peer
from forestay.simulation.peers.two_choices import TwoChoicesByConnections

BINS = 1000


def fullest(policy: Peer) -> int:
    for index in range(BINS):
        policy.add_endpoint(f"bin-{index}", 0.0)
    for ball in range(BINS):
        policy.place(str(ball), 0.0)
    return max(policy.counts)


def test_the_fullest_of_two_choices_is_far_from_that_of_random() -> None:
    assert fullest(TwoChoicesByConnections(1)) in (3, 4)
    assert fullest(Random(1)) >= 5
