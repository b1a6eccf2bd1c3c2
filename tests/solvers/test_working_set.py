"""Column generation goes on for as long as its inner solves are cut off."""

from tests.solvers.problems import Sizes, draw

from cvxnn.architectures import GatedReLU
from cvxnn.functions import Quantile
from cvxnn.solve import Status, solve
from cvxnn.solvers import Reference, WorkingSet


def test_inner_solves_that_are_cut_off_get_more_iterations() -> None:
    problem = draw([11], GatedReLU(), Quantile(), Sizes(n=20, d=3, p=8, outputs=1)).problem
    program = problem.working()
    truth = solve(program, Reference(), tol=1e-8, judge=problem.judge).certificate
    found = solve(program, WorkingSet(max_iter=3), tol=1e-6, max_iter=100, judge=problem.judge)
    assert found.status is Status.OPTIMAL
    assert abs(found.certificate.upper - truth.upper) <= 1e-6 * truth.upper
