"""A few minutes of random events, and a digest of everything that a balancer answered.

python -m tests.balancer.script SEED
"""

import hashlib
import random
import sys

from forestay import Balancer, BalancerSettings, Event, LoadReport

SECONDS = 60
EVENTS_PER_S = 40


def digest(seed: int) -> str:
    """The same for the same seed, whatever the process."""
    rng = random.Random(seed)
    balancer = Balancer(BalancerSettings(queue_max=50, client_rate_per_s=5.0), seed=seed)
    answers = hashlib.sha256()
    endpoints = [f"10.0.0.{number}:80" for number in range(20)]
    for endpoint_id in endpoints:
        balancer.add_endpoint(endpoint_id, 0.0, zone=rng.choice(["east", "west"]))
    balancer.announce(Event("launch", 20.0, 40.0, arrival_factor=3.0), 0.0)
    named, live = 0, list[str]()
    for second in range(1, SECONDS):
        for step in range(EVENTS_PER_S):
            now_s = second + step / EVENTS_PER_S
            action = rng.random()
            if action < 0.6:
                named += 1
                exclude = set(rng.sample(endpoints, 3)) if action < 0.1 else set()  # in an order that hashing decides
                zone, prefer = rng.choice(["", "east"]), rng.choice([None, *endpoints])
                client = rng.choice(["", "eager"])
                connection_id = f"conn-{named}"
                verdict = balancer.place(connection_id, now_s, zone=zone, prefer=prefer, client=client, exclude=exclude)
                answers.update(repr(verdict).encode())
                if verdict.kind == "admit":
                    balancer.opened(connection_id, verdict.endpoint_id, now_s)
                    live.append(connection_id)
            elif action < 0.9 and live:
                balancer.closed(live.pop(rng.randrange(len(live))), now_s)
            elif action < 0.93:
                balancer.failed(f"conn-{named}", rng.choice(endpoints), now_s)
            elif action < 0.96:
                balancer.set_health(rng.choice(endpoints), rng.random() < 0.7, now_s)
        for endpoint_id in endpoints:
            balancer.report(LoadReport(endpoint_id, at_s=second + 0.9, load=rng.uniform(0.2, 0.9)), second + 0.95)
        plan = balancer.tick(second + 1.0)
        answers.update(repr((balancer.poll(second + 1.0), plan.pool, plan.weights, plan.moves)).encode())
        answers.update(plan.table.price.tobytes() + plan.forecast.mean.tobytes())
    answers.update(balancer.snapshot())
    return answers.hexdigest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
