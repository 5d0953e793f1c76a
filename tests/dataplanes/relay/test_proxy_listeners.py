"""PROXY headers through a real worker."""

import asyncio
import socket
from contextlib import suppress

import pytest

from forestay.dataplanes.relay import proxy_protocol
from tests.dataplanes.relay.test_proxy_protocol import unique_id
from tests.dataplanes.relay.world import close_all, endpoint_of, listening, plan_of, relaying, serving, until

pytestmark = pytest.mark.process

HEADER = proxy_protocol.build(("203.0.113.7", 4711), ("198.51.100.1", 443), b"")


async def test_the_endpoint_gets_a_header_with_the_connection_id_before_anything_else() -> None:
    with listening() as server:
        async with relaying(plan_of([endpoint_of(server.getsockname())]), proxy_out=True) as relay:
            loop = asyncio.get_running_loop()
            sock = await relay.dial()
            await loop.sock_sendall(sock, b"payload")
            peer, _ = await loop.sock_accept(server)
            data = b""
            while not data.endswith(b"payload"):
                data += await loop.sock_recv(peer, 1000)
            header = proxy_protocol.parse(data)
            assert header == proxy_protocol.Header(len(data) - 7, sock.getsockname(), sock.getpeername())
            await until(lambda: relay.sink.opens)
            assert unique_id(data) == relay.sink.opens[0].id.encode()
            sock.close()
            peer.close()


async def test_a_header_names_the_client_and_what_follows_it_passes_untouched() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), proxy_in=True) as relay:
        reader, writer = await relay.connect()
        writer.write(HEADER + b"payload")
        assert await reader.readexactly(7) == b"payload"
        await until(lambda: relay.sink.opens)
        assert relay.sink.opens[0].client == "203.0.113.7:4711"
        await close_all([writer])


async def test_a_header_is_passed_on_with_its_addresses_and_our_id() -> None:
    with listening() as server:
        plan = plan_of([endpoint_of(server.getsockname())])
        async with relaying(plan, proxy_in=True, proxy_out=True) as relay:
            loop = asyncio.get_running_loop()
            sock = await relay.dial()
            await loop.sock_sendall(sock, HEADER)
            peer, _ = await loop.sock_accept(server)
            data = await loop.sock_recv(peer, 1000)
            assert proxy_protocol.parse(data) == proxy_protocol.Header(
                len(data), ("203.0.113.7", 4711), ("198.51.100.1", 443)
            )
            sock.close()
            peer.close()


async def test_a_header_that_comes_byte_by_byte_is_put_together() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), proxy_in=True) as relay:
        loop = asyncio.get_running_loop()
        sock = await relay.dial()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n!":
            await loop.sock_sendall(sock, bytes([byte]))
        assert await loop.sock_recv(sock, 10) == b"!"
        await until(lambda: relay.sink.opens)
        assert relay.sink.opens[0].client == "203.0.113.9:1"
        sock.close()


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n\r\n", HEADER[:-1]], ids=["no header", "half a header"])
async def test_without_a_whole_header_nobody_gets_in(start: bytes) -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), proxy_in=True) as relay:
        reader, writer = await relay.connect()
        writer.write(start)
        with suppress(OSError):  # reset already
            writer.write_eof()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await relay.stat_becomes("proxy_rejected", 1)
        assert relay.stat("placed") == 0
        await close_all([writer])


async def test_a_client_that_says_nothing_is_not_waited_for_long() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), proxy_in=True) as relay:
        reader, writer = await relay.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await relay.stat_becomes("proxy_rejected", 1)
        await close_all([writer])
