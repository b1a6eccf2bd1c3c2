"""Alternating directions for what proximal gradient cannot take: cones, and losses with kinks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from cvxnn.arrays import Array, device, namespace, norm
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

    def size(self) -> float:
        """Return the Euclidean norm."""
        return math.hypot(*(norm(part) for part in self))


class Factors(NamedTuple):
    """What does not change over a run: the scale, T^-1 and the inverse of I + P A T^-1 A* P."""

    scale: float
    block: Array
    solve: Callable[[Array, Array], Array]


class State(NamedTuple):
    """The copies, their scaled multipliers, and the penalty parameter with its next update."""

    copies: Triple
    duals: Triple
    rho: float
    inner: Array
    age: int
    update: int
    factors: Factors


@dataclass(frozen=True)
class ADMM:
    """Alternating direction method of multipliers [Boyd2011] with adaptive penalty parameter.

    Splits the program into copies z = A u + F b, w = u and s = C u. The quadratic step over (u, b)
    is exact: b is eliminated by projection, and u by the Woodbury identity, where
    A T^-1 A* = (X T^-1 X') o (D D') is one (n, n) matrix that does not depend on the penalty
    parameter. Beyond `direct` samples the same system is solved by conjugate gradients. Takes every
    loss, penalty and cone; the point read is the sparse copy w.
    """

    relaxation: float = 1.6
    """Over-relaxation, in [1, 2)."""
    direct: int = 5000
    """Largest n for which the (n, n) matrix is formed."""
    inner_tol: float = 1e-9
    """Relative accuracy of conjugate gradients beyond that."""

    name = "admm"
    period = 10

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
        return State(copies, duals, rho, 0 * dual, 0, 20, factors)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one sweep; the penalty parameter moves at ages 20, 40, 80, ..."""
        copies, duals, rho, factors = state.copies, state.duals, state.rho, state.factors
        image, y = _quadratic(program, copies.plus(duals, -1.0), state)
        relaxed = Triple(*(a + self.relaxation * (b - a) for a, b in zip(copies, image, strict=True)))
        ahead = relaxed.plus(duals)
        following = Triple(
            program.loss.prox(ahead.z, 1 / rho),
            program.penalty.prox(ahead.w, 1 / (rho * factors.scale**2)),
            ahead.s if program.constraint is None else program.constraint.cone.prox(ahead.s, 1.0),
        )
        duals = ahead.plus(following, -1.0)
        age, update = state.age + 1, state.update
        if age == update:
            primal = _weigh(image.plus(following, -1.0), factors).size()
            change = _weigh(following.plus(copies, -1.0), factors).size()
            size = max(_weigh(image, factors).size(), _weigh(following, factors).size())
            factor = _balance(primal, change, size, _weigh(duals, factors).size())
            rho, update = rho * factor, 2 * update if update < 320 else update + 320
            duals = Triple(*(part / factor for part in duals))
        return State(following, duals, rho, y, age, update, factors)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the copy w with its best free coefficients, and the multipliers of z and s."""
        w, columns = state.copies.w, program.free
        free = origin(program)[1]
        if columns.shape[1]:
            square = namespace(columns).sum(columns[:, 0] ** 2)
            free = columns.T @ (state.copies.z - program.lift.apply(w)) / square
        multiplier = None if program.constraint is None else -state.rho * state.duals.s
        return Iterate(w, free, -state.rho * state.duals.z, multiplier)

    def done(self, state: State) -> bool:
        """Return False: every step may still help."""
        return False


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
    """Return matrix @ u for every block u, (d, d) symmetric and (p, d, c)."""
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
