"""A worker's link to a control process that is away, slow, or talks nonsense."""

import marshal
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forestay.dataplanes.relay import link as link_module
from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import Flows
from forestay.dataplanes.relay.frames import WIRE, Drain, FrameReader, Hello, Kind, Record, encode
from forestay.dataplanes.relay.link import RETRY_S, Link
from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.shared_table import SharedTable
from tests.dataplanes.relay.world import runtime_directory

HELLO = Hello(column=1, name="public", address=("127.0.0.1", 0), spec="{}", version="1", wire=WIRE, draining=False)


class Ends:
    """A link, and the socket that it knocks at."""

    def __init__(self, directory: Path) -> None:
        self.table = SharedTable.create(directory / "chat.table.1")
        self.picker = Picker(self.table, column=1)
        self.epoll, self.counters = select.epoll(), Counters()
        self.flows = Flows(self.epoll, self.picker, self.counters)
        self.drains: list[Drain] = []
        self.path = directory / "chat.sock"
        self.server: socket.socket | None = None
        self.link = Link(
            str(self.path), self.epoll, self.flows, self.picker, self.counters, lambda: HELLO, lambda: None,
            self.drains.append,
        )  # fmt: skip

    def listen(self) -> None:
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.path))
        self.server.listen()

    def accept(self) -> socket.socket:
        assert self.server is not None
        self.server.settimeout(1.0)
        return self.server.accept()[0]

    def close(self) -> None:
        self.link._drop(0.0)
        self.epoll.close()
        if self.server is not None:
            self.server.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with runtime_directory() as directory:
        ends = Ends(directory)
        yield ends
        ends.close()


def frames_in(sock: socket.socket) -> list[tuple[int, bytes]]:
    sock.setblocking(False)
    reader = FrameReader()
    frames: list[tuple[int, bytes]] = []
    while True:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            return frames
        if not data:
            return frames
        frames += reader.feed(data)


def test_the_link_comes_up_by_itself_and_begins_with_a_resync(ends: Ends) -> None:
    ends.flows.journal.append((Record.ABORTED, 0))
    ends.table.placed[1][5] = 7
    ends.link.tick(0.0)  # nobody is there
    ends.listen()
    ends.link.tick(RETRY_S / 2)
    ends.link.tick(RETRY_S)
    with ends.accept() as control:
        ends.link.tick(RETRY_S + 0.01)
        (hello, payload), (resolved, counts), *rest = frames_in(control)
        assert (hello, Hello.decode(payload)) == (Kind.HELLO, HELLO)
        assert resolved == Kind.RESOLVED
        assert np.frombuffer(counts, np.int64)[5] == 7
        assert [kind for kind, _ in rest] == [Kind.LIVE, Kind.RESYNCED, Kind.COUNTERS]  # and nothing of the past
        ends.flows.journal.append((Record.CLOSED, "id", 1.0))
        ends.link.tick(RETRY_S + 0.02)
        [(kind, batch)] = frames_in(control)
        assert (kind, marshal.loads(batch)) == (Kind.JOURNAL, [(Record.CLOSED, "id", 1.0)])


def test_a_control_process_that_does_not_read_is_left_and_told_everything_anew(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "BACKLOG_MAX", 200_000)
    ends.listen()
    ends.link.tick(0.0)
    now_s, kept = 0.0, 0
    with ends.accept():
        while ends.link.descriptor >= 0:
            now_s += 0.01
            ends.flows.journal += [(Record.CLOSED, "x" * 32, now_s)] * 100
            ends.link.tick(now_s)
            kept = max(kept, len(ends.link._out))
            assert now_s < 10
    assert kept < 300_000
    assert not ends.flows.journal
    ends.link.tick(now_s + RETRY_S)
    with ends.accept() as control:
        ends.link.tick(now_s + RETRY_S + 0.01)
        assert [kind for kind, _ in frames_in(control)][:2] == [Kind.HELLO, Kind.RESOLVED]
        assert ends.counters.resyncs == 2


def test_while_nobody_listens_the_journal_takes_no_memory(ends: Ends) -> None:
    for turn in range(100):
        ends.flows.journal += [(Record.ABORTED, 0)] * 100
        ends.link.tick(turn * 0.01)
    assert not ends.flows.journal


def test_commands_are_followed_and_nonsense_ends_the_link(ends: Ends) -> None:
    ends.listen()
    ends.link.tick(0.0)
    with ends.accept() as control:
        control.sendall(Drain(2.5, accept_rest=True).encode())
        ends.link.on_event(0.1)
        assert ends.drains == [Drain(2.5, accept_rest=True)]
        control.sendall(encode(Kind.DRAIN, b"[]"))
        ends.link.on_event(0.2)
        assert ends.link.descriptor == -1
