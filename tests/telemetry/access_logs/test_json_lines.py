import io
import json
from typing import Any

import pytest

from forestay.control.shadow.sightings import Sighting
from forestay.model.connection import Connection
from forestay.service.logs import AccessLogger, configure_logs
from forestay.telemetry.access_logs import json_lines
from forestay.telemetry.access_logs.line import LineUnusable, ServerNames

A = "10.0.0.1:80"
parse = json_lines.parser(ServerNames({"a": A}), "chat")


def of(**fields: Any) -> Sighting:
    return parse(json.dumps(fields))


def test_an_opening_and_a_closing() -> None:
    opened = of(event="opened", id="a1", endpoint=A, at=1767225600.25, client="192.0.2.7:5000", hint="bulk")
    assert opened == Sighting("opened", "a1", A, 1767225600.25, client="192.0.2.7:5000", hint="bulk")
    assert of(event="closed", id="a1") == Sighting("closed", "a1")


def test_an_end_with_its_duration_tells_a_whole_life() -> None:
    assert of(event="closed", endpoint="a", duration_s=2.5) == Sighting("lived", "", A, duration_s=2.5)
    assert of(event="closed", id="x", endpoint=A, duration_s=2.5, at=100.0).at == 97.5


def test_our_own_access_log_is_understood() -> None:
    stream = io.StringIO()
    configure_logs("debug", "json", stream)
    connection = Connection("c1", A, "192.0.2.7:5000", 0.0)
    logger = AccessLogger()
    logger.opened("chat", connection)
    logger.closed("chat", connection, 12.3456)
    opened, closed = map(parse, stream.getvalue().splitlines())
    assert (opened.event, opened.id, opened.endpoint_id, opened.client) == ("opened", "c1", A, "192.0.2.7:5000")
    assert (closed.event, closed.id, closed.duration_s) == ("lived", "c1", 12.346)
    assert closed.at is not None
    assert opened.at is not None
    assert closed.at + closed.duration_s == pytest.approx(opened.at, abs=5)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ('{"event": "serving"}', "other"),
        ('{"event": "opened", "id": "a", "endpoint": "a", "cluster": "mqtt"}', "other"),
        ('{"event": "opened", "id": "a", "endpoint": "nowhere"}', "unnamed"),
        ('{"event": "opened", "id": "a"}', "malformed"),
        ('{"event": "opened", "endpoint": "a"}', "malformed"),
        ('{"event": "closed", "duration_s": 1}', "malformed"),
        ('{"event": "closed", "endpoint": "a", "duration_s": -1}', "malformed"),
        ('{"event": "closed", "id": "a", "at": 1e300}', "malformed"),
        ('{"event": "closed", "id": "\\u0000"}', "malformed"),
        ('{"event": "closed", "id": ["a"]}', "malformed"),
        ("[" * 100_000, "malformed"),
        ("[]", "malformed"),
        ("", "malformed"),
    ],
)
def test_what_is_no_placed_connection_is_told_apart(line: str, outcome: str) -> None:
    with pytest.raises(LineUnusable) as unusable:
        parse(line)
    assert unusable.value.outcome == outcome
