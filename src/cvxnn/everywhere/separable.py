"""Whether ReLU networks can separate two classes at all, by linear programs with a witness.

(x.u)_+ = (x.u + |x.u|) / 2, and the functions |x.u| of samples on different lines through the
origin are linearly independent. So the outputs of networks without a skip are y_i = |x_i| h + x_i.a
with one free number h for every line and one vector a, whatever the line's samples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from cvxnn.errors import CvxnnError
from cvxnn.everywhere.neurons import Floats
from cvxnn.gates.arrangement import arrange

Rows = NDArray[np.int64]

_SHORT = 1e-7
"""Shortfall of the margin, in total, from which samples count as not separated."""


def conflict(features: Floats, signs: Floats) -> Rows | None:
    """Return samples that no ReLU network separates, or None where one separates all.

    `features` (n, d) have a column of ones if the neurons have a bias, `signs` (n,) are -1 and 1.
    The samples returned are the witness of Farkas: no network separates them among themselves.

    >>> conflict(np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 1.0]]), np.array([1.0, -1.0, 1.0]))
    array([0, 1])
    """
    lengths = np.linalg.norm(features, axis=1)
    if (lengths == 0).any():  # a sample of zeros has output zero
        return np.flatnonzero(lengths == 0)[:1]
    owner = arrange(features).owner
    (rows,) = np.nonzero(np.bincount(owner)[owner] > 1)
    if not len(rows):
        return None
    lines, line = np.unique(owner[rows], return_inverse=True)
    levels = sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), line)))
    units = features[rows] / lengths[rows, None]
    assert levels.shape[1] == len(lines)
    short = unmet(sparse.hstack([levels, units]), None, signs[rows])
    return None if short is None else rows[short]


def unmet(outputs: Any, cones: Any, signs: Floats) -> Rows | None:
    """Return samples for which no x with cones x >= 0 has signs * (outputs x) >= 1, or None.

    `outputs` (n, k) and `cones` (m, k) may be sparse; None for no cones.
    """
    n, k = outputs.shape
    above = sparse.hstack([-sparse.diags_array(signs) @ outputs, -sparse.eye_array(n)])
    matrix, right = [above], [-np.ones(n)]
    if cones is not None:
        matrix.append(sparse.hstack([-cones, sparse.csr_array((cones.shape[0], n))]))
        right.append(np.zeros(cones.shape[0]))
    stacked: Any = sparse.csr_array(sparse.vstack(matrix))
    found: Any = linprog(
        np.concatenate([np.zeros(k), np.ones(n)]),
        A_ub=stacked,
        b_ub=np.concatenate(right),
        bounds=[(None, None)] * k + [(0, None)] * n,
        method="highs",
    )
    if found.status != 0:
        raise CvxnnError(
            f"the linear program of separability ended with: {found.message}; standardise the data"
        )
    if found.fun <= _SHORT:
        return None
    weights = -found.ineqlin.marginals[:n]
    return np.flatnonzero(weights > 1e-6 * weights.max())
