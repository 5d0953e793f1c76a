"""How many connections a second one client may open through a listener, whichever worker accepts them.

A token bucket per client in memory that the workers of a listener share: one word says when the client's bucket will
be full again (the generic cell rate algorithm, ITU-T I.371). So a bucket needs no lock: where two workers write at the
same moment one of them is forgotten, and the client has one connection more. There is no list of clients either. Each
has a word in either of two rows, by two hashes of its key, and the fuller bucket counts (a count-min sketch): a client
is refused for another's sake only where both its words are shared with clients over their rate. The file is sparse and
outlives its workers.
"""

import hashlib
import mmap
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from forestay.dataplanes.relay.counters import Counters
from forestay.dataplanes.relay.flow import Flow, Flows

WORDS = 1 << 18
"""Per row, 4 MiB in all: with 10,000 clients over their rate at once, one in 700 others would be refused with them."""
_NS = 1_000_000_000
_HASHES = struct.Struct("<II")


def client_key(host: str) -> str:
    """Who a client is, by its numeric address: an IPv4 address, or the /64 network of an IPv6 one."""
    if ":" not in host:
        return host
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8].hex()


class ClientRates:
    """See the module.

    Args:
        path: of the file; made where it is not there.
        rate_per_s: connections a second, > 0.
        burst: connections at once before the rate counts, >= 1.
    """

    def __init__(self, path: Path, rate_per_s: float, burst: int) -> None:
        size = 2 * WORDS * 8
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._full_at_ns = memoryview(mmap.mmap(descriptor, size)).cast("q")
        finally:
            os.close(descriptor)
        self._every_ns = max(int(_NS / rate_per_s), 1)
        self._ahead_ns = self._every_ns * (burst - 1)

    def take(self, client: str, now_s: float) -> bool:
        """Take a token; False where the client has none left.

        Args:
            client: its key.
            now_s: monotonic time, which all processes of a machine share.
        """
        now_ns = int(now_s * _NS)
        first, second = _HASHES.unpack(hashlib.blake2b(client.encode(), digest_size=8).digest())
        words, one, other = self._full_at_ns, first % WORDS, WORDS + second % WORDS
        for word in (one, other):
            if words[word] - now_ns > self._ahead_ns + self._every_ns:
                words[word] = 0  # of a time before the machine's restart, or of a lower rate
        full_at_ns = min(words[one], words[other])
        if full_at_ns - now_ns > self._ahead_ns:
            return False
        full_at_ns = max(full_at_ns, now_ns) + self._every_ns
        words[one], words[other] = max(words[one], full_at_ns), max(words[other], full_at_ns)
        return True


class ClientGate:
    """Lets in those who are within their rate.

    Args:
        refuse: ends the others.
        on_flow: takes those who are let in.
    """

    def __init__(
        self,
        rates: ClientRates,
        flows: Flows,
        counters: Counters,
        refuse: Callable[[Flow], None],
        on_flow: Callable[[Flow], None],
    ) -> None:
        self._rates, self._flows, self._counters = rates, flows, counters
        self._refuse, self._on_flow = refuse, on_flow

    def greet(self, flow: Flow) -> None:
        """Look at one that was just accepted, and whose address is known."""
        if self._rates.take(client_key(flow.client_address[0]), self._flows.now_s):
            self._on_flow(flow)
            return
        self._counters.client_rate += 1
        self._refuse(flow)
