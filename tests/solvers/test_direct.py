"""The direct solver: closed forms, CVXPY, other solvers, and programs in samples and in columns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge as SklearnRidge
from tests.every import share
from tests.solvers.problems import Sizes, draw

from cvxnn import (
    ConvexClassifier,
    ConvexClassifierCV,
    ConvexRegressor,
    ConvexRegressorCV,
    GatedRidge,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.architectures import Problem, represented
from cvxnn.errors import MemoryBudgetError, UnsupportedError
from cvxnn.functions import GroupNorm, Logistic, Squared
from cvxnn.maps import Coefficients, Gated, GatedStream, Kept, gram
from cvxnn.path import alpha_max
from cvxnn.solve import Status, solve
from cvxnn.solver_choice import posed, solver_for
from cvxnn.solvers import FISTA, Direct, Newton, WorkingSet
from cvxnn.streamed import Streamed
from cvxnn.training import train

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=15 if share(2) == 2 else 100, deadline=None)


def drawn(seed: int, n: int = 30) -> Problem:
    return draw([7, seed], GatedRidge(bias=seed % 2 == 0), Squared(), Sizes(n, 4, 8, 3)).problem


def expanded(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Phi (n, p d) and the free columns (n, q)."""
    features = problem.architecture.features(problem.X)
    masks = problem.gates.masks.T.astype(float)
    return (masks[:, :, None] * features[:, None, :]).reshape(
        len(features), -1
    ), problem.free.columns


def optimum(problem: Problem) -> float:
    """The least objective, by numpy's least squares on the stacked system."""
    (phi, free), loss = expanded(problem), problem.program.loss
    roots = np.sqrt(loss.weights)
    width = phi.shape[1]
    rows = np.vstack(
        [
            np.hstack([roots * phi, roots * free]),
            np.hstack([np.sqrt(problem.alpha) * np.eye(width), np.zeros((width, free.shape[1]))]),
        ]
    )
    right = np.vstack([roots * loss.target, np.zeros((width, loss.target.shape[1]))])
    found = np.linalg.lstsq(rows, right)[0]
    return float(((rows @ found - right) ** 2).sum() / 2)


@laws
@given(seed=SEEDS)
def test_the_optimum_is_that_of_least_squares(seed: int) -> None:
    problem = drawn(seed)
    best = optimum(problem)
    for each in (problem, represented(problem)):
        solution = solve(each.working(), Direct(), tol=1e-9, judge=each.judge)
        assert solution.status is Status.OPTIMAL
        slack = 1e-9 * best + solution.certificate.resolution
        assert abs(solution.certificate.upper - best) <= slack
        assert solution.certificate.lower <= best + slack
        network = each.network(solution.iterate)
        assert abs(each.objective(network) - best) <= slack


@laws
@given(seed=SEEDS)
def test_coefficients_have_the_program_of_their_blocks(seed: int) -> None:
    """Objective, bound and dual norm of a and of u = A* a are the same, at any a."""
    problem = drawn(seed)
    rng = np.random.default_rng(seed)
    inner, outer = problem.program, represented(problem).program
    a = rng.standard_normal((1, *inner.lift.out_shape))
    b = rng.standard_normal((inner.free.shape[1], inner.lift.out_shape[1]))
    blocks = inner.lift.adjoint(a[0])
    np.testing.assert_allclose(outer.lift.apply(a), inner.lift.apply(blocks), rtol=1e-8, atol=1e-8)
    assert outer.objective(a, b) == pytest.approx(inner.objective(blocks, b), rel=1e-9)
    conjugates = (
        outer.penalty.conjugate(outer.lift.adjoint(a[0])),
        inner.penalty.conjugate(blocks),
    )
    assert conjugates[0] == pytest.approx(conjugates[1], rel=1e-9, abs=1e-12)


def test_the_optimum_is_cvxpys() -> None:
    problem = drawn(3)
    (phi, free), loss = expanded(problem), problem.program.loss
    u = cvxpy.Variable((phi.shape[1], loss.target.shape[1]))
    b = cvxpy.Variable((free.shape[1], loss.target.shape[1])) if free.shape[1] else None
    fit = phi @ u if b is None else phi @ u + free @ b
    misfit = cvxpy.sum(cvxpy.multiply(loss.weights, cvxpy.square(fit - loss.target))) / 2
    goal = cvxpy.Minimize(misfit + problem.alpha / 2 * cvxpy.sum_squares(u))
    truth = cvxpy.Problem(goal).solve(solver="CLARABEL")
    assert train(problem, Direct(), tol=1e-8).certificate.upper == pytest.approx(truth, rel=1e-6)


