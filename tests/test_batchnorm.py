"""Batch normalisation before the ReLU: the notes' numbers, Clarabel, torch's layer, descents."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orth

from cvxnn import (
    BatchNorm,
    BatchNormAfter,
    ConvexClassifier,
    ConvexRegressor,
    ConvexRegressorCV,
    ReLU,
    Scope,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.export import to_torch

Floats = np.ndarray

BOTH = [(False, False), (True, False), (True, True), (False, True)]


def fit(X: Floats, y: Floats, alpha: float, *units: bool, **words: Any) -> ConvexRegressor:
    settings = {"gates": "enumerate", "fit_intercept": False, "tol": 1e-8} | words
    return ConvexRegressor(BatchNorm(*units), alpha=alpha, **settings).fit(X, y)


# the numbers of section H


def test_section_H_before_the_relu() -> None:
    X = np.array([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0], [1.0, 2.0]])
    y = np.array([2.0, 0.0, 0.0, 0.0])
    model = fit(X, y, 0.3 / 4, True)
    assert 4 * model.certificate_.upper == pytest.approx(1.0288178, abs=5e-8)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert verify(model, X, y)


@pytest.mark.parametrize("seed", range(5))
def test_section_H_centred_data_of_full_rank_have_a_closed_form(seed: int) -> None:
    """[U, 1/sqrt(n)] is orthogonal, and section M's form for whitened data holds."""
    rng = np.random.default_rng(seed)
    X, y, beta = rng.standard_normal((5, 4)), rng.standard_normal(5), 0.4
    sizes = [np.linalg.norm(np.maximum(part, 0)) for part in (y, -y)]
    expected = sum(beta * s - beta**2 / 2 if s > beta else s**2 / 2 for s in sizes)
    model = fit(X, y, beta / 5, True, True)
    assert 5 * model.certificate_.upper == pytest.approx(expected, rel=1e-7)


# growth over all networks


@pytest.mark.parametrize("seed", range(12))
def test_growth_ends_at_the_optimum_of_all_patterns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, 16)), int(rng.integers(1, 3))
    X = rng.standard_normal((n, d)) * [1e-2, 1e3][:d] + 5.0
    y, alpha = rng.standard_normal(n), 10.0 ** rng.uniform(-3, -1.5)
    units, intercept = BOTH[seed % 4], seed % 2 == 0
    words = {"fit_intercept": intercept, "random_state": 0}
    every = fit(X, y, alpha, *units, **words)
    grown = fit(X, y, alpha, *units, gates="grow", **words)
    best = every.certificate_.upper
    assert grown.certificate_.scope is Scope.ALL_NETWORKS
    assert best * (1 - 1e-6) <= grown.certificate_.upper <= best * (1 + 1e-4)
    assert grown.certificate_.lower <= best * (1 + 1e-7)
    assert verify(grown, X, y)
    network = grown.network_
    values = X @ network.weights_in.T
    np.testing.assert_allclose(values.mean(axis=0), network.means, atol=1e-9)
    moving = network.gammas > 0
    np.testing.assert_allclose(values.var(axis=0)[moving], network.variances[moving], rtol=1e-8)


