"""A penalty on blocks whose rows come in pooling cells, as if the cells were outputs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, namespace
from cvxnn.functions.base import Penalty


def cells_as_columns(x: Array, cells: int) -> Array:
    """Return blocks (p, a * h, c) as (p, h, a * c): column (cell, output) of every filter."""
    p, rows, c = x.shape
    xp, h = namespace(x), rows // cells
    turned = xp.permute_dims(xp.reshape(x, (p, cells, h, c)), (0, 2, 1, 3))
    return xp.reshape(turned, (p, h, cells * c))


def cells_as_rows(x: Array, cells: int) -> Array:
    """Return blocks (p, h, a * c) as (p, a * h, c); the inverse of `cells_as_columns`."""
    p, h, columns = x.shape
    xp, c = namespace(x), columns // cells
    turned = xp.permute_dims(xp.reshape(x, (p, h, cells, c)), (0, 2, 1, 3))
    return xp.reshape(turned, (p, cells * h, c))


@dataclass(frozen=True)
class Cells:
    """norm of every block (a * h, c) with its cells beside each other, a matrix (h, a * c).

    A filter has one row of weights over all cells and outputs, so a sum of filters is a matrix of
    that shape, and its nuclear norm is their weight decay.

    >>> import numpy as np
    >>> from cvxnn.functions import Nuclear
    >>> both = Cells(Nuclear(alpha=1.0), 2).value(np.array([[[3.0], [4.0], [3.0], [4.0]]]))
    >>> round(both**2, 9)
    50.0
    """

    norm: Penalty
    cells: int
    smoothness = math.inf

    def _in(self, x: Array) -> Array:
        return cells_as_columns(x, self.cells)

    def _out(self, x: Array) -> Array:
        return cells_as_rows(x, self.cells)

    def value(self, x: Array) -> float:
        """Return the norm of the blocks with their cells beside each other."""
        return self.norm.value(self._in(x))

    def gradient(self, x: Array) -> Array:
        """Return a subgradient."""
        return self._out(self.norm.gradient(self._in(x)))

    def prox(self, x: Array, step: float) -> Array:
        """Return the norm's prox: a permutation of entries keeps distances."""
        return self._out(self.norm.prox(self._in(x), step))

    def conjugate(self, v: Array) -> float:
        """Return the norm's conjugate."""
        return self.norm.conjugate(self._in(v))

    def polar(self, v: Array) -> Array:
        """Return the norm's polar, (p,)."""
        return self.norm.polar(self._in(v))

    def direction(self, v: Array) -> Array:
        """Return the norm's direction."""
        return self._out(self.norm.direction(self._in(v)))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the derivative of the norm's prox."""
        inner = self.norm.jacobian(self._in(x), step)
        return lambda z: self._out(inner(self._in(z)))
