"""Widening a network: solve on some gates, search for those its dual point asks for, and again."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import double, to_numpy
from cvxnn.everywhere.jumps import Floats, JumpProblem
from cvxnn.gates import Faces, Gates
from cvxnn.gates.base import pattern_keys
from cvxnn.path import null_start
from cvxnn.program import Iterate
from cvxnn.solve import solve_part
from cvxnn.solvers import WorkingSet

MOST = 1024
"""Gates at most; beyond, gates without weight make room."""
_FIRST, _LAST = 1e-2, 1e-9
"""Relative gaps of the first solve and of the last possible one."""
_SHARE = 0.1
"""Relative gap of a solve, as a share of what it is compared with."""
_TEMPORARIES = 2**24
"""Numbers in the search's temporaries."""
_ROUNDS = 100
"""Iterations of a solve at most."""


class State(NamedTuple):
    """Where the widening is."""

    gates: Gates
    iterate: Iterate
    """Its blocks as `JumpProblem` packs them."""
    upper: float
    """The objective of the iterate."""
    inner: float
    """Relative gap of the last solve."""
    rounds: int
    done: bool


class Found(NamedTuple):
    """What a search brought."""

    gates: Gates
    """The best first."""
    worth: Floats
    """In units of alpha, at the dual point made orthogonal to the free columns."""
    gap: float
    """The relative gap of the iterate if no half-space is worth more."""