@pytest.mark.parametrize("shape", [(30, 4), (12, 20), (30, 1)])
def test_growth_is_growth_on_whitened_data(shape: tuple[int, int]) -> None:
    """A ReLU network without bias on [sqrt(n) U, 1] is the same problem, in any basis U."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal(shape) @ np.diag(10.0 ** rng.integers(-2, 3, shape[1]))
    y = np.abs(X[:, 0] / X[:, 0].std()) + 0.1 * rng.standard_normal(len(X))
    words = {"alpha": 0.02, "random_state": 0, "proof_time": 0.2}
    model = ConvexRegressor("batchnorm", **words).fit(X, y)
    U = orth((X - X.mean(axis=0)) / X.std(axis=0), rcond=1e-9)
    white = np.column_stack([len(X) ** 0.5 * U, np.ones(len(X))])
    plain = ConvexRegressor(ReLU(bias=False), **words).fit(white, y)
    assert model.certificate_.upper == pytest.approx(plain.certificate_.upper, rel=2e-3)
    assert model.certificate_.lower <= plain.certificate_.upper
    assert plain.certificate_.lower <= model.certificate_.upper
    np.testing.assert_allclose(
        model.score(X, y), plain.score(white, y), atol=0.02
    )  # of the function, not of the objective alone


def test_another_run_on_rotated_columns_finds_the_same() -> None:
    """Whitening takes any invertible map of the columns back."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((25, 3)), rng.standard_normal(25)
    turned = X @ rng.standard_normal((3, 3)) + 2.0
    words = {"alpha": 0.03, "random_state": 0, "proof_time": 1.0}
    one, other = (ConvexRegressor("batchnorm", **words).fit(x, y) for x in (X, turned))
    assert one.certificate_.upper == pytest.approx(other.certificate_.upper, rel=1e-3)
    assert one.certificate_.lower == pytest.approx(other.certificate_.lower, rel=1e-2)


# descents by torch's gradients


def descents(X: Floats, y: Floats, alpha: float, scale: float, shift: float) -> Floats:
    """The least weight-decayed objective that each of 20 runs of Adam meets, (20,)."""
    torch = pytest.importorskip("torch")
    given, target = torch.asarray(X), torch.asarray(y)
    torch.manual_seed(0)
    shapes = [(20, 8, X.shape[1]), (20, 8, 1), (20, 8, 1), (20, 8, 1)]
    parameters = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    inner, gamma, beta, outer = parameters
    steps = torch.optim.Adam(parameters, lr=0.03)
    lowest = np.full(20, np.inf)
    for _ in range(600):
        values = inner @ given.T
        centred = values - values.mean(dim=2, keepdim=True)
        normal = centred / centred.square().mean(dim=2, keepdim=True).sqrt()
        neurons = torch.relu(scale * gamma * normal + shift * beta)
        outputs = (outer * neurons).sum(dim=1)
        decay = (gamma**2 + beta**2 + outer**2).sum(dim=(1, 2))
        value = (outputs - target).square().mean(dim=1) / 2 + alpha / 2 * decay
        lowest = np.minimum(lowest, value.detach().numpy())
        steps.zero_grad()
        value.sum().backward()
        steps.step()
    return lowest


@pytest.mark.parametrize("unit", [False, True])
def test_twenty_descents_stay_above_the_bound(unit: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 2))
    y = np.abs(X[:, 0]) - X[:, 1] + 0.1 * rng.standard_normal(9)
    claim = fit(X, y, 0.05, unit, unit).certificate_
    factor = 9**-0.5 if unit else 1.0
    values = descents(X, y, 0.05, factor, factor)
    assert values.min() >= claim.lower
    assert values.min() <= 1.05 * claim.upper


# the layer of torch


