"""The only file that asks which array library this is.

Everything else takes the namespace of the arrays it is given and stays in the array API standard:
the same lines run on NumPy, on torch (CPU or CUDA) and on the strict reference implementation.
"""

import math
from typing import Any, TypeAlias

import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import array_namespace, is_torch_array, to_device
from array_api_compat import device as device_of
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import issparse

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""


def namespace(*arrays: Array) -> Any:
    """Return the array API namespace shared by `arrays`; Python scalars and None are skipped."""
    for x in arrays:  # a loop: half of all calls in a small fit are this one, with one array
        if type(x) is not np.ndarray:
            break
    else:
        return numpy_namespace
    if any(is_sparse(x) for x in arrays):  # rows of data; their products are arrays of NumPy
        return numpy_namespace
    return array_namespace(*arrays)


def is_sparse(x: Any) -> bool:
    """Tell whether `x` is a sparse matrix or array of SciPy."""
    return bool(issparse(x))


def device(x: Array) -> Any:
    """Return the device of an array; sparse matrices are on the host."""
    return "cpu" if is_sparse(x) else device_of(x)


def to_numpy(x: Array) -> np.ndarray:
    """Return `x` as a NumPy array in host memory, without a copy where that is possible."""
    if isinstance(x, np.ndarray):
        return x
    if is_torch_array(x):
        x = to_device(x.detach(), "cpu")
    return np.asarray(x)


def like(x: Array, other: Array) -> Array:
    """Return `x` in the library, on the device and with the dtype of `other`."""
    xp = namespace(other)
    if is_torch_array(x) and type(x) is type(other):  # gradients go through
        return xp.astype(to_device(x, device(other)), other.dtype, copy=False)
    host = x if type(x) is type(other) else to_numpy(x)
    return xp.asarray(host, dtype=other.dtype, device=device(other))


def double(x: Array) -> Array:
    """Return `x` in float64, on its own device; no copy when it is float64 already."""
    xp = namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def masked_sum(masks: Array, values: Array) -> Array:
    """Return the row sums of `masks * values`, (n, p) and (n, p) to (n,), without the product."""
    return namespace(masks, values).linalg.vecdot(masks, values)


def block_norms(blocks: Array) -> Array:
    """Return the Euclidean norm of every block, (p, ...) to (p, 1, ..., 1).

    Squares that would under- or overflow are taken after the largest entry is divided out.
    """
    xp = namespace(blocks)
    rows = xp.reshape(blocks, (blocks.shape[0], -1)) if 0 not in blocks.shape else blocks
    scale = _safe_scale(rows)
    rows = rows if scale == 1.0 else rows / scale
    norms = scale * xp.sqrt(xp.linalg.vecdot(rows, rows))
    return xp.reshape(norms, (blocks.shape[0],) + (1,) * (blocks.ndim - 1))


def _safe_scale(x: Array) -> float:
    """Return 1 where the squares of `x` neither over- nor underflow, else its largest entry."""
    xp = namespace(x)
    peak = float(xp.max(xp.abs(x))) if 0 not in x.shape else 1.0
    room = float(xp.finfo(x.dtype).max) ** 0.25
    return 1.0 if peak == 0 or 1 / room < peak < room else peak


def for_outputs(columns: Array, outputs: int) -> Array:
    """Return every column of (n, q) for every one of c outputs, (n, c, q c)."""
    xp, (n, q) = namespace(columns), columns.shape
    if outputs == 1:
        return columns[:, None, :]
    every = xp.eye(outputs, dtype=columns.dtype, device=device(columns))
    each = columns[:, None, :, None] * every[None, :, None, :]
    return xp.reshape(each, (n, outputs, q * outputs))


def inner(x: Array, y: Array) -> float:
    """Return <x, y> over all entries."""
    xp = namespace(x, y)
    return float(xp.linalg.vecdot(xp.reshape(x, (-1,)), xp.reshape(y, (-1,))))


def norm(x: Array) -> float:
    """Return the Euclidean norm over all entries, safe against under- and overflow."""
    scale = _safe_scale(x)
    x = x if scale == 1.0 else x / scale
    return scale * math.sqrt(inner(x, x))


def solve_positive(matrix: Array, right: Array) -> Array:
    """Return (I + matrix)^-1 right for a symmetric matrix (n, n) >= 0; `matrix` is overwritten."""
    xp, n = namespace(matrix), matrix.shape[0]
    if isinstance(matrix, np.ndarray):
        matrix[np.diag_indices(n)] += 1
        factor = cho_factor(matrix, overwrite_a=True, check_finite=False)
        return cho_solve(factor, right, check_finite=False)
    matrix = matrix + xp.eye(n, dtype=matrix.dtype, device=device(matrix))
    if is_torch_array(matrix):
        return right.cholesky_solve(xp.linalg.cholesky(matrix))
    return xp.linalg.solve(matrix, right)


def spectral_norm(matrix: Array) -> float:
    """Return the largest singular value of a (n, d) matrix, by its smaller Gram matrix."""
    xp = namespace(matrix)
    peak = float(xp.max(xp.abs(matrix)))
    if peak == 0:
        return 0.0
    x = matrix / peak
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    return peak * math.sqrt(max(float(xp.linalg.eigvalsh(gram)[-1]), 0.0))
