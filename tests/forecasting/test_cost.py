"""Load by age and endpoint scale, learned from reports of a world that has them."""

import numpy as np
import pytest

from forestay.forecasting.ages import COST_MID_S, COSTS
from forestay.forecasting.cost import Cost
from forestay.model.plan import FloatArray

COUNT_MEAN = 8.0


def learned(
    theta: FloatArray, scale: FloatArray, seconds: int, *, background: float = 0.0, noise: float = 0.005
) -> Cost:
    """What reports of a world with this theta, shape (costs + 1,), and scale, shape (endpoints,), teach.

    The connections by age wander by themselves, a tenth anew every second.
    """
    rng = np.random.default_rng(7)  # noqa: TID251 # a test is a caller
    cost, everybody = Cost(), np.ones(len(scale), bool)
    cost.resize(len(scale))
    x = rng.poisson(COUNT_MEAN, (COSTS + 1, len(scale))).astype(float)
    for _ in range(seconds):
        x += 0.1 * (rng.poisson(COUNT_MEAN, x.shape) - x) + rng.normal(0, 1.0, x.shape)
        x = np.maximum(x, 0.0)
        load = background + scale * (theta @ x) + rng.normal(0, noise, len(scale))
        cost.learn(x, load, everybody)
    return cost


def test_unequal_sizes_are_learned_from_reports_alone() -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    scale = np.exp(rng.normal(0, 0.4, 16))
    scale /= np.exp(np.log(scale).mean())
    theta = np.append(np.full(COSTS, 0.004), 0.0)
    cost = learned(theta, scale, 300, background=0.1)
    error = np.log(cost.scale / scale)
    assert np.abs(error).max() < 0.15
    assert np.exp(np.log(cost.scale).mean()) == pytest.approx(1.0)


def test_a_ramp_over_a_connections_first_half_minute_is_learned() -> None:
    ramp = 0.006 * np.minimum(0.2 + COST_MID_S / 25.0, 1.0)
    cost = learned(np.append(ramp, 0.0), np.ones(16), 600)
    np.testing.assert_allclose(cost.theta[:COSTS], ramp, atol=0.0006)


def test_the_price_of_a_handshake_is_learned_apart_from_what_follows() -> None:
    cost = learned(np.append(np.full(COSTS, 0.004), 0.012), np.ones(16), 600)
    assert cost.per_accept == pytest.approx(0.012, rel=0.15)
    assert cost.at_age(np.array([1.0, 30.0])) == pytest.approx([0.004, 0.004], rel=0.15)


def test_the_first_reports_already_tell_the_level() -> None:
    cost = learned(np.append(np.full(COSTS, 0.004), 0.0), np.ones(4), 2)
    assert cost.at_age(np.array([0.5, 100.0])) == pytest.approx([0.004, 0.004], rel=0.3)


def test_a_fleet_that_fills_by_handshakes_takes_them_neither_for_connections_nor_for_sizes() -> None:
    rng = np.random.default_rng(3)  # noqa: TID251 # a test is a caller
    cost, everybody, scale = Cost(), np.ones(20, bool), np.repeat([0.87, 1.74], [16, 4])
    cost.resize(20)
    x = np.zeros((COSTS + 1, 20))
    for _ in range(20):
        accepts = rng.poisson(10.0, 20)
        x[0], x[1], x[COSTS] = accepts, x[1] + x[0], accepts
        load = scale * (0.001 * x[:COSTS].sum(0) + 0.015 * accepts) * rng.normal(1.0, 0.02, 20)
        cost.learn(x, load, everybody)
    assert cost.theta[:COSTS].mean() == pytest.approx(0.001, rel=0.4)
    assert cost.scale[16:].mean() / cost.scale[:16].mean() == pytest.approx(2.0, rel=0.15)


def calm(scale: FloatArray, seconds: int, seed: int = 4) -> tuple[Cost, FloatArray]:
    """Steady connections and an accept now and then, whose cost is underestimated; and X of the last second."""
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    cost, everybody = Cost(), np.ones(len(scale), bool)
    cost.resize(len(scale))
    x = np.full((COSTS + 1, len(scale)), 40.0)
    for _ in range(seconds):
        x[COSTS] = rng.poisson(0.5, len(scale))
        cost.learn(x, scale * (0.001 * x[:COSTS].sum(0) + 0.03 * x[COSTS]) * rng.normal(1, 0.02, len(scale)), everybody)
    return cost, x


