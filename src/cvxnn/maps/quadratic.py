"""The map from symmetric matrices to the values of their quadratic forms at the samples."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cvxnn.arrays import Array, device, namespace, spectral_norm
from cvxnn.maps import gated
from cvxnn.symmetric import to_blocks, to_matrices, triangle


@dataclass(frozen=True, eq=False)
class QuadraticForms:
    """(A U)_i = sum over blocks of s_b x_i' (K o U_b) x_i, with K o U the product of entries.

    `features` (n, s) hold the x_i, `weights` (s, s) is K, symmetric, and `signs` (p,) the s_b.
    Blocks are symmetric matrices of side s as vectors, (p, s (s + 1) / 2, c), predictions (n, c).
    A product takes 2 n s^2 c operations. It is the lift of [BartanPilanci2021].

    >>> import numpy as np
    >>> X = np.array([[1.0, 2.0]])
    >>> one = QuadraticForms(X, np.ones((2, 2)), np.ones(1), outputs=1)
    >>> one.apply(np.array([[[1.0], [0.0], [1.0]]])).tolist()
    [[5.0]]
    """

    features: Array
    weights: Array
    signs: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, s (s + 1) / 2, c)."""
        return (self.signs.shape[0], triangle(self.features.shape[1]), self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.features.shape[0], self.outputs)

    def _rows(self, dtype: object) -> Iterator[tuple[slice, Array]]:
        xp = namespace(self.features)
        for rows in gated.row_blocks(*self.features.shape):
            yield rows, xp.astype(self.features[rows, :], dtype, copy=False)

    def _as(self, array: Array, dtype: object) -> Array:
        return namespace(array).astype(array, dtype, copy=False)

    def apply(self, u: Array) -> Array:
        """Return the values of the forms, (p, t, c) to (n, c)."""
        xp, signs = namespace(u), self._as(self.signs, u.dtype)
        total = xp.sum(signs[:, None, None] * u, axis=0, keepdims=True)
        forms = self._as(self.weights, u.dtype) * to_matrices(total)[0, ...]
        parts = [
            xp.stack([xp.linalg.vecdot(x @ forms[k, ...], x) for k in range(self.outputs)], axis=-1)
            for _, x in self._rows(u.dtype)
        ]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)

    def adjoint(self, z: Array) -> Array:
        """Return s_b K o (X' diag(z) X) for every block, (n, c) to (p, t, c)."""
        xp, (p, size, c) = namespace(z), self.in_shape
        if p == 0:
            return xp.zeros((0, size, c), dtype=z.dtype, device=device(z))
        sums = [0.0 * self._as(self.weights, z.dtype) for _ in range(c)]
        for rows, x in self._rows(z.dtype):
            sums = [old + (x * z[rows, k][:, None]).T @ x for k, old in enumerate(sums)]
        forms = self._as(self.weights, z.dtype) * xp.stack(sums)
        return self._as(self.signs, z.dtype)[:, None, None] * to_blocks(forms[None, ...])

    def restrict(self, blocks: Array) -> "QuadraticForms":
        """Return the map of some blocks."""
        return replace(self, signs=namespace(self.signs).take(self.signs, blocks, axis=0))

    def astype(self, dtype: object) -> "QuadraticForms":
        """Return the same map with its data in another precision."""
        return replace(self, features=self._as(self.features, dtype))

    def outer(self, inner: Array) -> Array:
        """Return p M inner M' for the rows M (n, t) of one block, (n, n)."""
        xp, x = namespace(inner), self._as(self.features, inner.dtype)
        forms = self._as(self.weights, inner.dtype) * (x[:, :, None] * x[:, None, :])
        rows = to_blocks(forms[:, None, ...])[:, :, 0]
        signs = self._as(self.signs, inner.dtype)
        return xp.sum(signs**2) * (rows @ inner @ rows.T)

    def block_norm(self) -> float:
        """Return max |K| max |x_i| |X|_2: Schur's bound on the product of entries of X X'."""
        xp, x = namespace(self.features), self.features
        if 0 in self.signs.shape:
            return 0.0
        longest = float(xp.max(xp.linalg.vector_norm(x, axis=1)))
        largest = float(xp.max(xp.abs(self.weights))) * float(xp.max(xp.abs(self.signs)))
        return largest * longest * spectral_norm(x)
