"""Robust training against CVXPY, grids of the balls and descents (section O).

A few of the random problems; with EVERY=1 in the environment all of them.
"""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator
from tests.every import numbers

from cvxnn import Exactness, ReLUNetwork, RobustClassifier, Scope, enumerate_patterns, worst_case

CORNERS = 2 * np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
LABELS = np.array([1, 1, -1, -1])


def program(X: np.ndarray, y: np.ndarray, alpha: float, radius: float, dual: object) -> float:
    """Return the optimum over stable networks on every pattern, by CVXPY."""
    masks, rows, decay = enumerate_patterns(X).masks, [], 0
    g = [0] * len(X)
    for mask in masks:
        for sign in (1, -1):
            v = cp.Variable(X.shape[1])
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= radius * cp.norm(v, dual))
            decay = decay + cp.norm(v)
            g = [part + sign * v if on else part for part, on in zip(g, mask, strict=True)]
    loss = sum(
        cp.pos(1 - s * (x @ part) + radius * cp.norm(part, dual))
        for x, s, part in zip(X, y, g, strict=True)
    )
    problem = cp.Problem(cp.Minimize(loss / len(X) + alpha * decay), rows)
    return float(problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10))


def balls(X: np.ndarray, radius: float, norm: str) -> np.ndarray:
    """Return a grid of every ball, (n, k, 2)."""
    line = np.linspace(-1, 1, 41)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    if norm == "l2":
        angles = np.linspace(0, 2 * np.pi, 400)
        edge = np.column_stack([np.cos(angles), np.sin(angles)])
        grid = np.concatenate([grid[np.linalg.norm(grid, axis=1) <= 1], edge])
    return X[:, None, :] + radius * grid


@pytest.mark.parametrize(
    ("radius", "value"), [(0.0, 0.1414214), (0.25, 0.1861511), (0.5, 0.2591534)]
)
def test_section_O_corners(radius: float, value: float) -> None:
    model = RobustClassifier(alpha=0.1 / 4, radius=radius, bias=False).fit(CORNERS, LABELS)
    claim = model.certificate_
    assert 4 * claim.upper == pytest.approx(value, abs=1e-7)
    assert 4 * claim.lower == pytest.approx(value, abs=1e-7)
    assert claim.scope is Scope.STABLE_GATES
    assert model.worst_case_.exact.all()
    assert 4 * model.all_networks_.lower == pytest.approx(0.1414214, abs=1e-7)
    exactness = Exactness.RELAXATION if radius else Exactness.EXACT
    assert model.all_networks_.exactness is exactness
    assert model.robust_score(CORNERS, LABELS) == 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", numbers(12, 4))
