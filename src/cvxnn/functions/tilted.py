"""A penalty with a linear term beside it."""

from dataclasses import dataclass
from typing import Any

from cvxnn.arrays import Array, inner


@dataclass(frozen=True, eq=False)
class Tilted:
    """norm(u) + <slope, u>, for terms of a loss that are linear in the blocks themselves.

    Zero may be outside the domain of its conjugate, so that there is no polar gauge and no scaling
    of dual points: whoever uses it draws them towards an interior point instead.

    >>> import numpy as np
    >>> from cvxnn.functions import GroupNorm
    >>> tilted = Tilted(GroupNorm(1.0), np.array([[[2.0]]]))
    >>> tilted.value(np.array([[[-3.0]]])), tilted.prox(np.zeros((1, 1, 1)), 1.0).tolist()
    (-3.0, [[[-1.0]]])
    """

    norm: Any
    """The penalty, with a `polar`."""
    slope: Array
    """Of the shape of the blocks."""

    @property
    def smoothness(self) -> float:
        """That of the norm."""
        return float(self.norm.smoothness)

    def value(self, x: Array) -> float:
        """Return norm(x) + <slope, x>."""
        return float(self.norm.value(x)) + inner(self.slope, x)

    def gradient(self, x: Array) -> Array:
        """Return a subgradient."""
        return self.norm.gradient(x) + self.slope

    def prox(self, x: Array, step: float) -> Array:
        """Return the norm's prox of x - step * slope."""
        return self.norm.prox(x - step * self.slope, step)

    def conjugate(self, v: Array) -> float:
        """Return the norm's conjugate at v - slope."""
        return float(self.norm.conjugate(v - self.slope))

    def excess(self, v: Array) -> float:
        """Return the largest polar of v - slope over blocks: v is in the domain iff it is <= 1."""
        return float(self.norm.polar(v - self.slope).max())
