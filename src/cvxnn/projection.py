"""Projection onto the cones of activation patterns, and the dual norms that it gives."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from cvxnn.arrays import Array, device, like, namespace, to_numpy
from cvxnn.functions import ColumnNorm, GroupNorm, Parts, Penalty
from cvxnn.maps import row_blocks
from cvxnn.program import Constraint, Program
from cvxnn.shortest import shortest_parts

Floats = NDArray[np.float64]
Faces = NDArray[np.int64]

CLOSE = 1e-12
"""How far behind a face, relative to its length, a projected point may be left by rounding."""
_TINY = 1e-30
"""A step so short that a prox is the projection onto the domain."""
_CUTS, CUT = 200, 1e-9
"""Linear programs at most, and the share of a polar that they may leave."""
_ROUNDS = 60
"""Accelerated steps on all blocks at once, before any block is projected exactly."""


def project_onto_cone(rows: Array, vectors: Array) -> Array:
    """Return the projections of the columns of `vectors` (d, c) onto {u : rows u >= 0}.

    Every result is g + rows' m for some m >= 0, so that its length bounds the maximum of <g, u>
    over the unit vectors of the cone from above, even where rounding keeps it off the cone.
    """
    host, unit = to_numpy(vectors).astype(float), unit_rows(rows)
    none = np.zeros(0, dtype=np.int64)
    projected = [nearest(unit, column, none)[0] for column in host.T]
    return like(np.stack(projected, axis=1), vectors)


def pushed(rows: Array, vectors: Array, penalty: Penalty) -> Array:
    """Return g + rows' m (d, c) of the least polar that is found, m >= 0, column by column.

    By cutting planes: the polar is the largest of <g + rows' m, u> over the u of penalty 1, and
    each linear program in m adds the u that is largest at its solution [Kelley1960]. Every result
    bounds the maximum of <g, u> over the u of the cone and of penalty 1.
    """
    host, unit = to_numpy(vectors).astype(float), unit_rows(rows)
    columns = [_pushed(unit, column, penalty) for column in host.T]
    return like(np.stack(columns, axis=1), vectors)


def _pushed(rows: Floats, g: Floats, penalty: Penalty) -> Floats:
    best, size = g, float(penalty.polar(g[None, :, None])[0])
    if not len(rows) or size == 0:
        return g
    cuts, point = np.zeros((0, len(g))), g
    for _ in range(_CUTS):
        found = to_numpy(penalty.direction(point[None, :, None]))[0, :, 0]
        cuts = np.concatenate([cuts, found[None]])
        # min t with <g + rows' m, u> <= t: m in units of the size of g
        solved = linprog(
            np.concatenate([np.zeros(len(rows)), [1.0]]),
            A_ub=np.column_stack([cuts @ rows.T, -np.ones(len(cuts))]),
            b_ub=-(cuts @ g) / size,
            bounds=[(0, None)] * len(rows) + [(0, None)],
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if solved.x is None:
            break
        point = g + size * np.maximum(solved.x[:-1], 0.0) @ rows
        polar = float(penalty.polar(point[None, :, None])[0])
        if polar < float(penalty.polar(best[None, :, None])[0]):
            best = point
        if polar <= size * float(solved.x[-1]) + CUT * size:
            break
    return best


def by_projection(penalty: Penalty) -> bool:
    """Tell whether projection onto a cone gives the polar gauge there, as of Euclidean norms."""
    return isinstance(penalty, GroupNorm | ColumnNorm | Parts)


def unit_rows(rows: Array) -> Floats:
    """Return the rows that are not zero, each of unit norm."""
    host = to_numpy(rows).astype(float)
    lengths = np.linalg.norm(host, axis=1)
    return np.asarray(host[lengths > 0] / lengths[lengths > 0, None])


def nearest(rows: Floats, g: Floats, faces: Faces) -> tuple[Floats, Faces]:
    """Return the point of {u : rows u >= 0} nearest to `g` (d,), and the faces that it lies on.

    `rows` have unit norm; `faces` is a guess, often the answer to a nearby `g`. By Moreau the
    point is g + rows' m with m >= 0 minimising its length: nonnegative least squares by active
    sets [Lawson1974], whose length falls with every face that is added, so that it ends.
    """
    size = float(np.linalg.norm(g))
    faces, weights = _drop_negative(rows, g, faces)
    for _ in range(10 * len(g) + 10):
        point = g + weights @ rows[faces]
        slack = rows @ point
        worst = int(slack.argmin()) if len(slack) else 0
        if not len(slack) or slack[worst] >= -CLOSE * size:
            return point, faces
        if worst in faces:  # rounding: the face is there, and the point is still behind it
            break
        faces, weights = _add(rows, g, np.append(faces, worst), np.append(weights, 0.0))
    return point, faces


def inside(rows: Floats, point: Floats) -> Floats:
    """Return the point if it is in {u : rows u >= 0} up to rounding, else the apex."""
    behind = -float((rows @ point).min(initial=0.0))
    return point if behind <= 1e-9 * float(np.linalg.norm(point)) else np.zeros_like(point)


def _weights(rows: Floats, g: Floats, faces: Faces) -> NDArray[Any]:
    normals = rows[faces]
    try:
        weights: NDArray[Any] = np.linalg.solve(normals @ normals.T, -normals @ g)
    except np.linalg.LinAlgError:  # parallel faces
        weights = np.linalg.lstsq(normals.T, -g)[0]
    return weights


def _drop_negative(rows: Floats, g: Floats, faces: Faces) -> tuple[Faces, Floats]:
    weights = _weights(rows, g, faces)
    while len(weights) and weights.min() < 0:
        faces = np.delete(faces, int(weights.argmin()))
        weights = _weights(rows, g, faces)
    return faces, weights


def _add(rows: Floats, g: Floats, faces: Faces, feasible: Floats) -> tuple[Faces, Floats]:
    """Move from feasible weights to the best ones on `faces`, dropping those that reach zero."""
    while True:
        weights = _weights(rows, g, faces)
        below = weights <= 0
        if not below.any():
            return faces, weights
        share = (feasible[below] / (feasible[below] - weights[below])).min(initial=1.0)
        feasible = feasible + share * (weights - feasible)
        kept = feasible > 1e-14 * feasible.max(initial=0.0)
        if kept.all():
            kept[int(np.where(below, weights, np.inf).argmin())] = False
        faces, feasible = faces[kept], feasible[kept]


def shorten(constraint: Constraint, g: Array, start: Array | None = None) -> Array:
    """Return m >= 0 that makes every block of g + C* m short, by accelerated projected gradient.

    All blocks advance together, in two products a step; every m is valid, a better one is tighter.
    """
    xp, rows = namespace(g), constraint.map
    bound = float(xp.max(xp.linalg.eigvalsh(rows.gram())[..., -1])) or 1.0
    point = xp.zeros(rows.out_shape, dtype=g.dtype) + 0 * g[:, :1, :] if start is None else start
    ahead, momentum = point, 1.0
    for _ in range(_ROUNDS):
        slope = rows.apply(g + rows.adjoint(ahead))
        following = constraint.cone.prox(ahead - slope / bound, 1.0)
        rise = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / rise * (following - point)
        point, momentum = following, rise
    return point


def gauges(
    program: Program, dual: Array, multiplier: Array | None = None, enough: float = 1.0
) -> Array:
    """Return (p,), upper bounds on the polar gauge of `dual` per block.

    Without a cone they are exact. With one, the bound falls from |X' D v| by the multiplier at
    hand; blocks that are still above `enough` get a better multiplier.
    """
    xp = namespace(dual)
    g = program.lift.adjoint(dual)
    bounds = program.penalty.polar(g)
    if program.constraint is None:
        return bounds
    if multiplier is not None:
        bounds = xp.minimum(bounds, _with(program, g, multiplier, program.constraint))
    host = to_numpy(bounds).copy()
    above = np.flatnonzero(host > enough)
    width = int(np.prod(program.constraint.map.out_shape[1:]))
    for some in row_blocks(len(above), width):
        index = xp.asarray(above[some], device=device(g))
        part = Constraint(program.constraint.map.restrict(index), program.constraint.cone)
        chosen = xp.take(g, index, axis=0)
        start = None if multiplier is None else xp.take(multiplier, index, axis=0)
        better = to_numpy(_with(program, chosen, shorten(part, chosen, start), part))
        host[above[some]] = np.minimum(host[above[some]], better)
    return like(host, bounds)


def _with(program: Program, g: Array, multiplier: Array, constraint: Constraint) -> Array:
    return program.penalty.polar(g + constraint.map.adjoint(multiplier))


def polar_bound(
    program: Program, dual: Array, multiplier: Array | None = None, enough: float = 1.0
) -> float:
    """Return an upper bound on the polar gauge of `dual` over all blocks; it is feasible iff <= 1.

    With a cone, only blocks that could attain the maximum, and that are above `enough`, are
    projected exactly; the bound is then the gauge itself.
    """
    if program.lift.in_shape[0] == 0:
        return 0.0
    rough = to_numpy(gauges(program, dual, multiplier, enough))
    if program.constraint is None:
        return float(rough.max())
    g, settled = program.lift.adjoint(dual), 0.0
    for block in np.argsort(-rough):
        if rough[block] <= max(settled, enough):
            return max(settled, float(rough[block]))
        exact = cone_polar(program, int(block), g[int(block), :, :])
        settled = max(settled, min(exact, float(rough[block])))
    return settled


def cone_polar(program: Program, block: int, g: Array) -> float:
    """Return the polar gauge of `g` (d, c) for a block in its cone: that of g + C* m at the best m.

    It is the projection onto the cone for Euclidean norms. For a norm of parts no multiplier makes
    all parts shortest; the best one is that of a projection in which the parts are weighed, and
    the longest parts weigh most.
    """
    assert program.constraint is not None
    rows, penalty = program.constraint.map.rows(block), program.penalty
    if not isinstance(penalty, Parts) or penalty.count == 1:
        near = project_onto_cone if by_projection(penalty) else partial(pushed, penalty=penalty)
        return float(penalty.polar(near(rows, g)[None, :, :])[0])
    host, unit = to_numpy(g).astype(float), unit_rows(rows)
    points = [shortest_parts(unit, column, penalty.count, nearest) for column in host.T]
    return float(penalty.polar(like(np.stack(points, axis=1)[None], g))[0])


def inside_cones(program: Program, blocks: Array) -> Array:
    """Return the blocks, each projected onto its cone, or onto the domain of the penalty."""
    if program.constraint is None or blocks.shape[0] == 0:
        whole = blocks.shape[0] == 0 or math.isfinite(program.penalty.value(blocks))
        return blocks if whole else program.penalty.prox(blocks, _TINY)
    result = to_numpy(blocks).copy()
    for block in np.flatnonzero(result.any(axis=(1, 2))):
        rows = unit_rows(program.constraint.map.rows(int(block)))
        projected = project_onto_cone(rows, result[block])
        result[block] = np.stack([inside(rows, column) for column in projected.T], axis=1)
    return like(result, blocks)
