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
    """What is wrong with the answers to a problem.

    A first-order solver that says OPTIMAL must agree with the reference to 1e-6; one that ran out
    of its iterations must state a gap that covers its distance to the optimum. No lower bound may
    ever exceed the optimum.
    """
    problem = numbered(number).problem
    program = problem.working()
    best = solve(program, Reference(), tol=1e-7, judge=problem.judge).certificate
    if not best.proves(1e-6):
        yield f"{number}: the reference leaves a gap of {best.relative_gap:.1e}"
    takers = [solver for solver in OURS if solver.why_not(program) is None]
    for solver in takers if number % 10 == 0 else takers[:1]:
        limit = 10 if solver.name == "working_set" else 1000
        solution = solve(program, solver, tol=5e-7, judge=problem.judge, max_iter=limit)
        ours, who = solution.certificate, f"{number}: {solver.name}"
        size = max(best.upper, best.resolution)
        error = ours.upper - best.upper
        if solution.status is Status.OPTIMAL and not abs(error) <= 1e-6 * size:
            yield f"{who} attains {ours.upper!r}, the reference {best.upper!r}"
        if not -1e-6 * size <= error <= ours.gap + 1e-6 * size:
            yield f"{who} states a gap of {ours.gap:.1e}, and is off by {error:.1e}"
        if not ours.lower <= best.upper * (1 + 1e-9) + best.resolution:
            yield f"{who} claims {ours.lower!r}, the reference attains {best.upper!r}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_our_optimum_is_clarabels(chunk: int) -> None:
    size = PROBLEMS // CHUNKS
    numbers = range(size * chunk, size * (chunk + 1))
    assert [line for number in numbers for line in complaints(number)] == []
