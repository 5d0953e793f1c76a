"""What a connection of a known kind costs where the table prices one about which nothing is known.

The planner keeps its endpoints in the order of the latter. A kind that lives or costs otherwise is priced anew on the
cheapest few of them: whoever is cheapest for it is among those, or hardly dearer.
"""

from collections.abc import Sequence
from math import exp, sqrt
from operator import add, mul

from forestay.model.outlook import Outlook
from forestay.model.plan import Table
from forestay.placement.fitness import KAPPA, LOAD_CAP, MIDDLE, horizon_weights


class KindPrices:
    """Prices of kinds until the next table.

    Args:
        table: of the moment.
        outlook: what it was made from.
    """

    CANDIDATES = 8
    """Endpoints that are priced anew for a connection of a known kind: some 20 us."""

    def __init__(self, table: Table, outlook: Outlook) -> None:
        self._kinds = [_KindPrice(table, outlook, kind) for kind in range(1, len(outlook.newcomers))]

    def __contains__(self, kind: int) -> bool:
        return 0 < kind <= len(self._kinds)

    def cheapest(self, kind: int, slots: Sequence[int], rows: Sequence[Sequence[float]]) -> int:
        """The slot that a connection of this kind costs least; `rows` as of `Planner.row`."""
        price = self._kinds[kind - 1].price
        return min(zip(map(price, slots, rows), range(len(slots)), slots, strict=True))[2]

    def correction(self, kind: int, slot: int) -> tuple[Sequence[float], int]:
        """Factors of the squared price beyond those of a placement of kind 0, and slots it takes beyond one."""
        return self._kinds[kind - 1].correction(slot)


class _KindPrice:
    """One kind."""

    def __init__(self, table: Table, outlook: Outlook, kind: int) -> None:
        kind_0, mine = outlook.newcomers[0], outlook.newcomers[kind]
        squares = horizon_weights(mine) ** 2
        self._reweigh: list[float] = (squares / table.weight**2).tolist()
        self._level: list[float] = (table.level * squares).tolist()
        self._more: list[float] = (2 * KAPPA * (mine - kind_0)).tolist()
        self._slots = max(round(float(mine.max() / max(kind_0.max(), 1e-12))) - 1, 0)
        self._scale = outlook.scale
        self._factors: dict[int, tuple[Sequence[float], Sequence[float]]] = {}  # by slot: of its price, of its rise

    def price(self, slot: int, row: Sequence[float]) -> float:
        """Price of one of this kind on `slot`."""
        cost: float = sum(map(sqrt, map(add, map(mul, row, self._of(slot)[0]), self._level)))
        return cost

    def correction(self, slot: int) -> tuple[Sequence[float], int]:
        return self._of(slot)[1], self._slots

    def _of(self, slot: int) -> tuple[Sequence[float], Sequence[float]]:
        factors = self._factors.get(slot)
        if factors is None:
            scale = float(self._scale[slot])
            most = 2 * KAPPA * LOAD_CAP
            more = [min(scale * load, most) for load in self._more]
            middle = [exp(MIDDLE * steps) * weight for steps, weight in zip(more, self._reweigh, strict=True)]
            factors = self._factors[slot] = (middle, [exp(steps) for steps in more])
        return factors
