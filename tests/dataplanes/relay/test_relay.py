"""The data path, on real sockets through a real worker process."""

import asyncio
import os
import random
import resource
import signal
import socket
import struct
import time
from contextlib import suppress

import pytest

from tests.dataplanes.relay.world import (
    close_all,
    endpoint_of,
    listening,
    plan_of,
    refusing_endpoint,
    relaying,
    serving,
    until,
)

pytestmark = pytest.mark.process

RESET = struct.pack("ii", 1, 0)


async def test_bytes_pass_both_ways_and_the_connection_is_reported() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        client = endpoint_of(writer.get_extra_info("sockname"))
        await until(lambda: relay.sink.live)
        [connection] = relay.sink.live.values()
        assert (connection.endpoint_id, connection.client) == (endpoint, client)
        assert connection.upstream is not None
        assert endpoint_of(connection.upstream[2:]) == endpoint
        now_s = time.time_ns() / 1e9
        assert abs(connection.opened_at - now_s) < 5
        assert len(bytes.fromhex(connection.id)) == 16
        assert abs(int(connection.id[:12], 16) / 1000 - now_s) < 5
        await close_all([writer])
        await until(lambda: not relay.sink.live)


async def test_a_server_that_speaks_first_is_heard_at_once() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await reader.read()

    async with serving(greet) as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        assert await reader.readline() == b"220 ready\r\n"
        await close_all([writer])


async def test_a_client_may_half_close_and_still_gets_the_answer() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read()  # to the end of the stream
        writer.write(b"%d bytes" % len(request))

    async with serving(answer_at_the_end) as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        writer.write(b"x" * 100_000)
        writer.write_eof()
        assert await reader.read() == b"100000 bytes"
        await close_all([writer])
        await until(lambda: relay.sink.closes)


async def test_a_server_may_half_close_and_still_hears_the_client() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def bye_then_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        heard.set_result(await reader.read())

    async with serving(bye_then_listen) as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        assert await reader.read() == b"bye"
        writer.write(b"last words")
        writer.write_eof()
        assert await heard == b"last words"
        await close_all([writer])


async def test_data_and_fin_in_one_packet_do_not_hang() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint])) as relay:
        loop = asyncio.get_running_loop()
        for size in (1, 16 * 1024, 16 * 1024 + 1, 256 * 1024):
            sock = await relay.dial()
            await loop.sock_sendall(sock, b"y" * size)
            sock.shutdown(socket.SHUT_WR)
            got = 0
            while data := await loop.sock_recv(sock, 65_536):
                got += len(data)
            assert got == size
            sock.close()
        await relay.stat_becomes("open", 0)


async def test_big_transfers_with_a_slow_reader_are_complete_and_take_bounded_memory() -> None:
    total = 64 << 20
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        block = bytes(range(256)) * 256
        while sent < total:
            writer.write(block)
            sent += len(block)
            await writer.drain()

    async with serving(flood) as endpoint, relaying(plan_of([endpoint])) as relay:
        loop = asyncio.get_running_loop()
        before = resident_bytes(relay.pids[0])
        sock = await relay.dial(receive_buffer=32 * 1024)
        # Nobody reads: the server comes to a stop once all buffers are full.
        last = -1
        deadline_s = time.monotonic() + 5
        while sent != last and time.monotonic() < deadline_s:
            last = sent
            await asyncio.sleep(0.3)
        assert sent == last < total
        assert resident_bytes(relay.pids[0]) - before < 4 << 20
        got, expected = 0, bytes(range(256)) * 1024
        while data := await loop.sock_recv(sock, 256 * 1024):
            start = got % 256
            assert data == (expected[start:] + expected)[: len(data)] if len(data) < 200_000 else True
            got += len(data)
        assert got == total
        sock.close()
        await relay.stat_becomes("open", 0)


