"""A thousand small problems: what a user gets against CVXPY, and what the other solvers claim.

Every tenth is solved; with EVERY=1 in the environment all of them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.every import share
from tests.solvers.problems import LOSSES, MARGIN, Drawn, Sizes, draw
from tests.solvers.test_reference import cvxpy_optimum

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.certificate import Scope
from cvxnn.functions import CrossEntropy, SampleLoss
from cvxnn.gates import gaussian
from cvxnn.path import alpha_max
from cvxnn.solve import Solver, Status, solve
from cvxnn.solver_choice import solver_for
from cvxnn.solvers import ADMM, FISTA, Newton, Subspace, WorkingSet
from cvxnn.training import problem_of

pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")

PROBLEMS, CHUNKS = 1000, 50
SIZES = Sizes(n=30, d=4, p=12, outputs=3)
FIRST_ORDER: tuple[Solver, ...] = (FISTA(), ADMM(), WorkingSet())
"""All that take it solve every twentieth problem."""


def numbered(number: int) -> Drawn:
    """The problem of a number: losses, architectures and the hidden bias take turns."""
    turn, loss = divmod(number, len(LOSSES))
    architecture = (GatedReLU, ReLU)[turn % 2](bias=turn % 3 > 0)
    return draw([2024, number], architecture, LOSSES[loss], SIZES)


def complaints(number: int) -> Iterator[str]:
    """What is wrong with the answers to a problem.

    The solver that users get must prove its gap and agree with Clarabel, called through CVXPY on
    a second statement of the problem, to 1e-6. A first-order solver that says OPTIMAL must agree
    too; one that ran out of its iterations must state a gap that covers its distance to the
    optimum. No lower bound may ever exceed the optimum.
    """
    drawn = numbered(number)
    problem, program = drawn.problem, drawn.problem.working()
    auto, _ = solver_for(program, "auto")
    best = solve(program, auto, tol=1e-7, judge=problem.judge).certificate
    size = max(best.upper, best.resolution)
    truth = cvxpy_optimum(drawn)
    if not best.proves(1e-6):
        yield f"{number}: a gap of {best.relative_gap:.1e} is left"
    if not abs(best.upper - truth) <= 1e-6 * size:
        yield f"{number}: we attain {best.upper!r}, CVXPY {truth!r}"
    if not best.lower <= min(best.upper, truth + 1e-6 * size) + best.resolution:
        yield f"{number}: we claim {best.lower!r}, CVXPY attains {truth!r}"
    for solver in FIRST_ORDER if number % 20 == 0 else ():
        if solver.why_not(program) is not None:
            continue
        limit = 10 if solver.name == "working_set" else 1000
        solution = solve(program, solver, tol=5e-7, judge=problem.judge, max_iter=limit)
        ours, who = solution.certificate, f"{number}: {solver.name}"
        error = ours.upper - best.upper
        if solution.status is Status.OPTIMAL and not abs(error) <= 1e-6 * size:
            yield f"{who} attains {ours.upper!r}, the optimum is {best.upper!r}"
        if not -1e-6 * size <= error <= ours.gap + 1e-6 * size:
            yield f"{who} states a gap of {ours.gap:.1e}, and is off by {error:.1e}"
        if not ours.lower <= best.upper * (1 + 1e-9) + best.resolution:
            yield f"{who} claims {ours.lower!r}, {best.upper!r} was attained"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_our_optimum_is_clarabels(chunk: int) -> None:
    size = PROBLEMS // CHUNKS
    step = share(10)
    numbers = range(size * chunk + chunk % step, size * (chunk + 1), step)
    assert [line for number in numbers for line in complaints(number)] == []


@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: one.name)
def test_single_precision_proves_a_gap_too(loss: SampleLoss) -> None:
    """Dual points are gradients: in single precision those of softmax sum to zero only nearly."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(np.float32)
    y = rng.standard_normal((60, 3))
    y = np.sign(y) if loss in MARGIN else y
    y = np.eye(3)[y.argmax(axis=1)] if isinstance(loss, CrossEntropy) else y
    architecture = GatedReLU()
    gates = gaussian(architecture.features(X), 12, rng)
    words: Any = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    problem = problem_of(architecture, X, y, np.ones(60), loss, gates, **words)
    problem = problem.at(0.1 * alpha_max(problem))
    program = problem.working()
    assert program.free.dtype == np.float32
    for solver in (*FIRST_ORDER, Newton(), Subspace()):
        if solver.why_not(program) is None:
            found = solve(program, solver, tol=1e-4, judge=problem.judge)
            assert found.status is Status.OPTIMAL, solver.name
