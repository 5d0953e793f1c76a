"""Every metric, in one table, and the collector that fills them from the state of the clusters when asked.

Nothing is pushed: the control loop counts in plain integers, and a scrape reads them. A series therefore vanishes with
its endpoint instead of going stale.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from forestay.control.counts import Histogram
from forestay.control.loop import ClusterLoop
from forestay.service.views import HORIZONS_S, QUANTILE, reported_load

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Metric:
    """Declaration of one metric.

    Attributes:
        name: as scraped; counters end in _total, others in their unit.
        kind: of Prometheus.
        unit: for people.
        help: what it says.
        labels: their names.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...] = ("cluster",)


METRICS = (
    Metric(
        "forestay_predicted_load_ratio",
        "gauge",
        "fraction of capacity",
        "Load predicted for an endpoint, horizon seconds ahead",
        ("cluster", "endpoint", "horizon"),
    ),
    Metric(
        "forestay_predicted_load_q90_ratio",
        "gauge",
        "fraction of capacity",
        "Load that an endpoint will not exceed with probability 0.9, horizon seconds ahead",
        ("cluster", "endpoint", "horizon"),
    ),
    Metric(
        "forestay_load_ratio",
        "gauge",
        "fraction of capacity",
        "Load that an endpoint last reported",
        ("cluster", "endpoint"),
    ),
    Metric(
        "forestay_report_age_seconds",
        "gauge",
        "seconds",
        "Age of the last load report of an endpoint",
        ("cluster", "endpoint"),
    ),
    Metric(
        "forestay_open_connections",
        "gauge",
        "connections",
        "Open connections of an endpoint",
        ("cluster", "endpoint"),
    ),
    Metric(
        "forestay_endpoint_state",
        "gauge",
        "0 or 1",
        "1 for every state an endpoint is in: eligible, unhealthy, draining, leaving",
        ("cluster", "endpoint", "state"),
    ),
    Metric(
        "forestay_weight",
        "gauge",
        "1/1000 of arrivals",
        "Share of the next second's arrivals that the plan gives an endpoint",
        ("cluster", "endpoint"),
    ),
    Metric(
        "forestay_decisions_total",
        "counter",
        "verdicts",
        "Verdicts on direct placements, by kind (admit, queue, shed) and reason",
        ("cluster", "kind", "reason"),
    ),
    Metric(
        "forestay_connections_total",
        "counter",
        "connections",
        "Connections by what became of them: opened, moved, closed, failed, adopted, adopted_gone, resync_gone",
        ("cluster", "event"),
    ),
    Metric(
        "forestay_placements_total",
        "counter",
        "placements",
        "Direct placements by what became of them: confirmed, expired, closed, failed, abandoned",
        ("cluster", "event"),
    ),
    Metric("forestay_queue_length", "gauge", "placements", "Direct placements that wait for a turn"),
    Metric("forestay_reservations", "gauge", "placements", "Direct placements answered and not confirmed yet"),
    Metric("forestay_queue_wait_seconds", "histogram", "seconds", "Time that queued direct placements waited"),
    Metric("forestay_ticks_total", "counter", "ticks", "Ticks of the control loop"),
    Metric("forestay_ticks_late_total", "counter", "ticks", "Ticks that began more than 0.1 s late"),
    Metric("forestay_ticks_missed_total", "counter", "ticks", "Due times that passed without a tick"),
    Metric("forestay_tick_duration_seconds", "histogram", "seconds", "Time that a tick took"),
    Metric("forestay_plan_age_seconds", "gauge", "seconds", "Age of the last plan"),
    Metric(
        "forestay_reports_total",
        "counter",
        "reports",
        "Load reports by outcome: taken, unknown_endpoint, unusable",
        ("cluster", "outcome"),
    ),
    Metric(
        "forestay_fallback_ticks_total",
        "counter",
        "ticks",
        "Ticks made with a fallback in force, by its name",
        ("cluster", "fallback"),
    ),
    Metric(
        "forestay_fallback_active",
        "gauge",
        "0 or 1",
        "1 while a fallback is in force, by its name",
        ("cluster", "fallback"),
    ),
    Metric(
        "forestay_moves_total",
        "counter",
        "connections",
        "Connections that a plan wanted moved, by reason",
        ("cluster", "reason"),
    ),
    Metric(
        "forestay_errors_total",
        "counter",
        "errors",
        "Errors that the control loop survived, by where: tick, publish, poll, snapshot, plane_stop, ...",
        ("cluster", "where"),
    ),
    Metric(
        "forestay_api_responses_total",
        "counter",
        "responses",
        "Answers of the HTTP API by status; 500 is a defect",
        ("status",),
    ),
    Metric(
        "forestay_relay",
        "gauge",
        "as the statistic says",
        "Present state of the relay of a listener, by statistic (open, queued, ...)",
        ("cluster", "listener", "statistic"),
    ),
    Metric(
        "forestay_relay_events_total",
        "counter",
        "events",
        "What a listener's relay did, by event (accepted, refused, reset, connect_failed, ...)",
        ("cluster", "listener", "event"),
    ),
    Metric(
        "forestay_registry",
        "gauge",
        "as the statistic says",
        "State of the connection registry, by statistic (pending, oldest_pending_s, degraded, ...)",
        ("statistic",),
    ),
)
"""All of them; the operating page of the documentation lists each one, and a test compares."""

