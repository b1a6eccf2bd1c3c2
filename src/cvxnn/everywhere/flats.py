"""What a neuron of several outputs attains at most, exactly: for low rank, or few samples.

On a cell of the arrangement |V'(Xu)_+|^2 is a quadratic form. A maximum over the unit vectors that
is inside is the form's first eigenvector; any other lies in a hyperplane x_i'u = 0, whose own
arrangement is of one rank less. In the plane every cell is an interval of angles.
"""

import numpy as np

from cvxnn.everywhere.neurons import Floats
from cvxnn.gates.arrangement import arrange
from cvxnn.gates.base import Masks
from cvxnn.gates.enumerate import cover_count, enumerate_patterns
from cvxnn.maps import row_blocks

_RANK, _WORK, _TURNS = 3, 1e7, 200
"""Rank up to which it always pays; beyond, entries of masks and arrangements it may take."""
_NEAR = 1e-9
"""How far behind a wall of its cell, as a sine, an eigenvector may be and count as inside."""
_APART = 1e-6
"""Relative distance of the two largest eigenvalues from which the eigenvector is known."""


def affordable(rows: Floats) -> bool:
    """Tell whether the maximum over these rows (n, r) is found exactly in seconds."""
    n, rank = rows.shape
    turns = n ** max(rank - _RANK, 0)
    few = turns <= _TURNS and turns * n * cover_count(n, _RANK) <= _WORK
    return rank <= _RANK or bool(few)


def reach(rows: Floats, dual: Floats, settled: float = 0.0) -> float:
    """Return max over |u| <= 1 of |V'(Xu)_+| for X = `rows` (n, r) and V = `dual` (n, c).

    At least `settled`, a value that is attained; never below the maximum but for rounding and cells
    thinner than 1e-9 radians.

    >>> X, V = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> round(reach(X, V) ** 2, 6)  # |(u1 + 2 u2, 2 u2)|^2, the first eigenvalue of a matrix
    8.531129
    """
    alive = np.any(rows != 0, axis=1)
    rows, dual = rows[alive], dual[alive]
    rank = rows.shape[1]
    if not len(rows) or not rank:
        return settled
    if rank == 1:
        ends = np.array([[1.0], [-1.0]])
        return max(settled, float(_attained(rows, dual, ends).max()))
    if rank == 2:
        return max(settled, _on_circle(rows, dual))
    best, left = _inside(rows, dual, settled)
    if left:
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for first in np.unique(arrange(rows).owner, return_index=True)[1]:
            inner = rows @ _across(units[first])
            inner[np.abs(units @ units[first]) > 1 - _NEAR**2 / 2] = 0.0
            best = max(best, reach(inner, dual, best))
    return best


def _pulls(rows: Floats, dual: Floats, masks: Masks) -> Floats:
    return np.stack([(masks * column) @ rows for column in dual.T], axis=2)


def _attained(rows: Floats, dual: Floats, directions: Floats) -> Floats:
    return np.asarray(np.linalg.norm(np.maximum(directions @ rows.T, 0.0) @ dual, axis=1))


def _across(normal: Floats) -> Floats:
    """Return an orthonormal basis (r, r - 1) of the hyperplane with that normal (r,)."""
    return np.asarray(np.linalg.svd(normal[None])[2][1:].T)


def _inside(rows: Floats, dual: Floats, settled: float) -> tuple[float, bool]:
    """Return the largest value that a cell may hold inside, and whether walls may beat it."""
    lengths = np.linalg.norm(rows, axis=1)
    masks = enumerate_patterns(rows).masks
    best, walls = settled, 0.0
    for some in row_blocks(len(masks), len(rows)):
        pulls = _pulls(rows, dual, masks[some])
        left, values, _ = np.linalg.svd(pulls, full_matrices=False)
        top = left[:, :, 0]
        sines = np.where(masks[some], 1.0, -1.0) * (top @ rows.T / lengths)
        within = (sines.min(axis=1) > -_NEAR) | (sines.max(axis=1) < _NEAR)
        if values.shape[1] > 1:
            within |= values[:, 1] > (1 - _APART) * values[:, 0]
        best = max(best, float(values[within, 0].max(initial=0.0)))
        walls = max(walls, float(values[~within, 0].max(initial=0.0)))
    return best, walls > best


def _on_circle(rows: Floats, dual: Floats) -> float:
    """Return the maximum in the plane, interval by interval."""
    angles = np.arctan2(rows[:, 1], rows[:, 0])
    ends = np.unique(np.concatenate([angles + np.pi / 2, angles - np.pi / 2]) % (2 * np.pi))
    widths = np.append(ends[1:], ends[0] + 2 * np.pi) - ends
    best = float(_attained(rows, dual, _units(ends)).max())
    for some in row_blocks(len(ends), len(rows)):
        middle = ends[some] + widths[some] / 2
        left, values, _ = np.linalg.svd(
            _pulls(rows, dual, _units(middle) @ rows.T > 0), full_matrices=False
        )
        away = np.arctan2(left[:, 1, 0], left[:, 0, 0]) - middle
        away = np.abs((away + np.pi / 2) % np.pi - np.pi / 2)  # up to the sign of the eigenvector
        within = away <= widths[some] / 2 + _NEAR
        if values.shape[1] > 1:
            within |= values[:, 1] > (1 - _APART) * values[:, 0]
        best = max(best, float(values[within, 0].max(initial=0.0)))
    return best


def _units(angles: Floats) -> Floats:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
