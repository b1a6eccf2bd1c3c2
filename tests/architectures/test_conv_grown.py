"""Filters over all networks: growth, every pattern, Clarabel and descents on random problems."""

from functools import cache
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from tests.every import numbers
from tests.hundred import oracles
from tests.hundred.descent import constant, lowest, mean_loss, relu, sums

from cvxnn import ConvexClassifier, ConvexRegressor, ConvReLU, Scope, enumerate_patterns, verify
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.pooling import merged
from cvxnn.functions import Squared
from cvxnn.functions import mean_loss as loss_of
from cvxnn.training import open_problem_of

PROBLEMS = 50
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("conv_grown"),  # what is cached is computed once
    pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning"),  # some have no filters
    pytest.mark.filterwarnings("ignore:Solution may be inaccurate"),  # Clarabel, asked for 1e-10
]


class Tiny(NamedTuple):
    """A problem small enough for every pattern."""

    X: np.ndarray
    Y: np.ndarray
    patches: np.ndarray
    """(n, K, h), by hand, with a last one where filters have a bias."""
    share: float
    """1, or 1 / K."""
    alpha: float
    loss: str
    intercept: bool
    architecture: ConvReLU


def tiny(number: int) -> Tiny:
    """Signals and images, sums and means, both losses, ties, with bias and intercept or not."""
    rng = np.random.default_rng([11, number])
    pooling, bias = ("sum", "average")[number % 2], number % 3 == 0
    n = int(rng.integers(3, 4 if bias else 6))
    if number % 4 < 2:
        length = 4 if bias else int(rng.integers(3, 6))
        X = rng.standard_normal((n, length))
        shape: tuple[int, ...] = (1, length)
        kernel: tuple[int, ...] = (2,)
        windows = [X[:, k : k + 2] for k in range(length - 1)]
    else:
        X = rng.standard_normal((n, 6))
        shape, kernel = (1, 2, 3), (2, 1)
        windows = [X[:, [k, k + 3]] for k in range(3)]
    if number % 5 == 2:
        X[:] = np.round(2 * X)  # windows are views or made again
        windows = (
            [X[:, k : k + 2] for k in range(len(windows))]
            if len(shape) == 2
            else [X[:, [k, k + 3]] for k in range(3)]
        )
    patches = np.stack(windows, axis=1)
    if bias:
        patches = np.concatenate([patches, np.ones((*patches.shape[:2], 1))], axis=2)
    loss = "logistic" if number % 5 == 1 else "squared"
    Y = rng.standard_normal((n, 1))
    if loss == "logistic":
        Y = np.where(Y > 0, 1.0, -1.0)
        Y[0], Y[-1] = 1.0, -1.0
    share = 1 / patches.shape[1] if pooling == "average" else 1.0
    alpha = share * 10.0 ** rng.uniform(-2.5, -0.5)
    architecture = ConvReLU(shape=shape, kernel=kernel, pooling=pooling, bias=bias)
    return Tiny(X, Y, patches, share, alpha, loss, bool(number % 4 > 1), architecture)


def by_clarabel(problem: Tiny) -> float:
    """The optimum of the program with every joint pattern, written out for CVXPY."""
    n, count, h = problem.patches.shape
    rows = problem.patches.reshape(n * count, h)
    kept = rows[np.unique(rows, axis=0, return_index=True)[1]]
    kept = kept[kept.any(axis=1)]
    generators = enumerate_patterns(rows).generators
    phi, cones = [], []
    for g in generators:
        mask = (problem.patches @ g >= 0)[:, :, None]
        phi.append(problem.share * (mask * problem.patches).sum(axis=1))
        cones.append(np.where(kept @ g >= 0, 1.0, -1.0)[:, None] * kept)
    P = len(generators)
    up, down = cp.Variable((P, h)), cp.Variable((P, h))
    fit = np.concatenate(phi, axis=1) @ cp.vec(up - down, order="C")
    size = cp.sum(cp.norm(up, 2, axis=1)) + cp.sum(cp.norm(down, 2, axis=1))
    every = sparse.block_diag(cones, format="csr")
    rules = [every @ cp.vec(each, order="C") >= 0 for each in (up, down)]
    free = np.ones((n, 1)) if problem.intercept else None
    parts = cp.reshape(fit, (n, 1), order="C"), size, rules
    return oracles.trained(problem.loss, parts, problem.Y, problem.alpha, free)


