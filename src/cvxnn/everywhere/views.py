"""Directions from which the dual point of several outputs is looked at, one output each.

|V'q| is the maximum of q'V g over unit g, and what a neuron attains of V g bounds it: by the root
of the sum of squares over a basis, and where V has rank two by the largest over a fan of
directions, over the cosine of half the angle between neighbours.
"""

from typing import NamedTuple

import numpy as np

from cvxnn.everywhere.neurons import Floats

FAN = 8
"""Directions in a half-circle: the bound is looser by 2 %."""
_RANK, _LEFT = 1e-9, 1e-6
"""Share of the largest singular value, and length of what is new in an output, below which there is
nothing."""


class Views(NamedTuple):
    """Unit directions of the outputs, and how bounds over them are put together."""

    directions: Floats
    """(m, c)."""
    flat: bool
    """Whether they are a fan in a plane, not a basis."""

    def joined(self, bounds: Floats) -> float:
        """Return what bounds (m,) on every view, of both signs, say of all directions."""
        if self.flat:
            return float(np.max(bounds) / np.cos(np.pi / (2 * len(self.directions))))
        return float(np.linalg.norm(bounds))

    def missed(self, features: Floats, dual: Floats) -> float:
        """Return what rows (n, d) attain at most of the part of the dual point in no view."""
        seen = np.linalg.pinv(self.directions) @ self.directions
        rest = np.linalg.norm(dual - dual @ seen, axis=1) @ np.linalg.norm(features, axis=1)
        return float(rest)


def views(dual: Floats) -> Views:
    """Return the views of a dual point (n, c): the outputs themselves where its rank is c > 2.

    A basis of the row space else, of what each output adds to those before it: equal for any
    multiple of the point, whatever the rounding.

    >>> views(np.array([[1.0, -1.0], [2.0, -2.0]])).directions.round(4)
    array([[ 0.7071, -0.7071]])
    """
    c = dual.shape[1]
    units = dual / (np.abs(dual).max(initial=0.0) or 1.0)
    _, sizes, turn = np.linalg.svd(units, full_matrices=False)
    rank = max(int((sizes > _RANK * sizes.max(initial=0.0)).sum()), 1)
    if rank == c and c != 2:
        return Views(np.eye(c), False)
    space = turn[:rank].T @ turn[:rank]
    basis = np.zeros((0, c))
    for unit in space:
        new = unit - basis.T @ (basis @ unit)
        length = float(np.linalg.norm(new))
        if length > _LEFT and len(basis) < rank:
            basis = np.concatenate([basis, new[None] / length])
    if len(basis) != 2:
        return Views(basis, False)
    angles = np.arange(FAN) * np.pi / FAN
    return Views(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis, True)
