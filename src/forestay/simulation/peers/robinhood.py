"""Weights from one PID controller per endpoint, which hold every endpoint at the mean utilisation.

Source: Dropbox Robinhood (dropbox.tech, "What's new with Robinhood, our in-house load balancing service", 2024): the
setpoint is the service's average utilisation, the controller's output is the change of the endpoint's weight, weights
are normalised, clients do weighted round robin. A controller whose output is a change is one in velocity form. Gains
are not published; these did best over short and long connections, with and without background.
"""

from collections.abc import Sequence

from forestay.model.load import LoadReport
from forestay.simulation.peers.deadlines import Deadlines
from forestay.simulation.peers.peer import Peer

PROPORTIONAL = 0.6
INTEGRAL = 0.05
"""A derivative gain only made more of the reports' noise, so there is none."""
WEIGHT_MIN, WEIGHT_MAX = 0.05, 20.0
"""Of the mean."""


class Robinhood(Peer):
    """See the module."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._weight: list[float] = []
        self._error: list[float | None] = []
        self._fresh: set[int] = set()
        self._turns = Deadlines(self.random)

    def began(self, slot: int, now_s: float) -> None:
        """Begin with the mean weight, which is 1; an endpoint that comes back keeps what it had."""
        if slot == len(self._weight):
            self._weight.append(1.0)
            self._error.append(None)
        self._error[slot] = None

    def changed(self, now_s: float) -> None:
        """Others take part."""
        self._schedule()

    def heard(self, slot: int, report: LoadReport, now_s: float) -> None:
        """The controller moves with new information only."""
        self._fresh.add(slot)

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """One step of every controller."""
        known = [slot for slot in self.up if self.reported_s[slot] >= 0]
        if not known:
            return None
        setpoint = sum(self.load[slot] for slot in known) / len(known)
        for slot in known:
            if slot in self._fresh:
                self._control(slot, (setpoint - self.load[slot]) / max(setpoint, 0.05))
        self._fresh.clear()
        self._schedule()
        return None

    def weights(self) -> list[float]:
        """By slot, mean 1."""
        return list(self._weight)

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """Whose turn it is."""
        return self._turns.next(candidates if candidates is not self.up else ())

    def _control(self, slot: int, error: float) -> None:
        """`error`: relative, positive where the endpoint could do more."""
        last = self._error[slot]
        self._error[slot] = error
        change = INTEGRAL * error + (PROPORTIONAL * (error - last) if last is not None else 0.0)
        self._weight[slot] = min(max(self._weight[slot] * (1.0 + change), WEIGHT_MIN), WEIGHT_MAX)

    def _schedule(self) -> None:
        mean = sum(self._weight) / len(self._weight)  # of all, those included that may come back
        self._weight = [weight / mean for weight in self._weight]
        self._turns.schedule({slot: self._weight[slot] for slot in self.up})
