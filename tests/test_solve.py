"""The one loop: how a run ends, and that every end hands over its best point and an honest bound.

Each status is reached on a program whose optimum was planted.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.planted import Planted, is_usable, plant

from cvxnn import solve as loop
from cvxnn.certificate import certify
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.maps import Gated
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solver, Status, solve, solve_part
from cvxnn.solver_choice import solver_for
from cvxnn.solvers import ADMM, FISTA, WorkingSet


@pytest.mark.parametrize("value", [0, -1, math.nan])
@pytest.mark.parametrize("name", ["tol", "max_iter", "max_time"])
def test_limits_are_positive(name: str, value: float) -> None:
    program = plant(Squared(), 1, False, 0, np.asarray).program
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be positive"):
        solve(program, FISTA(), **{name: value})


@dataclass(frozen=True)
class Ill:
    """FISTA until an iteration at which something happens instead of a step."""

    happens: Callable[[Any], Any]
    at: int = 12
    count: list[int] = field(default_factory=lambda: [0])

    name = "ill"
    period = 1

    def why_not(self, program: Program) -> str | None:
        return None

    def init(self, program: Program, start: Iterate | None) -> Any:
        return FISTA().init(program, start)

    def step(self, program: Program, state: Any) -> Any:
        self.count[0] += 1
        return self.happens(state) if self.count[0] == self.at else FISTA().step(program, state)

    def read(self, program: Program, state: Any) -> Iterate:
        return FISTA().read(program, state)

    def done(self, state: Any) -> bool:
        return False


def raising(error: BaseException) -> Callable[[Any], Any]:
    def happens(state: Any) -> Any:
        raise error

    return happens


def times(factor: float) -> Callable[[Any], Any]:
    def happens(state: Any) -> Any:
        last = state.last
        return state._replace(last=last._replace(blocks=factor * last.blocks))

    return happens


ENDS = [
    (raising(KeyboardInterrupt()), Status.INTERRUPTED),
    (raising(MemoryError()), Status.MEMORY),
    (raising(FloatingPointError()), Status.NUMERICAL),
    (raising(OverflowError()), Status.NUMERICAL),
    (raising(np.linalg.LinAlgError()), Status.NUMERICAL),
    (times(1e300), Status.NUMERICAL),
    (times(math.nan), Status.NUMERICAL),
]


@pytest.fixture
def hard() -> Planted:
    """A program that takes FISTA hundreds of iterations."""
    return plant(Squared(), 1, False, 1, np.asarray)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the overflows that are under test
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("happens", "status"), ENDS)
def test_what_breaks_a_run_keeps_its_best(
    happens: Callable[[Any], Any], status: Status, outputs: int
) -> None:
    planted = plant(Squared(), outputs, False, 1, np.asarray)
    solution = solve(planted.program, Ill(happens), tol=1e-12)
    assert solution.status is status
    assert solution.iterations >= 11
    zero = solution.trace[0][2]
    assert solution.certificate.upper < zero.upper
    is_usable(planted.program, solution, planted.optimum)


def test_what_breaks_the_first_check_is_raised_or_kept(hard: Planted) -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    solution = solve(hard.program, FISTA(), callbacks=[stop])
    assert solution.status is Status.INTERRUPTED
    assert solution.iterations == 0
    is_usable(hard.program, solution, hard.optimum)

    def judge(iterate: Iterate) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        solve(hard.program, FISTA(), judge=judge)


def test_a_start_that_is_not_checked_is_what_a_broken_first_step_leaves(hard: Planted) -> None:
    start = solve(hard.program, FISTA(), tol=1e-2).iterate
    words: dict[str, Any] = {"start": start, "tol": 1e-9, "max_iter": 3}
    whole = solve(hard.program, FISTA(), check_start=False, **words)
    assert whole.trace[0][0] > 0
    broken = Ill(raising(np.linalg.LinAlgError("singular")), at=1)
    left = solve(hard.program, broken, check_start=False, **words)
    assert left.status is Status.NUMERICAL
    assert left.certificate.upper == pytest.approx(certify(hard.program, start)[0].upper)


def test_a_solver_hears_what_gap_is_enough(hard: Planted) -> None:
    goals: list[float] = []

    @dataclass(frozen=True)
    class Told(Ill):
        goal: float = 0.0

        def step(self, program: Program, state: Any) -> Any:
            goals.append(self.goal)
            return super().step(program, state)

    mine = Told(raising(KeyboardInterrupt()), at=3)
    solve(hard.program, mine, tol=1e-7)
    assert goals == [1e-7] * 3
    assert mine.goal == 0.0


def test_a_callback_stops_a_run_and_is_told(hard: Planted) -> None:
    seen = []

    def third(event: loop.Progress) -> bool:
        seen.append(event)
        return len(seen) == 3

    solution = solve(hard.program, FISTA(), tol=1e-12, callbacks=[third])
    assert solution.status is Status.INTERRUPTED
    assert [event.iteration for event in seen] == [0, 10, 20]
    assert seen[-1].certificate == solution.certificate
    is_usable(hard.program, solution, hard.optimum)
    truthy = solve(hard.program, FISTA(), max_iter=30, tol=1e-12, callbacks=[lambda event: 1])
    assert truthy.status is Status.MAX_ITER


def test_errors_of_a_callback_are_the_callers(hard: Planted) -> None:
    with pytest.raises(ZeroDivisionError):
        solve(hard.program, FISTA(), callbacks=[lambda event: 1 / 0])


def test_a_larger_run_hears_of_an_interrupt(hard: Planted) -> None:
    for error in (KeyboardInterrupt, MemoryError):
        with pytest.raises(error):
            solve_part(hard.program, Ill(raising(error())), tol=1e-12)


@pytest.mark.parametrize("max_iter", [1, 7, 25])
def test_max_iter(hard: Planted, max_iter: int) -> None:
    solution = solve(hard.program, FISTA(), tol=1e-14, max_iter=max_iter)
    assert solution.status is Status.MAX_ITER
    assert solution.iterations == max_iter
    is_usable(hard.program, solution, hard.optimum)


def test_max_time(hard: Planted) -> None:
    begin = time.perf_counter()
    solution = solve(hard.program, FISTA(), tol=1e-300, max_time=1e-9)
    assert solution.status is Status.MAX_TIME
    assert solution.iterations == 1
    assert solution.seconds <= time.perf_counter() - begin
    is_usable(hard.program, solution, hard.optimum)


def test_optimal_is_proved(hard: Planted) -> None:
    solution = solve(hard.program, FISTA(), tol=1e-5)
    assert solution.status is Status.OPTIMAL
    assert solution.certificate.proves(1e-5)
    assert solution.certificate.upper <= hard.optimum * (1 + 1e-5)


def test_a_stall_is_said(hard: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 a relative gap of 1e-13 is out of reach."""
    monkeypatch.setattr(loop, "_STALL", 50)
    program = hard.program
    narrow = replace(
        program,
        loss=mean_loss(
            Squared(), program.loss.target.astype(np.float32), program.loss.weights[:, 0]
        ),
        lift=Gated(
            program.lift.features.astype(np.float32), program.lift.masks.astype(np.float32), 1
        ),
        free=program.free.astype(np.float32),
    )
    solution = solve(
        narrow, FISTA(), tol=1e-14, max_iter=10**6, judge=lambda it: certify(program, it)
    )
    assert solution.status is Status.INACCURATE
    assert solution.certificate.relative_gap < 1e-4
    is_usable(program, solution, hard.optimum)


