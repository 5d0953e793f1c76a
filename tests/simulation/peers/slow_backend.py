"""Finagle's slow server: eleven backends, 1,000 requests a second for a minute, one backend at 2 s for half of it.

Source: linkerd.io, "Beyond round robin: load balancing for latency", 2016: success within a timeout of 1 s is some 95 %
by round robin, 99 % by least loaded, 99.9 % by peak EWMA.
"""

import heapq
import random

from forestay.simulation.peers.peak_ewma import PeakEwma
from forestay.simulation.policy import Policy

BACKENDS = 11
RATE_PER_S = 1000
LENGTH_S = 60.0
MEDIAN_S = 0.167
SLOW_S = 2.0
TIMEOUT_S = 1.0


def success_rate(policy: Policy, seed: int = 1) -> float:
    """Part of the requests that are answered within the timeout."""
    draws = random.Random(seed)
    for backend in range(BACKENDS):
        policy.add_endpoint(f"backend-{backend}", 0.0)
    answers: list[tuple[float, str, str, float]] = []
    succeeded = 0
    requests = int(LENGTH_S * RATE_PER_S)
    for number in range(requests):
        now_s = number / RATE_PER_S
        while answers and answers[0][0] <= now_s:
            at_s, request, backend_id, latency_s = heapq.heappop(answers)
            policy.closed(request, at_s)
            if isinstance(policy, PeakEwma):
                policy.observe(backend_id, latency_s, at_s)
        backend_id = policy.place(str(number), now_s).endpoint_id
        policy.opened(str(number), backend_id, now_s)
        latency_s = draws.lognormvariate(0.0, 0.3) * MEDIAN_S
        if backend_id == "backend-0" and LENGTH_S / 4 <= now_s < LENGTH_S * 3 / 4:
            latency_s = SLOW_S
        succeeded += latency_s <= TIMEOUT_S
        heapq.heappush(answers, (now_s + latency_s, str(number), backend_id, latency_s))
    return succeeded / requests
