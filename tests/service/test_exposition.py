import re
from dataclasses import asdict

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from forestay import LoadReport
from forestay.control.loop import ClusterLoop
from forestay.dataplanes.relay.counters import GAUGES, Counters
from forestay.registries.memory import MemoryStore
from forestay.registries.registry import Registry
from forestay.service.exposition import RELAY_GAUGES, Metrics, Surroundings
from forestay.service.metrics import METRICS
from tests.control.worlds import A, B, relay_id, relayed


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def test_what_happened_can_be_read_from_the_page(cluster: ClusterLoop, api: httpx.AsyncClient) -> None:
    now_s = cluster.clock.now_s()
    cluster.report(LoadReport(A, now_s, load=0.4))
    cluster.opened(relayed(relay_id(1, 1), B), now_s)
    await api.post("/v1/clusters/chat/placements", json={})
    cluster.health_changed(B, False)
    cluster.tick(cluster.clock.now_s())
    response = await api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    seen = samples(response.text)

    def value(name: str, **labels: str) -> float:
        return seen[name, frozenset(({"cluster": "chat"} | labels).items())]

    assert value("forestay_load_ratio", endpoint=A) == 0.4
    assert value("forestay_open_connections", endpoint=B) == 1
    assert value("forestay_endpoint_state", endpoint=B, state="unhealthy") == 1
    assert value("forestay_endpoint_state", endpoint=A, state="eligible") == 1
    assert value("forestay_decisions_total", kind="admit", reason="fittest") == 1
    assert value("forestay_connections_total", event="opened") == 1
    assert value("forestay_reservations") == 1
    assert value("forestay_ticks_total") == 2
    assert value("forestay_tick_duration_seconds_count") == 2
    assert value("forestay_tick_duration_seconds_bucket", le="+Inf") == 2
    assert value("forestay_fallback_ticks_total", fallback="telemetry_missing") == 1
    assert value("forestay_fallback_active", fallback="telemetry_missing") == 0
    for horizon in ("5", "10", "30"):
        predicted = value("forestay_predicted_load_ratio", endpoint=A, horizon=horizon)
        assert predicted == pytest.approx(cluster.plan.forecast.at(float(horizon))[A] if cluster.plan else None)


async def test_every_declared_metric_is_on_the_page_even_without_samples() -> None:
    page = (await Metrics({}).page()).decode()
    for metric in METRICS:
        family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert re.search(rf"^# TYPE {family}(_total)? {metric.kind}$", page, re.MULTILINE), metric.name


def test_names_and_labels_follow_the_rules_of_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("forestay_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help
        assert metric.unit


async def test_the_relay_the_registry_and_background_work_add_their_statistics() -> None:
    registry = Registry(MemoryStore(), "chat")
    await registry.start()
    registry.register(relayed(relay_id(1, 1), A))
    relay = {"public": asdict(Counters(accepted=9, shed=7, open=3)) | {"workers": 2}}
    around = Surroundings(relay, 1, registry.health(), {"health_probe": {"passed": 5}})
    await registry.close()
    seen = samples((await Metrics({}, lambda: {"chat": around}).page()).decode())

    def value(name: str, **labels: str) -> float:
        return seen[name, frozenset(({"cluster": "chat"} | labels).items())]

    assert value("forestay_relay_events_total", listener="public", event="shed") == 7
    assert value("forestay_relay_open_connections", listener="public") == 3
    assert value("forestay_relay_workers", listener="public") == 2
    assert value("forestay_relay_worker_restarts_total") == 1
    assert value("forestay_registry_connections") == 1
    assert value("forestay_registry_degraded") == 0
    assert value("forestay_background_total", activity="health_probe", outcome="passed") == 5


def test_every_gauge_of_the_relay_is_exported_as_one() -> None:
    assert set(RELAY_GAUGES) == GAUGES | {"workers"}


async def test_the_series_of_a_removed_endpoint_vanish(cluster: ClusterLoop) -> None:
    metrics = Metrics({"chat": cluster})
    cluster.report(LoadReport(A, cluster.clock.now_s(), load=0.4))
    assert f'endpoint="{A}"' in (await metrics.page()).decode()
    cluster.endpoints.remove(A, cluster.clock.now_s())
    assert f'endpoint="{A}"' not in (await metrics.page()).decode()