def test_it_is_the_program_of_cvxpy(norm: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 7))
    X, y = rng.standard_normal((n, 2)), np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    radius, alpha = 0.05 + 0.1 * rng.uniform(), 10 ** rng.uniform(-2.5, -1)
    model = RobustClassifier(alpha, radius=radius, norm=norm, bias=False, gates="enumerate")
    claim = model.fit(X, y).certificate_
    expected = program(X, y, alpha, radius, 1 if norm == "linf" else 2)
    assert claim.upper == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert claim.lower == pytest.approx(expected, rel=1e-6, abs=1e-8)
    # section O: it is the true worst case of the network, to the grid
    points = balls(X, radius, norm)
    margins = (y[:, None] * model.network_(points.reshape(-1, 2)).reshape(n, -1)).min(1)
    assert (margins >= model.worst_case_.proved - 1e-7).all()
    seen = np.maximum(0, 1 - margins).mean() + alpha * model.network_.weight_decay()
    assert seen <= claim.upper + 1e-7
    assert seen == pytest.approx(claim.upper, rel=1e-3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", numbers(10, 3))
def test_worst_cases_hold_for_any_network(norm: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = ReLUNetwork(
        weights_in=rng.standard_normal((6, 3)),
        weights_out=rng.standard_normal((6, 1)),
        intercept=rng.standard_normal(1),
        skip=rng.standard_normal((2, 1)),
    )
    X, y = rng.standard_normal((5, 2)), np.array([1, -1, 1, -1, 1])
    found = worst_case(network, X, y, radius=0.3, norm=norm)
    points = balls(X, 0.3, norm)
    least = (y[:, None] * network(points.reshape(-1, 2)).reshape(5, -1)).min(1)
    assert (found.proved <= least + 1e-12).all()
    assert (found.attained >= found.proved - 1e-12).all()
    assert (least[found.exact] >= found.attained[found.exact] - 1e-6).all()
    assert found.attained == pytest.approx(y * network(found.points)[:, 0])
    away = found.points - X
    size = np.abs(away).max(1) if norm == "linf" else np.linalg.norm(away, axis=1)
    assert (size <= 0.3 * (1 + 1e-12)).all()
    low, high = found.hinge()
    assert low <= high


@pytest.mark.parametrize("seed", numbers(20, 5))
def test_section_O_no_descent_goes_below_the_bound_over_all_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = CORNERS + 0.2 * rng.standard_normal((4, 2))
    alpha, radius = 0.025, 0.4
    model = RobustClassifier(alpha, radius=radius, bias=False).fit(X, LABELS)
    W, a = 0.5 * rng.standard_normal((8, 2)), 0.5 * rng.standard_normal(8)
    points = balls(X, radius, "linf")
    best = np.inf
    for step in range(400):
        margins = LABELS[:, None] * (np.maximum(points @ W.T, 0) @ a)
        worst = points[np.arange(4), margins.argmin(1)]
        hidden = np.maximum(worst @ W.T, 0)
        loss = np.maximum(0, 1 - margins.min(1))
        decay = (np.linalg.norm(W, axis=1) * np.abs(a)).sum()
        best = min(best, loss.mean() + alpha * decay)
        pull = -LABELS * (loss > 0) / 4
        rate = 0.1 / (1 + step / 40)
        down = (pull[:, None] * (hidden > 0) * a).T @ worst + alpha * W
        W, a = W - rate * down, a - rate * (hidden.T @ pull + alpha * a)
    assert best >= model.all_networks_.lower - 1e-9
    assert model.all_networks_.lower <= model.certificate_.lower + 1e-9


def test_a_radius_that_leaves_no_stable_neuron() -> None:
    model = RobustClassifier(0.01, radius=10.0).fit(CORNERS, LABELS)
    assert model.network_.n_neurons == 0 or model.network_.weight_decay() < 1e-6
    assert model.certificate_.upper == pytest.approx(1, abs=1e-6)
    assert model.robust_score(CORNERS, LABELS) == 0


def test_a_wider_ball_costs_more_and_sampled_gates_no_less() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2))
    y = X[:, 0] * X[:, 1] > 0
    uppers = [RobustClassifier(0.01, radius=r).fit(X, y).certificate_.upper for r in (0, 0.05, 0.1)]
    assert uppers == sorted(uppers)
    some = RobustClassifier(0.01, radius=0.1, gates="sample", n_gates=10, random_state=0)
    assert some.fit(X, y).certificate_.upper >= uppers[-1] - 1e-8
    assert some.all_networks_ is None
    assert some.predict(X).dtype == bool


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"alpha": 0}, "alpha is 0"),
        ({"radius": -1}, "radius is -1"),
        ({"norm": "l1"}, "norm is 'l1'"),
        ({"gates": "grown"}, "gates is 'grown'"),
    ],
)
def test_bad_input(words: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        RobustClassifier(**words).fit(CORNERS, LABELS)


def test_a_gap_above_tol_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="above tol"):
        RobustClassifier(0.01, radius=0.2, tol=1e-16).fit(CORNERS, LABELS)


def test_three_classes_and_labels_of_worst_cases() -> None:
    with pytest.raises(ValueError, match="3 classes"):
        RobustClassifier().fit(CORNERS, [0, 1, 2, 0])
    model = RobustClassifier().fit(CORNERS, LABELS)
    with pytest.raises(ValueError, match="-1 and 1"):
        worst_case(model.network_, CORNERS, [0, 1, 1, 0], radius=0.1)


def test_scikit_learn_takes_it() -> None:
    check_estimator(RobustClassifier(gates="sample", n_gates=4, random_state=0), on_skip=None)
