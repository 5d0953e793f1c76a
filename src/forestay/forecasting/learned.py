"""What the learning parts have in common: arrays with an entry per endpoint that grow, and a state that can be kept."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from forestay.model.errors import InvalidInput

State = dict[str, npt.NDArray[Any]]


class Learned:
    """A part that learns.

    Class attributes:
        PER_ENDPOINT: names of arrays whose last axis is the endpoint, and what a new endpoint's entry is.
        LEARNED: names of everything that a restart should not forget: arrays, numbers, parts; not what waits for its
            outcome, nor what depends on the phase of the clock.
    """

    PER_ENDPOINT: ClassVar[Mapping[str, float]] = {}
    LEARNED: ClassVar[Sequence[str]] = ()

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoints."""
        for name, fill in self.PER_ENDPOINT.items():
            array = getattr(self, name)
            more = np.full((*array.shape[:-1], endpoints - array.shape[-1]), fill, array.dtype)
            setattr(self, name, np.concatenate([array, more], axis=-1))

    def state(self, slots: npt.NDArray[np.int64]) -> State:
        """What was learned, of these endpoints only."""
        state: State = {}
        for name in self.LEARNED:
            value = getattr(self, name)
            if isinstance(value, Learned):
                state |= {f"{name}.{inner}": array for inner, array in value.state(slots).items()}
            else:
                state[name] = value[..., slots] if name in self.PER_ENDPOINT else np.asarray(value)
        return state

    def adopt(self, state: State, prefix: str = "") -> None:
        """Take over a state whose endpoints have the slots 0, 1, 2 ... here.

        Raises:
            InvalidInput: if something is missing or has another shape.
        """
        for name in self.LEARNED:
            value, path = getattr(self, name), prefix + name
            if isinstance(value, Learned):
                value.adopt(state, path + ".")
                continue
            kept = state.get(path)
            if kept is None:
                raise InvalidInput(f"snapshot lacks {path}: it is of another version; start without it")
            if name in self.PER_ENDPOINT:
                kept, value = np.array(kept), value.copy()
                if kept.shape[:-1] != value.shape[:-1] or kept.shape[-1] > value.shape[-1]:
                    raise InvalidInput(f"snapshot has {path} of shape {kept.shape}: start without it")
                value[..., : kept.shape[-1]] = kept
                setattr(self, name, value)
            elif kept.shape != np.shape(value):
                raise InvalidInput(
                    f"snapshot has {path} of shape {kept.shape}, not {np.shape(value)}: start without it"
                )
            else:
                setattr(self, name, np.array(kept) if isinstance(value, np.ndarray) else type(value)(kept))
