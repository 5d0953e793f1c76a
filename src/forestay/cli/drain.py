"""`forestay drain` and `forestay undrain`: take a server out of the choice, and back."""

from typing import Annotated

import typer

from forestay.cli.client import ApiClient, quoted
from forestay.cli.options import API_DEFAULT, Api, Cluster, Token

Endpoint = Annotated[str, typer.Argument(metavar="HOST:PORT", help="The server, by its address.")]


def drain(endpoint: Endpoint, cluster: Cluster = "", api: Api = API_DEFAULT, token: Token = "") -> None:
    """Put no new connection on a server; those it has stay.

    Before maintenance: [bold]forestay drain 10.0.0.1:80[/bold], then watch `forestay status` until it is empty.
    """
    _set(endpoint, "drain", cluster, api, token)
    typer.echo(f"{endpoint}: draining; it takes nothing new. Back with: forestay undrain {endpoint}")


def undrain(endpoint: Endpoint, cluster: Cluster = "", api: Api = API_DEFAULT, token: Token = "") -> None:
    """Let a drained server take new connections again.

    Example: [bold]forestay undrain 10.0.0.1:80[/bold]
    """
    _set(endpoint, "undrain", cluster, api, token)
    typer.echo(f"{endpoint}: takes new connections again")


def _set(endpoint: str, action: str, cluster: str, api: str, token: str) -> None:
    with ApiClient(api, token) as client:
        path = f"/v1/clusters/{quoted(client.cluster(cluster))}/endpoints/{quoted(endpoint)}/{action}"
        client.request("POST", path)
