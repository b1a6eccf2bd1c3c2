"""The gauge of a dual point by enumeration: exact where the patterns are few."""

import numpy as np

from cvxnn.everywhere import flats
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.price import price
from cvxnn.gates.base import Masks
from cvxnn.gates.enumerate import cover_count, enumerate_patterns
from cvxnn.maps import row_blocks
from cvxnn.projection import project_onto_cone

WORK = 2e7
"""Most (pattern, row) pairs that are enumerated."""
RANK = 6
"""Highest rank at which patterns are enumerated."""
_QUICK, _PACE = 3, 2e6
"""Rank up to which that is always worth it; pairs beyond that a second of budget buys."""
_ENOUGH = 1e-7
"""Relative excess over a value that is attained which is left in the bound."""
_ROUNDS, _EVERY = 400, 10
_MOST = 2000
"""Patterns of several outputs whose columns are projected, at most."""
_THIN = 1e-9
"""Cells thinner than this, in radians, may be missing; so far is every u from one that is not."""


def few_patterns(features: Floats, rank: int, seconds: float = np.inf) -> bool:
    """Tell whether all patterns of the rows (n, d) can be gone through, in about that time."""
    rows = int(np.any(features != 0, axis=1).sum())
    if rank > RANK:
        return False
    pairs = cover_count(rows, rank) * max(rows, 1)
    return pairs <= (WORK if rank <= _QUICK else min(WORK, _PACE * seconds))


def pattern_gauge(features: Floats, dual: Floats, alpha: float) -> float:
    """Return an upper bound on max over |u| <= 1 of |V'(Xu)_+| / alpha, V = `dual` (n, c).

    On the cone of a pattern D every g'u with g = X'D v is at most |g + X'(2D - I) m| for any
    m >= 0, and at most the length of g's projection; with one output that is attained. All patterns
    get better m at once until they are below a value that pricing attains; the last are projected.
    Several outputs are exact up to rank three and for few rows; beyond, a pattern's value is at
    most |V'DX|, and at most the root of the sum of squares of what each output attains.

    >>> X, v = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [1.0]])
    >>> round(pattern_gauge(X, v, alpha=1.0) ** 2, 6)
    5.0
    """
    rows = features[np.any(features != 0, axis=1)]
    weights = dual[np.any(features != 0, axis=1)]
    if not len(rows):
        return 0.0
    found = price(rows, weights, np.random.default_rng(0), starts=200, steps=40)
    settled = float(found.values[0]) * (1 - _ENOUGH)
    several = weights.shape[1] > 1
    missed = _THIN * float((np.linalg.norm(rows, axis=1) * np.linalg.norm(weights, axis=1)).sum())
    if several and flats.affordable(rows):
        return (flats.reach(rows, weights, settled) + missed) / alpha
    masks = enumerate_patterns(rows, limit=int(WORK)).masks
    pulls = np.stack([(masks * column) @ rows for column in weights.T], axis=2)
    if several:
        rough = np.linalg.norm(pulls, ord=2, axis=(1, 2))
    else:
        rough = _shortened(rows, masks, pulls[:, :, 0], settled * (1 + _ENOUGH))
    return (_projected(rows, masks, pulls, rough, settled) + missed) / alpha


def _projected(rows: Floats, masks: Masks, pulls: Floats, rough: Floats, settled: float) -> float:
    """Return a bound on |G'u| over all cones, G = `pulls` (p, d, c), from `rough` ones (p,).

    Of every pattern that may exceed `settled` the columns of G are projected, the worst first.
    """
    lengths = np.linalg.norm(pulls, axis=1)
    for count, k in enumerate(np.argsort(-rough)):
        if rough[k] <= settled * (1 + _ENOUGH) or count == _MOST:
            return max(settled, float(rough[k]))
        cone = np.where(masks[k], 1.0, -1.0)[:, None] * rows
        both = project_onto_cone(cone, np.concatenate([pulls[k], -pulls[k]], axis=1))
        near = np.linalg.norm(both, axis=0).reshape(2, -1).max(axis=0)
        most = float(np.linalg.norm(np.minimum(near, lengths[k])))
        settled = max(settled, min(most, float(rough[k])))
    return settled


def _shortened(rows: Floats, masks: Masks, pulls: Floats, enough: float) -> Floats:
    """Return bounds (p,) on |g'u| over the patterns' cones, g = `pulls` (p, d), of both signs.

    By accelerated projected gradient on m >= 0 for all patterns above `enough` at once; those that
    fall below it are done.
    """
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    step = 1 / float(np.linalg.norm(unit, 2)) ** 2
    bounds = np.linalg.norm(pulls, axis=1)
    above = np.flatnonzero(bounds > enough)
    worst = np.where(bounds > enough, 0.0, bounds)
    for some in row_blocks(len(above), len(rows)):
        for sign in (1.0, -1.0):
            left = above[some]
            least = _descended(unit, masks[left], sign * pulls[left], step, enough)
            worst[left] = np.maximum(worst[left], least)
    return worst


def _descended(unit: Floats, masks: Masks, pulls: Floats, step: float, enough: float) -> Floats:
    sides = np.where(masks, 1.0, -1.0)
    least: Floats = np.linalg.norm(pulls, axis=1)
    left = np.arange(len(pulls))
    point = ahead = np.zeros_like(sides)
    momentum = 1.0
    for count in range(1, _ROUNDS + 1):
        slope = sides * ((pulls + (sides * ahead) @ unit) @ unit.T)
        following = np.maximum(ahead - step * slope, 0.0)
        rise = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = np.maximum(following + (momentum - 1) / rise * (following - point), 0.0)
        point, momentum = following, rise
        if count % _EVERY == 0:
            reached = np.linalg.norm(pulls + (sides * point) @ unit, axis=1)
            least[left] = np.minimum(least[left], reached)
            kept = least[left] > enough
            left, sides, pulls = left[kept], sides[kept], pulls[kept]
            point, ahead = point[kept], ahead[kept]
            if not len(left):
                break
    return least
