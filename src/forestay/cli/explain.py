"""`forestay explain`: why a connection is where it is."""

import json
from typing import Annotated

import typer

from forestay.cli.client import ApiClient, quoted
from forestay.cli.options import API_DEFAULT, Api, Cluster, Json, Token

Connection = Annotated[str, typer.Argument(metavar="CONNECTION", help="Its id, as in the access log and the registry.")]


def explain(
    connection: Connection,
    cluster: Cluster = "",
    as_json: Json = False,
    api: Api = API_DEFAULT,
    token: Token = "",
) -> None:
    """Say why a connection was placed where it is: the scores at the moment of the decision.

    Example: [bold]forestay explain 0199a3c5d2e100010000000000000042[/bold]
    """
    with ApiClient(api, token) as client:
        path = f"/v1/clusters/{quoted(client.cluster(cluster))}/connections/{quoted(connection)}/explain"
        answer = client.get(path)
    typer.echo(_as_text(answer, as_json))


def _as_text(answer: object, as_json: bool) -> str:
    if isinstance(answer, dict) and not as_json:
        return str(answer.get("explanation", answer))
    return json.dumps(answer)
