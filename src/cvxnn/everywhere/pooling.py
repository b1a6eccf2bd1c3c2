"""Neurons whose activations on several rows add up to one sample's, as those of filters do."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pooling:
    """What every row counts for in every sample's cells: sums[i * cells + cell, row] >= 0.

    A neuron has an output weight for every cell and output, (cell, output) in that order; it is a
    neuron on the rows whose dual point is each sample's, repeated.
    """

    sums: Any
    """(n * cells, N), sparse."""
    cells: int

    @cached_property
    def _single(self) -> Any:
        return self.sums.astype(np.float32)

    def pooled(self, hidden: NDArray[Any]) -> NDArray[Any]:
        """Return the sums (n, k * cells) of activations (N, k), neuron by neuron."""
        sums = self._single if hidden.dtype == np.float32 else self.sums
        n, k = sums.shape[0] // self.cells, hidden.shape[1]
        found = (sums @ hidden).reshape(n, self.cells, k)
        return np.asarray(found.swapaxes(1, 2).reshape(n, k * self.cells))

    def spread(self, dual: NDArray[Any]) -> NDArray[Any]:
        """Return what a dual point (n, c) asks of the rows, (N, cells * c)."""
        n, c = dual.shape
        apart = np.zeros((n, self.cells, self.cells, c), dtype=dual.dtype)
        for cell in range(self.cells):
            apart[:, cell, cell] = dual
        sums = self._single if dual.dtype == np.float32 else self.sums
        return np.asarray(sums.T @ apart.reshape(n * self.cells, self.cells * c))

    def at(self, weights: Floats) -> Any:
        """Return the sums (n, N) of one cell, samples times `weights` (n,)."""
        return (sparse.diags_array(weights) @ self.sums).astype(np.float32)


def merged(features: Floats, sums: Any, cells: int) -> tuple[Floats, Pooling]:
    """Return the rows (N, d) that differ and are not zero, and the sums over them.

    >>> rows = np.array([[1.0], [0.0], [1.0]])
    >>> left, pooling = merged(rows, sparse.csr_array(np.ones((1, 3))), 1)
    >>> left.tolist(), pooling.sums.toarray().tolist()
    ([[1.0]], [[2.0]])
    """
    rows = np.ascontiguousarray(features + 0.0)  # zeros have one sign
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # as the rows come
    order = order[rows[first[order]].any(axis=1)]
    if not len(order):  # nothing but zeros
        order = np.zeros(1, dtype=np.int64)
    place = np.full(len(first), -1)
    place[order] = np.arange(len(order))
    column = place[owner.ravel()]
    kept = np.flatnonzero(column >= 0)
    shape = (len(rows), len(order))
    onto = sparse.csr_array((np.ones(len(kept)), (kept, column[kept])), shape=shape)
    return rows[first[order]], Pooling(sparse.csr_array(sums @ onto), cells)
