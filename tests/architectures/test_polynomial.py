"""Polynomial networks against closed forms, CVXPY, grids of directions and descents."""

import math
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from tests.every import numbers
from tests.hundred import oracles

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    Exactness,
    Polynomial,
    PolynomialNetwork,
    Scope,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.architectures import Problem, evaluate
from cvxnn.errors import UnsupportedError
from cvxnn.functions import Logistic, Quantile, SampleLoss, Squared
from cvxnn.functions.decompose import decomposed
from cvxnn.path import alpha_max
from cvxnn.regimes import regimes_of
from cvxnn.solve import solve
from cvxnn.solvers import ADMM, FISTA, Factored, Newton, Reference, WorkingSet
from cvxnn.training import gates_of, problem_of, train

QUADRATIC = Polynomial(bias=False, square=1.0, linear=0.0, constant=0.0)
LIKE_RELU = Polynomial(bias=False)


def problem(
    architecture: Polynomial,
    X: np.ndarray,
    y: np.ndarray,
    loss: SampleLoss | None = None,
    *,
    intercept: bool = False,
) -> Problem:
    gates, scope = gates_of(architecture, X, "auto", 1, np.random.default_rng(0))
    y = y if y.ndim == 2 else y[:, None]
    return problem_of(
        architecture,
        X,
        y,
        np.ones(len(X)),
        loss or Squared(),
        gates,
        scope=scope,
        intercept=intercept,
        skip=False,
    )


def drawn(seed: int, n: int = 7, d: int = 3, c: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, :1] * X[:, -1:] + rng.standard_normal((n, c))


def activation(architecture: Polynomial, t: np.ndarray) -> np.ndarray:
    return (architecture.square * t + architecture.linear) * t + architecture.constant


# section J of the formulations: closed forms and values


def test_section_J8_two_samples() -> None:
    """X = I, y = (2, -1), strength 1/2 on a sum: Z = diag(3/2, -1/2), value 5/4."""
    found = train(problem(QUADRATIC, np.eye(2), np.array([2.0, -1.0])).at(0.25), FISTA(), tol=1e-9)
    assert 2 * found.certificate.upper == pytest.approx(1.25, rel=1e-9)
    assert 2 * found.certificate.lower == pytest.approx(1.25, rel=1e-8)
    assert found.certificate.scope is Scope.ALL_NETWORKS
    assert found.certificate.exactness is Exactness.EXACT
    u, a = found.network.weights_in, found.network.weights_out[:, 0]
    np.testing.assert_allclose((u.T * a) @ u, np.diag([1.5, -0.5]), atol=1e-7)


