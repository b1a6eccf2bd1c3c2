"""Symmetric matrices as vectors, so that they are blocks like any other.

A matrix becomes its upper triangle, column by column, with the entries off the diagonal times
sqrt(2): inner products stay what they were. Blocks (p, t, c) hold p matrices for each of c outputs,
with t = s (s + 1) / 2 for matrices of side s.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cvxnn.arrays import Array, device, namespace


def triangle(side: int) -> int:
    """Return how many entries the vector of a matrix has."""
    return side * (side + 1) // 2


def side_of(size: int) -> int:
    """Return the side of the matrices whose vectors have `size` entries."""
    return (math.isqrt(8 * size + 1) - 1) // 2


@lru_cache(maxsize=16)
def _places(side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each entry of the vector is in the matrix, and of the matrix in the vector."""
    column, row = np.tril_indices(side)
    back = np.zeros((side, side), dtype=np.int64)
    back[row, column] = back[column, row] = np.arange(len(row))
    return row * side + column, back.ravel()


@lru_cache(maxsize=16)
def _root(side: int) -> NDArray[np.float64]:
    return np.where(np.eye(side).ravel() > 0, 1.0, math.sqrt(2.0))


def to_matrices(blocks: Array) -> Array:
    """Return the matrices (p, c, s, s) of blocks (p, t, c).

    >>> to_matrices(np.array([[[1.0], [np.sqrt(2.0)], [3.0]]]))[0, 0].round(6).tolist()
    [[1.0, 1.0], [1.0, 3.0]]
    """
    xp = namespace(blocks)
    p, size, c = blocks.shape
    side = side_of(size)
    _, back = _places(side)
    index = xp.asarray(back, device=device(blocks))
    roots = xp.asarray(_root(side), dtype=blocks.dtype, device=device(blocks))
    flat = xp.take(xp.matrix_transpose(blocks), index, axis=2) / roots
    return xp.reshape(flat, (p, c, side, side))


def to_blocks(matrices: Array) -> Array:
    """Return the blocks (p, t, c) of symmetric matrices (p, c, s, s): only upper triangles count.

    >>> to_blocks(np.eye(2)[None, None]).ravel().tolist()
    [1.0, 0.0, 1.0]
    """
    xp = namespace(matrices)
    p, c, side, _ = matrices.shape
    places, _ = _places(side)
    index = xp.asarray(places, device=device(matrices))
    roots = xp.asarray(_root(side)[places], dtype=matrices.dtype, device=device(matrices))
    flat = xp.take(xp.reshape(matrices, (p, c, side * side)), index, axis=2) * roots
    return xp.matrix_transpose(flat)


_LARGE = 64
"""Side from which a library would use several threads."""


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread(matrices: Array) -> AbstractContextManager[Any]:
    return _pools().limit(limits=1) if matrices.shape[-1] >= _LARGE else nullcontext()


def eigh(matrices: Array) -> tuple[Array, Array]:
    """Return eigenvalues (..., s), ascending, and eigenvectors (..., s, s), on one thread.

    Matrices of a few hundred rows gain nothing from several, and lose a hundredfold on a machine
    whose processors are busy, where threads wait for each other at every column.
    """
    with _one_thread(matrices):
        sizes, axes = namespace(matrices).linalg.eigh(matrices)
    return sizes, axes


def eigvalsh(matrices: Array) -> Array:
    """Return the eigenvalues (..., s), ascending, on one thread."""
    with _one_thread(matrices):
        return namespace(matrices).linalg.eigvalsh(matrices)


def composed(sizes: Array, axes: Array) -> Array:
    """Return Q diag(sizes) Q'."""
    return (axes * sizes[..., None, :]) @ namespace(axes).matrix_transpose(axes)


def bent(quotients: Array, axes: Array, z: Array) -> Array:
    """Return Q (W o Q'zQ) Q'."""
    turned = namespace(axes).matrix_transpose(axes)
    return axes @ (quotients * (turned @ z @ axes)) @ turned


def differences(sizes: Array, values: Array, slopes: Array) -> Array:
    """Return (f_i - f_j) / (s_i - s_j), and the slope where sizes agree [LiSunToh2018]."""
    xp = namespace(sizes)
    gaps = sizes[..., :, None] - sizes[..., None, :]
    peak = xp.max(xp.abs(sizes), axis=-1)[..., None, None]
    alike = xp.abs(gaps) <= 1e-9 * peak
    rise = values[..., :, None] - values[..., None, :]
    mean = (slopes[..., :, None] + slopes[..., None, :]) / 2
    return xp.where(alike, mean, rise / xp.where(alike, 1.0, gaps))
