"""The state of a cluster as the API shows it."""

from dataclasses import fields

from forestay.control.directory import EndpointState
from forestay.control.loop import ClusterLoop
from forestay.model.connection import Connection
from forestay.model.load import LoadReport
from forestay.model.plan import UNLIMITED, Plan
from forestay.service.schemas import (
    ClusterView,
    ConnectionView,
    EndpointView,
    ForecastView,
    MoveView,
    PlanView,
    ReportView,
    SlotsView,
)

HORIZONS_S = (5.0, 10.0, 30.0)
QUANTILE = 0.9


def reported_load(report: LoadReport | None) -> float | None:
    """The load that a report states; None: there is none, or it does not say."""
    return None if report is None else report.stated_load


def view_cluster(cluster: ClusterLoop) -> ClusterView:
    """One cluster in short."""
    counts, plan = cluster.counts, cluster.plan
    loads = [load for report in cluster.reports.values() if (load := reported_load(report)) is not None]
    return ClusterView(
        name=cluster.name,
        endpoints=len(cluster.endpoints),
        eligible=len(plan.pool) if plan else 0,
        open_connections=sum(cluster.connections.open.values()),
        queued=cluster.placements.queued,
        reserved=cluster.placements.reserved,
        load_mean=sum(loads) / len(loads) if loads else None,
        fallbacks=sorted(plan.fallbacks) if plan else [],
        plan_age_s=cluster.clock.now_s() - plan.now_s if plan else None,
        decisions={f"{kind}/{reason}": count for (kind, reason), count in sorted(counts.decisions.items())},
        connections=dict(sorted(counts.connections.items())),
        ticks=counts.ticks,
        ticks_late=counts.ticks_late,
        ticks_missed=counts.ticks_missed,
        errors=dict(sorted(counts.errors.items())),
    )


def view_endpoints(cluster: ClusterLoop, states: list[EndpointState]) -> list[EndpointView]:
    """Some endpoints; the forecast of all is read once."""
    plan = cluster.plan
    pool = frozenset(plan.pool) if plan else frozenset()
    forecast = [(h, plan.forecast.at(h), plan.forecast.quantile(h, QUANTILE)) for h in HORIZONS_S] if plan else []
    return [
        EndpointView(
            id=state.endpoint.id,
            capacity=state.endpoint.capacity,
            zone=state.endpoint.zone,
            connections_max=state.endpoint.connections_max,
            named_by=sorted(state.named_by),
            healthy=state.healthy,
            health_detail=state.health_detail,
            draining=state.draining,
            leaving=state.leaving,
            eligible=state.endpoint.id in pool,
            open_connections=cluster.connections.open.get(state.endpoint.id, 0),
            weight=plan.weights.get(state.endpoint.id, 0) if plan else 0,
            load=reported_load(cluster.reports.get(state.endpoint.id)),
            report=_view_report(cluster, state.endpoint.id),
            forecast=[
                ForecastView(horizon_s=h, load=mean[state.endpoint.id], load_q90=q90[state.endpoint.id])
                for h, mean, q90 in forecast
                if state.endpoint.id in mean
            ],
        )
        for state in states
    ]


def view_plan(plan: Plan, age_s: float) -> PlanView:
    """The plan without its prices."""
    table = plan.table
    rooms = zip(table.endpoint_ids, table.slots.tolist(), table.paced.tolist(), strict=True)
    return PlanView(
        age_s=age_s,
        pool=list(plan.pool),
        weights=plan.weights,
        slots={
            endpoint_id: SlotsView(slots=slots if slots < UNLIMITED else None, paced=paced)
            for endpoint_id, slots, paced in rooms
            if endpoint_id
        },
        shed=table.shed,
        fallbacks=sorted(plan.fallbacks),
        moves=[MoveView(**move._asdict()) for move in plan.moves],
    )


def view_connection(connection: Connection, wall_s: float) -> ConnectionView:
    """One connection."""
    return ConnectionView(
        id=connection.id,
        endpoint_id=connection.endpoint_id,
        client=connection.client,
        opened_at=connection.opened_at,
        age_s=max(0.0, wall_s - connection.opened_at),
        hint=connection.hint,
        upstream=connection.upstream,
    )


def _view_report(cluster: ClusterLoop, endpoint_id: str) -> ReportView | None:
    report = cluster.reports.get(endpoint_id)
    if report is None:
        return None
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return ReportView(age_s=max(0.0, cluster.clock.now_s() - values.pop("at_s")), **values)
