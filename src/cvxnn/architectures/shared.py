"""Small steps that several architectures share, on the way to their maps and networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cvxnn.arrays import Array, device, is_sparse, like, namespace, to_numpy
from cvxnn.gates import Gates
from cvxnn.maps import Gated, GatedStream
from cvxnn.streamed import LARGE, Streamed, with_ones


def with_bias(X: Array, bias: bool) -> Array:
    """Return `X` with a last column of ones, or `X` itself."""
    if not bias:
        return X
    if isinstance(X, Streamed):
        return X.with_ones()
    if is_sparse(X):
        return with_ones(X)
    xp = namespace(X)
    ones = xp.ones((X.shape[0], 1), dtype=X.dtype, device=device(X))
    return xp.concat([X, ones], axis=1)


def split(weights: Array) -> tuple[Array, Array]:
    """Return w / sqrt|w| (m, d) and sqrt|w| (m, 1): the balanced pair whose product is w."""
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    roots = np.sqrt(lengths)
    return weights / np.where(roots > 0, roots, 1.0), roots


def mean_of(arrays: Sequence[Array]) -> Array:
    """Return the mean of arrays of one shape, in host memory."""
    return np.mean([to_numpy(array) for array in arrays], axis=0)


def gated_map(features: Array, gates: Gates, outputs: int) -> Gated | GatedStream:
    """Return A u = sum_i D_i X u_i: on floats, or by row blocks where data or masks are large."""
    if isinstance(features, np.ndarray) and gates.masks.size * features.itemsize >= LARGE:
        features = Streamed(features)
    if isinstance(features, Streamed):
        return GatedStream(features, gates.masks, outputs)
    return Gated(features, mask_columns(gates, features), outputs)


def mask_columns(gates: Gates, features: Array) -> Array:
    """Return the masks as (n, p) numbers beside the features."""
    kind = np.float32 if features.dtype == namespace(features).float32 else np.float64
    return like(gates.masks.T.astype(kind, order="C"), features)


# methods of architectures without statistics, whose neurons can be put side by side


def unweighted(self: Any, weights: Array) -> Any:
    """Return the architecture itself."""
    return self


def as_it_is(self: Any, network: Any, X: Array) -> Any:
    """Return the network: it holds no statistics."""
    return network


def mean_network(self: Any, networks: Sequence[Any]) -> Any:
    """Return the network of all their neurons, each with its share."""
    root = len(networks) ** -0.5
    names = [name for name, axes in self.axes.items() if axes[0] == "neurons"]
    joined = {
        name: np.concatenate([to_numpy(getattr(each, name)) for each in networks])
        * (1.0 if name == "gates" else root)
        for name in names
    }
    intercept = mean_of([each.intercept for each in networks])
    skip = mean_of([each.skip for each in networks])
    return self.network(joined | {"intercept": intercept, "skip": skip})
