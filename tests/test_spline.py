"""Splines against the lasso of their columns, written out for CVXPY (section M).

Every fourth of forty random problems; with EVERY=1 in the environment all of them.
"""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.base import clone
from tests.every import numbers

from cvxnn import ConvexSpline, Exactness, Scope, verify

X5 = np.array([-2.0, -1.0, 0.3, 1.1, 2.0])
Y5 = np.array([1.0, -0.5, 0.7, 2.0, -1.0])


def columns(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    gaps = x[:, None] - knots
    return np.concatenate([np.maximum(gaps, 0), np.maximum(-gaps, 0)], axis=1)


def lasso(
    x: np.ndarray,
    y: np.ndarray,
    alpha: float,
    weights: np.ndarray,
    knots: np.ndarray,
    skip: bool = False,
) -> float:
    """Return min over a, c, s of mean (F a + c + s x - y)^2 / 2 + alpha |a|_1."""
    F = columns(x, knots)
    a, c, s = cp.Variable(F.shape[1]), cp.Variable(), cp.Variable()
    fit = F @ a + c + (s * x if skip else 0)
    loss = cp.sum(cp.multiply(weights / weights.sum(), cp.square(fit - y))) / 2
    problem = cp.Problem(cp.Minimize(loss + alpha * cp.norm1(a)))
    return float(problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10))


def test_section_M_free_bias_on_a_line() -> None:
    model = ConvexSpline(alpha=0.15 / 5).fit(X5[:, None], Y5)
    claim = model.certificate_
    assert 5 * claim.upper == pytest.approx(0.98964145, abs=1e-8)
    assert 5 * claim.lower == pytest.approx(0.98964145, abs=1e-8)
    assert (claim.scope, claim.exactness) == (Scope.ALL_NETWORKS, Exactness.EXACT)
    assert claim.bound == "closed form"
    # knots anywhere are no better: a grid of 801, the data among them
    grid = np.concatenate([np.linspace(-2, 2, 801), X5])
    assert 5 * lasso(X5, Y5, 0.15 / 5, np.ones(5), grid) == pytest.approx(0.98964145, abs=1e-6)


@pytest.mark.parametrize("seed", numbers(40, 4))
def test_it_is_the_lasso(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 14))
    x = rng.normal(size=n) * 10 ** rng.uniform(-2, 2) + rng.normal()
    if seed % 4 == 0:
        x[: n // 2] = x[-1]  # several samples at one place
    y = rng.normal(size=n) * 10 ** rng.uniform(-2, 2)
    if seed % 7 == 0:
        y = 3 * x + 1
    weights, skip = rng.uniform(0.1, 2.0, size=n), bool(seed % 2)
    unit = y.std() * np.ptp(x)
    alpha = unit * 10 ** rng.uniform(-4, -1)
    model = ConvexSpline(alpha=alpha, skip=skip, tol=1e-8).fit(x[:, None], y, weights)
    level, span = y.mean(), np.ptp(x) or 1.0
    size = y.std() or 1.0
    expected = lasso(
        (x - x.min()) / span,
        (y - level) / size,
        alpha / (size * span),
        weights,
        (np.unique(x) - x.min()) / span,
        skip,
    )
    scale = (((y - level) / size) ** 2).mean()
    assert model.certificate_.upper / size**2 == pytest.approx(expected, rel=1e-6, abs=1e-9 * scale)
    network, w = model.network_, weights / weights.sum()
    sizes = np.abs(network.weights_in[:, 0] * network.weights_out[:, 0])
    assert model.decay_ == pytest.approx(sizes.sum(), rel=1e-9, abs=1e-12 * size / span)
    objective = (w * (network(x[:, None])[:, 0] - y) ** 2).sum() / 2 + alpha * sizes.sum()
    assert model.certificate_.upper == pytest.approx(objective, rel=1e-9)
    assert verify(model, x[:, None], y, weights)
    assert np.isin(model.knots_, x).all()


@pytest.mark.parametrize("skip", [False, True])
def test_alpha_max_leaves_no_neurons(skip: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 1)), rng.normal(size=30)
    largest = ConvexSpline(skip=skip).fit(x, y).alpha_max_
    above = ConvexSpline(alpha=largest * 1.001, skip=skip).fit(x, y)
    below = ConvexSpline(alpha=largest * 0.98, skip=skip).fit(x, y)
    assert above.decay_ <= 1e-9
    assert below.decay_ > 1e-6


def test_no_network_of_descent_is_better() -> None:
    lower = ConvexSpline(alpha=0.03).fit(X5[:, None], Y5).certificate_.lower
    rng = np.random.default_rng(1)
    for _ in range(20):
        w, b, a, c = rng.normal(size=12), rng.normal(size=12), rng.normal(size=12), 0.0
        for step in range(600):
            z = np.outer(X5, w) + b
            h = np.maximum(z, 0)
            r = (h @ a + c - Y5) / 5
            g = r[:, None] * (z > 0) * a
            rate = 0.05 / (1 + step / 200)
            w, b = w - rate * (X5 @ g + 0.03 * w), b - rate * g.sum(axis=0)
            a, c = a - rate * (h.T @ r + 0.03 * a), c - rate * r.sum()
        z = np.maximum(np.outer(X5, w) + b, 0) @ a + c
        assert ((z - Y5) ** 2).mean() / 2 + 0.03 * np.abs(w * a).sum() >= lower


def test_a_thousand_samples_take_few_knots_and_a_tight_bound() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-3, 3, size=(1000, 1))
    y = np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=1000)
    model = ConvexSpline(alpha=0.01).fit(x, y)
    assert model.certificate_.relative_gap < 1e-9
    assert 3 <= len(model.knots_) <= 12
    # one knot at most has neurons to both sides, and one neuron may be at the end
    assert model.network_.n_neurons <= len(model.knots_) + 2
    assert not verify(model, x, y[::-1])
    assert not verify(model, x[::-1] + 0.0, y)
    np.testing.assert_array_equal(clone(model).fit(x, y).predict(x), model.predict(x))


@pytest.mark.parametrize("x", [[[1.0]], [[1.0], [1.0]], [[0.0], [2.0]]])
def test_one_place_and_two(x: list[list[float]]) -> None:
    y = np.arange(float(len(x)))
    model = ConvexSpline(alpha=1e-3).fit(x, y)
    assert model.certificate_.proves(1e-6)
    assert model.network_.n_neurons == (1 if len(np.unique(x)) == 2 else 0)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="X has 2 columns; a spline has one"):
        ConvexSpline().fit(np.ones((4, 2)), np.ones(4))
    with pytest.raises(ValueError, match="alpha is 0"):
        ConvexSpline(alpha=0).fit([[1.0], [2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="NaN"):
        ConvexSpline().fit([[1.0], [np.nan]], [1.0, 2.0])


@pytest.mark.parametrize("alpha", [1.0, 1e-2, 1e-3])
def test_targets_far_from_zero_are_proved_as_well(alpha: float) -> None:
    t = np.arange(468) / 12.0
    y = 340 + 1.4 * t + 3 * np.sin(2 * np.pi * t) + 0.01 * t**2
    model = ConvexSpline(alpha=alpha).fit(t[:, None], y)
    assert model.certificate_.relative_gap < 1e-8
    assert len(model.knots_) < 250
