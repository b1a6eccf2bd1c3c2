"""Newton's method against Clarabel, with its systems solved in each of the three ways."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from tests.solvers.problems import Sizes, draw

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.certificate import Scope
from cvxnn.functions import CrossEntropy, Hinge, Huber, Logistic, Squared, SquaredHinge
from cvxnn.functions.base import Root
from cvxnn.gates import gaussian
from cvxnn.linalg import conjugate_gradient
from cvxnn.path import alpha_max, interior_dual, path
from cvxnn.solve import Status, solve
from cvxnn.solvers import Newton, Reference, systems
from cvxnn.solvers.systems import Slope, Systems
from cvxnn.training import problem_of

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


@pytest.mark.parametrize(("seed", "outputs"), [([900, 168], 1), ([500, 113], 2)])
def test_a_step_that_gains_nothing_where_the_loss_is_linear_is_not_the_last(
    seed: list[int], outputs: int
) -> None:
    """Most samples are far out: scores move there at no gain, and come back in."""
    sizes = Sizes(n=30, d=4, p=12, outputs=outputs)
    drawn = draw(seed, GatedReLU(bias=outputs > 1), Huber(delta=0.4), sizes).problem
    program = drawn.working()
    solution = solve(program, Newton(), tol=1e-9, judge=drawn.judge, max_iter=40)
    truth = solve(program, Reference(), tol=1e-9, judge=drawn.judge).certificate
    assert solution.status is Status.OPTIMAL
    assert solution.certificate.upper == pytest.approx(truth.upper, rel=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_what_preconditions_is_near_the_matrix_and_not_beyond_it(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is the Hadamard product of two semidefinite matrices (Schur)."""
    points: list[tuple[Any, Slope, Root]] = []
    direction = Systems.direction

    def seen(solver: Systems, slope: Slope, root: Root, residual: Any) -> Any:
        points.append((solver._gram, slope, root))
        return direction(solver, slope, root, residual)

    monkeypatch.setattr(Systems, "direction", seen)
    loss = (Squared(), Logistic())[seed % 2]
    drawn = draw([8, seed], GatedReLU(bias=True), loss, Sizes(n=60, d=6, p=40, outputs=1)).problem
    solve(drawn.working(), Newton(), tol=1e-6)
    for gram, slope, root in points:
        whole = root.scale * slope.pairs(gram) * root.scale.T
        narrow, (k, d, _) = slope.narrow(root), slope.moved.shape
        assert narrow.shape[1] == k + d + slope.program.free.shape[1]
        rest = np.linalg.eigvalsh(whole - narrow @ narrow.T)
        size = np.linalg.norm(whole, 2)
        assert rest.min() >= -1e-12 * size
        assert rest.max() <= 0.5 * size or len(slope.moved) < 2


def test_systems_take_a_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Sizes(n=120, d=8, p=60, outputs=1)
    problem = draw([8, 9], GatedReLU(bias=True), Squared(), sizes).problem
    monkeypatch.setattr(Systems, "way", lambda *_: "products")
    counts = []
    for near in (Systems._inverse, lambda *_: lambda r: r):
        monkeypatch.setattr(Systems, "_inverse", near)
        taken: list[int] = []

        def counted(*args: Any, taken: list[int] = taken) -> Any:
            operator, *others = args
            return conjugate_gradient(lambda z: (taken.append(1), operator(z))[1], *others)

        monkeypatch.setattr(systems, "conjugate_gradient", counted)
        assert solve(problem.working(), Newton(), tol=1e-10).status is Status.OPTIMAL
        counts.append(len(taken))
    assert 2.5 * counts[0] < counts[1]


