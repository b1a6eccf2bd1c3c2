"""Threshold and sign networks: closed forms, CVXPY on every pattern, torch, and descents."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gates.test_faces import realised
from tests.hundred import oracles

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    Scope,
    Threshold,
    ThresholdNetwork,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.errors import CertificateWarning
from cvxnn.solve import Status

Floats = np.ndarray


def fit(X: Floats, y: Floats, beta: float, **words: Any) -> ConvexRegressor:
    """The optimum of the sum of squares, half of it, plus beta times the sizes."""
    settings = {"gates": "enumerate", "fit_intercept": False, "tol": 1e-9} | words
    model = ConvexRegressor(Threshold(bias=False), alpha=beta / len(X), **settings)
    return model.fit(X, y)


def optimum(X: Floats, y: Floats, beta: float) -> float:
    """The Lasso over patterns that linear programs find; a hundred of them: tests/hundred."""
    parts = oracles.steps(sorted(realised(X)), sign=False)
    return len(X) * oracles.trained("squared", parts, y[:, None], beta / len(X))


# the numbers of section I


def test_section_I_borders_are_needed() -> None:
    """Cells alone give 0.1925; the pattern of the zero vector gives 0.0983333."""
    X, y = np.array([[1.0], [-1.0], [2.0]]), np.ones(3)
    model = fit(X, y, 0.1)
    assert 3 * model.certificate_.upper == pytest.approx(0.0983333, abs=5e-8)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert not model.network_.weights_in.any()
    assert verify(model, X, y)
    cells = fit(X, y, 0.1, gates=np.array([[1.0], [-1.0]]))
    assert 3 * cells.certificate_.upper == pytest.approx(0.1925, abs=1e-9)
    assert cells.certificate_.scope is Scope.GIVEN_GATES


def test_section_I_a_cross_needs_its_nine_patterns() -> None:
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    y = np.array([2.0, -1.0, 0.5, 1.0])
    whole = fit(X, y, 0.2)
    cells = fit(X, y, 0.2, gates=np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]))
    assert len(whole.generators_) == 9
    assert 4 * whole.certificate_.upper == pytest.approx(optimum(X, y, 0.2))
    assert whole.certificate_.upper < 0.9 * cells.certificate_.lower


def test_section_I_shattered_data_have_a_closed_form() -> None:
    """min |f - y|^2 / 2 + beta (max f_+ + max f_-) at f = (1.6, -0.6, 0.5, 1.5) is 1.04."""
    y = np.array([2.0, -1.0, 0.5, 1.5])
    model = fit(np.eye(4), y, 0.4)
    assert 4 * model.certificate_.upper == pytest.approx(1.04, abs=1e-8)
    np.testing.assert_allclose(model.predict(np.eye(4)), [1.6, -0.6, 0.5, 1.5], atol=1e-4)
    rows = np.random.default_rng(0).standard_normal((4, 6))  # any independent rows
    assert 4 * fit(rows, y, 0.4).certificate_.upper == pytest.approx(1.04, abs=1e-8)


def test_section_I_the_strength_that_leaves_nothing() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    largest = max(abs(np.array(mask) @ y) for mask in realised(X))
    assert 6 * fit(X, y, 0.1).alpha_max_ == pytest.approx(largest)
    with pytest.warns(CertificateWarning, match="no neurons"):
        assert fit(X, y, 1.001 * largest).network_.n_neurons == 0


def test_no_two_neurons_do_better() -> None:
    """Every pair of patterns with its best weights, by least squares on a fine grid of signs."""
    rng = np.random.default_rng(5)
    X, y, beta = rng.standard_normal((5, 2)), rng.standard_normal(5), 0.3
    lower = 5 * fit(X, y, beta).certificate_.lower
    columns = [np.array(bits, dtype=float) for bits in realised(X) if any(bits)]
    best = np.inf
    for a, b in product(columns, columns):
        D = np.column_stack([a, b])
        for signs in product([1.0, -1.0], repeat=2):
            z = np.linalg.pinv(D.T @ D) @ (D.T @ y - beta * np.array(signs))
            best = min(best, ((D @ z - y) ** 2).sum() / 2 + beta * np.abs(z).sum())
    assert best >= lower * (1 - 1e-9)
    assert best <= 1.2 * lower  # two neurons come near, or the bound would say little


# descents on the networks themselves


def descended(X: Floats, y: Floats, alpha: float, rng: np.random.Generator) -> ThresholdNetwork:
    """Gradient descent through a sigmoid that sharpens, then exact steps in the outer weights."""
    width, n = int(rng.integers(1, 12)), len(X)
    W, s = rng.standard_normal((width, X.shape[1])), rng.standard_normal(width)
    a = rng.standard_normal(width)
    for sharp in np.repeat([2.0, 5.0, 15.0, 40.0], 150):
        soft = 1 / (1 + np.exp(-np.clip(sharp * (X @ W.T), -50, 50)))
        slope = (soft @ (s * a) - y) / n
        W = W - 0.3 * (slope[:, None] * soft * (1 - soft) * sharp * s * a).T @ X
        down = soft.T @ slope
        s, a = s - 0.3 * (down * a + alpha * s), a - 0.3 * (down * s + alpha * a)
    hard = 1.0 * (X @ W.T >= 0)
    for _ in range(400):
        down = hard.T @ (hard @ (s * a) - y) / n
        s, a = s - 0.2 * (down * a + alpha * s), a - 0.2 * (down * s + alpha * a)
    return ThresholdNetwork(
        weights_in=W,
        amplitudes=s,
        weights_out=a[:, None],
        intercept=np.zeros(1),
        skip=np.zeros((X.shape[1], 1)),
    )


def test_twenty_descents_stay_above_the_bound() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((14, 2))
    y = np.sign(X[:, 0] * X[:, 1]) + 0.3 * rng.standard_normal(14)
    alpha = 0.02
    model = fit(X, y, alpha * 14)
    values = []
    for _ in range(20):
        network = descended(X, y, alpha, rng)
        decay = (network.amplitudes**2).sum() + (network.weights_out**2).sum()
        fitted = ((network(X)[:, 0] - y) ** 2).mean() / 2
        values.append(fitted + alpha / 2 * decay)
        words = {"alpha": alpha, "fit_intercept": False}
        found = certify_network(network, X, y, gates="enumerate", **words)
        assert found.upper <= values[-1] * (1 + 1e-12)  # balanced neurons cost no more
        assert found.lower <= model.certificate_.upper
        own = certify_network(network, X, y, gates="own", **words)
        assert own.lower <= own.upper
    assert min(values) >= model.certificate_.lower
    assert min(values) <= 1.5 * model.certificate_.upper


# the estimators


@pytest.mark.parametrize("name", ["threshold", "sign"])
def test_a_classifier_is_fitted_verified_saved_and_loaded(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((30, 2))
    labels = np.where(X[:, 0] * X[:, 1] > 0, "in", "out")
    model = ConvexClassifier(name, alpha=0.01, gates="enumerate").fit(X, labels)
    assert model.solution_.status is Status.OPTIMAL
    assert model.score(X, labels) > 0.9
    assert verify(model, X, labels)
    assert not verify(model, X, labels[::-1])
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    assert verify(again, X, labels)
    assert again.network_.architecture == name
    fewer = ConvexClassifier(name, alpha=0.01, gates="sample", n_gates=10, random_state=0).fit(
        X, labels
    )
    assert fewer.certificate_.scope is Scope.GIVEN_GATES
    assert fewer.certificate_.upper >= model.certificate_.lower
    assert verify(fewer, X, labels)


def test_wide_margins_change_no_training_output() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    drawn = ConvexRegressor("threshold", gates="sample", alpha=0.01, random_state=0)
    network = drawn.fit(X, y).network_
    wide = network.widened(X)
    np.testing.assert_array_equal(wide(X), network(X))
    features = np.column_stack([X, np.ones(40)])

    def margins(weights: Floats) -> Floats:
        return np.abs(features @ weights.T).min(axis=0) / np.linalg.norm(weights, axis=1)

    assert (margins(wide.weights_in) >= margins(network.weights_in)).all()
    assert margins(wide.weights_in).mean() > 2 * margins(network.weights_in).mean()


def test_single_precision_data_switch_as_in_training() -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 2)).astype(np.float32)
    y = rng.standard_normal(30)
    model = fit(X, y, 0.3)
    assert verify(model, X, y)
    np.testing.assert_allclose(model.predict(X), model.predict(X.astype(float)), rtol=1e-5)


def test_torch_has_the_same_outputs_and_decay() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((25, 2)), rng.standard_normal((25, 2))
    model = ConvexRegressor("threshold", alpha=0.02, gates="enumerate").fit(X, y)
    network = model.network_
    inner = torch.asarray(np.column_stack([X, np.ones(25)])) @ torch.asarray(network.weights_in).T
    steps = torch.heaviside(inner, torch.ones((), dtype=torch.float64))
    outputs = (steps * torch.asarray(network.amplitudes)) @ torch.asarray(network.weights_out)
    outputs = (outputs + torch.asarray(network.intercept)).numpy()
    np.testing.assert_allclose(outputs, model.predict(X), atol=1e-12)
    decay = ((network.amplitudes**2).sum() + (network.weights_out**2).sum()) / 2
    value = ((outputs - y) ** 2).sum(axis=1).mean() / 2 + 0.02 * decay
    assert model.certificate_.upper == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(network(torch.asarray(X)).numpy(), outputs, atol=1e-12)
