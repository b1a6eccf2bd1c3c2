"""On which side of a half-space's border a sample is, whatever the order of a sum."""

import numpy as np

from cvxnn.arrays import Array
from cvxnn.gates.base import Floats, Masks

ROUNDING = 1e-12
"""A product x . u counts as zero below this share of sum |x_k u_k|: then rounding made it."""

_CELLS = 2**21
"""Entries of the largest temporary."""


def reached(features: Array, vectors: Array) -> Array:
    """Return 1[x_i . u_j >= 0], (n, d) and (m, d) to (n, m), a product within rounding being zero.

    So a sample on the border of a half-space is in it whatever the order of the summation.

    >>> reached(np.array([[0.1, 0.2, -0.3]]), np.ones((1, 3))), sum([0.1, 0.2, -0.3]) > 0
    (array([[ True]]), True)
    >>> reached(np.array([[-0.1, -0.2, 0.3]]), np.ones((1, 3))), sum([-0.1, -0.2, 0.3]) >= 0
    (array([[ True]]), False)
    """
    return features @ vectors.T >= -ROUNDING * (abs(features) @ abs(vectors).T)


def reached_masks(generators: Floats, features: Floats) -> Masks:
    """Return the (p, n) masks of `reached` for generators (p, d), by row blocks."""
    masks = np.empty((len(generators), len(features)), dtype=np.bool_)
    step = max(1, _CELLS // max(1, *generators.shape))
    for start in range(0, len(features), step):
        block = features[start : start + step].astype(np.float64, copy=False)
        masks[:, start : start + step] = reached(block, generators).T
    return masks
