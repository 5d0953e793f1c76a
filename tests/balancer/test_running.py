"""What a running balancer takes from outside: other settings, and picks that data planes made themselves."""

import pytest

from forestay import Balancer, BalancerSettings, LoadReport, UnknownConnection

A, B = "10.0.0.1:80", "10.0.0.2:80"


def busy_balancer(load: float, settings: BalancerSettings | None = None) -> Balancer:
    """Two endpoints, which have reported `load` for five seconds."""
    balancer = Balancer(settings)
    for endpoint_id in (A, B):
        balancer.add_endpoint(endpoint_id, 0.0)
    tick(balancer, load, 1, 6)
    return balancer


def tick(balancer: Balancer, load: float, begin_s: int, end_s: int) -> None:
    for second in range(begin_s, end_s):
        for endpoint_id in (A, B):
            balancer.report(LoadReport(endpoint_id, at_s=float(second), load=load), float(second))
        balancer.tick(float(second))


def test_a_lower_threshold_counts_from_the_next_tick_on() -> None:
    balancer = busy_balancer(0.5)
    assert len(balancer.tick(6.0).pool) == 2
    balancer.configure(BalancerSettings(threshold=0.3, load_max=0.4))
    assert len(balancer.tick(7.0).pool) == 0


def test_a_smaller_queue_keeps_those_that_wait_and_takes_nobody_else() -> None:
    balancer = busy_balancer(0.1, BalancerSettings(queue_max=2))
    for endpoint_id in (A, B):
        balancer.set_health(endpoint_id, False, 6.0)
    assert [balancer.place(f"conn-{number}", 6.0).kind for number in range(3)] == ["queue", "queue", "shed"]
    balancer.configure(BalancerSettings(queue_max=1))
    assert [balancer.place(f"conn-{number}", 6.1).kind for number in range(3)] == ["queue", "queue", "shed"]


def test_a_client_rate_counts_at_once() -> None:
    balancer = busy_balancer(0.1)
    assert balancer.place("conn-1", 6.0, client="eager").kind == "admit"
    balancer.configure(BalancerSettings(client_rate_per_s=0.1, client_burst=1))
    assert balancer.place("conn-2", 6.0, client="eager").kind == "admit"
    refused = balancer.place("conn-3", 6.0, client="eager")
    assert (refused.kind, refused.reason) == ("shed", "client_rate")


def test_a_pick_of_a_data_plane_can_be_explained() -> None:
    balancer = busy_balancer(0.4)
    balancer.opened("relayed", A, 6.0)
    words = balancer.explain("relayed")
    assert f"relayed was placed on {A}" in words
    assert "picked by a data plane" in words
    assert B in words


def test_a_connection_adopted_before_the_first_plan_has_no_explanation() -> None:
    balancer = Balancer()
    balancer.add_endpoint(A, 0.0)
    balancer.opened("adopted", A, 0.0)
    with pytest.raises(UnknownConnection):
        balancer.explain("adopted")