_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True, slots=True)
class PlaneStatistics:
    """Statistics of one data plane.

    Attributes:
        cluster, listener: whose.
        state: present values by name.
        events: how often things happened since the start, by name.
    """

    cluster: str
    listener: str
    state: Mapping[str, float]
    events: Mapping[str, float]


class Metrics:
    """The metrics of one process, on a registry of their own.

    Attributes:
        registry: to add further collectors to.
        responses: answers of the HTTP API by status; the API counts here.
    """

    def __init__(
        self,
        clusters: Mapping[str, ClusterLoop],
        planes: Callable[[], Iterable[PlaneStatistics]] = tuple,
        connection_registry: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Say where the numbers come from.

        Args:
            clusters: by name; read anew at every scrape.
            planes: statistics of the data planes now.
            connection_registry: statistics of the connection registry now.
        """
        self.responses: Counter[int] = Counter()
        self.registry = CollectorRegistry()
        self.registry.register(_StateCollector(clusters, planes, connection_registry, self.responses))
        ProcessCollector(registry=self.registry)

    def page(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)


class _StateCollector(Collector):
    def __init__(
        self,
        clusters: Mapping[str, ClusterLoop],
        planes: Callable[[], Iterable[PlaneStatistics]],
        connection_registry: Callable[[], Mapping[str, float]],
        responses: Mapping[int, int],
    ) -> None:
        self._responses = responses
        self._clusters = clusters
        self._planes = planes
        self._connection_registry = connection_registry

    def collect(self) -> Iterator[Family]:
        """See prometheus_client."""
        families = _Families()
        for cluster in self._clusters.values():
            _fill_cluster(families, cluster)
            _fill_endpoints(families, cluster)
        for plane in self._planes():
            for name, value in plane.state.items():
                families.add("forestay_relay", value, plane.cluster, plane.listener, name)
            for name, value in plane.events.items():
                families.add("forestay_relay_events_total", value, plane.cluster, plane.listener, name)
        for name, value in self._connection_registry().items():
            families.add("forestay_registry", value, name)
        for status, count in self._responses.items():
            families.add("forestay_api_responses_total", count, str(status))
        return families.all()


class _Families:
    """Metric families in the making, one for each declaration."""

    def __init__(self) -> None:
        makers = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
        self._families: dict[str, Family] = {
            metric.name: makers[metric.kind](metric.name, metric.help, labels=metric.labels) for metric in METRICS
        }

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample; `labels` in the order of the declaration."""
        family = self._families[name]
        assert not isinstance(family, HistogramMetricFamily)
        assert len(labels) == len(_BY_NAME[name].labels), f"{name} has the labels {_BY_NAME[name].labels}"
        family.add_metric(labels, value)

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        """All samples of a histogram."""
        family = self._families[name]
        assert isinstance(family, HistogramMetricFamily)
        bounds = [*map(str, histogram.bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(histogram.buckets), strict=True)), histogram.total)

    def all(self) -> Iterator[Family]:
        """Every family, also those without a sample: an absent metric cannot be told from a misspelt one."""
        return iter(self._families.values())


