"""Networks of several outputs against a conic program that is exact in the plane (section G)."""

import os
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    GatedReLU,
    ReLU,
    Scope,
    Status,
    load,
    save,
    verify,
)
from cvxnn.everywhere.columns import LABEL, column_cones
from cvxnn.everywhere.flats import affordable, reach
from cvxnn.everywhere.neurons import Neurons, Training
from cvxnn.everywhere.patterns import pattern_gauge
from cvxnn.everywhere.together import hold, polish, resized, settle
from cvxnn.functions import Squared, mean_loss

EVERY = int(os.environ.get("EVERY", "25"))
"""Of the hundred problems, which are solved here; 1: all."""
PLAIN = ReLU(bias=False)


def wedges(X: np.ndarray) -> list[np.ndarray]:
    """Both rays, (2, 2) in columns, of every cell of the plane."""
    angles = np.arctan2(X[:, 1], X[:, 0])
    ends = np.concatenate([angles + np.pi / 2, angles - np.pi / 2]) % (2 * np.pi)
    ends = np.unique(ends.round(12))
    pairs = zip(ends, np.append(ends[1:], ends[0] + 2 * np.pi), strict=True)
    return [np.array([[np.cos(a), np.cos(b)], [np.sin(a), np.sin(b)]]) for a, b in pairs]


def oracle(X: np.ndarray, loss: Any, beta: float, outputs: int) -> float:
    """min loss(F) + beta / 2 sum (|u|^2 + |g|^2) over all ReLU networks with inputs in the plane.

    On a cell of two rays R the sums of (w, g)(w, g)' over w >= 0 are the positive semidefinite
    matrices whose part in w is nonnegative: copositive and doubly nonnegative forms agree there.
    """
    fit, size, signs = 0, 0, []
    for rays in wedges(X):
        hidden = np.maximum(X @ rays, 0)
        if hidden.any():
            M = cp.Variable((2 + outputs, 2 + outputs), PSD=True)
            signs.append(M[0, 1] >= 0)
            fit = fit + hidden @ M[:2, 2:]
            size = size + cp.trace((rays.T @ rays) @ M[:2, :2]) + cp.trace(M[2:, 2:])
    problem = cp.Problem(cp.Minimize(loss(fit) + beta / 2 * size), signs)
    return float(problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10))


def squares(y: np.ndarray) -> Any:
    return lambda fit: cp.sum_squares(fit - y) / 2


def fit(X: Any, y: np.ndarray, beta: float, **words: Any) -> ConvexRegressor:
    words = {"fit_intercept": False, "random_state": 0, "tol": 1e-6} | words
    return ConvexRegressor(words.pop("architecture", PLAIN), alpha=beta / len(y), **words).fit(X, y)


def descents(X: np.ndarray, y: np.ndarray, beta: float, count: int) -> list[float]:
    """Objectives at which L-BFGS ends on both layers of random networks."""
    rng, (d, c), k = np.random.default_rng(0), (X.shape[1], y.shape[1]), 12

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        u, g = z[: d * k].reshape(d, k), z[d * k :].reshape(k, c)
        hidden = np.maximum(X @ u, 0)
        rest = hidden @ g - y
        slope = [X.T @ (rest @ g.T * (hidden > 0)), hidden.T @ rest]
        value = (rest**2).sum() / 2 + beta / 2 * (z @ z)
        return value, np.concatenate([s.ravel() for s in slope]) + beta * z

    starts = rng.standard_normal((count, k * (d + c)))
    return [minimize(objective, z, jac=True, options={"maxiter": 300}).fun for z in starts]


