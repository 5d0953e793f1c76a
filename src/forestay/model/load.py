"""What an endpoint says about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One load report of one endpoint, over the second (or reporting interval) that ended at `at_s`.

    Load and its parts are fractions of what the endpoint can do: 0 idle, 1 full; above 1 is legal (a backlog).

    Attributes:
        endpoint_id: as given to `Balancer.add_endpoint`.
        at_s: end of the measured window, seconds on the clock that `now_s` is on.
        load: mean load over the window; None: derived as the larger of `cpu` and `network`.
        cpu: CPU use over the endpoint's quota.
        memory: memory in use over the limit. A guard (not eligible over `memory_max`), never part of load.
        network: traffic over link speed, the busier direction; None where the speed is not known.
        requests_per_s: requests (messages) handled a second.
        request_bytes: mean request size, bytes.
        processing_s: mean time to handle one request, seconds.
        open_connections: as the endpoint counts them.
    """

    endpoint_id: str
    at_s: float
    load: float | None = None
    cpu: float | None = None
    memory: float | None = None
    network: float | None = None
    requests_per_s: float | None = None
    request_bytes: float | None = None
    processing_s: float | None = None
    open_connections: int | None = None

    @property
    def stated_load(self) -> float | None:
        """`load`, else the larger of `cpu` and `network`; None: neither is known."""
        if self.load is not None:
            return self.load
        return max((part for part in (self.cpu, self.network) if part is not None), default=None)
