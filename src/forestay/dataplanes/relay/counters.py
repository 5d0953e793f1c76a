"""What one worker counts; the control process adds the workers of a listener up for its metrics."""

from dataclasses import dataclass, fields

GAUGES = frozenset({"open", "waiting", "connections_ceiling", "stale", "draining"})
"""Fields that say how things are now; all others only grow."""


@dataclass(slots=True)
class Counters:
    """Counters since the worker started, and a few gauges.

    Attributes:
        accepted: connections taken from the listening socket.
        placed: connections established to an endpoint.
        queued: connections that had to wait.
        shed: refused at once: everybody is overloaded, or the queue is full.
        deadline: refused after having waited or tried for the queue's deadline.
        client_rate: refused because their client opens connections faster than it may.
        abandoned: the client left before it was placed.
        connect_failed: attempts that an endpoint refused or that failed otherwise.
        connect_timeout: attempts that ran out of time.
        reset: connections ended by an RST or another error of one side.
        idle_closed: connections closed for idleness.
        proxy_rejected: connections without a usable PROXY header where one is demanded.
        descriptors_exhausted: times that the kernel had no descriptor left.
        drain_closed: connections cut at the end of a drain.
        stale_picks: placed by least connections because the control process was away.
        penalty_picks: times that nobody but endpoints which just failed was left.
        torn_reads: copies of the table that were changed while being read, and repeated.
        internal_errors: events whose handling failed by a defect of the relay; their connections were reset.
        resyncs: times that the worker told the control process everything anew.
        open: accepted and not yet closed.
        waiting: of these, waiting for an endpoint.
        connections_ceiling: most connections that descriptors and settings allow.
        stale: 1 while the control process is away.
        draining: 1 once it no longer accepts.
    """

    accepted: int = 0
    placed: int = 0
    queued: int = 0
    shed: int = 0
    deadline: int = 0
    client_rate: int = 0
    abandoned: int = 0
    connect_failed: int = 0
    connect_timeout: int = 0
    reset: int = 0
    idle_closed: int = 0
    proxy_rejected: int = 0
    descriptors_exhausted: int = 0
    drain_closed: int = 0
    stale_picks: int = 0
    penalty_picks: int = 0
    torn_reads: int = 0
    internal_errors: int = 0
    resyncs: int = 0
    open: int = 0
    waiting: int = 0
    connections_ceiling: int = 0
    stale: int = 0
    draining: int = 0


NAMES = tuple(field.name for field in fields(Counters))
