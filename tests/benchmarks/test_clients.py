"""The instrument itself: clients must see what really happens to them."""

import socket
import threading
from collections.abc import Callable

import pytest

from benchmarks.clients import Arrival, Clients, End, arrivals, crowd
from benchmarks.processes import until

Handler = Callable[[socket.socket], None]


class Listener:
    """Serves one connection after the other in a thread."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._sock.getsockname()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                self._handle(connection)


def answer_once(connection: socket.socket) -> None:
    """Then close."""
    connection.recv(100)
    connection.send(b"00007\n")


def answer_all(connection: socket.socket) -> None:
    """Until the client closes."""
    while connection.recv(100):
        connection.send(b"00007\n")


def hang_up(connection: socket.socket) -> None:
    """Say nothing."""


def test_a_client_that_leaves_after_its_answer_is_no_loss() -> None:
    with Listener(answer_all) as listener, Clients([Arrival(0.0, stay_s=0.0)], [listener.address]) as clients:
        until(lambda: clients.count(End.LEFT), "departure")
        (visit,) = clients.visits
        assert visit.server == 7
        assert visit.answered_s is not None
        assert clients.count(*set(End) - {End.LEFT}) == 0


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Clients([Arrival(0.0)], [nobody.getsockname()]) as clients:
            until(lambda: clients.count(End.REFUSED), "refusal")


def test_an_end_before_the_first_answer_counts_as_refused() -> None:
    with Listener(hang_up) as listener, Clients([Arrival(0.0)], [listener.address]) as clients:
        until(lambda: clients.count(End.REFUSED), "refusal")


def test_an_end_after_the_first_answer_counts_as_dropped() -> None:
    with Listener(answer_once) as listener, Clients([Arrival(0.0)], [listener.address]) as clients:
        until(lambda: clients.count(End.DROPPED), "drop")
        assert clients.open() == []


def test_a_client_that_reconnects_comes_back_at_once() -> None:
    with (
        Listener(answer_once) as listener,
        Clients([Arrival(0.0, reconnects=True)], [listener.address]) as clients,
    ):
        until(lambda: len(clients.visits) >= 3, "third visit")
        assert [visit.again for visit in clients.visits[:3]] == [False, True, True]


def test_the_schedule_does_not_wait_for_anybody() -> None:
    with Listener(hang_up) as listener, Clients(crowd(50, 0.1, 0.0), [listener.address]) as clients:
        until(lambda: len(clients.visits) == 50, "fifty visits")
        assert clients.visits[-1].started_s - clients.visits[0].started_s >= 0.09


def test_the_same_seed_makes_the_same_arrivals() -> None:
    one, other = (arrivals(100.0, 1.0, 3.0, 2.0, seed=5) for _ in range(2))
    assert one == other
    assert one != arrivals(100.0, 1.0, 3.0, 2.0, seed=6)
    assert len(one) == pytest.approx(200, rel=0.3)
    assert all(1.0 <= arrival.at_s < 3.0 for arrival in one)
