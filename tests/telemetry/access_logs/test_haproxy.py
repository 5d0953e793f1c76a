"""Lines from HAProxy's manual, and from a real one."""

import pytest

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs import haproxy
from forestay.telemetry.access_logs.line import LineUnusable, ServerNames

SRV1, SRV2 = "10.0.0.1:80", "10.0.0.2:80"
parse = haproxy.parser(ServerNames({"srv1": SRV1, "other/srv1": SRV2}))

TCP = (
    "Feb  6 12:12:56 localhost haproxy[14387]: 10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 "
    "7/5/5007 212 -- 0/0/0/0/3 0/0"
)
HTTP = (
    "Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 "
    '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"'
)


def test_a_tcp_line_tells_the_time_on_the_server() -> None:
    assert parse(TCP) == Sighting("lived", endpoint_id=SRV1, duration_s=4.995, client="10.0.1.2:33313")


def test_an_http_line_tells_the_time_on_the_server() -> None:
    assert parse(HTTP) == Sighting("lived", endpoint_id=SRV1, duration_s=0.069, client="10.0.1.2:33317")


def test_the_same_name_in_another_backend_may_be_another_server() -> None:
    assert parse(TCP.replace("bck/srv1", "other/srv1")).endpoint_id == SRV2


def test_a_server_that_is_named_by_its_address_needs_no_entry() -> None:
    assert parse(TCP.replace("bck/srv1", "bck/10.0.0.7:80")).endpoint_id == "10.0.0.7:80"


def test_a_line_without_syslog_header_or_from_ipv6_is_read() -> None:
    line = TCP.partition("]: ")[2].replace("10.0.1.2:33313", "::1:33313").replace("fnt", "fnt~")
    assert parse(line).client == "::1:33313"


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (TCP.replace("bck/srv1", "bck/<NOSRV>"), "other"),
        (TCP.replace("7/5/5007", "0/-1/3000"), "other"),
        (TCP.replace("5007", "+5007"), "other"),
        ("haproxy[1]: Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/HTTP)", "other"),
        ("haproxy[1]: Server bck/srv1 is DOWN, reason: Layer4 connection problem", "other"),
        ("haproxy[1]: Proxy bench started.", "other"),
        (TCP.replace("bck/srv1", "bck/srv9"), "unnamed"),
        (TCP.replace("7/5/5007", "7/5"), "malformed"),
        (TCP.replace("7/5/5007", "7/5/50+07"), "malformed"),
        (TCP.replace("5007", "9" * 30), "malformed"),
        ("what is this", "malformed"),
    ],
)
def test_what_is_no_placed_connection_is_told_apart(line: str, outcome: str) -> None:
    with pytest.raises(LineUnusable) as unusable:
        parse(line)
    assert unusable.value.outcome == outcome
