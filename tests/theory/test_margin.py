"""Networks of least norm against CVXPY, descents and the numbers of the notes (section K).

A few of the random problems; with EVERY=1 in the environment all of them.
"""

import cvxpy as cp
import numpy as np
import pytest
from tests.every import numbers

from cvxnn import (
    GatedReLU,
    ReLU,
    ReLUNetwork,
    Scope,
    certify_margin,
    enumerate_patterns,
    interpolate,
    margin_flow,
    max_margin,
    neural_isometry,
)
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.separable import conflict

PLAIN = ReLU(bias=False)
ORTHOGONAL = np.array([[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]])
CROSSED = np.array([[1.0, 0.2], [-1.0, -0.1], [0.1, 1.0], [-0.2, -1.0]])
LABELS = np.array([1, 1, -1, -1])
EXACT = {"solver": cp.CLARABEL, "tol_gap_rel": 1e-10, "tol_gap_abs": 1e-10}


def least_norm(X: np.ndarray, y: np.ndarray) -> float:
    """Return the least norm with margin 1, from every pattern, by CVXPY."""
    fit, norm, rows = 0, 0, []
    for mask in enumerate_patterns(X).masks:
        for sign in (1, -1):
            v = cp.Variable(X.shape[1])
            fit = fit + sign * cp.multiply(mask, X @ v)
            norm = norm + cp.norm(v)
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= 0)
    return float(cp.Problem(cp.Minimize(norm), [*rows, cp.multiply(y, fit) >= 1]).solve(**EXACT))


@pytest.mark.parametrize("gates", ["enumerate", "grow"])
@pytest.mark.parametrize(("X", "norm"), [(ORTHOGONAL, 2.2004022), (CROSSED, 4.2884441)])
def test_section_K_least_norm(X: np.ndarray, norm: float, gates: str) -> None:
    found = max_margin(X, LABELS, architecture=PLAIN, gates=gates)
    claim = found.certificate
    assert claim.scope is Scope.ALL_NETWORKS
    assert claim.upper == pytest.approx(norm, abs=1e-7)
    assert claim.lower == pytest.approx(norm, abs=1e-7)
    assert claim.upper == pytest.approx(found.network.weight_decay(), rel=1e-12)
    assert (LABELS * found.decision_function(X)).min() == pytest.approx(1, abs=1e-12)
    assert found.margin * claim.upper == pytest.approx(1)


def test_section_K_orthogonally_separable_data_are_two_linear_problems() -> None:
    """R* is the sum over classes of min |w| with x_i . w >= 1."""
    total = 0.0
    for label in (1, -1):
        w = cp.Variable(2)
        problem = cp.Problem(cp.Minimize(cp.norm(w)), [ORTHOGONAL[label == LABELS] @ w >= 1])
        total += float(problem.solve(**EXACT))
    assert total == pytest.approx(2.2004022, abs=1e-7)
    found = max_margin(ORTHOGONAL, LABELS, architecture=PLAIN)
    assert found.certificate.upper == pytest.approx(total, rel=1e-7)


@pytest.mark.parametrize("seed", numbers(25, 5))
def test_it_is_the_program_of_cvxpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(3, 8)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    y = np.where(rng.uniform(size=n) < 0.5, -1.0, 1.0)
    y[:2] = 1.0, -1.0
    if d == 1:  # without a bias a line has two sides, one label each
        y = np.where(X[:, 0] * X[0, 0] > 0, 1.0, -1.0)
        y = y if len(set(y)) == 2 else np.append(y[:-1], -y[-1])
        X[:, 0] = np.abs(X[:, 0]) * y
    expected = least_norm(X, y)
    for gates in ("enumerate", "grow"):
        found = max_margin(X, y, architecture=PLAIN, gates=gates, random_state=seed)
        assert found.certificate.upper == pytest.approx(expected, rel=1e-6)
        assert found.certificate.lower == pytest.approx(expected, rel=1e-6)
        assert (found.predict(X) == y).all()
        assert found.dual.min() >= 0
        checked = certify_margin(found.network, X, y, dual=found.dual)
        assert checked.proves(1e-6)


