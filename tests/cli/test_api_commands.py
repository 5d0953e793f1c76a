"""Commands that talk to a running forestay, against a real one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.assembly.running import Forestay

from .conftest import Cli

pytestmark = pytest.mark.process

SERVER = "127.0.0.1:9"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[str]:
    """Address of the API of a forestay with one server, which nobody checks."""
    health = ("--set", "clusters.default.health.type=none")
    async with Forestay(tmp_path, "--to", SERVER, *health, FORESTAY_SERVICE__TOKEN="secret") as forestay:
        yield (await forestay.serving())["api"]


@pytest.fixture
def run(cli: Cli, api: str) -> Cli:
    """Runs a command with the address and the token of the API."""
    return lambda *arguments: cli(*arguments, FORESTAY_API=api, FORESTAY_TOKEN="secret")


async def test_status_shows_every_server(run: Cli) -> None:
    shown = run("status", "--once")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "default  1 of 1 servers take newcomers, 0 connections, 0 waiting" in shown.stdout
    assert SERVER in shown.stdout
    clusters = json.loads(run("status", "--json").stdout)
    assert [endpoint["id"] for endpoint in clusters[0]["endpoints"]] == [SERVER]


async def test_a_drain_takes_a_server_out_until_undrained(run: Cli) -> None:
    assert "draining" in run("drain", SERVER).stdout
    assert json.loads(run("status", "--json").stdout)[0]["endpoints"][0]["draining"] is True
    assert run("undrain", SERVER).returncode == 0
    assert json.loads(run("status", "--json").stdout)[0]["endpoints"][0]["draining"] is False


async def test_draining_an_unknown_server_says_so(run: Cli) -> None:
    refused = run("drain", "nowhere:1")
    assert refused.returncode == 1
    assert refused.stderr.startswith("forestay: unknown endpoint 'nowhere:1'")


async def test_events_are_announced_listed_and_withdrawn(run: Cli) -> None:
    assert run("event", "add", "final", "--in", "10m", "--for", "15m", "--factor", "3").returncode == 0
    events = json.loads(run("event", "list", "--json").stdout)
    assert [(event["name"], event["arrival_factor"]) for event in events] == [("final", 3.0)]
    assert events[0]["ends_at"] - events[0]["starts_at"] == pytest.approx(900)
    assert run("event", "remove", "final").returncode == 0
    assert "no event is announced" in run("event", "list").stdout
    assert run("event", "remove", "final").returncode == 1


async def test_a_placement_can_be_explained(run: Cli, api: str) -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer secret"}, trust_env=False) as client:
        answer = await client.post(f"http://{api}/v1/clusters/default/placements", json={"id": "conn-1"})
    assert answer.status_code == 201
    explained = run("explain", "conn-1")
    assert explained.returncode == 0
    assert SERVER in explained.stdout


async def test_without_the_token_nothing_is_told(cli: Cli, api: str) -> None:
    refused = cli("status", "--once", "--api", f"http://{api}")
    assert refused.returncode == 1
    assert refused.stderr == f"forestay: http://{api} wants its token: give --token or FORESTAY_TOKEN\n"


async def test_an_unknown_cluster_is_named_with_those_that_there_are(run: Cli) -> None:
    refused = run("status", "--cluster", "chta", "--once")
    assert refused.stderr == "forestay: there is no cluster 'chta'; there are: default\n"
