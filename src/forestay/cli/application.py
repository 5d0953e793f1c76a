"""The command tree, and the one place where failures become messages and exit codes."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from forestay.cli import agent, config, demo, drain, event, explain, serve, shadow, simulate, status
from forestay.cli.failure import CommandFailed, ExitCode
from forestay.model.errors import ForestayError, InvalidInput


class Failures:
    """How a failure of this run is shown.

    Attributes:
        show_traceback: whole, instead of a line.
    """

    show_traceback = False


failures = Failures()

HELP = """
Place connections ahead of load: forestay forecasts every server's load 5 to 30 seconds ahead
and puts each new connection where it will fit for as long as it stays.

Try it: [bold]forestay demo[/bold]

Put it before two servers: [bold]forestay serve --listen :8080 --to 10.0.0.1:80 --to 10.0.0.2:80[/bold]

Then watch it: [bold]forestay status[/bold]

Exit codes: 0 success, 1 failure, 2 bad usage or configuration (nothing was started or changed).
"""

app = typer.Typer(
    name="forestay",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"forestay {version('forestay')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="FORESTAY_DEBUG", help="Show the traceback of an error instead of one line."),
    ] = False,
    version: Annotated[  # typer acts on it through the callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""
    failures.show_traceback = debug


app.command()(serve.serve)
app.command()(agent.agent)
app.command()(status.status)
app.command()(explain.explain)
app.command()(shadow.shadow)
app.command()(drain.drain)
app.command()(drain.undrain)
app.add_typer(event.app, name="event")
app.add_typer(config.app, name="config")
app.command()(demo.demo)
app.command()(simulate.simulate)


def main() -> None:
    """Run the command line of this process and exit."""
    try:
        app(prog_name="forestay")
    except Exception as error:  # the last resort: people get a line, --debug gets the traceback
        if failures.show_traceback:
            raise
        print(_message(error), file=sys.stderr)
        sys.exit(_exit_code(error))


def _exit_code(error: Exception) -> ExitCode:
    if isinstance(error, CommandFailed):
        return error.exit_code
    return ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILURE


def _message(error: Exception) -> str:
    if isinstance(error, ForestayError):
        return "\n".join(f"forestay: {line}" for line in str(error).splitlines())
    return f"forestay: {type(error).__name__}: {error}\nforestay: that is a defect; run again with --debug to see where"
