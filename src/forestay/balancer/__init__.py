"""The façade: events in, verdicts and plans out. Pure: no I/O, no clock, no global randomness."""

from forestay.balancer.balancer import Balancer
from forestay.balancer.settings import BalancerSettings

__all__ = ["Balancer", "BalancerSettings"]
