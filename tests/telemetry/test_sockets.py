import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forestay.telemetry.sockets import FourTuple, SocketLister, SocketsUnreadable, by_procfs


@contextlib.contextmanager
def connections(count: int, host: str = "127.0.0.1") -> Iterator[tuple[int, set[FourTuple]]]:
    """A listener with `count` clients: its port, and the 4-tuples as the server sees them."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if host.startswith("::") else socket.AF_INET
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(count)
        port = listener.getsockname()[1]
        expected = set()
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1" if host == "::" else host, port)))
            stack.enter_context(listener.accept()[0])
            peer, own = client.getsockname(), client.getpeername()
            expected.add((peer[0], peer[1], own[0], own[1]))
        yield port, expected


def listed(method: str, port: int) -> set[FourTuple]:
    lister = SocketLister([port])
    lister.method = method
    found = lister.established()
    assert lister.method == method, "fell back"
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("method", ["netlink", "procfs"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"], ids=["IPv4", "IPv6", "dual stack"])
def test_only_the_servers_ends_of_established_connections_are_listed(method: str, host: str) -> None:
    with connections(5, host) as (port, expected), connections(3):
        assert listed(method, port) == expected
    assert listed(method, port) == set()


@pytest.mark.parametrize("method", ["netlink", "procfs"])
def test_several_ports_are_listed_together(method: str) -> None:
    with connections(2) as (one, first), connections(2) as (two, second):
        lister = SocketLister([one, two, one])
        lister.method = method
        assert sorted(lister.established()) == sorted(first | second)


def test_where_netlink_is_shut_procfs_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    open_socket = socket.socket

    def refuse(family: int, *rest: int) -> socket.socket:
        if family == socket.AF_NETLINK:
            raise PermissionError(1, "Operation not permitted")
        return open_socket(family, *rest)

    with connections(1) as (port, expected):
        monkeypatch.setattr(socket, "socket", refuse)
        lister = SocketLister([port])
        assert set(lister.established()) == expected
        assert lister.method == "procfs"


def test_where_nothing_works_it_says_so() -> None:
    lister = SocketLister([80], pid=2**22 + 1)
    lister.method = "procfs"
    with pytest.raises(SocketsUnreadable, match="cannot list sockets"):
        lister.established()


def test_a_machine_without_ipv6_has_no_tcp6_file(tmp_path: Path) -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    row = "   0: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    (tmp_path / "tcp").write_text(header + row + row.replace(" 01 ", " 06 ") + row.replace("1F90", "1F91"))
    assert list(by_procfs(tmp_path, [8080])) == [("127.0.0.2", 50000, "127.0.0.1", 8080)]


@pytest.mark.process
def test_a_server_in_another_network_namespace_is_read_through_its_proc_directory() -> None:
    program = (
        "import socket, subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True);"
        "listener = socket.create_server(('127.0.0.1', 0));"
        "client = socket.create_connection(listener.getsockname()); accepted = listener.accept();"
        "print(listener.getsockname()[1], client.getsockname()[1], flush=True); input()"
    )
    command = ["unshare", "--net", sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.skip("no permission to make a network namespace")
        port, client_port = map(int, line.split())
        lister = SocketLister([port], pid=process.pid)
        assert lister.established() == [("127.0.0.1", client_port, "127.0.0.1", port)]
        assert SocketLister([port]).established() == []
        process.communicate("\n", timeout=10)


def cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


@pytest.mark.process
def test_listing_eight_thousand_connections_costs_a_few_per_cent_of_a_core() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 17_000:
        pytest.skip(f"needs 17,000 descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with connections(8000) as (port, expected):
            lister = SocketLister([port])
            assert set(lister.established()) == expected
            if lister.method == "netlink":
                assert min(cpu_s(lister.established) for _ in range(3)) < 0.1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
