"""Penalties on blocks (block axis first): norms that keep few neurons, ridge, and none.

For a norm the conjugate is the indicator of the dual ball, `polar` the dual norm over alpha and
`direction` its maximiser [BachJenattonMairalObozinski2012, sections 1 and 3].
"""

import math
from dataclasses import dataclass

import numpy as np

from cvxnn.arrays import Array, block_norms, device, namespace, to_numpy

SLACK = 8.0
"""How many units in the last place a polar may exceed 1 before the conjugate is infinite."""


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
        _check(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of the blocks' norms."""
        return self.alpha * _total(block_norms(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha u_b / |u_b|, and 0 for a zero block, a subgradient."""
        return self.alpha * _over(x, block_norms(x))

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off the norm of every block, down to 0."""
        return _shrink(x, block_norms(x), step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return 0 where every |v_b| is at most alpha, `inf` otherwise."""
        return _indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return |v_b| / alpha, (p,)."""
        return _per_block(block_norms(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return v_b / (alpha |v_b|), and 0 for a zero block."""
        return _over(v, block_norms(v)) / self.alpha


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
        _check(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of the columns' norms."""
        return self.alpha * _total(_column_norms(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha times every column over its norm, and 0 for a zero column."""
        return self.alpha * _over(x, _column_norms(x))

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off the norm of every column, down to 0."""
        return _shrink(x, _column_norms(x), step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no column's norm exceeds alpha, `inf` otherwise."""
        return _indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest norm of a column over alpha, (p,)."""
        return _largest(_column_norms(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the unit vector of the largest column over alpha, 0 in the other columns."""
        norms = _column_norms(v)
        return _over(v, norms) * _first_largest(norms) / self.alpha


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
        _check(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of all singular values."""
        return self.alpha * _total(namespace(x).linalg.svdvals(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha U V' over the nonzero singular values, a subgradient."""
        left, sizes, right = _svd(x)
        return self.alpha * (left * namespace(x).sign(sizes)) @ right

    def prox(self, x: Array, step: float) -> Array:
        """Shrink the singular values; blocks of Frobenius norm below the threshold are zero."""
        xp, floor = namespace(x), step * self.alpha
        alive = np.flatnonzero(to_numpy(block_norms(x))[:, 0, 0] > floor)
        index = xp.asarray(alive, device=device(x))
        left, sizes, right = _svd(xp.take(x, index, axis=0))
        shrunk = (left * xp.clip(sizes - floor, min=0.0)) @ right
        place = np.zeros(x.shape[0], dtype=np.int64)
        place[alive] = 1 + np.arange(len(alive))
        zero = xp.zeros((1, *x.shape[1:]), dtype=x.dtype, device=device(x))
        padded = xp.concat([zero, shrunk], axis=0)
        return xp.take(padded, xp.asarray(place, device=device(x)), axis=0)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no singular value exceeds alpha, `inf` otherwise."""
        return _indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest singular value over alpha, (p,)."""
        return namespace(v).linalg.svdvals(v)[:, 0] / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the product of the top singular pair over alpha, and 0 for a zero block."""
        left, sizes, right = _svd(v)
        first = namespace(v).sign(sizes[..., :1])
        return (left[..., :1] * first) @ right[..., :1, :] / self.alpha


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
        _check(self.alpha)

    def value(self, x: Array) -> float:
        """Return alpha times the sum of all |u|."""
        return self.alpha * _total(namespace(x).abs(x))

    def gradient(self, x: Array) -> Array:
        """Return alpha sign(u), a subgradient."""
        return self.alpha * namespace(x).sign(x)

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha off every |u|, down to 0."""
        floor = step * self.alpha
        return x - namespace(x).clip(x, min=-floor, max=floor)

    def conjugate(self, v: Array) -> float:
        """Return 0 where no |v| exceeds alpha, `inf` otherwise."""
        return _indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return the largest |v| of every block over alpha, (p,)."""
        return _largest(namespace(v).abs(v)) / self.alpha

    def direction(self, v: Array) -> Array:
        """Return the sign of the largest entry over alpha, 0 in the other entries."""
        xp = namespace(v)
        return xp.sign(v) * _first_largest(xp.abs(v)) / self.alpha


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
        _check(self.alpha)

    @property
    def smoothness(self) -> float:
        """The strength itself."""
        return self.alpha

    def value(self, x: Array) -> float:
        """Return alpha/2 |u|^2."""
        return self.alpha / 2 * _total(x**2)

    def gradient(self, x: Array) -> Array:
        """Return alpha u."""
        return self.alpha * x

    def prox(self, x: Array, step: float) -> Array:
        """Return u / (1 + step alpha)."""
        return x / (1 + step * self.alpha)

    def conjugate(self, v: Array) -> float:
        """Return |v|^2 / (2 alpha)."""
        return _total(v**2) / (2 * self.alpha)

    def polar(self, v: Array) -> Array:
        """Return zeros, (p,): the conjugate is finite everywhere."""
        return namespace(v).zeros_like(_largest(v))

    def direction(self, v: Array) -> Array:
        """Return sqrt(2 / alpha) v_b / |v_b|, and 0 for a zero block."""
        return _over(v, block_norms(v)) * math.sqrt(2 / self.alpha)


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
        return _indicator(self.polar(v))

    def polar(self, v: Array) -> Array:
        """Return 0 for a zero block and `inf` for any other, (p,)."""
        xp = namespace(v)
        peak = _largest(xp.abs(v))
        return xp.where(peak == 0, peak, math.inf)

    def direction(self, v: Array) -> Array:
        """Return v_b / |v_b|, and 0 for a zero block."""
        return _over(v, block_norms(v))


def _check(alpha: float) -> None:
    if not 0 < alpha < math.inf:
        raise ValueError(
            f"alpha is {alpha} but must be positive and finite; use Unpenalised() for no penalty"
        )


def _total(x: Array) -> float:
    return float(namespace(x).sum(x))


def _rows(x: Array) -> Array:
    """Return every block as a row, (p, ...) to (p, size)."""
    return namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def _per_block(x: Array) -> Array:
    """Drop the kept axes of a reduction, (p, 1, ..., 1) to (p,)."""
    return namespace(x).reshape(x, (x.shape[0],))


def _largest(x: Array) -> Array:
    """Return the largest entry of every block, (p, ...) to (p,)."""
    return namespace(x).max(_rows(x), axis=1)


def _first_largest(x: Array) -> Array:
    """Return 1 at the first largest entry of every block and 0 elsewhere, in the shape of `x`."""
    xp = namespace(x)
    rows = _rows(x)
    places = xp.arange(rows.shape[1], device=x.device)
    marks = places == xp.argmax(rows, axis=1, keepdims=True)
    return xp.reshape(xp.astype(marks, x.dtype), x.shape)


def _column_norms(x: Array) -> Array:
    """Return the Euclidean norm of every column, (p, d, c) to (p, 1, c)."""
    xp = namespace(x)
    p, d, c = x.shape
    columns = xp.reshape(xp.matrix_transpose(x), (p * c, d))
    return xp.reshape(block_norms(columns), (p, 1, c))


def _over(x: Array, norms: Array) -> Array:
    """Return x / norms, and 0 where the norm is 0."""
    return x / namespace(x).where(norms > 0, norms, 1.0)


def _shrink(x: Array, norms: Array, floor: float) -> Array:
    """Take `floor` off every norm, down to 0."""
    return x * (1 - floor / namespace(x).clip(norms, min=floor))


def _svd(x: Array) -> tuple[Array, Array, Array]:
    """Return the thin factors of every block, the singular values as a row (p, 1, k)."""
    left, sizes, right = namespace(x).linalg.svd(x, full_matrices=False)
    return left, sizes[:, None, :], right


def _indicator(polar: Array) -> float:
    """Return 0 where all of `polar` is at most 1 up to rounding, `inf` otherwise."""
    xp = namespace(polar)
    edge = 1 + SLACK * float(xp.finfo(polar.dtype).eps)
    return 0.0 if bool(xp.all(polar <= edge)) else math.inf
