"""Shadow mode over the real loop and balancer, in a time that only the test moves."""

import math

import pytest
import structlog.testing

from forestay import Endpoint
from forestay.control.events import AnnouncedEvent
from forestay.control.shadow.shadow import ShadowRule
from forestay.control.shadow.sightings import Sighting
from tests.control.worlds import A, B

from .conftest import Observed

BUSY_A = {A: 0.9, B: 0.1}


def test_a_choice_that_forestay_shares_counts_as_the_same(observed: Observed) -> None:
    observed.seconds(5, BUSY_A)
    observed.opens("c1", B)
    observed.second(BUSY_A)
    assert observed.shadow.verdicts == {"same": 1}
    assert observed.loop.connections.open == {B: 1}


def test_a_choice_that_it_does_not_share_moves_load_in_the_estimate_only() -> None:
    observed = Observed(ShadowRule("api", warm_up_s=0.0))
    observed.second({A: 0.0, B: 0.0})
    for number in range(60):
        observed.opens(f"c{number}", B if number % 4 == 0 else A)
        observed.second({A: 0.01 * (number - number // 4), B: 0.01 * (number // 4 + 1)})
    shadow = observed.shadow
    assert shadow.verdicts["other"] > 30
    assert shadow.connections_as_is == {A: 45, B: 15}
    would_be = shadow.connections_would_be
    assert would_be[A] + would_be[B] == 60
    assert would_be[A] == pytest.approx(30, abs=10)  # not all on B: the would-be world lives with its own choices
    as_is, then = shadow.loads[A]
    assert as_is == pytest.approx(0.45)
    assert then == pytest.approx(0.3, abs=0.1)
    assert shadow.loads[B][1] == pytest.approx(0.3, abs=0.1)
    assert shadow.as_is.max_over_mean == pytest.approx(1.5, abs=0.1)
    assert shadow.would_be.max_over_mean is not None
    assert shadow.would_be.max_over_mean < 1.4
    predicted, actual = shadow.hindsight.predicted.means(), shadow.hindsight.actual.means()
    assert predicted["connections"] > actual["connections"] > 20
    assert predicted["chosen"] > predicted["instead"]
    assert actual["chosen"] > actual["instead"]


def test_it_asks_before_the_balancer_knows_what_was_done(observed: Observed) -> None:
    """Else the connection itself would speak against the server that it is on."""
    observed.seconds(5, {A: 0.2, B: 0.2 + 1e-6})
    preferred = observed.loop.balancer.preview("x", observed.now_s).endpoint_id
    observed.opens("c1", preferred)
    observed.second({A: 0.2, B: 0.2})
    assert observed.shadow.verdicts == {"same": 1}


def test_nothing_is_judged_before_the_warm_up_is_over() -> None:
    observed = Observed(ShadowRule("api", warm_up_s=10.0))
    assert observed.shadow.warm_up_left_s is None
    observed.second(BUSY_A)
    assert observed.shadow.warm_up_left_s == 10.0
    observed.opens("c1", A)
    observed.seconds(9, BUSY_A)
    assert (observed.shadow.judging, observed.shadow.verdicts, observed.shadow.as_is.seconds) == (False, {}, 0.0)
    assert observed.shadow.intake.outcomes == {"warm_up": 1}
    assert observed.shadow.connections_would_be == {A: 1, B: 0}
    observed.seconds(2, BUSY_A)
    observed.opens("c2", A)
    observed.second(BUSY_A)
    assert observed.shadow.verdicts == {"other": 1}


def test_a_connection_that_closes_is_gone_from_both_worlds(observed: Observed) -> None:
    observed.opens("c1", A)
    observed.second(BUSY_A)
    observed.closes("c1")
    observed.second(BUSY_A)
    assert observed.shadow.connections_as_is == observed.shadow.connections_would_be == {A: 0, B: 0}
    assert observed.loop.connections.open == {}
    observed.closes("c1")
    observed.second(BUSY_A)
    assert observed.shadow.intake.outcomes["unknown_connection"] == 1


def test_an_opening_that_is_repeated_counts_once_and_one_elsewhere_is_a_move(observed: Observed) -> None:
    observed.opens("c1", A)
    observed.opens("c1", A)
    observed.second(BUSY_A)
    observed.opens("c1", B)
    observed.second(BUSY_A)
    assert observed.shadow.intake.outcomes == {"judged": 2, "repeated": 1}
    assert observed.shadow.connections_as_is == {A: 0, B: 1}
    assert sum(observed.shadow.connections_would_be.values()) == 1


def test_an_unknown_endpoint_is_counted_and_changes_nothing(observed: Observed) -> None:
    observed.opens("c1", "10.9.9.9:1")
    observed.opens("c2", "10.9.9.9:1")
    observed.second(BUSY_A)
    assert observed.shadow.intake.outcomes == {"unknown_endpoint": 2}


def test_a_life_is_seen_in_time_by_a_shadow_that_lives_behind() -> None:
    observed = Observed(ShadowRule("log", delay_s=30.0, warm_up_s=0.0))
    observed.seconds(40, BUSY_A)
    observed.shadow.intake.observe(Sighting("lived", endpoint_id=A, duration_s=20.0))
    observed.seconds(9, BUSY_A)
    assert observed.shadow.connections_as_is == {A: 0, B: 0}
    observed.seconds(2, BUSY_A)
    assert observed.shadow.connections_as_is == {A: 1, B: 0}
    assert observed.shadow.verdicts == {"other": 1}
    observed.seconds(20, BUSY_A)
    assert observed.shadow.connections_as_is == {A: 0, B: 0}


def test_a_life_longer_than_the_delay_is_followed_for_the_rest_of_it_and_not_judged() -> None:
    observed = Observed(ShadowRule("log", delay_s=30.0, warm_up_s=0.0))
    observed.seconds(40, BUSY_A)
    observed.shadow.intake.observe(Sighting("lived", endpoint_id=A, duration_s=50.0))
    observed.second(BUSY_A)
    assert observed.shadow.intake.outcomes == {"late": 1}
    assert observed.shadow.connections_would_be == {A: 1, B: 0}
    observed.seconds(30, BUSY_A)
    assert observed.shadow.connections_as_is == {A: 0, B: 0}


def test_load_reports_wait_as_long_as_sightings() -> None:
    observed = Observed(ShadowRule("log", delay_s=5.0, warm_up_s=0.0))
    observed.second(BUSY_A)
    observed.seconds(4, {A: 0.5, B: 0.5})
    assert observed.shadow.loads == {}
    observed.second({A: 0.5, B: 0.5})
    assert {endpoint_id: load for endpoint_id, (load, _) in observed.shadow.loads.items()} == BUSY_A
    assert observed.loop.reports[A].at_s == observed.now_s - 5.0


def test_a_list_of_sockets_tells_what_opened_and_closed(observed: Observed) -> None:
    intake = observed.shadow.intake
    first, second = ("10.1.0.1", 5000, "10.0.0.1", 80), ("10.1.0.1", 5001, "10.0.0.1", 80)
    intake.observe_sockets(A, [first], 0.0)
    observed.second(BUSY_A)
    assert intake.outcomes == {"present": 1}
    intake.observe_sockets(A, [first, second], 0.0)
    observed.second(BUSY_A)
    assert (intake.outcomes["judged"], observed.shadow.connections_as_is[A]) == (1, 2)
    intake.observe_sockets(A, [second], 0.0)
    observed.second(BUSY_A)
    assert (intake.outcomes["closed"], observed.shadow.connections_as_is[A]) == (1, 1)


def test_a_server_that_fell_silent_is_not_taken_for_a_good_choice(observed: Observed) -> None:
    observed.seconds(12, {A: 0.4})
    for number in range(5):
        observed.opens(f"c{number}", A)
        observed.second({A: 0.4})
    assert observed.shadow.verdicts == {"same": 5}


def test_coverage_is_what_is_known_of_what_the_servers_count(observed: Observed) -> None:
    assert observed.shadow.coverage is None
    observed.opens("c1", A)
    observed.second(BUSY_A)
    observed.second(BUSY_A, counted={A: 3, B: 1})
    assert observed.shadow.coverage == 0.25


def test_more_than_can_wait_is_counted_and_closings_are_never_lost(observed: Observed) -> None:
    intake = observed.shadow.intake
    observed.opens("c1", A)
    observed.second(BUSY_A)
    intake._line._waiting_max = 1  # as if half a million were waiting
    observed.closes("c1")
    observed.opens("c2", A)
    observed.second(BUSY_A)
    assert intake.outcomes == {"judged": 1, "closed": 1, "overflow": 1}


def test_a_time_in_the_future_is_now(observed: Observed) -> None:
    observed.shadow.intake.observe(Sighting("opened", "c1", A, at=observed.unix + 3600))
    observed.second(BUSY_A)
    assert observed.shadow.connections_as_is[A] == 1


def test_endpoints_may_come_and_go_between_ticks(observed: Observed) -> None:
    observed.loop.endpoints.add(Endpoint("10.0.0.3:80"), observed.now_s)
    observed.opens("c1", "10.0.0.3:80")
    observed.second(BUSY_A)
    assert observed.shadow.connections_as_is["10.0.0.3:80"] == 1
    observed.loop.endpoints.remove("10.0.0.3:80", observed.now_s)
    observed.second(BUSY_A)
    assert "10.0.0.3:80" not in observed.shadow.connections_would_be
    observed.closes("c1")
    observed.second(BUSY_A)
    assert observed.shadow.connections_as_is == observed.shadow.connections_would_be == {A: 0, B: 0}


def test_once_a_minute_the_log_says_how_it_stands(observed: Observed) -> None:
    with structlog.testing.capture_logs() as logs:
        observed.seconds(130, BUSY_A)
    summaries = [line for line in logs if line["event"] == "shadow"]
    assert len(summaries) == 2
    assert {"judged", "same", "max_over_mean", "would_be_max_over_mean", "skill"} <= summaries[0].keys()


def test_the_would_be_world_knows_of_announced_events(observed: Observed) -> None:
    for number in range(40):
        observed.opens(f"c{number}", (A, B)[number % 2])
        observed.second({A: 0.005 * number, B: 0.005 * number})
    before = expected(observed)
    wall_s = observed.loop.clock.wall_s()
    observed.loop.events.announce(AnnouncedEvent("final", wall_s, wall_s + 600, 50.0))
    observed.second({A: 0.2, B: 0.2})
    assert all(after > 1.2 * now for after, now in zip(expected(observed), before, strict=True))


def expected(observed: Observed) -> tuple[float, float]:
    """Load of A in 30 s, as both balancers forecast it."""
    balancers = observed.loop.balancer, observed.shadow._world.balancer
    first, second = (balancer.tick(observed.now_s).forecast.at(30.0)[A] for balancer in balancers)
    return first, second


def test_the_forecasts_skill_is_shown_where_load_follows_connections() -> None:
    """Connections come in a wave that the live balancer puts on both: structural knowledge beats the last value."""
    observed = Observed(ShadowRule("api", warm_up_s=0.0))
    ends: dict[int, list[str]] = {}
    open_now = {A: 0, B: 0}
    where: dict[str, str] = {}
    for second in range(400):
        rate = 6 + round(5 * math.sin(second / 20))
        for number in range(rate):
            connection_id, endpoint_id = f"{second}-{number}", (A, B)[number % 2]
            observed.opens(connection_id, endpoint_id)
            where[connection_id] = endpoint_id
            open_now[endpoint_id] += 1
            ends.setdefault(second + 15, []).append(connection_id)
        for connection_id in ends.pop(second, []):
            observed.closes(connection_id)
            open_now[where.pop(connection_id)] -= 1
        observed.second({endpoint_id: 0.01 * count for endpoint_id, count in open_now.items()})
    scores = {score.horizon_s: score for score in observed.shadow.skill.scores()}
    assert scores[10.0].ratio < 1.0
    assert all(0.6 <= score.covered <= 1.0 for score in scores.values())
