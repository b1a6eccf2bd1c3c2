"""Five hundred random programs: every solver that takes one ends at the same optimum.

Every fiftieth is solved; with EVERY=1 in the environment all of them.
"""

import pytest
from tests.every import share
from tests.solvers.problems import LOSSES, Sizes, draw

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.solve import Solver, Status, solve
from cvxnn.solvers import ADMM, FISTA, Newton, Reference, Subspace, WorkingSet

pytestmark = pytest.mark.timeout(1800)  # where several runs share a processor

PROBLEMS, CHUNKS = 500, 20
SIZES = Sizes(n=30, d=4, p=12, outputs=2)
SOLVERS: tuple[Solver, ...] = (
    Newton(),
    WorkingSet(),
    FISTA(),
    Subspace(first=1, most=0.9),
    ADMM(),
)
STEPS = {"newton": 100, "working_set": 60, "fista": 30_000, "subspace": 30_000, "admm": 30_000}


def complaints(number: int) -> list[str]:
    """What is wrong: two optima further apart than 1e-7, or a claim above an optimum."""
    turn, loss = divmod(number, len(LOSSES))
    architecture = (GatedReLU, ReLU)[turn % 2](bias=turn % 3 > 0)
    problem = draw([500, number], architecture, LOSSES[loss], SIZES).problem
    program = problem.working()
    reference = Reference()
    if reference.why_not(program) is not None:
        return []
    truth = solve(program, reference, tol=1e-9, judge=problem.judge).certificate
    size, wrong = max(truth.upper, truth.resolution), []
    for solver in SOLVERS:
        if solver.why_not(program) is not None:
            continue
        solution = solve(
            program, solver, tol=1e-8, max_iter=STEPS[solver.name], judge=problem.judge
        )
        found, who = solution.certificate, f"{number}: {solver.name} ({program.loss.loss.name})"
        apart = found.upper - truth.upper
        apart = apart if abs(apart) > truth.resolution else 0.0  # equal as far as can be told
        error = apart / size
        if solution.status is Status.OPTIMAL and not abs(error) <= 1e-7:
            wrong.append(f"{who} is off by {error:.1e}")
        if not -1e-7 * size <= apart <= found.gap + 1e-7 * size:
            wrong.append(f"{who} states a gap of {found.gap:.1e} and is off by {error:.1e}")
        if solver.name in ("newton", "working_set") and not found.proves(1e-6):
            wrong.append(f"{who} leaves a gap of {found.relative_gap:.1e}")
        if not found.lower <= truth.upper * (1 + 1e-9) + truth.resolution:
            wrong.append(f"{who} claims too much")
    return wrong


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_solver_ends_at_the_same_optimum(chunk: int) -> None:
    size, step = PROBLEMS // CHUNKS, share(50)
    numbers = range(size * chunk + chunk % step, size * (chunk + 1), step)
    assert [line for number in numbers for line in complaints(number)] == []
