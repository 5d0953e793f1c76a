"""Envoy: its default text format (HTTP), and JSON with the usual names.

In text, one line when a request or stream ends. In JSON as well, unless `access_log_type` and an id are logged: then
the lines that say "connected" are openings, on time, and the last ones closings.

Source: Envoy documentation, "Access logging", default format string and command operators.
"""

import json
import re
from typing import Any

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs.line import (
    TEXT_MAX,
    LineUnusable,
    Parse,
    ServerNames,
    malformed,
    seconds,
    text,
    unix_time,
)

DEFAULT = re.compile(
    r'\[(?P<start>[^\]]+)\] "[^"]*" \S+ \S+ \S+ \S+ (?P<duration>\S+) \S+ '
    r'"[^"]*" "[^"]*" "[^"]*" "[^"]*" "(?P<upstream>[^"]*)"\s*'
)
OPENED = ("TcpUpstreamConnected", "UpstreamPoolReady")
ENDED = ("TcpConnectionEnd", "DownstreamEnd")
IDS = ("stream_id", "connection_id", "request_id")
"""Fields that tell a connection or stream from others, the best first."""


def parser(servers: ServerNames) -> Parse:
    """A parser of these lines."""

    def parse(line: str) -> Sighting:
        if line.startswith("{"):
            return _from_json(_document(line), servers)
        found = DEFAULT.fullmatch(line)
        if found is None:
            raise malformed("neither JSON nor Envoy's default format")
        return Sighting(
            "lived",
            endpoint_id=_endpoint(found["upstream"], servers),
            at=unix_time(found["start"]),
            duration_s=seconds(found["duration"], per_second=1000.0),
        )

    return parse


def _from_json(document: dict[str, Any], servers: ServerNames) -> Sighting:
    kind = document.get("access_log_type")
    endpoint_id = _endpoint(document.get("upstream_host"), servers)
    connection_id = next((text(document[name], name) for name in IDS if document.get(name) not in (None, "-")), "")
    client = str(document.get("downstream_remote_address") or "")[:TEXT_MAX]
    if kind in OPENED and connection_id:
        return Sighting("opened", connection_id, endpoint_id, client=client)
    if kind is not None and kind not in ENDED:
        raise LineUnusable("other", f"{str(kind)[:40]} is neither the beginning nor the end of a connection")
    return Sighting(
        "lived",
        connection_id if kind is not None else "",
        endpoint_id,
        at=unix_time(document.get("start_time")),
        duration_s=seconds(document.get("duration"), per_second=1000.0),
        client=client,
    )


def _document(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise malformed("not JSON") from None
    if not isinstance(document, dict):
        raise malformed("not a JSON object")
    return document


def _endpoint(upstream: object, servers: ServerNames) -> str:
    if upstream in (None, "", "-"):
        raise LineUnusable("other", "reached no server")
    return servers.endpoint_of(text(upstream, "upstream_host").rpartition("://")[2])
