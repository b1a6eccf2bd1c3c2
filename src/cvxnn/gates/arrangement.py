"""The hyperplanes x_i . u = 0 in their simplest form: distinct unit normals that span R^r."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from cvxnn.gates.base import Floats, Masks

TOLERANCE = 1e-9
"""Unit normals this close are one hyperplane; a cell with no ball this large is not a cell."""

RANK_TOLERANCE = 1e-10
"""Singular values below this fraction of the largest are rounding, not directions."""


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
    columns are scaled to a largest entry of 1, and the left singular vectors, which are the rows in
    the basis that whitens them, take the place of the rows.
    """
    scaled = over_peaks(rows, axis=1)
    peaks = np.max(np.abs(scaled), axis=0, initial=0)
    columns = np.where(peaks > 0, peaks, 1)
    left, values, right = np.linalg.svd(scaled / columns, full_matrices=False)
    rank = int(np.sum(values > RANK_TOLERANCE * np.max(values, initial=0)))
    nonzero = np.flatnonzero(scaled.any(axis=1))
    units = left[nonzero, :rank]
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    first = _first_parallel(units)
    kept, compact = np.unique(first, return_inverse=True)
    owner = np.full(len(rows), -1)
    owner[nonzero] = compact
    along = np.zeros(len(rows), dtype=np.bool_)
    along[nonzero] = np.sum(units * units[first], axis=1) > 0
    lift = (right[:rank] / values[:rank, None] / columns).T
    return Arrangement(units[kept], owner, along, lift)


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

    The best w points at the point of the rows' convex hull nearest to zero, which non-negative
    least squares [Lawson1974] finds: min |[A' ; 1'] z - (0, 1)| over z >= 0 gives w = A'z. The answer proves
    itself, by w or by A'z = 0 (Gordan); where rounding leaves it open, a linear program decides.
    """
    count, rank = inward.shape
    system = np.vstack([inward.T, np.ones(count)])
    try:
        weights, _ = nnls(system, np.append(np.zeros(rank), 1.0))
    except RuntimeError:  # its iteration limit
        return _by_linear_program(inward)
    point = inward.T @ weights
    size = float(np.linalg.norm(point))
    if size <= TOLERANCE * weights.sum():
        return None
    if np.min(inward @ point) > TOLERANCE * size:
        return np.asarray(point / size)
    return _by_linear_program(inward)


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
    size = float(np.linalg.norm(point))
    inside = size > 0 and np.min(inward @ point) > TOLERANCE * size
    return np.asarray(point / size) if inside else None