@cache
def solved(number: int) -> tuple[Tiny, float, Any, Any]:
    problem = tiny(number)
    kind = ConvexClassifier if problem.loss == "logistic" else ConvexRegressor
    words: Any = {"alpha": problem.alpha, "fit_intercept": problem.intercept, "random_state": 0}
    every = kind(problem.architecture, gates="enumerate", tol=1e-9, **words)
    grown = kind(problem.architecture, gates="grow", tol=1e-7, proof_time=0.2, **words)
    data = problem.X, problem.Y[:, 0]
    return problem, by_clarabel(problem), every.fit(*data), grown.fit(*data)


@pytest.mark.parametrize("number", numbers(PROBLEMS, 10))
def test_section_A_grown_is_enumerated_is_clarabel(number: int) -> None:
    problem, optimum, every, grown = solved(number)
    size = max(optimum, 1e-3 * every.certificate_.upper)
    for model in (every, grown):
        claim = model.certificate_
        assert claim.scope is Scope.ALL_NETWORKS
        assert abs(claim.upper - optimum) <= 1e-6 * size
        assert claim.lower <= optimum + 1e-6 * size
        assert verify(model, problem.X, problem.Y[:, 0])
    assert abs(every.certificate_.lower - optimum) <= 1e-6 * size
    assert grown.certificate_.bound in ("enumeration", "closed form")
    assert abs(grown.certificate_.lower - optimum) <= 1e-5 * size
    # the network's objective, by hand
    network = grown.network_
    hidden = problem.share * relu(problem.patches @ network.weights_in.T).sum(axis=1)
    fit = hidden @ network.weights_out[:, 0] + network.intercept
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = mean_loss(problem.loss, fit[None], problem.Y)[0] + problem.alpha * squares / 2
    assert value == pytest.approx(grown.certificate_.upper, rel=1e-9)


def descended(number: int) -> np.ndarray:
    """The least objectives of twenty descents on the network itself."""
    problem = solved(number)[0]

    def objective(parameters: Any) -> Any:
        w, a = parameters["w"], parameters["a"]
        rows = constant(problem.patches.reshape(-1, problem.patches.shape[2]), w)
        values = relu(rows @ w.swapaxes(1, 2))
        by_sample = values.reshape((len(w), *problem.patches.shape[:2], -1)).sum(axis=2)
        fit = problem.share * by_sample @ a
        fit = fit + parameters["b"] if "b" in parameters else fit
        decay = (sums(w**2) + sums(a**2)) / 2
        return mean_loss(problem.loss, fit, problem.Y) + problem.alpha * decay

    shapes: dict[str, tuple[int, ...]] = {"w": (8, problem.patches.shape[2]), "a": (8, 1)}
    shapes |= {"b": (1, 1)} if problem.intercept else {}
    return lowest(objective, shapes, number)


def test_section_A5_no_descent_falls_below_the_bound() -> None:
    pytest.importorskip("torch")
    above = []
    for number in numbers(PROBLEMS, 10):
        problem, optimum, every, grown = solved(number)
        found = descended(number)
        for model in (every, grown):
            assert (found >= model.certificate_.lower - 1e-10).all(), number
        zero = mean_loss(problem.loss, np.zeros((1, *problem.Y.shape)), problem.Y)[0]
        above.append((found.min() - optimum) / zero)
    assert min(above) < 0.05  # or the bound would say little


# what growth is made of