def test_other_solvers_agree() -> None:
    for seed in range(4):
        problem = drawn(seed)
        best = train(problem, Direct()).certificate.upper
        for solver in (FISTA(), Newton()):
            found = train(problem, solver, tol=1e-7).certificate
            assert found.upper == pytest.approx(best, rel=1e-6)


def test_one_gate_that_is_always_open_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    weights = rng.uniform(0.5, 2.0, 50)
    model = ConvexRegressor(
        GatedRidge(), alpha=0.3, gates=[[0.0, 0.0, 0.0, 1.0]], fit_intercept=False
    )
    model.fit(X, y, sample_weight=weights)
    ones = np.column_stack([X, np.ones(50)])
    other = SklearnRidge(alpha=0.3 * weights.sum(), fit_intercept=False).fit(ones, y, weights)
    np.testing.assert_allclose(model.predict(X), other.predict(ones), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [20, 300])
def test_fits_of_both_sides(dtype: Any, n: int) -> None:
    """Few and many samples, in both precisions: proved, verified, equal to a smooth solver's."""
    rng = np.random.default_rng(n)
    X = rng.standard_normal((n, 5)).astype(dtype)
    y = (X[:, 0] > 0).astype(int) + (np.abs(X[:, 1]) > 1)
    words: dict[str, Any] = {"alpha": 1e-3, "loss": "squared", "n_gates": 20, "random_state": 0}
    model = ConvexClassifier(GatedRidge(), class_weight="balanced", tol=1e-7, **words).fit(X, y)
    other = ConvexClassifier(
        GatedRidge(), class_weight="balanced", tol=1e-6, solver="newton", **words
    ).fit(X, y)
    assert model.solution_.solver == "direct"
    assert model.certificate_.proves(1e-7)
    assert model.certificate_.upper == pytest.approx(other.certificate_.upper, rel=2e-6)
    assert verify(model, X, y)
    assert not verify(model, X, np.roll(y, 1))


def test_float32_that_is_too_coarse_goes_on_in_float64() -> None:
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((80, 6)) + 100.0).astype(np.float32)
    model = ConvexRegressor(GatedRidge(), alpha=1e-7, n_gates=10, random_state=0, tol=1e-6)
    assert model.fit(X, rng.standard_normal(80)).certificate_.proves(1e-6)


def test_alpha_is_chosen_on_a_path_with_one_matrix(monkeypatch: Any) -> None:
    made: list[int] = []
    tile = Gated.tile

    def counted(self: Gated, rows: slice, columns: slice) -> Any:
        made.append(1)
        return tile(self, rows, columns)

    monkeypatch.setattr(Gated, "tile", counted)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 6))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = ConvexClassifierCV(GatedRidge(), loss="squared", n_gates=64, alphas=8, random_state=0)
    model.fit(X, y)
    assert len(made) == 1  # folds and strengths share it
    assert model.alphas_[0] < model.alpha_max_ < np.inf
    assert model.alpha_ in model.alphas_
    assert model.losses_.min() < 0.45


def test_alpha_max_is_the_largest_eigenvalue() -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 3)) + 0.5
    model = ConvexRegressor(
        GatedRidge(), alpha=1.0, n_gates=10, random_state=0, fit_intercept=False
    )
    model.fit(X, X[:, 0] + np.abs(X[:, 1]))
    gates = Kept(Gated(np.column_stack([X, np.ones(60)]), _masks(model, X), 1))
    largest = np.linalg.eigvalsh(gates.kernel())[-1] / 60
    assert 0.8 * largest <= model.alpha_max_ <= largest * (1 + 1e-9)


def _masks(model: Any, X: np.ndarray) -> np.ndarray:
    return (np.column_stack([X, np.ones(len(X))]) @ model.generators_.T >= 0).astype(float)


@pytest.mark.parametrize("n", [50, 400])
def test_subsets_are_problems_of_their_own(n: int) -> None:
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 8)), rng.standard_normal((n, 2))
    model = ConvexRegressor(GatedRidge(), alpha=0.05, n_gates=12, random_state=0)
    index, weights = np.arange(0, n, 2), rng.uniform(0.5, 2.0, n)[::2]
    model.fit(X[index], y[index], sample_weight=weights)
    whole = ConvexRegressor(GatedRidge(), alpha=0.05, gates=model.generators_).fit(X, y)
    _, problem = _both(whole, X, y)
    part = problem.subset(index, weights)
    found = train(part, Direct()).certificate.upper
    assert found == pytest.approx(model.certificate_.upper, rel=1e-9)


