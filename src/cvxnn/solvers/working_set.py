"""Solve on a few blocks, price the others with the dual point, add what is violated, go on."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.program import Constraint, Iterate, Program
from cvxnn.projection import gauges
from cvxnn.solve import Solver, solve
from cvxnn.solvers.admm import ADMM
from cvxnn.solvers.fista import origin


class State(NamedTuple):
    """The full iterate, the relative gap that the last inner solve was asked for, and the end."""

    iterate: Iterate
    tol: float
    settled: bool


@dataclass(frozen=True)
class WorkingSet:
    """Column generation over the given gates, around a solver of the small programs.

    Sampled cones are mostly slivers that no optimum uses, so a few dozen blocks carry the
    solution. A round solves on the working set, bounds the polar gauge of all other blocks at the
    new dual point, and adds those above one. The same dual point certifies the whole program.
    """

    inner: Solver = field(default_factory=ADMM)
    size: int = 20
    """Blocks in the first working set; later ones hold at most twice the active blocks more."""
    first_tol: float = 1e-2
    """Relative gap of the first inner solve; a tenth of it in each round that adds nothing."""
    max_iter: int = 20_000
    """Iterations of one inner solve."""

    name = "working_set"
    period = 1

    def why_not(self, program: Program) -> str | None:
        """Return what the inner solver says."""
        return self.inner.why_not(program)

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero with the dual of a zero prediction."""
        if start is None:
            blocks, free = origin(program)
            dual = -program.loss.gradient(program.predict(blocks, free))
            start = Iterate(blocks, free, dual)
        return State(start, self.first_tol, False)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one round."""
        active = namespace(state.iterate.blocks).any(state.iterate.blocks != 0, axis=(1, 2))
        chosen, added = self._choose(program, state.iterate, to_numpy(active))
        tol = state.tol if added else state.tol / 10
        part = restrict(program, namespace(active).asarray(chosen, device=device(active)))
        solution = solve(
            part,
            self.inner,
            start=_take(state.iterate, chosen),
            tol=tol,
            max_iter=self.max_iter,
        )
        return State(_spread(state.iterate, solution.iterate, chosen), tol, tol < 1e-12)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the full iterate."""
        return state.iterate

    def done(self, state: State) -> bool:
        """Tell whether the working set holds everything to rounding."""
        return state.settled

    def _choose(self, program: Program, iterate: Iterate, active: Array) -> tuple[Array, int]:
        """Return the sorted blocks of the next working set, and how many of them are new."""
        score = to_numpy(gauges(program, double(iterate.dual), iterate.multiplier))
        score = np.where(active, -1.0, score)
        room = max(self.size, 2 * int(active.sum()))
        violated = np.argsort(-score, kind="stable")[:room]
        violated = violated[score[violated] > 1.0]
        return np.union1d(np.flatnonzero(active), violated), len(violated)


def restrict(program: Program, blocks: Array) -> Program:
    """Return the program of some blocks alone."""
    constraint = program.constraint
    if constraint is not None:
        constraint = Constraint(constraint.map.restrict(blocks), constraint.cone)
    return replace(program, lift=program.lift.restrict(blocks), constraint=constraint)


def _take(iterate: Iterate, blocks: Array) -> Iterate:
    xp = namespace(iterate.blocks)
    index = xp.asarray(blocks, device=device(iterate.blocks))
    multiplier = iterate.multiplier
    return iterate._replace(
        blocks=xp.take(iterate.blocks, index, axis=0),
        multiplier=None if multiplier is None else xp.take(multiplier, index, axis=0),
    )


def _spread(whole: Iterate, part: Iterate, blocks: Array) -> Iterate:
    """Return the iterate of all blocks, zero outside the working set."""

    def full(values: Array, count: int) -> Array:
        host = np.zeros((count, *values.shape[1:]))
        host[blocks] = to_numpy(values)
        return like(host, values)

    count = whole.blocks.shape[0]
    multiplier = None if part.multiplier is None else full(part.multiplier, count)
    return part._replace(blocks=full(part.blocks, count), multiplier=multiplier)
