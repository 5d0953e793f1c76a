"""`forestay serve`: the control process and its relay workers, until a signal says otherwise."""

from pathlib import Path
from typing import Annotated, Any

import typer

from forestay.cli.failure import CommandFailed, ExitCode
from forestay.settings import Configuration, find_file, load_configuration, parse_assignments

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-f",
        envvar="FORESTAY_CONFIG",
        metavar="FILE",
        help="TOML file; else ./forestay.toml, else /etc/forestay/forestay.toml.",
    ),
]
Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", "-l", metavar="[HOST]:PORT", help="Accept clients here, without a file. Repeatable."),
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", "-t", metavar="HOST:PORT", help="A server to carry them to. Repeatable."),
]
Assignment = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any setting by its TOML key. Repeatable."),
]
Shadow = Annotated[
    bool, typer.Option("--shadow", help="Observe a live balancer and touch nothing; see `forestay shadow`.")
]

CLUSTER = "default"
"""Name of the cluster that --listen and --to describe."""


def serve(
    config: Config = None,
    listen: Listen = None,
    to: To = None,
    assignment: Assignment = None,
    shadow: Shadow = False,
) -> None:
    """Accept connections and place each on the server where it will fit.

    [bold]Examples[/bold]

    Two servers, no file: [bold]forestay serve --listen :8080 --to 10.0.0.1:80 --to 10.0.0.2:80[/bold]

    One value changed: [bold]forestay serve -f forestay.toml --set clusters.chat.balancer.threshold=0.6[/bold]

    What it would have done, beside a live balancer: [bold]forestay serve -f forestay.toml --shadow[/bold]

    Only the API, for clients that ask where to connect: [bold]forestay serve --to 10.0.0.1:80[/bold]

    [bold]Settings[/bold] come from flags, then FORESTAY_SECTION__KEY variables, then the file, then defaults;
    `forestay config show` prints them with their source.

    [bold]Signals[/bold]: SIGTERM and SIGINT let connections finish, a second one ends at once; SIGHUP reads the
    configuration again; SIGUSR2 replaces the relay's worker processes without losing a connection; SIGQUIT ends
    and leaves the workers running for the next `forestay serve` to adopt.
    """
    flags = flag_values(listen or [], to or [], assignment or [])
    if shadow:
        flags.setdefault("process", {})["shadow"] = True
    file = config_file(config, listen, to)

    def load() -> Configuration:
        configuration = load_configuration(file, flags)
        if not configuration.settings.clusters:
            raise CommandFailed(
                "nothing to serve: name a file with --config, or say --listen :8080 --to host:port", ExitCode.USAGE
            )
        return configuration

    configuration = load()
    from forestay.assembly import run

    run(configuration, load)


def config_file(config: Path | None, listen: list[str] | None = None, to: list[str] | None = None) -> Path | None:
    """The file to read: the named one; none where --listen or --to say it all; else where it usually is."""
    if config is not None:
        return config
    return None if listen or to else find_file()


def flag_values(listen: list[str], to: list[str], assignments: list[str]) -> dict[str, Any]:
    """What the flags say, nested as in TOML."""
    values = parse_assignments(assignments)
    if listen or to:
        clusters = values.setdefault("clusters", {})
        if not isinstance(clusters, dict) or not isinstance(clusters.setdefault(CLUSTER, {}), dict):
            raise CommandFailed("--set clusters: name one setting, e.g. clusters.default.policy=random", ExitCode.USAGE)
        cluster = clusters[CLUSTER]
        if to:
            cluster["endpoints"] = list(to)
        for number, address in enumerate(listen, 1):
            name = CLUSTER if number == 1 else f"{CLUSTER}-{number}"
            cluster.setdefault("listeners", {}).setdefault(name, {})["listen"] = address
    return values
