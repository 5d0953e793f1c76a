"""What can be said about shadow mode, and what cannot."""

import os
from pathlib import Path
from typing import Any

import pytest

from forestay.settings import SettingsError, ShadowSettings, load_configuration


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FORESTAY_")]:
        monkeypatch.delenv(name)


def shadow(**settings: Any) -> ShadowSettings:
    configuration = load_configuration(None, {"clusters": {"chat": {"shadow": settings}}})
    return configuration.settings.clusters["chat"].shadow


def test_without_a_word_it_listens_to_the_api_and_lives_in_the_present() -> None:
    assert (shadow().source, shadow().path, shadow().delay_in_force_s) == ("api", None, 0.0)


@pytest.mark.parametrize(("format", "delay_s"), [("haproxy", 60.0), ("nginx", 60.0), ("envoy", 60.0), ("json", 0.0)])
def test_logs_of_ended_connections_are_read_from_behind(format: str, delay_s: float) -> None:
    assert shadow(source="log", path="/var/log/x", format=format).delay_in_force_s == delay_s
    assert shadow(source="log", path="/var/log/x", format=format, delay_s=7).delay_in_force_s == 7.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"source": "log"}, "clusters.chat.shadow.path"),
        ({"path": "/var/log/x"}, "clusters.chat.shadow.path"),
        ({"source": "tcpdump"}, "clusters.chat.shadow.source"),
        ({"log_format": "$remote_addr"}, "clusters.chat.shadow.log_format"),
        ({"servers": {"s1": "nowhere"}}, "clusters.chat.shadow.servers.s1"),
        ({"delay_s": -1}, "clusters.chat.shadow.delay_s"),
        ({"warm_up_s": float("nan")}, "clusters.chat.shadow.warm_up_s"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        shadow(**settings)
    assert problem in str(caught.value)


def test_an_addresss_spelling_does_not_matter(tmp_path: Path) -> None:
    assert shadow(servers={"s1": "LOCALHOST:80", "s2": "[0:0::1]:80"}).servers == {
        "s1": "localhost:80",
        "s2": "[::1]:80",
    }
