"""A data matrix that is read by blocks of rows: too large to copy, in a file, or sparse."""

import math
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from cvxnn.arrays import Array, is_sparse, namespace, norm
from cvxnn.errors import DataChangedError

LARGE = 2**27
"""Bytes of data, written out densely, from which rows are read in blocks and no copy is made."""
CELLS = 2**19
"""Entries of a block's temporaries: near the cache."""
MOST_CELLS = 2**22
"""The same where a product's result is as large: sums over blocks then cost little beside it."""

Indices = NDArray[np.int64]


class Mapped(NamedTuple):
    """Where in a file the rows of a memory map are, and the state that the file must stay in.

    Rows are read from the file, not through the map: a map of a file that shrank ends the process.
    """

    path: str
    start: int
    """Byte of the first row."""
    row: int
    """Bytes of a row."""
    end: int
    """Bytes that the file must have."""
    stamp: int
    """Time of the file's last change, in nanoseconds."""

    def read(self, first: int, into: NDArray[Any]) -> None:
        """Read rows into an array (r, d); DataChangedError where the file is not as it was."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                self._check(os.fstat(file.fileno()))
                file.seek(self.start + first * self.row)
                view, done = into.reshape(-1).view(np.uint8).data, 0
                while done < len(view):
                    count = file.readinto(view[done:])
                    if not count:
                        self._check(os.fstat(file.fileno()))
                        raise DataChangedError(f"{self.path} ended while it was read")
                    done += count
        except OSError as error:
            raise DataChangedError(f"{self.path} can no longer be read: {error}") from error

    def _check(self, state: os.stat_result) -> None:
        if state.st_size < self.end:
            raise DataChangedError(
                f"{self.path} has {state.st_size} bytes and the memory map of X needs {self.end}: "
                "the file was cut off; write it again and map it anew"
            )
        if state.st_mtime_ns != self.stamp:
            raise DataChangedError(
                f"{self.path} was written to while it was in use; fit again on the file as it is"
            )


def mapped(X: Any) -> Mapped | None:
    """Return where the rows of a memory map are in its file; None for an array in memory.

    A private, writable map (mode "c") may differ from its file and counts as memory, as do maps
    whose rows are not in one piece, and files that were deleted. DataChangedError where the file
    was cut off, or where another file is in its place.
    """
    root = X
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    if not os.path.exists(root.filename):
        return None
    if X.ndim != 2 or 0 in X.shape or X.strides != (X.shape[1] * X.itemsize, X.itemsize):
        return None
    start = root.offset + X.ctypes.data - root.ctypes.data
    stamp, row = os.stat(root.filename).st_mtime_ns, X.strides[0]
    found = Mapped(str(root.filename), start, row, start + len(X) * row, stamp)
    last = np.empty((1, X.shape[1]), X.dtype)
    found.read(len(X) - 1, last)
    if last.tobytes() != X[-1:].tobytes():
        raise DataChangedError(f"{found.path} is not the file that X was mapped from; map it anew")
    return found


@dataclass(frozen=True, eq=False)
class Streamed:
    """Rows (n, d) that are read, and widened, a block at a time.

    The rows come from an array, from the file of a memory map, or from a sparse matrix in CSR
    form; `index` picks and orders them, and `ones` adds a last column of ones that is nowhere
    written out.

    >>> data = Streamed(np.array([[1.0, 2.0], [3.0, 4.0]])).with_ones()
    >>> data.shape, data[:, :].tolist()
    ((2, 3), [[1.0, 2.0, 1.0], [3.0, 4.0, 1.0]])
    >>> next(values.tolist() for _, values in data.products(np.array([[1.0, 0.0, 5.0]])))
    [[6.0, 8.0]]
    """

    base: Any
    """(rows, d), an array of NumPy or a CSR array of SciPy."""
    file: Mapped | None = None
    index: Indices | None = None
    ones: bool = False

    ndim = 2
    device = "cpu"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d), the column of ones counted."""
        n = self.base.shape[0] if self.index is None else len(self.index)
        return n, self.base.shape[1] + self.ones

    @property
    def dtype(self) -> Any:
        """The dtype of the rows."""
        return self.base.dtype

    @property
    def size(self) -> int:
        """Number of entries that are held: all, or those that are not zero."""
        return int(self.base.nnz) if is_sparse(self.base) else math.prod(self.shape)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        """Return NumPy's namespace: that of the blocks."""
        return namespace(np.empty(0))

    def __getitem__(self, key: Any) -> Any:
        """Return rows: those of a slice as a block, picked ones (integers, booleans) unread."""
        rows = key[0] if isinstance(key, tuple) else key
        if not isinstance(rows, slice):
            return self.take(rows)
        block = self._block(rows)
        return with_ones(block) if self.ones else block

    def take(self, rows: Array) -> "Streamed":
        """Return the data of some rows, integers or booleans, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index
        if len(index) == self.shape[0] and np.array_equal(index, np.arange(len(index))):
            return self
        return replace(self, index=index if self.index is None else self.index[index])

    def plain(self) -> NDArray[Any] | None:
        """Return the array in memory that these rows are, or None."""
        whole = self.index is None and self.file is None and not self.ones
        return self.base if whole and not is_sparse(self.base) else None

    def with_ones(self) -> "Streamed":
        """Return the same data with a last column of ones."""
        return replace(self, ones=True)

    def _block(self, rows: slice) -> Any:
        """Return rows without the ones: an array, or a CSR matrix."""
        first, last, _ = rows.indices(self.shape[0])
        if self.file is None:
            return self.base[first:last] if self.index is None else self.base[self.index[rows]]
        block = np.empty((max(0, last - first), self.base.shape[1]), self.base.dtype)
        if self.index is None:
            self.file.read(first, block)
            return block
        picked = self.index[first:last]
        starts = np.flatnonzero(np.diff(picked, prepend=-2) != 1)
        ends = np.append(starts[1:], len(picked))[: len(starts)]
        for begin, end in zip(starts, ends, strict=True):
            self.file.read(int(picked[begin]), block[begin:end])
        return block

    def blocks(self, width: int = 0, dtype: Any = None) -> Iterator[tuple[slice, Any]]:
        """Yield (rows, block without the ones, in `dtype`) for results with `width` columns."""
        n, d = self.base.shape[0], self.base.shape[1]
        cells = min(max(CELLS, d * width), MOST_CELLS)
        step = max(16, cells // max(1, d, width))
        if is_sparse(self.base):  # a block costs as much as its nonzeros, and one result more
            enough, most = 4 * d * n // max(1, self.base.nnz), MOST_CELLS // max(1, width)
            step = max(16, cells // max(1, width), min(enough, max(most, d)))
        for first in range(0, self.shape[0], step):
            rows = slice(first, min(self.shape[0], first + step))
            block = self._block(rows)
            yield rows, block if dtype is None else block.astype(dtype, copy=False)

    def products(self, weights: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield (rows, weights @ X[rows]') for weights (m, d), computed in their dtype."""
        d = self.base.shape[1]
        body = weights[:, :d]
        sparse = is_sparse(self.base)
        right = np.ascontiguousarray(body.T) if sparse else body
        for rows, x in self.blocks(len(weights), weights.dtype):
            values = (x @ right).T if sparse else body @ x.T
            yield rows, values + weights[:, d:] if self.ones else values

    def sums(self, weights: Callable[[slice], NDArray[Any]], m: int, dtype: Any) -> NDArray[Any]:
        """Return sum over row blocks of weights(rows) @ X[rows], (m, d); weights are (m, r)."""
        d = self.base.shape[1]
        total = np.zeros((m, d + self.ones), dtype)
        for rows, x in self.blocks(m, dtype):
            factors = weights(rows)
            total[:, :d] += factors @ x
            if self.ones:
                total[:, d] += factors.sum(axis=1)
        return total

    def frobenius(self) -> float:
        """Return the root of the sum of squares."""
        parts = [norm(_values(x)) for _, x in self.blocks()]
        return math.hypot(*parts, math.sqrt(self.shape[0]) if self.ones else 0.0)

    def spectral_bound(self) -> float:
        """Return a bound on the spectral norm: the root of the largest row and column sums."""
        rows, columns = 0.0, np.zeros(self.base.shape[1])
        for _, x in self.blocks():
            sizes = abs(x)
            rows = max(rows, float(sizes.sum(axis=1, dtype=np.float64).max(initial=0.0)))
            columns += np.asarray(sizes.sum(axis=0, dtype=np.float64)).ravel()
        if self.ones:
            rows, columns = rows + 1.0, np.append(columns, self.shape[0])
        return math.sqrt(rows * float(columns.max(initial=0.0)))

    def dense(self) -> NDArray[Any]:
        """Return all rows in memory."""
        block = self[:, :]
        return np.asarray(block.toarray() if is_sparse(block) else block)


