"""Random gates."""

import numpy as np

from cvxnn.arrays import Array
from cvxnn.gates.base import Gates, distinct, host_features, masks_of


def gaussian(features: Array, n_gates: int, rng: np.random.Generator) -> Gates:
    """Draw generators from N(0, I_d) and keep one gate for every distinct non-zero mask.

    Features (n, d) give between 1 and `n_gates` gates. A draw finds a pattern with probability
    equal to its cell's share of the solid angle, so thin cells are missed and no number of draws
    guarantees every pattern [Pilanci2020]; the masks are SimHash codes, in which two samples
    differ with probability angle / pi [Charikar2002]. ValueError when `n_gates` < 1 or the
    features are empty or not finite.

    >>> gates = gaussian(np.array([[1.0, 0.0], [0.0, 1.0]]), 50, np.random.default_rng(0))
    >>> sorted(gates.masks.tolist())
    [[False, True], [True, False], [True, True]]
    """
    if n_gates < 1:
        raise ValueError(f"n_gates is {n_gates}; draw at least one gate")
    x = host_features(features)
    generators = rng.standard_normal((n_gates, x.shape[1]))
    gates = distinct(Gates(generators, masks_of(generators, x)))
    if len(gates):
        return gates
    # Every sample lies behind every hyperplane drawn, so it lies in front of the reversed one.
    reverse = -generators[:1]
    return Gates(reverse, masks_of(reverse, x))
