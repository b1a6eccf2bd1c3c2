"""Symmetric matrices as weighted sums of p p': by eigenvectors, or by points (u, 1) of a sphere."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FLOOR = 1e-12
"""Eigenvalues and weights below this share of the largest are zero."""


def eigenpairs(matrix: Floats) -> tuple[Floats, Floats]:
    """Return unit vectors q (s, s) in rows and w (s,) with sum w q q' the matrix."""
    sizes, axes = np.linalg.eigh(matrix)
    return axes.T, sizes


def decomposed(matrix: Floats) -> tuple[Floats, Floats]:
    """Return unit u (m, s - 1) and weights w (m,) with sum w (u, 1) (u, 1)' the moment matrix.

    The neural decomposition [BartanPilanci2021]: of the matrix as a sum of p p', two
    vectors whose <p, J p> differ in sign are turned in their plane until one of them has
    |p_1..| = |p_s|, which is then a neuron. At most as many neurons as the rank.

    Raises ValueError for a matrix that is not symmetric up to rounding.

    >>> u, w = decomposed(np.diag([1.0, 1.0, 2.0]))
    >>> np.linalg.norm(u, axis=1).round(12).tolist(), round(float(w.sum()), 12)
    ([1.0, 1.0, 1.0], 2.0)
    """
    apart = np.abs(matrix - matrix.T)
    if apart.max(initial=0.0) > 1e-9 * np.abs(matrix).max(initial=0.0):
        i, j = np.unravel_index(int(apart.argmax()), matrix.shape)
        raise ValueError(
            f"entry ({i}, {j}) is {matrix[i, j]:.6g} and ({j}, {i}) is {matrix[j, i]:.6g}; a "
            "moment matrix is symmetric: pass (M + M') / 2"
        )
    sizes, axes = np.linalg.eigh(matrix)
    kept = sizes > _FLOOR * max(float(sizes[-1]), 0.0)
    rest = (np.sqrt(sizes[kept]) * axes[:, kept]).T
    signs = np.append(np.ones(matrix.shape[0] - 1), -1.0)
    done = []
    while len(rest):
        balance = (rest**2) @ signs
        first, second = int(balance.argmax()), int(balance.argmin())
        if not balance[first] > 0 > balance[second]:
            break  # what is left is balanced up to rounding
        neuron, other = _turned(rest[first], rest[second], signs)
        done.append(neuron)
        rest = np.concatenate([np.delete(rest, [first, second], axis=0), other[None]])
    points = np.concatenate([np.array(done).reshape(-1, len(signs)), rest])
    weights = points[:, -1] ** 2
    points = points[weights > _FLOOR * weights.max(initial=0.0)]
    inward = points[:, :-1] / points[:, -1:]
    lengths = np.linalg.norm(inward, axis=1, keepdims=True)
    return inward / np.where(lengths > 0, lengths, 1.0), points[:, -1] ** 2


def _turned(p: Floats, r: Floats, signs: Floats) -> tuple[Floats, Floats]:
    """Return p and r turned in their plane, the first with <q, J q> = 0."""
    above, across, below = (p * signs) @ p, (p * signs) @ r, (r * signs) @ r
    root = math.sqrt(across**2 - above * below)
    # above + 2 t across + t^2 below = 0, by the form that does not cancel
    t = above / (root - across) if across < 0 else -above / (root + across)
    length = math.hypot(1.0, t)
    return (p + t * r) / length, (r - t * p) / length
