"""Weights of samples, the distinct ones of a data set, and the hash that tells data sets apart."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, is_sparse, to_numpy
from cvxnn.path import row_keys
from cvxnn.streamed import Streamed


@dataclass(frozen=True, eq=False)
class Samples:
    """The distinct samples of a data set, in an order of their own, with their total weights."""

    index: NDArray[np.int64]
    """(k,): one row of the data for each distinct sample."""
    weights: NDArray[np.float64]
    """(k,)."""
    owner: NDArray[np.int64]
    """(n,): which distinct sample a row is; -1 where the row has no weight."""
    share: NDArray[np.float64]
    """(n,): the row's part of that sample's weight."""

    def gather(self, dual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dual vector (k, c) of the distinct samples from that of all rows (n, c)."""
        total = np.zeros((len(self.index), dual.shape[1]))
        np.add.at(total, self.owner[self.owner >= 0], dual[self.owner >= 0])
        return total

    def spread(self, dual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dual vector (n, c) of all rows from that of the distinct samples (k, c)."""
        return self.share[:, None] * dual[self.owner]


@dataclass(frozen=True, eq=False)
class Rows:
    """The training data as they were given, and the distinct samples among them."""

    X: Any
    target: NDArray[np.float64]
    weights: NDArray[np.float64]
    labels: Any
    samples: Samples
    begin: float
    """Of the fit, by `time.perf_counter`."""


def distinct_samples(X: Array, target: Array, weights: NDArray[np.float64]) -> Samples:
    """Merge equal rows of (X, target), sort by content, and leave out rows without weight.

    So a weight of two is two copies to the last bit, and the order of the rows does not matter.
    `Streamed` data stay as they are but for rows without weight: sorting would copy them.
    """
    kept = np.flatnonzero(weights > 0)
    if isinstance(X, Streamed):
        return _as_given(kept, weights)
    keys = row_keys(X, target)
    _, first, inverse = np.unique(keys[kept], return_index=True, return_inverse=True)
    totals = np.asarray(np.bincount(inverse, weights[kept]), dtype=np.float64)
    owner, share = np.full(len(weights), -1, dtype=np.int64), np.zeros(len(weights))
    owner[kept], share[kept] = inverse, weights[kept] / totals[inverse]
    return Samples(kept[first], totals, owner, share)


def _as_given(kept: NDArray[np.int64], weights: NDArray[np.float64]) -> Samples:
    owner, share = np.full(len(weights), -1, dtype=np.int64), np.zeros(len(weights))
    owner[kept], share[kept] = np.arange(len(kept)), 1.0
    return Samples(kept, weights[kept], owner, share)


def fingerprint(X: Array, target: Array, weights: Array) -> str:
    """Return a hash of the data, to tell other data apart; weights count up to a factor.

    `Streamed` data in sparse form are told by their nonzeros.
    """
    digest = sha256(repr((X.shape, target.shape)).encode())
    source = X if isinstance(X, Streamed) else Streamed(to_numpy(X))
    for _, block in source.blocks():
        parts = (block.indptr, block.indices, block.data) if is_sparse(block) else (block,)
        for part in parts:
            digest.update(np.ascontiguousarray(part, dtype=np.float64).data)
    for part in (target, weights / weights.max()):
        digest.update(np.ascontiguousarray(part, dtype=np.float64).data)
    return digest.hexdigest()


def positive_weights(weights: Any, n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sample weights (n,) and which are positive; the others take no part.

    Raises ValueError for a wrong shape, for NaN, infinite or negative weights, and for all zero.
    """
    if weights is None:
        return np.ones(n), np.ones(n, dtype=np.bool_)
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.shape != (n,):
        raise ValueError(
            f"sample_weight has shape {values.shape} but X has {n} rows; pass one weight per sample"
        )
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"sample_weight[{row}] is {values[row]}; weights must be finite and at least 0"
        )
    if not (values > 0).any():
        raise ValueError(
            "sample_weight is zero for every sample; give some sample a positive weight"
        )
    return values, values > 0