@pytest.mark.parametrize("units", BOTH)
def test_torch_normalises_alike_in_training_and_in_evaluation(units: tuple[bool, bool]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((20, 3)) * [1.0, 1e3, 1e-3] + 5.0, rng.standard_normal((20, 2))
    model = fit(X, Y, 0.02, *units, gates="sample", fit_intercept=True, random_state=0)
    module, ours = to_torch(model), model.predict(X)
    given = torch.asarray(X)
    np.testing.assert_allclose(module(given).detach().numpy(), ours, atol=1e-9)
    assert model.network_.n_neurons > 0
    assert (model.network_.gammas > 0).all()
    module.train()  # now the layer takes the statistics of the batch, which are the same
    np.testing.assert_allclose(module(given).detach().numpy(), ours, atol=1e-6)
    assert isinstance(module.hidden[1], torch.nn.BatchNorm1d)


# odd data, files


def test_a_column_without_variance_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    wider = np.column_stack([X, np.full(8, 0.1), np.zeros(8)])
    plain, padded = fit(X, y, 0.02), fit(wider, y, 0.02)
    assert padded.certificate_.upper == pytest.approx(plain.certificate_.upper, rel=1e-7)
    assert not padded.network_.weights_in[:, 2:].any()
    np.testing.assert_allclose(padded.predict(wider), plain.predict(X), atol=1e-3)


@pytest.mark.parametrize("units", BOTH)
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormAfter])
def test_copies_of_a_sample_count_in_the_statistics(kind: Any, units: tuple[bool, bool]) -> None:
    """A sample given three times is one that weighs as much as three."""
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    counts = np.array([3.0, 1.0, 1.0, 2.0, 1.0, 1.0])
    rows = np.repeat(np.arange(6), counts.astype(int))
    architecture = kind(unit_scale=units[0], unit_shift=units[1])
    words = {"alpha": 0.01, "gates": "enumerate", "fit_intercept": False, "tol": 1e-8}
    copied = ConvexRegressor(architecture, **words).fit(X[rows], y[rows])
    weighed = ConvexRegressor(architecture, **words).fit(X, y, counts)
    np.testing.assert_array_equal(weighed.predict(X), copied.predict(X))
    assert verify(copied, X[rows], y[rows])
    assert verify(weighed, X, y, counts)
    network = copied.network_
    Z = architecture.features(X[rows])
    after = kind is BatchNormAfter
    values = np.maximum(Z @ network.weights_in.T, 0) if after else X[rows] @ network.weights_in.T
    np.testing.assert_allclose(values.mean(axis=0), network.means, atol=1e-9)
    moving = network.gammas != 0
    assert moving.any()
    np.testing.assert_allclose(values.var(axis=0)[moving], network.variances[moving], rtol=1e-7)
    root = len(rows) ** -0.5
    assert network.units.tolist() == [root if unit else 1.0 for unit in units]


def size_on(network: Any, values: Floats) -> float:
    """What weight decay counts where `values` (n, m) are what a normalising layer gives."""
    gammas, shifts = values.std(axis=0) / network.units[0], values.mean(axis=0) / network.units[1]
    return float(np.hypot(gammas, shifts) @ np.linalg.norm(network.weights_out, axis=1))


def layer(network: Any, X: Floats) -> Floats:
    """What the network's normalising layer gives, (n, m)."""
    Z = (
        np.column_stack([X, np.ones(len(X))])[:, : network.weights_in.shape[1]]
        @ network.weights_in.T
    )
    before = network.architecture == "batchnorm"
    scale = network.units[0] * network.gammas / np.sqrt(network.variances)
    return (
        (Z if before else np.maximum(Z, 0)) * scale
        + network.units[1] * network.shifts
        - (scale * network.means)
    )


