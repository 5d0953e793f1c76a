"""What a shadow has found out, as the API shows it."""

import math

from pydantic import BaseModel, Field

from forestay.control.loop import ClusterLoop
from forestay.control.shadow.hindsight import HORIZON_S
from forestay.control.shadow.measures import Measures
from forestay.control.shadow.shadow import Shadow
from forestay.service.schemas import ENDPOINT_EXAMPLE

COVERED_WELL = 0.9
"""Part of the connections that servers count: under it much goes on that the shadow does not see."""
LATE_MUCH = 0.1
"""Part of the openings that came too late to be judged, likewise."""

CAVEATS = {
    "no_load_reports": "no server reports load: run agents, scrape, or post reports",
    "warming_up": "nothing is judged yet",
    "no_placements_seen": "nothing is seen of the live balancer's placements: check source, path, format and servers",
    "connections_unseen": "servers count more connections than are known here: the estimate is scaled down for it",
    "many_seen_late": "many connections outlive delay_s and are not judged: raise it, or use agents or the API",
    "forecast_without_skill": "at some horizon the last value was the better forecast",
}
"""What stands against taking the figures at their word, and what to do about it; most important first."""


class ChoiceView(BaseModel):
    """How often forestay would have done the same."""

    judged: int = Field(description="Connections that were judged when they opened")
    same: int = Field(description="Of these, those that forestay would have put on the same server, as things were")
    other: int = Field(description="On another server")
    queue: int = Field(description="Would have waited first")
    shed: int = Field(description="Would have been refused")


class PairView(BaseModel):
    """Mean load of two servers, over the connections that forestay would have put on the other one."""

    connections: int
    chosen: float | None = Field(description="Of the server that the live balancer chose")
    instead: float | None = Field(description="Of the server that forestay would have chosen")


class HindsightView(BaseModel):
    """The server chosen against the one that forestay would have chosen."""

    horizon_s: float
    predicted: PairView = Field(description="Load that was predicted of both, horizon_s ahead")
    actual: PairView = Field(description="Load that both reported horizon_s later")


class MeasuresView(BaseModel):
    """A distribution of load over the servers, over time."""

    seconds: float
    max_over_mean: float | None = Field(description="Load of the busiest server over the mean, averaged over time")
    server_seconds_over_70: float = Field(description="Server-seconds over 70 % load")
    server_seconds_over_100: float = Field(description="Server-seconds over 100 % load")
    delay: float | None = Field(description="Load-weighted mean of 1 / (1 - load), load capped at 0.98; 1 is idle")


class SkillView(BaseModel):
    """How good the forecast was in the last minutes."""

    horizon_s: float
    rmse: float
    rmse_last_value: float = Field(description="Of the last value as a forecast")
    ratio: float | None = Field(description="Under 1: skill; null where load did not change")
    coverage_q90: float = Field(description="Share of outcomes at or under the 0.9 quantile; ideal: 0.9")
    samples: int


class ShadowEndpointView(BaseModel):
    """One endpoint as it is and as it would be."""

    id: str = Field(examples=[ENDPOINT_EXAMPLE])
    load: float | None
    would_be_load: float | None
    connections: int
    would_be_connections: int


class ShadowView(BaseModel):
    """What a shadow has found out since it started."""

    source: str
    delay_s: float = Field(description="How far it lives behind")
    warm_up_left_s: float | None = Field(description="Until the first judgement; null: waiting for a load report")
    caveats: dict[str, str] = Field(description="What stands against taking the figures at their word")
    coverage: float | None = Field(description="Connections known over those that the servers count; null: none counts")
    waiting: int = Field(description="Sightings and reports that wait for the shadow's time")
    sightings: dict[str, int] = Field(description="What became of what was seen")
    sources: dict[str, dict[str, int]] = Field(description="What became of what was read, by source")
    choice: ChoiceView
    hindsight: HindsightView
    as_is: MeasuresView
    would_be: MeasuresView = Field(description="An estimate, over the same seconds")
    skill: list[SkillView]
    fallbacks: list[str] = Field(description="Of the plan, in force now")
    endpoints: list[ShadowEndpointView]


def view_shadow(cluster: ClusterLoop, shadow: Shadow) -> ShadowView:
    """Everything there is to say."""
    loads, here, there = shadow.loads, shadow.connections_as_is, shadow.connections_would_be
    verdicts, plan = shadow.verdicts, cluster.plan
    return ShadowView(
        source=shadow.rule.source,
        delay_s=shadow.rule.delay_s,
        warm_up_left_s=shadow.warm_up_left_s,
        caveats={name: CAVEATS[name] for name in caveats(shadow)},
        coverage=shadow.coverage,
        waiting=len(shadow.intake),
        sightings=dict(sorted(shadow.intake.outcomes.items())),
        sources={name: dict(sorted(lines.items())) for name, lines in shadow.sources.items()},
        choice=ChoiceView(
            judged=verdicts.total(),
            same=verdicts["same"],
            other=verdicts["other"],
            queue=verdicts["queue"],
            shed=verdicts["shed"],
        ),
        hindsight=HindsightView(
            horizon_s=HORIZON_S,
            predicted=PairView(**shadow.hindsight.predicted.means()),
            actual=PairView(**shadow.hindsight.actual.means()),
        ),
        as_is=view_measures(shadow.as_is),
        would_be=view_measures(shadow.would_be),
        skill=[
            SkillView(
                horizon_s=score.horizon_s,
                rmse=score.rmse,
                rmse_last_value=score.rmse_last_value,
                ratio=None if math.isnan(score.ratio) else score.ratio,
                coverage_q90=score.covered,
                samples=score.samples,
            )
            for score in shadow.skill.scores()
        ],
        fallbacks=sorted(plan.fallbacks) if plan else [],
        endpoints=[
            ShadowEndpointView(
                id=endpoint_id,
                load=loads[endpoint_id][0] if endpoint_id in loads else None,
                would_be_load=loads[endpoint_id][1] if endpoint_id in loads else None,
                connections=count,
                would_be_connections=there.get(endpoint_id, 0),
            )
            for endpoint_id, count in here.items()
        ],
    )


def view_measures(measures: Measures) -> MeasuresView:
    """One of the two worlds."""
    return MeasuresView(
        seconds=measures.seconds,
        max_over_mean=measures.max_over_mean,
        server_seconds_over_70=measures.over_busy_s,
        server_seconds_over_100=measures.over_full_s,
        delay=measures.delay,
    )


def caveats(shadow: Shadow) -> list[str]:
    """Those of `CAVEATS` that apply."""
    judged, coverage = shadow.verdicts.total(), shadow.coverage
    holds = {
        "no_load_reports": not shadow.loads,
        "warming_up": not shadow.judging,
        "no_placements_seen": shadow.judging and not judged,
        "connections_unseen": coverage is not None and coverage < COVERED_WELL,
        "many_seen_late": shadow.intake.outcomes["late"] > LATE_MUCH * max(judged, 1),
        "forecast_without_skill": any(score.ratio >= 1.0 for score in shadow.skill.scores()),
    }
    return [name for name in CAVEATS if holds[name]]
