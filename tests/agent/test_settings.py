from typing import Any

import pytest
from pydantic import ValidationError

from forestay.agent import AgentSettings

BASE: dict[str, Any] = {"cluster": "chat", "endpoint": "127.0.0.1:8080"}


def test_a_cluster_and_an_endpoint_are_enough() -> None:
    settings = AgentSettings(**BASE)
    assert settings.control_planes == ("http://127.0.0.1:9900",)
    assert settings.interval_s == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"endpoint": "nowhere"}, "is not an address: write"),
        ({"control_planes": ["forestay:9900"]}, r'must begin with "http://"'),
        ({"control_planes": []}, "at least 1 item"),
        ({"pid": 1, "cgroup": "/a"}, "pid and cgroup exclude each other: keep one"),
        ({"pid": 0}, "greater than or equal to 1"),
        ({"timeout_s": 1.0}, r"timeout_s must be under interval_s = 1\.0"),
        ({"interval_s": float("nan")}, "finite number"),
        ({"cpu_budget": 0}, "greater than 0"),
        ({"metrics": {"cpu": "a"}}, "belong together"),
        ({"metrics_url": "http://127.0.0.1:1/metrics"}, "belong together"),
        ({"load_from": "server"}, "needs status"),
        ({"load_from": "disk"}, "Input should be"),
        ({"sokets": "none"}, "Extra inputs"),
    ],
)
def test_a_bad_value_is_refused_with_the_remedy(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AgentSettings(**(BASE | fields))


def test_the_token_does_not_show() -> None:
    assert "secret" not in repr(AgentSettings.model_validate(BASE | {"token": "secret"}))
