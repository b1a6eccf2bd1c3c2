"""Weight decay of blocks that are given by coefficients of samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, device, inner, namespace
from cvxnn.functions.blocks import check_strength


@dataclass(frozen=True)
class KernelRidge:
    """alpha/2 * <a, K a>, which is alpha/2 |u|^2 of u = A* a, where K = A A* [Kimeldorf1971].

    The inner product of coefficients is <a, K b>, that of what they stand for: gradients, prox and
    the conjugate alpha^-1 <v, K v> / 2 are taken in it. `product` is a -> K a, (1, n, c) to (n, c).
    Raises ValueError unless alpha is positive and finite.

    >>> import numpy as np
    >>> KernelRidge(2.0, lambda a: 3.0 * a[0]).conjugate(np.array([[[2.0]]]))
    3.0
    """

    alpha: float
    product: Callable[[Array], Array]

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    @property
    def smoothness(self) -> float:
        """The strength itself."""
        return self.alpha

    def value(self, x: Array) -> float:
        """Return alpha/2 <x, K x>."""
        return self.alpha / 2 * self._square(x)

    def gradient(self, x: Array) -> Array:
        """Return alpha x."""
        return self.alpha * x

    def prox(self, x: Array, step: float) -> Array:
        """Return x / (1 + step alpha)."""
        return x / (1 + step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return <v, K v> / (2 alpha)."""
        return self._square(v) / (2 * self.alpha)

    def polar(self, v: Array) -> Array:
        """Return zeros, (p,): the conjugate is finite everywhere."""
        xp = namespace(v)
        return xp.zeros(v.shape[0], dtype=v.dtype, device=device(v))

    def direction(self, v: Array) -> Array:
        """Return sqrt(2 / alpha) v / sqrt<v, K v>, and 0 where that is zero."""
        size = math.sqrt(self._square(v))
        return v * (math.sqrt(2 / self.alpha) / size if size > 0 else 0.0)

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the product with 1 / (1 + step alpha)."""
        return lambda z: z / (1 + step * self.alpha)

    def _square(self, x: Array) -> float:
        return max(inner(namespace(x).sum(x, axis=0), self.product(x)), 0.0)
