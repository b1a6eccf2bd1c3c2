"""Generators against ReLU critics: what is local, and that it is called so (section H)."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from cvxnn import ConvexGAN, load, save
from cvxnn.errors import CertificateWarning
from cvxnn.generation.critics import critic_distance
from cvxnn.generation.saddle import Saddle, saddle

RNG = np.random.default_rng(0)
LINE = RNG.standard_normal((40, 1)) + 2
PLANE = RNG.standard_normal((60, 2)) * [1, 2] + [1, -1]
LATENTS = RNG.standard_normal((200, 2))


def made(found: Saddle, Z: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(Z), 1)), Z], axis=1) @ found.weights


def strength(X: np.ndarray, share: float) -> float:
    return share * critic_distance(X, np.zeros((1, X.shape[1])), "relu").value


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_section_H_no_generator_on_a_line_is_better(share: float) -> None:
    """On a line, for these samples, the local saddle point is the best of a fine grid too."""
    Z, lam = LATENTS[:50, :1], strength(LINE, share)
    found = saddle(LINE, Z, lam)
    G = made(found, Z)
    assert found.upper == pytest.approx((G**2).mean(), rel=1e-12)
    assert critic_distance(LINE, G, "relu").value <= lam * (1 + 1e-4)
    assert found.gap >= -1e-12
    assert found.relative_gap < 1e-6
    ones = np.ones((50, 1))
    passed = [
        float(((a * ones + b * Z) ** 2).mean())
        for a in np.linspace(-3, 3, 61)
        for b in np.linspace(-2, 2, 41)
        if critic_distance(LINE, a * ones + b * Z, "relu").value <= lam
    ]
    assert len(passed) > 0
    assert min(passed) >= found.lower * (1 - 1e-9)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_section_H_neither_side_gains_near_a_saddle_point(share: float) -> None:
    lam = strength(PLANE, share)
    found = saddle(PLANE, LATENTS, lam)
    G = made(found, LATENTS)
    assert found.exact
    assert critic_distance(PLANE, G, "relu").value == pytest.approx(found.seen, rel=1e-9)
    assert found.seen <= lam * (1 + 1e-4)
    assert -1e-12 <= found.relative_gap < 1e-5
    # against this critic alone, no weights near by are better: its Lagrangian, by a search
    features = np.concatenate([np.ones((200, 1)), LATENTS], axis=1)
    real = np.maximum(PLANE @ found.directions.T, 0).mean(axis=0)

    def game(w: np.ndarray) -> float:
        G = features @ w.reshape(3, 2)
        told = real - np.maximum(G @ found.directions.T, 0).mean(axis=0)
        seen = found.amplitudes @ told - lam * np.abs(found.amplitudes).sum()
        return float((G**2).sum(axis=1).mean() + seen)

    start = found.weights.ravel()
    assert game(start) == pytest.approx(found.upper, rel=1e-4)
    for seed in range(5):
        away = start + 1e-3 * np.random.default_rng(seed).standard_normal(6)
        near = minimize(game, away, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
        if np.linalg.norm(near.x - start) < 0.05:
            assert near.fun >= found.lower * (1 - 1e-4)
    # and none that every critic lets pass
    for seed in range(200):
        rng = np.random.default_rng(seed)
        w = found.weights * (1 - 0.02 * rng.random()) + 0.01 * rng.standard_normal((3, 2))
        G = features @ w
        if critic_distance(PLANE, G, "relu").value <= lam:
            assert (G**2).sum(axis=1).mean() >= found.lower * (1 - 1e-6)


def test_a_relu_critic_is_never_called_global(tmp_path: Path) -> None:
    model = ConvexGAN("relu", random_state=0).fit(PLANE)
    assert model.certificate_ is None
    assert model.saddle_.relative_gap < 1e-4
    assert model.lam_ == pytest.approx(strength(PLANE, 0.05), rel=1e-9)
    drawn = model.sample(4000, random_state=1)
    np.testing.assert_allclose(drawn.mean(axis=0), PLANE.mean(axis=0), atol=0.3)
    assert critic_distance(PLANE, drawn, "relu").value < 3 * model.lam_
    with pytest.raises(ValueError, match="noise is what a quadratic critic leaves"):
        model.sample(2, noise=True)
    with pytest.raises(AttributeError, match="has no attribute"):
        model.score(PLANE)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.sample(3, random_state=0), model.sample(3, random_state=0))
    assert again.saddle_.gap == model.saddle_.gap
    assert again.certificate_ is None


def test_what_is_asked_too_much_or_nothing_is_told() -> None:
    with pytest.raises(ValueError, match="no linear generator of 1 latents was found"):
        saddle(PLANE, LATENTS[:, :1], strength(PLANE, 0.001), max_rounds=30)
    with pytest.raises(ValueError, match="at most 2000"):
        saddle(np.ones((3, 100)), np.ones((3, 100)), 0.1)
    with pytest.warns(CertificateWarning, match="the zero generator is optimal"):
        model = ConvexGAN("relu", lam=100.0).fit(PLANE)
    np.testing.assert_allclose(model.sample(3, random_state=0), 0, atol=1e-12)
    with pytest.raises(ValueError, match="a relu critic goes with a linear one"):
        ConvexGAN("relu", "gated").fit(PLANE)
