"""Projection onto the cones of activation patterns, and the dual norms that it gives."""

import numpy as np
from scipy.optimize import nnls

from cvxnn.arrays import Array, like, namespace, spectral_norm, to_numpy
from cvxnn.program import Constraint, Program

_ROUNDS = 60
"""Accelerated steps on all blocks at once, before any block is projected exactly."""


def project_onto_cone(rows: Array, vectors: Array) -> Array:
    """Return the projections of the columns of `vectors` (d, c) onto {u : rows u >= 0}.

    By Moreau the projection of g is g + rows' m with m >= 0 minimising its length, a nonnegative
    least squares problem [Lawson1974]. Every such m bounds the maximum of <g, u> over the unit
    vectors of the cone from above, so an inexact m is weaker but never wrong.
    """
    matrix, columns = to_numpy(rows).astype(float), to_numpy(vectors).astype(float)
    lengths = np.linalg.norm(matrix, axis=1)
    matrix = matrix[lengths > 0] / lengths[lengths > 0, None]
    projected = columns.copy()
    for k, g in enumerate(columns.T):
        size = np.linalg.norm(g)
        if size > 0 and len(matrix) and (matrix @ g).min() < 0:
            projected[:, k] = g + size * (matrix.T @ _shortest(matrix, g / size))
    return like(projected, vectors)


def _shortest(matrix: Array, g: Array) -> Array:
    try:
        return nnls(matrix.T, -g, maxiter=30 * len(matrix))[0]
    except RuntimeError:  # cycling on degenerate rows: the zero multiplier is valid, only weaker
        return np.zeros(len(matrix))


def shorten(constraint: Constraint, g: Array, start: Array | None = None) -> Array:
    """Return m >= 0 that makes every block of g + C* m short, by accelerated projected gradient.

    All blocks advance together, in two products a step; every m is valid, a better one is tighter.
    """
    xp, rows = namespace(g), constraint.map
    bound = spectral_norm(rows.gram()) or 1.0
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
    above = np.flatnonzero(to_numpy(bounds) > enough)
    if len(above) == 0:
        return bounds
    index = xp.asarray(above, device=g.device)
    part = Constraint(program.constraint.map.restrict(index), program.constraint.cone)
    chosen = xp.take(g, index, axis=0)
    start = None if multiplier is None else xp.take(multiplier, index, axis=0)
    better = _with(program, chosen, shorten(part, chosen, start), part)
    host = to_numpy(bounds).copy()
    host[above] = np.minimum(host[above], to_numpy(better))
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
        exact = project_onto_cone(program.constraint.map.rows(int(block)), g[int(block), :, :])
        bound = min(float(program.penalty.polar(exact[None, :, :])[0]), float(rough[block]))
        settled = max(settled, bound)
    return settled


def inside_cones(program: Program, blocks: Array) -> Array:
    """Return the blocks, each projected onto its cone; without a constraint, as they are."""
    if program.constraint is None or blocks.shape[0] == 0:
        return blocks
    xp = namespace(blocks)
    active = to_numpy(xp.any(blocks != 0, axis=(1, 2)))
    projected = [
        project_onto_cone(program.constraint.map.rows(i), blocks[i, :, :])
        if active[i]
        else blocks[i, :, :]
        for i in range(blocks.shape[0])
    ]
    return xp.stack(projected, axis=0)
