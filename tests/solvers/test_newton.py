"""Newton's method against Clarabel, with its systems solved in each of the three ways."""

import pytest
from tests.solvers.problems import Sizes, draw

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.functions import CrossEntropy, Hinge, Huber, Logistic, Squared, SquaredHinge
from cvxnn.solve import solve
from cvxnn.solvers import Newton, Reference
from cvxnn.solvers.systems import Systems

SIZES = Sizes(n=30, d=4, p=12, outputs=1)
SMOOTH = Squared(), Huber(delta=0.4), Logistic(), SquaredHinge(), CrossEntropy()


@pytest.mark.parametrize(
    ("way", "outputs"), [("pairs", 1), ("columns", 1), ("products", 1), ("products", 3)]
)
@pytest.mark.parametrize("chunk", range(2))
def test_the_optimum_is_clarabels(
    chunk: int, outputs: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Systems, "way", lambda *_: way)
    wrong = []
    for k in range(20 * chunk, 20 * chunk + 20):
        loss = SMOOTH[k % (len(SMOOTH) - (way != "products"))]  # the last is the softmax
        sizes = Sizes(n=30, d=4, p=12, outputs=outputs)
        problem = draw([7, k], GatedReLU(bias=k % 3 > 0), loss, sizes).problem
        program = problem.working()
        truth = solve(program, Reference(), tol=1e-8, judge=problem.judge).certificate
        found = solve(program, Newton(), tol=1e-7, judge=problem.judge, max_iter=60).certificate
        size = max(truth.upper, truth.resolution)
        if not (abs(found.upper - truth.upper) <= 1e-7 * size and found.proves(1e-6)):
            wrong.append((k, program.loss.loss.name, found.upper, truth.upper))
        if not found.lower <= truth.upper * (1 + 1e-9) + truth.resolution:
            wrong.append((k, "claims", found.lower, truth.upper))
    assert wrong == []


def test_it_takes_fewer_steps_than_a_gradient_has_digits() -> None:
    """A thousand steps of proximal gradient are ten of these, each a few equations."""
    problem = draw([1, 1], GatedReLU(bias=True), Squared(), Sizes(n=60, d=6, p=40, outputs=1))
    solution = solve(
        problem.problem.working(), Newton(), tol=1e-9, judge=problem.problem.judge, max_iter=20
    )
    assert solution.certificate.proves(1e-9)


def test_a_start_is_gone_on_from() -> None:
    problem = draw([3, 1], GatedReLU(bias=True), Squared(), SIZES).problem
    program = problem.working()
    first = solve(program, Newton(), tol=1e-8, judge=problem.judge)
    again = solve(program, Newton(), start=first.iterate, tol=1e-8, judge=problem.judge)
    assert again.iterations <= 1
    assert again.certificate.upper == pytest.approx(first.certificate.upper, rel=1e-9)


def test_it_says_what_it_does_not_take() -> None:
    for architecture, loss, reason in (
        (ReLU(bias=True), Squared(), "no cone"),
        (GatedReLU(bias=True), Hinge(), "kinks"),
    ):
        program = draw([0, 1], architecture, loss, SIZES).problem.working()
        assert reason in str(Newton().why_not(program))
