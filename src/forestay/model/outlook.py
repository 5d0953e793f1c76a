"""What forecasting hands to placement."""

from dataclasses import dataclass

from forestay.model.plan import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """One tick's forecast; H horizons, n endpoints.

    Attributes:
        present: load of present connections and background, arrivals left out, shape (H, n).
        sure: `present` as far as it is sure, shape (H, n): near the last report while connections' cost is a guess.
        expected: expected reports, shape (H, n).
        spread: scale of the expected reports' error, shape (H, n).
        errors: quantiles of that error over `spread`, shape (H, levels).
        newcomers: load of one connection accepted now, at scale 1, by its kind, shape (kinds, H); kind 0 is one about
            which nothing is known.
        handshake: the part of each `newcomers[:, 0]` that is its accept: load-seconds, over well within a second.
        sure_newcomer: the part of kind 0's that is sure, shape (H,); limits are drawn by the sure parts, lest a guess
            refuses anybody.
        arriving: load of all coming connections together at scale 1, shape (H,).
        scale: one over capacity, shape (n,).
        skilful: False where the forecast has lately been much worse than the last reports: `present` is flat then.
        remaining: load of one connection of each kind and age at scale 1, shape (kinds, H, ages).
        pickers: placements of all pickers for each of this one, >= 1.
    """

    present: FloatArray
    sure: FloatArray
    expected: FloatArray
    spread: FloatArray
    errors: FloatArray
    newcomers: FloatArray
    handshake: float
    sure_newcomer: FloatArray
    arriving: FloatArray
    scale: FloatArray
    skilful: bool
    remaining: FloatArray
    pickers: float = 1.0

    @property
    def newcomer(self) -> FloatArray:
        """Load of a connection about which nothing is known, accepted now, at scale 1, shape (H,)."""
        newcomer: FloatArray = self.newcomers[0]
        return newcomer