@pytest.mark.parametrize("units", BOTH[:3])
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormAfter])
def test_a_network_of_other_data_is_counted_by_the_statistics_of_these(
    kind: Any, units: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(7)
    X, y, other = rng.standard_normal((6, 2)), rng.standard_normal(6), rng.standard_normal((9, 2))
    architecture = kind(unit_scale=units[0], unit_shift=units[1])
    words = {"alpha": 0.01, "gates": "enumerate", "fit_intercept": False, "tol": 1e-8}
    network = ConvexRegressor(architecture, **words).fit(5 * other, rng.standard_normal(9)).network_
    found = certify_network(network, X, y, alpha=0.01, gates="enumerate", fit_intercept=False)
    root = len(X) ** -0.5
    stated = SimpleNamespace(
        weights_out=network.weights_out, units=[root if unit else 1.0 for unit in units]
    )
    loss = ((network(X)[:, 0] - y) ** 2).mean() / 2
    assert found.upper == pytest.approx(loss + 0.01 * size_on(stated, layer(network, X)), rel=1e-9)
    best = ConvexRegressor(architecture, **words).fit(X, y).certificate_
    assert found.lower <= best.upper <= found.upper


@pytest.mark.parametrize("units", BOTH[:3])
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormAfter])
def test_the_mean_of_folds_has_the_statistics_of_all_samples(
    kind: Any, units: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(8)
    X = rng.standard_normal((20, 2))
    y = np.abs(X[:, 0])
    words = {"alphas": 3, "cv": 2, "n_gates": 20, "proof_time": 0, "random_state": 0}
    architecture = kind(unit_scale=units[0], unit_shift=units[1])
    model = ConvexRegressorCV(architecture, refit="average", **words).fit(X, y)
    network = model.network_
    assert network.n_neurons > 0
    moving = network.gammas != 0
    values = layer(network, X)[:, moving]
    np.testing.assert_allclose(values.mean(axis=0), (network.units[1] * network.shifts)[moving])
    np.testing.assert_allclose(values.std(axis=0), abs(network.units[0] * network.gammas)[moving])
    upper = ((model.predict(X) - y) ** 2).mean() / 2 + model.alpha_ * size_on(
        network, layer(network, X)
    )
    assert model.certificate_.upper == pytest.approx(upper, rel=1e-9)
    assert model.certificate_.lower <= upper


@pytest.mark.parametrize(
    ("kind", "gates"),
    [(BatchNorm, "enumerate"), (BatchNorm, "grow"), (BatchNormAfter, "enumerate")],
)
def test_statistics_that_are_not_those_of_the_data_are_not_believed(kind: Any, gates: str) -> None:
    """The same function with smaller scales and deviations: its decay would be too small."""
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    words = {"alpha": 0.02, "gates": gates, "fit_intercept": False, "random_state": 0}
    model = ConvexRegressor(kind(), **words).fit(X, y)
    assert verify(model, X, y)
    network, before = model.network_, model.predict(X)
    model.network_ = replace(
        network, gammas=0.9 * network.gammas, variances=0.81 * network.variances
    )
    np.testing.assert_allclose(model.predict(X), before)
    less = 0.02 * (network.weight_decay() - model.network_.weight_decay())
    claim = model.certificate_
    assert less > 1e-4 * claim.upper
    model.certificate_ = replace(claim, upper=claim.upper - less, lower=claim.lower - less)
    assert not verify(model, X, y)


def test_data_without_variance_leave_a_constant() -> None:
    X, y = np.full((6, 2), 0.3), np.arange(6.0)
    model = fit(X, y, 0.1)
    assert not model.network_.gammas.any()
    np.testing.assert_allclose(model.predict(X), 2.5 - 0.1, atol=1e-6)  # soft thresholded
    assert np.isfinite(model.predict(X + 1.0)).all()


def test_columns_may_have_any_scale_and_place() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    moved = X * [1e-4, 1e5] + [3.0, -2e5]
    assert fit(moved, y, 0.02).certificate_.upper == pytest.approx(
        fit(X, y, 0.02).certificate_.upper, rel=1e-7
    )


@pytest.mark.parametrize("gates", ["sample", "grow"])
def test_a_model_is_verified_certified_saved_and_loaded(gates: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    X, labels = rng.standard_normal((14, 2)), rng.integers(0, 3, 14)
    words = {"alpha": 0.02, "gates": gates, "n_gates": 30, "random_state": 0, "proof_time": 0}
    model = ConvexClassifier(BatchNorm(unit_shift=True), **words).fit(X, labels)
    scopes = {"sample": Scope.SEPARATE_OUTPUTS, "grow": Scope.ALL_NETWORKS}
    assert model.certificate_.scope is scopes[gates]
    assert verify(model, X, labels)
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    assert verify(again, X, labels)
    assert again.architecture_ == BatchNorm(unit_shift=True)
    y = rng.standard_normal(14)
    network = fit(X, y, 0.02, True).network_
    found = certify_network(network, X, y, alpha=0.02, fit_intercept=False)
    assert found.relative_gap < 1e-6