@pytest.mark.parametrize("seed", numbers(20, 3))
def test_no_descent_goes_below_the_bound(seed: int) -> None:
    X = ORTHOGONAL if seed < 5 else CROSSED
    if seed >= 10:
        X = np.random.default_rng(seed).standard_normal((6, 2))
    y = LABELS if seed < 10 else np.array([1, 1, 1, -1, -1, -1])
    flow = margin_flow(X, y, bias=seed >= 10, width=30, steps=1500, random_state=seed)
    assert flow.norms.min() >= flow.bound.lower * (1 - 1e-12)
    assert flow.certificate.lower <= flow.bound.upper * (1 + 1e-9)
    assert flow.certificate.upper == pytest.approx(flow.norms[-1], rel=1e-9)
    if seed < 5:  # orthogonally separable: the flow tends to the best network [K]
        assert flow.norms[-1] <= 1.003 * 2.2004022
        assert flow.excess < 0.003
        # the averaged weights of the flow alone prove most of it
        own = certify_margin(flow.network, X, y, dual=flow.weights)
        assert own.lower > 0.98 * 2.2004022


def test_the_flow_with_exponential_loss() -> None:
    flow = margin_flow(ORTHOGONAL, LABELS, bias=False, loss="exponential", steps=2000)
    assert flow.norms[-1] == pytest.approx(2.2004022, rel=3e-3)
    assert flow.losses[-1] < 1e-6 * flow.losses[0]
    assert flow.weights.sum() == pytest.approx(1)


def test_a_poor_network_is_told_apart() -> None:
    X, y = ORTHOGONAL, LABELS
    network = ReLUNetwork(
        weights_in=np.array([[1.0, 1.0], [-1.0, -1.0], [3.0, -3.0]]),
        weights_out=np.array([[1.0], [-1.0], [0.1]]),
        intercept=np.zeros(1),
        skip=np.zeros((2, 1)),
    )
    claim = certify_margin(network, X, y)
    outputs = network(X)[:, 0]
    assert claim.upper == pytest.approx(network.weight_decay() / (y * outputs).min())
    assert claim.lower <= 2.2004023 < claim.upper
    with pytest.raises(UnsupportedError, match="intercept or a skip"):
        certify_margin(
            ReLUNetwork(**{**network.parameters(), "intercept": np.ones(1)}),
            X,
            y,
        )
    flipped = certify_margin(network, X, -y)
    assert flipped.upper == np.inf
    assert not flipped.proves(0.5)


def test_data_that_no_network_separates() -> None:
    ray = np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"no ReLU network .* samples 0 \(1\), 1 \(-1\)"):
        max_margin(ray, [1, -1, 1], architecture=PLAIN)
    assert max_margin(ray, [1, -1, 1]).certificate.upper < np.inf  # a bias separates them
    twice = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="no ReLU network"):
        max_margin(twice, [1, -1, 1])
    zero = np.array([[0.0, 0.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match=r"samples 0 \(1\)"):
        max_margin(zero, [1, -1], architecture=PLAIN)
    # antipodal pairs: the odd part of a network is linear
    pairs = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    X, y = np.concatenate([pairs, -pairs]), np.array([1, 1, -1, -1, -1, 1])
    with pytest.raises(ValueError, match=r"samples 0 .* 1 .* 2 .* 3 .* 4 .* 5"):
        max_margin(X, y, architecture=PLAIN)


@pytest.mark.parametrize("seed", numbers(30, 4))
def test_the_test_of_separability_is_that_of_all_patterns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, size=(6, 2)).astype(float)
    y = np.where(rng.uniform(size=6) < 0.5, -1.0, 1.0)
    fit, rows = 0, []
    for mask in enumerate_patterns(X).masks:
        for sign in (1, -1):
            v = cp.Variable(2)
            fit = fit + sign * cp.multiply(mask, X @ v)
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= 0)
    short = cp.Problem(cp.Minimize(cp.sum(cp.pos(1 - cp.multiply(y, fit)))), rows).solve(
        solver=cp.CLARABEL
    )
    witness = conflict(X, y)
    assert (witness is None) == (short < 1e-6)
    if witness is not None:
        assert conflict(X[witness], y[witness]) is not None


