"""The gauge of a dual point by enumeration: exact where the patterns are few."""

import numpy as np

from cvxnn.everywhere.neurons import Floats
from cvxnn.gates.enumerate import cover_count, enumerate_patterns
from cvxnn.projection import project_onto_cone

WORK = 2e7
"""Most (pattern, row) pairs that are enumerated."""
RANK = 3
"""Highest rank at which patterns are enumerated."""
_THIN = 1e-9
"""Cells thinner than this, in radians, may be missing; so far is every u from one that is not."""


def few_patterns(features: Floats, rank: int) -> bool:
    """Tell whether all patterns of the rows (n, d) can be gone through."""
    rows = int(np.any(features != 0, axis=1).sum())
    return rank <= RANK and cover_count(rows, rank) * max(rows, 1) <= WORK


def pattern_gauge(features: Floats, dual: Floats, alpha: float) -> float:
    """Return an upper bound on max over |u| <= 1 of |V'(Xu)_+| / alpha, V = `dual` (n, c).

    On the cone of a pattern D every g'u with g = X'D v is at most the length of g's projection;
    with one output that is attained. Patterns are taken by falling |X'D V| until it decides.

    >>> X, v = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [1.0]])
    >>> round(pattern_gauge(X, v, alpha=1.0) ** 2, 6)
    5.0
    """
    rows = features[np.any(features != 0, axis=1)]
    weights = dual[np.any(features != 0, axis=1)]
    if not len(rows):
        return 0.0
    masks = enumerate_patterns(rows, limit=int(WORK)).masks
    pulls = np.stack([(masks * column) @ rows for column in weights.T], axis=2)
    lengths = np.linalg.norm(pulls, axis=1)
    rough = np.linalg.norm(lengths, axis=1)
    settled = 0.0
    for k in np.argsort(-rough):
        if rough[k] <= settled:
            break
        cone = np.where(masks[k], 1.0, -1.0)[:, None] * rows
        both = project_onto_cone(cone, np.concatenate([pulls[k], -pulls[k]], axis=1))
        near = np.linalg.norm(both, axis=0).reshape(2, -1).max(axis=0)
        settled = max(settled, float(np.linalg.norm(np.minimum(near, lengths[k]))))
    missed = _THIN * float((np.linalg.norm(rows, axis=1) * np.linalg.norm(weights, axis=1)).sum())
    return (settled + missed) / alpha
