"""The reference solver, against the mathematics written out a second time in CVXPY."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from tests.conftest import Backend
from tests.solvers.problems import LOSSES, Drawn, Sizes, draw, strength

from cvxnn.architectures import Architecture, GatedReLU, ReLU
from cvxnn.errors import CvxnnError, UnsupportedError
from cvxnn.functions import (
    L1,
    PSD,
    ColumnNorm,
    CrossEntropy,
    GroupNorm,
    Hinge,
    Huber,
    Mean,
    Nuclear,
    Penalty,
    Ridge,
    SampleLoss,
    Separable,
    Squared,
    Unpenalised,
    mean_loss,
)
from cvxnn.maps import Gated
from cvxnn.path import null_model
from cvxnn.program import Program
from cvxnn.projection import gauges
from cvxnn.solve import Status, solve
from cvxnn.solvers import Reference, reference

# CVXPY's doubts about the oracle: its value is what we compare
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")

SMALL = Sizes(n=12, d=4, p=5, outputs=3)
SEEDS = range(10)
PAIRS = [
    pytest.param(loss, architecture, id=f"{loss.name}-{architecture.name}")
    for loss in LOSSES
    for architecture in (GatedReLU, ReLU)
]

CVXPY_LOSSES: dict[str, Any] = {
    "squared": lambda f, y, loss: cp.sum(cp.square(f - y), axis=1) / 2,
    "huber": lambda f, y, loss: cp.sum(cp.huber(f - y, loss.delta), axis=1) / 2,
    "quantile": lambda f, y, loss: cp.sum(
        cp.maximum(loss.level * (y - f), (loss.level - 1) * (y - f)), axis=1
    ),
    "logistic": lambda f, y, loss: cp.sum(cp.logistic(-cp.multiply(y, f)), axis=1),
    "hinge": lambda f, y, loss: cp.sum(cp.pos(1 - cp.multiply(y, f)), axis=1),
    "squared_hinge": lambda f, y, loss: (
        cp.sum(cp.square(cp.pos(1 - cp.multiply(y, f))), axis=1) / 2
    ),
    "cross_entropy": lambda f, y, loss: (
        cp.log_sum_exp(f, axis=1) - cp.sum(cp.multiply(y, f), axis=1)
    ),
}


def cvxpy_optimum(drawn: Drawn) -> float:
    """The optimum of the training problem, from data, masks and alpha alone."""
    problem = drawn.problem
    X, y = problem.X, problem.program.loss.target
    features = np.column_stack([X, np.ones(len(X))]) if problem.architecture.bias else X
    d, c = features.shape[1], y.shape[1]
    fit, penalty, constraints = np.zeros(y.shape), 0, []
    for mask in problem.gates.masks.astype(float):
        if problem.architecture.name == "gated":
            u = cp.Variable((d, c))
            fit = fit + (mask[:, None] * features) @ u
            penalty += cp.norm(u, "fro") if c == 1 else cp.normNuc(u)
            continue
        for sign in (1.0, -1.0):
            u = cp.Variable((d, c))
            fit = fit + sign * (mask[:, None] * features) @ u
            constraints.append(((2 * mask - 1)[:, None] * features) @ u >= 0)
            penalty += cp.sum(cp.norm(u, 2, axis=0))
    if drawn.intercept:
        fit = fit + np.ones((len(X), 1)) @ cp.Variable((1, c))
    if drawn.skip:
        fit = fit + X @ cp.Variable((X.shape[1], c))
    loss = problem.program.loss.loss
    weights = drawn.weights / drawn.weights.sum()
    mean = weights @ CVXPY_LOSSES[loss.name](fit, y, loss)
    return minimum(mean + problem.alpha * penalty, constraints)


def minimum(objective: cp.Expression, constraints: list[Any]) -> float:
    problem = cp.Problem(cp.Minimize(objective), constraints)
    for tol in (1e-10, 1e-9, 1e-8):  # Clarabel gives up on some problems when asked for the most
        with contextlib.suppress(cp.error.SolverError):
            settings = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tol)
            problem.solve(solver=cp.CLARABEL, **settings)
            break
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss", "architecture"), PAIRS)
def test_agrees_with_cvxpy(loss: SampleLoss, architecture: type[Architecture], seed: int) -> None:
    drawn = draw([seed, LOSSES.index(loss)], architecture(bias=seed % 3 > 0), loss, SMALL)
    problem = drawn.problem
    solution = solve(problem.working(), Reference(), tol=1e-6, judge=problem.judge)
    assert solution.status is Status.OPTIMAL
    certificate = solution.certificate
    optimum = cvxpy_optimum(drawn)
    # the oracle's own accuracy is absolute where the optimum is small
    accuracy = 1e-6 * optimum + 1e-8 * problem.program.loss.value(0 * problem.program.loss.target)
    assert certificate.upper == pytest.approx(optimum, abs=accuracy, rel=0)
    assert certificate.lower == pytest.approx(optimum, abs=accuracy, rel=0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss", "architecture"), PAIRS)
def test_the_point_meets_the_optimality_conditions(
    loss: SampleLoss, architecture: type[Architecture], seed: int
) -> None:
    problem = draw([seed, LOSSES.index(loss)], architecture(), loss, SMALL).problem
    program, solver = problem.program, Reference()
    u, b, v, m, *_ = solver.read(program, solver.step(program, solver.init(program, None)))
    fit, size = program.predict(u, b), np.abs(v).max()
    slope = program.lift.adjoint(v)
    if program.constraint is not None:
        assert (m >= 0).all()
        assert (program.constraint.map.apply(u) >= -1e-7 * max(1.0, np.abs(u).max())).all()
        slope = slope + program.constraint.map.adjoint(m)
    polar = program.penalty.polar(slope)
    assert polar.max(initial=0.0) <= 1 + 1e-5
    assert np.abs(program.free.T @ v).max(initial=0.0) <= 1e-6 * size * np.abs(program.free).sum()
    # Fenchel-Young: each pair of functions attains its inequality
    value = program.loss.value(0 * fit)
    assert np.vdot(slope, u) == pytest.approx(program.penalty.value(u), abs=1e-6 * value)
    moved = program.loss.prox(fit - v, 1.0)
    np.testing.assert_allclose(moved, fit, atol=1e-5 * max(1.0, np.abs(fit).max()))


@pytest.mark.parametrize("share", [1e-4, 1e-6])
@pytest.mark.parametrize("seed", [7, 10, 13])
@pytest.mark.parametrize(("loss", "architecture"), PAIRS)
def test_tiny_alphas_are_solved(
    loss: SampleLoss, architecture: type[Architecture], seed: int, share: float
) -> None:
    problem = draw([seed, LOSSES.index(loss)], architecture(), loss, SMALL).problem
    problem = problem.at(share * strength(problem, np.random.default_rng(0)))
    solution = solve(problem.working(), Reference(), tol=1e-6, judge=problem.judge)
    assert solution.status is Status.OPTIMAL


@pytest.mark.parametrize("factor", [2.0**-40, 1e-7, 1e7, 2.0**40])
def test_units_of_data_and_targets_do_not_matter(factor: float) -> None:
    drawn = draw([5, 0], ReLU(bias=False), Squared(), SMALL)
    program = drawn.problem.program
    here = solve(program, Reference(), tol=1e-8).certificate
    loss = mean_loss(Squared(), factor * program.loss.target, drawn.weights)
    larger = replace(
        program, loss=loss, penalty=type(program.penalty)(factor * program.penalty.alpha)
    )
    there = solve(larger, Reference(), tol=1e-8)
    assert there.status is Status.OPTIMAL
    assert there.certificate.upper == pytest.approx(factor**2 * here.upper, rel=1e-7)


def plain(penalty: Penalty, outputs: int, loss: Mean | None = None) -> Program:
    rng = np.random.default_rng(3)
    X, masks = rng.standard_normal((7, 3)), np.round(rng.uniform(size=(7, 4)))
    loss = loss or mean_loss(Squared(), rng.standard_normal((7, outputs)))
    return Program(loss=loss, lift=Gated(X, masks, outputs), penalty=penalty, free=np.ones((7, 1)))


CVXPY_PENALTIES: list[tuple[Penalty, Any]] = [
    (GroupNorm(0.1), lambda u: 0.1 * cp.norm(u, "fro")),
    (ColumnNorm(0.1), lambda u: 0.1 * cp.sum(cp.norm(u, 2, axis=0))),
    (Nuclear(0.1), lambda u: 0.1 * cp.normNuc(u)),
    (L1(0.1), lambda u: 0.1 * cp.sum(cp.abs(u))),
    (Ridge(0.1), lambda u: 0.05 * cp.sum_squares(u)),
    (Unpenalised(), lambda u: 0),
]


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize(
    ("penalty", "expression"), CVXPY_PENALTIES, ids=[type(p).__name__ for p, _ in CVXPY_PENALTIES]
)
def test_every_penalty(penalty: Penalty, expression: Any, outputs: int) -> None:
    loss = mean_loss(Huber(0.3), np.random.default_rng(4).standard_normal((7, outputs)))
    program = plain(penalty, outputs, loss)
    solver = Reference()
    iterate = solver.read(program, solver.step(program, solver.init(program, None)))
    blocks = [cp.Variable((3, outputs)) for _ in range(4)]
    masked = [mask[:, None] * program.lift.features for mask in program.lift.masks.T]
    fit = sum(x @ u for x, u in zip(masked, blocks, strict=True))
    fit = fit + np.ones((7, 1)) @ cp.Variable((1, outputs))
    mean = np.full(7, 1 / 7) @ CVXPY_LOSSES["huber"](fit, loss.target, loss.loss)
    optimum = minimum(mean + sum(expression(u) for u in blocks), [])
    value = program.objective(iterate.blocks, iterate.free)
    assert value == pytest.approx(optimum, rel=1e-6, abs=1e-8)
    np.testing.assert_allclose(program.free.T @ iterate.dual, 0.0, atol=1e-8)


@pytest.mark.parametrize(("loss", "architecture"), PAIRS)
def test_inactive_blocks_are_zero(loss: SampleLoss, architecture: type[Architecture]) -> None:
    problem = draw([3, LOSSES.index(loss)], architecture(), loss, SMALL).problem
    program = problem.at(0.3 * strength(problem, np.random.default_rng(1))).program
    iterate = solve(program, Reference(), tol=1e-6).iterate
    slack = gauges(program, iterate.dual, iterate.multiplier) < 1 - 1e-4
    assert (iterate.blocks[slack] == 0).all()
    none = solve(problem.at(1e6).program, Reference(), tol=1e-6)
    assert none.status is Status.OPTIMAL
    assert (none.iterate.blocks == 0).all()


def test_kinks_keep_their_dual() -> None:
    """A median of two points is any point between, but its dual is one half on either side."""
    loss = mean_loss(Hinge(), np.array([[1.0], [-1.0]]))
    program = Program(
        loss=loss,
        lift=Gated(np.eye(2), np.zeros((2, 1)), 1),
        penalty=GroupNorm(1.0),
        free=np.ones((2, 1)),
    )
    solver = Reference()
    iterate = solver.read(program, solver.step(program, solver.init(program, None)))
    np.testing.assert_allclose(iterate.dual, [[0.5], [-0.5]], atol=1e-9)


@pytest.mark.parametrize("architecture", [GatedReLU, ReLU])
@pytest.mark.parametrize("seed", [23, 25, 37, 39])
def test_a_softmax_dual_sums_to_zero(seed: int, architecture: type[Architecture]) -> None:
    """Off by a few units of rounding it is outside the domain, and proves nothing."""
    problem = draw([seed, 6], architecture(), CrossEntropy(), SMALL).problem
    program = problem.at(0.01 * strength(problem, np.random.default_rng(2))).program
    solver = Reference()
    dual = solver.read(program, solver.step(program, solver.init(program, None))).dual
    np.testing.assert_allclose((dual / program.loss.weights).sum(axis=1), 0.0, atol=1e-15)


def test_no_blocks_leave_the_free_columns() -> None:
    problem = draw([4, 5], ReLU(), Hinge(), SMALL).problem
    empty = np.zeros(0, dtype=np.int64)
    part = replace(
        problem.program,
        lift=problem.program.lift.restrict(empty),
        constraint=problem.program.constraint._replace(
            map=problem.program.constraint.map.restrict(empty)
        ),
    )
    solution = solve(part, Reference(), tol=1e-8)
    assert solution.status is Status.OPTIMAL
    best = null_model(problem.program)
    assert solution.certificate.upper == pytest.approx(
        part.loss.value(part.free @ best.free), rel=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_array_library(backend: Backend, dtype: str) -> None:
    problem = draw([1, 0], ReLU(), Squared(), SMALL).problem
    X = backend.asarray(problem.X.astype(dtype))
    architecture, loss = problem.architecture, problem.program.loss
    features, outputs = architecture.features(X), loss.target.shape[1]
    mean = mean_loss(Squared(), backend.asarray(loss.target.astype(dtype)))
    program = replace(
        problem.program,
        loss=mean,
        lift=architecture.lift(features, problem.gates, outputs),
        constraint=architecture.constraint(features, problem.gates, outputs),
        free=backend.asarray(problem.program.free.astype(dtype)),
    )
    solution = solve(program, Reference(), tol=1e-6)
    assert solution.status is Status.OPTIMAL
    *points, gauges, bounds = solution.iterate
    assert gauges is bounds is None  # they are kept without cones alone
    assert all(type(part) is type(X) for part in points)


def test_says_why_not() -> None:
    solver = Reference(max_entries=80)
    assert Reference().why_not(plain(GroupNorm(0.1), 1)) is None
    assert "84 entries and the reference takes 80" in str(solver.why_not(plain(GroupNorm(0.1), 1)))
    both = Separable((GroupNorm(0.1), L1(0.1)), ((2, 3), (2, 3)))
    assert "Separable has no cone program" in str(solver.why_not(plain(both, 1)))
    problem = draw([0, 0], ReLU(), Squared(), SMALL).problem
    constraint = problem.program.constraint._replace(cone=PSD())
    other = replace(problem.program, constraint=constraint)
    assert "not in PSD" in str(solver.why_not(other))
    with pytest.raises(UnsupportedError, match="use solver='admm'"):
        solve(other, solver)


def test_is_done_after_its_attempts_and_keeps_the_best() -> None:
    problem = draw([2, 3], ReLU(), LOSSES[3], SMALL).problem
    solution = solve(problem.working(), Reference(), tol=1e-300, judge=problem.judge)
    assert solution.status is Status.INACCURATE
    assert solution.iterations == 4
    assert solution.certificate.relative_gap < 1e-6


def test_a_start_is_read_back() -> None:
    program = plain(GroupNorm(0.1), 2)
    solver = Reference()
    state = solver.step(program, solver.init(program, None))
    assert solver.read(program, solver.init(program, solver.read(program, state))) is state.iterate
    assert not solver.done(solver.init(program, None))


def test_a_failure_is_said_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(status="PrimalInfeasible", x=[0.0], z=[0.0])
    monkeypatch.setattr(reference, "interior_point", lambda *arguments: answer)
    with pytest.raises(CvxnnError, match="PrimalInfeasible"):
        solve(plain(GroupNorm(0.1), 1), Reference())
