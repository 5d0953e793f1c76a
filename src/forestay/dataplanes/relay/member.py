"""One worker as the control process knows it, and what its journal means to the balancer."""

import asyncio
import marshal
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forestay.control.ports import ConnectionSink
from forestay.dataplanes.relay.frames import BadFrame, Kind, Record
from forestay.dataplanes.relay.ledger import Ledger
from forestay.dataplanes.relay.processes import WorkerProcess
from forestay.dataplanes.relay.reception import Visitor
from forestay.model.connection import Connection
from forestay.model.plan import IntArray


@dataclass(slots=True, eq=False)
class Member:
    """One worker process.

    Attributes:
        column: its column in the shared table.
        picker: the 16-bit number in its connection ids.
        listener: name of its listener; "" until an adopted one has said it.
        address: that its listener was told to listen on.
        process: None only while it is being started.
        visitor: its link, while there is one.
        draining: it was told to, or says so.
        outdated: it runs other code or settings than it should.
        foreign: its journal cannot be read.
        ready: it has said everything there is to say.
        live: ids of its connections.
        counters: its last ones.
        started_at_s: monotonic.
    """

    column: int
    picker: int
    listener: str = ""
    address: tuple[str, int] | None = None
    process: WorkerProcess | None = None
    visitor: Visitor | None = None
    draining: bool = False
    outdated: bool = False
    foreign: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    live: dict[str, None] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    started_at_s: float = field(default_factory=time.monotonic)
    resolved: IntArray | None = None
    resync: list[Connection] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """What `ConnectionSink.resynced` gets: characters 12 to 15 of the ids of all its connections."""
        return f"{self.picker:04x}"


def receive(member: Member, kind: int, payload: bytes, sink: ConnectionSink, ledger: Ledger) -> None:
    """Take one frame of a worker that has introduced itself.

    Raises:
        BadFrame: if it makes no sense.
    """
    try:
        if kind == Kind.JOURNAL:
            records = marshal.loads(payload)
        elif kind == Kind.LIVE:
            member.resync += [connection(record) for record in marshal.loads(payload)]
            return
        elif kind == Kind.RESOLVED:
            member.resolved, member.resync = np.frombuffer(payload, np.int64), []
            return
        elif kind == Kind.COUNTERS:
            member.counters = dict(marshal.loads(payload))
            return
        elif kind == Kind.RESYNCED:
            records = ()
            _resynced(member, sink, ledger)
        else:
            raise BadFrame(f"unknown kind of frame {kind}")
    except (ValueError, TypeError, EOFError) as error:
        raise BadFrame(f"a frame of kind {kind} cannot be read: {error}") from error
    for record in records:
        _take(member, record, sink, ledger)


def bury(member: Member, sink: ConnectionSink, at_s: float) -> None:
    """The worker has ended: its connections are gone."""
    if member.ready.is_set():
        for connection_id in member.live:
            sink.closed(connection_id, at_s)
        member.live.clear()
    else:  # of an earlier life, and it never said what it had
        sink.resynced(member.owner, ())


def connection(record: tuple[Any, ...]) -> Connection:
    """The connection of an OPENED record."""
    _, connection_id, _, endpoint_id, client, upstream, opened_at, _ = record
    host, port = client
    return Connection(
        connection_id, endpoint_id, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", opened_at, upstream
    )


def _take(member: Member, record: tuple[Any, ...], sink: ConnectionSink, ledger: Ledger) -> None:
    kind = record[0]
    if kind == Record.OPENED:
        ledger.deliver(member.column, record[2])
        member.live[record[1]] = None
        sink.opened(connection(record), record[7])
    elif kind == Record.CLOSED:
        member.live.pop(record[1], None)
        sink.closed(record[1], record[2])
    elif kind == Record.FAILED:
        ledger.deliver(member.column, record[2])
        sink.failed(record[1], record[3], record[4])
    else:
        ledger.deliver(member.column, record[1])


def _resynced(member: Member, sink: ConnectionSink, ledger: Ledger) -> None:
    """Counts and connections take effect together: a plan in between would know one without the other."""
    live, member.resync = member.resync, []
    member.live = dict.fromkeys(connection.id for connection in live)
    if member.resolved is not None:
        ledger.reset(member.column, member.resolved)
        if not member.ready.is_set():  # from an earlier life: what it did there is in the prices
            ledger.join(member.column)
        member.resolved = None
    sink.resynced(member.owner, live)
    member.ready.set()
