"""Penalties on blocks (block axis first): norms that keep few neurons, ridge, and none.

For a norm the conjugate is the indicator of the dual ball, `polar` the dual norm over alpha and
`direction` its maximiser [BachJenattonMairalObozinski2012, sections 1 and 3].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cvxnn.arrays import Array, block_norms, device, namespace, to_numpy
from cvxnn.functions.blocks import (
    check_strength,
    column_norms,
    divided,
    first_largest,
    indicator,
    largest,
    per_block,
    shrink,
    shrink_jacobian,
    thin_svd,
    total,
)


@dataclass(frozen=True)
class GroupNorm:
    """alpha * sum over blocks of |u_b|_2: keeps few neurons [YuanLin2006].

    A block is everything after the first axis, (p, ...). Raises ValueError unless alpha is
    positive and finite.

    >>> import numpy as np
    >>> GroupNorm(alpha=2.0).prox(np.array([[3.0, 4.0], [0.3, 0.4]]), step=1.0)
    array([[1.8, 2.4],
           [0. , 0. ]])
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of the blocks' norms."""
        return self.alpha * total(block_norms(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha u_b / |u_b|, and 0 for a zero block, a subgradient."""
        return self.alpha * divided(x, block_norms(x))

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off the norm of every block, down to 0."""
        return shrink(x, block_norms(x), step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return 0 where every |v_b| is at most alpha, `inf` otherwise."""
        return indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return |v_b| / alpha, (p,)."""
        return per_block(block_norms(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return v_b / (alpha |v_b|), and 0 for a zero block."""
        return divided(v, block_norms(v)) / self.alpha

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return z -> (1 - t) z + t e <e, z> with e = u_b / |u_b|, t = step alpha / |u_b|."""
        axes = tuple(range(1, x.ndim))
        return shrink_jacobian(x, block_norms(x), step * self.alpha, axes)


@dataclass(frozen=True)
class ColumnNorm:
    """alpha * sum over blocks and columns of |u_b[:, c]|_2: neurons with one output each.

    Blocks are matrices, (p, d, c): one column per output [YuanLin2006]. Raises ValueError unless
    alpha is positive and finite.

    >>> import numpy as np
    >>> ColumnNorm(alpha=1.0).value(np.array([[[3.0, 0.0], [4.0, 1.0]]]))
    6.0
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of the columns' norms."""
        return self.alpha * total(column_norms(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha times every column over its norm, and 0 for a zero column."""
        return self.alpha * divided(x, column_norms(x))

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off the norm of every column, down to 0."""
        return shrink(x, column_norms(x), step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no column's norm exceeds alpha, `inf` otherwise."""
        return indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest norm of a column over alpha, (p,)."""
        return largest(column_norms(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the unit vector of the largest column over alpha, 0 in the other columns."""
        norms = column_norms(v)
        return divided(v, norms) * first_largest(norms) / self.alpha

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return that of `GroupNorm`, for every column."""
        return shrink_jacobian(x, column_norms(x), step * self.alpha, (1,))


@dataclass(frozen=True)
class Nuclear:
    """alpha * sum over blocks of the nuclear norm of u_b: the matrix is a sum of few neurons.

    Blocks are matrices, (p, d, c); prox thresholds singular values [CaiCandesShen2010, theorem
    2.1]. Raises ValueError unless alpha is positive and finite.

    >>> import numpy as np
    >>> Nuclear(alpha=1.0).prox(np.array([[[3.0, 0.0], [0.0, 0.5]]]), step=1.0)
    array([[[2., 0.],
            [0., 0.]]])
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of all singular values."""
        return self.alpha * total(namespace(x).linalg.svdvals(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha U V' over the nonzero singular values, a subgradient."""
        left, sizes, right = thin_svd(x)
        return self.alpha * (left * namespace(x).sign(sizes)) @ right

    def prox(self, x: Array, step: float) -> Array:
        """Shrink the singular values; blocks of Frobenius norm below the threshold are zero."""
        xp, floor = namespace(x), step * self.alpha
        alive = np.flatnonzero(to_numpy(block_norms(x))[:, 0, 0] > floor)
        index = xp.asarray(alive, device=device(x))
        left, sizes, right = thin_svd(xp.take(x, index, axis=0))
        shrunk = (left * xp.clip(sizes - floor, min=0.0)) @ right
        place = np.zeros(x.shape[0], dtype=np.int64)
        place[alive] = 1 + np.arange(len(alive))
        zero = xp.zeros((1, *x.shape[1:]), dtype=x.dtype, device=device(x))
        padded = xp.concat([zero, shrunk], axis=0)
        return xp.take(padded, xp.asarray(place, device=device(x)), axis=0)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no singular value exceeds alpha, `inf` otherwise."""
        return indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest singular value over alpha, (p,)."""
        return namespace(v).linalg.svdvals(v)[:, 0] / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the product of the top singular pair over alpha, and 0 for a zero block."""
        left, sizes, right = thin_svd(v)
        first = namespace(v).sign(sizes[..., :1])
        return (left[..., :1] * first) @ right[..., :1, :] / self.alpha

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the derivative of a function of singular values, by divided differences.

        In the singular frame z has a symmetric part, a skew part and parts outside the frame; each
        is multiplied by its own quotient of shrunk and given values [LiSunToh2018, section 2].
        """
        xp = namespace(x)
        left, sizes, right = thin_svd(x)
        floor, tall = step * self.alpha, xp.matrix_transpose(sizes)
        kept, kept_tall = xp.clip(sizes - floor, min=0.0), xp.clip(tall - floor, min=0.0)
        gaps = tall - sizes
        alike = xp.abs(gaps) <= 1e-9 * xp.max(sizes, axis=2, keepdims=True)
        slope = xp.astype((tall > floor) & (sizes > floor), x.dtype)
        same = xp.where(alike, slope, (kept_tall - kept) / xp.where(alike, 1.0, gaps))
        total = tall + sizes
        skew = (kept_tall + kept) / xp.where(total > 0, total, 1.0)
        share = kept / xp.where(sizes > 0, sizes, 1.0)
        left_t, right_t = xp.matrix_transpose(left), xp.matrix_transpose(right)

        def apply(z: Array) -> Array:
            columns, rows = z @ right_t, left_t @ z
            core = left_t @ columns
            turned = xp.matrix_transpose(core)
            inner = (same * (core + turned) + skew * (core - turned)) / 2
            beside = (columns - left @ core) * share
            below = xp.matrix_transpose(share) * (rows - core @ right)
            return (left @ inner + beside) @ right + left @ below

        return apply


@dataclass(frozen=True)
class L1:
    """alpha * sum of |u| over all entries: keeps few weights [Tibshirani1996].

    Raises ValueError unless alpha is positive and finite.

    >>> import numpy as np
    >>> L1(alpha=1.0).prox(np.array([[3.0, -0.5]]), step=1.0)
    array([[2., 0.]])
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of all |u|."""
        return self.alpha * total(namespace(x).abs(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha sign(u), a subgradient."""
        return self.alpha * namespace(x).sign(x)

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off every |u|, down to 0."""
        floor = step * self.alpha
        return x - namespace(x).clip(x, min=-floor, max=floor)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no |v| exceeds alpha, `inf` otherwise."""
        return indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest |v| of every block over alpha, (p,)."""
        return largest(namespace(v).abs(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the sign of the largest entry over alpha, 0 in the other entries."""
        xp = namespace(v)
        return xp.sign(v) * first_largest(xp.abs(v)) / self.alpha

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the product with 1 where |u| exceeds step alpha, with 0 elsewhere."""
        xp = namespace(x)
        alive = xp.astype(xp.abs(x) > step * self.alpha, x.dtype)
        return lambda z: alive * z


@dataclass(frozen=True)
class Ridge:
    """alpha/2 * |u|^2, weight decay on the blocks themselves [HoerlKennard1970].

    The conjugate |v|^2 / (2 alpha) is finite everywhere, so `polar` is 0. Raises ValueError unless
    alpha is positive and finite.

    >>> import numpy as np
    >>> Ridge(alpha=2.0).conjugate(np.array([[2.0, 4.0]]))
    5.0
    """

    alpha: float

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    @property
    def smoothness(self) -> float:
        """The strength itself."""
        return self.alpha

    def value(self, x: Array) -> float:
        """Return alpha/2 |u|^2."""
        return self.alpha / 2 * total(x**2)

    def gradient(self, x: Array) -> Array:
        """Return alpha u."""
        return self.alpha * x

    def prox(self, x: Array, step: float) -> Array:
        """Return u / (1 + step alpha)."""
        return x / (1 + step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return |v|^2 / (2 alpha)."""
        return total(v**2) / (2 * self.alpha)

    def polar(self, v: Array) -> Array:
        """Return zeros, (p,): the conjugate is finite everywhere."""
        return namespace(v).zeros_like(largest(v))

    def direction(self, v: Array) -> Array:
        """Return sqrt(2 / alpha) v_b / |v_b|, and 0 for a zero block."""
        return divided(v, block_norms(v)) * math.sqrt(2 / self.alpha)

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the product with 1 / (1 + step alpha)."""
        return lambda z: z / (1 + step * self.alpha)


@dataclass(frozen=True)
class Unpenalised:
    """The zero function, for intercepts and skip connections.

    Its conjugate is the indicator of zero, so `polar` is 0 for a zero block and infinite for any
    other; `direction` is then a unit vector along which <v, u> grows without bound.

    >>> import numpy as np
    >>> Unpenalised().polar(np.array([[0.0, 0.0], [1e-9, 0.0]]))
    array([ 0., inf])
    """

    smoothness = 0.0

    def value(self, x: Array) -> float:
        """Return 0."""
        return 0.0

    def gradient(self, x: Array) -> Array:
        """Return zeros."""
        return namespace(x).zeros_like(x)

    def prox(self, x: Array, step: float) -> Array:
        """Return `x` itself."""
        return x

    def conjugate(self, v: Array) -> float:
        """Return 0 where `v` is zero, `inf` otherwise."""
        return indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return 0 for a zero block and `inf` for any other, (p,)."""
        xp = namespace(v)
        peak = largest(xp.abs(v))
        return xp.where(peak == 0, peak, math.inf)

    def direction(self, v: Array) -> Array:
        """Return v_b / |v_b|, and 0 for a zero block."""
        return divided(v, block_norms(v))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the identity."""
        return lambda z: z
