"""Our own format: one JSON object a line, `event` "opened" or "closed". forestay's log with `log.access` is one.

    {"event": "opened", "id": "a1", "endpoint": "10.0.0.1:80", "at": 1767225600.25, "client": "192.0.2.7:5000"}
    {"event": "closed", "id": "a1"}
    {"event": "closed", "endpoint": "10.0.0.1:80", "duration_s": 12.5}

`at` is Unix time, or `timestamp` ISO 8601; without either, it happened just now. A "closed" that says `endpoint` and
`duration_s` tells the whole life of a connection whose opening was not logged. `cluster`, where it stands, must be
ours; `hint` is passed on. Objects with other events are left alone.
"""

import json
from typing import Any

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs.line import (
    LineUnusable,
    Parse,
    ServerNames,
    malformed,
    seconds,
    text,
    unix_time,
)


def parser(servers: ServerNames, cluster: str) -> Parse:
    """A parser of these lines, for one cluster."""

    def parse(line: str) -> Sighting:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            raise malformed("not JSON") from None
        if not isinstance(document, dict):
            raise malformed("not a JSON object")
        if document.get("event") not in ("opened", "closed") or document.get("cluster", cluster) != cluster:
            raise LineUnusable("other", "about something else")
        return _sighting(document, servers)

    return parse


def _sighting(document: dict[str, Any], servers: ServerNames) -> Sighting:
    when = document.get("at", document.get("timestamp"))
    at = None if when is None else unix_time(when)
    connection_id = text(document["id"], "id") if "id" in document else ""
    client = text(document["client"], "client") if document.get("client") else ""
    hint = text(document["hint"], "hint") if document.get("hint") else ""
    endpoint_id = servers.endpoint_of(text(document["endpoint"], "endpoint")) if "endpoint" in document else ""
    if document["event"] == "opened":
        if not (connection_id and endpoint_id):
            raise malformed('"opened" must have id and endpoint')
        return Sighting("opened", connection_id, endpoint_id, at, client=client, hint=hint)
    if "duration_s" in document and endpoint_id:
        lasted_s = seconds(document["duration_s"])
        opened_at = None if at is None else at - lasted_s
        return Sighting("lived", connection_id, endpoint_id, opened_at, lasted_s, client, hint)
    if not connection_id:
        raise malformed('"closed" must have id, or endpoint and duration_s')
    return Sighting("closed", connection_id, at=at)
