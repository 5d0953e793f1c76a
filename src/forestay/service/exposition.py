"""The metrics page: fills the declared metrics from the state of the clusters when it is asked for.

Nothing is pushed: the control loop counts in plain integers, and a scrape reads them. A series therefore vanishes with
its endpoint instead of going stale.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as AnyFamily
from prometheus_client.registry import Collector

from forestay.control.counts import Histogram
from forestay.control.loop import ClusterLoop
from forestay.control.shadow.shadow import Shadow
from forestay.registries.registry import RegistryHealth
from forestay.service.metrics import METRICS
from forestay.service.shadow_views import CAVEATS, caveats
from forestay.service.views import HORIZONS_S, QUANTILE, reported_load

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_BY_NAME = {metric.name: metric for metric in METRICS}

RELAY_GAUGES = {
    "open": "forestay_relay_open_connections",
    "waiting": "forestay_relay_waiting",
    "connections_ceiling": "forestay_relay_connections_ceiling",
    "workers": "forestay_relay_workers",
    "stale": "forestay_relay_stale_workers",
    "draining": "forestay_relay_draining_workers",
}
"""Metrics of the relay's statistics that are not counters, by the name they have there."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Statistics of what is around the loop of one cluster.

    Attributes:
        relay: of each listener, as `RelayPlane.stats` gives them.
        worker_restarts: of the relay.
        registry: its health.
        background: how often background work came to what, by activity and outcome.
    """

    relay: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    worker_restarts: int = 0
    registry: RegistryHealth | None = None
    background: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Metrics:
    """The metrics of one process, on a registry of their own.

    Attributes:
        registry: to add further collectors to.
        responses: answers of the HTTP API by status; the API counts here.
    """

    def __init__(
        self,
        clusters: Mapping[str, ClusterLoop],
        surroundings: Callable[[], Mapping[str, Surroundings]] = dict,
    ) -> None:
        """Say where the numbers come from.

        Args:
            clusters: by name; read anew at every scrape.
            surroundings: of clusters by name, now.
        """
        self.responses: Counter[int] = Counter()
        self.registry = CollectorRegistry()
        self.registry.register(_StateCollector(clusters, surroundings, self.responses))
        ProcessCollector(registry=self.registry)

    async def page(self) -> bytes:
        """All metrics in Prometheus text format.

        They are collected here, on the thread that changes them, and put into words on another: at thousands of
        endpoints the words take far longer than a tick may be late.
        """
        collected = _Collected(self.registry.collect())
        return await asyncio.to_thread(generate_latest, collected)


class _Collected(CollectorRegistry):
    """What a registry gave, as one that gives it again."""

    def __init__(self, families: Iterable[AnyFamily]) -> None:
        super().__init__()
        self._families = tuple(families)

    def collect(self) -> Iterator[AnyFamily]:
        """See prometheus_client."""
        return iter(self._families)


class _StateCollector(Collector):
    def __init__(
        self,
        clusters: Mapping[str, ClusterLoop],
        surroundings: Callable[[], Mapping[str, Surroundings]],
        responses: Mapping[int, int],
    ) -> None:
        self._clusters = clusters
        self._surroundings = surroundings
        self._responses = responses

    def collect(self) -> Iterator[Family]:
        """See prometheus_client."""
        families = _Families()
        for cluster in self._clusters.values():
            _fill_cluster(families, cluster)
            _fill_endpoints(families, cluster)
            if cluster.shadow is not None:
                _fill_shadow(families, cluster.name, cluster.shadow)
        for name, surroundings in self._surroundings().items():
            _fill_surroundings(families, name, surroundings)
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


def _fill_shadow(families: _Families, name: str, shadow: Shadow) -> None:
    for outcome, count in shadow.intake.outcomes.items():
        families.add("forestay_shadow_sightings_total", count, name, outcome)
    for verdict, count in shadow.verdicts.items():
        families.add("forestay_shadow_choices_total", count, name, verdict)
    for source, lines in shadow.sources.items():
        for outcome, count in lines.items():
            families.add("forestay_background_total", count, name, source, outcome)
    for world, measures in (("as_is", shadow.as_is), ("would_be", shadow.would_be)):
        families.add("forestay_shadow_server_seconds_total", measures.over_busy_s, name, world, "0.7")
        families.add("forestay_shadow_server_seconds_total", measures.over_full_s, name, world, "1")
        if measures.max_over_mean is not None:
            families.add("forestay_shadow_max_over_mean_ratio", measures.max_over_mean, name, world)
        if measures.delay is not None:
            families.add("forestay_shadow_delay_ratio", measures.delay, name, world)
    for endpoint_id, (_, would_be) in shadow.loads.items():
        families.add("forestay_shadow_would_be_load_ratio", would_be, name, endpoint_id)
    for score in shadow.skill.scores():
        horizon = f"{score.horizon_s:g}"
        families.add("forestay_shadow_skill_ratio", score.ratio, name, horizon)
        families.add("forestay_shadow_quantile_coverage_ratio", score.covered, name, horizon)
    found = caveats(shadow)
    for caveat in CAVEATS:
        families.add("forestay_shadow_caveat", caveat in found, name, caveat)


def _fill_surroundings(families: _Families, name: str, surroundings: Surroundings) -> None:
    for listener, statistics in surroundings.relay.items():
        for statistic, value in statistics.items():
            if statistic in RELAY_GAUGES:
                families.add(RELAY_GAUGES[statistic], value, name, listener)
            else:
                families.add("forestay_relay_events_total", value, name, listener, statistic)
    families.add("forestay_relay_worker_restarts_total", surroundings.worker_restarts, name)
    for activity, outcomes in surroundings.background.items():
        for outcome, count in outcomes.items():
            families.add("forestay_background_total", count, name, activity, outcome)
    health = surroundings.registry
    if health is None:
        return
    families.add("forestay_registry_degraded", health.mode == "degraded", name)
    families.add("forestay_registry_connections", health.connections, name)
    families.add("forestay_registry_unsettled", health.unsettled, name)
    families.add("forestay_registry_pending", health.pending, name)
    families.add("forestay_registry_oldest_pending_seconds", health.oldest_pending_s, name)
    families.add("forestay_registry_journal_bytes", health.journal_bytes, name)
    families.add("forestay_registry_retries_total", health.retries, name)
