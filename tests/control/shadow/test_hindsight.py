import pytest

from forestay.control.shadow.hindsight import Hindsight


def test_both_servers_are_compared_as_predicted_and_ten_seconds_later() -> None:
    hindsight = Hindsight()
    hindsight.tick(0.0, {"a": 0.5, "b": 0.1}, {"a": 0.8, "b": 0.2})
    hindsight.differ("a", "b")
    hindsight.differ("a", "b")
    for now_s in range(1, 12):
        hindsight.tick(float(now_s), {"a": 0.7, "b": 0.3}, {"a": 0.0, "b": 0.0})
    assert hindsight.predicted.means() == {
        "connections": 2,
        "chosen": pytest.approx(0.8),
        "instead": pytest.approx(0.2),
    }
    assert hindsight.actual.means() == {"connections": 2, "chosen": pytest.approx(0.7), "instead": pytest.approx(0.3)}


def test_a_server_whose_load_nobody_knows_is_left_out() -> None:
    hindsight = Hindsight()
    hindsight.differ("a", "b")
    for now_s in range(12):
        hindsight.tick(float(now_s), {"a": 0.7}, {"a": 0.7})
    assert hindsight.actual.means() == {"connections": 0, "chosen": None, "instead": None}
