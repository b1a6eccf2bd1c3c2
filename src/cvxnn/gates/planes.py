"""The half-space that a dual point wants most, exactly, where features have rank 3 at most."""

from itertools import pairwise

import numpy as np

from cvxnn.gates.arrangement import Arrangement
from cvxnn.gates.base import Floats
from cvxnn.gates.turning import best_arc, sweep, worth

RANK = 3
"""The largest rank that is searched exactly: n circles of n samples each."""
_CELLS = 2**20
"""Entries of the largest temporary."""


def most(arrangement: Arrangement, dual: Floats, *, both: bool = False) -> tuple[Floats, Floats]:
    """Return the best cell next to every circle of an arrangement of rank 1 to 3.

    What a cell is worth to a dual point (n, c), as in `turned`, and a point (r,) inside each, (k,)
    and (k, r). The largest is that of all cells: in rank 2 they are the arcs of one circle, and in
    rank 3 every cell has an edge on the circle of some hyperplane, and is on either side of that.
    Cells that a turn of 1e-9 destroys are left out, and so are patterns that only borders have.

    >>> from cvxnn.gates.arrangement import arrange
    >>> X = np.column_stack([np.arange(4.0), np.ones(4)])
    >>> values, _ = most(arrange(X), np.array([[1.0], [-2.0], [3.0], [1.0]]))
    >>> float(values.max())
    4.0
    """
    normals, owner = arrangement.normals, arrangement.owner
    count, rank = normals.shape
    if not 1 <= rank <= RANK:
        raise ValueError(f"the features have rank {rank}; expected 1 to {RANK}")
    plus, minus = np.zeros((2, count, dual.shape[1]))
    held = owner >= 0
    np.add.at(plus, owner[held & arrangement.along], dual[held & arrangement.along])
    np.add.at(minus, owner[held & ~arrangement.along], dual[held & ~arrangement.along])
    fixed, total = dual[~held].sum(axis=0), dual.sum(axis=0)
    if rank == 1:
        return worth(fixed + np.concatenate([plus, minus]), total, both), np.array([[1.0], [-1.0]])
    if rank == 2:
        return _best(normals, np.eye(2)[None], plus, minus, fixed, total, both)
    step = max(1, _CELLS // (count * dual.shape[1]))
    edges = [*range(0, count, step), count]
    parts = [
        part
        for first, last in pairwise(edges)
        for part in _beside(normals, np.arange(first, last), plus, minus, fixed, total, both)
    ]
    values, points = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(points)


def _beside(
    normals: Floats,
    through: np.ndarray,
    plus: Floats,
    minus: Floats,
    fixed: Floats,
    total: Floats,
    both: bool,
) -> list[tuple[Floats, Floats]]:
    """Return the best cells on either side of the circles in the hyperplanes `through` (s,)."""
    rng, own = np.random.default_rng(0), normals[through]
    one = np.cross(own, rng.standard_normal(own.shape))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    axes = np.stack([one, np.cross(own, one)], axis=1)
    others = [np.repeat(side[None], len(through), axis=0) for side in (plus, minus)]
    for side in others:
        side[np.arange(len(through)), through] = 0.0
    found = []
    for sign, side in ((1.0, plus), (-1.0, minus)):
        inside = fixed + side[through][:, None]
        values, points = _best(normals, axes, others[0], others[1], inside, total, both)
        products = np.abs(points @ normals.T)
        products[np.arange(len(through)), through] = np.inf
        # so far from the circle that no other hyperplane is reached
        away = np.minimum(products.min(axis=1) / 2, 0.5)
        found.append((values, points + sign * away[:, None] * own))
    return found


def _best(
    normals: Floats,
    axes: Floats,
    plus: Floats,
    minus: Floats,
    inside: Floats,
    total: Floats,
    both: bool,
) -> tuple[Floats, Floats]:
    """Return the best arc of every circle (s,) with axes (s, 2, r), and its middle (s, r)."""
    first, second = (axes[:, side] @ normals.T for side in (0, 1))
    whole = (plus + minus).sum(axis=-2, keepdims=True)
    angle, values = best_arc(sweep(first, second, plus, minus), inside, whole, total, both)
    angle = angle[:, None]
    return values, np.cos(angle) * axes[:, 0] + np.sin(angle) * axes[:, 1]
