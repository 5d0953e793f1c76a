"""What a cluster keeps over a restart of the control process, beside its connections.

Two blobs: what the balancer learned, and what operators said through the API (endpoints, drains, events). Neither is
worth failing a start for: an unusable one is dropped, counted and logged, and the cluster learns anew.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import structlog

from forestay.balancer import Balancer, BalancerSettings
from forestay.control.events import AnnouncedEvent
from forestay.model.endpoint import Endpoint

log = structlog.get_logger(__name__)

VERSION = 1


class BlobStore(Protocol):
    """Where blobs are kept. Calls return at once; a blob may be lost with the machine, never be half written."""

    def load_blob(self, key: str) -> bytes | None:
        """The blob last saved under `key`, or None."""

    def save_blob(self, key: str, data: bytes) -> None:
        """Replace the blob under `key`."""


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What operators said through the API.

    Attributes:
        endpoints: those added.
        draining: ids that take nothing new.
        events: announced ones.
    """

    endpoints: tuple[Endpoint, ...] = ()
    draining: tuple[str, ...] = ()
    events: tuple[AnnouncedEvent, ...] = ()

    def to_bytes(self) -> bytes:
        """As JSON, for a blob."""
        return json.dumps({"version": VERSION, **asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "OperatorState":
        """Read it back.

        Raises:
            ValueError: not made by `to_bytes` of this version.
        """
        document: Any = json.loads(data)
        try:
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']!r} is not {VERSION}")
            return cls(
                endpoints=tuple(Endpoint(**fields) for fields in document["endpoints"]),
                draining=tuple(str(endpoint_id) for endpoint_id in document["draining"]),
                events=tuple(AnnouncedEvent(**fields) for fields in document["events"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an operator state: {error!r}") from error


def balancer_key(cluster: str) -> str:
    """Key of the blob of what a cluster's balancer learned."""
    return f"balancer/{cluster}"


def operator_key(cluster: str) -> str:
    """Key of the blob of what operators said about a cluster."""
    return f"operator/{cluster}"


def restore_balancer(
    blobs: BlobStore, cluster: str, settings: BalancerSettings, seed: int, now_s: float
) -> tuple[Balancer, bool]:
    """A balancer with what the previous life of the process learned, or a fresh one.

    Returns:
        The balancer, and whether it remembers something.
    """
    data = blobs.load_blob(balancer_key(cluster))
    if data:
        try:
            return Balancer.restore(data, settings, seed, now_s), True
        except Exception as error:  # whatever is wrong with it: a bad snapshot must not prevent the start
            log.warning("snapshot_unusable", cluster=cluster, error=repr(error), fallback="learning anew")
    return Balancer(settings, seed), False


def load_operator_state(blobs: BlobStore, cluster: str) -> OperatorState:
    """What operators said before the restart; empty where that is unknown or unreadable."""
    data = blobs.load_blob(operator_key(cluster))
    if data:
        try:
            return OperatorState.from_bytes(data)
        except ValueError as error:
            log.warning("operator_state_unusable", cluster=cluster, error=str(error), fallback="forgotten")
    return OperatorState()
