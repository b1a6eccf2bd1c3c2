"""Batch normalisation after the ReLU: the notes' numbers, Clarabel, torch's layer, descents."""

from typing import Any

import numpy as np
import pytest
from tests.hundred import oracles

from cvxnn import BatchNormAfter, ConvexRegressor, Scope, enumerate_patterns, load, save, verify
from cvxnn.export import to_torch

Floats = np.ndarray

BOTH = [(False, False), (True, False), (True, True), (False, True)]


def fit(X: Floats, y: Floats, alpha: float, bias: bool, *units: bool, **words: Any) -> Any:
    settings = {"gates": "enumerate", "fit_intercept": False, "tol": 1e-8} | words
    return ConvexRegressor(BatchNormAfter(bias, *units), alpha=alpha, **settings).fit(X, y)


def optimum(X: Floats, y: Floats, beta: float, units: tuple[bool, bool]) -> float:
    """Section H's program over all patterns; a hundred of them: tests/hundred."""
    parts = oracles.normalised_after(X, enumerate_patterns(X).masks, units)
    return len(X) * oracles.trained("squared", parts, y[:, None], beta / len(X))


def test_section_H_after_the_relu() -> None:
    """The notes print 0.4987630; this program and its dual agree on 0.49876267 to 1e-11."""
    X = np.array([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0], [1.0, 2.0]])
    y = np.array([2.0, 0.0, 0.0, 0.0])
    model = fit(X, y, 0.3 / 4, False, True)
    assert 4 * model.certificate_.upper == pytest.approx(0.4987630, rel=1e-6)
    assert 4 * model.certificate_.lower == pytest.approx(0.49876267, rel=1e-7)
    assert 4 * model.certificate_.upper == pytest.approx(optimum(X, y, 0.3, (True, False)))
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert verify(model, X, y)


def test_twenty_descents_stay_above_the_bound() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 2))
    y, alpha = np.abs(X[:, 0]) - X[:, 1] + 0.1 * rng.standard_normal(9), 0.05
    claim = fit(X, y, alpha, False).certificate_
    given, target = torch.asarray(X), torch.asarray(y)
    torch.manual_seed(0)
    shapes = [(20, 8, 2), (20, 8, 1), (20, 8, 1), (20, 8, 1)]
    parameters = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    inner, gamma, beta, outer = parameters
    steps = torch.optim.Adam(parameters, lr=0.03)
    lowest = np.full(20, np.inf)
    for _ in range(600):
        values = torch.relu(inner @ given.T)
        centred = values - values.mean(dim=2, keepdim=True)
        normal = centred / (centred.square().mean(dim=2, keepdim=True) + 1e-20).sqrt()
        outputs = (outer * (gamma * normal + beta)).sum(dim=1)
        decay = (gamma**2 + beta**2 + outer**2).sum(dim=(1, 2))
        value = (outputs - target).square().mean(dim=1) / 2 + alpha / 2 * decay
        lowest = np.minimum(lowest, value.detach().numpy())
        steps.zero_grad()
        value.sum().backward()
        steps.step()
    assert lowest.min() >= claim.lower
    assert lowest.min() <= 1.05 * claim.upper


@pytest.mark.parametrize("units", BOTH)
def test_torch_normalises_alike_in_training_and_in_evaluation(units: tuple[bool, bool]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((20, 3)) * [1.0, 1e2, 1e-2] + 0.5, rng.standard_normal((20, 2))
    words = {"gates": "sample", "n_gates": 20, "fit_intercept": True, "random_state": 0}
    model = fit(X, Y, 0.05, True, *units, **words)
    module, ours, given = to_torch(model), model.predict(X), torch.asarray(X)
    np.testing.assert_allclose(module(given).detach().numpy(), ours, atol=1e-9)
    assert (model.network_.gammas != 0).any()
    module.train()  # now the layer takes the statistics of the batch, which are the same
    np.testing.assert_allclose(module(given).detach().numpy(), ours, atol=1e-6)


def test_more_gates_come_near_all_of_them() -> None:
    """A bound over given gates is below every network of theirs, and above that over all."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    whole = fit(X, y, 0.05, False).certificate_
    some = fit(X, y, 0.05, False, gates="sample", n_gates=6, random_state=0).certificate_
    many = fit(X, y, 0.05, False, gates="sample", n_gates=2000, random_state=0).certificate_
    assert some.scope is Scope.GIVEN_GATES
    assert some.upper >= many.upper * (1 - 1e-6) >= whole.lower * (1 - 1e-6)
    assert many.upper <= 1.01 * whole.upper


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # Clarabel, asked for 1e-10
def test_gates_that_hold_some_neurons_only_are_left_out() -> None:
    """One sample is active, and a change that keeps its output pulls others over the border."""
    around = [[1.0, 0.0, -1.0], [-1.0, 0.0, -1.0], [0.0, 1.0, -1.0], [0.0, -1.0, -1.0]]
    X, y = np.array([[0.0, 0.0, 1.0], *around]), np.array([1.0, 0.5, 0.2, -0.3, 0.0])
    gates = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    model = fit(X, y, 0.01, False, gates=gates)
    np.testing.assert_array_equal(model.generators_, gates[1:])
    assert model.certificate_.scope is Scope.GIVEN_GATES
    whole = fit(X, y, 0.01, False).certificate_
    assert 5 * whole.upper == pytest.approx(optimum(X, y, 0.05, (False, False)), rel=1e-6)


def test_odd_columns_and_files(tmp_path: Any) -> None:
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((7, 2)), rng.standard_normal(7)
    plain = fit(X, y, 0.03, True)
    wider = np.column_stack([X * [1e4, 1e-4], np.zeros(7)])
    odd = fit(wider, y, 0.03, True)
    assert odd.certificate_.upper == pytest.approx(plain.certificate_.upper, rel=1e-7)
    constant = fit(np.full((7, 2), 0.3), y, 0.01, True)
    assert not constant.network_.gammas.any()
    assert constant.certificate_.proves(1e-6)
    save(plain, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(again.predict(X), plain.predict(X))
    assert verify(again, X, y)
