"""What a closed flow leaves behind. The data path itself is tested through real workers."""

import gc
import select
import socket
from pathlib import Path

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import NONBLOCKING, WATCH, Flow, Flows, RawSocket
from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.pump import Pump
from forestay.dataplanes.relay.shared_table import SharedTable, Target


def connected() -> tuple[socket.socket, RawSocket]:
    """Two ends; the second as a worker has it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outer = socket.create_connection(listener.getsockname())
        inner, _ = listener.accept()
        return outer, RawSocket(socket.AF_INET, NONBLOCKING, 0, inner.detach())


def test_a_closed_flow_leaves_no_cycles_for_the_collector_that_is_off(tmp_path: Path) -> None:
    epoll, counters = select.epoll(), Counters()
    picker = Picker(SharedTable.create(tmp_path / "chat.table.1"), column=1)
    flows = Flows(epoll, picker, counters)
    pump = Pump(flows, counters)
    target = Target("127.0.0.1:80", "127.0.0.1", 80)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            (client, client_inner), (server, server_inner) = connected(), connected()
            flow = Flow("id", client_inner, ("127.0.0.1", 1), 0.0)
            counters.open += 1
            side = flows.connecting(flow, server_inner, 0, target)
            flow.client.forward, side.forward = server_inner.send, client_inner.send
            flow.client.live = side.live = True
            for each in (flow.client, side):
                flows.watch(each, WATCH, None)
            client.sendall(b"hello")
            pump.read(flow.client)
            assert server.recv(5) == b"hello"
            flows.close(flow)
            flows.bury()
            client.close()
            server.close()
            del flow, side, each, client_inner, server_inner
        assert gc.collect() == 0
    finally:
        gc.enable()
        epoll.close()
    assert (counters.open, flows.connected, flows.sides) == (0, 0, {})