async def test_conversations_of_any_shape_arrive_whole_and_in_order() -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    with listening() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # small: back-pressure sets in early
        async with relaying(plan_of([endpoint_of(server.getsockname())])) as relay:

            async def say(sock: socket.socket, data: bytes) -> None:
                while data:
                    size = rng.choice([1, 100, 16_384, 16_385, 200_000, 600_000])
                    await loop.sock_sendall(sock, data[:size])
                    data = data[size:]
                    if rng.random() < 0.3:
                        await asyncio.sleep(0.001)
                sock.shutdown(socket.SHUT_WR)

            async def hear(sock: socket.socket) -> bytes:
                heard = bytearray()
                while data := await loop.sock_recv(sock, rng.choice([1_000, 70_000, 1 << 20])):
                    heard += data
                    if rng.random() < 0.2:
                        await asyncio.sleep(0.001)
                return bytes(heard)

            for _ in range(30):
                client = await relay.dial(receive_buffer=rng.choice([None, 8_192]))
                peer, _ = await loop.sock_accept(server)
                question, answer = (rng.randbytes(rng.choice([0, 1, 16_384, 300_000, 2_000_000])) for _ in range(2))
                async with asyncio.timeout(30):
                    _, _, heard_by_client, heard_by_server = await asyncio.gather(
                        say(client, question), say(peer, answer), hear(client), hear(peer)
                    )
                assert (heard_by_client, heard_by_server) == (answer, question)
                client.close()
                peer.close()
            await relay.stat_becomes("open", 0)
            assert relay.stat("reset") == 0


async def test_the_descriptor_limit_is_raised_and_what_it_allows_is_reported() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), queue_max=100) as relay:
        soft, hard = resource.prlimit(relay.pids[0], resource.RLIMIT_NOFILE)
        assert soft == hard
        ceiling = await until(lambda: relay.stat("connections_ceiling"))
        assert 0 < 2 * ceiling + 100 < soft


async def test_an_upload_to_a_slow_server_is_held_back() -> None:
    with listening() as server:
        async with relaying(plan_of([endpoint_of(server.getsockname())])) as relay:
            loop = asyncio.get_running_loop()
            sock = await relay.dial()
            peer, _ = await loop.sock_accept(server)
            pushed = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while pushed < 64 << 20:
                        await loop.sock_sendall(sock, bytes(65_536))
                        pushed += 65_536
            assert pushed < 64 << 20
            sock.close()
            got = 0
            while data := await loop.sock_recv(peer, 1 << 20):
                got += len(data)
            assert pushed <= got < pushed + 65_536
            peer.close()


async def test_a_reset_by_the_client_resets_the_server() -> None:
    with listening() as server:
        async with relaying(plan_of([endpoint_of(server.getsockname())])) as relay:
            loop = asyncio.get_running_loop()
            sock = await relay.dial()
            peer, _ = await loop.sock_accept(server)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(peer, 1)
            peer.close()
            await relay.stat_becomes("reset", 1)


async def test_a_reset_by_the_server_resets_the_client() -> None:
    with listening() as server:
        async with relaying(plan_of([endpoint_of(server.getsockname())])) as relay:
            loop = asyncio.get_running_loop()
            sock = await relay.dial()
            peer, _ = await loop.sock_accept(server)
            await loop.sock_sendall(peer, b"partial")
            assert await loop.sock_recv(sock, 100) == b"partial"
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(sock, 1)
            sock.close()


async def test_a_refused_connect_goes_to_the_next_endpoint_with_the_first_bytes_intact() -> None:
    dead = [refusing_endpoint() for _ in range(3)]
    async with serving() as endpoint:
        ids = [*dead, endpoint]
        async with relaying(plan_of(ids, prices=[1.0, 2.0, 3.0, 1000.0])) as relay:
            reader, writer = await relay.connect()
            writer.write(b"precious")
            assert await reader.readexactly(8) == b"precious"
            await close_all([writer])
            await until(lambda: relay.sink.opens)
            assert [failed for _, failed in relay.sink.failures] == dead
            assert {connection_id for connection_id, _ in relay.sink.failures} == {relay.sink.opens[0].id}


async def test_an_endpoint_that_just_failed_is_left_out_for_a_while() -> None:
    dead = refusing_endpoint()
    async with serving() as endpoint, relaying(plan_of([dead, endpoint], prices=[1.0, 1000.0])) as relay:
        for _ in range(20):
            reader, writer = await relay.connect()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await close_all([writer])
        await until(lambda: len(relay.sink.opens) == 20)
        assert 1 <= len(relay.sink.failures) <= 2  # within a second


async def test_a_connect_that_hangs_is_given_up_and_tried_elsewhere() -> None:
    with listening(backlog=0) as full:
        # With its queue full the kernel drops further SYNs: a connect neither succeeds nor fails.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        stuck = endpoint_of(full.getsockname())
        async with (
            serving() as endpoint,
            relaying(plan_of([stuck, endpoint], prices=[1.0, 1000.0]), connect_timeout_s=0.3) as relay,
        ):
            reader, writer = await relay.connect()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await close_all([writer])
            await relay.stat_becomes("connect_timeout", 1)
        for filler in fillers:
            filler.close()


