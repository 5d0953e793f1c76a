"""Who of the connections is dear, told from steps of the load."""

import numpy as np
import pytest

from forestay.forecasting.attribution import Attribution
from forestay.forecasting.window import Cohort
from forestay.model.plan import FloatArray

ENDPOINTS = 8


class Servers:
    """Endpoints on each of which one connection of hidden cost opens every few seconds and stays."""

    def __init__(self, noise: float, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
        self.noise = noise
        self.attribution = Attribution()
        self.attribution.resize(ENDPOINTS)
        self.opened: list[tuple[int, float, float]] = []  # endpoint, when, hidden excess
        self.known: FloatArray = np.zeros(0)
        self.doubt: FloatArray = np.zeros(0)

    def second(self, now_s: float, load: float = 0.05) -> None:
        """One report of everybody, on the second that ends now."""
        for endpoint in range(ENDPOINTS):
            if self.rng.uniform() < 0.3:
                self.opened.append((endpoint, now_s - self.rng.uniform(), float(self.rng.exponential() - 1.0)))
                self.known, self.doubt = np.append(self.known, 0.0), np.append(self.doubt, 1.0)
        where, opened_s, hidden = np.array(self.opened).reshape(-1, 3).T
        everybody = self.cohort(where, opened_s, load, self.doubt)
        at_s = np.full(ENDPOINTS, now_s)
        residual = everybody.mean(load * (hidden - self.known), at_s - 1.0, at_s)
        residual += self.rng.normal(0.0, self.noise, ENDPOINTS)
        lately = opened_s > now_s - 2.5
        excess, doubt, _ = self.attribution.learn(
            residual,
            np.full(ENDPOINTS, True),
            at_s,
            1.0,
            np.ones(ENDPOINTS),
            self.cohort(where[lately], opened_s[lately], load, self.doubt[lately]),
        )
        self.known[lately] += excess
        self.doubt[lately] = doubt

    def cohort(self, endpoint: FloatArray, opened_s: FloatArray, load: float, doubt: FloatArray) -> Cohort:
        size = len(endpoint)
        return Cohort(endpoint.astype(np.int64), opened_s, np.full(size, np.inf), np.full(size, load), doubt)


def test_costs_that_stand_out_of_the_noise_are_found() -> None:
    servers = Servers(noise=0.005)
    for second in range(1, 200):
        servers.second(float(second))
    hidden = np.array([excess for _, _, excess in servers.opened])[:-40]
    found = servers.known[:-40]
    assert np.var(hidden - found) < 0.35 * np.var(hidden)
    assert 0.3 < servers.attribution.variance < 1.5


def test_where_reports_are_too_coarse_nobody_is_told_apart() -> None:
    servers = Servers(noise=0.2)
    for second in range(1, 200):
        servers.second(float(second))
    hidden = np.array([excess for _, _, excess in servers.opened])
    assert np.var(hidden - servers.known) <= 1.02 * np.var(hidden)
    assert servers.attribution.noise == pytest.approx(np.full(ENDPOINTS, 2 * 0.2**2), rel=0.4)


def test_an_endpoint_whose_load_jumps_by_itself_is_believed_less() -> None:
    attribution = Attribution()
    attribution.resize(2)
    nobody = Cohort(np.zeros(0, np.int64), *np.zeros((4, 0)))
    for second in range(1, 100):
        residual = np.array([0.0, 0.3 * (second % 10 < 5)])
        attribution.learn(residual, np.full(2, True), np.full(2, float(second)), 1.0, np.ones(2), nobody)
    calm, jumpy = attribution.noise.tolist()
    assert jumpy > 5 * calm


def test_what_is_explained_is_what_is_attributed_over_the_report() -> None:
    attribution = Attribution()
    attribution.resize(1)
    at_s, always = np.array([10.0]), np.array([True])
    cohort = Cohort(np.array([0]), np.array([9.75]), np.array([np.inf]), np.array([0.1]), np.array([1.0]))
    attribution.learn(np.array([0.0]), always, at_s - 1.0, 1.0, np.ones(1), cohort)
    excess, doubt, explained = attribution.learn(np.array([0.05]), always, at_s, 1.0, np.ones(1), cohort)
    assert excess[0] > 0
    assert 0 < doubt[0] < 1
    assert explained[0] == pytest.approx(0.25 * 0.1 * excess[0])
