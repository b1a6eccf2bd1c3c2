"""The few iterative pieces of linear algebra that libraries do not give for operators."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from cvxnn.arrays import Array, inner, namespace, norm, to_numpy

_SHARED = 500_000
"""Entries of the data from which several threads share a product with profit."""


def threads(entries: int | None) -> AbstractContextManager[Any]:
    """Return a context in which products of data with so many entries use as many threads as pay.

    Many small products are slower on two threads than on one, up to seven times. None: growth and
    proofs over all networks, whose products are small for data of any size.
    """
    small = entries is None or entries < _SHARED
    return _libraries().limit(limits=1) if small else nullcontext()


@cache
def _libraries() -> ThreadpoolController:
    """Return the libraries with threads that are loaded now, as NumPy's and SciPy's; 8 ms."""
    return ThreadpoolController()


def conjugate_gradient(
    operator: Callable[[Array], Array], right: Array, start: Array, tol: float, max_iter: int
) -> Array:
    """Return x with |operator(x) - right| <= tol * |right| for a positive definite operator."""
    x = start
    residual = right - operator(x)
    direction, square = residual, inner(residual, residual)
    target = (tol * norm(right)) ** 2
    for _ in range(max_iter):
        if square <= target:
            break
        image = operator(direction)
        step = square / inner(direction, image)
        x = x + step * direction
        residual = residual - step * image
        previous, square = square, inner(residual, residual)
        direction = residual + (square / previous) * direction
    return x


def orthonormal_columns(matrix: Array) -> tuple[Array, Array]:
    """Return Q (n, q), orthonormal with the range of `matrix` (n, k), and T with matrix @ T = Q.

    Columns are brought to unit norm first; directions below 1e-10 of the largest are dropped.
    """
    xp = namespace(matrix)
    norms = xp.linalg.vector_norm(matrix, axis=0)
    keep = xp.where(norms > 0, norms, xp.ones_like(norms))
    left, values, right = xp.linalg.svd(matrix / keep, full_matrices=False)
    rank = int((to_numpy(values) > 1e-10 * float(xp.max(values))).sum()) if matrix.shape[1] else 0
    return left[:, :rank], right[:rank, :].T / values[:rank] / keep[:, None]


def descend_smooth(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    steps: int,
    memory: int = 20,
    ftol: float = 1e-13,
) -> Array:
    """Return where L-BFGS [LiuNocedal1989] ends on a function that gives (value, gradient).

    `start` is a host vector (k,); values are brought to the scale of the first. It ends where a
    step gains less than `ftol` of that.
    """
    size = abs(function(start)[0]) or 1.0

    def scaled(x: Any) -> Any:
        value, gradient = function(x)
        return value / size, gradient / size

    options: Any = {"maxiter": steps, "maxfun": 3 * steps, "maxcor": memory}
    options |= {"ftol": ftol, "gtol": 1e-10}
    return minimize(scaled, start, jac=True, method="L-BFGS-B", options=options).x