def _fill_cluster(families: _Families, cluster: ClusterLoop) -> None:
    name, counts, plan = cluster.name, cluster.counts, cluster.plan
    families.add("forestay_queue_length", cluster.placements.queued, name)
    families.add("forestay_reservations", cluster.placements.reserved, name)
    families.add("forestay_ticks_total", counts.ticks, name)
    families.add("forestay_ticks_late_total", counts.ticks_late, name)
    families.add("forestay_ticks_missed_total", counts.ticks_missed, name)
    families.add_histogram("forestay_tick_duration_seconds", counts.tick_s, name)
    families.add_histogram("forestay_queue_wait_seconds", counts.wait_s, name)
    for (kind, reason), count in counts.decisions.items():
        families.add("forestay_decisions_total", count, name, kind, reason)
    for metric, counter in (
        ("forestay_connections_total", counts.connections),
        ("forestay_placements_total", counts.placements),
        ("forestay_reports_total", counts.reports),
        ("forestay_fallback_ticks_total", counts.fallbacks),
        ("forestay_moves_total", counts.moves),
        ("forestay_errors_total", counts.errors),
    ):
        for label, count in counter.items():
            families.add(metric, count, name, label)
    active = plan.fallbacks if plan else frozenset[str]()
    for fallback in sorted(active.union(counts.fallbacks)):
        families.add("forestay_fallback_active", fallback in active, name, fallback)
    if plan:
        families.add("forestay_plan_age_seconds", cluster.clock.now_s() - plan.now_s, name)


def _fill_endpoints(families: _Families, cluster: ClusterLoop) -> None:
    name, plan, now_s = cluster.name, cluster.plan, cluster.clock.now_s()
    pool = frozenset(plan.pool) if plan else frozenset[str]()
    for state in cluster.endpoints:
        endpoint_id = state.endpoint.id
        families.add("forestay_open_connections", cluster.connections.open.get(endpoint_id, 0), name, endpoint_id)
        states = {
            "eligible": endpoint_id in pool,
            "unhealthy": not state.healthy,
            "draining": state.draining,
            "leaving": state.leaving,
        }
        for word, holds in states.items():
            families.add("forestay_endpoint_state", holds, name, endpoint_id, word)
        report = cluster.reports.get(endpoint_id)
        if report is not None:
            families.add("forestay_report_age_seconds", max(0.0, now_s - report.at_s), name, endpoint_id)
        load = reported_load(report)
        if load is not None:
            families.add("forestay_load_ratio", load, name, endpoint_id)
        if plan:
            families.add("forestay_weight", plan.weights.get(endpoint_id, 0), name, endpoint_id)
    if plan is None:
        return
    for horizon_s in HORIZONS_S:
        horizon = f"{horizon_s:g}"
        for metric, forecast in (
            ("forestay_predicted_load_ratio", plan.forecast.at(horizon_s)),
            ("forestay_predicted_load_q90_ratio", plan.forecast.quantile(horizon_s, QUANTILE)),
        ):
            for endpoint_id, load in forecast.items():
                if endpoint_id in cluster.endpoints:
                    families.add(metric, load, name, endpoint_id, horizon)