def with_ones(block: Any) -> Any:
    """Return an array or sparse matrix (r, d) with a last column of ones."""
    ones = np.ones((block.shape[0], 1), block.dtype)
    if is_sparse(block):
        return hstack([block, csr_array(ones)], format="csr")
    return np.concatenate([block, ones], axis=1)


def _values(block: Any) -> Any:
    return block.data if is_sparse(block) else block


def held(X: Any, by_blocks: bool) -> Any:
    """Return data as they will be worked on: an array in memory, or `Streamed` where large.

    `X` (n, d) is an array, a memory map or a CSR matrix; `by_blocks` says whether blocks are
    enough for the work at hand. Data below `LARGE`, and all where they are not, are made dense.
    """
    if isinstance(X, Streamed):
        return X
    if by_blocks and dense_bytes(X) >= LARGE:
        return _open(X)
    if is_sparse(X):
        return X.toarray()
    return _open(X).dense() if mapped(X) is not None else X


def _open(X: Any) -> Streamed:
    if not is_sparse(X):
        return Streamed(X, file=mapped(X))
    found = csr_array(X)
    if not found.has_canonical_format:
        found = found.copy()
        found.sum_duplicates()
    return Streamed(found)


def dense_bytes(X: Any) -> int:
    """Return the bytes of data (n, d) written out densely."""
    return int(math.prod(X.shape) * X.dtype.itemsize)


