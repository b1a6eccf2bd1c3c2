"""A thousand small problems: our first-order solvers against the interior point reference."""

import pytest
from tests.solvers.problems import LOSSES, Drawn, Sizes, draw

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.certificate import Certificate
from cvxnn.solve import Solver, Status, solve
from cvxnn.solvers import ADMM, FISTA, Reference, WorkingSet

PROBLEMS, CHUNKS = 1000, 50
SIZES = Sizes(n=30, d=4, p=12, outputs=3)
OURS: tuple[Solver, ...] = (FISTA(), ADMM(), WorkingSet())
"""The first that takes a problem solves it; every fifth problem is solved by all that do."""


def numbered(number: int) -> Drawn:
    """The problem of a number: losses, architectures and the hidden bias take turns."""
    turn, loss = divmod(number, len(LOSSES))
    architecture = (GatedReLU, ReLU)[turn % 2](bias=turn % 3 > 0)
    return draw([2024, number], architecture, LOSSES[loss], SIZES)


def solved(drawn: Drawn, solver: Solver, tol: float) -> Certificate:
    problem = drawn.problem
    solution = solve(problem.working(), solver, tol=tol, judge=problem.judge)
    assert solution.status is Status.OPTIMAL, (solver.name, solution.certificate)
    return solution.certificate


def complaints(number: int) -> list[str]:
    """What is wrong with the answers to a problem, one line a solver."""
    drawn = numbered(number)
    program = drawn.problem.program
    reference = solved(drawn, Reference(), tol=1e-7)
    takers = [solver for solver in OURS if solver.why_not(program) is None]
    wrong = []
    for solver in takers if number % 5 == 0 else takers[:1]:
        ours = solved(drawn, solver, tol=5e-7)
        size = max(reference.upper, reference.resolution)
        if not abs(ours.upper - reference.upper) <= 1e-6 * size:
            wrong.append(f"{number}: {solver.name} has {ours.upper}, Clarabel {reference.upper}")
        if not ours.lower <= reference.upper * (1 + 1e-9) + reference.resolution:
            wrong.append(f"{number}: {solver.name} claims {ours.lower} > {reference.upper}")
    return wrong


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_our_optimum_is_clarabels(chunk: int) -> None:
    numbers = range(chunk, PROBLEMS, CHUNKS)
    assert [line for number in numbers for line in complaints(number)] == []
