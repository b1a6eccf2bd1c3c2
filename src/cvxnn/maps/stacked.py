"""Maps of blocks that each have a matrix of their own."""

from dataclasses import dataclass

from cvxnn.arrays import Array, namespace, spectral_norm


@dataclass(frozen=True, eq=False)
class Stacked:
    """A u = sum_i F_i u_i for matrices F_i of one shape: `factors` (p, n, d), blocks (p, d, c).

    A product takes 2 p n d c operations; all the matrices are held.

    >>> import numpy as np
    >>> factors = np.array([[[1.0], [2.0]], [[0.0], [3.0]]])
    >>> Stacked(factors, outputs=1).apply(np.ones((2, 1, 1))).tolist()
    [[1.0], [5.0]]
    """

    factors: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.factors.shape[0], self.factors.shape[2], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (self.factors.shape[1], self.outputs)

    def _in(self, dtype: object) -> Array:
        return namespace(self.factors).astype(self.factors, dtype, copy=False)

    def apply(self, u: Array) -> Array:
        """Return sum_i F_i u_i, (p, d, c) to (n, c)."""
        return namespace(u).sum(namespace(u).matmul(self._in(u.dtype), u), axis=0)

    def adjoint(self, z: Array) -> Array:
        """Return the blocks F_i' z, (n, c) to (p, d, c)."""
        xp = namespace(z)
        return xp.matmul(xp.matrix_transpose(self._in(z.dtype)), z[None, :, :])

    def restrict(self, blocks: Array) -> "Stacked":
        """Return the map of some blocks."""
        return Stacked(namespace(self.factors).take(self.factors, blocks, axis=0), self.outputs)

    def astype(self, dtype: object) -> "Stacked":
        """Return the same map with its data in another precision."""
        return Stacked(self._in(dtype), self.outputs)

    def outer(self, inner: Array) -> Array:
        """Return sum_i F_i inner F_i', (n, n); `inner` is (d, d), or (p, d, d), one a block."""
        xp = namespace(self.factors)
        products = xp.matmul(xp.matmul(self.factors, inner), xp.matrix_transpose(self.factors))
        return xp.sum(products, axis=0)

    def block_norm(self) -> float:
        """Return the largest spectral norm of a block's matrix."""
        each = (spectral_norm(self.factors[i, :, :]) for i in range(self.factors.shape[0]))
        return max(each, default=0.0)


@dataclass(frozen=True, eq=False)
class StackedRows:
    """C u = C_i u_i for `matrices` (p, n, d): blocks (p, d, c) map to rows (p, n, c)."""

    matrices: Array
    outputs: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return (self.matrices.shape[0], self.matrices.shape[2], self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(p, n, c)."""
        return (*self.matrices.shape[:2], self.outputs)

    def _in(self, dtype: object) -> Array:
        return namespace(self.matrices).astype(self.matrices, dtype, copy=False)

    def apply(self, u: Array) -> Array:
        """Return the rows of every block, (p, d, c) to (p, n, c)."""
        return namespace(u).matmul(self._in(u.dtype), u)

    def adjoint(self, z: Array) -> Array:
        """Return C_i' z_i, (p, n, c) to (p, d, c)."""
        xp = namespace(z)
        return xp.matmul(xp.matrix_transpose(self._in(z.dtype)), z)

    def restrict(self, blocks: Array) -> "StackedRows":
        """Return the rows of some blocks."""
        chosen = namespace(self.matrices).take(self.matrices, blocks, axis=0)
        return StackedRows(chosen, self.outputs)

    def gram(self) -> Array:
        """Return C_i' C_i of every block, (p, d, d)."""
        xp = namespace(self.matrices)
        return xp.matmul(xp.matrix_transpose(self.matrices), self.matrices)

    def rows(self, block: int) -> Array:
        """Return C_i of one block, (n, d)."""
        return self.matrices[block, :, :]
