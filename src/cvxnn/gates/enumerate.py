"""The whole arrangement: every pattern that the data allow, each with a generator inside it."""

import math
from typing import Literal

import numpy as np

from cvxnn.arrays import Array
from cvxnn.gates import incremental, rays
from cvxnn.gates.arrangement import TOLERANCE, Arrangement, arrange, interior, over_peaks
from cvxnn.gates.base import BLOCK_BYTES, Floats, Gates, Masks, host_features, pattern_keys

Method = Literal["auto", "rays", "incremental"]

RAY_WORK = 5_000_000
"""Up to so many (ray, cell) pairs the rays are quicker than the incremental search, in any rank."""

COMFORT = 1e-6
"""A unit point this far from every wall of its cell is a good enough one."""


def cover_count(n: int, r: int) -> int:
    """Return 2 * sum over k < r of C(n - 1, k): the most cells that n hyperplanes make [Cover1965].

    The hyperplanes pass through 0 and their normals have rank r; general position attains it.
    With no hyperplane, n = 0 or r = 0, the one cell is the whole space.

    >>> cover_count(10, 3), cover_count(3, 5), cover_count(0, 2)
    (92, 8, 1)
    """
    total, term = 0, 1
    for k in range(min(n, r)):
        total += term
        term = term * (n - 1 - k) // (k + 1)
    return max(1, 2 * total)


def enumerate_patterns(X: Array, *, method: Method = "auto", limit: int = 2_000_000) -> Gates:
    """Return every pattern 1[X u >= 0] of an open set of u, with a unit generator inside each.

    These are the full-dimensional cells of the hyperplanes x_i . u = 0 for rows x_i of X (n, d);
    their closures cover R^d, so a ReLU program over them is exact [Pilanci2020]. Patterns
    that u attains on cell boundaries only are not among them. The all-zero pattern is, where it
    occurs: `distinct` drops it. Rows may be zero (bit 1 everywhere), parallel, opposite or
    dependent, of any scale. When every row is zero, or d = 0, the one pattern is all ones with
    generator zero. Patterns come in descending order, first row first. Every generator keeps
    clear of every hyperplane by more than rounding. Cells thinner than about 1e-9 radians may be
    left out: a ReLU neuron in one differs as little from a neuron in the next.

    `method` is "rays", "incremental" (independent algorithms with one answer) or "auto", the
    quicker one. ValueError when `cover_count` of the distinct hyperplanes exceeds `limit`, before
    they are searched, and for an X that is empty, not finite or not (n, d).

    >>> enumerate_patterns(np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])).masks.astype(int)
    array([[1, 1, 1],
           [1, 1, 0],
           [0, 0, 1],
           [0, 0, 0]])
    """
    if method not in ("auto", "rays", "incremental"):
        raise ValueError(f"method is {method!r}; expected 'auto', 'rays' or 'incremental'")
    rows = host_features(X).astype(np.float64)
    arrangement = arrange(rows)
    count, rank = arrangement.normals.shape
    _refuse_above(limit, count, rank)
    if rank == 0:
        return Gates(np.zeros((1, rows.shape[1])), np.ones((1, len(rows)), dtype=np.bool_))
    by_rays = rank <= 4 or rays.incidences(count, rank) <= RAY_WORK
    if method == "rays" or (method == "auto" and by_rays):
        sides, points = rays.half_cells(arrangement.normals)
    else:
        sides, points = incremental.half_cells(arrangement.normals)
    half = _realised(arrangement, rows, sides, points)
    # The first hyperplane is the first non-zero row's, so all of this half precedes the other.
    masks = np.concatenate([half.masks, ~half.masks[::-1]])
    masks[:, arrangement.owner < 0] = True
    return Gates(np.concatenate([half.generators, -half.generators[::-1]]), masks)


def _refuse_above(limit: int, count: int, rank: int) -> None:
    cells = cover_count(count, rank)
    if cells > limit:
        # Python refuses to print integers of thousands of digits.
        size = f"{cells:,}" if cells < 10**15 else f"about 1e{math.floor(math.log10(cells))}"
        raise ValueError(
            f"{count} distinct hyperplanes of rank {rank} may have {size} patterns and the limit "
            f'is {limit:,}; draw some of them with gates="sample", or raise the limit'
        )


def _realised(arrangement: Arrangement, rows: Floats, sides: Masks, points: Floats) -> Gates:
    """Return gates for the cells with `points` inside, in descending order of their masks.

    Where a point is too close to a wall, the most central one of its cell takes its place. Cells
    without one, and those whose generator is no further from a wall than the rounding error of
    x . u, about d * eps * sum of |x_j u_j|, are left out.
    """
    normals = arrangement.normals
    central = points / np.linalg.norm(points, axis=1, keepdims=True)
    room = _slack(central, sides, normals)
    real = room > TOLERANCE
    for i in np.flatnonzero(room <= COMFORT):
        point = interior(np.where(sides[i, :, None], normals, -normals))
        if point is not None:
            central[i], real[i] = point, True
    generators = over_peaks(central @ arrangement.lift.T, axis=1)
    generators /= np.linalg.norm(generators, axis=1, keepdims=True)
    masks = arrangement.masks(sides)
    rounding = 2 * (rows.shape[1] + 2) * float(np.finfo(np.float64).eps)
    real &= _slack(generators, masks, over_peaks(rows, axis=1), rounding) > 0
    kept = np.flatnonzero(real)
    descending = np.argsort(pattern_keys(masks[kept]))[::-1]
    return Gates(generators, masks).take(kept[descending])


def _slack(vectors: Floats, sides: Masks, rows: Floats, error: float = 0.0) -> Floats:
    """Return (p,), the least of |x . u| - error * sum of |x_j u_j| over the non-zero rows x.

    The product counts as negative where it is not on the side that `sides` (p, n) tells.
    """
    zero = ~rows.any(axis=1)
    least = np.empty(len(vectors))
    step = max(1, BLOCK_BYTES // (8 * len(rows)))
    for start in range(0, len(vectors), step):
        block = slice(start, start + step)
        values = vectors[block] @ rows.T
        slack = np.where(sides[block], values, -values)
        slack -= error * (np.abs(vectors[block]) @ np.abs(rows).T)
        slack[:, zero] = np.inf
        least[block] = slack.min(axis=1)
    return least
