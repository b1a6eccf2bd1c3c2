"""The patterns that a dual point asks for among all half-spaces: found, and, where few, proved."""

from dataclasses import dataclass

import numpy as np

from cvxnn.gates.arrangement import Arrangement
from cvxnn.gates.base import Floats, Gates
from cvxnn.gates.borders import reached_masks
from cvxnn.gates.planes import most as most_of_planes
from cvxnn.gates.turning import turned, worth

MOST_CIRCLES = 1500
"""Hyperplanes of rank 3 up to which all of their circles are searched."""


@dataclass(frozen=True, eq=False)
class Search:
    """The search for half-spaces of features (n, d), with what is known of their arrangement.

    >>> from cvxnn.gates import Faces
    >>> X = np.column_stack([np.arange(4.0), np.ones(4)])
    >>> search = Faces().search(X)
    >>> search.most(np.array([[1.0], [-2.0], [3.0], [1.0]]))
    4.0
    """

    features: Floats
    """(n, d)."""
    both: bool
    """Whether columns are 2 d - 1, those of neurons of two signs."""
    every: Gates | None = None
    """Every pattern, where they are few."""
    planes: Arrangement | None = None
    """The hyperplanes, where circles in them meet every pattern."""
    shattered: bool = False
    """Whether samples are independent, so that every 0/1 column is a pattern."""

    def wanted(
        self,
        dual: Floats,
        rng: np.random.Generator,
        near: Floats | None = None,
        starts: int = 64,
        circles: int = 100,
    ) -> Gates:
        """Return half-spaces worth much to a dual point (n, c), the best first.

        `near` (m, d), `starts` and `circles` are those of `turned`, which searches where patterns
        are too many to go through.
        """
        zero = np.zeros((1, self.features.shape[1]))  # the half-space of every sample
        if self.every is not None:
            gates = self.every
        elif self.planes is not None:
            points = most_of_planes(self.planes, dual, both=self.both)[1]
            gates = self._gates(np.concatenate([points @ self.planes.lift.T, zero]))
        else:
            vectors, _ = turned(
                self.features, dual, rng, both=self.both, near=near, starts=starts, circles=circles
            )
            gates = self._gates(np.concatenate([vectors, zero]))
        return gates.take(np.argsort(-self.worth(gates, dual), kind="stable"))

    def worth(self, gates: Gates, dual: Floats) -> Floats:
        """Return what gates (p,) are worth to a dual point (n, c): |d'v|, or |(2 d - 1)'v|."""
        return worth(gates.masks @ dual, dual.sum(axis=0), self.both)

    def most(self, dual: Floats) -> float | None:
        """Return the largest worth of all half-spaces, proved; None where that is not known."""
        if self.every is not None:
            return float(self.worth(self.every, dual).max(initial=0.0))
        if self.planes is not None:
            total = dual.sum(axis=0)
            values, _ = most_of_planes(self.planes, dual, both=self.both)
            return max(float(values.max()), float(worth(total[None], total, self.both)[0]))
        if self.shattered and dual.shape[1] == 1:
            return self._most_of_all(dual[:, 0])
        return None

    def _most_of_all(self, dual: Floats) -> float:
        """Return the largest worth (n,) of all 0/1 columns."""
        ends, total = (dual[dual < 0].sum(), dual[dual > 0].sum()), dual.sum()
        return float(max(abs(2 * end - total if self.both else end) for end in ends))

    def _gates(self, generators: Floats) -> Gates:
        return Gates(generators, reached_masks(generators, self.features))
