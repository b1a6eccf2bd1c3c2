"""The one loop: every solver runs in it, and it alone decides when and how a run ends."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np

from cvxnn.certificate import Certificate, certify
from cvxnn.errors import DataChangedError, UnsupportedError
from cvxnn.program import Iterate

Judge = Callable[[Iterate], tuple[Certificate, Iterate]]
"""Turns a solver's iterate into a certificate and the point that it holds for."""


class Status(Enum):
    """How a run ended; a member's value is the advice shown to the user."""

    OPTIMAL = "proved optimal within the tolerance"
    BEST_FOUND = "nothing better was found; the certificate states what is proved"
    AVERAGED = "the mean of the folds' networks; the certificate states what is proved"
    INACCURATE = "no further progress at this precision; use float64 data or a larger tol"
    MAX_ITER = "the iteration limit came first; raise max_iter or tol"
    MAX_TIME = "the time limit came first; raise max_time or tol"
    INTERRUPTED = "stopped on request; the best iterate so far is kept"
    MEMORY = "memory ran out; use fewer gates or float32 data; the best iterate so far is kept"
    DATA = "the file behind X changed or was cut off; the best iterate of before is kept"
    NUMERICAL = "numbers overflowed; standardise the data; the best iterate so far is kept"


class Solver(Protocol):
    """A frozen dataclass of settings; its state is whatever `init` returns.

    One with a field `goal` is told there what relative gap is enough. One with a method `checked`
    is given its program, its state and what was certified of it, and returns the state to go on
    from: what a certificate measured need not be measured twice.
    """

    @property
    def name(self) -> str:
        """How users call it."""

    @property
    def period(self) -> int:
        """Iterations between the first checks of the gap; later they are further apart."""

    @property
    def copies(self) -> tuple[int, int]:
        """How many points of the blocks and of the cone rows it holds at once."""

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return how many numbers it holds beside points, for n samples, d features and p gates."""

    @property
    def heuristic(self) -> bool:
        """Whether being done means that nothing better was found, not that nothing is left."""

    def why_not(self, program: Any) -> str | None:
        """Return None, or one sentence on why this program is not for this solver."""

    def init(self, program: Any, start: Iterate | None) -> Any:
        """Return the first state, from a start if there is one."""

    def step(self, program: Any, state: Any) -> Any:
        """Return the next state; pure."""

    def read(self, program: Any, state: Any) -> Iterate:
        """Return the primal and dual points of a state."""

    def done(self, state: Any) -> bool:
        """Tell whether further steps can change nothing."""


@dataclass(frozen=True)
class Progress:
    """What a callback is given; returning True from it ends the run with its best iterate."""

    iteration: int
    seconds: float
    certificate: Certificate
    iterate: Iterate


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer: the best points seen, how the run ended, and what is proved."""

    iterate: Iterate
    status: Status
    certificate: Certificate
    iterations: int
    seconds: float
    solver: str
    trace: tuple[tuple[int, float, Certificate], ...]
    """(iteration, seconds, certificate of the best so far) at every check."""
    reason: str = "asked for"
    """Why this solver was used."""


class _Best:
    """The best primal point, the best dual point, and the certificate of the pair."""

    def __init__(self, certificate: Certificate, iterate: Iterate) -> None:
        self.certificate, self.iterate = certificate, iterate

    def update(self, certificate: Certificate, iterate: Iterate) -> None:
        mine = self.certificate
        if certificate.upper <= mine.upper + mine.resolution:  # of equals the last is the finest
            upper = min(mine.upper, certificate.upper)
            mine = replace(mine, upper=upper, violation=certificate.violation)
            self.iterate = self.iterate._replace(blocks=iterate.blocks, free=iterate.free)
        if certificate.lower > mine.lower:
            mine = replace(mine, lower=certificate.lower)
            self.iterate = self.iterate._replace(
                dual=iterate.dual, multiplier=iterate.multiplier, gauges=iterate.gauges
            )
        self.certificate = mine


