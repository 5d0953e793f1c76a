"""Load reports, posted by agents or by servers themselves."""

from fastapi import APIRouter

from forestay.control.loop import ClusterLoop
from forestay.service.routes.lookup import INVALID, ClustersDependency
from forestay.service.schemas import ReportsAnswer
from forestay.telemetry.reports import Report, Reports

router = APIRouter(prefix="/v1/reports", tags=["reports"])


@router.post("", summary="Report load", responses=INVALID)
async def post_reports(clusters: ClustersDependency, body: Reports) -> ReportsAnswer:
    """Take one report or a list of them; those for unknown endpoints are named in the answer, the others count."""
    answer = ReportsAnswer(taken=0, unknown=[], unusable=[])
    for report in body.each:
        cluster = clusters.get(report.cluster)
        if cluster is None or report.endpoint not in cluster.endpoints:
            answer.unknown.append(f"{report.cluster}/{report.endpoint}")
        elif cluster.report(report.to_load_report(cluster.clock.now_s() + cluster.delay_s)):
            answer.taken += 1
            _pass_on_sockets(cluster, report)
        else:
            answer.unusable.append(f"{report.cluster}/{report.endpoint}")
    return answer


def _pass_on_sockets(cluster: ClusterLoop, report: Report) -> None:
    """Tell a shadow that learns placements from agents which connections there are."""
    shadow, sockets = cluster.shadow, report.connections
    if shadow is None or shadow.rule.source != "agents" or sockets is None or sockets.listed is None:
        return
    shadow.intake.observe_sockets(report.endpoint, sockets.listed, report.age_s)
