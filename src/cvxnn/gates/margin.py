"""The half-space of a pattern that keeps the samples farthest from its border."""

import numpy as np
from numpy.typing import NDArray

from cvxnn.gates.arrangement import interior
from cvxnn.gates.base import Floats

_STEP = 32
"""Samples that join the few on which the margin is sought, at a time."""


def widest(rows: Floats, mask: NDArray[np.bool_], generator: Floats) -> Floats:
    """Return the unit w of largest margin min |x_i . w| with the pattern `mask` on rows (n, d).

    Of all half-spaces of one pattern it bears the largest moves of the samples
    [CortesVapnik1995]. Only a few samples carry the margin: it is sought on some, and those that
    it misses join them. Where no half-space keeps clear of every sample that is not zero,
    `generator` (d,) comes back.

    >>> widest(np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([False, True]), np.zeros(2)).round(3)
    array([ 0.447, -0.894])
    """
    moved = rows.any(axis=1)
    inward = np.where(mask[moved, None], rows[moved], -rows[moved])
    if len(inward) == 0:
        return generator
    inward = inward / np.max(np.abs(inward))
    members = np.argsort(inward @ generator, kind="stable")[:_STEP]
    while True:
        point = interior(inward[members])
        if point is None:
            return generator
        margins = inward @ point
        missed = np.flatnonzero(margins < margins[members].min() * (1 - 1e-6))
        if len(missed) == 0:
            return point
        members = np.union1d(members, missed[np.argsort(margins[missed])[:_STEP]])