@pytest.mark.parametrize(("reach", "dtype"), [(1e2, np.float32), (1e6, np.float64)])
def test_a_near_matrix_is_inverted_in_the_precision_that_it_needs(
    reach: float, dtype: type
) -> None:
    sizes = Sizes(n=120, d=8, p=60, outputs=1)
    program = draw([8, 9], GatedReLU(bias=True), Squared(), sizes).problem.working()
    rng = np.random.default_rng(3)
    moved = reach * rng.normal(size=program.lift.in_shape)
    slope = Slope(program, moved, program.penalty.prox(moved, reach), reach)
    root = program.loss.root(rng.normal(size=program.loss.target.shape))
    asked: list[Any] = []
    narrow = Slope.narrow

    def seen(slope: Slope, root: Root) -> Any:
        asked.append(root.scale.dtype)
        return narrow(slope, root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slope, "narrow", seen)
        near = Systems(program, 20.0)._inverse(slope, root)
    assert asked[-1] == dtype
    wide, every = slope.narrow(root), np.eye(len(root.scale))
    matrix = every + wide @ wide.T
    found = np.hstack([near(one[:, None]) for one in every])
    values = np.linalg.eigvals(found @ matrix)
    assert abs(values - 1).max() <= 1e-2


def test_a_class_without_samples_has_no_part_in_the_bound() -> None:
    """As in a fold that lacks a rare class: its intercept falls without end, at no price."""
    X, labels = load_iris(return_X_y=True)
    X, y = X[::2], np.eye(4)[labels[::2]]
    gates = gaussian(X, 20, np.random.default_rng(0))
    words: dict[str, Any] = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    found = []
    for target in (y, y[:, :3]):
        problem = problem_of(
            GatedReLU(bias=True), X, target, np.ones(len(y)), CrossEntropy(), gates, **words
        )
        problem = problem.within(interior_dual(problem.program)).at(0.1 * alpha_max(problem))
        found.append(solve(problem.working(), Newton(), tol=1e-4, judge=problem.judge))
    four, three = found
    assert four.status is Status.OPTIMAL
    assert four.certificate.lower <= three.certificate.upper
    assert four.certificate.upper == pytest.approx(three.certificate.upper, rel=2e-4)


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


def test_it_ends_where_precision_does() -> None:
    for loss in (Squared(), CrossEntropy()):
        problem = draw([3, 2], GatedReLU(bias=True), loss, SIZES).problem
        solution = solve(problem.working(), Newton(), tol=1e-17, judge=problem.judge)
        assert solution.status is Status.INACCURATE
        assert solution.iterations < 100
        assert solution.certificate.proves(1e-10)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_free_columns_do_not_matter(unit: float) -> None:
    problem = draw([1, 3], GatedReLU(bias=True), Logistic(), SIZES).problem
    program = problem.working()
    assert program.free.shape[1] > 0
    other = replace(program, free=unit * program.free)
    one, two = (solve(each, Newton(), tol=1e-8) for each in (program, other))
    assert one.iterations == two.iterations
    assert two.certificate.upper == pytest.approx(one.certificate.upper, rel=1e-7)
    assert two.certificate.proves(1e-8)


def test_a_step_that_stands_still_is_solved_more_accurately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Classes that a few gates nearly separate: conjugate gradients' rest is all that is left."""
    X, labels = load_iris(return_X_y=True)
    rows = np.arange(len(X)) % 5 > 0
    X, y = X[rows], np.eye(3)[labels[rows]]
    gates = gaussian(X, 30, np.random.default_rng(1))
    words: dict[str, Any] = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    weights = np.ones(len(y))
    problem = problem_of(GatedReLU(bias=True), X, y, weights, CrossEntropy(), gates, **words)
    alphas = alpha_max(problem) * np.geomspace(0.5, 1e-4, 5)
    sharpened: list[Systems] = []
    sharpen = Systems.sharpen

    def counted(systems: Systems) -> None:
        sharpened.append(systems)
        sharpen(systems)

    monkeypatch.setattr(Systems, "sharpen", counted)
    steps = [one.iterations for _, one in path(problem, alphas, Newton(), tol=1e-3)]
    assert sharpened
    assert steps[-1] <= 7  # 5; without, 9 and twice the seconds


def test_it_says_what_it_does_not_take() -> None:
    for architecture, loss, reason in (
        (ReLU(bias=True), Squared(), "no cone"),
        (GatedReLU(bias=True), Hinge(), "kinks"),
    ):
        program = draw([0, 1], architecture, loss, SIZES).problem.working()
        assert reason in str(Newton().why_not(program))
