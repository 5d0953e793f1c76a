import json
from pathlib import Path

import pytest

from .conftest import Cli


def test_a_good_file_passes_the_check(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "forestay.toml").write_text(
        "clusters.chat.endpoints = ['a:1']\nclusters.chat.listeners.a.listen = ':1'"
    )
    done = cli("config", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "forestay.toml: good: 1 cluster(s), 1 listener(s), 1 endpoint(s)\n"


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show"), ("serve",)])
def test_a_bad_file_exits_with_2_and_a_line_for_each_bad_value(
    cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "bad.toml").write_text("[log]\nlevel = 'loud'\n[servce]\n")
    done = cli(*command, "--config", "bad.toml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "forestay: log.level = \"loud\" (bad.toml): must be 'debug', 'info', 'warning' or 'error'",
        'forestay: servce (bad.toml): unknown setting; did you mean "service"?',
    ]


def test_a_missing_file_exits_with_2(cli: Cli) -> None:
    done = cli("config", "check", "--config", "none.toml")
    assert done.returncode == 2
    assert done.stderr == "forestay: none.toml: cannot be read: No such file or directory; check --config\n"


def test_flags_win_over_environment_over_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "forestay.toml").write_text("[log]\nlevel = 'error'\nformat = 'json'\naccess = true\n")
    done = cli(
        *("config", "show", "--json", "--set", "log.level=debug"),
        FORESTAY_LOG__LEVEL="warning",
        FORESTAY_LOG__FORMAT="console",
    )
    shown = {line["key"]: (line["toml"], line["source"]) for line in json.loads(done.stdout)}
    assert shown["log.level"] == ('"debug"', "command line")
    assert shown["log.format"] == ('"console"', "FORESTAY_LOG__FORMAT")
    assert shown["log.access"] == ("true", "forestay.toml")
    assert shown["service.listen"] == ('"127.0.0.1:9900"', "default")


def test_without_a_file_flags_describe_a_cluster(cli: Cli) -> None:
    done = cli("config", "show", "--set-only", "--listen", ":8080", "--to", "a:1", "--to", "b:1")
    assert 'clusters.default.endpoints = [{ address = "a:1" }, { address = "b:1" }]' in done.stdout
    assert 'clusters.default.listeners.default.listen = ":8080"' in done.stdout


def test_a_shown_configuration_can_be_used_as_a_file(cli: Cli, tmp_path: Path) -> None:
    flags = ("--listen", ":8080", "--to", "a:1")
    (tmp_path / "shown.toml").write_text(cli("config", "show", *flags).stdout)
    assert cli("config", "check", "--config", "shown.toml").returncode == 0