def test_the_first_report_of_a_storm_tells_sizes_and_what_an_accept_costs() -> None:
    scale = np.array([0.8, 1.0, 1.25, 1.0, 0.9, 1.1111])
    cost, x = calm(scale, 61)
    assert np.abs(np.log(cost.scale / scale)).max() > 0.04
    absent = cost.scale[5]
    x[COSTS] = 60.0
    there = np.array([True] * 5 + [False])
    for _ in range(2):
        cost.learn(x, scale * (0.001 * x[:COSTS].sum(0) + 0.03 * x[COSTS]), there)
        x[COSTS] = 20.0
    assert cost.per_accept == pytest.approx(0.03, rel=0.1)
    relative = cost.scale[:5] / np.exp(np.log(cost.scale[:5]).mean())
    assert relative == pytest.approx(scale[:5] / np.exp(np.log(scale[:5]).mean()), rel=0.04)
    assert cost.scale[5] == pytest.approx(absent, rel=0.15)  # who is not there has not changed


def test_a_storm_does_not_pass_for_noise() -> None:
    cost, x = calm(np.ones(6), 60)
    noise = cost.noise
    x[COSTS] = 60.0
    cost.learn(x, 0.001 * x[:COSTS].sum(0) + 0.06 * x[COSTS], np.ones(6, bool))
    assert cost.noise < 2 * noise


def test_a_report_of_a_full_server_is_known_by_what_there_was_to_do() -> None:
    cost, x = calm(np.ones(6), 60)
    assert not cost.is_full(x, np.full(6, 1.0)).any()  # busy with something else
    x[COSTS] = 60.0
    assert cost.is_full(x, np.full(6, 0.99)).all()
    assert not cost.is_full(x, np.full(6, 0.8)).any()
    assert not cost.is_full(x, np.full(6, 1.9)).any()  # says more than 1, so 1 is not its limit


def test_before_any_report_a_handshake_is_not_free() -> None:
    assert Cost().per_accept > 0


def test_the_guess_becomes_sure_with_time() -> None:
    theta = np.append(np.full(COSTS, 0.004), 0.0)
    assert learned(theta, np.ones(8), 5).certain < learned(theta, np.ones(8), 300).certain
    assert learned(theta, np.ones(8), 300).certain > 0.9


def test_a_declared_size_outweighs_what_reports_seem_to_say() -> None:
    cost = Cost()
    cost.resize(2)
    cost.declare(0, 1.0)
    cost.declare(1, 4.0)
    assert cost.scale[0] / cost.scale[1] == pytest.approx(4.0)
    rng = np.random.default_rng(3)  # noqa: TID251 # a test is a caller
    for _ in range(30):
        x = rng.poisson(COUNT_MEAN, (COSTS + 1, 2)).astype(float)
        cost.learn(x, 0.004 * x.sum(0), np.ones(2, bool))  # as if both were of one size
    assert cost.scale[0] / cost.scale[1] > 2.5


def test_the_order_of_declarations_does_not_matter() -> None:
    def declared(order: list[int]) -> FloatArray:
        cost = Cost()
        cost.resize(3)
        for endpoint in order:
            cost.declare(endpoint, float(endpoint + 1))
        return cost.scale

    np.testing.assert_allclose(declared([0, 1, 2]), declared([2, 0, 1]))


def test_declaring_the_same_again_forgets_nothing() -> None:
    scale = np.array([0.5, 1.0, 2.0])
    cost = learned(np.append(np.full(COSTS, 0.004), 0.0), scale, 200)
    before = cost.scale.copy()
    cost.declare(0, None)
    np.testing.assert_array_equal(cost.scale, before)


def test_another_endpoint_in_the_slot_inherits_neither_size_nor_declaration() -> None:
    cost = Cost()
    cost.resize(2)
    cost.declare(0, 9.0)
    cost.forget(0)
    assert cost.declared(0) is None
    assert cost.scale[0] == 1.0


@pytest.mark.parametrize("load", [0.0, 5e-324, 1e-200])
def test_connections_that_cost_next_to_nothing_are_no_division_by_zero(load: float) -> None:
    cost = Cost()
    cost.resize(2)
    for _ in range(30):
        cost.learn(np.ones((COSTS + 1, 2)), np.full(2, load), np.ones(2, bool))
    assert np.isfinite(cost.theta).all()
    assert np.isfinite(cost.scale).all()
