"""Every metric of forestay, declared once: name, kind, unit, meaning, labels."""

from dataclasses import dataclass
from typing import Literal


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
        "forestay_relay_events_total",
        "counter",
        "events",
        "What the relay of a listener did, by event: accepted, placed, queued, shed, deadline, reset, ...",
        ("cluster", "listener", "event"),
    ),
    *(
        Metric(f"forestay_relay_{name}", "gauge", unit, help, ("cluster", "listener"))
        for name, unit, help in (
            ("open_connections", "connections", "Connections that the relay holds"),
            ("waiting", "connections", "Of these, waiting for an endpoint"),
            ("connections_ceiling", "connections", "Most that its settings and descriptors allow"),
            ("workers", "processes", "Workers of the listener"),
            ("stale_workers", "processes", "Workers that pick without a fresh plan"),
            ("draining_workers", "processes", "Workers that no longer accept"),
        )
    ),
    Metric("forestay_relay_worker_restarts_total", "counter", "processes", "Workers that died and were replaced"),
    Metric("forestay_registry_degraded", "gauge", "0 or 1", "1 while the store is away or slow"),
    Metric("forestay_registry_connections", "gauge", "connections", "Connections remembered"),
    Metric("forestay_registry_unsettled", "gauge", "connections", "Recovered at the start, not confirmed yet"),
    Metric("forestay_registry_pending", "gauge", "changes", "Changes that are not durable yet"),
    Metric("forestay_registry_oldest_pending_seconds", "gauge", "seconds", "How long the oldest of them waits"),
    Metric("forestay_registry_journal_bytes", "gauge", "bytes", "Journal in the store, not folded yet"),
    Metric("forestay_registry_retries_total", "counter", "commits", "Commits that had to be repeated"),
    Metric(
        "forestay_background_total",
        "counter",
        "events",
        "What background work came to, by activity (health_probe, scrape, dns, access_log, crash) and outcome",
        ("cluster", "activity", "outcome"),
    ),
    Metric(
        "forestay_shadow_sightings_total",
        "counter",
        "connections",
        "Shadow mode: what was seen of connections, by outcome: judged, late, warm_up, present, closed, ...",
        ("cluster", "outcome"),
    ),
    Metric(
        "forestay_shadow_choices_total",
        "counter",
        "connections",
        "Shadow mode: judged connections by what forestay would have done: same, other, queue, shed",
        ("cluster", "verdict"),
    ),
    Metric(
        "forestay_shadow_server_seconds_total",
        "counter",
        "server-seconds",
        "Shadow mode: time of servers over a load (0.7, 1), as it is and as it would be (world)",
        ("cluster", "world", "over"),
    ),
    Metric(
        "forestay_shadow_max_over_mean_ratio",
        "gauge",
        "ratio",
        "Shadow mode: load of the busiest server over the mean, averaged since the start, by world",
        ("cluster", "world"),
    ),
    Metric(
        "forestay_shadow_delay_ratio",
        "gauge",
        "ratio",
        "Shadow mode: load-weighted mean of 1 / (1 - load) since the start, by world",
        ("cluster", "world"),
    ),
    Metric(
        "forestay_shadow_would_be_load_ratio",
        "gauge",
        "fraction of capacity",
        "Shadow mode: load that an endpoint would have",
        ("cluster", "endpoint"),
    ),
    Metric(
        "forestay_shadow_skill_ratio",
        "gauge",
        "ratio",
        "Shadow mode: RMSE of the forecast over that of the last value, in the last minutes; under 1 is skill",
        ("cluster", "horizon"),
    ),
    Metric(
        "forestay_shadow_quantile_coverage_ratio",
        "gauge",
        "fraction of outcomes",
        "Shadow mode: outcomes at or under the 0.9 quantile, in the last minutes; ideal: 0.9",
        ("cluster", "horizon"),
    ),
    Metric(
        "forestay_shadow_caveat",
        "gauge",
        "0 or 1",
        "Shadow mode: 1 for everything that stands against taking the figures at their word",
        ("cluster", "caveat"),
    ),
)
"""All of them; the operating page of the documentation lists each one, and a test compares."""
