"""A penalty on the column of every output, each a block of its own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, namespace
from cvxnn.functions.base import Penalty
from cvxnn.functions.blocks import largest


def outputs_as_blocks(x: Array) -> Array:
    """Return blocks (p, d, c) as (p * c, d, 1), one output after the other."""
    p, d, c = x.shape
    return namespace(x).reshape(namespace(x).matrix_transpose(x), (p * c, d, 1))


def blocks_as_outputs(x: Array, c: int) -> Array:
    """Return blocks (p * c, d, 1) as (p, d, c); the inverse of `outputs_as_blocks`."""
    xp, (p, d, _) = namespace(x), x.shape
    return xp.matrix_transpose(xp.reshape(x, (p // c, c, d)))


@dataclass(frozen=True)
class Outputs:
    """The sum over outputs of a norm of every block's column: neurons serve one output each.

    >>> import numpy as np
    >>> from cvxnn.functions import Cells, Nuclear
    >>> norm = Outputs(Cells(Nuclear(alpha=1.0), 2))
    >>> norm.value(np.array([[[1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]]))
    4.0
    """

    norm: Penalty
    """Of blocks of one output."""
    smoothness = math.inf

    def value(self, x: Array) -> float:
        """Return the sum of the norms of all columns."""
        return self.norm.value(outputs_as_blocks(x))

    def gradient(self, x: Array) -> Array:
        """Return the columns' gradients, a subgradient."""
        return blocks_as_outputs(self.norm.gradient(outputs_as_blocks(x)), x.shape[2])

    def prox(self, x: Array, step: float) -> Array:
        """Return the columns' proxes."""
        return blocks_as_outputs(self.norm.prox(outputs_as_blocks(x), step), x.shape[2])

    def conjugate(self, v: Array) -> float:
        """Return that of the norm."""
        return self.norm.conjugate(outputs_as_blocks(v))

    def polar(self, v: Array) -> Array:
        """Return the largest polar of a column, (p,)."""
        return largest(self._polars(v))

    def direction(self, v: Array) -> Array:
        """Return the direction of the column with the largest polar, 0 in the others."""
        xp, each = namespace(v), self._polars(v)
        first = xp.argmax(each, axis=1, keepdims=True)
        chosen = xp.astype(xp.arange(v.shape[2], device=v.device) == first, v.dtype)
        found = blocks_as_outputs(self.norm.direction(outputs_as_blocks(v)), v.shape[2])
        return chosen[:, None, :] * found

    def _polars(self, v: Array) -> Array:
        each = self.norm.polar(outputs_as_blocks(v))
        return namespace(v).reshape(each, (v.shape[0], v.shape[2]))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the columns' derivatives."""
        slope, c = self.norm.jacobian(outputs_as_blocks(x), step), x.shape[2]
        return lambda z: blocks_as_outputs(slope(outputs_as_blocks(z)), c)