def test_gated_networks_have_no_more_norm_on_the_same_patterns() -> None:
    gates = enumerate_patterns(CROSSED)
    gates = gates.generators[gates.masks.any(axis=1)]
    gated = max_margin(CROSSED, LABELS, architecture=GatedReLU(bias=False), gates=gates)
    assert gated.certificate.scope is Scope.GIVEN_GATES
    assert gated.certificate.proves(1e-7)
    assert gated.certificate.upper <= 4.2884442
    with pytest.raises(ValueError, match="no network on these gates"):
        max_margin(CROSSED, LABELS, architecture=GatedReLU(bias=False), gates=[[1.0, 0.0]])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": [1, 1, 1, 1]}, "1 different labels"),
        ({"y": [1, 2, 3, 1]}, "3 different labels"),
        ({"y": [1, 2]}, "y has shape"),
        ({"X": [[np.nan, 1.0]] * 4}, "NaN"),
        ({"X": [1.0, 2.0, 3.0, 4.0]}, "X has shape"),
        ({"tol": 0}, "tol is 0"),
        ({"architecture": "threshold"}, "ReLU and gated"),
    ],
)
def test_bad_input(change: dict, match: str) -> None:
    words = {"X": ORTHOGONAL, "y": LABELS, **change}
    with pytest.raises(ValueError, match=match):
        max_margin(**words)


@pytest.mark.parametrize(
    ("change", "match"), [({"rate": 0}, "rate is 0"), ({"steps": 0}, "steps"), ({"loss": "x"}, "x")]
)
def test_bad_input_of_the_flow(change: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        margin_flow(ORTHOGONAL, LABELS, **change)


def test_labels_of_any_kind() -> None:
    names = np.array(["yes", "yes", "no", "no"])
    found = max_margin(ORTHOGONAL, names, architecture=PLAIN)
    assert (found.predict(ORTHOGONAL) == names).all()
    assert found.classes.tolist() == ["no", "yes"]


# the neural isometry


def skip_norm(X: np.ndarray, y: np.ndarray) -> float:
    w = cp.Variable(X.shape[1])
    fit, norm, rows = X @ w, cp.norm(w), []
    for mask in enumerate_patterns(X).masks:
        for sign in (1, -1):
            v = cp.Variable(X.shape[1])
            fit = fit + sign * cp.multiply(mask, X @ v)
            norm = norm + cp.norm(v)
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= 0)
    return float(cp.Problem(cp.Minimize(norm), [*rows, fit == y]).solve(**EXACT))


@pytest.mark.parametrize("seed", numbers(10, 4))
def test_interpolants_are_those_of_cvxpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    found = interpolate(X, y)
    assert found.certificate.upper == pytest.approx(skip_norm(X, y), rel=1e-6)
    assert found.certificate.lower == pytest.approx(skip_norm(X, y), rel=1e-6)
    assert found.residual < 1e-7
    total = found.network.weight_decay() + np.linalg.norm(found.network.skip)
    assert total == pytest.approx(found.certificate.upper, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_section_K_isometry_means_recovery(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((10, 2)), rng.standard_normal(2)
    test = neural_isometry(X, w)
    assert test.every
    found = interpolate(X, X @ w)
    # |w| is the norm of the linear model; neurons can only lower it where the test fails
    assert found.certificate.upper <= np.linalg.norm(w) * (1 + 1e-9)
    if test.holds:
        assert found.is_linear
        assert found.network.skip[:, 0] == pytest.approx(w, abs=1e-5)
        assert found.certificate.lower == pytest.approx(np.linalg.norm(w), rel=1e-7)


def test_section_K_recovery_at_six_rows_a_column_and_not_at_one_and_a_half() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal(10)
    for n, recovered in ((60, True), (15, False)):
        X = rng.standard_normal((n, 10))
        test = neural_isometry(X, w, gates="sample", n_gates=60, random_state=0)
        assert test.holds == recovered
        assert not test.every
        words = {"architecture": "gated", "gates": "sample", "n_gates": 60, "random_state": 0}
        found = interpolate(X, X @ w, **words)
        gap = np.linalg.norm(found.network.skip[:, 0] - w)
        assert (gap < 1e-5) == recovered


def test_bad_input_of_isometry() -> None:
    X = np.random.default_rng(0).standard_normal((8, 2))
    with pytest.raises(ValueError, match="dependent columns"):
        neural_isometry(np.ones((8, 2)), [1.0, 1.0])
    with pytest.raises(ValueError, match="weights are zero"):
        neural_isometry(X, [0.0, 0.0])
    with pytest.raises(ValueError, match="meets the data"):
        interpolate(np.array([[1.0], [2.0], [3.0]]), [1.0, 2.0, 5.0])
    with pytest.raises(ValueError, match="y has shape"):
        interpolate(X, [1.0])
