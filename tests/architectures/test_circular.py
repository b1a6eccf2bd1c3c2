"""Circular convolutions of full length: the worked example, recovery, Clarabel, descents."""

from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.every import numbers
from tests.hundred import oracles
from tests.hundred.descent import constant, lowest, mean_loss, relu, sums

from cvxnn import (
    Circular,
    ConvexRegressor,
    Scope,
    certify_network,
    enumerate_patterns,
    load,
    save,
    verify,
)
from cvxnn.architectures.circular import factored
from cvxnn.export import to_torch
from cvxnn.functions import FourierNorm
from cvxnn.projection import pushed

X = np.array([[1.0, 2, -1], [0, -1, 2], [-2, 1, 1], [1, -1, 0.5]])
Y = np.array([1.0, -1, 2, 0.5])
EXACT = {"alpha": 0.3 / 4, "fit_intercept": False, "tol": 1e-7}
SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=20, deadline=None)


def circulant(u: np.ndarray) -> np.ndarray:
    """U with U w the circular convolution, by hand."""
    return np.stack([np.roll(u, k) for k in range(len(u))], axis=1)


def unitary(d: int) -> np.ndarray:
    places = np.outer(np.arange(d), np.arange(d))
    return np.exp(-2j * np.pi * places / d) / np.sqrt(d)


def test_section_B2_worked_example() -> None:
    model = ConvexRegressor(Circular(), gates="enumerate", **EXACT).fit(X, Y)
    claim, network = model.certificate_, model.network_
    assert claim.scope is Scope.ALL_NETWORKS
    assert len(model.generators_) == 11  # twelve with the one that is shut everywhere
    assert 4 * claim.lower == pytest.approx(0.5169499, abs=1e-7)
    assert 4 * claim.upper == pytest.approx(0.5169499, abs=1e-7)
    assert verify(model, X, Y)
    # the network and its decay by circulant matrices
    z = [circulant(u) @ w for u, w in zip(network.filters, network.weights_in, strict=True)]
    fit = np.maximum(X @ np.array(z).T, 0) @ network.weights_out[:, 0]
    np.testing.assert_allclose(np.linalg.norm(network.filters, axis=1), 1.0)
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + 0.3 / 2 * squares
    assert value == pytest.approx(0.5169499, abs=1e-7)


def test_section_B2_no_descent_is_lower() -> None:
    pytest.importorskip("torch")
    turned = np.stack([circulant(one).T for one in np.eye(3)]).reshape(9, 3)

    def objective(parameters: Any) -> Any:
        u, w, a = (parameters[name] for name in ("u", "w", "a"))
        u = u / ((u**2).sum(axis=2)[:, :, None]) ** 0.5
        pairs = (u[:, :, :, None] * w[:, :, None, :]).reshape((*u.shape[:2], 9))
        z = pairs @ constant(turned, u)
        fit = relu(constant(X, u) @ z.swapaxes(1, 2)) @ a
        decay = (sums(w**2) + sums(a**2)) / 2
        return mean_loss("squared", fit, Y[:, None]) + 0.3 / 4 * decay

    found = 4 * lowest(objective, {"u": (6, 3), "w": (6, 3), "a": (6, 1)}, 0, steps=300)
    assert 0.5169499 - 1e-7 <= found.min() <= 0.5169499 + 2e-3


@laws
@given(seed=SEEDS, d=st.integers(1, 8))
def test_section_B2_4_recovery_is_exact(seed: int, d: int) -> None:
    """U w = z with |u| = 1 and |w| = |F z|_1 / sqrt d; and no other pair is shorter."""
    rng = np.random.default_rng(seed)
    z = np.round(rng.standard_normal(d), seed % 3) + (seed % 2)
    u, w = (each[0] for each in factored(z[None]))
    np.testing.assert_allclose(circulant(u) @ w, z, atol=1e-9)
    size = np.abs(unitary(d) @ z).sum() / np.sqrt(d)
    assert np.linalg.norm(u) * np.linalg.norm(w) == pytest.approx(size, abs=1e-9)
    other = rng.standard_normal(d)
    matrix = circulant(other)
    if np.linalg.cond(matrix) < 1e6:
        length = np.linalg.norm(other) * np.linalg.norm(np.linalg.solve(matrix, z))
        assert length >= size - 1e-9
    assert FourierNorm(1.0).value(z[None, :, None]) == pytest.approx(size, abs=1e-9)


