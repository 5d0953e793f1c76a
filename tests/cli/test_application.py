import subprocess
import sys
from importlib.metadata import version

import pytest

from forestay.cli.failure import CommandFailed

from .conftest import Cli

COMMANDS = ("serve", "agent", "status", "explain", "drain", "undrain", "event", "config", "demo", "simulate")


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version").stdout == f"forestay {version('forestay')}\n"


def test_help_lists_every_command_and_the_exit_codes(cli: Cli) -> None:
    shown = cli("--help").stdout
    assert [command for command in COMMANDS if f" {command} " not in shown] == []
    assert "Exit codes" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_teaches_by_example(cli: Cli, command: str) -> None:
    shown = cli(command, "--help")
    assert shown.returncode == 0
    assert f"forestay {command}" in shown.stdout.replace("Usage: forestay", "")


def test_nothing_to_serve_exits_with_2_and_says_what_to_do(cli: Cli) -> None:
    done = cli("serve")
    assert done.returncode == 2
    assert done.stderr.startswith("forestay: nothing to serve: name a file with --config, or say --listen")


def test_bad_usage_exits_with_2(cli: Cli) -> None:
    assert cli("serve", "--lisen", ":1").returncode == 2
    assert cli("serve", "--set", "x").returncode == 2


def test_an_error_is_one_line_and_a_traceback_only_with_debug(cli: Cli) -> None:
    command = ("status", "--once", "--api", "http://127.0.0.1:1")
    plain = cli(*command)
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    assert "is `forestay serve` running there?" in plain.stderr
    with pytest.raises(CommandFailed):  # the interpreter prints the traceback
        cli("--debug", *command)
    with pytest.raises(CommandFailed):
        cli(*command, FORESTAY_DEBUG="1")


def test_an_address_that_is_none_exits_with_2(cli: Cli) -> None:
    done = cli("status", "--api", "ftp://x")
    assert done.returncode == 2
    assert "write e.g. http://127.0.0.1:9900" in done.stderr


@pytest.mark.process
def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "forestay", "serve", "--set", "x"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == 'forestay: --set x: write key=value, e.g. --set log.level="debug"\n'


def test_completion_can_be_installed(cli: Cli) -> None:
    # Else typer looks for the shell that runs the tests, which may be one it knows no completion for.
    by_name = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "_FORESTAY_COMPLETE" in cli("--show-completion", "bash", **by_name).stdout
