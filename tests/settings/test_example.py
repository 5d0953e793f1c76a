"""The commented example is documentation: it must be valid, complete, and tell the truth about defaults."""

from pathlib import Path

import pytest

from forestay.settings import load_configuration, parse_assignments
from forestay.settings.presentation import effective

EXAMPLE = Path(__file__).parents[2] / "examples" / "forestay.toml"

WITHOUT_DEFAULT = [
    'clusters.chat.dns = { name = "localhost", port = 80 }',
    'clusters.chat.scrape.metrics.cpu = "rate(process_cpu_seconds_total) / 4"',
    'clusters.chat.listeners.public.listen = ":8080"',
    'clusters.chat.shadow.servers = { s1 = "10.0.0.1:80", "bck/s2" = "10.0.0.2:80" }',
]
"""The least that makes every table of the example exist."""

SAID_TO_DIFFER = {
    "registry.path",
    "process.state_dir",
    "process.runtime_dir",
    "clusters.chat.endpoints",
    "clusters.chat.scrape.port",
    "clusters.chat.listeners.public.connections_max",
    "clusters.chat.shadow.source",
    "clusters.chat.shadow.path",
    "clusters.chat.shadow.format",
    "clusters.chat.shadow.delay_s",
}
"""Settings whose comment says that the example does not show the default."""


@pytest.fixture(autouse=True)
def _without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)


def test_the_example_is_valid() -> None:
    assert list(load_configuration(EXAMPLE).settings.clusters) == ["chat"]


def test_every_setting_is_in_the_example() -> None:
    missing = [key for key, _, source in effective(load_configuration(EXAMPLE)) if source == "default"]
    assert missing == []


def test_the_example_shows_defaults_unless_it_says_otherwise() -> None:
    shown = {key: value for key, value, _ in effective(load_configuration(EXAMPLE))}
    defaults = {key: value for key, value, _ in effective(load_configuration(None, parse_assignments(WITHOUT_DEFAULT)))}
    assert shown.keys() == defaults.keys()
    assert {key for key in shown if shown[key] != defaults[key]} <= SAID_TO_DIFFER