@pytest.mark.parametrize("number", range(0, 100, EVERY))
def test_the_optimum_in_the_plane(number: int) -> None:
    rng = np.random.default_rng([7, number])
    n, c = int(rng.integers(3, 12)), int(rng.integers(1, 5))
    X, y = rng.standard_normal((n, 2)), rng.standard_normal((n, c))
    beta = float(rng.choice([0.05, 0.3, 1.0]))
    truth, model = oracle(X, squares(y), beta, c), fit(X, y, beta)
    found, network = model.certificate_, model.network_
    assert n * found.upper == pytest.approx(truth, rel=1e-6)
    assert truth * (1 - 1e-6) <= n * found.lower <= truth * (1 + 1e-8)
    assert (found.scope, found.bound) == (Scope.ALL_NETWORKS, "enumeration")
    assert model.solution_.status is Status.OPTIMAL
    outputs = np.maximum(X @ network.weights_in.T, 0) @ network.weights_out
    decay = ((network.weights_in**2).sum() + (network.weights_out**2).sum()) / 2
    assert ((outputs - y) ** 2).sum() / 2 + beta * decay == pytest.approx(n * found.upper)
    blocks = model.solution_.iterate.blocks
    assert np.linalg.norm(blocks[:, :2], axis=1).sum() == pytest.approx(decay)
    assert np.maximum(X @ blocks[:, :2].T, 0) @ blocks[:, 2:] == pytest.approx(outputs)
    assert min(descents(X, y, beta, 20)) >= n * found.lower
    assert verify(model, X, y)


def test_softmax_in_the_plane() -> None:
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((9, 2)), np.array([0, 1, 2] * 3)
    kinds = np.eye(3)[labels]

    def loss(F: Any) -> Any:
        return cp.sum(cp.log_sum_exp(F, axis=1)) - cp.sum(cp.multiply(F, kinds))

    words = {"fit_intercept": False, "random_state": 0}
    model = ConvexClassifier(PLAIN, alpha=0.3 / 9, **words).fit(X, labels)
    truth = oracle(X, loss, 0.3, 3)
    assert 9 * model.certificate_.upper == pytest.approx(truth, rel=1e-6)
    assert truth * (1 - 1e-4) <= 9 * model.certificate_.lower <= truth * (1 + 1e-7)


@pytest.mark.parametrize(
    ("seed", "columns", "exact"),
    [(4, 2.874648, 2.707653), (5, 2.759254, 2.579727), (6, 3.369250, 3.352908)],
)
def test_section_G_columns_in_cones_are_above(seed: int, columns: float, exact: float) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    found = column_cones(X, y, alpha=0.3 / 6)
    assert 6 * found.value == pytest.approx(columns, abs=1e-6)
    assert oracle(X, squares(y), 0.3, 2) == pytest.approx(exact, abs=1e-6)
    assert 6 * fit(X, y, 0.3).certificate_.upper == pytest.approx(exact, abs=1e-6)
    assert (found.label, found.relative_gap < 1e-6) == (LABEL, True)


def test_section_G_columns_in_cones_are_below() -> None:
    y = 5 * np.array([[1, 0, 0], [0.65, 0.5775**0.5, 0], [0, 0, 0]])
    y[2, 1:] = 5 * 0.65 / 0.5775**0.5, 5 * (1 - 0.4225 / 0.5775) ** 0.5
    model = fit(np.eye(3), y, 0.3)
    assert 3 * column_cones(np.eye(3), y, alpha=0.1).value <= 3.873271 + 1e-6
    assert 3 * model.certificate_.upper == pytest.approx(3.881905, abs=1e-6)
    assert 3 * model.certificate_.lower == pytest.approx(3.881905, abs=1e-5)


