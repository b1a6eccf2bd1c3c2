"""Penalties on symmetric matrices by their eigenvalues: what quadratic neurons cost.

Blocks are symmetric matrices as vectors, (p, t, c): p matrices for each of c outputs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, device, namespace
from cvxnn.functions.blocks import SLACK, check_strength, first_largest, indicator, largest, total
from cvxnn.functions.sphere import Moment, Peak
from cvxnn.symmetric import (
    bent,
    composed,
    differences,
    eigh,
    eigvalsh,
    to_blocks,
    to_matrices,
)


@dataclass(frozen=True)
class EigenNorm:
    """alpha * sum over matrices of the sum of |eigenvalues|: the nuclear norm where U = U'.

    Its prox shrinks eigenvalues [CaiCandesShen2010, theorem 2.1]. Raises ValueError unless alpha is
    positive and finite.

    >>> import numpy as np
    >>> EigenNorm(alpha=1.0).prox(np.array([[[3.0], [0.0], [-0.5]]]), step=1.0).ravel().tolist()
    [2.0, 0.0, 0.0]
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of all |eigenvalues|."""
        xp = namespace(x)
        return self.alpha * total(xp.abs(eigvalsh(to_matrices(x))))

    def gradient(self, x: Array) -> Array:
        """Return alpha times the matrix with the signs of the eigenvalues, a subgradient."""
        sizes, axes = eigh(to_matrices(x))
        return self.alpha * to_blocks(composed(namespace(x).sign(sizes), axes))

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off every |eigenvalue|, down to 0."""
        sizes, axes = eigh(to_matrices(x))
        return to_blocks(composed(self._shrunk(sizes, step), axes))

    def _shrunk(self, sizes: Array, step: float) -> Array:
        floor = step * self.alpha
        return sizes - namespace(sizes).clip(sizes, min=-floor, max=floor)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no |eigenvalue| exceeds alpha, `inf` otherwise."""
        return indicator(self.polar(v), _slack(v))

    def polar(self, v: Array) -> Array:
        """Return the largest |eigenvalue| over alpha, (p,)."""
        xp = namespace(v)
        return largest(xp.abs(eigvalsh(to_matrices(v)))) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return s q q' / alpha for the eigenvector q of the largest |eigenvalue|, of sign s."""
        xp = namespace(v)
        sizes, axes = eigh(to_matrices(v))
        first = xp.sign(sizes) * first_largest(xp.abs(sizes)) / self.alpha
        return to_blocks(composed(first, axes))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return z -> Q (W o Q'zQ) Q' with the divided differences W of the shrunk eigenvalues."""
        xp, floor = namespace(x), step * self.alpha
        sizes, axes = eigh(to_matrices(x))
        slopes = xp.astype(xp.abs(sizes) > floor, x.dtype)
        quotients = differences(sizes, self._shrunk(sizes, step), slopes)
        return lambda z: to_blocks(bent(quotients, axes, to_matrices(z)))


@dataclass(frozen=True)
class SphereMoments:
    """alpha * sum over matrices of their last diagonal entry: moments of points (u, 1), |u| = 1.

    Its domain are the U >= 0 whose last diagonal entry is the sum of the others: the sums of
    (u, 1) (u, 1)' over points of the sphere with positive weights [BartanPilanci2021].
    The polar of V is the largest value of (u, 1)' V (u, 1) on the sphere, a trust-region problem.
    Raises ValueError unless alpha is positive and finite.

    >>> import numpy as np
    >>> norm = SphereMoments(alpha=2.0)
    >>> norm.value(np.array([[[3.0], [0.0], [3.0]]])), norm.value(np.array([[[3.0], [0.0], [2.0]]]))
    (6.0, inf)
    >>> norm.polar(np.array([[[1.0], [2.0 * 2**0.5], [3.0]]])).tolist()
    [4.0]
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of the last diagonal entries, `inf` outside the domain."""
        xp, matrices = namespace(x), to_matrices(x)
        sizes = eigvalsh(matrices)
        last = matrices[..., -1, -1]
        slack = _slack(x) * float(xp.finfo(x.dtype).eps)
        room = slack * xp.max(xp.abs(sizes), axis=-1)
        balance = xp.abs(xp.linalg.trace(matrices) - 2 * last)
        inside = (sizes[..., 0] >= -room) & (balance <= room)
        return self.alpha * total(last) if bool(xp.all(inside)) else math.inf

    def gradient(self, x: Array) -> Array:
        """Return alpha at the last diagonal entry, a subgradient in the domain."""
        xp, matrices = namespace(x), to_matrices(x)
        return to_blocks(xp.zeros_like(matrices) + self._corner(matrices, self.alpha))

    def _corner(self, matrices: Array, size: float) -> Array:
        """Return the matrix (s, s) with `size` at the end of its diagonal."""
        xp, side = namespace(matrices), matrices.shape[-1]
        last = xp.astype(xp.arange(side, device=device(matrices)) == side - 1, matrices.dtype)
        return size * last[:, None] * last[None, :]

    def _moment(self, x: Array, step: float) -> Moment:
        matrices = to_matrices(x)
        return Moment(matrices - self._corner(matrices, step * self.alpha))

    def prox(self, x: Array, step: float) -> Array:
        """Return the nearest point of the domain to x less step alpha at the last entry."""
        return to_blocks(self._moment(x, step).nearest)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no value on the sphere exceeds alpha, `inf` otherwise."""
        return indicator(self.polar(v), _slack(v))

    def polar(self, v: Array) -> Array:
        """Return the largest value on the sphere over alpha, at least 0, (p,)."""
        xp = namespace(v)
        return xp.clip(largest(Peak(to_matrices(v)).value), min=0.0) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return (u, 1) (u, 1)' over alpha for the u of the largest value, 0 where none is > 0."""
        xp, peak = namespace(v), Peak(to_matrices(v))
        first = first_largest(peak.value) * xp.astype(peak.value > 0, v.dtype) / self.alpha
        points = peak.points
        return to_blocks(first[..., None, None] * points[..., :, None] * points[..., None, :])

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the derivative of the projection; its shift moves so that the trace stays."""
        moment = self._moment(x, step)
        return lambda z: to_blocks(moment.bend(to_matrices(z)))


def _slack(x: Array) -> float:
    """Return how many units in the last place the eigenvalues of a block may be off."""
    return float(SLACK * x.shape[1] ** 0.5)
