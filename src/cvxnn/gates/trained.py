"""Gates that come from given vectors: a network's first layer, or the user's own generators."""

import numpy as np

from cvxnn.arrays import Array, to_numpy
from cvxnn.gates.base import Floats, Gates, distinct, host_features, masks_of


def from_generators(features: Array, generators: Array) -> Gates:
    """Return one gate per row of `generators`, (p, d) on features (n, d), all kept, in order.

    Repeated patterns stay, because gates that agree on the samples may differ elsewhere.
    ValueError unless the shape is (p, d) with p >= 1 and every entry is finite.

    >>> from_generators(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])).masks
    array([[ True],
           [False]])
    """
    x = host_features(features)
    rows = _vectors(generators, x.shape[1], "generators")
    return Gates(rows, masks_of(rows, x))


def from_weights(features: Array, weights: Array) -> Gates:
    """Return the distinct patterns of a network's neurons, from first-layer `weights` (m, d).

    The first neuron of a pattern is its generator. Neurons that are zero or closed on every sample
    contribute nothing to the fit and make no gate, so a dead network gives no gates. ValueError
    unless the shape is (m, d) with m >= 1 and every entry is finite.

    >>> weights = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    >>> from_weights(np.array([[1.0, 2.0]]), weights).generators
    array([[1., 0.]])
    """
    x = host_features(features)
    rows = _vectors(weights, x.shape[1], "weights")
    alive = rows[rows.any(axis=1)]
    return distinct(Gates(alive, masks_of(alive, x)))


def _vectors(given: Array, width: int, name: str) -> Floats:
    rows = to_numpy(given).astype(np.float64)
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != width:
        raise ValueError(
            f"{name} have shape {rows.shape}; expected (p, {width}) with p >= 1: one row per gate, "
            "one column per column of the features"
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} hold NaN or infinite entries; pass finite vectors")
    return rows