def stays(X: Any, by_blocks: bool) -> bool:
    """Tell whether `held` makes no array of X: it is one in memory, or is read by row blocks."""
    if isinstance(X, Streamed) or (by_blocks and dense_bytes(X) >= LARGE):
        return True
    return not is_sparse(X) and mapped(X) is None


def row_width(X: Any) -> int:
    """Return how many entries a row of data holds: all, or the mean number of nonzeros."""
    counted = isinstance(X, Streamed) or is_sparse(X)
    return int(math.ceil(X.size / max(1, X.shape[0])) if counted else X.shape[1])


def pick(X: Any, rows: Array) -> Any:
    """Return the rows (k,) of data: copied from an array, unread from `Streamed`."""
    return X.take(rows) if isinstance(X, Streamed) else namespace(X).take(X, rows, axis=0)


def frobenius(X: Any) -> float:
    """Return the root of the sum of squares of an array or of `Streamed`."""
    return X.frobenius() if isinstance(X, Streamed) else norm(X)


def require_finite(X: Any, name: str = "X") -> None:
    """Raise ValueError, with row and column, where data hold NaN or infinity; blocks at a time."""
    source = X if isinstance(X, Streamed) else _open(X)
    for rows, block in source.blocks():
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.isfinite(_values(block).sum())
        if not whole and not np.isfinite(_values(block)).all():
            dense = block.toarray() if is_sparse(block) else block
            row, column = np.argwhere(~np.isfinite(dense))[0]
            value = "NaN" if np.isnan(dense[row, column]) else "infinity"
            raise ValueError(
                f"Input {name} contains {value}, first at row {rows.start + row}, column {column}; "
                "drop or impute such entries"
            )
