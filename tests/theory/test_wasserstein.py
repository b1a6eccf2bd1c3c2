"""Wasserstein directions against CVXPY, grids of neurons and closed forms (section L).

A few of the random problems; with EVERY=1 in the environment all of them.
"""

import cvxpy as cp
import numpy as np
import pytest
from tests.every import numbers

from cvxnn import (
    Exactness,
    Scope,
    enumerate_patterns,
    wasserstein_direction,
    wasserstein_flow,
)

LINE = np.array([[1.0], [2.0], [-1.0], [0.5], [-3.0]])


def normal(x: np.ndarray) -> np.ndarray:
    return -x


def widened(X: np.ndarray, bias: bool) -> np.ndarray:
    return np.column_stack([X, np.ones(len(X))]) if bias else X


def semidefinite(X: np.ndarray, score: np.ndarray, alpha: float, bias: bool) -> float:
    """Return the optimum of the program with every pair of rows as a wall, by CVXPY."""
    Z, (n, d) = widened(X, bias), X.shape
    pull, curl, trace, rows = np.zeros((n, d)), np.zeros(n), 0, []
    for mask in enumerate_patterns(Z).masks:
        A = np.where(mask, 1.0, -1.0)[:, None] * Z
        for sign in (2.0, -2.0):
            S = cp.Variable((Z.shape[1], Z.shape[1]), PSD=True)
            pull = pull + sign * cp.multiply(np.repeat(mask[:, None], d, 1), (Z @ S)[:, :d])
            curl = curl + sign * mask * cp.trace(S[:d, :d])
            trace = trace + cp.trace(S)
            rows.append(A @ S @ A.T >= 0)
    value = (cp.sum_squares(pull) / 2 + cp.sum(curl) + cp.sum(cp.multiply(score, pull))) / n
    return float(cp.Problem(cp.Minimize(value + alpha * trace), rows).solve(solver=cp.CLARABEL))


def objective(network, X: np.ndarray, score: np.ndarray, alpha: float) -> float:
    pull = network.gradient(X)
    each = (pull**2).sum(1) / 2 + network.laplacian(X) + (score * pull).sum(1)
    return float(each.mean()) + alpha * network.penalty()


