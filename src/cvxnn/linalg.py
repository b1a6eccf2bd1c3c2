"""The few iterative pieces of linear algebra that libraries do not give for operators."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, solve_triangular
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from cvxnn.arrays import Array, inner, like, namespace, norm, to_numpy

_SHARED = 500_000
"""Entries of the data from which several threads share a product with profit."""


_SPARE, _POWERS = 10, 3
"""Columns of a random range beyond those that are asked for, and how often it is multiplied."""
_WHOLE = 16_384
"""Rows up to which LAPACK factors a matrix in one piece: with several threads OpenBLAS 0.3.30 ends
the process at 22,000 rows of float64 and 28,000 of float32."""
_PIVOTS = 60
"""Pivots after which a nonnegative program is taken not to end."""


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
    operator: Callable[[Array], Array],
    right: Array,
    start: Array | None,
    tol: float,
    max_iter: int,
    near: Callable[[Array], Array] = lambda residual: residual,
) -> Array:
    """Return x with |operator(x) - right| <= tol * |right| for a positive definite operator.

    It starts at zero if there is no start. `near`, the preconditioner, is positive definite too,
    and about undoes the operator.
    """
    x = 0 * right if start is None else start
    residual = right if start is None else right - operator(x)
    target = (tol * norm(right)) ** 2
    direction, square = 0 * right, 1.0
    for _ in range(max_iter):
        if inner(residual, residual) <= target:
            break
        ahead = near(residual)
        previous, square = square, inner(residual, ahead)
        direction = ahead + (square / previous) * direction
        image = operator(direction)
        step = square / inner(direction, image)
        x = x + step * direction
        residual = residual - step * image
    return x


def leading_vectors(matrix: Array, count: int, faint: float = 0.0) -> Array:
    """Return the leading left singular vectors (d, k) of a matrix (d, m), about: powers of a range.

    At most `count`, and none with `faint` of the largest singular value or less. They are
    orthonormal, the same at every call, and mixed where values are alike
    [HalkoMartinssonTropp2011, algorithm 4.4].

    >>> abs(leading_vectors(np.diag([3.0, 1.0, 2.0]), 2)).round(6).tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    xp, (d, m) = namespace(matrix), matrix.shape
    count = min(count, d, m)
    sketch = np.random.default_rng(0).standard_normal((m, min(count + _SPARE, d, m)))
    found = xp.linalg.qr(matrix @ like(sketch, matrix))[0]
    for _ in range(_POWERS):
        found = xp.linalg.qr(matrix @ (matrix.T @ found))[0]
    turn, sizes, _ = xp.linalg.svd(found.T @ matrix, full_matrices=False)
    kept = int(xp.sum(xp.astype(sizes > faint * xp.max(sizes), xp.int64)))
    return found @ turn[:, : min(count, kept)]


def cholesky(matrix: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return what `scipy.linalg.cho_solve` takes for a positive definite matrix (n, n).

    Its lower triangle, in Fortran order, is overwritten by the factor. Large ones are factored by
    quarters, with three quarters of the matrix beside it. LinAlgError where it is not definite.

    >>> cholesky(np.array([[4.0, 0.0], [2.0, 5.0]], order="F"))[0].tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    half = len(matrix) // 2
    if len(matrix) <= _WHOLE:
        matrix[:] = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)[0]
        return matrix, True
    first = cholesky(matrix[:half, :half].copy(order="F"))[0]
    matrix[:half, :half] = first
    below = solve_triangular(first, matrix[half:, :half].T, lower=True, check_finite=False)
    del first
    matrix[half:, :half] = below.T
    product = ssyrk if matrix.dtype == np.float32 else dsyrk
    rest = matrix[half:, half:].copy(order="F")
    rest = product(-1.0, below, beta=1.0, c=rest, trans=1, lower=1, overwrite_c=1)
    del below
    matrix[half:, half:] = cholesky(rest)[0]
    return matrix, True


def cholesky_room(n: int) -> int:
    """Return the numbers that `cholesky` holds beside a matrix (n, n)."""
    return 3 * n * n // 4 if n > _WHOLE else 0


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


def nonnegative_quadratic(
    gram: NDArray[np.float64],
    linear: NDArray[np.float64],
    inside: NDArray[np.bool_],
    bounded: int,
) -> NDArray[np.float64] | None:
    """Return argmin x' Q x / 2 - q' x with the first `bounded` entries of x nonnegative.

    Block principal pivoting [KimPark2011] from a guess of the support: all entries that are
    negative leave and all that pull enter, together as long as that makes fewer of them, else the
    last alone. None where rounding keeps it from ending: Q is too close to singular.
    """
    inside = np.concatenate([inside, np.ones(len(linear) - bounded, dtype=bool)])
    slack = 1e-12 * np.abs(linear).max(initial=0.0)
    fewest, patience = len(linear) + 1, 3
    for _ in range(max(_PIVOTS, len(linear) // 2)):
        index = np.flatnonzero(inside)
        x = np.zeros_like(linear)
        x[index] = np.linalg.solve(gram[np.ix_(index, index)], linear[index])
        slope = gram @ x - linear
        wrong = np.where(inside, x < 0, slope < -slack)
        wrong[bounded:] = False
        count = int(wrong.sum())
        if count == 0:
            return x
        if count < fewest:
            fewest, patience = count, 3
        elif patience:
            patience -= 1
        else:
            wrong[: int(np.flatnonzero(wrong)[-1])] = False
        inside = inside ^ wrong
    return None
