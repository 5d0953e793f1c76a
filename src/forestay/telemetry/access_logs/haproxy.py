"""HAProxy's `option tcplog` and `option httplog`, as they stand in a file behind syslog or a ring.

One line when a connection (or request) ends. Servers go by their name in HAProxy's configuration. The accept date has
no time zone and is not used: the line's arrival is the end, its timers say when it began. With `option logasap` a line
comes before the end and lacks the duration ("+" before it): nothing can be learned from those.

Source: HAProxy configuration manual, 8.2.2 "TCP log format" and 8.2.3 "HTTP log format".
"""

import re

from forestay.control.shadow.sightings import Sighting
from forestay.telemetry.access_logs.line import TEXT_MAX, LineUnusable, Parse, ServerNames, malformed, seconds

LINE = re.compile(
    r"(?:^|\s)(?P<client>[^\s\[\]]{1,64}):(?P<port>\d{1,5}) \[[^\[\]]{1,40}\] \S+ "
    r"(?P<backend>[^\s/]+)/(?P<server>\S+) (?P<timers>[-+0-9]+(?:/[-+0-9]+)+) "
)
NO_SERVER = ("<NOSRV>", "<STATS>", "<PROMEX>", "<CACHE>")
OTHER = re.compile(r"Connect from |(?:Proxy|Server|Backend|backend) \S+ |\b(?:Loading|Stopping|Starting|Pausing)\b")
"""Lines of a sound log that are about no connection, or, in the default format, about one without its server."""


def parser(servers: ServerNames) -> Parse:
    """A parser of these lines."""

    def parse(line: str) -> Sighting:
        found = LINE.search(line)
        if found is None:
            if OTHER.search(line):
                raise LineUnusable("other", "about no connection to a server")
            raise malformed('not a line of "option tcplog" or "option httplog"')
        if found["server"] in NO_SERVER:
            raise LineUnusable("other", "reached no server")
        endpoint_id = servers.endpoint_of(found["server"], within=found["backend"])
        return Sighting(
            "lived",
            endpoint_id=endpoint_id,
            duration_s=_on_server(found["timers"]),
            client=f"{found['client']}:{found['port']}"[:TEXT_MAX],
        )

    return parse


def _on_server(timers: str) -> float:
    """Seconds from the connection to the server to the end.

    TCP: Tw/Tc/Tt. HTTP: TR/Tw/Tc/Tr/Ta. Milliseconds; -1: never got there.
    """
    parts = timers.split("/")
    if len(parts) not in (3, 5):
        raise malformed(f"{len(parts)} timers: must be 3 (tcplog) or 5 (httplog)")
    if parts[-1].startswith("+"):
        raise LineUnusable("other", 'written before the end: remove "option logasap"')
    try:
        values = [int(part) for part in parts]
    except ValueError:
        raise malformed(f"timers {timers[:40]!r} are not numbers") from None
    before = values[:2] if len(values) == 3 else values[:3]
    if before[-1] < 0:
        raise LineUnusable("other", "the server was not reached")
    return seconds(max(values[-1] - sum(max(value, 0) for value in before), 0), per_second=1000.0)
