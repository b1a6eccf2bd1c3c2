"""Alternating directions for what proximal gradient cannot take: cones, and losses with kinks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import Array, device, inner, namespace, norm
from cvxnn.linalg import conjugate_gradient
from cvxnn.program import Iterate, Program
from cvxnn.solvers.fista import origin


class Triple(NamedTuple):
    """Predictions z, blocks w and cone rows s: the three copies of (A u + F b, u, C u)."""

    z: Array
    w: Array
    s: Array

    def plus(self, other: "Triple", share: float = 1.0) -> "Triple":
        """Return self + share * other."""
        return Triple(*(a + share * b for a, b in zip(self, other, strict=True)))

    def dot(self, other: "Triple") -> float:
        """Return the inner product."""
        return sum(inner(a, b) for a, b in zip(self, other, strict=True))

    def size(self) -> float:
        """Return the Euclidean norm."""
        return math.hypot(*(norm(part) for part in self))


class Factors(NamedTuple):
    """What does not change over a run: the scale, T^-1 and the inverse of I + P A T^-1 A* P."""

    scale: float
    block: Array
    solve: Callable[[Array, Array], Array]


class State(NamedTuple):
    """The fixed-point variable v = copies + scaled multipliers, and what speeds it up."""

    v: Triple
    rho: float
    inner: Array
    memory: tuple[tuple[Triple, Triple], ...]
    """The last (residual, image) pairs of the fixed-point map at this rho."""
    plain: Triple | None
    """Where the unaccelerated step led, when `v` is extrapolated."""
    residual: float
    """Norm of the last residual that was accepted."""
    age: int
    update: int
    factors: Factors


@dataclass(frozen=True)
class ADMM:
    """Alternating directions [Boyd2011] with adaptive penalty and Anderson acceleration.

    Splits the program into copies z = A u + F b, w = u and s = C u. The quadratic step over (u, b)
    is exact: b is eliminated by projection, and u by the Woodbury identity, where
    A T^-1 A* = (X T^-1 X') o (D D') is one (n, n) matrix that does not depend on the penalty
    parameter; beyond `direct` samples the same system is solved by conjugate gradients. The sweep
    is a fixed-point map: its last few residuals are mixed so that they cancel, and a mixture that
    makes the residual grow is taken back [WalkerNi2011]. Takes every loss, penalty and cone; the
    point read is the sparse copy w.
    """

    relaxation: float = 1.6
    """Over-relaxation, in [1, 2)."""
    memory: int = 8
    """Pairs kept for Anderson acceleration; 0 for none."""
    direct: int = 5000
    """Largest n for which the (n, n) matrix is formed."""
    inner_tol: float = 1e-9
    """Relative accuracy of conjugate gradients beyond that."""

    name = "admm"
    heuristic = False
    period = 10

    @property
    def copies(self) -> tuple[int, int]:
        """Points held at once: the sweep's, and two for each remembered pair."""
        count = 12 + 2 * (self.memory + 1)
        return count, count

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: points are all it holds."""
        return 0

    def why_not(self, program: Program) -> str | None:
        """Return None: every program of this library can be split this way."""
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start` with its multipliers, or at zero."""
        xp, dtype = namespace(program.free), program.free.dtype
        blocks, free = origin(program)
        n, outputs = program.lift.out_shape
        rho = 1.0 / n
        dual = xp.zeros((n, outputs), dtype=dtype, device=device(free))
        multiplier = _rows(program, blocks) * 0
        if start is not None:
            blocks, free = xp.astype(start.blocks, dtype), xp.astype(start.free, dtype)
            dual = xp.astype(start.dual, dtype)
            if start.multiplier is not None:
                multiplier = xp.astype(start.multiplier, dtype)
        factors = _factorise(self, program)
        copies = Triple(program.predict(blocks, free), blocks, _rows(program, blocks))
        slope = program.lift.adjoint(dual) + _rows_adjoint(program, multiplier, blocks)
        duals = Triple(-dual / rho, slope / (rho * factors.scale**2), -multiplier / rho)
        v = copies.plus(duals)
        return State(v, rho, 0 * dual, (), None, math.inf, 0, 20, factors)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one sweep; rho moves at ages 20, 40, 80, ..., 320, 640, ..."""
        v, rho, factors = state.v, state.rho, state.factors
        copies = _proxes(program, v, rho, factors)
        duals = v.plus(copies, -1.0)
        image, y = _quadratic(program, copies.plus(duals, -1.0), state)
        following = v.plus(image.plus(copies, -1.0), self.relaxation)
        residual = _weigh(following.plus(v, -1.0), factors)
        size = residual.size()
        if state.plain is not None and not size <= 2 * state.residual:  # it led astray: go back
            return state._replace(v=state.plain, plain=None, memory=())
        age, update = state.age + 1, state.update
        if age == update:
            split = _weigh(image.plus(copies, -1.0), factors).size()
            level = max(_weigh(image, factors).size(), _weigh(copies, factors).size())
            after = _proxes(program, following, rho, factors)
            change = _weigh(after.plus(copies, -1.0), factors).size()
            factor = _balance(split, change, level, _weigh(duals, factors).size())
            update = 2 * update if update < 320 else update + 320
            if factor != 1.0:
                moved = after.plus(following.plus(after, -1.0), 1 / factor)
                return State(moved, rho * factor, y, (), None, math.inf, age, update, factors)
        memory = (*state.memory, (residual, following))[-self.memory - 1 :]
        ahead = _extrapolate(memory) if self.memory and len(memory) > 1 else None
        plain = following if ahead is not None else None
        return State(ahead or following, rho, y, memory, plain, size, age, update, factors)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the copy w with its best free coefficients, and the multipliers of z and s."""
        copies = _proxes(program, state.v, state.rho, state.factors)
        duals = state.v.plus(copies, -1.0)
        columns, free = program.free, origin(program)[1]
        if columns.shape[1]:
            square = namespace(columns).sum(columns[:, 0] ** 2)
            free = columns.T @ (copies.z - program.lift.apply(copies.w)) / square
        multiplier = None if program.constraint is None else -state.rho * duals.s
        return Iterate(copies.w, free, -state.rho * duals.z, multiplier)

    def done(self, state: State) -> bool:
        """Return False: every step may still help."""
        return False


