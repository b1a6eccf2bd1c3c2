"""The only file that asks which array library this is.

Everything else takes the namespace of the arrays it is given and stays in the array API standard:
the same lines run on NumPy, on torch (CPU or CUDA) and on the strict reference implementation.
"""

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array, to_device

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""


def namespace(*arrays: Array) -> Any:
    """Return the array API namespace shared by `arrays`; Python scalars and None are skipped."""
    return array_namespace(*arrays)


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
    """Return the Euclidean norm of every block, (p, ...) to (p, 1, ..., 1), never below underflow.

    The largest entry is taken out first, so entries of 1e-200 or 1e200 keep their norm.
    """
    xp = namespace(blocks)
    axes = tuple(range(1, blocks.ndim))
    peak = xp.max(xp.abs(blocks), axis=axes, keepdims=True)
    safe = xp.where(peak > 0, peak, xp.ones_like(peak))
    return peak * xp.sqrt(xp.sum((blocks / safe) ** 2, axis=axes, keepdims=True))


def inner(x: Array, y: Array) -> float:
    """Return <x, y> over all entries."""
    xp = namespace(x, y)
    return float(xp.linalg.vecdot(xp.reshape(x, (-1,)), xp.reshape(y, (-1,))))


def norm(x: Array) -> float:
    """Return the Euclidean norm over all entries, safe against under- and overflow."""
    xp = namespace(x)
    peak = float(xp.max(xp.abs(x))) if 0 not in x.shape else 0.0
    return peak * inner(x / peak, x / peak) ** 0.5 if peak > 0 else 0.0


def spectral_norm(matrix: Array) -> float:
    """Return the largest singular value of a (n, d) matrix, by its smaller Gram matrix."""
    xp = namespace(matrix)
    peak = float(xp.max(xp.abs(matrix)))
    if peak == 0:
        return 0.0
    x = matrix / peak
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    return peak * max(float(xp.linalg.eigvalsh(gram)[-1]), 0.0) ** 0.5