def test_a_solver_that_is_done_too_early_is_inaccurate(hard: Planted) -> None:
    solution = solve(hard.program, WorkingSet(last_tol=1e-2), tol=1e-12)
    assert solution.status is Status.INACCURATE
    is_usable(hard.program, solution, hard.optimum)


@pytest.mark.parametrize("solver", [FISTA(), ADMM(), WorkingSet()], ids=lambda one: one.name)
@pytest.mark.parametrize("cones", [False, True], ids=["gated", "relu"])
def test_the_trace_only_improves(solver: Solver, cones: bool) -> None:
    planted = plant(Squared(), 1, cones, 1, np.asarray)
    if solver.why_not(planted.program) is None:
        solution = solve(planted.program, solver, tol=1e-9)
        iterations, seconds, found = zip(*solution.trace, strict=True)
        assert list(iterations) == sorted(set(iterations))
        assert list(seconds) == sorted(seconds)
        assert all(b.upper <= a.upper for a, b in pairwise(found))
        assert all(b.lower >= a.lower for a, b in pairwise(found))
        assert found[-1] == solution.certificate
        assert found[-1].lower <= planted.optimum * (1 + 1e-12)


@pytest.mark.parametrize(
    ("gates", "name"), [(100, "newton"), (1000, "working_set"), (20_000, "fista")]
)
def test_where_products_are_large_no_step_takes_minutes(gates: int, name: str) -> None:
    """The arrays are views of one number: nothing of that size is held."""
    X, masks = np.broadcast_to(1.0, (3000, 100)), np.broadcast_to(1.0, (3000, gates))
    program = Program(
        loss=mean_loss(Squared(), np.zeros((3000, 1))),
        lift=Gated(X, masks, outputs=1),
        penalty=GroupNorm(1.0),
        free=np.zeros((3000, 0)),
    )
    assert solver_for(program, "auto")[0].name == name