def test_section_G_ordering() -> None:
    """Without cones it is a lower bound; a neuron for every output costs more than shared ones."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    free = fit(X, y, 0.3, architecture=GatedReLU(bias=False), gates="enumerate").certificate_
    joint, apart = fit(X, y, 0.3), fit(X, y, 0.3, gates="enumerate")
    assert free.upper < joint.certificate_.lower
    assert joint.certificate_.upper < apart.certificate_.lower
    assert apart.certificate_.scope is Scope.SEPARATE_OUTPUTS
    shared = np.count_nonzero(np.abs(joint.network_.weights_out) > 1e-6, axis=1)
    assert shared.max() == 2


def test_one_output_is_the_scalar_network() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    one, same = fit(X, y, 0.2).certificate_, fit(X, y[:, None], 0.2).certificate_
    assert same.upper == pytest.approx(one.upper, rel=1e-9)
    # a second output that is zero asks for nothing
    more = fit(X, np.column_stack([y, 0 * y]), 0.2).certificate_
    assert more.upper == pytest.approx(one.upper, rel=1e-6)


def test_a_file_and_torch_give_the_same(tmp_path: Any) -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal((8, 2))
    model = ConvexRegressor(alpha=0.1, random_state=0, proof_time=0.0).fit(X, y)
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert np.array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, y)
    torch = pytest.importorskip("torch")
    from cvxnn.export import to_torch

    module = to_torch(model).double()
    assert module(torch.asarray(X)).detach().numpy() == pytest.approx(model.predict(X), abs=1e-6)


# what a neuron attains


@pytest.mark.parametrize("seed", range(12))
def test_the_reach_is_attained_and_never_exceeded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank, n, c = 1 + seed % 4, int(rng.integers(1, 15)), int(rng.integers(1, 5))
    X, V = rng.standard_normal((n, rank)), rng.standard_normal((n, c))
    if seed % 4 == 0:  # rows that are parallel, opposite and zero
        X = np.concatenate([X, -2 * X[:1], X[:1], 0 * X[:1]])
        V = np.concatenate([V, V[:1], V[:1], V[:1]])
    u = rng.standard_normal((100_000, rank))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    seen = float(np.linalg.norm(np.maximum(u @ X.T, 0) @ V, axis=1).max())
    found = reach(X, V)
    assert seen <= found * (1 + 1e-12) <= seen * (1 + 2e-2)
    assert found <= pattern_gauge(X, V, 1.0) * (1 + 1e-12)


def test_where_it_is_dear_the_gauge_is_a_bound() -> None:
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((15, 5)), rng.standard_normal((15, 2))
    assert not affordable(X)
    u = rng.standard_normal((100_000, 5))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    seen = float(np.linalg.norm(np.maximum(u @ X.T, 0) @ V, axis=1).max())
    apart = np.linalg.norm([pattern_gauge(X, V[:, k : k + 1], 1.0) for k in range(2)])
    assert seen <= pattern_gauge(X, V, 1.0) <= apart * (1 + 1e-6)


# the last digits


def drawn(seed: int) -> tuple[Training, Neurons]:
    rng = np.random.default_rng(seed)
    n, d, c, k = 10, 3, 2, 8
    loss = mean_loss(Squared(), rng.standard_normal((n, c)))
    training = Training(rng.standard_normal((n, d)), loss, np.ones((n, 1)), 0.05)
    outputs = rng.standard_normal((k, c))
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    return training, Neurons(0.1 * rng.standard_normal((k, d)), outputs, np.zeros((1, c)))


@pytest.mark.parametrize("seed", range(2))
def test_the_objective_never_rises(seed: int) -> None:
    training, start = drawn(seed)
    first = settle(training, start)
    assert training.objective(first) < training.objective(start)
    then = resized(training, first)
    assert training.objective(then) <= training.objective(first)
    last = polish(training, then, np.random.default_rng(0), 1e-7)
    assert training.objective(last) <= training.objective(then) * (1 + 1e-9)
    none = Neurons(start.weights[:0], start.outputs[:0], start.free)
    assert settle(training, none) is none
    assert resized(training, none) is none


def test_held_rows_vanish_and_a_direction_is_left() -> None:
    rng = np.random.default_rng(0)
    X, u = rng.standard_normal((30, 4)), rng.standard_normal((5, 4))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for width in (0.0, 0.1, 2.0):
        held = hold(X, u, width)
        for space, rows in zip(held.spaces, held.rows.T, strict=True):
            assert np.trace(space) == pytest.approx(4 - min(rows.sum(), 3))
            assert X[rows] @ space == pytest.approx(0, abs=1e-9)
    assert not hold(X, u, 0.0).rows.any()


@pytest.mark.parametrize(("X", "y"), [(np.ones(3), np.ones((3, 1))), (np.eye(3), np.eye(2))])
def test_columns_in_cones_refuse_shapes(X: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, d\) and \(n, c\)"):
        column_cones(X, y, alpha=0.1)
    with pytest.raises(ValueError, match="alpha is -1"):
        column_cones(np.eye(2), np.eye(2), alpha=-1)
