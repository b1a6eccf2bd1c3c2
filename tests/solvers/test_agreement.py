"""A thousand small problems: our first-order solvers against the interior point reference."""

from collections.abc import Iterator

import pytest
from tests.solvers.problems import LOSSES, Drawn, Sizes, draw

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.solve import Solver, Status, solve
from cvxnn.solvers import ADMM, FISTA, Reference, WorkingSet

PROBLEMS, CHUNKS = 1000, 50
SIZES = Sizes(n=30, d=4, p=12, outputs=3)
OURS: tuple[Solver, ...] = (FISTA(), ADMM(), WorkingSet())
"""The first that takes a problem solves it; every tenth problem is solved by all that do."""


def numbered(number: int) -> Drawn:
    """The problem of a number: losses, architectures and the hidden bias take turns."""
    turn, loss = divmod(number, len(LOSSES))
    architecture = (GatedReLU, ReLU)[turn % 2](bias=turn % 3 > 0)
    return draw([2024, number], architecture, LOSSES[loss], SIZES)


def complaints(number: int) -> Iterator[str]:
    """What is wrong with the answers to a problem."""
    problem = numbered(number).problem
    program = problem.working()
    exact = solve(program, Reference(), tol=1e-7, judge=problem.judge)
    best = exact.certificate
    if exact.status is not Status.OPTIMAL:
        yield f"{number}: the reference is {exact.status.name}, gap {best.relative_gap:.1e}"
    takers = [solver for solver in OURS if solver.why_not(program) is None]
    for solver in takers if number % 10 == 0 else takers[:1]:
        solution = solve(program, solver, tol=5e-7, judge=problem.judge)
        ours, who = solution.certificate, f"{number}: {solver.name}"
        if solution.status is not Status.OPTIMAL:
            yield f"{who} is {solution.status.name}, gap {ours.relative_gap:.1e}"
        if not abs(ours.upper - best.upper) <= 1e-6 * max(best.upper, best.resolution):
            yield f"{who} attains {ours.upper!r}, the reference {best.upper!r}"
        if not ours.lower <= best.upper * (1 + 1e-9) + best.resolution:
            yield f"{who} claims {ours.lower!r}, the reference attains {best.upper!r}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_our_optimum_is_clarabels(chunk: int) -> None:
    numbers = range(chunk, PROBLEMS, CHUNKS)
    assert [line for number in numbers for line in complaints(number)] == []