async def test_while_the_only_server_restarts_clients_wait_and_are_then_served() -> None:
    endpoint = refusing_endpoint()
    async with relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        writer.write(b"x")
        await until(lambda: len(relay.sink.failures) >= 2)
        async with serving(port=int(endpoint.rpartition(":")[2])):
            assert await reader.readexactly(1) == b"x"
            await close_all([writer])


async def test_a_connection_waits_while_nobody_has_room_and_is_served_when_the_table_opens() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint], slots=0)) as relay:
        reader, writer = await relay.connect()
        writer.write(b"x")
        await relay.stat_becomes("waiting", 1)
        relay.plane.publish(plan_of([endpoint], slots=1))
        assert await reader.readexactly(1) == b"x"
        await relay.stat_becomes("waiting", 0)
        await close_all([writer])


async def test_clients_that_wait_take_turns() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint], slots=0)) as relay:
        greedy = [await relay.connect() for _ in range(6)]
        await relay.stat_becomes("waiting", 6)
        _, modest = await asyncio.open_connection(*relay.address, local_addr=("127.0.0.2", 0))
        await relay.stat_becomes("waiting", 7)
        relay.plane.publish(plan_of([endpoint], slots=2))
        await until(lambda: len(relay.sink.opens) == 2)
        assert sorted(connection.client.partition(":")[0] for connection in relay.sink.opens) == [
            "127.0.0.1",
            "127.0.0.2",
        ]
        await close_all([modest, *(writer for _, writer in greedy)])


async def test_slots_and_paced_of_a_table_are_never_exceeded() -> None:
    async with serving() as one, serving() as two:
        plan = plan_of([one, two], slots=[2, 1], paced=[1, 0])
        async with relaying(plan) as relay:
            clients = [await relay.connect() for _ in range(7)]
            await relay.stat_becomes("waiting", 3)
            await until(lambda: len(relay.sink.opens) == 4)
            placed = [connection.endpoint_id for connection in relay.sink.opens]
            assert (placed.count(one), placed.count(two)) == (3, 1)
            await close_all([writer for _, writer in clients])


async def test_a_connection_that_waited_in_vain_is_reset_at_its_deadline() -> None:
    async with relaying(plan_of([refusing_endpoint()], slots=0), queue_deadline_s=0.3) as relay:
        reader, writer = await relay.connect()
        started_s = time.monotonic()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert 0.2 < time.monotonic() - started_s < 1.5
        await close_all([writer])
        await relay.stat_becomes("deadline", 1)


async def test_the_queue_is_bounded() -> None:
    async with relaying(plan_of([refusing_endpoint()], slots=0), queue_max=2) as relay:
        clients = [await relay.connect() for _ in range(2)]
        await relay.stat_becomes("waiting", 2)
        assert await relay.resets_newcomers()
        await close_all(writer for _, writer in clients)


async def test_a_client_that_leaves_the_queue_makes_room() -> None:
    async with relaying(plan_of([refusing_endpoint()], slots=0), queue_max=1) as relay:
        _, writer = await relay.connect()
        await relay.stat_becomes("waiting", 1)
        await close_all([writer])
        await relay.stat_becomes("abandoned", 1)
        await relay.stat_becomes("waiting", 0)


async def test_overload_refuses_http_with_a_503_that_arrives_whole() -> None:
    plan = plan_of([refusing_endpoint()], slots=0, shed=True)
    async with relaying(plan, protocol="http") as relay:
        reader, writer = await relay.connect()
        # A body that the relay never needs: closing on it unread would reset the answer away.
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"z" * 300_000)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
        assert {b"Retry-After: 5", b"Connection: close", b"Content-Length: %d" % len(body)} <= set(lines)
        await close_all([writer])
        await relay.stat_becomes("shed", 1)
        await relay.stat_becomes("open", 0)


async def test_a_refused_http_client_that_never_asks_is_closed_in_the_end() -> None:
    async with relaying(plan_of([refusing_endpoint()], slots=0, shed=True), protocol="http") as relay:
        reader, writer = await relay.connect()
        assert await reader.read() == b""
        await close_all([writer])
        await relay.stat_becomes("open", 0)


async def test_connections_max_makes_newcomers_wait() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), connections_max=2) as relay:
        clients = [await relay.connect() for _ in range(3)]
        await relay.stat_becomes("waiting", 1)
        await close_all([clients[0][1]])
        await relay.stat_becomes("waiting", 0)
        clients[2][1].write(b"x")
        assert await clients[2][0].readexactly(1) == b"x"
        await close_all([writer for _, writer in clients[1:]])


