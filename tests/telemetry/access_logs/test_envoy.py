import json
from typing import Any

import pytest

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs import envoy
from forestay.telemetry.access_logs.line import LineUnusable, ServerNames

parse = envoy.parser(ServerNames({}))

TEXT = (
    '[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" '
    '"nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"'
)
STARTED = 1460751420.310
FIELDS = {
    "start_time": "2016-04-15T20:17:00.310Z",
    "duration": 226,
    "upstream_host": "10.0.2.1:80",
    "downstream_remote_address": "192.0.2.7:5000",
}


def of(**fields: Any) -> Sighting:
    return parse(json.dumps({**FIELDS, **fields}))


def test_the_default_format_tells_a_whole_life() -> None:
    seen = parse(TEXT)
    assert (seen.event, seen.endpoint_id, seen.duration_s) == ("lived", "10.0.2.1:80", 0.226)
    assert seen.at == pytest.approx(STARTED)


def test_json_tells_the_same() -> None:
    seen = of()
    assert (seen.event, seen.id, seen.endpoint_id, seen.duration_s) == ("lived", "", "10.0.2.1:80", 0.226)
    assert seen.at == pytest.approx(STARTED)
    assert seen.client == "192.0.2.7:5000"


def test_with_its_type_and_an_id_a_connection_is_told_twice() -> None:
    opened = of(access_log_type="TcpUpstreamConnected", connection_id=17, duration=None)
    assert (opened.event, opened.id, opened.at) == ("opened", "17", None)
    ended = of(access_log_type="TcpConnectionEnd", connection_id=17)
    assert (ended.event, ended.id, ended.duration_s) == ("lived", "17", 0.226)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"upstream_host": "-"}, "other"),
        ({"upstream_host": None}, "other"),
        ({"access_log_type": "TcpPeriodic", "connection_id": 1}, "other"),
        ({"upstream_host": "/run/a.sock"}, "unnamed"),
        ({"upstream_host": 5.5}, "malformed"),
        ({"duration": "-"}, "malformed"),
        ({"duration": True}, "malformed"),
        ({"start_time": "2016-04-15T20:17:00"}, "malformed"),
        ({"start_time": []}, "malformed"),
        ({"connection_id": {}, "access_log_type": "TcpConnectionEnd"}, "malformed"),
    ],
)
def test_what_is_no_placed_connection_is_told_apart(fields: dict[str, Any], outcome: str) -> None:
    with pytest.raises(LineUnusable) as unusable:
        of(**fields)
    assert unusable.value.outcome == outcome
