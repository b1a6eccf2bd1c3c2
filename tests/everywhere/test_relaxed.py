"""The relaxed network, and the quadratics and multipliers that its certificate is made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvxnn.certificate import in_domain
from cvxnn.everywhere.cells import CELL, Guess, bound
from cvxnn.everywhere.multipliers import Form, centered, localise, positive, verified
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.patterns import pattern_gauge
from cvxnn.everywhere.quadratics import Boxes, Quadratics, Ranges, Rows, quadratics, ranges
from cvxnn.everywhere.relaxed import THOROUGH, _Problem, isotropic, minimiser, relax
from cvxnn.everywhere.search import search
from cvxnn.functions import (
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)

SMOOTH: list[SampleLoss] = [Squared(), Huber(delta=0.4), Logistic(), SquaredHinge()]
ALL: list[SampleLoss] = [*SMOOTH, Hinge(), Quantile(level=0.3)]
SEEDS = st.integers(0, 10**6)


def problem(
    seed: int, loss: SampleLoss, n: int = 12, d: int = 3, *, intercept: bool, alpha: float = 0.02
) -> Training:
    """A random problem with weights, a zero row and two parallel ones."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X[0], X[1] = 0.0, -2 * X[2]
    y = rng.standard_normal((n, 1))
    if loss.name in ("logistic", "hinge", "squared_hinge"):
        y = np.where(y > 0, 1.0, -1.0)
    columns = np.ones((n, 1)) if intercept else np.zeros((n, 0))
    return Training(X, mean_loss(loss, y, rng.uniform(0.5, 2, n)), columns, alpha)


def interior(training: Training) -> np.ndarray:
    """A dual point inside every domain and orthogonal to a column of ones: both classes balance."""
    up = training.loss.target > 0
    share = np.where(up, training.loss.weights[~up].sum(), training.loss.weights[up].sum())
    return np.where(up, 1, -1) * training.loss.weights * share * 0.3


def inside_ball(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    directions = rng.standard_normal((count, d))
    sizes = rng.uniform(size=(count, 1)) ** (1 / d)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * sizes


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: loss.name)
def test_gradient_is_the_slope(loss: SampleLoss, intercept: bool) -> None:
    task = _Problem(problem(3, loss, intercept=intercept), THOROUGH)
    task.width = 0.1 * task.lengths
    rng = np.random.default_rng(0)
    point = 0.5 * rng.standard_normal(2 * 4 * 3 + intercept)
    gradient = task.slope(point)[1]
    for direction in rng.standard_normal((10, len(point))):
        ahead = task.slope(point + 1e-6 * direction)[0]
        behind = task.slope(point - 1e-6 * direction)[0]
        assert (ahead - behind) / 2e-6 == pytest.approx(gradient @ direction, rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_minimiser_minimises(loss: SampleLoss) -> None:
    training = problem(1, loss, intercept=False)
    best = np.clip(minimiser(training.loss), -1e3, 1e3)
    least = loss.value(best, training.loss.target)
    for other in np.linspace(-3, 3, 25):
        assert (least <= loss.value(0 * best + other, training.loss.target) + 1e-9).all()


@given(seed=SEEDS)
def test_the_interval_holds_the_true_features(seed: int) -> None:
    """Any neurons are pseudo neurons: their features lie between the bounds of their moments."""
    rng = np.random.default_rng(seed)
    task = _Problem(problem(seed, Squared(), intercept=False), THOROUGH)
    weights = rng.standard_normal((4, 3)) * rng.lognormal(0, 1, (4, 1))
    task.width = 0 * task.lengths + 1e-12
    side = task.side(weights)
    sizes = np.linalg.norm(weights, axis=1, keepdims=True)
    true = (np.maximum(task.rows @ weights.T, 0) @ sizes)[:, 0]  # a neuron's size is |u|^2
    assert (side.low <= true + 1e-9).all()
    assert (true <= side.high + 1e-9).all()


@pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: loss.name)
def test_dual_point_is_orthogonal_and_nearly_feasible(loss: SampleLoss) -> None:
    training = problem(5, loss, intercept=True)
    relaxed = relax(training, np.random.default_rng(0))
    assert abs(training.columns.T @ relaxed.dual).max() < 1e-12
    inside = in_domain(training.loss, training.columns, interior(training), relaxed.dual)
    assert abs(inside - relaxed.dual).max() < 1e-3 * abs(relaxed.dual).max()
    # a relaxation: its dual point satisfies the constraints, up to the smoothing
    assert pattern_gauge(training.features, relaxed.dual, training.alpha) < 1.01


