"""Solve on a few blocks, price the others with the dual point, add what is violated, go on."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.certificate import (
    Certificate,
    Exactness,
    Scope,
    certify,
    relative_gap,
    resolution,
)
from cvxnn.program import Constraint, Iterate, Program
from cvxnn.projection import cone_polar, gauges
from cvxnn.solve import Solver, Status, solve_part
from cvxnn.solvers.admm import ADMM
from cvxnn.solvers.cone_norm import cones_in_penalty
from cvxnn.solvers.fista import FISTA, origin
from cvxnn.solvers.newton import Newton
from cvxnn.solvers.reference import TINY, Reference

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]

_NONE: Indices = np.zeros(0, dtype=np.int64)
_NEARLY, _WHOLE = 5.0, 0.9
"""Gaps, as shares of the goal: below the first an inner solve is asked for the second."""
_CLOSE = 0.03
"""Gap from which on, as at most starts along a path, half as many blocks are added."""
_TINY_CONES = 40_000
"""Entries of the dense lift up to which an interior point method is quicker than projections."""


class State(NamedTuple):
    """The full iterate, what was asked of the last inner solve, and the end."""

    iterate: Iterate
    tol: float
    """Its relative gap."""
    patience: int
    """What its limit of iterations is multiplied by; doubled after one that was cut off."""
    settled: bool
    value: float
    """The objective of the last round."""
    kept: Indices
    """The last working set where its round gained nothing, since blocks that leave then, where dual
    points are not unique, come back; else none."""
    score: Floats | None = None
    """Gauges of all blocks, where a start or a certificate brings them."""


@dataclass(frozen=True)
class WorkingSet:
    """Column generation over the given gates, around solvers of small programs.

    A few dozen blocks carry the solution. A round solves on the working set, prices all other
    blocks at the new dual point by their polar gauge, and adds the most violated ones. The same
    dual point certifies the whole program. Without cones the small programs are solved by
    Newton's method, and others by an interior point method while they are tiny. Beyond, with cones
    by proximal gradient with projections onto them [Mishkin2022], and by alternating directions
    where the loss has kinks. Sampled cones are mostly slivers that no optimum uses, so few are let
    in at a time.
    """

    size: int = 100
    """Least size of the working set without cones; at least twice the active blocks are in it.
    Close to the solution what is added to those is half as much."""
    most: float = 0.3
    """Share of the blocks beyond which all are taken."""
    slivers: int = 20
    """Cones added in a round: at least this many, and at most as many as are active."""
    tighten: float = 0.15
    """Relative gap of an inner solve, as a share of that of the whole program before it; less where
    that is below a third."""
    goal: float = 0.0
    """Relative gap that is enough; `solve` sets it."""
    enough: float = 0.3
    """Relative gap beyond which no inner solve is asked to go at first, as a share of the goal."""
    last_tol: float = 1e-9
    max_iter: int = 1000
    """Iterations of one inner solve at first; twice as many after one that was cut off."""
    newton_steps: int = 40
    """The same for Newton's method."""

    name = "working_set"
    heuristic = False
    copies = (4, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return what Newton's method holds where the working set is all of the blocks."""
        return Newton().workspace(n, d, p)

    def why_not(self, program: Program) -> str | None:
        """Return None for penalties that leave blocks empty: all but smooth ones."""
        if math.isfinite(program.penalty.smoothness):
            return "a smooth penalty leaves no block empty; use solver='auto' or solver='newton'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero with the dual of a zero prediction."""
        if start is None:
            blocks, free = origin(program)
            dual = -program.loss.gradient(program.predict(blocks, free))
            start = Iterate(blocks, free, dual)
        return State(start, 1.0, 1, False, math.inf, _NONE, _brought(program, start))

    def checked(self, program: Program, state: State, certified: Iterate) -> State:
        """Return the state with the gauges that its certificate measured."""
        known = state.iterate._replace(gauges=certified.gauges)
        return state._replace(score=_brought(program, known))

    def step(self, program: Program, state: State) -> State:
        """Return the state after one round."""
        active = np.flatnonzero(to_numpy(state.iterate.blocks).any(axis=(1, 2)))
        measured = state.score is None or state.tol <= self.last_tol
        score = state.score
        if score is None or measured:
            score = to_numpy(gauges(program, double(state.iterate.dual)))
        upper = program.objective(double(state.iterate.blocks), double(state.iterate.free))
        gap = relative_gap(program, state.iterate.dual, float(score.max(initial=0.0)), upper)
        added, violated = self._price(program, state.iterate, active, score, gap)
        chosen = np.union1d(np.union1d(active, added), state.kept)
        part, start = restrict(program, chosen), _take(state.iterate, chosen)
        tol = max(min(0.5 * state.tol, self._wanted(gap)), self.last_tol)
        small, solver = _inner(part)
        limit = self.newton_steps if isinstance(solver, Newton) else self.max_iter
        limit *= state.patience
        words = {"tol": tol, "max_iter": limit, "check_start": False}
        judge = partial(_account, small, resolution(small))
        solution = solve_part(small, solver, start=start, judge=judge, **words)
        cut_off = solution.status is Status.MAX_ITER
        settled = tol <= self.last_tol and measured and not violated and not cut_off
        patience = state.patience * (2 if cut_off else 1)
        value = solution.certificate.upper
        gained = state.value - value > tol * abs(value)
        iterate = _spread(state.iterate, solution.iterate, chosen)
        return State(iterate, tol, patience, settled, value, _NONE if gained else chosen)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the full iterate."""
        return state.iterate

    def done(self, state: State) -> bool:
        """Tell whether the last and most accurate round found nothing to add."""
        return state.settled

    def takes_all(self, p: int) -> bool:
        """Tell whether its first round is on all of p blocks, where there are no cones."""
        return self.size > self.most * p

    def _wanted(self, gap: float) -> float:
        """Return the gap to ask of an inner solve where that of the whole program is `gap`."""
        share = min(self.tighten, gap / 3)  # the closer, the likelier is the set the right one
        wanted = max(share * gap, self.enough * self.goal)
        # what is nearly the goal is asked to be: another round costs more than another step
        return min(wanted, _WHOLE * self.goal) if wanted < _NEARLY * self.goal else wanted

    def _price(
        self, program: Program, iterate: Iterate, active: Indices, score: Floats, gap: float
    ) -> tuple[Indices, bool]:
        """Return the blocks to add, the most violated first, and whether any is violated."""
        score = score.copy()
        score[active] = 0.0
        order = np.argsort(-score, kind="stable")
        if program.constraint is None:
            room = max(self.size, 2 * len(active)) - len(active)
            room = (room + 1) // 2 if gap < _CLOSE else room  # few blocks are missing there
            whole = len(active) + room > self.most * len(score)
            added = order[: len(score) - len(active) if whole else room]
            return added, bool(score.max(initial=0.0) > 1.0)
        # the cheap bounds of slivers are loose: ask the exact gauge before letting one in
        room = max(self.slivers, len(active))
        g = program.lift.adjoint(double(iterate.dual))
        slivers: list[np.int64] = []
        for block in order[: 5 * room]:
            if score[block] <= 1.0 or len(slivers) == room:
                break
            if cone_polar(program, int(block), g[int(block), :, :]) > 1.0:
                slivers.append(block)
        return np.array(slivers, dtype=np.int64), len(slivers) > 0


def _inner(part: Program) -> tuple[Program, Solver]:
    """Return the small program in the form that is quickest to solve, and its solver."""
    if Newton().why_not(part) is None:
        return part, Newton()
    projected = cones_in_penalty(part)
    size = part.lift.out_shape[0] * math.prod(part.lift.in_shape)
    smooth = projected is not None and FISTA().why_not(projected) is None
    if size <= (_TINY_CONES if smooth else TINY) and Reference().why_not(part) is None:
        return part, Reference()
    return (projected, FISTA()) if projected is not None and smooth else (part, ADMM())


def _account(small: Program, rounding: float, iterate: Iterate) -> tuple[Certificate, Iterate]:
    """Return what a solver says of its iterate, which the whole program's certificate will check.

    Where it says nothing, it is certified.
    """
    if iterate.bounds is None:
        return certify(small, iterate)
    upper, lower = iterate.bounds
    scope, exactness = Scope.GIVEN_GATES, Exactness.EXACT
    said = Certificate(
        upper=upper, lower=lower, scope=scope, exactness=exactness, resolution=rounding
    )
    return said, iterate


def restrict(program: Program, blocks: Indices) -> Program:
    """Return the program of some blocks alone."""
    index = namespace(program.free).asarray(blocks, device=device(program.free))
    constraint = program.constraint
    if constraint is not None:
        constraint = Constraint(constraint.map.restrict(index), constraint.cone)
    return replace(program, lift=program.lift.restrict(index), constraint=constraint)


def _brought(program: Program, start: Iterate) -> Floats | None:
    """Return the gauges of a point's dual, if it has them up to a factor: of another strength, say.

    One of them is measured again. They choose a working set, and prove nothing.
    """
    known = start.gauges
    if known is None or program.constraint is not None or known.shape != program.lift.in_shape[:1]:
        return None
    host = to_numpy(known)
    first = np.array([host.argmax()])
    now = to_numpy(gauges(restrict(program, first), double(start.dual)))
    return host * (now / host[first]) if host[first] > 0 else None


def _take(iterate: Iterate, blocks: Indices) -> Iterate:
    xp = namespace(iterate.blocks)
    index = xp.asarray(blocks, device=device(iterate.blocks))
    multiplier = iterate.multiplier
    return iterate._replace(
        blocks=xp.take(iterate.blocks, index, axis=0),
        multiplier=None if multiplier is None else xp.take(multiplier, index, axis=0),
        bounds=None,
    )


def _spread(whole: Iterate, part: Iterate, blocks: Indices) -> Iterate:
    """Return the iterate of all blocks, zero outside the working set."""

    def full(values: Array) -> Array:
        host = np.zeros((whole.blocks.shape[0], *values.shape[1:]))
        host[blocks] = to_numpy(values)
        return like(host, values)

    multiplier = None if part.multiplier is None else full(part.multiplier)
    known = {"multiplier": multiplier, "gauges": None, "bounds": None}
    return part._replace(blocks=full(part.blocks), **known)
