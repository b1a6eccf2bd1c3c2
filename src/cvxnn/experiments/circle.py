"""The best network whose neurons are directions in the plane: all angles, and no patterns."""

from collections.abc import Callable

import numpy as np

from cvxnn.experiments.descent import Floats
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.maps import Stacked
from cvxnn.program import Program
from cvxnn.solve import solve
from cvxnn.solvers import Reference

Atoms = Callable[[Floats], Floats]
"""Turns angles (k,) into what neurons of these directions can give, (k, n, q)."""

_FIRST, _WITHIN, _ROUNDS = 90, 12, 7
"""Angles of the first grid, those within every arc between walls, as it may be narrow, and how
often the grid is made eight times finer where neurons are."""


def best_on_circle(atoms: Atoms, y: Floats, beta: float, walls: Floats | None = None) -> float:
    """Return min over all angles of 1/2 |sum_j F_j g_j - y|^2 + beta sum_j |g_j|, from above.

    F_j = atoms(angle_j), g_j (q, c), `y` (n, c). `walls` are angles where the atoms have
    kinks. Angles whose price |F'(y - f)| is largest get neighbours.

    >>> X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
    >>> atoms = lambda t: np.maximum(X @ np.stack([np.cos(t), np.sin(t)]), 0).T[:, :, None]
    >>> round(best_on_circle(atoms, np.array([[1.0], [2.0], [-1.0]]), 0.1), 7)
    0.2310367
    """
    width, value = 2 * np.pi / _FIRST, np.inf
    angles = first_grid(np.zeros(0) if walls is None else walls)
    for _ in range(_ROUNDS):
        angles = distinct(atoms, angles)
        program = Program(
            loss=mean_loss(Squared(), y, np.full(len(y), 1.0)),
            lift=Stacked(atoms(angles), y.shape[1]),
            penalty=GroupNorm(beta / len(y)),
            free=np.zeros((len(y), 0)),
        )
        found = solve(program, Reference(), tol=1e-9)
        value = min(value, len(y) * found.certificate.upper)
        price = np.linalg.norm(program.lift.adjoint(found.iterate.dual), axis=(1, 2))
        top = (price >= np.roll(price, 1)) & (price >= np.roll(price, -1))
        kept = angles[top & (price > 0.9 * price.max())]
        width /= 8
        angles = (kept[:, None] + width * np.arange(-8, 9)).ravel()
    return value


def first_grid(walls: Floats) -> Floats:
    """Return angles all around, and some in every arc between walls."""
    around = np.linspace(0, 2 * np.pi, _FIRST, endpoint=False)
    edges = np.sort(walls)
    arcs = np.diff(np.append(edges, edges[:1] + 2 * np.pi))
    within = edges[:, None] + arcs[:, None] * np.arange(_WITHIN) / _WITHIN
    return np.concatenate([around, within.ravel()])


def distinct(atoms: Atoms, angles: Floats) -> Floats:
    """Return angles in order, one of those whose atoms are equal."""
    ordered = np.sort(angles % (2 * np.pi))
    flat = atoms(ordered).reshape(len(ordered), -1)
    _, first = np.unique(flat.round(12), axis=0, return_index=True)
    return np.asarray(ordered[np.sort(first)])


def walls(X: Floats) -> Floats:
    """Return the angles at which a sample of the plane leaves a half-space, (2 n,)."""
    turned = np.arctan2(X[:, 1], X[:, 0])[:, None] + np.pi / 2 * np.array([-1, 1])
    return np.asarray(turned.ravel() % (2 * np.pi))


def units(angles: Floats) -> Floats:
    """Return the unit vectors of angles, (2, k)."""
    return np.stack([np.cos(angles), np.sin(angles)])
