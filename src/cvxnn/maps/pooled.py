"""The map of filters: masked patches, added up in pooling cells, written out or on the way."""

from collections.abc import Iterator
from dataclasses import dataclass

from cvxnn.arrays import Array, device, namespace, norm, spectral_norm
from cvxnn.maps.gated import row_blocks


def pooled_factors(patches: Array, masks: Array, pool: Array) -> Array:
    """Return Phi_i = sum over places k of pool[a, k] D_ik X_k for every gate, (p, n, a * h).

    `patches` (n * K, h) hold the samples one after the other, `masks` (p, n * K) zeros and ones,
    `pool` (a, K) what each place counts for in every cell. After that the places are gone from
    every product [ErgenPilanci2021b]. For some samples at a time it is made of their rows alone, so
    that a Gram matrix can be added up by row blocks.

    >>> import numpy as np
    >>> patches, masks = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, True]])
    >>> pooled_factors(patches, masks, np.array([[0.5, 0.5]])).tolist()
    [[[2.0, 3.0]]]
    """
    xp = namespace(patches)
    (cells, places), (p, h) = pool.shape, (masks.shape[0], patches.shape[1])
    n = patches.shape[0] // places
    parts = []
    for rows in row_blocks(n, places * (p + h) + p * cells * h):
        x = xp.reshape(
            patches[rows.start * places : rows.stop * places, :],
            (rows.stop - rows.start, places, h),
        )
        some = masks[:, rows.start * places : rows.stop * places]
        gates = xp.asarray(some, device=device(patches))
        gates = xp.reshape(xp.astype(gates, patches.dtype), (p, rows.stop - rows.start, places))
        by_cell = [
            xp.matmul(
                xp.permute_dims(gates * xp.astype(pool[cell, :], patches.dtype), (1, 0, 2)), x
            )
            for cell in range(cells)
        ]
        parts.append(xp.permute_dims(xp.concat(by_cell, axis=2), (1, 0, 2)))
    if not parts:
        return xp.zeros((p, 0, cells * h), dtype=patches.dtype, device=device(patches))
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Pooled:
    """A u = sum_i Phi_i u_i with `pooled_factors` that are never held: for more gates than fit.

    `patches` (n * K, h), `masks` (n * K, p), zeros and ones, times -1 for a block that enters with
    a minus, `pool` (a, K); blocks are (p, a * h, c) and predictions (n, c). A product takes
    2 n K h p c operations.

    >>> import numpy as np
    >>> patches, masks = np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 1))
    >>> Pooled(patches, masks, np.ones((1, 2)), outputs=1).apply(np.ones((1, 2, 1))).tolist()
    [[10.0]]
    """

    patches: Array
    masks: Array
    pool: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, a * h, c)."""
        return (self.masks.shape[1], self.pool.shape[0] * self.patches.shape[1], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.patches.shape[0] // self.pool.shape[1], self.outputs)

    def _blocks(self, dtype: object) -> Iterator[tuple[slice, Array, Array, Array]]:
        """Yield some samples, their patches, their masks and the pool, in `dtype`."""
        xp, places = namespace(self.patches), self.pool.shape[1]
        width = places * max(self.masks.shape[1], self.patches.shape[1] * self.outputs)
        pool = xp.astype(self.pool, dtype, copy=False)
        for some in row_blocks(self.out_shape[0], width):
            rows = slice(some.start * places, some.stop * places)
            x = xp.astype(self.patches[rows, :], dtype, copy=False)
            yield some, x, xp.astype(self.masks[rows, :], dtype, copy=False), pool

    def apply(self, u: Array) -> Array:
        """Return sum_i Phi_i u_i, (p, a * h, c) to (n, c)."""
        xp, h = namespace(u), self.patches.shape[1]
        parts = []
        for some, x, masks, pool in self._blocks(u.dtype):
            columns = []
            for output in range(self.outputs):
                total = xp.zeros((some.stop - some.start,), dtype=u.dtype, device=device(u))
                for cell in range(pool.shape[0]):
                    weights = u[:, cell * h : (cell + 1) * h, output]
                    values = xp.linalg.vecdot(masks, x @ weights.T)
                    total = total + xp.reshape(values, (-1, pool.shape[1])) @ pool[cell, :]
                columns.append(total)
            parts.append(xp.stack(columns, axis=-1))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)

    def adjoint(self, z: Array) -> Array:
        """Return the blocks Phi_i' z, (n, c) to (p, a * h, c)."""
        xp, (p, _, c) = namespace(z), self.in_shape
        h, total = self.patches.shape[1], None
        for some, x, masks, pool in self._blocks(z.dtype):
            cells = []
            for cell in range(pool.shape[0]):
                spread = z[some, None, :] * pool[cell, :][None, :, None]
                pulled = x[:, :, None] * xp.reshape(spread, (x.shape[0], 1, c))
                part = masks.T @ xp.reshape(pulled, (x.shape[0], h * c))
                cells.append(xp.reshape(part, (p, h, c)))
            whole = cells[0] if len(cells) == 1 else xp.concat(cells, axis=1)
            total = whole if total is None else total + whole
        return total

    def restrict(self, blocks: Array) -> "Pooled":
        """Return the map of some blocks."""
        taken = namespace(self.masks).take(self.masks, blocks, axis=1)
        return Pooled(self.patches, taken, self.pool, self.outputs)

    def astype(self, dtype: object) -> "Pooled":
        """Return the same map with its data in another precision."""
        xp = namespace(self.patches)
        given = (self.patches, self.masks, self.pool)
        patches, masks, pool = (xp.astype(x, dtype, copy=False) for x in given)
        return Pooled(patches, masks, pool, self.outputs)

    def outer(self, inner: Array) -> Array:
        """Return sum_i Phi_i inner Phi_i', (n, n), gate by gate; `inner` is one or one a block."""
        xp, n = namespace(self.patches), self.out_shape[0]
        total = xp.zeros((n, n), dtype=self.patches.dtype, device=device(self.patches))
        for block in range(self.masks.shape[1]):
            factor = pooled_factors(self.patches, self.masks[:, block][None, :], self.pool)[0, :, :]
            middle = inner if inner.ndim == 2 else inner[block, :, :]
            total = total + factor @ middle @ factor.T
        return total

    def block_norm(self) -> float:
        """Return |X|_2 of all patches times the pool's Frobenius norm, a bound on |Phi_i|_2."""
        return spectral_norm(self.patches) * norm(self.pool)
