"""What a balancer knows, as bytes: what it learned, its endpoints, open connections and announced events.

The bytes are a numpy archive without pickles behind its digest: readers of archives answer damage with a dozen kinds of
errors, or not at all. Moments are kept relative to the time of the snapshot: clocks of two lives of a process have
nothing in common.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import numpy as np

from forestay.balancer.roster import Roster
from forestay.forecasting.forecaster import Forecaster
from forestay.forecasting.learned import State
from forestay.model.errors import InvalidInput
from forestay.model.event import Event

MAGIC = b"forestay snapshot 3\n"
"""Ends in the version of the format."""
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class KeptEndpoint:
    """One endpoint as it was declared."""

    id: str
    zone: str
    capacity: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The parts of a snapshot; times are seconds before (negative) or after the moment it was taken.

    Attributes:
        endpoints: in the order of the states' endpoint axis.
        connections: ids of the open connections, oldest first.
        owners: index into `endpoints` of each, shape (connections,).
        opened_s: when each opened, shape (connections,).
        kinds: hint by kind.
        kind_of: kind of each connection, shape (connections,).
        excess: what each was found to cost beyond its kind's mean, over that mean, shape (connections,).
        doubt: that is left about it, shape (connections,).
        events: announced events.
        learned: state of the forecaster.
        roster: state of the roster, its times included.
    """

    endpoints: tuple[KeptEndpoint, ...]
    connections: tuple[str, ...]
    owners: np.typing.NDArray[np.int64]
    opened_s: np.typing.NDArray[np.float64]
    kinds: tuple[str, ...]
    kind_of: np.typing.NDArray[np.int64]
    excess: np.typing.NDArray[np.float64]
    doubt: np.typing.NDArray[np.float64]
    events: tuple[Event, ...]
    learned: State
    roster: State

    def pack(self) -> bytes:
        """To bytes."""
        header = {
            "endpoints": [astuple(endpoint) for endpoint in self.endpoints],
            "connections": self.connections,
            "kinds": self.kinds,
            "events": [astuple(event) for event in self.events],
        }
        arrays: State = {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            "owners": self.owners,
            "opened_s": self.opened_s,
            "kind_of": self.kind_of,
            "excess": self.excess,
            "doubt": self.doubt,
            **{f"learned/{name}": array for name, array in self.learned.items()},
            **{f"roster/{name}": array for name, array in self.roster.items()},
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        archive = buffer.getvalue()
        return MAGIC + _digest(archive) + archive

    @classmethod
    def unpack(cls, data: bytes) -> "Snapshot":
        """From bytes.

        Raises:
            InvalidInput: if they are damaged or of another version.
        """
        if not data.startswith(MAGIC):
            raise InvalidInput("snapshot is of another version, or none at all: start without it")
        digest, archive = data[len(MAGIC) :][:DIGEST_BYTES], data[len(MAGIC) + DIGEST_BYTES :]
        if digest != _digest(archive):
            raise InvalidInput("snapshot is damaged: start without it")
        with np.load(io.BytesIO(archive), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        header = json.loads(arrays.pop("header").tobytes())
        return cls(
            endpoints=tuple(KeptEndpoint(*fields) for fields in header["endpoints"]),
            connections=tuple(header["connections"]),
            owners=arrays.pop("owners"),
            opened_s=arrays.pop("opened_s"),
            kinds=tuple(header["kinds"]),
            kind_of=arrays.pop("kind_of"),
            excess=arrays.pop("excess"),
            doubt=arrays.pop("doubt"),
            events=tuple(Event(*fields) for fields in header["events"]),
            learned=_below("learned/", arrays),
            roster=_below("roster/", arrays),
        )


def take(roster: Roster, forecaster: Forecaster, names: Mapping[int, str], now_s: float) -> Snapshot:
    """The snapshot of this moment; `names` are the open connections' ids by their slot in the population."""
    slots = roster.slots()
    index = np.zeros(roster.size, np.int64)
    index[slots] = np.arange(len(slots))
    population, declared = forecaster.population, forecaster.cost.declared
    connections = population.in_order()
    return Snapshot(
        endpoints=tuple(KeptEndpoint(roster.ids[i], roster.zones[i], declared(i)) for i in slots.tolist()),
        connections=tuple(map(names.__getitem__, connections.tolist())),
        owners=index[population.owners(connections)],
        opened_s=population.opened_at(connections) - now_s,
        kinds=tuple(forecaster.kinds.names),
        kind_of=population.kinds(connections),
        excess=population.excesses(connections),
        doubt=population.doubts(connections),
        events=tuple(
            replace(event, starts_s=event.starts_s - now_s, ends_s=event.ends_s - now_s)
            for event in forecaster.arrivals.events
        ),
        learned=forecaster.state(slots),
        roster=roster.state(slots) | {"at_s": roster.at_s[slots] - now_s},
    )


def _digest(archive: bytes) -> bytes:
    return hashlib.blake2b(archive, digest_size=DIGEST_BYTES).digest()


def _below(prefix: str, arrays: State) -> State:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