@pytest.mark.parametrize("seed", range(4))
def test_its_own_multipliers_certify_it(seed: int) -> None:
    training = problem(seed, Squared(), n=60, d=6, intercept=False, alpha=0.03)
    relaxed = relax(training, np.random.default_rng(seed))
    for moments, sign in zip(relaxed.moments, (1, -1), strict=True):
        rows = Rows(training.features, sign * relaxed.dual[:, 0], training.alpha)
        assert search(rows, moments).upper < 1.002


def test_no_target_no_dual() -> None:
    X = np.random.default_rng(0).standard_normal((6, 5))
    training = Training(X, mean_loss(Squared(), np.zeros((6, 1))), np.zeros((6, 0)), 0.1)
    assert abs(relax(training, np.random.default_rng(0)).dual).max() < 1e-3


@given(seed=SEEDS)
def test_quadratics_bound_the_relu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, count = 40, 8
    rows = Rows(rng.standard_normal((n, 3)), rng.standard_normal(n), 1.0)
    ends = np.sort(rng.uniform(-1, 1, (2, count, n)) * 10.0 ** rng.integers(-6, 1, (count, n)), 0)
    if seed % 3 == 0:
        ends = np.round(4 * ends) / 4  # ends at zero, and empty ranges
    mean = rng.standard_normal((count, n))
    second = mean**2 + rng.exponential(size=(count, n)) * 10.0 ** rng.integers(-9, 2, (count, n))
    found = quadratics(rows, Ranges(*ends), mean, second, 1e-3)
    for share in np.linspace(0, 1, 33):
        t = ends[0] + share * (ends[1] - ends[0])
        excess = found.bend * t**2 + found.slope * t + found.level - np.maximum(t, 0)
        excess *= np.where(rows.weights > 0, 1, -1)
        assert excess.min() > -2e-14


def test_quadratics_are_best_at_the_moments() -> None:
    """On the whole ball they give (m + sqrt(q)) / 2 and (m + max(|m|, q)) / 2."""
    rng = np.random.default_rng(0)
    rows = Rows(rng.standard_normal((30, 3)), rng.standard_normal(30), 1.0)
    mean = rng.uniform(-0.5, 0.5, (1, 30))
    second = rng.uniform(mean**2, 1)
    one = np.ones((1, 30))
    found: Quadratics = quadratics(rows, Ranges(-one, one), mean, second, 1e-9)
    value = found.bend * second + found.slope * mean + found.level
    high = (mean + np.sqrt(second)) / 2
    low = (mean + np.maximum(np.abs(mean), second)) / 2
    assert np.allclose(value, np.where(rows.weights > 0, high, low), atol=1e-6)


def boxes_about(rng: np.random.Generator, points: np.ndarray) -> Boxes:
    """A box about each point, with about half of the coordinates split."""
    size = rng.uniform(0, 0.5, (2, *points.shape)) * (rng.uniform(size=points.shape) < 0.5)
    split = size.any(axis=0)
    return Boxes(
        np.where(split, np.maximum(points - size[0], -1), -1.0),
        np.where(split, np.minimum(points + size[1], 1), 1.0),
    )