def dense(n: int, seed: int, cells: int) -> tuple[Training, Any, np.ndarray]:
    """A training problem of n samples with four rows each, its sums, and its plain rows."""
    rng = np.random.default_rng(seed)
    rows = np.round(rng.standard_normal((4 * n, 3)))
    pool = rng.uniform(size=(cells, 4))
    sums_ = sparse.csr_array(np.kron(np.eye(n), pool))
    left, pooling = merged(rows, sums_, cells)
    loss = loss_of(Squared(), rng.standard_normal((n, 2)))
    return Training(left, loss, np.zeros((n, 0)), 0.1, pooling=pooling), sums_, rows


@pytest.mark.parametrize("cells", [1, 2])
def test_merged_rows_make_the_same_sums(cells: int) -> None:
    training, sums_, rows = dense(6, 0, cells)
    assert len(training.features) < len(rows)
    assert training.outputs == 2 * cells
    u = np.random.default_rng(1).standard_normal((5, 3))
    whole = (sums_ @ np.maximum(rows @ u.T, 0)).reshape(6, cells, 5)
    np.testing.assert_allclose(training.atoms(u), whole.swapaxes(1, 2).reshape(6, -1), atol=1e-12)


@pytest.mark.parametrize("cells", [1, 2])
def test_pulls_are_the_adjoint_of_the_mixture(cells: int) -> None:
    training, _, _ = dense(6, 0, cells)
    rng = np.random.default_rng(2)
    hidden = rng.standard_normal((len(training.features), 5))
    outputs, dual = rng.standard_normal((5, training.outputs)), rng.standard_normal((6, 2))
    forward = (training.mix(hidden, outputs) * dual).sum()
    back = ((hidden @ outputs) * training.pulls(dual)).sum()
    assert forward == pytest.approx(back, rel=1e-12)
    single = training.pulls(dual.astype(np.float32))
    assert single.dtype == np.float32


def test_cells_share_filters_where_networks_grow() -> None:
    """Two cells, all networks: no worse than filters of one cell each, and the bound is below."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((6, 4)), rng.standard_normal(6)
    architecture = ConvReLU(shape=(1, 4), kernel=1, cells=2, bias=False, pooling="sum")
    words: Any = {"alpha": 0.1, "fit_intercept": False, "random_state": 0}
    apart = ConvexRegressor(architecture, gates="enumerate", tol=1e-9, **words).fit(X, y)
    shared = ConvexRegressor(architecture, gates="grow", tol=1e-6, **words).fit(X, y)
    assert apart.certificate_.scope is Scope.SEPARATE_OUTPUTS
    assert shared.certificate_.upper <= apart.certificate_.upper * (1 + 1e-6)
    # a filter of one pixel is u or -u: rows of weights over the cells, a group lasso
    half = [np.maximum(sign * X, 0) for sign in (1, -1)]
    columns = [np.stack([x[:, :2].sum(axis=1), x[:, 2:].sum(axis=1)], axis=1) for x in half]
    weights = cp.Variable((2, 2))
    fit = columns[0] @ weights[0] + columns[1] @ weights[1]
    size = cp.norm(weights[0], 2) + cp.norm(weights[1], 2)
    optimum = oracles.optimum(cp.sum_squares(fit - y) / 12 + 0.1 * size)
    assert shared.certificate_.upper == pytest.approx(optimum, rel=1e-6)
    assert shared.certificate_.lower == pytest.approx(optimum, rel=1e-4)
    assert verify(shared, X, y)


def test_a_fold_keeps_its_own_samples() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((8, 4)), rng.standard_normal((8, 1))
    architecture = ConvReLU(shape=(1, 4), kernel=2)
    words: Any = {"intercept": True, "skip": False}
    whole = open_problem_of(architecture, X, y, np.ones(8), Squared(), **words)
    index = np.array([5, 1, 2])
    part = whole.subset(index, np.ones(3))
    alone = open_problem_of(architecture, X[index], y[index], np.ones(3), Squared(), **words)
    np.testing.assert_array_equal(part.working().features, alone.working().features)
    assert abs(part.working().pooling.sums - alone.working().pooling.sums).max() < 1e-12
    model = ConvexRegressor(architecture, gates="sample", n_gates=5, random_state=0)
    assert model.fit(X, y[:, 0]).alpha_ > 0  # "auto" goes by folds
