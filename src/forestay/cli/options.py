"""Options that several commands share."""

from typing import Annotated

import typer

API_DEFAULT = "http://127.0.0.1:9900"

Api = Annotated[
    str, typer.Option("--api", envvar="FORESTAY_API", metavar="URL", help="Address of the API of `forestay serve`.")
]
Token = Annotated[
    str, typer.Option("--token", envvar="FORESTAY_TOKEN", metavar="TOKEN", help="Its token, where it has one.")
]
Cluster = Annotated[
    str, typer.Option("--cluster", "-c", metavar="NAME", help="The cluster; may be left out where there is only one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
