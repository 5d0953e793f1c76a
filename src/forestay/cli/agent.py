"""`forestay agent`: beside a server, says how loaded it is."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from forestay.cli.options import Token
from forestay.settings import load_agent_settings, parse_assignments


def agent(
    cluster: Annotated[
        str | None, typer.Option("--cluster", "-c", metavar="NAME", help="Cluster that the server belongs to.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", "-e", metavar="HOST:PORT", help="The server's address, as the cluster knows it."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", "-t", envvar="FORESTAY_API", metavar="URL", help="API of `forestay serve`. Repeatable."),
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Measure this process and its children; end with it.")
    ] = None,
    pid_file: Annotated[
        Path | None, typer.Option("--pid-file", metavar="FILE", help="Measure the process whose pid this file holds.")
    ] = None,
    cgroup: Annotated[str | None, typer.Option("--cgroup", metavar="PATH", help="Measure this control group.")] = None,
    cpu_budget: Annotated[
        float | None, typer.Option("--cpu-budget", metavar="CORES", help="Cores it may use; default: its quota.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-f", metavar="FILE", help="TOML file with an agent's settings.")
    ] = None,
    assignment: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any setting of an agent by its name. Repeatable."),
    ] = None,
    token: Token = "",
) -> None:
    """Report a server's CPU, memory, network and open sockets once a second.

    Without --pid, --pid-file or --cgroup it measures the whole machine.

    [bold]Examples[/bold]

    The machine: [bold]forestay agent --cluster chat --endpoint 10.0.0.1:80 --to http://10.0.0.9:9900[/bold]

    A service: [bold]forestay agent -c chat -e 10.0.0.1:80 --cgroup /system.slice/chat.service[/bold]

    [bold]Settings[/bold] come from flags, then FORESTAY_AGENT__NAME variables, then the file, then defaults.
    """
    from forestay.agent import run_agent
    from forestay.service.logs import configure_logs

    flags: dict[str, Any] = {
        "cluster": cluster,
        "endpoint": endpoint,
        "control_planes": to or None,
        "pid": pid,
        "pid_file": pid_file,
        "cgroup": cgroup,
        "cpu_budget": cpu_budget,
        "token": token or None,
        **parse_assignments(assignment or []),
    }
    settings = load_agent_settings(config, {name: value for name, value in flags.items() if value is not None})
    configure_logs()
    raise typer.Exit(asyncio.run(run_agent(settings)))
