"""Mitzenmacher's model of stale information: queues whose lengths are posted on a board once every `period`.

n servers with exponential service of mean 1, Poisson arrivals at rate n x load, first come first served; a policy sees
the lengths as of the last posting and nothing else.
"""

import random
from collections import deque

from forestay.model.load import LoadReport
from forestay.simulation.policy import Policy


def mean_response(
    policy: Policy, period: float, duration: float, servers: int = 100, load: float = 0.9, seed: int = 1
) -> float:
    """Mean time in the system, in service times, of those that arrive after the first fifth of `duration`."""
    draws = random.Random(seed)
    names = [f"server-{index}" for index in range(servers)]
    index = {name: i for i, name in enumerate(names)}
    for name in names:
        policy.add_endpoint(name, 0.0)
    leaves: list[deque[float]] = [deque() for _ in names]
    now = total = 0.0
    posted = number = counted = 0
    while now < duration:
        now += draws.expovariate(servers * load)
        while posted * period <= now:
            at = posted * period
            posted += 1
            for name, queue in zip(names, leaves, strict=True):
                while queue and queue[0] <= at:
                    queue.popleft()
                policy.report(LoadReport(name, at, load=float(len(queue))), at)
            policy.tick(at)
        number += 1
        verdict = policy.place(str(number), now)
        queue = leaves[index[verdict.endpoint_id]]
        start = max(now, queue[-1]) if queue else now
        queue.append(start + draws.expovariate(1.0))
        if now > duration / 5:
            total += queue[-1] - now
            counted += 1
    return total / counted