@given(seed=SEEDS)
def test_ranges_and_bounds_hold_inside_the_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 6))
    rows = Rows(rng.standard_normal((25, d)), rng.standard_normal(25), 0.5)
    points = inside_ball(rng, 6, d)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    boxes = boxes_about(rng, points)
    assert not boxes.empty().any()
    reach = ranges(rows, boxes)
    guess = Guess(
        np.zeros((6, d)), np.tile(np.eye(d) / d, (6, 1, 1)), np.zeros(6), np.ones(6), np.full(6, 99)
    )
    found = bound(rows, boxes, guess, CELL)
    # every sample of the ball that is in the box, and the point that the box is about
    samples = np.concatenate([inside_ball(rng, 3000, d), points])
    for k in range(6):
        inside = ((samples >= boxes.low[k] - 1e-15) & (samples <= boxes.high[k] + 1e-15)).all(1)
        assert inside.any()
        t = samples[inside] @ rows.across
        assert (reach.low[k] <= t + 1e-12).all()
        assert (t <= reach.high[k] + 1e-12).all()
        assert (np.maximum(t, 0) @ rows.weights).max() <= found.upper[k]


@given(seed=SEEDS)
def test_multipliers_bound_any_quadratic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    points = inside_ball(rng, 5, d)
    boxes = boxes_about(rng, points)
    matrix = rng.standard_normal((5, d, d))
    form = Form(matrix + matrix.transpose(0, 2, 1), rng.standard_normal((5, d)), np.zeros(5))
    local = localise(form, boxes)
    samples = inside_ball(rng, 4000, d)
    for steps in (0, 3, 30):
        found = centered(local, np.zeros(5), np.ones(5), np.full(5, 1e-6), steps)
        upper = verified(local, found)
        for k in range(5):
            inside = ((samples >= boxes.low[k]) & (samples <= boxes.high[k])).all(axis=1)
            near = np.concatenate([samples[inside], points[k : k + 1]])
            values = ((near @ form.matrix[k]) * near).sum(axis=1) + near @ form.vector[k]
            assert values.max() <= upper[k]


def test_multipliers_solve_the_ball() -> None:
    """On the whole ball there is no gap: the maximum of a quadratic, by its secular equation."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5, 4, 4))
    form = Form(matrix + matrix.transpose(0, 2, 1), rng.standard_normal((5, 4)), np.zeros(5))
    one = np.ones((5, 4))
    local = localise(form, Boxes(-one, one))
    upper = verified(local, centered(local, np.zeros(5), np.ones(5), np.full(5, 1e-9), 60))
    for k in range(5):
        u = inside_ball(rng, 200, 4)
        for _ in range(300):  # ascent with a shift that makes the form convex
            u = u + 0.2 * (2 * u @ form.matrix[k] + form.vector[k])
            u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1)
        best = (((u @ form.matrix[k]) * u).sum(axis=1) + u @ form.vector[k]).max()
        assert upper[k] == pytest.approx(best, rel=1e-6)


def test_a_matrix_that_is_not_positive_proves_nothing() -> None:
    one = np.ones((1, 2))
    local = localise(Form(np.eye(2)[None], 0 * one, np.zeros(1)), Boxes(-one, one))
    point = centered(local, np.zeros(1), np.ones(1), np.ones(1), 0)
    assert verified(local, point._replace(ball=np.array([0.5])))[0] == np.inf
    assert verified(local, point._replace(box=np.array([-1.0])))[0] == np.inf


@given(seed=SEEDS)
def test_positive_agrees_with_the_eigenvalues(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((9, 4, 4))
    matrix = matrix + matrix.transpose(0, 2, 1) + rng.uniform(0, 6) * np.eye(4)
    assert (positive(matrix) == (np.linalg.eigvalsh(matrix)[:, 0] > 0)).all()


def test_isotropic_moments_are_those_of_the_sphere() -> None:
    moments = isotropic(3)
    assert np.trace(moments.second) == pytest.approx(1)
    assert not moments.mean.any()
