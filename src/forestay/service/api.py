"""The HTTP API, put together from its routes."""

from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI, Response

from forestay.control.loop import ClusterLoop
from forestay.service import problems
from forestay.service.exposition import Metrics
from forestay.service.protection import BodyBound, ResponsesCounted, TokenRequired, require_token_beyond_loopback
from forestay.service.routes import clusters as clusters_routes
from forestay.service.routes import connections, events, health, placements, reports, shadow

DESCRIPTION = """
Shows a running forestay and takes orders. Errors are problem documents (RFC 9457) that name the field and the remedy.
Where a token is set, every request but those for health carries it: `Authorization: Bearer TOKEN`.
"""


def create_app(
    clusters: Mapping[str, ClusterLoop],
    *,
    host: str = "127.0.0.1",
    token: str = "",
    metrics: Metrics | None = None,
) -> FastAPI:
    """The ASGI application; it must run on the thread that runs the clusters' loops.

    Args:
        clusters: by name; read anew at every request.
        host: where it will listen; decides whether it may do without a token.
        token: bearer token; empty: none is asked for.
        metrics: what `/metrics` shows; default: those of `clusters`.

    Raises:
        InvalidInput: `host` is not a loopback address and `token` is empty.
    """
    require_token_beyond_loopback(host, token)
    metrics = metrics or Metrics(clusters)
    app = FastAPI(title="forestay", version=version("forestay"), description=DESCRIPTION)
    app.state.clusters = clusters
    problems.install(app)
    app.add_middleware(BodyBound)
    app.add_middleware(TokenRequired, token=token)
    app.add_middleware(ResponsesCounted, responses=metrics.responses)  # the outermost sees refusals, too
    for topic in (health, clusters_routes, connections, placements, events, reports, shadow):
        app.include_router(topic.router)

    @app.get("/metrics", tags=["metrics"], summary="Metrics for Prometheus", response_class=Response)
    async def page() -> Response:
        """Text format. Every metric is described in the operating guide."""
        return Response(await metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app
