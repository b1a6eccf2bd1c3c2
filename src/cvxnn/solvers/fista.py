"""Accelerated proximal gradient with an adaptive step, in products of matrices."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cvxnn.arrays import Array, device, inner, namespace, norm
from cvxnn.maps import Lift
from cvxnn.program import Iterate, Program


class Point(NamedTuple):
    """Blocks, free coefficients and the predictions they give."""

    blocks: Array
    free: Array
    prediction: Array

    def towards(self, other: "Point", share: float) -> "Point":
        """Return self + share * (other - self); predictions are linear, so no product is needed."""
        return Point(*(a + share * (b - a) for a, b in zip(self, other, strict=True)))


class State(NamedTuple):
    """The last point, the extrapolated point, the momentum and the inverse step."""

    last: Point
    ahead: Point
    momentum: float
    curvature: float


@dataclass(frozen=True)
class FISTA:
    """Accelerated proximal gradient [Beck2009] with a step that grows and restarts.

    A step costs one product with A and one with its adjoint: predictions are linear in the
    blocks, so extrapolation and the line search reuse them; each backtrack costs one more product.
    The curvature estimate shrinks by `relax` every step and grows by `backtrack` until the
    gradients of two points agree with it; momentum restarts when it points uphill
    [ODonoghue2015]. Steps are taken in u and in the coefficients of what A u leaves of the free
    columns, so that large means of A's columns cost no steps. For smooth losses and programs
    without a cone, in float32 or float64.
    """

    relax: float = 1.25
    """> 1: how fast the step may grow."""
    backtrack: float = 1.5
    """> 1: how fast it shrinks when it was too long."""

    name = "fista"
    heuristic = False
    copies = (8, 0)
    period = 10

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: points are all it holds."""
        return 0

    def why_not(self, program: Program) -> str | None:
        """Return None for a smooth loss without a cone."""
        if program.constraint is not None:
            return "FISTA takes no cone constraint; use solver='admm', or a gated architecture"
        if not math.isfinite(program.loss.smoothness):
            return "FISTA needs a smooth loss and this one has kinks; use solver='admm'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero."""
        blocks, free = origin(program) if start is None else (start.blocks, start.free)
        xp, dtype = namespace(program.free), program.free.dtype
        blocks, free = xp.astype(blocks, dtype, copy=False), xp.astype(free, dtype, copy=False)
        free = free + _along(program, blocks)
        program = _centred(program)
        point = Point(blocks, free, program.predict(blocks, free))
        down = _descent(program, point)
        moved = program.predict(down.blocks, down.free)
        size = math.hypot(norm(down.blocks), norm(down.free)) or 1.0
        change = program.loss.gradient(point.prediction + moved) + down.prediction
        curvature = 0.1 * inner(change / size, moved / size)
        if not 0 < curvature < math.inf:  # flat, or numbers that overflow
            curvature = program.loss.smoothness
        return State(point, point, 1.0, curvature)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one proximal gradient step from the extrapolated point."""
        ahead, curvature = state.ahead, state.curvature / self.relax
        program = _centred(program)
        down = _descent(program, ahead)
        while True:
            point = _forward(program, ahead, down, 1 / curvature)
            length = _square_distance(point, ahead)
            bend = _bend(program, ahead, point)
            if not bend > curvature * length * (1 + 1e-6) or length == 0:  # NaN ends it as well
                break
            curvature *= self.backtrack
        uphill = inner(ahead.blocks - point.blocks, point.blocks - state.last.blocks) + inner(
            ahead.free - point.free, point.free - state.last.free
        )
        momentum = 1.0 if uphill > 0 else state.momentum
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = state.last.towards(point, 1 + (momentum - 1) / following)
        return State(point, extrapolated, following, curvature)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the last point, and minus the gradient of the loss as its dual."""
        point = state.last
        free = point.free - _along(program, point.blocks)
        return Iterate(point.blocks, free, -program.loss.gradient(point.prediction))

    def done(self, state: State) -> bool:
        """Return False: every step may still help."""
        return False


def origin(program: Program) -> tuple[Array, Array]:
    """Return the zero blocks and free coefficients of a program."""
    xp, columns = namespace(program.free), program.free
    kind = {"dtype": columns.dtype, "device": device(columns)}
    shape, outputs = program.lift.in_shape, program.lift.out_shape[-1]
    return xp.zeros(shape, **kind), xp.zeros((columns.shape[1], outputs), **kind)


@dataclass(frozen=True, eq=False)
class _Centred:
    """(I - F (F'F)^-1 F') A, for free columns F that are orthogonal and of equal norm."""

    inner: Lift
    columns: Array

    def apply(self, u: Array) -> Array:
        image = self.inner.apply(u)
        return image - self._part(image)

    def adjoint(self, z: Array) -> Array:
        return self.inner.adjoint(z - self._part(z))

    def _part(self, z: Array) -> Array:
        columns = namespace(z).astype(self.columns, z.dtype, copy=False)
        return columns @ coefficients(columns, z)


def coefficients(columns: Array, z: Array) -> Array:
    """Return the coefficients (q, c) of z (n, c) along orthogonal columns of equal norm."""
    size = namespace(z).sum(columns[:, 0] ** 2) if columns.shape[1] else 1.0
    return columns.T @ z / size


def _centred(program: Program) -> Program:
    if program.free.shape[1] == 0:
        return program
    lift: Any = _Centred(program.lift, program.free)
    return replace(program, lift=lift)


def _along(program: Program, blocks: Array) -> Array:
    """Return the coefficients (q, c) of the part of A u along the free columns."""
    if program.free.shape[1] == 0:
        return 0.0
    return coefficients(program.free, program.lift.apply(blocks))


def _descent(program: Program, point: Point) -> Point:
    dual = -program.loss.gradient(point.prediction)
    return Point(program.lift.adjoint(dual), program.free.T @ dual, dual)


def _forward(program: Program, point: Point, down: Point, step: float) -> Point:
    blocks = program.penalty.prox(point.blocks + step * down.blocks, step)
    free = point.free + step * down.free
    return Point(blocks, free, program.predict(blocks, free))


def _bend(program: Program, a: Point, b: Point) -> float:
    """Return <grad(b) - grad(a), b - a> in the predictions: curvature times squared length."""
    change = program.loss.gradient(b.prediction) - program.loss.gradient(a.prediction)
    return inner(change, b.prediction - a.prediction)


def _square_distance(a: Point, b: Point) -> float:
    blocks, free = a.blocks - b.blocks, a.free - b.free
    return inner(blocks, blocks) + inner(free, free)