def solve(
    program: Any,
    solver: Solver,
    *,
    start: Iterate | None = None,
    tol: float = 1e-4,
    max_iter: int = 20_000,
    max_time: float | None = None,
    callbacks: Iterable[Callable[[Progress], object]] = (),
    judge: Judge | None = None,
    check_start: bool = True,
) -> Solution:
    """Run a solver until the relative duality gap is at most `tol`, and certify its best points.

    `program` is whatever the solver solves, and `judge` turns its iterates into certificates.

    The gap is checked, in float64, at multiples of the solver's period and later every fifth of
    the iterations so far; that of the start too, unless `check_start` is False. Ctrl-C, a time
    limit, a callback that returns True, a lack of memory and a change of the file behind the data
    all end the run with the best points seen; only errors of the caller are raised.

    Raises UnsupportedError before any work if the solver is not for this program, and ValueError
    for limits that are not positive.
    """
    if reason := solver.why_not(program):
        raise UnsupportedError(reason)
    for name, value in (("tol", tol), ("max_iter", max_iter), ("max_time", max_time)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")
    run = _Run(program, _told(solver, tol), judge or (lambda iterate: certify(program, iterate)))
    run.go(start, tol, max_iter, max_time, tuple(callbacks), check_start)
    return run.solution()


def _told(solver: Solver, tol: float) -> Solver:
    """Return the solver with its goal, if it has a field for one."""
    if isinstance(solver, type) or not is_dataclass(solver):
        return solver
    has = any(field.name == "goal" for field in fields(solver))
    return replace(solver, goal=tol) if has else solver


def solve_part(program: Any, solver: Solver, **limits: Any) -> Solution:
    """Solve as a part of something larger: what ends that too is raised again here."""
    solution = solve(program, solver, **limits)
    if solution.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    if solution.status is Status.MEMORY:
        raise MemoryError(Status.MEMORY.value)
    if solution.status is Status.DATA:
        raise DataChangedError(Status.DATA.value)
    return solution


_ENDS: dict[type[BaseException], Status] = {
    KeyboardInterrupt: Status.INTERRUPTED,
    MemoryError: Status.MEMORY,
    DataChangedError: Status.DATA,
    FloatingPointError: Status.NUMERICAL,
    OverflowError: Status.NUMERICAL,
    np.linalg.LinAlgError: Status.NUMERICAL,
}
"""What may end a run from inside a step; its best points are kept."""

_STALL = 3000
"""Iterations without a gap 5 % smaller, after which a run is given up as INACCURATE."""


class _Run:
    """One run of the loop; kept as an object so that an interrupt at any line loses nothing."""

    def __init__(self, program: Any, solver: Solver, judge: Judge) -> None:
        self.program, self.solver, self.judge = program, solver, judge
        self.status, self.iteration, self.begin = Status.MAX_ITER, 0, time.perf_counter()
        self.best: _Best | None = None
        self.certified: Iterate | None = None
        self.trace: list[tuple[int, float, Certificate]] = []
        self.progress = (0, float("inf"))

    def go(
        self,
        start: Iterate | None,
        tol: float,
        max_iter: int,
        max_time: float | None,
        callbacks: tuple[Callable[[Progress], object], ...],
        check_start: bool,
    ) -> None:
        state = self.solver.init(self.program, start)
        try:
            ended = self._check(state, tol, callbacks) if check_start else None
            due = self.solver.period
            while ended is None:
                state = self._learnt(state)
                state = self.solver.step(self.program, state)
                self.iteration += 1
                late = max_time is not None and self._seconds() > max_time
                done = self.solver.done(state)
                if self.iteration >= min(due, max_iter) or late or done:
                    ended = self._check(state, tol, callbacks)
                    due = self.iteration + max(self.solver.period, self.iteration // 5)
                if ended is None and (late or done or self.iteration >= max_iter):
                    ended = Status.MAX_TIME if late else Status.MAX_ITER
                    ended = self._exhausted() if done and not late else ended
            self.status = ended
        except tuple(_ENDS) as error:
            if self.best is None:  # there is nothing to hand over yet
                if check_start:
                    raise
                self._check(state, tol, ())
            self.status = next(end for kind, end in _ENDS.items() if isinstance(error, kind))

    def _learnt(self, state: Any) -> Any:
        """Return the state with what the last check measured, for solvers that use it."""
        learn, certified = getattr(self.solver, "checked", None), self.certified
        self.certified = None  # it is of this state alone
        if learn is None or certified is None:
            return state
        return learn(self.program, state, certified)

    def _exhausted(self) -> Status:
        return Status.BEST_FOUND if self.solver.heuristic else Status.INACCURATE

    def _seconds(self) -> float:
        return time.perf_counter() - self.begin

    def _check(
        self, state: Any, tol: float, callbacks: tuple[Callable[[Progress], object], ...]
    ) -> Status | None:
        certificate, iterate = self.judge(self.solver.read(self.program, state))
        self.certified = iterate
        if self.best is None:
            self.best = _Best(certificate, iterate)
        if not np.isfinite(certificate.upper):
            return Status.NUMERICAL
        self.best.update(certificate, iterate)
        best, seconds = self.best.certificate, self._seconds()
        self.trace.append((self.iteration, seconds, best))
        event = Progress(self.iteration, seconds, best, self.best.iterate)
        stop = [callback(event) is True for callback in callbacks]
        if best.proves(tol):
            return Status.OPTIMAL
        if any(stop):
            return Status.INTERRUPTED
        if best.gap < 0.95 * self.progress[1]:
            self.progress = (self.iteration, best.gap)
        stalled = self.iteration - self.progress[0] > max(_STALL, self.iteration // 2)
        return Status.INACCURATE if stalled else None

    def solution(self) -> Solution:
        assert self.best is not None
        return Solution(
            iterate=self.best.iterate,
            status=self.status,
            certificate=self.best.certificate,
            iterations=self.iteration,
            seconds=self._seconds(),
            solver=self.solver.name,
            trace=tuple(self.trace),
        )
