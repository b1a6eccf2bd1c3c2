"""A lift whose columns are written out once, in memory or in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array

ENTRIES = 2**22
"""Entries of the row blocks that are widened at a time."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A u = Phi u with Phi (n, p * d) given, in float32 too, and read by row blocks.

    >>> lift = Dense(np.array([[1.0, 2.0], [3.0, 4.0]]), blocks=1, outputs=1)
    >>> lift.apply(np.ones((1, 2, 1))).tolist()
    [[3.0], [7.0]]
    """

    phi: NDArray[Any]
    blocks: int
    """p; the columns of a block are side by side."""
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.blocks, self.phi.shape[1] // max(1, self.blocks), self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (len(self.phi), self.outputs)

    def _rows(self, dtype: Any) -> Iterator[tuple[slice, NDArray[Any]]]:
        step = max(1, ENTRIES // max(1, self.phi.shape[1]))
        for first in range(0, len(self.phi), step):
            rows = slice(first, min(len(self.phi), first + step))
            yield rows, self.phi[rows].astype(dtype, copy=False)

    def apply(self, u: Array) -> Array:
        """Return Phi u, (p, d, c) to (n, c)."""
        weights = u.reshape(-1, self.outputs)
        image = np.empty(self.out_shape, u.dtype)
        for rows, phi in self._rows(u.dtype):
            np.matmul(phi, weights, out=image[rows])
        return image

    def adjoint(self, z: Array) -> Array:
        """Return Phi' z, (n, c) to (p, d, c)."""
        total = np.zeros((self.phi.shape[1], self.outputs), z.dtype)
        for rows, phi in self._rows(z.dtype):
            total += phi.T @ z[rows]
        return total.reshape(self.in_shape)

    def restrict(self, blocks: Array) -> "Dense":
        """Return the map of some blocks, whose columns are copied."""
        n, (p, d, _) = len(self.phi), self.in_shape
        some = self.phi.reshape(n, p, d)[:, np.asarray(blocks)]
        return Dense(some.reshape(n, -1), len(some[0]), self.outputs)

    def astype(self, dtype: object) -> "Dense":
        """Return the map itself: columns take the dtype of what they meet."""
        return self

    def outer(self, inner: Array) -> Array:
        """Return sum_i Phi_i inner Phi_i', (n, n); `inner` is one or one a block."""
        n, (p, d, _) = len(self.phi), self.in_shape
        blocks = self.phi.reshape(n, p, d).transpose(1, 0, 2).astype(inner.dtype, copy=False)
        return np.asarray(((blocks @ inner) @ blocks.transpose(0, 2, 1)).sum(axis=0))

    def block_norm(self) -> float:
        """Return the largest Frobenius norm of a block's columns."""
        d = max(1, self.in_shape[1])
        squares = sum((np.square(phi).sum(axis=0) for _, phi in self._rows(np.float64)), start=0.0)
        return float(np.sqrt(np.reshape(squares, (-1, d)).sum(axis=1).max(initial=0.0)))

    def columns(self, rows: slice) -> NDArray[Any]:
        """Return rows of Phi, (r, p * d)."""
        return np.asarray(self.phi[rows])

    def tile(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Return entries of the kernel Phi Phi', (r, s), in float64."""
        left, right = (self.phi[some].astype(np.float64) for some in (rows, columns))
        return np.asarray(left @ right.T)