@dataclass(frozen=True)
class Widen:
    """Column generation over all half-spaces, for neurons that jump [Ergen2023].

    A round solves the program on the gates there are, searches for half-spaces whose worth to the
    dual point exceeds alpha, by turning them on great circles, and adds the best of them. It is
    done when the gap would be within `tol` if a wide search missed none.
    """

    tol: float = 1e-4
    """Relative gap, if nothing was missed, at which it is done."""
    add: int = 64
    """Gates added in a round, at most."""
    starts: int = 48
    circles: int = 30
    wide: int = 3
    """How many times as many starts, and circles, the last search has."""
    rounds: int = 50
    """Rounds at most."""
    seed: int = 0

    name = "widen"
    period = 1
    copies = (4, 0)
    heuristic = True

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return what the search's temporaries of bounded size, or its solves, hold."""
        return _TEMPORARIES + WorkingSet().workspace(n, d, p)

    def why_not(self, problem: JumpProblem) -> str | None:
        """Return None for smooth losses."""
        if np.isfinite(problem.program.loss.smoothness):
            return None
        return (
            f"gates='grow' needs a loss with a gradient and {problem.program.loss.loss.name!r} has "
            "kinks; use gates='sample' or 'enumerate', or another loss"
        )

    def init(self, problem: JumpProblem, start: Iterate | None) -> State:
        """Return the gates of a start, none of its neurons alone."""
        start = start or null_start(problem)
        gates, blocks = problem.unpack(start)
        iterate = _packed(problem, gates, start._replace(blocks=blocks))
        return State(gates, iterate, problem.judge(iterate)[0].upper, _FIRST, 0, False)

    def step(self, problem: JumpProblem, state: State) -> State:
        """Return the state after a round: a search, and a solve on what there is then."""
        if state.rounds == 0 and len(state.gates):  # its dual point is another problem's
            return self._solved(problem, state, state.gates, _FIRST)
        found = self._search(problem, state, 1)
        new = _new(problem, state.gates, found, self.add, above=1.0)
        if found.gap <= self.tol or not len(new):
            found = self._search(problem, state, self.wide)
            new = _new(problem, state.gates, found, self.add, above=1.0)
        ended = found.gap <= self.tol or (not len(new) and state.inner <= _LAST)
        if ended or state.rounds >= self.rounds:
            # the bound on given gates is to speak of the best that were found, too
            new = _new(problem, state.gates, found, self.add, above=0.0)
            gates, iterate = _with(problem, state, new)
            return state._replace(gates=gates, iterate=iterate, rounds=state.rounds + 1, done=True)
        gates, iterate = _with(problem, state, new)
        least = _SHARE * self.tol if len(new) else _LAST
        inner = max(
            min(state.inner if len(new) else _SHARE * state.inner, _SHARE * found.gap), least
        )
        return self._solved(problem, state._replace(iterate=iterate), gates, inner)

    def read(self, problem: JumpProblem, state: State) -> Iterate:
        """Return the gates and their weights."""
        return state.iterate

    def done(self, state: State) -> bool:
        """Tell whether nothing was found that would close more of the gap."""
        return state.done

    def _search(self, problem: JumpProblem, state: State, effort: int) -> Found:
        """Return the half-spaces that are worth most to the dual point of the iterate."""
        rng = np.random.default_rng([self.seed, state.rounds, effort])
        blocks = problem.unpack(state.iterate)[1]
        active = state.gates.generators[blocks.any(axis=(1, 2))]
        found = state.gates
        worths = np.zeros(0)

        def most(v: Floats) -> float:
            nonlocal found, worths
            near = active[rng.permutation(len(active))[: effort * self.starts // 2]]
            words = {"starts": effort * self.starts, "circles": effort * self.circles}
            found = problem.search.wanted(v, rng, near, **words)
            worths = problem.search.worth(found, v) / problem.alpha
            own = problem.search.worth(state.gates, v) / problem.alpha
            return problem.alpha * float(max(worths.max(initial=0.0), own.max(initial=0.0)))

        lower, _ = problem.scaled(state.iterate.dual, most)
        gap = (state.upper - lower) / state.upper if state.upper > 0 else 0.0
        return Found(found, worths, gap)

    def _solved(self, problem: JumpProblem, state: State, gates: Gates, inner: float) -> State:
        """Return the state of a solve on some gates to a relative gap."""
        part = problem.on(gates)
        solution = solve_part(
            part.working(),
            WorkingSet(),
            start=problem.start(state.iterate),
            tol=inner,
            max_iter=_ROUNDS,
            judge=part.judge,
        )
        iterate = _packed(problem, gates, solution.iterate)
        return State(gates, iterate, solution.certificate.upper, inner, state.rounds + 1, False)


def _packed(problem: JumpProblem, gates: Gates, iterate: Iterate) -> Iterate:
    blocks, free, dual = (to_numpy(double(x)) for x in iterate[:3])
    return Iterate(problem.pack(gates, blocks), free, dual)


def _new(problem: JumpProblem, gates: Gates, found: Found, most: int, above: float) -> Gates:
    """Return the patterns found that are worth more than `above` and are not there yet."""
    better = found.gates.take(found.worth > above * (1 + 1e-9))
    canonical = problem.architecture.source.canonical
    if problem.free.intercept:  # 1 - d is as good as d, with the opposite sign
        canonical = Faces(both=True).canonical
    there, keys = (pattern_keys(canonical(each.masks)) for each in (gates, better))
    first = np.sort(np.unique(keys, return_index=True)[1])
    return better.take(first[~np.isin(keys[first], there)][:most])


def _with(problem: JumpProblem, state: State, new: Gates) -> tuple[Gates, Iterate]:
    """Return the gates with new ones, and the iterate on them; idle ones make room."""
    blocks = problem.unpack(state.iterate)[1]
    room = MOST - len(new)
    kept = np.arange(len(blocks))
    if len(blocks) > room:
        dual = state.iterate.dual
        rank = np.where(blocks.any(axis=(1, 2)), np.inf, problem.search.worth(state.gates, dual))
        kept = np.sort(np.argsort(-rank, kind="stable")[:room])
    old = state.gates.take(kept)
    gates = Gates(
        np.concatenate([old.generators, new.generators]), np.concatenate([old.masks, new.masks])
    )
    none = np.zeros((len(new), *blocks.shape[1:]))
    points = state.iterate._replace(blocks=np.concatenate([blocks[kept], none]))
    return gates, _packed(problem, gates, points)
