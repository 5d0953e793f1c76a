"""Whatever stands in a log, a line is a sighting that makes sense or is refused; never another exception."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.telemetry.access_logs import envoy, haproxy, json_lines, nginx
from forestay.telemetry.access_logs.line import LineUnusable, Parse, ServerNames

from .test_envoy import FIELDS, TEXT
from .test_haproxy import HTTP, TCP
from .test_nginx import STREAM

NAMES = ServerNames({"srv1": "10.0.0.1:80"})
PARSERS = {
    "haproxy": haproxy.parser(NAMES),
    "nginx": nginx.parser(NAMES),
    "envoy": envoy.parser(NAMES),
    "json": json_lines.parser(NAMES, "chat"),
}
SOUND = [TCP, HTTP, STREAM, TEXT, json.dumps(FIELDS), '{"event": "opened", "id": "a", "endpoint": "10.0.0.1:80"}']
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)),
    st.sampled_from(["opened", "closed", "10.0.0.1:80", "TcpConnectionEnd", "2016-04-15T20:17:00Z", 10**400]),
)
KEYS = st.sampled_from(
    [
        *["event", "id", "endpoint", "at", "timestamp", "duration_s", "client", "hint", "cluster"],
        *["start_time", "duration", "upstream_host", "access_log_type", "connection_id", "stream_id"],
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sound line of which a piece is missing, doubled or replaced."""
    line = draw(st.sampled_from(SOUND))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 20)))
    return line[:start] + draw(st.text(max_size=10) | st.just(line[start:end] * 2)) + line[end:]


def check(parse: Parse, line: str) -> None:
    try:
        seen = parse(line)
    except LineUnusable:
        return
    assert math.isfinite(seen.duration_s)
    assert seen.duration_s >= 0
    assert seen.at is None or math.isfinite(seen.at)
    assert seen.event in ("opened", "closed", "lived")
    assert seen.endpoint_id or seen.event == "closed"
    assert seen.id or seen.event == "lived"
    assert len(seen.id) <= 128
    assert len(seen.client) <= 128


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=200, deadline=None)
@given(line=st.text(max_size=300) | damaged())
def test_any_text_is_taken_or_refused(name: str, line: str) -> None:
    check(PARSERS[name], line)


@pytest.mark.parametrize("name", ["envoy", "json"])
@settings(max_examples=300, deadline=None)
@given(document=st.dictionaries(KEYS, VALUES, max_size=8))
def test_any_object_is_taken_or_refused(name: str, document: dict[str, object]) -> None:
    check(PARSERS[name], json.dumps(document))


@settings(max_examples=200, deadline=None)
@given(log_format=st.text(alphabet='$ab_ []{}"%^\\.*+?|()-,:/', max_size=60), line=st.text(max_size=100))
def test_any_log_format_is_understood_or_refused(log_format: str, line: str) -> None:
    try:
        parse = nginx.parser(NAMES, f'{log_format} "$upstream_addr" $session_time')
    except ValueError:  # InvalidInput
        return
    check(parse, line)
