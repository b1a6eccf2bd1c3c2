"""The gated map with masks of one byte and data that are read by row blocks."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, is_sparse, to_numpy
from cvxnn.maps.gated import Gated
from cvxnn.streamed import LARGE, Streamed


@dataclass(frozen=True, eq=False)
class GatedStream:
    """A u = sum over gates of D_i X u_i, as `Gated`, for data or masks too large for that.

    `data` (n, d) are read, and `masks` (p, n), bool, widened, for some rows at a time: a product
    is one pass over both, and holds no more than a few blocks beside its result. The masks may be
    a memory map.

    >>> masks = np.array([[True, False]])
    >>> lift = GatedStream(Streamed(np.array([[1.0, 2.0], [3.0, 4.0]])), masks, outputs=1)
    >>> lift.apply(np.ones((1, 2, 1))).tolist()
    [[3.0], [0.0]]
    """

    data: Streamed
    masks: NDArray[np.bool_]
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.masks.shape[0], self.data.shape[1], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.data.shape[0], self.outputs)

    def apply(self, u: Array) -> Array:
        """Return sum_i D_i X u_i, (p, d, c) to (n, c), from the blocks that are not zero."""
        alive = np.flatnonzero(u.any(axis=(1, 2)))
        image = np.zeros(self.out_shape, u.dtype)
        if not len(alive):
            return image
        k, c = len(alive), self.outputs
        whole = k == len(u)
        chosen = u if whole else u[alive]
        weights = np.ascontiguousarray(chosen.transpose(2, 0, 1)).reshape(c * k, -1)
        for rows, values in self.data.products(weights):
            masks = self.masks[:, rows] if whole else self.masks[alive, rows]
            parts = values.reshape(c, k, -1) * np.asarray(masks, u.dtype)
            image[rows] = parts.sum(axis=1).T
        return image

    def adjoint(self, z: Array) -> Array:
        """Return the blocks X' D_i z, (n, c) to (p, d, c), in one pass over the data."""
        p, d, c = self.in_shape
        if p == 0:
            return np.zeros((0, d, c), z.dtype)

        def weights(rows: slice) -> NDArray[Any]:
            masks = np.asarray(self.masks[:, rows], z.dtype)
            return np.asarray(masks * z[rows].T[:, None, :]).reshape(c * p, -1)

        total = self.data.sums(weights, c * p, z.dtype)
        return np.ascontiguousarray(total.reshape(c, p, d).transpose(1, 2, 0))

    def restrict(self, blocks: Array) -> "Gated | GatedStream":
        """Return the map of some gates; in floats, where these and the data are small."""
        return replace(self, masks=self.masks[to_numpy(blocks)])._smallest()

    def along(self, directions: Array) -> "Gated | GatedStream":
        """Return the map of blocks V z, for directions V (d, k); in floats, where it is small."""
        seen = np.empty((self.data.shape[0], directions.shape[1]), directions.dtype)
        for rows, values in self.data.products(np.ascontiguousarray(directions.T)):
            seen[rows] = values.T
        return replace(self, data=Streamed(seen))._smallest()

    def _smallest(self) -> "Gated | GatedStream":
        """Return the map in floats where the data are an array and the masks small, else itself."""
        plain = self.data.plain()
        if plain is None or self.masks.size * plain.dtype.itemsize >= LARGE:
            return self
        return Gated(plain, self.masks.T.astype(plain.dtype, order="C"), self.outputs)

    def astype(self, dtype: object) -> "GatedStream":
        """Return the map itself: its data are widened as they are read."""
        return self

    def outer(self, inner: Array) -> Array:
        """Return sum_i D_i X inner X' D_i = (X inner X') o (D D'), (n, n)."""
        features = self.data.dense().astype(inner.dtype, copy=False)
        masks = self.masks.astype(inner.dtype)
        return (features @ inner @ features.T) * (masks.T @ masks)

    def columns(self, rows: slice) -> NDArray[Any]:
        """Return rows of [D_1 X, ..., D_p X], (r, p d)."""
        x = self._rows(rows)
        masks = self.masks[:, rows].T
        return np.asarray(masks[:, :, None] * x[:, None, :]).reshape(len(x), -1)

    def tile(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Return entries of (X X') o (D D'), (r, s); float32 counts gates exactly."""
        xs = [self._rows(each).astype(np.float64, copy=False) for each in (rows, columns)]
        ms = [np.asarray(self.masks[:, each], np.float32) for each in (rows, columns)]
        return np.asarray((xs[0] @ xs[1].T) * (ms[0].T @ ms[1]))

    def _rows(self, rows: slice) -> NDArray[Any]:
        block = self.data[rows]
        return np.asarray(block.toarray() if is_sparse(block) else block)

    def block_norm(self) -> float:
        """Return sqrt(|X|_1 |X|_inf), which bounds |D X|_2 for every mask."""
        return self.data.spectral_bound() if math.prod(self.in_shape) else 0.0
