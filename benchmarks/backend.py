"""A server for fault runs: answers every message with its port, and writes down when it got a new connection.

    python benchmarks/backend.py --accepts FILE [--port PORT] [--api HOST:PORT --cluster NAME]

With --api it reports a load once a second, made of what really happens to it by a rule that everybody can see: each
connection that it holds weighs `--holding`, each that it accepted in the last second `--accepting`. Nothing is burnt:
on a machine with few cores servers that do would stop the clients and the relay as well.
"""

import argparse
import array
import contextlib
import http.client
import json
import resource
import select
import socket
import threading
import time
from pathlib import Path

EVENTS_MAX = 256
REPORT_TIMEOUT_S = 1.0


class Backend:
    """One epoll loop.

    Attributes:
        held: connections that said something and are open; a health check says nothing.
        accepted: of these, all that ever were.
    """

    def __init__(self, port: int, accepts: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._answer = b"%05d\n" % self.port
        self._connections: dict[int, socket.socket] = {}
        self._known: set[int] = set()
        self._accepts = accepts.open("ab", buffering=0)
        self.accepted = 0

    @property
    def held(self) -> int:
        """See the class."""
        return len(self._known)

    def run(self) -> None:
        """Until killed."""
        epoll, listener = select.epoll(), self._listener.fileno()
        epoll.register(listener, select.EPOLLIN)
        while True:
            for descriptor, _ in epoll.poll(maxevents=EVENTS_MAX):
                if descriptor == listener:
                    self._accept(epoll)
                elif not self._serve(descriptor):
                    self._known.discard(descriptor)
                    self._connections.pop(descriptor).close()

    def _accept(self, epoll: select.epoll) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[connection.fileno()] = connection
                epoll.register(connection.fileno(), select.EPOLLIN)

    def _serve(self, descriptor: int) -> bool:
        """False: the connection is over."""
        connection = self._connections[descriptor]
        try:
            if not connection.recv(4096, socket.MSG_DONTWAIT):
                return False
            if descriptor not in self._known:
                self._known.add(descriptor)
                self.accepted += 1
                self._accepts.write(array.array("d", [time.monotonic()]).tobytes())
            connection.send(self._answer, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # an answer of six bytes always fits, and a spurious wake-up brings nothing
        except OSError:
            return False
        return True


def accept_times(file: Path) -> list[float]:
    """When a backend got new connections, monotonic seconds."""
    times = array.array("d")
    data = file.read_bytes() if file.exists() else b""
    times.frombytes(data[: len(data) // times.itemsize * times.itemsize])
    return times.tolist()


def report(backend: Backend, api: str, cluster: str, holding: float, accepting: float) -> None:
    """Post the load once a second; a control plane that is away is tried again."""
    before, next_s = backend.accepted, time.monotonic()
    while True:
        next_s += 1.0
        time.sleep(max(0.0, next_s - time.monotonic()))
        accepted = backend.accepted
        load = backend.held * holding + (accepted - before) * accepting
        before = accepted
        body = {"cluster": cluster, "endpoint": f"127.0.0.1:{backend.port}", "load": round(load, 6)}
        connection = http.client.HTTPConnection(api, timeout=REPORT_TIMEOUT_S)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/reports", json.dumps(body), {"Content-Type": "application/json"})
            connection.getresponse().read()
        connection.close()


def main() -> None:
    """Print the port, then serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accepts", type=Path, required=True, help="file for times of accepts, doubles")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api", default="", help="where to report load")
    parser.add_argument("--cluster", default="bench")
    parser.add_argument("--holding", type=float, default=0.001, help="load per connection held")
    parser.add_argument("--accepting", type=float, default=0.001, help="load per connection accepted in a second")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    backend = Backend(options.port, options.accepts)
    print(backend.port, flush=True)
    if options.api:
        arguments = (backend, options.api, options.cluster, options.holding, options.accepting)
        threading.Thread(target=report, args=arguments, daemon=True).start()
    backend.run()


if __name__ == "__main__":
    main()
