"""Bounds on an optimum that anyone can check: the certificate, and how its two sides are proved."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.optimize import nnls

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.program import Iterate, Program

_SAFETY = 1e-12
"""Relative slack of every lower bound against rounding; errors near 1e-15 were observed."""


class Scope(Enum):
    """The networks that the lower bound speaks of; a member's value is said to the user."""

    GIVEN_GATES = "networks whose activation patterns are among the given gates"
    ALL_NETWORKS = "all networks of this kind, of any width"


class Exactness(Enum):
    """How the convex program stands to the network."""

    EXACT = "the program is equivalent to training the network"
    GATED = "the network is gated: its gates are fixed, its weights are optimal"
    RELAXATION = "the program is a lower bound; the upper bound is the network's own objective"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """An upper and a lower bound on the smallest objective in scope, in the user's units.

    >>> c = Certificate(upper=1.0, lower=0.999, scope=Scope.ALL_NETWORKS,
    ...                 exactness=Exactness.EXACT, bound="enumeration")
    >>> c.proves(0.01), round(c.relative_gap, 6)
    (True, 0.001)
    """

    upper: float
    """Objective of the network handed over: float64, original data."""
    lower: float
    """Nothing in scope has a smaller objective."""
    scope: Scope
    exactness: Exactness
    bound: str = "dual"
    """How `lower` was proved: "dual" or "enumeration"."""
    violation: float = 0.0
    """Largest relative cone violation of the convex point."""
    resolution: float = 0.0
    """Objectives that differ by less are equal up to rounding."""

    @property
    def gap(self) -> float:
        """Return upper - lower."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> float:
        """Return the gap as a share of `upper`; 0 when it is below the resolution."""
        if not self.gap > self.resolution:
            return 0.0 if np.isfinite(self.gap) else float("inf")
        return self.gap / self.upper if self.upper > 0 else float("inf")

    def proves(self, tol: float) -> bool:
        """Tell whether the network is within the relative gap `tol` of the best in scope."""
        return bool(self.relative_gap <= tol)

    def summary(self) -> str:
        """Return the certificate in words."""
        return "\n".join(f"{name:<13}{value}" for name, value in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs for tables."""
        return [
            ("objective", f"{self.upper:.10g}"),
            ("lower bound", f"{self.lower:.10g}"),
            ("relative gap", f"{self.relative_gap:.2e}"),
            ("scope", self.scope.value),
            ("exactness", self.exactness.value),
            ("proved by", self.bound),
        ]

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in self.rows())
        return f"<table>{cells}</table>"


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


def polar_bound(
    program: Program, dual: Array, multiplier: Array | None = None, enough: float = 1.0
) -> float:
    """Return an upper bound on the polar gauge of `dual` over all blocks; it is feasible iff <= 1.

    With a cone, the bound of a block falls from |X' D v| by the multiplier at hand, and by the
    exact projection where that does not settle it; only blocks that could attain the maximum, and
    that are above `enough`, are projected.
    """
    if program.lift.in_shape[0] == 0:
        return 0.0
    xp = namespace(dual)
    g = program.lift.adjoint(dual)
    bounds = program.penalty.polar(g)
    if program.constraint is None:
        return float(xp.max(bounds))
    if multiplier is not None:
        shifted = g + program.constraint.map.adjoint(multiplier)
        bounds = xp.minimum(bounds, program.penalty.polar(shifted))
    rough, settled = to_numpy(bounds), 0.0
    for block in np.argsort(-rough):
        if rough[block] <= max(settled, enough):
            return max(settled, float(rough[block]))
        exact = project_onto_cone(program.constraint.map.rows(int(block)), g[int(block), :, :])
        bound = min(float(program.penalty.polar(exact[None, :, :])[0]), float(rough[block]))
        settled = max(settled, bound)
    return settled


def feasible_dual(
    program: Program, dual: Array, multiplier: Array | None = None, anchor: Array | None = None
) -> tuple[float, Array]:
    """Return a proved lower bound on the program and the feasible dual point that proves it.

    `dual` (n, c) is made orthogonal to the free columns, drawn towards `anchor` (a point inside
    the domain of the loss's conjugate, orthogonal too) until it is in that domain, and scaled
    until every block's polar gauge is at most one.
    """
    v = _in_domain(program, double(dual), anchor)
    gauge = polar_bound(program, v, None if multiplier is None else double(multiplier))
    largest = (1 - _SAFETY) / gauge if gauge > 0 else 1.0
    values = [(-program.loss.conjugate(-s * v), s) for s in {largest, min(largest, 1.0), 0.0}]
    value, scale = max(pair for pair in values if not np.isnan(pair[0]))
    return value - _SAFETY * abs(value), scale * v


def _in_domain(program: Program, v: Array, anchor: Array | None) -> Array:
    v = _orthogonal(program.free, v)
    if np.isfinite(program.loss.conjugate(-v)):
        return v
    inside = _orthogonal(program.free, double(anchor)) if anchor is not None else 0 * v
    for share in 10.0 ** np.arange(-12.0, 1.0):
        drawn = v + float(share) * (inside - v)
        if np.isfinite(program.loss.conjugate(-drawn)):
            return drawn
    return 0 * v


def _orthogonal(free: Array, v: Array) -> Array:
    if free.shape[1] == 0:
        return v
    columns = double(free)
    square = namespace(v).sum(columns[:, 0] ** 2)
    for _ in range(2):  # twice, so that rounding leaves nothing
        v = v - columns @ (columns.T @ v / square)
    return v


def certify(
    program: Program,
    iterate: Iterate,
    *,
    scope: Scope = Scope.GIVEN_GATES,
    exactness: Exactness = Exactness.EXACT,
    anchor: Array | None = None,
) -> tuple[Certificate, Iterate]:
    """Return the certificate of a program's iterate in float64, and the iterate that it holds for.

    Without a cone the bounds hold as they are. With one, `upper` belongs to the blocks projected
    onto their cones, so it is the objective of a feasible point.
    """
    blocks = inside_cones(program, double(iterate.blocks))
    free = double(iterate.free)
    lower, dual = feasible_dual(program, iterate.dual, iterate.multiplier, anchor)
    certificate = Certificate(
        upper=program.objective(blocks, free),
        lower=lower,
        scope=scope,
        exactness=exactness,
        violation=program.violation(blocks),
        resolution=resolution(program),
    )
    return certificate, iterate._replace(blocks=blocks, free=free, dual=dual)


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


def resolution(program: Program) -> float:
    """Return the rounding unit of the objective: 1e-14 of the loss of predicting zero."""
    xp, columns = namespace(program.free), program.free
    zero = xp.zeros(program.lift.out_shape, dtype=xp.float64, device=device(columns))
    return 1e-14 * abs(program.loss.value(zero))
