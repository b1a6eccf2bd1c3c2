"""The gated map of two-layer networks and the rows of its cones, as matrix products."""

from collections.abc import Iterator
from dataclasses import dataclass

from cvxnn.arrays import Array, device, double, masked_sum, namespace, spectral_norm

_CELLS = 2**20
"""Entries of the largest temporary: products run over row blocks that stay near the cache."""


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices that cover n rows, each with about a million entries of rows of that width."""
    step = max(16, _CELLS // max(1, width))
    for first in range(0, n, step):
        yield slice(first, min(n, first + step))


@dataclass(frozen=True, eq=False)
class Gated:
    """A u = sum over gates of D_i X u_i, with D_i = diag(masks[:, i]) never multiplied out.

    `features` (n, d) and `masks` (n, p) hold the data and the gates; blocks are (p, d, c) and
    predictions (n, c). Masks are 0 or 1, times -1 for a block that enters with a minus, or
    fractions on rows where a neuron has its kink. A product takes 2 n d p c operations. The
    program is that of gated ReLU networks [Mishkin2022], eq. (4).

    >>> import numpy as np
    >>> X, masks = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [0.0]])
    >>> Gated(X, masks, outputs=1).apply(np.ones((1, 2, 1))).tolist()
    [[3.0], [0.0]]
    """

    features: Array
    masks: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.masks.shape[1], self.features.shape[1], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.features.shape[0], self.outputs)

    def _blocks(
        self, dtype: object, width: int, gates: Array | None = None
    ) -> Iterator[tuple[slice, Array, Array]]:
        xp = namespace(self.features)
        for rows in row_blocks(self.features.shape[0], width):
            masks = self.masks[rows, :]
            masks = masks if gates is None else xp.take(masks, gates, axis=1)
            yield (
                rows,
                xp.astype(self.features[rows, :], dtype, copy=False),
                xp.astype(masks, dtype, copy=False),
            )

    def apply(self, u: Array) -> Array:
        """Return sum_i D_i X u_i, (p, d, c) to (n, c); where most u_i are zero, from the others."""
        xp = namespace(u)
        gates = xp.nonzero(xp.any(u != 0, axis=(1, 2)))[0]
        if 2 * gates.shape[0] < u.shape[0]:
            u = xp.take(u, gates, axis=0)
        else:
            gates = None
        (p, d, c), parts = u.shape, []
        if d < p and c > 1:  # fewer entries between the two products
            flat = xp.reshape(u, (p, d * c))
            for _, x, masks in self._blocks(u.dtype, max(p, d * c), gates):
                experts = xp.reshape(masks @ flat, (x.shape[0], d, c))
                parts.append((x[:, None, :] @ experts)[:, 0, :])
        else:
            columns = [u[:, :, k].T for k in range(c)]
            for _, x, masks in self._blocks(u.dtype, max(p, 1), gates):
                sums = [masked_sum(masks, x @ w) for w in columns]
                parts.append(xp.stack(sums, axis=-1))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)

    def adjoint(self, z: Array) -> Array:
        """Return the blocks X' D_i z, (n, c) to (p, d, c), as one product per row block.

        The narrower of X and the masks is weighted by z.
        """
        xp = namespace(z)
        p, d, c = self.in_shape
        wide, narrow = max(p, d), min(p, d)
        total = xp.zeros((wide, narrow * c), dtype=z.dtype, device=device(z))
        # data of another dtype are widened block by block, so all their columns count
        width = narrow * c if z.dtype == self.masks.dtype else max(wide, narrow * c)
        for rows, x, masks in self._blocks(z.dtype, width):
            one, other = (x, masks) if p < d else (masks, x)
            weighted = other[:, :, None] * z[rows, None, :]
            total = total + one.T @ xp.reshape(weighted, (x.shape[0], narrow * c))
        blocks = xp.reshape(total, (wide, narrow, c))
        return xp.permute_dims(blocks, (1, 0, 2)) if p < d else blocks

    def fits(self, u: Array) -> Array:
        """Return what every block predicts, D_i X u_i, (p, d, c) to (n, c, p)."""
        xp = namespace(u)
        features, masks = (xp.astype(x, u.dtype, copy=False) for x in (self.features, self.masks))
        parts = [masks * (features @ u[:, :, k].T) for k in range(u.shape[2])]
        return xp.stack(parts, axis=1)

    def restrict(self, blocks: Array) -> "Gated":
        """Return the map of some gates."""
        xp = namespace(self.masks)
        return Gated(self.features, xp.take(self.masks, blocks, axis=1), self.outputs)

    def along(self, directions: Array) -> "Gated":
        """Return the map of blocks V z, for directions V (d, k): that of the samples X V."""
        return Gated(self.features @ directions, self.masks, self.outputs)

    def astype(self, dtype: object) -> "Gated":
        """Return the same map with its data in another precision."""
        xp = namespace(self.features)
        features, masks = (xp.astype(x, dtype, copy=False) for x in (self.features, self.masks))
        return Gated(features, masks, self.outputs)

    def outer(self, inner: Array) -> Array:
        """Return sum_i D_i X inner X' D_i = (X inner X') o (D D'), (n, n)."""
        x = self.features
        return (x @ inner @ x.T) * (self.masks @ self.masks.T)

    def columns(self, rows: slice) -> Array:
        """Return rows of [D_1 X, ..., D_p X], (r, p d)."""
        x, masks = self.features[rows, :], self.masks[rows, :]
        return namespace(x).reshape(masks[:, :, None] * x[:, None, :], (x.shape[0], -1))

    def tile(self, rows: slice, columns: slice) -> Array:
        """Return entries of (X X') o (D D'), (r, s), in float64."""
        xs, ms = ((double(x[rows, :]), double(x[columns, :])) for x in (self.features, self.masks))
        return (xs[0] @ xs[1].T) * (ms[0] @ ms[1].T)

    def block_norm(self) -> float:
        """Return |X|_2, which bounds |D X|_2 for every mask in [-1, 1]."""
        return spectral_norm(self.features)


@dataclass(frozen=True, eq=False)
class Signed:
    """A (u, v) = inner(u - v): every gate once with a plus and once with a minus.

    Blocks are (2p, d, c), the p that add first. The difference is taken before the product, so
    it costs no more than `inner` alone.
    """

    inner: Gated

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(2p, d, c)."""
        p, d, c = self.inner.in_shape
        return (2 * p, d, c)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return self.inner.out_shape

    def apply(self, u: Array) -> Array:
        """Return inner(u[:p] - u[p:])."""
        p = self.inner.in_shape[0]
        return self.inner.apply(u[:p, ...] - u[p:, ...])

    def adjoint(self, z: Array) -> Array:
        """Return inner*(z) above its negative."""
        g = self.inner.adjoint(z)
        return namespace(g).concat([g, -g], axis=0)

    def restrict(self, blocks: Array) -> Gated:
        """Return the map of some blocks, their signs inside the masks."""
        xp, masks = namespace(self.inner.masks), self.inner.masks
        signed = xp.concat([masks, -masks], axis=1)
        return Gated(self.inner.features, xp.take(signed, blocks, axis=1), self.inner.outputs)

    def astype(self, dtype: object) -> "Signed":
        """Return the same map with its data in another precision."""
        return Signed(self.inner.astype(dtype))

    def outer(self, inner: Array) -> Array:
        """Return twice the matrix of the unsigned map."""
        return 2 * self.inner.outer(inner)

    def block_norm(self) -> float:
        """Return the bound of the unsigned map."""
        return self.inner.block_norm()


@dataclass(frozen=True, eq=False)
class ConeRows:
    """C u = (2 D_i - I) X u_i: nonnegative iff the neuron u_i has the activation pattern D_i.

    `features` (n, d), `signs` (p, n) of +1 and -1; blocks (p, d, c) map to (p, n, c). The weaker
    rows D_i X u_i >= 0 that some texts print admit networks that do not exist [Pilanci2020].
    """

    features: Array
    signs: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.signs.shape[0], self.features.shape[1], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(p, n, c)."""
        return (*self.signs.shape, self.outputs)

    def _in(self, dtype: object) -> tuple[Array, Array]:
        xp = namespace(self.features)
        return (
            xp.astype(self.features, dtype, copy=False),
            xp.astype(self.signs, dtype, copy=False),
        )

    def apply(self, u: Array) -> Array:
        """Return the rows of every block, (p, d, c) to (p, n, c)."""
        x, signs = self._in(u.dtype)
        columns = [(u[:, :, k] @ x.T) * signs for k in range(self.outputs)]
        return namespace(u).stack(columns, axis=-1)

    def adjoint(self, z: Array) -> Array:
        """Return X' (2 D_i - I) z_i, (p, n, c) to (p, d, c)."""
        x, signs = self._in(z.dtype)
        columns = [(z[:, :, k] * signs) @ x for k in range(self.outputs)]
        return namespace(z).stack(columns, axis=-1)

    def restrict(self, blocks: Array) -> "ConeRows":
        """Return the rows of some blocks."""
        xp = namespace(self.signs)
        return ConeRows(self.features, xp.take(self.signs, blocks, axis=0), self.outputs)

    def gram(self) -> Array:
        """Return X' X, the same for every pattern because the signs square to one."""
        return self.features.T @ self.features

    def rows(self, block: int) -> Array:
        """Return (2 D - I) X of one block, (n, d)."""
        return self.features * self.signs[block, :][:, None]
