"""Generators and the masks they make on data; masks live on the host, equal on every backend."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, to_numpy
from cvxnn.streamed import Streamed

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

BLOCK_BYTES = 32 * 2**20
"""The size of the largest float temporary that a pass over the data may make."""


@dataclass(frozen=True, eq=False)
class Gates:
    """Half-space gates g_1..g_p and their masks 1[x_i . g_j >= 0] on n samples.

    `generators` is (p, d) float64 and `masks` is (p, n) bool; ValueError when they disagree. Gates
    that take more than a vector or a bit have further axes: (p, ..., d) and (p, n, k).

    >>> gates = Gates(np.eye(2), np.array([[True, False], [False, True]]))
    >>> len(gates), len(gates.take([1]))
    (2, 1)
    """

    generators: Floats
    masks: Masks

    def __post_init__(self) -> None:
        shapes = self.generators.shape, self.masks.shape
        if any(len(shape) < 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
            raise ValueError(
                f"generators are {shapes[0]} and masks {shapes[1]}; expected (p, d) and (p, n), "
                "one row per gate in both"
            )

    def __len__(self) -> int:
        return len(self.generators)

    def take(self, indices: Any) -> "Gates":
        """Return the gates at `indices` (integers, a slice or a boolean mask), in that order."""
        return Gates(self.generators[indices], self.masks[indices])

    def of_samples(self, index: Any, n: int) -> "Gates":
        """Return the gates on the samples at `index` of all n, which have as many rows each."""
        p, rows, *rest = self.masks.shape
        chosen = self.masks.reshape(p, n, rows // n, *rest)[:, index]
        return Gates(self.generators, chosen.reshape(p, chosen.shape[1] * chosen.shape[2], *rest))


def host_features(features: Array) -> Any:
    """Return `features` in host memory; ValueError unless (n, d), n >= 1, and all finite.

    `Streamed` data are returned as they are: who made them has seen that they are finite.
    """
    if isinstance(features, Streamed):
        return features
    x = to_numpy(features)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"features have shape {x.shape}; expected (n, d) with at least one row")
    finite = np.isfinite(x)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"features hold {x.size - finite.sum()} NaN or infinite entries, the first at "
            f"row {row}, column {column}; drop or impute them"
        )
    return x


def masks_of(generators: Floats, features: Array, *, block_bytes: int = BLOCK_BYTES) -> Masks:
    """Return the (p, n) masks 1[x_i . g_j >= 0] of generators (p, d) on features (n, d).

    The bit of a zero product is 1. Products are made for as many rows at a time as fit in
    `block_bytes` (at least one), so memory stays at p * n bytes. ValueError for features that are
    empty, not finite or of another width.

    >>> masks_of(np.array([[1.0, -1.0]]), np.array([[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]]))
    array([[ True, False,  True]])
    """
    x = host_features(features)
    if generators.ndim != 2 or generators.shape[1] != x.shape[1]:
        raise ValueError(
            f"generators have shape {generators.shape}; expected (p, {x.shape[1]}): one row per "
            "gate, one column per column of the features"
        )
    masks = np.empty((len(generators), x.shape[0]), dtype=np.bool_)
    if isinstance(x, Streamed):
        for some, values in x.products(generators):
            masks[:, some] = values >= 0
        return masks
    rows = max(1, block_bytes // (8 * max(1, *generators.shape)))
    for start in range(0, len(x), rows):
        block = x[start : start + rows].astype(np.float64, copy=False)
        masks[:, start : start + rows] = generators @ block.T >= 0
    return masks


def pattern_keys(masks: Masks) -> NDArray[Any]:
    """Return one opaque key per mask, (p, n) to (p,): equal for equal masks, in their order."""
    flat = masks.reshape(len(masks), int(np.prod(masks.shape[1:])))
    packed = np.ascontiguousarray(np.packbits(flat, axis=1))
    return packed.view(np.dtype((np.void, packed.shape[1]))).ravel()


def patterns_of(keys: NDArray[Any], samples: int) -> Masks:
    """Return the (p, n) masks that `pattern_keys` made `keys` of; n = `samples`."""
    packed = keys.view(np.uint8).reshape(len(keys), keys.dtype.itemsize)
    return np.unpackbits(packed, axis=1, count=samples).view(np.bool_)


def distinct(gates: Gates) -> Gates:
    """Drop repeated patterns, keeping each one's first gate, and the all-zero pattern.

    A gate that is closed on every sample contributes nothing to a fit; dropping it may leave none.

    >>> masks = np.array([[True, False], [False, False], [True, False], [True, True]])
    >>> distinct(Gates(np.arange(4.0).reshape(4, 1), masks)).generators.ravel()
    array([0., 3.])
    """
    if len(gates) == 0:
        return gates
    _, first = np.unique(pattern_keys(gates.masks), return_index=True)
    kept = np.sort(first)
    some = tuple(range(1, gates.masks.ndim))
    return gates.take(kept[gates.masks[kept].any(axis=some)])
