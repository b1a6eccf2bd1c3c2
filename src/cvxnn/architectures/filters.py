"""Convolutional networks, and what their architectures with and without gates share."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import AXES
from cvxnn.architectures.neurons import Neurons
from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.gates import PatchGates, Source, Winners, reached
from cvxnn.gates.base import Floats, Masks
from cvxnn.gates.filters import KINDS, winners
from cvxnn.maps import Lift, Pooled, Stacked, pooled_factors, row_blocks
from cvxnn.patches import POOLINGS, Patches, patches_of, require_pixels

_EXPLICIT = 250_000_000
"""Numbers of Phi up to which it is written out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvNetwork(Neurons):
    """f(x) = sum_j sum_cells pool over places k of max(0, x_k'u_j) a_j[cell] + x'S + s.

    x_k is the patch at place k. With `gates` a place is open where its patch and the gate say so,
    1[x_k'g_j >= 0] x_k'u_j; under max pooling the place of a cell that the gate values most is.

    >>> import numpy as np
    >>> from cvxnn.patches import patches_of
    >>> net = ConvNetwork(
    ...     weights_in=np.array([[1.0, -1.0]]),
    ...     weights_out=np.array([[[3.0]]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((3, 1)),
    ...     patches=patches_of((1, 3), kernel=2),
    ...     pooling="sum",
    ... )
    >>> net(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])).tolist()
    [[6.0], [0.0]]
    """

    weights_in: Array
    """u, (m, h), or (m, h + 1) with the hidden bias last; h = C * kh * kw, in that order."""
    weights_out: Array
    """a, (m, cells, c)."""
    skip: Array
    """S, (C * H * W, c)."""
    patches: Patches
    """Where filters stand."""
    pooling: str
    """"average", "sum" or "max"."""
    gates: Array | None = None
    """g, as `weights_in`; None for ReLU networks."""

    settings = ("patches", "pooling")

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "conv" if self.gates is None else "conv_gated"

    @property
    def filters(self) -> Array:
        """u as filters, (m, C, kh, kw), without the bias."""
        shape = (self.n_neurons, self.patches.shape[0], *self.patches.kernel)
        return namespace(self.weights_in).reshape(self.weights_in[:, : self.patches.width], shape)

    @property
    def biases(self) -> Array:
        """The filters' biases, (m,); zeros where they have none."""
        if self.weights_in.shape[1] > self.patches.width:
            return self.weights_in[:, -1]
        return 0 * self.weights_in[:, 0]

    @property
    def rules(self) -> Array:
        """The generators of the filters' patterns."""
        return self.weights_in if self.gates is None else self.gates

    def hidden(self, X: Array) -> Array:
        """Return the pooled activations (n, m * cells) of images (n, d), filter by filter."""
        require_pixels(self.patches, X.shape[1])
        width = self.patches.count * (self.patches.width + 2 * self.n_neurons + 1)
        blocks = row_blocks(X.shape[0], width)
        parts = [self._pooled(X[rows, :]) for rows in blocks] or [self._pooled(X[:0, :])]
        return parts[0] if len(parts) == 1 else namespace(X).concat(parts, axis=0)

    def _pooled(self, X: Array) -> Array:
        xp, patches = namespace(X), self.patches
        rows = patches.rows(X, self.weights_in.shape[1] > patches.width)
        values = rows @ like(self.weights_in, X).T
        open_ = values > 0 if self.gates is None else self.opened(rows)
        values = xp.where(open_, values, xp.zeros_like(values))
        n, m = X.shape[0], self.n_neurons
        places = xp.reshape(values, (n, patches.count, m))
        if self.pooling == "max" and self.gates is None:
            cell = [np.flatnonzero(patches.cell == k) for k in range(patches.n_cells)]
            taken = [xp.take(places, xp.asarray(k, device=X.device), axis=1) for k in cell]
            pooled = xp.stack([xp.max(part, axis=1) for part in taken], axis=1)
        else:
            pooled = xp.matmul(like(patches.pool(self.pooling), X), places)
        return xp.reshape(xp.permute_dims(pooled, (0, 2, 1)), (n, m * patches.n_cells))

    def opened(self, rows: Array) -> Array:
        """Tell for patches (n * K, h) where the gates are open, (n * K, m), in float64."""
        if self.pooling == "max":
            rules = to_numpy(self.gates).astype(float)
            return namespace(rows).asarray(
                winners(rules, to_numpy(rows), self.patches).T, device=rows.device
            )
        wide = double(rows)
        return reached(wide, like(self.gates, wide))


# what both architectures do


def patches_seen(self: Any) -> Patches:
    """Where filters stand."""
    sizes = {name: getattr(self, name) for name in ("kernel", "stride", "padding", "dilation")}
    return patches_of(self.shape, **sizes, cells=self.cells)


