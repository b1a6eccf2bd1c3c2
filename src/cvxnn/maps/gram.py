"""Normal matrices of lifts: A* W A from row blocks of columns, A A* between samples, kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, ssyrk

from cvxnn.arrays import Array
from cvxnn.maps.base import Lift

Floats = NDArray[np.float64]

TILE = 1024
"""Rows and columns of a kernel that are made at a time."""
CHUNK = 2**23
"""Entries of a row block of columns."""


class Explicit(Lift, Protocol):
    """A lift on the host whose columns Phi (n, p d) can be written out, some rows at a time."""

    def columns(self, rows: slice) -> NDArray[Any]:
        """Return rows of Phi, (r, p d): A u is Phi times the blocks, one under the other."""

    def tile(self, rows: slice, columns: slice) -> Floats:
        """Return entries of the kernel A A*, (r, s), in float64."""

    def restrict(self, blocks: Array) -> "Explicit":
        """Return the map of the blocks with these indices alone."""


class Gram(NamedTuple):
    """Sums over samples of weighted outer products of columns."""

    matrix: NDArray[Any]
    """Phi' W Phi, (D, D), in Fortran order, its lower triangle alone."""
    beside: Floats
    """Phi' W B, (D, q)."""


def gram(
    blocks: Iterable[tuple[slice, NDArray[Any]]],
    width: int,
    weights: Floats,
    beside: Floats,
    dtype: Any = np.float64,
) -> Gram:
    """Return Phi' W Phi and Phi' W B from blocks (rows, Phi[rows]) that cover all rows once.

    `width` is D, the columns of Phi; `weights` (n,) are nonnegative, `beside` is B (n, q). Blocks
    may be made as they are asked for: no more than one is held. The products are symmetric, half
    the work of others, and summed in `dtype`, float32 or float64.

    >>> phi = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> found = gram([(slice(0, 2), phi)], 2, np.ones(2), np.ones((2, 1)))
    >>> np.tril(found.matrix).tolist(), found.beside[:, 0].tolist()
    ([[10.0, 0.0], [14.0, 20.0]], [4.0, 6.0])
    """
    product = ssyrk if dtype == np.float32 else dsyrk
    matrix = np.zeros((width, width), dtype, order="F")
    sums = np.zeros((width, beside.shape[1]))
    for rows, phi in blocks:
        roots = np.sqrt(weights[rows])[:, None]
        scaled = np.ascontiguousarray(phi * roots.astype(phi.dtype), dtype=dtype)
        matrix = product(1.0, scaled.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
        sums += scaled.T @ (roots * beside[rows]).astype(dtype)
    return Gram(matrix, sums)


def without(matrix: NDArray[Any], beside: NDArray[Any]) -> NDArray[Any]:
    """Return a matrix (D, D) in Fortran order less `beside` times its transpose, in its place.

    The lower triangle alone; `beside` is (D, q).

    >>> without(np.array([[5.0, 0.0], [4.0, 5.0]], order="F"), np.array([[1.0], [2.0]])).tolist()
    [[4.0, 0.0], [2.0, 1.0]]
    """
    product = ssyrk if matrix.dtype == np.float32 else dsyrk
    part = np.ascontiguousarray(beside, dtype=matrix.dtype)
    found: NDArray[Any] = product(-1.0, part.T, beta=1.0, c=matrix, lower=1, trans=1, overwrite_c=1)
    return found


def kernel(lift: Explicit) -> Floats:
    """Return A A*, (n, n), by tiles of its lower triangle."""
    n = lift.out_shape[0]
    full = np.empty((n, n))
    for first in range(0, n, TILE):
        rows = slice(first, min(n, first + TILE))
        for other in range(0, first + 1, TILE):
            columns = slice(other, min(n, other + TILE))
            full[rows, columns] = lift.tile(rows, columns)
            full[columns, rows] = full[rows, columns].T
    return full


@dataclass(frozen=True, eq=False)
class Kept:
    """A lift that keeps its Gram matrix and its kernel once they were asked for.

    So a path of strengths has them made once. It is the lift `inner` in all else.

    >>> from cvxnn.maps import Gated
    >>> lift = Kept(Gated(np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]]), outputs=1))
    >>> lift.kernel().tolist(), lift.kernel() is lift.kernel()
    ([[1.0, 2.0], [2.0, 4.0]], True)
    """

    inner: Explicit
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(p, d, c)."""
        return self.inner.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return self.inner.out_shape

    def apply(self, u: Array) -> Array:
        """Return A u."""
        return self.inner.apply(u)

    def adjoint(self, z: Array) -> Array:
        """Return A* z."""
        return self.inner.adjoint(z)

    def restrict(self, blocks: Array) -> Explicit:
        """Return the map of some blocks, which keeps nothing."""
        return self.inner.restrict(blocks)

    def astype(self, dtype: object) -> Lift:
        """Return the inner map in another precision, which keeps nothing."""
        return self.inner.astype(dtype)

    def outer(self, inner: Array) -> Array:
        """Return A (I x inner) A*."""
        return self.inner.outer(inner)

    def block_norm(self) -> float:
        """Return the bound of the inner map."""
        return self.inner.block_norm()

    def columns(self, rows: slice) -> NDArray[Any]:
        """Return rows of Phi, (r, p d)."""
        return self.inner.columns(rows)

    def tile(self, rows: slice, columns: slice) -> Floats:
        """Return entries of the kernel."""
        return self.inner.tile(rows, columns)

    def kernel(self) -> Floats:
        """Return A A*, (n, n)."""
        if "kernel" not in self.memory:
            self.memory["kernel"] = kernel(self.inner)
        found: Floats = self.memory["kernel"]
        return found

    def gram(self, weights: Floats, beside: Floats, dtype: Any) -> Gram:
        """Return `gram` of the lift's columns; the last one is kept."""
        asked = (weights, beside, np.dtype(dtype))
        last = self.memory.get("gram")
        if last is None or not _equal(last[0], asked):
            p, d, _ = self.in_shape
            found = gram(self._blocks(), p * d, weights, beside, dtype)
            last = self.memory["gram"] = (asked, found)
        known: Gram = last[1]
        return known

    def remember(self, weights: Floats, beside: Floats, known: Gram) -> None:
        """Keep a Gram matrix that was summed elsewhere."""
        self.memory["gram"] = ((weights, beside, known.matrix.dtype), known)

    def _blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        n, (p, d, _) = self.out_shape[0], self.in_shape
        step = max(16, CHUNK // max(1, p * d))
        for first in range(0, n, step):
            rows = slice(first, min(n, first + step))
            yield rows, self.columns(rows)


def _equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[2] == other[2] and all(
        np.array_equal(a, b) for a, b in zip(one[:2], other[:2], strict=True)
    )


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A in the coefficients of samples: u = A* a for a (n, c), so that A u = K a.

    `kernel` is A A* of all samples (N, N), of which `index` (n,) are in use. There is one block,
    (1, n, c), and the inner product of blocks is <a, K a>, that of the u which they stand for: the
    adjoint is then the identity.

    >>> lift = Coefficients(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([1]), outputs=1)
    >>> lift.apply(np.ones((1, 1, 1))).tolist()
    [[3.0]]
    """

    whole: Floats
    index: NDArray[np.int64]
    outputs: int
    blocks: int = 1
    """1, or 0 for none."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(1, n, c)."""
        return (self.blocks, len(self.index), self.outputs)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n, c)."""
        return (len(self.index), self.outputs)

    def apply(self, u: Array) -> Array:
        """Return K a, (1, n, c) to (n, c)."""
        coefficients = u.sum(axis=0)
        if len(self.index) == len(self.whole):
            return (self.whole @ coefficients).astype(u.dtype, copy=False)
        spread = np.zeros((len(self.whole), self.outputs))
        spread[self.index] = coefficients
        return (self.whole @ spread)[self.index].astype(u.dtype, copy=False)

    def adjoint(self, z: Array) -> Array:
        """Return z as the coefficients that it is, (n, c) to (1, n, c)."""
        return np.broadcast_to(z, (self.blocks, *z.shape))

    def restrict(self, blocks: Array) -> "Coefficients":
        """Return the map of the one block or of none."""
        return Coefficients(self.whole, self.index, self.outputs, len(blocks))

    def astype(self, dtype: object) -> "Coefficients":
        """Return the map itself: kernels stay in float64."""
        return self

    def outer(self, inner: Array) -> Array:
        """Return K inner K: the block is as wide as there are samples."""
        known = self.kernel()
        return self.blocks * (known @ inner @ known)

    def block_norm(self) -> float:
        """Return a bound on the root of the largest eigenvalue of K."""
        return float(np.sqrt(np.abs(self.whole).sum(axis=1).max(initial=0.0)))

    def kernel(self) -> Floats:
        """Return K of the samples in use, (n, n)."""
        if len(self.index) == len(self.whole):
            return self.whole
        return self.whole[np.ix_(self.index, self.index)]
