"""The whole arrangement: every pattern that the data allow, each with a generator inside it."""

import math
from typing import Literal

import numpy as np

from cvxnn.arrays import Array
from cvxnn.gates import incremental, rays
from cvxnn.gates.arrangement import Arrangement, arrange, interior, over_peaks
from cvxnn.gates.base import BLOCK_BYTES, Floats, Gates, Masks, host_features, pattern_keys

Method = Literal["auto", "rays", "incremental"]

RAY_WORK = 4_000_000
"""Up to so many (ray, cell) pairs the rays are quicker than the incremental search, in any rank."""


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
    their closures cover R^d, so a ReLU program over them is exact [PilanciErgen2020]. Patterns
    that u attains on cell boundaries only are not among them. The all-zero pattern is, where it
    occurs: `distinct` drops it. Rows may be zero (bit 1 everywhere), parallel, opposite or
    dependent, of any scale. When every row is zero, or d = 0, the one pattern is all ones with
    generator zero. Patterns come in descending order, first row first. Every generator keeps
    clear of every hyperplane by more than rounding; a cell too thin for that is left out (a neuron
    in it equals one next to it up to rounding, for ReLU is continuous).

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

    Where a point is too close to a wall, the cell's most central one takes its place. A cell in
    which that does not do either exists by rounding alone and is dropped.
    """
    masks = arrangement.masks(sides)
    clear = _clear(_generators(arrangement, points), masks, rows)
    central = points.copy()
    for i in np.flatnonzero(~clear):
        normals = arrangement.normals
        point = interior(np.where(sides[i, :, None], normals, -normals))
        central[i] = points[i] if point is None else point
    generators = _generators(arrangement, central)
    clear[~clear] = _clear(generators[~clear], masks[~clear], rows)
    kept = np.flatnonzero(clear)
    descending = np.argsort(pattern_keys(masks[kept]))[::-1]
    return Gates(generators, masks).take(kept[descending])


def _generators(arrangement: Arrangement, points: Floats) -> Floats:
    vectors = over_peaks(points @ arrangement.lift.T, axis=1)
    norms: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / norms


def _clear(generators: Floats, masks: Masks, rows: Floats) -> Masks:
    """Return (p,), true where every non-zero row is on its side by more than rounding.

    The error of a computed x . u is at most about d * eps * sum over j of |x_j u_j|.
    """
    scaled = over_peaks(rows, axis=1)
    zero = ~scaled.any(axis=1)
    unit = 2 * (rows.shape[1] + 2) * np.finfo(np.float64).eps
    clear = np.empty(len(generators), dtype=np.bool_)
    step = max(1, BLOCK_BYTES // (8 * len(rows)))
    for start in range(0, len(generators), step):
        block = slice(start, start + step)
        values = generators[block] @ scaled.T
        error = unit * (np.abs(generators[block]) @ np.abs(scaled).T)
        signed = np.where(masks[block], values, -values)
        clear[block] = np.all((signed > error) | zero, axis=1)
    return clear