def check_options(self: Any) -> None:
    """Raise ValueError for options out of range."""
    if self.pooling not in POOLINGS:
        raise ValueError(f"pooling is {self.pooling!r}; expected one of {', '.join(POOLINGS)}")
    check_sizes(self)


def check_sizes(self: Any) -> None:
    """Raise ValueError for filters that find no room, and for unknown rules."""
    if self.rules not in KINDS:
        raise ValueError(f"rules is {self.rules!r}; expected one of {', '.join(KINDS)}")
    names = {field.name for field in fields(self)}
    for name in names & {"shape", "kernel", "stride", "padding", "dilation", "cells"}:
        given = getattr(self, name)
        if isinstance(given, Iterable):  # lists would not do as keys
            object.__setattr__(self, name, tuple(given))
    _ = self.patches


def source_of(self: Any) -> Source:
    """Where its gates come from."""
    if self.pooling == "max":
        return Winners(self.patches, self.rules)
    return PatchGates(self.patches.width, self.rules)


def stacked_patches(self: Any, X: Array) -> Array:
    """Return the patches (n * K, h), sample by sample, with a column of ones for the bias.

    Raises ValueError for another number of columns than the images' entries.
    """
    require_pixels(self.patches, X.shape[1])
    patches: Patches = self.patches
    return patches.rows(X, self.bias)


def options_of(network: ConvNetwork) -> dict[str, Any]:
    """Return the options that a network shows."""
    patches = network.patches
    options = options_of_patches(patches) | {"cells": patches.cells}
    bias = network.weights_in.shape[1] > patches.width
    return options | {"pooling": network.pooling, "bias": bias}


def options_of_patches(patches: Patches) -> dict[str, Any]:
    """Return the sizes that say where filters stand."""
    names = ("shape", "kernel", "stride", "padding", "dilation")
    return {name: getattr(patches, name) for name in names}


def network_of(self: Any, parameters: dict[str, Array]) -> ConvNetwork:
    """Return the network with these arrays."""
    return ConvNetwork(**parameters, patches=self.patches, pooling=self.pooling)


def pooled_map(features: Array, masks: Masks, pool: Floats, signs: int, outputs: int) -> Lift:
    """Return A of gates (p, n * K) and cells (a, K), and again with a minus for two `signs`."""
    weights, count = like(pool, features), signs * len(masks)
    if count * math.prod(features.shape) * len(pool) // pool.shape[1] > _EXPLICIT:
        kind = np.float32 if features.dtype == namespace(features).float32 else np.float64
        columns: Any = masks.T.astype(kind)
        both = columns if signs == 1 else np.concatenate([columns, -columns], axis=1)
        return Pooled(features, like(both, features), weights, outputs)
    factors = pooled_factors(features, masks, weights)
    every = factors if signs == 1 else namespace(factors).concat([factors, -factors], axis=0)
    return Stacked(every, outputs)


def lift_numbers(n: int, h: int, blocks: int, pool: Floats) -> int:
    """Return the numbers that `pooled_map` holds of n rows, for blocks of either sign."""
    explicit = n // pool.shape[1] * len(pool) * h * blocks
    return explicit if explicit <= _EXPLICIT else n * blocks


def by_cells(self: Any, plain: Any, gates: Array | None) -> ConvNetwork:
    """Return the network of one whose outputs are (cell, output) pairs."""
    shape = (plain.weights_in.shape[0], self.patches.n_cells, -1)
    outward = plain.weights_out
    c = outward.shape[1] // self.patches.n_cells
    return ConvNetwork(
        weights_in=plain.weights_in,
        weights_out=namespace(outward).reshape(outward, (*shape[:2], c)),
        intercept=plain.intercept,
        skip=plain.skip,
        patches=self.patches,
        pooling=self.pooling,
        gates=gates,
    )


def pairs_of(network: ConvNetwork) -> Array:
    """Return the outward weights with a column for every cell and output, (m, cells * c)."""
    outward = to_numpy(network.weights_out)
    return outward.reshape(len(outward), outward.shape[1] * outward.shape[2])


CONV_AXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {**AXES, "weights_out": ("neurons", "cells", "outputs")}
)


def distinct_rows(rows: Floats, masks: Masks) -> NDArray[np.int64]:
    """Return the places of patches that are not zero, equal ones with equal masks once."""
    keys = np.ascontiguousarray(np.concatenate([rows.astype(float) + 0.0, masks.T], axis=1))
    found = keys.view(np.dtype((np.void, keys.shape[1] * keys.itemsize))).ravel()
    first = np.sort(np.unique(found, return_index=True)[1])
    kept = first[rows[first].any(axis=1)]
    return kept if len(kept) else first[:1]
