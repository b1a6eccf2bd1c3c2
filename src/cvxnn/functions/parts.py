"""A norm on equal parts of every block."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, namespace
from cvxnn.functions.base import Penalty
from cvxnn.functions.blocks import largest


@dataclass(frozen=True)
class Parts:
    """The sum of a norm over `count` parts of every block: (p, count d, c) is (p count, d, c).

    >>> import numpy as np
    >>> from cvxnn.functions import GroupNorm
    >>> Parts(GroupNorm(alpha=1.0), count=2).value(np.array([[[3.0], [4.0], [0.0], [1.0]]]))
    6.0
    """

    norm: Penalty
    """A sum over blocks."""
    count: int
    smoothness = math.inf

    def _parts(self, x: Array) -> Array:
        p, d, c = x.shape
        return namespace(x).reshape(x, (p * self.count, d // self.count, c))

    def _whole(self, x: Array) -> Array:
        p, d, c = x.shape
        return namespace(x).reshape(x, (p // self.count, d * self.count, c))

    def value(self, x: Array) -> float:
        """Return the sum of the norms of all parts."""
        return self.norm.value(self._parts(x))

    def gradient(self, x: Array) -> Array:
        """Return the parts' gradients, a subgradient."""
        return self._whole(self.norm.gradient(self._parts(x)))

    def prox(self, x: Array, step: float) -> Array:
        """Return the parts' proxes."""
        return self._whole(self.norm.prox(self._parts(x), step))

    def conjugate(self, v: Array) -> float:
        """Return that of the norm."""
        return self.norm.conjugate(self._parts(v))

    def polar(self, v: Array) -> Array:
        """Return the largest polar of a part, (p,)."""
        each = self.norm.polar(self._parts(v))
        return largest(namespace(v).reshape(each, (v.shape[0], self.count)))

    def direction(self, v: Array) -> Array:
        """Return the direction of the part with the largest polar, 0 in the others."""
        xp, each = namespace(v), self.norm.polar(self._parts(v))
        grid = xp.reshape(each, (v.shape[0], self.count))
        places = xp.arange(self.count, device=v.device)
        first = xp.astype(places == xp.argmax(grid, axis=1, keepdims=True), v.dtype)
        chosen = xp.reshape(first, (v.shape[0] * self.count, 1, 1))
        return self._whole(chosen * self.norm.direction(self._parts(v)))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the parts' derivatives."""
        slope = self.norm.jacobian(self._parts(x), step)
        return lambda z: self._whole(slope(self._parts(z)))
