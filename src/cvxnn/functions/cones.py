"""Closed convex cones as indicator functions: 0 inside, `inf` outside.

Membership is decided up to rounding: the violation may be `SLACK` units in the last place of the
largest entry (matrix: of its norm, times its side).
"""

import math
from dataclasses import dataclass

from cvxnn.arrays import Array, block_norms, namespace

SLACK = 8.0
"""How many units in the last place a point may leave a cone and still count as inside."""


@dataclass(frozen=True)
class Nonnegative:
    """The arrays without negative entries; its polar cone holds those without positive ones.

    >>> import numpy as np
    >>> Nonnegative().prox(np.array([-1.0, 2.0]), step=1.0)
    array([0., 2.])
    """

    smoothness = math.inf

    def value(self, x: Array) -> float:
        """Return 0 where no entry is negative, `inf` otherwise."""
        size = _largest(namespace(x).abs(x))
        return _indicator(self.violation(x), SLACK * _eps(x) * size)

    def gradient(self, x: Array) -> Array:
        """Return zeros."""
        return namespace(x).zeros_like(x)

    def prox(self, x: Array, step: float) -> Array:
        """Return the positive part."""
        return namespace(x).clip(x, min=0.0)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no entry is positive, `inf` otherwise."""
        return self.value(-v)

    def violation(self, x: Array) -> float:
        """Return minus the smallest entry, or 0."""
        return _largest(namespace(x).clip(-x, min=0.0))


@dataclass(frozen=True)
class PSD:
    """The symmetric positive semidefinite matrices, on the last two axes (..., m, m).

    The projection drops the skew part and the negative eigenvalues [BoydVandenberghe2004, 8.1.1].

    >>> import numpy as np
    >>> PSD().violation(np.array([[1.0, 0.0], [0.0, -2.0]]))
    2.0
    """

    smoothness = math.inf

    def value(self, x: Array) -> float:
        """Return 0 where every matrix is symmetric positive semidefinite, `inf` otherwise."""
        return _indicator(self.violation(x), self._slack(x))

    def gradient(self, x: Array) -> Array:
        """Return zeros."""
        return namespace(x).zeros_like(x)

    def prox(self, x: Array, step: float) -> Array:
        """Return the nearest positive semidefinite matrices."""
        xp = namespace(x)
        sizes, axes = xp.linalg.eigh(_symmetric(x))
        kept = axes * xp.clip(sizes, min=0.0)[..., None, :]
        return _symmetric(kept @ xp.matrix_transpose(axes))

    def conjugate(self, v: Array) -> float:
        """Return 0 where the symmetric part has no positive eigenvalue, `inf` otherwise."""
        part = -_symmetric(v)
        return _indicator(self.violation(part), self._slack(part))

    def violation(self, x: Array) -> float:
        """Return the largest Frobenius distance of a matrix to the cone."""
        return _largest(block_norms(_matrices(x - self.prox(x, 1.0))))

    def _slack(self, x: Array) -> float:
        side: int = x.shape[-1]
        return SLACK * _eps(x) * side * _largest(block_norms(_matrices(x)))


def _largest(x: Array) -> float:
    """Return the largest entry of a nonnegative array; 0 when it is empty."""
    return float(namespace(x).max(x)) if math.prod(x.shape) else 0.0


def _eps(x: Array) -> float:
    return float(namespace(x).finfo(x.dtype).eps)


def _indicator(violation: float, slack: float) -> float:
    return 0.0 if violation <= slack else math.inf


def _symmetric(x: Array) -> Array:
    return (x + namespace(x).matrix_transpose(x)) / 2


def _matrices(x: Array) -> Array:
    """Return all matrices of `x` along one axis, (..., m, m) to (k, m, m)."""
    return namespace(x).reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:]))
