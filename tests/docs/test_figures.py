"""Figures that prose quotes are those of the code."""

import pytest

from forestay.agent.settings import AgentSettings
from forestay.balancer import BalancerSettings
from forestay.balancer.explanation import GENERATION, GENERATIONS
from forestay.control.health import HealthRule
from forestay.control.placements import RESERVATIONS_MAX
from forestay.dataplanes.relay.link import BACKLOG_MAX
from forestay.dataplanes.relay.picker import PENALTY_MAX_S, PENALTY_S, STALE_AFTER_S
from forestay.dataplanes.relay.pump import BULK
from forestay.dataplanes.relay.shared_table import COLUMNS
from forestay.forecasting.background import PERIOD_MAX, PERIOD_MIN
from forestay.model.horizons import HORIZONS_S
from forestay.placement.admission import APPROACH_S, ClientRates
from forestay.placement.fitness import KAPPA
from forestay.service.protection import BODY_MAX_BYTES
from forestay.service.routes.health import PLAN_AGE_MAX_S
from forestay.settings.models import ListenerSettings
from tests.docs.pages import text_of

BALANCER, LISTENER, RULE = BalancerSettings(), ListenerSettings(listen=":1"), HealthRule()

QUOTED = [
    ("concepts.md", f"κ = {KAPPA:g}"),
    ("concepts.md", ", ".join(f"{h:g}" for h in HORIZONS_S[:-1]) + f" and {HORIZONS_S[-1]:g} s"),
    ("concepts.md", f"rest of its headroom in about {APPROACH_S:g} s"),
    ("concepts.md", f"under `threshold` ({BALANCER.threshold:.2f})"),
    ("concepts.md", f"`load_max` ({BALANCER.load_max:.2f})"),
    ("concepts.md", f"reports {100 * BALANCER.memory_max:g} % memory or more"),
    ("glossary.md", f"a table after {STALE_AFTER_S:g} s"),
    ("architecture.md", f"from the last table for {STALE_AFTER_S:g} s"),
    ("architecture.md", f"left out for {PENALTY_S:g} s (doubling up to {PENALTY_MAX_S:g} s)"),
    ("architecture.md", f"reservations ({RESERVATIONS_MAX:,})"),
    ("architecture.md", f"the journal of a worker ({BACKLOG_MAX >> 20} MiB"),
    ("architecture.md", f"unsent tail of up to {BULK >> 10} KiB"),
    ("architecture.md", f"client rate buckets\n({ClientRates.CLIENTS_MAX:,})"),
    ("architecture.md", f"an agent's reports ({AgentSettings.model_fields['buffer_max'].default})"),
    ("architecture.md", f"`explain` (some {round(GENERATION * GENERATIONS, -4):,})"),
    ("operating.md", f"Some {round(GENERATION * GENERATIONS, -4):,} decisions are kept"),
    ("operating.md", f"a plan younger than {PLAN_AGE_MAX_S:g} s"),
    ("operating.md", f"after `handover_s` ({LISTENER.handover_s:g} s by default)"),
    ("quickstart.md", f"up to `drain_s` ({LISTENER.drain_s:g} s)"),
    ("limits.md", f"At most {COLUMNS - 1} relay workers per cluster"),
    ("limits.md", f"found between {PERIOD_MIN} s and\n  {PERIOD_MAX} s"),
    ("reference/http.md", f"at most {BODY_MAX_BYTES >> 20} MiB"),
    ("adr/0009-second-look-at-once.md", f"`retry_s` ({RULE.retry_s:g} s)"),
    ("adr/0009-second-look-at-once.md", f"`fall` failures in a row make a server unhealthy ({RULE.fall} by default)"),
]


@pytest.mark.parametrize(("page", "words"), QUOTED)
def test_a_figure_in_prose_is_that_of_the_code(page: str, words: str) -> None:
    assert words in text_of(page)
