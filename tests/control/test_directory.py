from collections.abc import Sequence

import pytest

from forestay import Balancer, Endpoint, UnknownEndpoint
from forestay.control.directory import EndpointDirectory
from tests.control.worlds import A, B


def eligible(balancer: Balancer, now_s: float) -> set[str]:
    return set(balancer.tick(now_s).pool)


def test_an_endpoint_belongs_as_long_as_one_source_names_it() -> None:
    balancer = Balancer()
    directory = EndpointDirectory(balancer)
    directory.replace("config", [Endpoint(A), Endpoint(B)], 0.0)
    directory.replace("dns", [Endpoint(A)], 0.0)
    directory.replace("config", [Endpoint(B)], 1.0)
    assert not directory.get(A).leaving
    directory.replace("dns", [], 2.0)
    assert directory.get(A).leaving
    assert eligible(balancer, 3.0) == {B}


def test_a_leaving_endpoint_is_removed_once_it_is_empty() -> None:
    directory = EndpointDirectory(Balancer())
    directory.replace("dns", [Endpoint(A)], 0.0)
    directory.replace("dns", [], 1.0)
    assert directory.remove_empty({A: 1}, 2.0) == []
    assert directory.remove_empty({}, 3.0) == [A]
    assert A not in directory


def test_a_leaving_endpoint_that_is_named_again_stays() -> None:
    balancer = Balancer()
    directory = EndpointDirectory(balancer)
    directory.replace("dns", [Endpoint(A)], 0.0)
    directory.replace("dns", [], 1.0)
    directory.replace("dns", [Endpoint(A)], 2.0)
    assert directory.remove_empty({}, 3.0) == []
    assert eligible(balancer, 3.0) == {A}


def test_what_the_api_says_of_an_endpoint_wins_over_the_configuration() -> None:
    directory = EndpointDirectory(Balancer())
    directory.add(Endpoint(A, capacity=1.0), 0.0, "config")
    directory.add(Endpoint(A, capacity=2.0), 0.0, "api")
    directory.add(Endpoint(A, capacity=3.0), 0.0, "config")
    assert directory.get(A).endpoint.capacity == 2.0


def test_a_drain_survives_a_reload_of_the_configuration() -> None:
    balancer = Balancer()
    directory = EndpointDirectory(balancer)
    directory.replace("config", [Endpoint(A), Endpoint(B)], 0.0)
    directory.drain(A, 1.0)
    directory.replace("config", [Endpoint(A), Endpoint(B)], 2.0)
    assert eligible(balancer, 3.0) == {B}
    directory.undrain(A, 4.0)
    assert eligible(balancer, 5.0) == {A, B}


def test_an_unhealthy_endpoint_stays_so_when_a_drain_ends() -> None:
    balancer = Balancer()
    directory = EndpointDirectory(balancer)
    directory.replace("config", [Endpoint(A), Endpoint(B)], 0.0)
    assert directory.set_health(A, False, 1.0, "refused")
    assert not directory.set_health(A, False, 1.0, "timeout")
    directory.drain(A, 2.0)
    directory.undrain(A, 3.0)
    assert eligible(balancer, 4.0) == {B}
    assert directory.get(A).health_detail == "timeout"


def test_subscribers_hear_of_every_change_of_the_set_and_of_nothing_else() -> None:
    directory = EndpointDirectory(Balancer())
    heard: list[Sequence[str]] = []
    directory.add(Endpoint(A), 0.0)
    directory.subscribe(heard.append)
    directory.add(Endpoint(A, capacity=2.0), 1.0)
    directory.add(Endpoint(B), 2.0)
    directory.drain(B, 3.0)
    directory.remove(A, 4.0)
    assert heard == [(A,), (A, B), (B,)]


def test_an_unknown_endpoint_is_an_error_that_names_it() -> None:
    directory = EndpointDirectory(Balancer())
    for act in (directory.get, lambda e: directory.drain(e, 0.0), lambda e: directory.remove(e, 0.0)):
        with pytest.raises(UnknownEndpoint, match=A):
            act(A)
