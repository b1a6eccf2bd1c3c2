"""The map of attention heads, summed up: dense blocks of weights, or heads one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cvxnn.arrays import Array, device, namespace
from cvxnn.maps.gated import row_blocks

Weights = list[tuple[int, Array, Array]]
"""Of every gate with heads its place, their W1 (h, d, d) and W2 (h, d, c)."""


@dataclass(frozen=True, eq=False)
class Heads:
    """(A Z)_i = sum over gates and tokens u of the entries y_l x_k x_m Z[m, l, k], x = x_iu.

    y_iu is what token u of sequence i is asked: the sum of the `queries` (n, t, d), tokens times
    what they count in the output, that see it by `masks` (p, n, t, s); without masks it is the
    one query of (n, 1, d), and x x' is summed up over the `keys` (n, s, d) first. Blocks are
    (p, d * d * d, c) in the order (m, l, k) and predictions (n, c): a head W1, W2 is the block
    W2[m, c] W1[l, k]. The tokens of some sequences are multiplied out at a time; a product takes
    2 n d^3 c operations, with masks 2 n p d^3 (c + s) [Sahiner2022].

    `apart`, every key u has a value of its own, the unit vector e_u, in the place of x_iu: keys are
    then the channels of a mixer, d tokens long, and blocks (p, s * d * d, c).

    >>> import numpy as np
    >>> keys, query = np.array([[[1.0], [2.0]]]), np.array([[[3.0]]])
    >>> Heads(keys, query, outputs=1).apply(np.ones((1, 1, 1))).tolist()
    [[15.0]]
    """

    keys: Array
    queries: Array
    outputs: int
    masks: Array | None = None
    count: int = 1
    """How often the one block stands, where there are no masks."""
    apart: bool = False
    """Whether the values are unit vectors, and not the keys."""

    @property
    def side(self) -> int:
        """d, the width of a key and of a query."""
        return int(self.keys.shape[2])

    @property
    def values(self) -> int:
        """The width of a value, d, or s where they are apart."""
        return int(self.keys.shape[1 if self.apart else 2])

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, values * d * d, c)."""
        blocks = self.count if self.masks is None else self.masks.shape[0]
        return (blocks, self.values * self.side**2, self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.keys.shape[0], self.outputs)

    def _tokens(self, width: int, dtype: object) -> Iterator[tuple[slice, Array, Array]]:
        """Yield some sequences with their keys and queries."""
        xp = namespace(self.keys)
        for rows in row_blocks(self.keys.shape[0], width):
            keys, queries = self.keys[rows, ...], self.queries[rows, ...]
            yield (
                rows,
                xp.astype(keys, dtype, copy=False),
                xp.astype(queries, dtype, copy=False),
            )

    def _asked(self, gate: int, rows: Any, queries: Array) -> Array:
        """Return y of every key, (r, s, d), or of all keys alike, (r, 1, d)."""
        if self.masks is None:
            return queries
        xp = namespace(queries)
        seen = xp.astype(self.masks[gate, rows, ...], queries.dtype)
        return xp.matmul(xp.matrix_transpose(seen), queries)

    def _columns(self, gate: int, rows: Any, keys: Array, queries: Array) -> Array:
        """Return the rows (r, values * d^2) of one block's matrix."""
        xp, (r, s, d) = namespace(keys), keys.shape
        asked = self._asked(gate, rows, queries)
        pairs = xp.reshape(asked[:, :, :, None] * keys[:, :, None, :], (r, s, d * d))
        if not self.apart:
            pairs = xp.matmul(xp.matrix_transpose(keys), pairs)
        return xp.reshape(pairs, (r, self.values * d * d))

    @property
    def _width(self) -> int:
        _, s, d = self.keys.shape
        return int(d * d * (1 + self.outputs if self.masks is None else s + d))

    def _summed(self, keys: Array) -> Array:
        """Return values times keys summed over the keys, (r, values * d)."""
        xp = namespace(keys)
        products = keys if self.apart else xp.matmul(xp.matrix_transpose(keys), keys)
        return xp.reshape(products, (keys.shape[0], self.values * self.side))

    def apply(self, u: Array) -> Array:
        """Return A Z, (p, values * d^2, c) to (n, c)."""
        xp, (p, _, c), d = namespace(u), self.in_shape, self.side
        parts = [xp.zeros((0, c), dtype=u.dtype, device=device(u))]
        flat = None
        if self.masks is None:  # (m, k) by (l, c): one product with the sums of x x'
            whole = xp.reshape(xp.sum(u, axis=0), (self.values, d, d, c))
            flat = xp.reshape(xp.permute_dims(whole, (0, 2, 1, 3)), (self.values * d, d * c))
        for rows, keys, queries in self._tokens(self._width, u.dtype):
            total = xp.zeros((keys.shape[0], c), dtype=u.dtype, device=device(u))
            if flat is not None:
                values = xp.reshape(self._summed(keys) @ flat, (keys.shape[0], d, c))
                total = xp.matmul(queries, values)[:, 0, :]
            else:
                for gate in range(p):
                    total = total + self._columns(gate, rows, keys, queries) @ u[gate, ...]
            parts.append(total)
        return xp.concat(parts, axis=0)

    def adjoint(self, z: Array) -> Array:
        """Return A* z, (n, c) to (p, values * d^2, c)."""
        xp, (p, size, c), d = namespace(z), self.in_shape, self.side
        kind = {"dtype": z.dtype, "device": device(z)}
        if self.masks is None:
            flat = xp.zeros((self.values * d, d * c), **kind)
            for rows, keys, queries in self._tokens(self._width, z.dtype):
                spread = queries[:, 0, :, None] * z[rows, None, :]
                flat = flat + self._summed(keys).T @ xp.reshape(spread, (-1, d * c))
            whole = xp.reshape(flat, (self.values, d, d, c))
            block = xp.reshape(xp.permute_dims(whole, (0, 2, 1, 3)), (1, size, c))
            return xp.concat([block] * p, axis=0) if p else block[:0, ...]
        totals = [xp.zeros((size, c), **kind) for _ in range(p)]
        for rows, keys, queries in self._tokens(self._width, z.dtype):
            totals = [
                old + self._columns(gate, rows, keys, queries).T @ z[rows, :]
                for gate, old in enumerate(totals)
            ]
        return xp.stack(totals) if p else xp.zeros((0, size, c), **kind)

    def restrict(self, blocks: Array) -> "Heads":
        """Return the map of some blocks."""
        if self.masks is None:
            return replace(self, count=int(blocks.shape[0]))
        return replace(self, masks=namespace(self.masks).take(self.masks, blocks, axis=0))

    def astype(self, dtype: object) -> "Heads":
        """Return the same map with its data in another precision."""
        xp = namespace(self.keys)
        keys, queries = (xp.astype(x, dtype, copy=False) for x in (self.keys, self.queries))
        return replace(self, keys=keys, queries=queries)

    def outer(self, inner: Array) -> Array:
        """Return sum_b M_b inner M_b', (n, n), for the matrices M_b of blocks, written out."""
        xp, n = namespace(self.keys), self.keys.shape[0]
        total = xp.zeros((n, n), dtype=inner.dtype, device=device(inner))
        for gate in range(self.in_shape[0]):
            parts = [
                self._columns(gate, rows, keys, queries)
                for rows, keys, queries in self._tokens(self._width, inner.dtype)
            ]
            matrix = xp.concat(parts, axis=0)
            middle = inner if inner.ndim == 2 else inner[gate, :, :]
            total = total + matrix @ middle @ matrix.T
        return total

    def block_norm(self) -> float:
        """Return the root of the sum of (sum_t |query_t| sum_u |x_u|^2)^2, a bound on |M_b|.

        Where values are apart their keys count by the root of sum_u |x_u|^2.
        """
        xp = namespace(self.keys)
        lengths = xp.sum(xp.linalg.vector_norm(self.queries, axis=2), axis=1)
        squares = xp.sum(self.keys**2, axis=(1, 2))
        squares = xp.sqrt(squares) if self.apart else squares
        return float(xp.linalg.vector_norm(lengths * squares)) if self.in_shape[0] else 0.0

    def pooled(self, gate: int, first: Array) -> Array:
        """Return what the heads W1 (h, d, d) of a gate make of the values, before W2, (n, h, v).

        A head takes 2 n (d^2 + 2 s d) operations, with masks about 2 n s (d^2 + s d).
        """
        xp, (h, d, _) = namespace(first), first.shape
        flat = xp.reshape(xp.permute_dims(first, (1, 0, 2)), (d, h * d))
        empty = xp.zeros((0, h, self.values), dtype=first.dtype, device=device(first))
        parts = [empty]
        for rows, keys, queries in self._tokens(self._head_width(h), first.dtype):
            scores = self._scores(gate, rows, keys, queries, flat, h)
            parts.append(scores if self.apart else xp.matmul(scores, keys))
        return xp.concat(parts)

    def attend(self, heads: Weights) -> tuple[Array, list[Array]]:
        """Return the outputs (n, c) of heads, and every gate's pooled values (n, h, v)."""
        xp, total, kept = namespace(self.keys), None, []
        for gate, first, second in heads:
            h, v, c = second.shape
            kept.append(self.pooled(gate, first))
            image = xp.reshape(kept[-1], (-1, h * v)) @ xp.reshape(second, (h * v, c))
            total = image if total is None else total + image
        return total, kept

    def _head_width(self, h: int) -> int:
        _, s, d = self.keys.shape
        return int(h * d * (1 if self.masks is None else s) + s * (d + h))

    def _scores(
        self, gate: int, rows: Any, keys: Array, queries: Array, flat: Array, h: int
    ) -> Array:
        """Return the scores y'W1 x of every key and head, (r, h, s)."""
        xp, (r, s, d) = namespace(keys), keys.shape
        asked = self._asked(gate, rows, queries)
        turned = xp.reshape(asked, (-1, d)) @ flat
        if self.masks is None:
            return xp.matmul(xp.reshape(turned, (r, h, d)), xp.matrix_transpose(keys))
        each = xp.matmul(xp.reshape(turned, (r, s, h, d)), keys[:, :, :, None])
        return xp.matrix_transpose(xp.reshape(each, (r, s, h)))

    def slopes(self, heads: Weights, kept: list[Array], z: Array) -> Weights:
        """Return the gradients of <attend(heads), z> in the heads; `kept` are the pooled values."""
        xp, d, found = namespace(z), self.side, []
        for (gate, first, second), pooled in zip(heads, kept, strict=True):
            h, v, c = second.shape
            outward = xp.reshape(xp.reshape(pooled, (-1, h * v)).T @ z, (h, v, c))
            back = xp.reshape(second, (h * v, c)).T
            flat = 0.0 * xp.reshape(first, (d, h * d))
            for rows, keys, queries in self._tokens(self._head_width(h), first.dtype):
                weights = xp.reshape(z[rows, :] @ back, (-1, h, v))
                if not self.apart:
                    weights = xp.matmul(weights, xp.matrix_transpose(keys))
                asked = self._asked(gate, rows, queries)
                if self.masks is None:
                    turned = xp.reshape(xp.matmul(weights, keys), (-1, h * d))
                else:
                    each = xp.matrix_transpose(weights)[:, :, :, None] * keys[:, :, None, :]
                    turned = xp.reshape(each, (-1, h * d))
                flat = flat + xp.reshape(asked, (-1, d)).T @ turned
            inward = xp.permute_dims(xp.reshape(flat, (d, h, d)), (1, 0, 2))
            found.append((gate, inward, outward))
        return found
