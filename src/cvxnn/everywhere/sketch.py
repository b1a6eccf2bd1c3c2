"""Networks good enough to compare strengths by: a few descents, a few new neurons, no proof."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.everywhere.grow import enlarge, null_neurons, pack, unpack
from cvxnn.everywhere.merge import merge
from cvxnn.everywhere.neurons import Neurons, Training
from cvxnn.everywhere.price import price
from cvxnn.everywhere.slide import slide
from cvxnn.program import Iterate

_WORTH = 0.02
"""Excess of a price over alpha that is worth a neuron."""
_KEPT = 1e-3
"""Size of a neuron, as a share of the largest, below which it is left out."""


class State(NamedTuple):
    """Where the sketch is."""

    neurons: Neurons
    rounds: int


@dataclass(frozen=True)
class Sketch:
    """Growth for the validation of strengths, where a per cent of the objective does not matter.

    A round adds the neurons that a short pricing finds and descends on all of them by L-BFGS. On a
    path every strength starts from the network before it.
    """

    rounds: int = 1
    """Rounds a strength."""
    add: int = 20
    """Neurons added in a round, at most."""
    starts: int = 32
    climb: int = 10
    """Steps of pricing."""
    descend: int = 30
    """Steps of descent."""
    seed: int = 0

    name = "sketch"
    period = 1000
    copies = (4, 2)
    heuristic = True

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: `memory.of_growth` counts what growth holds."""
        return 0

    def why_not(self, training: Training) -> str | None:
        """Return None: whoever sketches has asked growth already."""
        return None

    def init(self, training: Training, start: Iterate | None) -> State:
        """Return the neurons of a start, or none."""
        if start is None or not start.blocks.shape[0]:
            return State(null_neurons(training), 0)
        return State(unpack(training, start), 0)

    def step(self, training: Training, state: State) -> State:
        """Return the state after a round."""
        rng = np.random.default_rng([self.seed, state.rounds])
        neurons = state.neurons
        found = price(
            training.single,
            training.pulls(training.dual(neurons)).astype(np.float32),
            rng,
            starts=self.starts,
            steps=self.climb,
            whitening=training.whitening,
        )
        neurons = enlarge(training, neurons, found, self.add, _WORTH)
        neurons = slide(training, neurons, self.descend)
        sizes = neurons.sizes
        neurons = merge(training, neurons.keep(sizes > _KEPT * sizes.max(initial=0.0)))
        return State(neurons, state.rounds + 1)

    def read(self, training: Training, state: State) -> Iterate:
        """Return the neurons."""
        return pack(training, state.neurons)

    def done(self, state: State) -> bool:
        """Tell whether all rounds are over."""
        return state.rounds >= self.rounds