def grid(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients (n, 2, k) and mean Laplacians (k,) of unit neurons, the edges among them."""
    edges = np.arctan2(X[:, 1], X[:, 0]) + np.pi / 2
    edges = np.concatenate([edges, edges + np.pi])
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 721), edges - 1e-7, edges + 1e-7])
    units = np.column_stack([np.cos(angles), np.sin(angles)])
    values = np.maximum(X @ units.T, 0)
    pulls = 2 * values[:, None, :] * units.T[None]
    slopes = 2 * (X @ units.T >= 0).mean(0)
    return pulls, slopes


@pytest.mark.parametrize(
    ("alpha", "sizes", "value"),
    [(0.0, (0.214286, 0.4), -0.7364286), (0.2, (0.166667, 0.375), -0.6208333)],
)
def test_section_L_one_feature(alpha: float, sizes: tuple[float, float], value: float) -> None:
    found = wasserstein_direction(LINE, normal, alpha=alpha, bias=False)
    assert found.network.weights_out == pytest.approx(sizes, abs=1e-6)
    assert found.certificate.upper == pytest.approx(value, abs=1e-7)
    assert found.certificate.lower == found.certificate.upper
    assert found.certificate.bound == "closed form"
    if alpha:
        assert semidefinite(LINE, -LINE, alpha, False) == pytest.approx(value, abs=1e-6)


def test_section_L_a_normal_density_has_twice_the_size_of_its_difference() -> None:
    """Samples of variance 4 and a target of variance 1: 2 S = 1 - 1/4."""
    X = np.array([[2.0], [-2.0]])
    found = wasserstein_direction(X, normal, alpha=0.0, bias=False)
    assert 2 * found.network.weights_out == pytest.approx([0.75, 0.75])


@pytest.mark.parametrize("seed", numbers(8, 4))
@pytest.mark.parametrize(("d", "bias"), [(1, True), (2, False)])
def test_it_is_the_program_of_cvxpy(d: int, bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((6, d))
    found = wasserstein_direction(X, normal, alpha=3 / 6, bias=bias)
    claim = found.certificate
    expected = semidefinite(X, -X, 3 / 6, bias)
    assert claim.exactness is Exactness.EXACT
    assert claim.scope is Scope.ALL_NETWORKS
    assert claim.upper == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert claim.upper - claim.lower <= 1e-6 * max(1.0, abs(claim.upper))
    assert claim.proves(1e-4) or abs(claim.upper) < 1e-2  # also below zero
    assert claim.lower <= claim.upper + 1e-12
    assert objective(found.network, X, -X, 3 / 6) == pytest.approx(claim.upper, abs=1e-12)


@pytest.mark.parametrize("seed", numbers(20, 5))
def test_section_L_no_network_is_below_the_bound(seed: int) -> None:
    """Neurons on a grid of directions, a lasso: between the bound and a little above it."""
    rng = np.random.default_rng(seed)
    X, n = rng.standard_normal((7, 2)), 7
    found = wasserstein_direction(X, normal, alpha=3 / n, bias=False)
    pulls, slopes = grid(X)
    a = cp.Variable(len(slopes))
    pull = [pulls[:, k, :] @ a for k in range(2)]
    value = sum(cp.sum_squares(p) / 2 - X[:, k] @ p for k, p in enumerate(pull)) / n
    best = cp.Problem(cp.Minimize(value + slopes @ a + 3 / n * cp.norm1(a))).solve(
        solver=cp.CLARABEL
    )
    assert best >= found.certificate.lower - 1e-8
    assert best == pytest.approx(found.certificate.upper, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_section_L_threshold(seed: int) -> None:
    """Below it some potential without a gradient at the samples gains more than it costs.

    That is 1 / n and a little more for the first seeds, but 1.68 / n and 2 / n for the last two.
    """
    X = np.random.default_rng(seed).standard_normal((7, 2))
    found = wasserstein_direction(X, normal, bias=False)
    assert found.alpha == pytest.approx(max(2 * found.threshold, 2 / 7))
    assert 0.95 / 7 < found.threshold < 2.001 / 7
    with pytest.raises(ValueError, match="the program is unbounded"):
        wasserstein_direction(X, normal, alpha=0.95 / 7, bias=False)
    near = wasserstein_direction(X, normal, alpha=1.02 * found.threshold, bias=False)
    assert near.certificate.upper < 3 * found.certificate.upper - 0.1  # huge near the threshold
    pulls, slopes = grid(X)
    a = cp.Variable(len(slopes))
    rows = [pulls.reshape(14, -1) @ a == 0, cp.norm1(a) <= 1]
    gain = cp.Problem(cp.Maximize(-slopes @ a), rows).solve(solver=cp.SCIPY)
    assert found.threshold == pytest.approx(gain, rel=1e-3)
    assert found.threshold >= gain * (1 - 1e-5)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_three_features_and_sampled_patterns() -> None:
    X = np.random.default_rng(0).standard_normal((7, 3))
    found = wasserstein_direction(X, normal, alpha=5 / 7, bias=False)
    assert found.certificate.lower <= found.certificate.upper + 1e-10
    assert found.certificate.upper == pytest.approx(found.certificate.lower, abs=1e-3)
    expected = semidefinite(X, -X, 5 / 7, False)
    assert found.certificate.lower == pytest.approx(expected, abs=1e-5)
    some = wasserstein_direction(X, normal, alpha=5 / 7, bias=False, gates="sample", n_gates=8)
    assert some.certificate.scope is Scope.GIVEN_GATES
    assert some.certificate.lower >= found.certificate.lower - 1e-8


def test_derivatives_of_the_potential() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 2))
    network = wasserstein_direction(X, lambda x: 3 - 2 * x, alpha=0.8, gates="sample").network
    points, step = rng.standard_normal((5, 2)), 1e-4
    shifts = step * np.eye(2)
    slopes = [(network(points + e) - network(points - e)) / (2 * step) for e in shifts]
    np.testing.assert_allclose(network.gradient(points), np.stack(slopes, 1), atol=1e-6)
    ends = [network(points + e) + network(points - e) - 2 * network(points) for e in shifts]
    np.testing.assert_allclose(network.laplacian(points), sum(ends) / step**2, atol=1e-5)


def test_samples_flow_to_a_normal_density() -> None:
    start = np.random.default_rng(0).standard_normal((25, 1))
    moved = wasserstein_flow(start, lambda x: -(x - 2) / 0.25, steps=25, rate=0.12)
    assert moved.samples.mean() == pytest.approx(2, abs=0.05)
    assert moved.samples.std() == pytest.approx(0.5, abs=0.1)
    assert moved.speeds[-1] < 0.1 * moved.speeds[0]
    assert moved.course.shape == (26, 25, 1)


def test_samples_flow_to_a_mixture() -> None:
    def score(x: np.ndarray) -> np.ndarray:
        odds = 1 / (1 + np.exp(-np.clip(2 * 1.5 * x / 0.25, -50, 50)))
        return (1.5 * (2 * odds - 1) - x) / 0.25

    start = np.linspace(-1, 1, 24)[:, None]
    moved = wasserstein_flow(start, score, steps=25, rate=0.1).samples
    for side in (moved[moved < 0], moved[moved > 0]):
        assert len(side) == 12
        assert abs(side.mean()) == pytest.approx(1.5, abs=0.1)
        assert side.std() == pytest.approx(0.5, abs=0.15)


def test_samples_flow_to_a_normal_density_in_the_plane() -> None:
    start = np.random.default_rng(0).standard_normal((30, 2))
    precision = np.linalg.inv([[1.0, 0.6], [0.6, 0.5]])
    moved = wasserstein_flow(
        start,
        lambda x: -(x - [1.0, -1.0]) @ precision,
        steps=25,
        rate=0.15,
        n_gates=15,
        random_state=0,
    ).samples
    assert moved.mean(0) == pytest.approx([1, -1], abs=0.15)
    assert np.corrcoef(moved.T)[0, 1] == pytest.approx(0.6 / 0.5**0.5, abs=0.15)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": "x"}, "alpha is 'x'"),
        ({"score": np.ones((4, 1))}, "score has shape"),
        ({"X": LINE[:, 0]}, "X has shape"),
        ({"X": np.random.default_rng(0).standard_normal((99, 9)), "n_gates": 900}, "the limit is"),
    ],
)
def test_bad_input(words: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        wasserstein_direction(**{"X": LINE, "score": normal, **words})


def test_bad_input_of_the_flow() -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        wasserstein_flow(LINE, normal, steps=0)
