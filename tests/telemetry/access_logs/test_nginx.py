import pytest

from forestay.control.shadow.sightings import Sighting
from forestay.model.errors import InvalidInput
from forestay.telemetry.access_logs import nginx
from forestay.telemetry.access_logs.line import LineUnusable, ServerNames

SERVERS = ServerNames({})
STREAM = '192.0.2.7 [24/Nov/2026:11:26:34 +0000] TCP 200 1024 2048 12.500 "10.0.0.1:80" "2048" "1024" "0.001"'
HTTP_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $msec $request_time $upstream_addr $upstream_response_time'
)
HTTP = (
    '192.0.2.7 - - [24/Nov/2026:11:26:34 +0000] "GET /a\\x22b HTTP/1.1" 101 0 "-" "Mozilla/5.0 (X11; Linux)" '
    "1795519594.250 30.100 "
)


def test_the_usual_line_of_a_stream_proxy() -> None:
    assert nginx.parser(SERVERS)(STREAM) == Sighting(
        "lived", endpoint_id="10.0.0.1:80", duration_s=12.499, client="192.0.2.7"
    )


def test_an_http_line_in_a_format_of_ones_own() -> None:
    seen = nginx.parser(SERVERS, HTTP_FORMAT)(HTTP + "10.0.0.1:80 30.000")
    assert (seen.endpoint_id, seen.duration_s) == ("10.0.0.1:80", 30.0)
    assert seen.at == pytest.approx(1795519594.25 - 30.0)


def test_of_several_servers_that_were_tried_the_last_one_counts() -> None:
    seen = nginx.parser(SERVERS, HTTP_FORMAT)(HTTP + "10.0.0.1:80, 10.0.0.2:80 1.000, 2.500")
    assert (seen.endpoint_id, seen.duration_s) == ("10.0.0.2:80", 2.5)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (STREAM.replace('"10.0.0.1:80"', '"-"'), "other"),
        (STREAM.replace('"10.0.0.1:80"', '""'), "other"),
        (STREAM.replace('"10.0.0.1:80"', '"unix:/run/a.sock"'), "other"),
        (STREAM.replace('"0.001"', '"-"'), "other"),
        (STREAM.replace('"10.0.0.1:80"', '"a name"'), "unnamed"),
        (STREAM.replace("12.500", "soon"), "malformed"),
        (STREAM.replace("12.500", "nan"), "malformed"),
        (STREAM[:-1], "malformed"),
        ("", "malformed"),
    ],
)
def test_what_is_no_placed_connection_is_told_apart(line: str, outcome: str) -> None:
    with pytest.raises(LineUnusable) as unusable:
        nginx.parser(SERVERS)(line)
    assert unusable.value.outcome == outcome


@pytest.mark.parametrize(
    "log_format", ["$remote_addr", "$upstream_addr", "$session_time", "$upstream_addr$session_time"]
)
def test_a_format_that_does_not_say_enough_is_refused(log_format: str) -> None:
    with pytest.raises(InvalidInput, match="log_format"):
        nginx.parser(SERVERS, log_format)


def test_a_hostile_line_costs_no_more_than_its_length() -> None:
    parse = nginx.parser(SERVERS, HTTP_FORMAT)
    for text in (", " * 30_000, " : " * 20_000, '"' * 60_000, "[" * 60_000, "a, b : c" * 8_000):
        with pytest.raises(LineUnusable):
            parse(text)
