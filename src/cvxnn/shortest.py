"""The shortest parts that multipliers of a cone can make of a vector."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Nearest = Callable[[Floats, Floats, Indices], tuple[Floats, Indices]]
"""(unit rows, point, a guess at faces) to the projection onto {u : rows u >= 0}, and its faces."""

_LIGHT = 1e-12
"""Least weight of a part."""
_EVEN = 1e-12
"""Relative difference of parts of equal length."""
_MOVES, _HALVINGS = 8, 60


def shortest_parts(rows: Floats, g: Floats, count: int, nearest: Nearest) -> Floats:
    """Return the g + rows'm, m >= 0, whose longest part of `count` is shortest.

    The least maximum of squares is the largest weighed sum of squares, minimised over m, among
    weights of sum one. The weights are found by sequential quadratic programming, then weight is
    moved from the shortest part to the longest as far as it pays. Every m is valid; what is left
    of the search makes the answer longer, by about 1e-9 of it.

    >>> from cvxnn.projection import nearest
    >>> shortest_parts(np.array([[-0.8, 0.6]]), np.array([2.0, 0.0]), 2, nearest).round(6)
    array([0.857143, 0.857143])
    """
    search = _Search(rows, g, count, nearest)
    weights = np.full(count, 1 / count)
    sizes = search.at(weights)
    if sizes.max() <= 1e-9 * np.linalg.norm(g):
        return search.best
    ones = np.ones(count)
    sums: Any = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: ones}
    options: Any = {"ftol": 1e-16, "maxiter": 100}
    found = minimize(
        search.weighed,
        weights,
        jac=True,
        method="SLSQP",
        bounds=[(_LIGHT, 1.0)] * count,
        constraints=sums,
        options=options,
    )
    search.polish(np.maximum(found.x, _LIGHT))
    return search.best


class _Search:
    """Projections in which parts are weighed, and the point whose longest part was shortest."""

    def __init__(self, rows: Floats, g: Floats, count: int, nearest: Nearest) -> None:
        self._rows, self._g, self._count, self._nearest = rows, g, count, nearest
        self._faces: Indices = np.zeros(0, dtype=np.int64)
        self.best, self._least = g, np.inf

    def at(self, weights: Floats) -> NDArray[Any]:
        """Return the lengths of the parts, (count,)."""
        scale = np.repeat(np.sqrt(np.maximum(weights, _LIGHT)), len(self._g) // self._count)
        turned = self._rows * scale
        lengths = np.linalg.norm(turned, axis=1, keepdims=True)
        units = turned / np.where(lengths > 0, lengths, 1.0)
        point, self._faces = self._nearest(units, self._g * scale, self._faces)
        point = point / scale
        sizes = np.linalg.norm(point.reshape(self._count, -1), axis=1)
        if sizes.max() < self._least:
            self.best, self._least = point, sizes.max()
        return np.asarray(sizes)

    def weighed(self, weights: Any) -> Any:
        """Return minus the weighed sum of squares at the best multipliers, and its gradient."""
        squares = self.at(weights) ** 2
        return -float(weights @ squares), -squares

    def polish(self, weights: Floats) -> None:
        """Move weight from the shortest part to the longest, by halving, a few times."""
        for _ in range(_MOVES):
            sizes = self.at(weights)
            up = int(sizes.argmax())
            down = int(np.where(weights > 2 * _LIGHT, sizes, np.inf).argmin())
            if sizes[up] - sizes[down] <= _EVEN * sizes[up]:
                return
            low, high = 0.0, weights[down] - _LIGHT
            moved = weights
            for _ in range(_HALVINGS):
                share = (low + high) / 2
                moved = weights.copy()
                moved[up], moved[down] = weights[up] + share, weights[down] - share
                sizes = self.at(moved)
                low, high = (share, high) if sizes[up] > sizes[down] else (low, share)
            weights = moved
