"""Why a connection went where it went."""

import pytest

from forestay import UnknownConnection
from forestay.balancer.explanation import GENERATION, GENERATIONS
from tests.balancer.clusters import A, B, Cluster


def test_an_explanation_names_the_choice_the_scores_and_the_rivals() -> None:
    cluster = Cluster()
    cluster.open(A, 50)
    cluster.open(B, 50)
    cluster.seconds(30, {A: 0.25, B: 0.40})
    verdict = cluster.place()
    lines = cluster.balancer.explain(verdict.connection_id).splitlines()
    assert lines[0] == f"{verdict.connection_id} was placed on {A} 0.0 s ago: fittest"
    assert [float(word) for word in lines[1].split()[2:]][-1] == 30.0
    loads = [float(word) for word in lines[2].partition("(")[0].split()[2:]]
    assert loads[0] == pytest.approx(0.25, abs=0.03)
    assert "threshold 0.70" in lines[2]
    assert B in lines[3]


def test_an_explanation_stays_as_it_was_at_the_time() -> None:
    cluster = Cluster()
    cluster.seconds(5, 0.3)
    verdict = cluster.place()
    words = cluster.balancer.explain(verdict.connection_id)
    cluster.balancer.remove_endpoint(verdict.endpoint_id, cluster.now_s)
    cluster.balancer.add_endpoint("10.9.9.9:80", cluster.now_s)
    cluster.seconds(5)
    assert cluster.balancer.explain(verdict.connection_id) == words.replace(" 0.0 s ago", " 5.0 s ago")


def test_explanations_of_an_endpoint_with_an_extreme_load_are_words_too() -> None:
    cluster = Cluster(endpoints=[A])
    got = [cluster.place() for _ in range(5000)]
    assert A in cluster.balancer.explain(got[-1].connection_id)


def test_old_decisions_are_forgotten_and_their_number_is_bounded() -> None:
    cluster = Cluster()
    first = cluster.place()
    for _ in range(GENERATIONS):
        cluster.admit(GENERATION)
        cluster.second()
    newest = cluster.place()
    assert cluster.balancer.explain(newest.connection_id)
    with pytest.raises(UnknownConnection, match=first.connection_id):
        cluster.balancer.explain(first.connection_id)
