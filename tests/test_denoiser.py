"""Restored images against the dense program on patches, as linear filters, and residuals (O, I)."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.base import clone

from cvxnn import ConvexDenoiser, ConvexRegressor, ReLU, Scope, enumerate_patterns, verify

RNG = np.random.default_rng(0)
CLEAN = np.zeros((2, 10, 10))
CLEAN[0, :, 5:] = 1.0
CLEAN[1, 4:, :] = 1.0
NOISY = CLEAN + 0.3 * RNG.standard_normal(CLEAN.shape)
WORDS = {"alpha": 1e-3, "n_gates": 10, "random_state": 0}


def patches_by_hand(images: np.ndarray, side: int) -> np.ndarray:
    margin = side // 2
    rows = []
    for image in images:
        wide = np.pad(image, margin, mode="reflect")
        for i in range(image.shape[0]):
            rows += [wide[i : i + side, j : j + side].ravel() for j in range(image.shape[1])]
    return np.array(rows)


def test_section_O_it_is_the_dense_program_on_patches() -> None:
    """All networks, of any width, on the patches of small images: enumerated by CVXPY."""
    clean = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    noisy = clean + 0.2 * np.random.default_rng(1).standard_normal(clean.shape)
    model = ConvexDenoiser(ReLU(bias=False), patch=1, alpha=0.01, skip=False, gates="enumerate")
    model.fit(noisy, clean)
    X, y = patches_by_hand(noisy[None], 1), clean.ravel()
    fit, decay, rows, s = 0, 0, [], cp.Variable()
    for mask in enumerate_patterns(X).masks:
        for sign in (1, -1):
            v = cp.Variable(1)
            fit = fit + sign * cp.multiply(mask, X @ v)
            decay = decay + cp.norm(v)
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= 0)
    loss = cp.sum_squares(fit + s - y) / 12
    best = cp.Problem(cp.Minimize(loss + 0.01 * decay), rows).solve(solver=cp.CLARABEL)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.upper == pytest.approx(best, rel=1e-6)


def test_section_I_the_residual_is_the_skip() -> None:
    """Trained to predict clean less noisy, the network is the same but for the centre pixel."""
    words = {"alpha": 1e-3, "n_gates": 10, "random_state": 0, "skip": True, "tol": 1e-8}
    model = ConvexDenoiser(**words).fit(NOISY, CLEAN)
    residual = ConvexRegressor("gated", **words)
    residual.fit(patches_by_hand(NOISY, 3), (CLEAN - NOISY).ravel())
    assert residual.certificate_.upper == pytest.approx(model.certificate_.upper, rel=1e-8)
    np.testing.assert_allclose(
        residual.predict(patches_by_hand(NOISY, 3)) + NOISY.ravel(),
        model.predict(NOISY).ravel(),
        atol=1e-4,
    )
    centre = np.zeros(9)
    centre[4] = 1.0
    shift = model.network_.skip[:, 0] - residual.network_.skip[:, 0]
    np.testing.assert_allclose(shift, centre, atol=1e-3)


def test_patches_are_those_around_pixels() -> None:
    model = ConvexDenoiser(**WORDS).fit(NOISY, CLEAN)
    X = patches_by_hand(NOISY, 3)
    assert model.network_.skip.shape == (9, 1)
    np.testing.assert_allclose(model.predict(NOISY).ravel(), model.network_(X)[:, 0], atol=1e-12)
    one = model.predict(NOISY[0])
    assert one.shape == (10, 10)
    np.testing.assert_allclose(one, model.predict(NOISY)[0], atol=1e-12)


def test_section_O_the_network_is_a_linear_filter_for_every_pattern() -> None:
    model = ConvexDenoiser(**WORDS).fit(NOISY, CLEAN)
    found = model.filters(NOISY)
    X = patches_by_hand(NOISY, 3).reshape(-1, 3, 3)
    labels = found.labels.ravel()
    outputs = (found.filters[labels] * X).sum((1, 2)) + found.constants[labels]
    np.testing.assert_allclose(outputs, model.predict(NOISY).ravel(), atol=1e-9)
    assert len(found.filters) > 1
    assert found.counts.sum() == NOISY.size
    assert (np.diff(found.counts) <= 0).all()


def test_it_restores_and_is_verified() -> None:
    model = ConvexDenoiser(**WORDS, architecture="gated").fit(NOISY, CLEAN)
    before = -10 * np.log10(((NOISY - CLEAN) ** 2).mean())
    assert model.score(NOISY, CLEAN) > before + 3
    assert model.certificate_.proves(1e-4)
    assert verify(model, NOISY, CLEAN)
    assert not verify(model, NOISY, 1 - CLEAN)
    assert clone(model).get_params()["n_gates"] == 10


def test_fewer_patches() -> None:
    model = ConvexDenoiser(**WORDS, samples=60).fit(NOISY, CLEAN)
    assert len(model.index_) == 60
    assert verify(model, NOISY, CLEAN)
    assert not verify(model, NOISY + 1, CLEAN)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"patch": 2}, "patch is 2"),
        ({"patch": 11}, "patch is 11"),
        ({"border": "soft"}, "border is 'soft'"),
        ({"samples": 0}, "samples is 0"),
    ],
)
def test_bad_options(words: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ConvexDenoiser(**{**WORDS, **words}).fit(NOISY, CLEAN)


def test_bad_images() -> None:
    with pytest.raises(ValueError, match="pairs of one shape"):
        ConvexDenoiser(**WORDS).fit(NOISY, CLEAN[:1])
    with pytest.raises(ValueError, match="has shape"):
        ConvexDenoiser(**WORDS).fit(NOISY[0, 0], CLEAN[0, 0])
    with pytest.raises(ValueError, match="NaN"):
        ConvexDenoiser(**WORDS).fit(NOISY * np.nan, CLEAN)
