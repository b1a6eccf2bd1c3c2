"""Solve in a few directions of the data, price the others with the dual point, add some, go on."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cvxnn.arrays import Array, double, like, namespace
from cvxnn.certificate import orthogonal, relative_gap
from cvxnn.functions import ColumnNorm, GroupNorm, Nuclear
from cvxnn.linalg import leading_vectors
from cvxnn.maps import Gated, GatedStream
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solver, Status, solve_part
from cvxnn.solvers.fista import FISTA, origin
from cvxnn.streamed import row_width

_FAINT = 1e-4
"""Directions of a start that are left out: those with less than this share of the largest."""

TURNED = (GroupNorm, ColumnNorm, Nuclear)
"""Norms that do not change as blocks are turned."""


class State(NamedTuple):
    """Directions, the iterate in them and what its solve was asked; or the state in all of them."""

    directions: Array
    """V, (d, k), orthonormal."""
    inside: Iterate
    """Blocks z, (p, k, c), that stand for V z."""
    value: float
    """The objective there."""
    tol: float
    """The relative gap asked of the last inner solve."""
    gap: float
    """The one that it reached."""
    patience: int
    """What its limit of iterations is multiplied by; doubled after one that was cut off."""
    settled: bool
    """Whether it was as accurate as can be, in all directions that the data have."""
    whole: Any = None


@dataclass(frozen=True)
class Subspace:
    """Column generation over directions of the data, around FISTA.

    For blocks u = V z, with V orthonormal, the program is that of the samples X V, with the same
    gates, penalty and dual points. So a round solves in k directions, at k / d of the cost of an
    iteration, and prices the rest: the leading singular vectors of what A* v of the dual point v
    has outside of V are added, as many as there are. The same v certifies the whole program.
    Images and embeddings have singular values that fall fast, and a few dozen directions carry a
    solution to a per cent; steep directions, that cost gradients most steps, are settled among
    the first. Where that is not so, another solver ends it in all of them. For smooth losses,
    without cones, and norms that do not change as blocks are turned: of columns, Euclidean and
    nuclear.
    """

    then: Solver = field(default_factory=FISTA)
    """What goes on where all directions are taken, checked after every step."""

    first: int = 8
    """Directions of the first round; as many as there are, and so many at least, are added."""
    most: float = 0.25
    """Directions beyond which all are taken, as a share of the entries of a sample."""
    tighten: float = 0.1
    """Relative gap of an inner solve, as a share of that of the whole program before it."""
    last_tol: float = 1e-9
    max_iter: int = 500
    """Iterations of one inner solve at first; twice as many after one that was cut off."""

    name = "subspace"
    heuristic = False
    copies = (8, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return what X V and the masks take as floats, and what goes on in all directions."""
        return n * (p + int(self.most * d)) + self.then.workspace(n, d, p)

    def why_not(self, program: Program) -> str | None:
        """Return None for gated maps, and penalties that do not change as blocks are turned."""
        if reason := FISTA().why_not(program) or self.then.why_not(program):
            return reason
        if not isinstance(program.lift, Gated | GatedStream):
            return "directions are those of samples under gates; use solver='fista'"
        if not isinstance(program.penalty, TURNED):
            return "the penalty changes as blocks are turned; use solver='fista'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state in the leading directions of the start's blocks, or in all."""
        blocks, free = origin(program) if start is None else (start.blocks, start.free)
        blocks = like(blocks, program.free)
        directions = _leading(blocks, self._most(program) + 1, _FAINT)
        if start is not None and directions.shape[1] > self._most(program):
            return self._all(program, start)
        inside = _turned(directions.T, blocks)
        seen = _turned(directions, inside)
        prediction = program.predict(seen, free)
        value = program.loss.value(prediction) + program.penalty.value(seen)
        dual = -program.loss.gradient(prediction) if start is None else start.dual
        return State(directions, Iterate(inside, free, dual), value, 1.0, 0.0, 1, False)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one round, or after one step in all directions."""
        if state.whole is not None:
            return state._replace(whole=self.then.step(program, state.whole))
        v = orthogonal(program.free, double(state.inside.dual))
        slope = program.lift.adjoint(like(v, program.free))
        gauge = float(namespace(slope).max(program.penalty.polar(slope)))
        gap = relative_gap(program, v, gauge, state.value)
        directions, inside = state.directions, state.inside
        if state.patience == 1 or gap > 2 * state.gap:  # else more of the same is missing
            directions = self._more(directions, slope)
            if not 0 < directions.shape[1] <= self._most(program):
                return self._all(program, self.read(program, state))
            inside = inside._replace(blocks=_turned(directions.T @ state.directions, inside.blocks))
        tol = max(min(0.5 * state.tol, self.tighten * gap), self.last_tol)
        solution = solve_part(
            replace(program, lift=_gated(program).along(directions)),
            FISTA(),
            start=inside,
            tol=tol,
            max_iter=self.max_iter * state.patience,
        )
        found = solution.certificate
        cut_off = solution.status is Status.MAX_ITER
        same = directions.shape == state.directions.shape
        return State(
            directions,
            solution.iterate,
            found.upper,
            tol,
            found.relative_gap,
            2 * state.patience if cut_off else 1,
            same and tol <= self.last_tol and not cut_off,
        )

    def read(self, program: Program, state: State) -> Iterate:
        """Return the iterate of all columns."""
        if state.whole is not None:
            return self.then.read(program, state.whole)
        return state.inside._replace(blocks=_turned(state.directions, state.inside.blocks))

    def done(self, state: State) -> bool:
        """Tell whether nothing is left to add, and no accuracy to gain."""
        return state.settled if state.whole is None else self.then.done(state.whole)

    def _most(self, program: Program) -> int:
        """Return how many directions cost less than a quarter of the data: of their nonzeros."""
        lift = _gated(program)
        entries = row_width(lift.data if isinstance(lift, GatedStream) else lift.features)
        return int(self.most * entries)

    def _more(self, directions: Array, slope: Array) -> Array:
        """Return the directions and the leading ones of what a slope (p, d, c) has beside them."""
        outside = slope - _turned(directions, _turned(directions.T, slope))
        new = _leading(outside, max(self.first, directions.shape[1]))
        both = namespace(slope).concat([directions, new], axis=1)
        return namespace(slope).linalg.qr(both)[0]

    def _all(self, program: Program, start: Iterate) -> State:
        whole = self.then.init(program, start)
        return State(program.free[:0, :0], start, math.inf, 1.0, 0.0, 1, False, whole)


def _gated(program: Program) -> Gated | GatedStream:
    assert isinstance(program.lift, Gated | GatedStream), "why_not refuses other lifts"
    return program.lift


def _turned(matrix: Array, blocks: Array) -> Array:
    """Return matrix @ u for every block u, (l, d) and (p, d, c) to (p, l, c)."""
    xp = namespace(blocks)
    return xp.astype(matrix, blocks.dtype, copy=False)[None, :, :] @ blocks


def _leading(blocks: Array, count: int, faint: float = 0.0) -> Array:
    """Return the leading left singular vectors (d, k) of all blocks (p, d, c) beside each other."""
    xp, (p, d, c) = namespace(blocks), blocks.shape
    if not xp.any(blocks != 0):
        return blocks[0, :, :0]
    beside = xp.reshape(xp.permute_dims(blocks, (1, 0, 2)), (d, p * c))
    return leading_vectors(beside, count, faint)
