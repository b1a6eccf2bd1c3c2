"""Solve on a few blocks, price the others with the dual point, add what is violated, go on."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.program import Constraint, Iterate, Program
from cvxnn.projection import gauges, project_onto_cone
from cvxnn.solve import Solver, solve_part
from cvxnn.solvers.admm import ADMM
from cvxnn.solvers.cone_norm import cones_in_penalty
from cvxnn.solvers.fista import FISTA, origin

Indices = NDArray[np.int64]


class State(NamedTuple):
    """The full iterate, the relative gap asked of the next inner solve, and the end."""

    iterate: Iterate
    tol: float
    settled: bool


@dataclass(frozen=True)
class WorkingSet:
    """Column generation over the given gates, around first-order solvers of small programs.

    Sampled cones are mostly slivers that no optimum uses, so a few dozen blocks carry the
    solution. A round solves on the working set, prices all other blocks at the new dual point by
    their polar gauge, and adds those above one. The same dual point certifies the whole program.
    The small programs are solved by proximal gradient with projections onto the cones where the
    loss is smooth, and by alternating directions where it is not.
    """

    size: int = 20
    """Blocks added in a round: at least this many, and at most as many as are active."""
    first_tol: float = 3e-3
    """Relative gap of the first inner solve; it falls by `tighten` in every round."""
    tighten: float = 0.2
    last_tol: float = 1e-9
    max_iter: int = 1000
    """Iterations of one inner solve; the next round goes on from there."""

    name = "working_set"
    heuristic = False
    copies = (4, 0)
    period = 1

    def workspace(self, n: int, p: int) -> int:
        """Return 0: points are all it holds."""
        return 0

    def why_not(self, program: Program) -> str | None:
        """Return None: every program can be solved on a part of its blocks."""
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero with the dual of a zero prediction."""
        if start is None:
            blocks, free = origin(program)
            dual = -program.loss.gradient(program.predict(blocks, free))
            start = Iterate(blocks, free, dual)
        return State(start, self.first_tol, False)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one round."""
        active = np.flatnonzero(to_numpy(state.iterate.blocks).any(axis=(1, 2)))
        added = self._price(program, state.iterate, active)
        chosen = np.union1d(active, added)
        part = restrict(program, chosen)
        projected = cones_in_penalty(part)
        small = part if projected is None or FISTA().why_not(projected) else projected
        solver: Solver = ADMM() if FISTA().why_not(small) else FISTA()
        start = _take(state.iterate, chosen)
        solution = solve_part(small, solver, start=start, tol=state.tol, max_iter=self.max_iter)
        settled = state.tol <= self.last_tol and len(added) == 0
        tol = max(self.tighten * state.tol, self.last_tol)
        return State(_spread(state.iterate, solution.iterate, chosen), tol, settled)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the full iterate."""
        return state.iterate

    def done(self, state: State) -> bool:
        """Tell whether the last and most accurate round found nothing to add."""
        return state.settled

    def _price(self, program: Program, iterate: Iterate, active: Indices) -> Indices:
        """Return the most violated blocks outside the working set."""
        room = max(self.size, len(active))
        dual = double(iterate.dual)
        score = to_numpy(gauges(program, dual)).copy()
        score[active] = 0.0
        order = np.argsort(-score, kind="stable")
        if program.constraint is None:
            return order[:room][score[order[:room]] > 1.0]
        # the cheap bounds of slivers are loose: ask the exact gauge before letting one in
        g = program.lift.adjoint(dual)
        added: list[np.int64] = []
        for block in order[: 5 * room]:
            if score[block] <= 1.0 or len(added) == room:
                break
            rows = program.constraint.map.rows(int(block))
            exact = project_onto_cone(rows, g[int(block), :, :])
            if float(program.penalty.polar(exact[None, :, :])[0]) > 1.0:
                added.append(block)
        return np.array(added, dtype=np.int64)


def restrict(program: Program, blocks: Indices) -> Program:
    """Return the program of some blocks alone."""
    index = namespace(program.free).asarray(blocks, device=device(program.free))
    constraint = program.constraint
    if constraint is not None:
        constraint = Constraint(constraint.map.restrict(index), constraint.cone)
    return replace(program, lift=program.lift.restrict(index), constraint=constraint)


def _take(iterate: Iterate, blocks: Indices) -> Iterate:
    xp = namespace(iterate.blocks)
    index = xp.asarray(blocks, device=device(iterate.blocks))
    multiplier = iterate.multiplier
    return iterate._replace(
        blocks=xp.take(iterate.blocks, index, axis=0),
        multiplier=None if multiplier is None else xp.take(multiplier, index, axis=0),
    )


def _spread(whole: Iterate, part: Iterate, blocks: Indices) -> Iterate:
    """Return the iterate of all blocks, zero outside the working set."""

    def full(values: Array) -> Array:
        host = np.zeros((whole.blocks.shape[0], *values.shape[1:]))
        host[blocks] = to_numpy(values)
        return like(host, values)

    multiplier = None if part.multiplier is None else full(part.multiplier)
    return part._replace(blocks=full(part.blocks), multiplier=multiplier)