@laws
@given(seed=SEEDS, d=st.integers(1, 8))
def test_section_B2_3_prox_shrinks_coefficients(seed: int, d: int) -> None:
    z = np.random.default_rng(seed).standard_normal((2, d, 3))
    found = FourierNorm(0.7).prox(z, 0.5)
    spectrum = np.einsum("kd,pdc->pkc", unitary(d), z)
    moduli, floor = np.abs(spectrum), 0.35 / np.sqrt(d)
    shrunk = np.where(moduli > floor, 1 - floor / np.maximum(moduli, floor), 0) * spectrum
    whole = np.einsum("kd,pkc->pdc", unitary(d).conj(), shrunk)
    np.testing.assert_allclose(whole.imag, 0, atol=2e-9)
    np.testing.assert_allclose(found, whole.real, atol=1e-12)


@laws
@given(seed=SEEDS, d=st.integers(2, 6))
def test_section_B2_5_polars_under_cones_are_those_of_clarabel(seed: int, d: int) -> None:
    """min over m >= 0 of sqrt(d) |F (g + C'm)|_inf, and every point that is found bounds it."""
    rng = np.random.default_rng(seed)
    g, C = rng.standard_normal(d), rng.standard_normal((int(rng.integers(1, 7)), d))
    penalty = FourierNorm(1.3)
    point = pushed(C, g[:, None], penalty)
    m = cp.Variable(len(C), nonneg=True)
    turn = np.sqrt(d) / 1.3 * unitary(d)
    both = cp.vstack([turn.real @ (g + C.T @ m), turn.imag @ (g + C.T @ m)])
    optimum = oracles.optimum(cp.max(cp.norm(both, 2, axis=0)))
    assert float(penalty.polar(point[None])[0]) == pytest.approx(optimum, abs=1e-7)
    free = np.linalg.lstsq(C.T, point[:, 0] - g)[0]
    np.testing.assert_allclose(C.T @ free, point[:, 0] - g, atol=1e-8)


@pytest.mark.parametrize("number", numbers(20, 5))
@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_section_B2_2_random_problems_are_clarabels(number: int) -> None:
    rng = np.random.default_rng([13, number])
    n, d = int(rng.integers(3, 6)), int(rng.integers(2, 4))
    signals, target = rng.standard_normal((n, d)), rng.standard_normal((n, 1))
    alpha, free = 10.0 ** rng.uniform(-2, -0.5), np.ones((n, 1)) if number % 2 else None
    gated = number % 4 > 1
    model = ConvexRegressor(
        Circular(gated=gated),
        alpha=alpha,
        gates="enumerate",
        tol=1e-7,
        fit_intercept=free is not None,
    ).fit(signals, target[:, 0])
    fit, size, rules = 0, 0, []
    turn = unitary(d) / np.sqrt(d)
    for mask in enumerate_patterns(signals).masks:
        for sign in (1.0,) if gated else (1.0, -1.0):
            z = cp.Variable((d, 1))
            fit = fit + sign * ((mask[:, None] * signals) @ z)
            size = size + cp.sum(cp.norm(cp.hstack([turn.real @ z, turn.imag @ z]), 2, axis=1))
            rules += [] if gated else [np.where(mask[:, None], signals, -signals) @ z >= 0]
    optimum = oracles.trained("squared", (fit, size, rules), target, alpha, free)
    claim = model.certificate_
    assert claim.upper == pytest.approx(optimum, rel=2e-6, abs=1e-9)
    assert claim.lower == pytest.approx(optimum, rel=2e-6, abs=1e-9)
    assert verify(model, signals, target[:, 0])


@pytest.mark.parametrize("gated", [False, True])
def test_what_users_do(gated: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signals, target = rng.standard_normal((12, 5)), rng.standard_normal((12, 2))
    model = ConvexRegressor(
        Circular(gated=gated), alpha=0.03, gates="sample", n_gates=4, tol=1e-5, random_state=0
    ).fit(signals, target)
    assert model.certificate_.proves(1e-5)
    assert model.certificate_.scope is Scope.SEPARATE_OUTPUTS
    assert verify(model, signals, target)
    own = certify_network(model.network_, signals, target, alpha=0.03)
    assert own.upper == pytest.approx(model.certificate_.upper, rel=1e-12)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(signals), model.predict(signals))
    torch = pytest.importorskip("torch")
    found = to_torch(model)(torch.tensor(signals)).detach()
    np.testing.assert_allclose(found, model.predict(signals), atol=1e-10)