def test_section_J2_cubes_decay_as_the_norm_does() -> None:
    """min |a|^3 + |u|^3 with |a| |u|^2 = 1 is 2^(1/3) + 2^(-2/3) = 1.8899."""
    constant = 2 ** (1 / 3) + 2 ** (-2 / 3)
    assert constant == pytest.approx(1.8899, abs=5e-5)
    lengths = np.geomspace(0.1, 10, 200_001)
    assert (lengths**-6 + lengths**3).min() == pytest.approx(constant, rel=1e-9)
    X, y = drawn(4, n=9)
    here = problem(QUADRATIC, X, y).at(0.05)
    bound = train(here, Reference(), tol=1e-9).certificate

    def objective(flat: np.ndarray) -> float:
        u, a = flat[:-4].reshape(4, 3), flat[-4:]
        decay = (np.abs(a) ** 3).sum() + (np.linalg.norm(u, axis=1) ** 3).sum()
        return float(((X @ u.T) ** 2 @ a - y[:, 0]) @ ((X @ u.T) ** 2 @ a - y[:, 0])) / 18 + (
            0.05 / constant
        ) * float(decay)

    rng = np.random.default_rng(0)
    values = [minimize(objective, rng.standard_normal(16)).fun for _ in range(6)]
    assert min(values) >= bound.lower
    assert min(values) == pytest.approx(bound.upper, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_section_J4_neural_decomposition(seed: int) -> None:
    """The value is kept, neurons have unit length, and there are no more of them than the rank."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((1 + seed, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    wide = np.column_stack([points, np.ones(len(points))])
    matrix = (wide.T * rng.uniform(0.1, 2.0, len(points))) @ wide
    u, weights = decomposed(matrix)
    assert len(u) <= np.linalg.matrix_rank(matrix)
    assert (weights > 0).all()
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.0, atol=1e-12)
    again = np.column_stack([u, np.ones(len(u))])
    np.testing.assert_allclose((again.T * weights) @ again, matrix, atol=1e-9)


def test_section_J4_nothing_to_decompose() -> None:
    u, weights = decomposed(np.zeros((3, 3)))
    assert u.shape == (0, 2)
    assert weights.shape == (0,)


@pytest.mark.parametrize("architecture", [QUADRATIC, LIKE_RELU], ids=["square", "like_relu"])
def test_section_J5_the_dual_constraint_is_tight(architecture: Polynomial) -> None:
    """At the optimum the largest price on the sphere is alpha; at alpha_max the network goes."""
    X, y = drawn(1, d=2)
    here = problem(architecture, X, y)
    largest = alpha_max(here)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    prices = np.abs((y[:, 0] / len(y)) @ activation(architecture, X @ circle))
    assert largest == pytest.approx(prices.max(), rel=1e-6)
    found = train(here.at(0.3 * largest), Reference(), tol=1e-9)
    prices = np.abs(found.dual[:, 0] @ activation(architecture, X @ circle))
    assert prices.max() == pytest.approx(0.3 * largest, rel=1e-6)
    assert train(here.at(1.001 * largest), FISTA(), tol=1e-9).network.n_neurons == 0
    assert train(here.at(0.9 * largest), FISTA(), tol=1e-6).network.n_neurons > 0


def test_section_J5_several_outputs_against_a_grid_of_directions() -> None:
    """With two features every neuron is a direction: a Lasso over a fine grid of them."""
    X, y = drawn(2, d=2, c=2)
    angles = np.linspace(0, 2 * np.pi, 721)[:-1]
    atoms = activation(LIKE_RELU, X @ np.stack([np.cos(angles), np.sin(angles)]))
    weights = cp.Variable((720, 2))
    fit = cp.sum_squares(atoms @ weights - y) / (2 * len(y))
    grid = cp.Problem(cp.Minimize(fit + 0.02 * cp.sum(cp.abs(weights))))
    best = grid.solve(solver="CLARABEL")
    found = train(problem(LIKE_RELU, X, y).at(0.02), Reference(), tol=1e-8).certificate
    assert found.lower <= best
    assert found.upper == pytest.approx(best, rel=1e-4)


# the same program in CVXPY


def in_cvxpy(architecture: Polynomial, X: np.ndarray, y: np.ndarray, here: Problem) -> float:
    coefficients = architecture.square, architecture.linear, architecture.constant
    parts = oracles.polynomial(architecture.features(X), coefficients, y.shape[1])
    free = np.ones((len(X), here.program.free.shape[1]))
    return oracles.trained(here.program.loss.loss.name, parts, y, here.alpha, free)


def test_a_hundred_optima() -> None:
    """Every seventh of them; with EVERY=1 in the environment all."""
    for seed in numbers(100, 7):
        rng = np.random.default_rng(seed)
        square, linear, constant = rng.standard_normal(3)
        if seed % 3 == 0:
            linear = constant = 0.0
        architecture = Polynomial(
            bias=seed % 2 == 0, square=square, linear=linear, constant=constant
        )
        X, y = drawn(seed, n=int(rng.integers(3, 8)), d=int(rng.integers(1, 3)), c=1 + seed % 2)
        loss: SampleLoss = Logistic() if seed % 5 == 1 else Squared()
        y = np.sign(y) if loss.name == "logistic" else y
        y[:2] = [[1.0], [-1.0]] if loss.name == "logistic" else y[:2]
        here = problem(architecture, X, y, loss, intercept=seed % 4 < 2)
        here = here.at(0.2 * alpha_max(here))
        found = train(here, (Reference(), FISTA())[seed % 2], tol=1e-7, max_iter=5000)
        best = in_cvxpy(architecture, X, y, here)
        assert found.certificate.upper == pytest.approx(best, rel=1e-6), seed
        assert found.certificate.lower == pytest.approx(best, rel=1e-6), seed
        # the network is the program, there and back
        blocks, program = found.solution.iterate.blocks, here.program
        assert here.objective(found.network) == pytest.approx(found.certificate.upper, rel=1e-12)
        features = architecture.features(X)
        again = architecture.unlift(found.network, here.gates, features)
        fit = program.lift.apply(blocks)
        np.testing.assert_allclose(program.lift.apply(again), fit, atol=1e-9)
        penalty = program.penalty.value(blocks)
        assert here.alpha * found.network.weight_decay() == pytest.approx(penalty, rel=1e-9)
        assert program.penalty.value(again) <= penalty * (1 + 1e-9)
        most = 2 * y.shape[1] * (features.shape[1] + 1)
        assert found.network.n_neurons <= most


@pytest.mark.parametrize("architecture", [QUADRATIC, LIKE_RELU], ids=["square", "like_relu"])
def test_twenty_descents_stay_above_the_bound(architecture: Polynomial) -> None:
    X, y = drawn(3, n=8, d=2)
    here = problem(architecture, X, y)
    here = here.at(0.1 * alpha_max(here))
    bound = train(here, Reference(), tol=1e-8).certificate
    rng, values = np.random.default_rng(0), []
    for width in np.tile([1, 2, 4, 8], 5):

        def objective(flat: np.ndarray, width: int = int(width)) -> float:
            u, a = flat[:-width].reshape(width, 2), flat[-width:]
            u = u / np.linalg.norm(u, axis=1, keepdims=True)
            misfit = activation(architecture, X @ u.T) @ a - y[:, 0]
            return float(misfit @ misfit) / 16 + here.alpha * float(np.abs(a).sum())

        values.append(minimize(objective, rng.standard_normal(3 * width)).fun)
    assert min(values) >= bound.lower
    assert min(values) == pytest.approx(bound.upper, rel=1e-3)


@pytest.mark.parametrize("architecture", [QUADRATIC, LIKE_RELU], ids=["square", "like_relu"])
def test_every_solver_agrees(architecture: Polynomial) -> None:
    X, y = drawn(6, n=6, d=2, c=2)
    here = problem(architecture, X, y, intercept=True).at(0.03)
    values = [
        solve(here.working(), solver, tol=1e-6, judge=here.judge).certificate
        for solver in (Reference(), FISTA(), Factored(), Newton(), ADMM(), WorkingSet())
    ]
    assert all(one.proves(1e-6) for one in values)
    np.testing.assert_allclose([one.upper for one in values], values[0].upper, rtol=2e-6)
    kinked = problem(architecture, X, y, Quantile(0.3), intercept=True).at(0.03)
    ends = [
        solve(kinked.working(), solver, tol=1e-5, judge=kinked.judge).certificate.upper
        for solver in (Reference(), ADMM())
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


# as estimators


X, Y = drawn(9, n=30, d=3)
LABELS = np.where(Y[:, 0] > 0, "above", "below")


@pytest.mark.parametrize("name", ["polynomial", "quadratic"])
def test_regressor(name: str, tmp_path: Any) -> None:
    model = ConvexRegressor(name, alpha=0.02, tol=1e-6).fit(X, Y[:, 0])
    claim = model.certificate_
    assert claim.proves(1e-6)
    assert claim.scope is Scope.ALL_NETWORKS
    assert claim.bound == "dual"
    assert verify(model, X, Y[:, 0])
    assert not verify(model, X, Y[:, 0] + 1)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, Y[:, 0])
    assert again.architecture_ == model.architecture_
    other = certify_network(model.network_, X, Y[:, 0], alpha=0.02)
    assert other.scope is Scope.ALL_NETWORKS
    assert other.upper == pytest.approx(claim.upper, rel=1e-12)
    assert other.lower <= claim.upper * (1 + 1e-12)
    assert other.relative_gap < 1e-2
    assert model.transform(X).shape == (30, model.network_.n_neurons)


@pytest.mark.parametrize("name", ["polynomial", "quadratic"])
def test_classifier(name: str) -> None:
    model = ConvexClassifier(name, alpha=0.005, tol=1e-5).fit(X, LABELS)
    assert model.certificate_.proves(1e-5)
    assert model.score(X, LABELS) >= 0.8
    assert verify(model, X, LABELS)
    three = np.digitize(Y[:, 0], [-0.5, 0.5])
    several = ConvexClassifier(name, alpha=0.01).fit(X, three)
    assert several.certificate_.proves(1e-4)
    assert several.certificate_.scope is Scope.ALL_NETWORKS
    np.testing.assert_allclose(several.predict_proba(X).sum(axis=1), 1.0)


def test_alpha_is_found_and_a_warm_start_is_used() -> None:
    model = ConvexRegressor("quadratic", random_state=0).fit(X, Y[:, 0])
    assert 0 < model.alpha_ < model.alpha_max_
    first = ConvexRegressor("polynomial", alpha=0.02, solver="fista", warm_start=True)
    first.fit(X, Y[:, 0])
    again = first.n_iter_
    assert first.fit(X, Y[:, 0]).n_iter_ < again
    assert first.certificate_.scope is Scope.ALL_NETWORKS


def test_narrow_data_are_certified_wide() -> None:
    model = ConvexRegressor("polynomial", alpha=0.02, solver="fista", tol=1e-3)
    model.fit(X.astype(np.float32), Y[:, 0])
    assert model.certificate_.proves(1e-3)


@pytest.mark.parametrize("name", ["polynomial", "quadratic"])
def test_torch_module_gives_the_same_outputs(name: str) -> None:
    torch = pytest.importorskip("torch")
    from cvxnn.export import to_torch

    model = ConvexRegressor(name, alpha=0.02, random_state=0).fit(X, Y[:, 0])
    module = to_torch(model.network_)
    outputs = module(torch.asarray(X))
    np.testing.assert_allclose(outputs.detach().numpy()[:, 0], model.predict(X), atol=1e-12)
    outputs.square().sum().backward()
    assert float(module.hidden.weights_in.grad.abs().sum()) > 0


# bad input


@pytest.mark.parametrize("field", ["square", "linear", "constant"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_coefficients_must_be_finite(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Polynomial(**{field: value})


def test_a_linear_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="square is 0"):
        Polynomial(square=0.0)


@pytest.mark.parametrize("gates", ["sample", "enumerate", "grow", np.ones((2, 4))])
def test_gates_are_refused(gates: Any) -> None:
    with pytest.raises(ValueError, match="have no gates"):
        ConvexRegressor("polynomial", alpha=0.1, gates=gates).fit(X, Y[:, 0])


def test_gates_are_refused_by_a_warm_start_too() -> None:
    model = ConvexRegressor("quadratic", alpha=0.1, warm_start=True).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="quadratic networks have no gates"):
        model.set_params(gates="sample").fit(X, Y[:, 0])


@pytest.mark.parametrize("gates", ["own", "enumerate", "all"])
def test_every_bound_is_over_all_networks(gates: str) -> None:
    model = ConvexRegressor("polynomial", alpha=0.05).fit(X, Y[:, 0])
    found = certify_network(model.network_, X, Y[:, 0], alpha=0.05, gates=gates)
    assert (found.scope, found.bound) == (Scope.ALL_NETWORKS, "dual")
    assert found.lower <= found.upper == pytest.approx(model.certificate_.upper, rel=1e-9)
    assert found.relative_gap < 1e-3


def test_there_are_no_linear_models_to_tell_apart() -> None:
    model = ConvexRegressor("quadratic", alpha=0.05).fit(X, Y[:, 0])
    with pytest.raises(UnsupportedError, match="quadratic networks have no neurons that half-"):
        regimes_of(model.network_, X)


def test_a_neuron_of_another_length_is_another_network() -> None:
    arrays = {"intercept": np.zeros(1), "skip": np.zeros((3, 1))}
    weights = {"weights_in": np.array([[2.0, 0.0, 0.0]]), "weights_out": np.ones((1, 1))}
    coefficients = np.array([0.09, 0.5, 0.47])
    network = PolynomialNetwork(**arrays, **weights, activation=coefficients)
    with pytest.raises(ValueError, match="neuron 0 has inward weights of length 2"):
        certify_network(network, X, Y[:, 0], alpha=0.1)
    square = PolynomialNetwork(**arrays, **weights, activation=np.array([1.0, 0.0, 0.0]))
    assert square.weight_decay() == 4.0
    found = certify_network(square, X, Y[:, 0], alpha=0.1)
    assert found.upper >= found.lower
    np.testing.assert_allclose(evaluate(square, X)[:, 0], 4 * X[:, 0] ** 2)


def test_a_large_matrix_is_not_for_the_reference() -> None:
    big = problem(QUADRATIC, np.ones((2000, 150)), np.ones(2000))
    assert "solver='admm'" in str(Reference().why_not(big.program))
    with pytest.raises(UnsupportedError):
        solve(big.program, Reference())
