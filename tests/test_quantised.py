"""Quantised networks against the program in CVXPY and against every network there is."""

import itertools
import math
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import pytest

from cvxnn import Exactness, Scope, fit_quantised
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.signs import KRIVINE, draw
from cvxnn.quantised import QuantisedFit

PLAIN = {"bias": False, "fit_intercept": False, "random_state": 0}


def drawn(seed: int, n: int = 8, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 2 * rng.standard_normal(n)


def relaxed(X: np.ndarray, y: np.ndarray, alpha: float) -> float:
    """The program in its first form: one matrix of order 2 d with a constant diagonal."""
    d = X.shape[1]
    W, rho = cp.Variable((2 * d, 2 * d), PSD=True), cp.Variable()
    fit = cp.sum(cp.multiply(X @ W[:d, d:], X), axis=1)
    loss = cp.sum_squares(fit - y) / (2 * len(y))
    return float(cp.Problem(cp.Minimize(loss + alpha * rho), [cp.diag(W) == rho]).solve("CLARABEL"))


def exact(X: np.ndarray, y: np.ndarray, alpha: float, *, logistic: bool = False) -> float:
    """The Lasso over all pairs of sign vectors."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=X.shape[1])))
    atoms = np.stack([(X @ u) * (X @ v) for u in signs for v in signs], axis=1)
    weights = cp.Variable(atoms.shape[1])
    fit = atoms @ weights
    if logistic:
        loss = cp.sum(cp.logistic(-cp.multiply(y, fit))) / len(y)
    else:
        loss = cp.sum_squares(fit - y) / (2 * len(y))
    return float(cp.Problem(cp.Minimize(loss + alpha * cp.norm1(weights))).solve("CLARABEL"))


def in_order(found: QuantisedFit, best: float) -> None:
    slack = 1e-7 * abs(best)
    assert found.certificate.lower <= best + slack
    assert best <= found.guarantee + slack
    assert found.certificate.upper >= best - slack
    assert found.certificate.scope is Scope.ALL_NETWORKS
    assert found.certificate.exactness is Exactness.RELAXATION
    assert found.proved_ratio <= KRIVINE * (1 + 1e-6)


def test_section_J5_the_constant() -> None:
    assert pytest.approx(1.782, abs=5e-4) == KRIVINE


@pytest.mark.parametrize("seed", range(10))
def test_section_J5_relaxation_exact_guarantee(seed: int) -> None:
    X, y = drawn(seed)
    found = fit_quantised(X, y, alpha=0.05, **PLAIN)
    assert found.certificate.lower == pytest.approx(relaxed(X, y, 0.05), rel=1e-6)
    best = exact(X, y, 0.05)
    in_order(found, best)
    assert found.certificate.upper == pytest.approx(best, rel=1e-4)  # all pairs are drawn at d = 3


def test_section_J5_another_loss() -> None:
    X, y = drawn(20)
    found = fit_quantised(X, np.sign(y), alpha=0.02, loss="logistic", **PLAIN)
    in_order(found, exact(X, np.sign(y), 0.02, logistic=True))
    assert set(np.unique(found.network.first)) <= {-1.0, 1.0}


def test_section_J5_arcsine_law() -> None:
    """Within 2e-3 after 400,000 draws, from a matrix with unit diagonal and no negative value."""
    X, y = drawn(1)
    found = fit_quantised(X, y, alpha=0.05, **PLAIN)
    rng = np.random.default_rng(0)
    d, rho, growth = 3, found.penalty, math.log(1 + math.sqrt(2))
    # some P with a constant diagonal and P + Z >= 0, P - Z >= 0
    P = cp.Variable((d, d), symmetric=True)
    rules = [cp.diag(P) == rho * (1 + 1e-6), P + found.form >> 0, P - found.form >> 0]
    cp.Problem(cp.Minimize(0), rules).solve("CLARABEL")
    gram, rho = P.value, rho * (1 + 1e-6)
    within, across = np.sinh(growth * gram / rho), np.sin(growth * found.form / rho)
    kernel = np.block([[within, across], [across, within]])
    np.testing.assert_allclose(np.diag(kernel), 1.0, atol=1e-6)
    assert np.linalg.eigvalsh(kernel)[0] >= -1e-6
    relaxed = SimpleNamespace(form=found.form, gram=gram, penalty=rho)
    first, second = draw(relaxed, 400_000, rng)
    mean = first.T @ second / len(first)
    np.testing.assert_allclose(mean, 2 * growth / math.pi * found.form / rho, atol=6e-3)
    assert np.abs(mean - 2 * growth / math.pi * found.form / rho).mean() <= 2e-3


def test_an_intercept_and_a_bias() -> None:
    X, y = drawn(3, n=20, d=4)
    plain = fit_quantised(X, y + 5, alpha=0.05, **PLAIN)
    found = fit_quantised(X, y + 5, alpha=0.05, random_state=0)
    assert found.certificate.lower <= plain.certificate.lower * (1 + 1e-9)
    assert found.network(X).shape == (20, 1)
    assert found.network.first.shape[1] == 5
    misfit = found.network(X)[:, 0] - y - 5
    value = misfit @ misfit / 40 + 0.05 * found.network.weight_decay()
    assert found.certificate.upper == pytest.approx(value, rel=1e-12)


def test_too_strong_a_penalty_leaves_nothing() -> None:
    X, y = drawn(4)
    found = fit_quantised(X, y, alpha=1e3, **PLAIN)
    assert found.network.n_neurons == 0
    assert found.ratio == pytest.approx(1.0, rel=1e-6)


def test_bad_input() -> None:
    X, y = drawn(5)
    with pytest.raises(ValueError, match=r"expected \(n, d\) and \(n,\)"):
        fit_quantised(X, y[:-1], alpha=0.1)
    with pytest.raises(ValueError, match="NaN"):
        fit_quantised(X * np.nan, y, alpha=0.1)
    with pytest.raises(ValueError, match="alpha is 0"):
        fit_quantised(X, y, alpha=0.0)
    with pytest.raises(ValueError, match="n_neurons is 0"):
        fit_quantised(X, y, alpha=0.1, n_neurons=0)
    with pytest.raises(UnsupportedError, match="take up to 80"):
        fit_quantised(np.ones((3, 100)), np.ones(3), alpha=0.1)