def _proxes(program: Program, v: Triple, rho: float, factors: Factors) -> Triple:
    """Return the copies that belong to v: the three proximal points."""
    return Triple(
        program.loss.prox(v.z, 1 / rho),
        program.penalty.prox(v.w, 1 / (rho * factors.scale**2)),
        v.s if program.constraint is None else program.constraint.cone.prox(v.s, 1.0),
    )


def _extrapolate(memory: tuple[tuple[Triple, Triple], ...]) -> Triple | None:
    """Return Anderson's mixture of the images, whose residuals nearly cancel [WalkerNi2011]."""
    residuals, images = zip(*memory, strict=True)
    last, steps = residuals[-1], range(len(memory) - 1)
    changes = [residuals[k + 1].plus(residuals[k], -1.0) for k in steps]
    gram = np.array([[a.dot(b) for b in changes] for a in changes])
    right = np.array([a.dot(last) for a in changes])
    floor = 1e-10 * np.trace(gram)
    if not floor > 0:
        return None
    weights = np.linalg.solve(gram + floor * np.eye(len(gram)), right)
    mixed: Triple = images[-1]
    for k, weight in zip(steps, weights, strict=True):
        mixed = mixed.plus(images[k + 1].plus(images[k], -1.0), -float(weight))
    return mixed


def _quadratic(program: Program, target: Triple, state: State) -> tuple[Triple, Array]:
    """Minimise |A u + F b - z|^2 + scale^2 |u - w|^2 + |C u - s|^2; return (A u + F b, u, C u)."""
    factors = state.factors
    inside = _project_out(program.free, target.z)
    right = program.lift.adjoint(inside) + factors.scale**2 * target.w
    right = right + _rows_adjoint(program, target.s, right)
    rough = _per_block(factors.block, right)
    y = factors.solve(_project_out(program.free, program.lift.apply(rough)), state.inner)
    u = rough - _per_block(factors.block, program.lift.adjoint(y))
    return Triple(y + (target.z - inside), u, _rows(program, u)), y


def _factorise(solver: ADMM, program: Program) -> Factors:
    """Return T^-1 = (scale^2 I + C* C)^-1 and a solver for I + P A T^-1 A* P."""
    lift = program.lift
    xp, dtype = namespace(program.free), program.free.dtype
    if lift.in_shape[0] == 0:  # the free columns alone
        none = xp.zeros((0, 0), dtype=dtype, device=device(program.free))
        return Factors(1.0, none, lambda right, y: right)
    scale = lift.block_norm() or 1.0
    d = lift.in_shape[1]
    total = scale**2 * xp.eye(d, dtype=dtype, device=device(program.free))
    if program.constraint is not None:
        total = total + program.constraint.map.gram()
    block = xp.linalg.inv(total)
    n = lift.out_shape[0]

    def operator(y: Array) -> Array:
        image = lift.apply(_per_block(block, lift.adjoint(y)))
        return y + _project_out(program.free, image)

    if n > solver.direct:
        steps = 200
        return Factors(
            scale,
            block,
            lambda right, y: conjugate_gradient(operator, right, y, solver.inner_tol, steps),
        )
    eye = xp.eye(n, dtype=dtype, device=device(program.free))
    middle = _project_out(program.free, _project_out(program.free, lift.outer(block)).T)
    inverse = xp.linalg.inv(eye + middle)
    return Factors(scale, block, lambda right, y: inverse @ right)


def _balance(primal: float, change: float, size: float, duals: float) -> float:
    """Return the factor on rho that balances the relative primal and dual residuals."""
    if min(primal, change, size, duals) <= 0:
        return 1.0
    return min(max(math.sqrt((primal / size) / (change / duals)), 0.2), 5.0)


def _weigh(triple: Triple, factors: Factors) -> Triple:
    return triple._replace(w=factors.scale * triple.w)


def _per_block(matrix: Array, blocks: Array) -> Array:
    """Return matrix @ u for every block u, (d, d) symmetric or (p, d, d), and (p, d, c)."""
    if blocks.shape[0] == 0:
        return blocks
    if matrix.ndim == 3:
        return namespace(blocks).matmul(matrix, blocks)
    columns = [blocks[:, :, k] @ matrix for k in range(blocks.shape[2])]
    return namespace(blocks).stack(columns, axis=-1)


def _project_out(columns: Array, z: Array) -> Array:
    if columns.shape[1] == 0:
        return z
    square = namespace(columns).sum(columns[:, 0] ** 2)
    return z - columns @ (columns.T @ z / square)


def _rows(program: Program, blocks: Array) -> Array:
    if program.constraint is None:
        return namespace(blocks).zeros((0,), dtype=blocks.dtype, device=device(blocks))
    return program.constraint.map.apply(blocks)


def _rows_adjoint(program: Program, rows: Array, blocks: Array) -> Array:
    if program.constraint is None:
        return 0 * blocks
    return program.constraint.map.adjoint(rows)
