"""forestay: places connections ahead of load. Every public name comes from here."""

from forestay.balancer import Balancer, BalancerSettings
from forestay.model.connection import Connection
from forestay.model.endpoint import Endpoint
from forestay.model.errors import ForestayError, InvalidInput, UnknownConnection, UnknownEndpoint
from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import Forecast, Move, Plan, Table, Verdict

__all__ = [
    "Balancer",
    "BalancerSettings",
    "Connection",
    "Endpoint",
    "Event",
    "Forecast",
    "ForestayError",
    "InvalidInput",
    "LoadReport",
    "Move",
    "Plan",
    "Table",
    "UnknownConnection",
    "UnknownEndpoint",
    "Verdict",
]
