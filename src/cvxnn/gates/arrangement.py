"""The hyperplanes x_i . u = 0 in their simplest form: distinct unit normals that span R^r."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from cvxnn.gates.base import Floats, Masks

TOLERANCE = 1e-11
"""Unit normals this close are one hyperplane, a cell with no ball this large is not a cell, and
singular values below this fraction of the largest are rounding and no directions."""

MINOR = 1e-4
"""An entry below this fraction of the largest in its row and in its column has no say in scales."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A central arrangement of q distinct hyperplanes with unit `normals` (q, r) of rank r.

    Sample i lies on hyperplane `owner[i]`, on its positive side where `along[i]`; `owner` is -1
    for a zero row, which is on no side. `lift` (d, r) maps a point w of R^r to u with
    x_i . u = (positive number) * (+-1) * normals[owner[i]] . w.
    """

    normals: Floats
    owner: NDArray[np.intp]
    along: Masks
    lift: Floats

    def masks(self, cells: Masks) -> Masks:
        """Return the (p, n) sample masks of cells (p, q), given by their sides."""
        masks: Masks = cells[:, self.owner] == self.along
        masks[:, self.owner < 0] = True
        return masks


def arrange(rows: Floats) -> Arrangement:
    """Return the arrangement of finite `rows` (n, d), whatever the scales of rows and columns.

    Scaling a row by a positive number or changing the basis of R^d changes no pattern. So rows and
    columns are balanced first, and the left singular vectors, which are the rows in the basis that
    whitens them, take the place of the rows.
    """
    down, across = _exponents(np.abs(rows))
    scaled = over_peaks(np.ldexp(rows, -(down[:, None] + across)), axis=1)
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    rank = int(np.sum(values > TOLERANCE * np.max(values, initial=0)))
    nonzero = np.flatnonzero(scaled.any(axis=1))
    units = left[nonzero, :rank]
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    first = _first_parallel(units)
    kept, compact = np.unique(first, return_inverse=True)
    owner = np.full(len(rows), -1)
    owner[nonzero] = compact
    along = np.zeros(len(rows), dtype=np.bool_)
    along[nonzero] = np.sum(units * units[first], axis=1) > 0
    whiten = (right[:rank] / values[:rank, None]).T
    # Only the direction of a lifted point counts, so the shift is one that cannot overflow.
    lift = np.ldexp(whiten, np.min(across, initial=0) - across[:, None])
    return Arrangement(units[kept], owner, along, lift)


def _exponents(sizes: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return integers a_i, b_j for which 2^-a_i 2^-b_j sizes_ij are close to 1, in least squares.

    The squares are those of log2(sizes_ij) - a_i - b_j [CurtisReid1972], over the entries that are
    not zero nor minor both in their row and in their column, as rounding is. The a_i are
    eliminated and the b_j solve the normal equations.
    """
    if sizes.shape[1] > sizes.shape[0]:
        across, down = _exponents(sizes.T)
        return down, across
    peaks = [np.max(sizes, axis=axis, keepdims=True, initial=0) for axis in (0, 1)]
    counts = (sizes > MINOR * np.minimum(*np.broadcast_arrays(*peaks))).astype(np.float64)
    logs = np.log2(sizes, where=counts > 0, out=np.zeros_like(sizes))
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    means = np.sum(share * logs, axis=1)
    normal = np.diag(counts.sum(axis=0)) - counts.T @ share
    across = np.linalg.lstsq(normal, np.sum(logs, axis=0) - counts.T @ means)[0]
    down = means - share @ across
    return np.rint(down).astype(np.intp), np.rint(across).astype(np.intp)


def over_peaks(rows: Floats, axis: int) -> Floats:
    """Return `rows` divided by their largest entry along `axis`; what is zero stays zero."""
    peaks = np.max(np.abs(rows), axis=axis, keepdims=True, initial=0)
    return rows / np.where(peaks > 0, peaks, 1)


def _first_parallel(units: Floats) -> NDArray[np.intp]:
    """Return, for every unit row, the index of the first row parallel or antiparallel to it.

    Parallel rows have equal |u . probe|, so only runs of equal ones are compared.
    """
    probe = np.random.default_rng(0).standard_normal(units.shape[1])
    heights = np.abs(units @ probe)
    order = np.argsort(heights)
    jumps = np.diff(heights[order]) > TOLERANCE * np.linalg.norm(probe)
    first = np.empty(len(units), dtype=np.intp)
    for run in np.split(order, np.flatnonzero(jumps) + 1):
        rest = np.sort(run)
        while rest.size:
            leader = units[rest[0]]
            apart = np.minimum(
                np.linalg.norm(units[rest] - leader, axis=1),
                np.linalg.norm(units[rest] + leader, axis=1),
            )
            near = apart <= TOLERANCE
            first[rest[near]] = rest[0]
            rest = rest[~near]
    return first


def interior(inward: Floats) -> Floats | None:
    """Return a unit w with a_k . w > TOLERANCE for every unit row of `inward` (k, r), or None.

    The w of largest margin points at the point of the rows' convex hull nearest to zero, which
    non-negative least squares finds [Lawson1974]: min |[A' ; 1'] z - (0, 1)| over z >= 0. Rows
    with z_k > 0 have equal margins, and solving for these is exact even in a thin cell. The answer
    proves itself, by w or by A'z = 0 (Gordan); where rounding leaves it open, a linear program
    decides.
    """
    count, rank = inward.shape
    try:
        weights, _ = nnls(np.vstack([inward.T, np.ones(count)]), np.append(np.zeros(rank), 1.0))
    except RuntimeError:  # its iteration limit
        return _by_linear_program(inward)
    nearest = inward[weights > 0]
    point = np.asarray(np.linalg.lstsq(nearest, np.ones(len(nearest)))[0], np.float64)
    if _is_inside(point, inward):
        return np.asarray(point / np.linalg.norm(point))
    if np.linalg.norm(inward.T @ weights) <= TOLERANCE * weights.sum():
        return None
    return _by_linear_program(inward)


def _is_inside(point: Floats, inward: Floats) -> bool:
    return bool(np.min(inward @ point) > TOLERANCE * np.linalg.norm(point))


def _by_linear_program(inward: Floats) -> Floats | None:
    """Solve max t subject to a_k . w >= t and |w_j| <= 1."""
    count, rank = inward.shape
    bounds: list[Any] = [(-1, 1)] * rank + [(None, 1)]
    found = linprog(
        np.append(np.zeros(rank), -1.0),
        A_ub=np.column_stack([-inward, np.ones(count)]),
        b_ub=np.zeros(count),
        bounds=bounds,
        method="highs",
    )
    if found.x is None:
        raise ArithmeticError(f"the linear program of a cell failed: {found.message}")
    point = found.x[:-1]
    return np.asarray(point / np.linalg.norm(point)) if _is_inside(point, inward) else None
