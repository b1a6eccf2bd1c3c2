"""Threshold networks of more layers: their Lasso, what is proved of it, files and torch."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    DeepThreshold,
    DeepThresholdNetwork,
    Scope,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.errors import CertificateWarning

Floats = np.ndarray
RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = np.sign(X[:, 0] * X[:, 1] * X[:, 2]) + 0.1 * RNG.standard_normal(30)


def steps(network: DeepThresholdNetwork, data: Floats) -> Floats:
    """The network, written out with loops."""
    z = data
    for layer in (*network.layers, network.weights_in):
        wide = np.column_stack([z, np.ones(len(z))])
        z = np.array(
            [[1.0 if row @ w >= 0 else -float(network.sign) for w in layer] for row in wide]
        )
    outputs = (z * network.amplitudes) @ network.weights_out
    return outputs + data @ network.skip + network.intercept


@pytest.mark.parametrize("architecture", [DeepThreshold(), DeepThreshold(depth=4, sign=True)])
def test_the_network_is_layers_of_steps(architecture: DeepThreshold, tmp_path: Path) -> None:
    model = ConvexRegressor(architecture, alpha=0.01, tol=1e-3, skip=True).fit(X, Y)
    new = RNG.standard_normal((50, 3))
    np.testing.assert_allclose(model.predict(new), steps(model.network_, new)[:, 0], atol=1e-12)
    value = ((steps(model.network_, X)[:, 0] - Y) ** 2).mean() / 2
    value += 0.01 * model.network_.weight_decay()
    assert model.certificate_.upper == pytest.approx(value, rel=1e-10)
    assert verify(model, X, Y)
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert again.architecture_ == architecture
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    assert verify(again, X, Y)


def test_section_I_wide_layers_reach_every_column_and_the_closed_form() -> None:
    """min |f - y|^2 / 2 + beta (max f_+ + max f_-) at f = (1.6, -0.6, 0.5, 1.5) is 1.04."""
    line, y = np.arange(4.0)[:, None] - 1.5, np.array([2.0, -1.0, 0.5, 1.5])
    words: dict[str, Any] = {"alpha": 0.1, "fit_intercept": False, "tol": 1e-9}
    deep = ConvexRegressor(DeepThreshold(), **words).fit(line, y)
    assert 4 * deep.certificate_.upper == pytest.approx(1.04, abs=1e-7)
    assert deep.certificate_.scope is Scope.ALL_NETWORKS
    assert verify(deep, line, y)
    two = ConvexRegressor("threshold", **words).fit(line, y)  # a line has half-lines alone
    assert two.certificate_.lower > deep.certificate_.upper


def test_nothing_of_any_depth_is_below_the_bound() -> None:
    """Every 0/1 column is there: the Lasso on all 2^n of them, by proximal steps."""
    rng = np.random.default_rng(1)
    data, y, alpha = rng.standard_normal((7, 2)), rng.standard_normal(7), 0.03
    words: dict[str, Any] = {"alpha": alpha, "fit_intercept": False, "tol": 1e-8}
    deep = ConvexRegressor(DeepThreshold(), **words).fit(data, y)
    assert deep.certificate_.scope is Scope.ALL_NETWORKS
    columns = np.array(list(product([0.0, 1.0], repeat=7))).T
    z, step = np.zeros(columns.shape[1]), 7 / np.linalg.norm(columns, 2) ** 2
    ahead, t = z, 1.0
    for _ in range(20_000):
        moved = ahead - step * columns.T @ (columns @ ahead - y) / 7
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * alpha, 0)
        t, before = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
        ahead, z = new + (before - 1) / t * (new - z), new
    value = ((columns @ z - y) ** 2).mean() / 2 + alpha * np.abs(z).sum()
    assert deep.certificate_.upper == pytest.approx(value, rel=1e-5)
    assert deep.certificate_.lower <= value * (1 + 1e-9)


def test_narrow_layers_claim_the_given_gates_alone() -> None:
    for gates in ("auto", "enumerate"):
        model = ConvexRegressor(DeepThreshold(hidden=3), alpha=0.02, gates=gates).fit(X, Y)
        assert model.certificate_.scope is Scope.GIVEN_GATES
        assert verify(model, X, Y)


def test_a_network_from_elsewhere_is_certified_on_its_own_layers() -> None:
    network = DeepThresholdNetwork(
        layers=(RNG.standard_normal((6, 4)),),
        weights_in=RNG.standard_normal((5, 7)),
        amplitudes=RNG.standard_normal(5),
        weights_out=RNG.standard_normal((5, 1)),
        intercept=np.zeros(1),
        skip=np.zeros((3, 1)),
    )
    found = certify_network(network, X, Y, alpha=0.02)
    value = ((steps(network, X)[:, 0] - Y) ** 2).mean() / 2 + 0.02 * network.weight_decay()
    assert found.lower <= found.upper == pytest.approx(value)
    assert found.scope is Scope.GIVEN_GATES


def test_classes_are_learnt_and_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    from cvxnn.export import to_torch

    labels = np.digitize(Y, [-0.5, 0.95])
    for name in ("deep_threshold", "deep_sign"):
        model = ConvexClassifier(name, alpha=0.02, tol=3e-2, random_state=0).fit(X, labels)
        assert model.score(X, labels) > 0.95  # 17 of 30 are in the largest class
        with pytest.warns(CertificateWarning, match="no neurons"):
            none = ConvexClassifier(name, alpha=1.01 * model.alpha_max_, tol=3e-2).fit(X, labels)
        assert none.score(X, labels) == np.bincount(labels).max() / len(labels)
        outputs = to_torch(model)(torch.tensor(X)).detach().numpy()
        np.testing.assert_allclose(outputs, model.decision_function(X), atol=1e-12)


def test_leading_directions_are_lifted() -> None:
    model = ConvexRegressor(DeepThreshold(hidden=8), alpha=0.02, rank=2, tol=1e-2).fit(X, Y)
    assert model.network_.layers[0].shape == (8, 4)
    assert verify(model, X, Y)
    assert verify(
        ConvexRegressor(DeepThreshold(hidden=8), alpha=0.02, rank=2, gates=model.generators_).fit(
            X, Y
        ),
        X,
        Y,
    )


@pytest.mark.parametrize("words", [{"depth": 2}, {"hidden": 0}, {"depth": 3.5}])
def test_layers_that_are_none_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected an integer of at least"):
        DeepThreshold(**words)
