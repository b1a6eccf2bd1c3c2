"""What norms compute for every block: sizes, thresholds, singular values, and their slopes."""

import math
from collections.abc import Callable

from cvxnn.arrays import Array, block_norms, namespace

SLACK = 8.0
"""How many units in the last place a polar may exceed 1 before the conjugate is infinite."""


def check_strength(alpha: float) -> None:
    """Raise ValueError unless a penalty's strength is positive and finite."""
    if not 0 < alpha < math.inf:
        raise ValueError(
            f"alpha is {alpha} but must be positive and finite; use Unpenalised() for no penalty"
        )


def total(x: Array) -> float:
    """Return the sum of all entries."""
    return float(namespace(x).sum(x))


def _rows(x: Array) -> Array:
    """Return every block as a row, (p, ...) to (p, size)."""
    return namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def per_block(x: Array) -> Array:
    """Drop the kept axes of a reduction, (p, 1, ..., 1) to (p,)."""
    return namespace(x).reshape(x, (x.shape[0],))


def largest(x: Array) -> Array:
    """Return the largest entry of every block, (p, ...) to (p,)."""
    return namespace(x).max(_rows(x), axis=1)


def first_largest(x: Array) -> Array:
    """Return 1 at the first largest entry of every block and 0 elsewhere, in the shape of `x`."""
    xp = namespace(x)
    flat = _rows(x)
    places = xp.arange(flat.shape[1], device=x.device)
    marks = places == xp.argmax(flat, axis=1, keepdims=True)
    return xp.reshape(xp.astype(marks, x.dtype), x.shape)


def column_norms(x: Array) -> Array:
    """Return the Euclidean norm of every column, (p, d, c) to (p, 1, c)."""
    xp = namespace(x)
    p, d, c = x.shape
    columns = xp.reshape(xp.matrix_transpose(x), (p * c, d))
    return xp.reshape(block_norms(columns), (p, 1, c))


def divided(x: Array, norms: Array) -> Array:
    """Return x / norms, and 0 where the norm is 0."""
    return x / namespace(x).where(norms > 0, norms, 1.0)


def shrink(x: Array, norms: Array, floor: float) -> Array:
    """Take `floor` off every norm, down to 0."""
    return x * (1 - floor / namespace(x).clip(norms, min=floor))


def shrink_jacobian(
    x: Array, norms: Array, floor: float, axes: tuple[int, ...]
) -> Callable[[Array], Array]:
    """Return the derivative of `shrink` at `x`; the norms are over `axes`."""
    xp = namespace(x)
    units, alive = divided(x, norms), xp.astype(norms > floor, x.dtype)
    share = alive * floor / xp.clip(norms, min=floor)
    kept, turned = alive - share, share * units
    return lambda z: kept * z + turned * xp.sum(units * z, axis=axes, keepdims=True)


def thin_svd(x: Array) -> tuple[Array, Array, Array]:
    """Return the thin factors of every block, the singular values as a row (p, 1, k)."""
    left, sizes, right = namespace(x).linalg.svd(x, full_matrices=False)
    return left, sizes[:, None, :], right


def indicator(polar: Array, slack: float = SLACK) -> float:
    """Return 0 where all of `polar` is at most 1 up to rounding, `inf` otherwise."""
    xp = namespace(polar)
    edge = 1 + slack * float(xp.finfo(polar.dtype).eps)
    return 0.0 if bool(xp.all(polar <= edge)) else math.inf