async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), idle_timeout_s=0.4) as relay:
        idle_reader, idle_writer = await relay.connect()
        busy_reader, busy_writer = await relay.connect()
        idle_end = asyncio.create_task(idle_reader.read())
        started_s = time.monotonic()
        while not idle_end.done():
            busy_writer.write(b"x")
            assert await busy_reader.readexactly(1) == b"x"
            await asyncio.sleep(0.05)
            assert time.monotonic() - started_s < 5
        assert time.monotonic() - started_s > 0.3
        assert await idle_end == b""
        await until(lambda: relay.stat("idle_closed"))
        await close_all([idle_writer, busy_writer])


async def test_ipv6_is_listened_on_and_connected_to() -> None:
    async with serving(host="::1") as endpoint, relaying(plan_of([endpoint]), host="::1") as relay:
        reader, writer = await relay.connect()
        writer.write(b"six")
        assert await reader.readexactly(3) == b"six"
        await until(lambda: relay.sink.opens)
        [connection] = relay.sink.opens
        assert connection.endpoint_id == endpoint
        assert connection.client.startswith("[::1]:")
        await close_all([writer])


async def test_the_any_address_of_ipv6_takes_ipv4_and_names_it_as_such() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), host="::") as relay:
        _, writer = await asyncio.open_connection("127.0.0.1", relay.address[1])
        await until(lambda: relay.sink.opens)
        assert relay.sink.opens[0].client.startswith("127.0.0.1:")
        await close_all([writer])


async def test_an_endpoint_named_by_host_name_is_resolved() -> None:
    async with serving() as endpoint:
        name = "localhost:" + endpoint.rpartition(":")[2]
        async with relaying(plan_of([name])) as relay:
            reader, writer = await relay.connect()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await until(lambda: relay.sink.opens)
            assert relay.sink.opens[0].endpoint_id == name
            await close_all([writer])


async def test_running_out_of_descriptors_costs_newcomers_only() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), queue_deadline_s=0.5) as relay:
        reader, writer = await relay.connect()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        [pid] = relay.pids
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, 20_000))
        crowd = [await relay.connect() for _ in range(8)]
        await until(lambda: relay.stat("descriptors_exhausted") >= 2)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        await close_all([writer for _, writer in crowd])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (20_000, 20_000))
        later_reader, later_writer = await relay.connect()
        later_writer.write(b"z")
        assert await later_reader.readexactly(1) == b"z"
        await close_all([writer, later_writer])


async def test_sigterm_drains_a_worker_and_a_new_one_takes_its_place() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        [old] = relay.pids
        os.kill(old, signal.SIGTERM)
        await until(lambda: [pid for pid in relay.pids if pid != old])
        new_reader, new_writer = await relay.connect()
        new_writer.write(b"z")
        assert await new_reader.readexactly(1) == b"z"
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        await close_all([writer, new_writer])
        await until(lambda: old not in relay.pids)


async def test_stop_lets_connections_finish_and_resets_those_that_do_not() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint])) as relay:
        finishing, lasting = await relay.connect(), await relay.connect()
        for reader, writer in (finishing, lasting):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        address = relay.address
        stopping = asyncio.create_task(relay.plane.stop(1.0))
        await until(lambda: cannot_connect(address))
        finishing[1].write(b"y")
        assert await finishing[0].readexactly(1) == b"y"
        await close_all([finishing[1]])
        with pytest.raises(ConnectionResetError):
            await lasting[0].read()
        await stopping
        assert not relay.sink.live
        await close_all([lasting[1]])


async def test_a_worker_that_is_killed_is_replaced_and_its_connections_are_reported_closed() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint])) as relay:
        reader, writer = await relay.connect()
        await until(lambda: relay.sink.live)
        [old] = relay.pids
        os.kill(old, signal.SIGKILL)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        await until(lambda: not relay.sink.live)
        new_reader, new_writer = await relay.connect()
        new_writer.write(b"z")
        assert await new_reader.readexactly(1) == b"z"
        assert relay.plane.worker_restarts == 1
        await close_all([writer, new_writer])


async def test_two_workers_share_one_listener() -> None:
    async with serving() as endpoint, relaying(plan_of([endpoint]), workers=2) as relay:
        clients = []
        async with asyncio.timeout(20):
            while len({connection.id[12:16] for connection in relay.sink.opens}) < 2:
                clients.append(await relay.connect())
        await close_all([writer for _, writer in clients])
        await relay.stat_becomes("open", 0)


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def cannot_connect(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) != 0