def _both(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    problem, solver, _ = model._problem(GatedRidge(), X, y, np.ones(len(X)), 0, False)
    return solver, problem.at(model.alpha_)


def test_gram_of_blocks_is_the_product() -> None:
    rng = np.random.default_rng(0)
    phi, beside, weights = (
        rng.standard_normal((50, 7)),
        rng.standard_normal((50, 2)),
        rng.random(50),
    )
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-5)):
        blocks = ((slice(i, min(50, i + 9)), phi[i : i + 9].astype(dtype)) for i in range(0, 50, 9))
        found = gram(blocks, 7, weights, beside, dtype)
        assert found.matrix.dtype == dtype
        truth = phi.T @ (weights[:, None] * phi)
        np.testing.assert_allclose(np.tril(found.matrix), np.tril(truth), rtol=rtol, atol=rtol)
        other = phi.T @ (weights[:, None] * beside)
        np.testing.assert_allclose(found.beside, other, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("sparse", [False, True])
def test_streamed_data_give_the_same_columns_and_kernels(sparse: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)) * (rng.random((40, 3)) < 0.7)
    masks = rng.random((40, 5)) < 0.5
    plain = Kept(Gated(np.column_stack([X, np.ones(40)]), masks.astype(float), 2))
    base = csr_array(X) if sparse else X
    stream = Kept(GatedStream(Streamed(base).with_ones(), masks.T, 2))
    np.testing.assert_allclose(stream.kernel(), plain.kernel(), rtol=1e-12)
    rows = slice(3, 17)
    np.testing.assert_allclose(stream.columns(rows), plain.columns(rows))
    u = rng.standard_normal(plain.in_shape)
    fit = plain.columns(rows) @ u.reshape(-1, 2)
    np.testing.assert_allclose(fit, plain.apply(u)[rows], rtol=1e-9)


def test_why_not() -> None:
    problem = drawn(5)
    program = problem.working()
    assert Direct().why_not(program) is None
    logistic = replace(program, loss=replace(program.loss, loss=Logistic()))
    assert "loss='squared'" in str(Direct().why_not(logistic))
    assert "ridge" in str(Direct().why_not(replace(program, penalty=GroupNorm(1.0))))
    assert "columns" in str(Direct().why_not(replace(program, lift=program.lift.restrict([0]))))
    assert "empty" in str(WorkingSet().why_not(program))
    model = ConvexRegressor("gated", alpha=0.1, solver="direct")
    with pytest.raises(UnsupportedError, match="squared loss with a ridge"):
        model.fit(np.eye(4), np.arange(4.0))


def test_auto_takes_it_and_falls_back() -> None:
    problem = drawn(6)
    assert solver_for(problem.program, "auto")[0] == Direct()
    logistic = replace(problem.program, loss=replace(problem.program.loss, loss=Logistic()))
    assert solver_for(logistic, "auto")[0] == Newton()
    solved, _, _ = posed(problem, Direct(), "")
    small = problem.program.lift.out_shape[0] <= np.prod(problem.program.lift.in_shape[:2])
    assert isinstance(solved.program.lift, Coefficients) == small


def test_memory_is_asked_for_first(monkeypatch: Any) -> None:
    monkeypatch.setattr("cvxnn.memory.available", lambda: 200 * 2**20)
    X = np.zeros((20_000, 50), dtype=np.float32)
    model = ConvexRegressor(GatedRidge(), alpha=1.0, n_gates=1000)
    with pytest.raises(MemoryBudgetError):
        model.fit(X, X[:, 0])


def test_a_constant_target_has_no_scale() -> None:
    X = np.random.default_rng(0).standard_normal((30, 2))
    model = ConvexRegressor(GatedRidge(), n_gates=5, random_state=0).fit(X, np.ones(30))
    assert alpha_max(_both(model, X, np.ones((30, 1)))[1]) == 0.0
    np.testing.assert_allclose(model.predict(X), 1.0)


def test_networks_from_elsewhere_and_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = np.abs(X[:, :2])
    model = ConvexRegressor(GatedRidge(), alpha=0.01, n_gates=20, random_state=0).fit(X, y)
    assert certify_network(model.network_, X, y, alpha=0.01).proves(1e-6)
    save(model, tmp_path / "model")
    again: Any = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, y)
    # the bound on networks that see all of the data is for norms of neurons
    assert model.set_params(rank=2).fit(X, y).certificate_.whole is None
    hidden = model.transform(X)
    outputs = hidden @ model.network_.weights_out + model.network_.intercept
    np.testing.assert_allclose(outputs, model.predict(X), atol=1e-12)
    mean = ConvexRegressorCV(GatedRidge(), alphas=3, n_gates=20, random_state=0, refit="average")
    assert 0 < mean.fit(X, y).certificate_.relative_gap < 1
