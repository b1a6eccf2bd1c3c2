"""Generators with solved critics against semidefinite programs, PCA and search (section H)."""

from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import check_estimator

from cvxnn import ConvexGAN, GatedRidge, load, save
from cvxnn.errors import CertificateWarning, MemoryBudgetError
from cvxnn.export import to_torch
from cvxnn.generation.critics import critic_distance, least_mean, least_weights, moments_of
from cvxnn.generation.latents import way_between

NOTE = np.random.default_rng(4)
X = NOTE.standard_normal((6, 3))
Z = NOTE.standard_normal((8, 4))
LAM = 1.5 / 6
"""Of means; the notes have 1.5 of sums."""
ROWS = np.random.default_rng(0).standard_normal((400, 5)) @ np.diag([3.0, 2.0, 1.5, 1.0, 0.3])
NONLINEAR = ["polynomial", "gated_ridge", "gated"]


def quick(generator: Any, **words: Any) -> ConvexGAN:
    settings = {"n_components": 3, "n_gates": 4, "n_pairs": 200, "random_state": 0}
    return ConvexGAN(generator=generator, **settings | words)


def test_section_H_first_stage_is_the_semidefinite_program() -> None:
    moments = moments_of(X, center=False)
    closed = 6 * moments.excess(LAM).sum()
    M = cp.Variable((3, 3), PSD=True)
    problem = cp.Problem(cp.Minimize(cp.trace(M)), [cp.sigma_max(X.T @ X - M) <= 1.5])
    assert closed == pytest.approx(20.0715412, abs=1e-7)
    assert closed == pytest.approx(problem.solve(solver=cp.CLARABEL), rel=1e-6)


@pytest.mark.parametrize("generator", ["linear", *NONLINEAR])
@pytest.mark.parametrize("lam", [0.5, 2.0])
def test_every_generator_attains_the_bound_and_the_spectrum_condition(
    generator: Any, lam: float
) -> None:
    """Recomputed here from generated samples: |C - cov G|_2 = lam where lam < sigma_1^2."""
    model = quick(generator, n_components=None, lam=lam).fit(ROWS)
    apart, claim = ROWS - ROWS.mean(axis=0), model.certificate_
    C = apart.T @ apart / len(ROWS)
    M = cp.Variable((5, 5), PSD=True)
    problem = cp.Problem(cp.Minimize(cp.trace(M)), [cp.sigma_max(C - M) <= lam])
    best = problem.solve(solver=cp.CLARABEL)
    assert claim.upper == pytest.approx(best, rel=1e-5)
    assert claim.proves(1e-9)
    assert claim.violation < 1e-9
    if generator == "linear":
        W = model.generator_.weights @ model.generator_.components
        assert np.linalg.norm(C - W.T @ W, 2) == pytest.approx(lam, rel=1e-9)
    else:  # others than the 4000 on which it is exact, whose spread is a few percent
        made = model.sample(40_000, random_state=1) - ROWS.mean(axis=0)
        values, V = np.linalg.eigh(C)
        least = (V * np.maximum(values - lam, 0)) @ V.T
        assert np.linalg.norm(made.T @ made / len(made) - least, 2) < 0.08 * values[-1]


def test_a_bound_is_below_every_generator_that_the_critic_lets_pass() -> None:
    rng = np.random.default_rng(1)
    apart = X - X.mean(axis=0)
    C, claim = apart.T @ apart / 6, ConvexGAN(lam=LAM).fit(X).certificate_
    for _ in range(200):
        U = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        M = C + LAM * (U * rng.uniform(-1, 1, 3)) @ U.T
        if np.linalg.eigvalsh(M)[0] >= 0:
            assert np.trace(M) >= claim.lower


def test_section_H_linear_generator_of_given_latents_is_jointly_optimal() -> None:
    moments = moments_of(X, center=False)
    W = least_weights(Z, moments, LAM)
    assert (W**2).sum() * 6 / 8 == pytest.approx(1.7361233, abs=1e-7)
    assert critic_distance(X, Z @ W).value == pytest.approx(LAM, rel=1e-9)
    C, D = X.T @ X / 6, Z.T @ Z / 8
    limits = {"type": "ineq", "fun": lambda w: LAM - np.linalg.eigvalsh(gap(w, C, D))}
    both = [limits, {"type": "ineq", "fun": lambda w: LAM + np.linalg.eigvalsh(gap(w, C, D))}]
    rng, found = np.random.default_rng(0), []
    for start in range(4):
        w = (W + 0.3 * start * rng.standard_normal(W.shape)).ravel()
        done = minimize(lambda v: v @ v, w, method="SLSQP", constraints=both)
        if np.abs(np.linalg.eigvalsh(gap(done.x, C, D))).max() <= LAM * (1 + 1e-4):
            found.append(done.fun)
    assert len(found) > 0
    assert min(found) >= (W**2).sum() * (1 - 1e-4)


def gap(w: np.ndarray, C: np.ndarray, D: np.ndarray) -> np.ndarray:
    W = w.reshape(4, 3)
    return C - W.T @ D @ W


def test_section_H_many_latents_give_probabilistic_pca() -> None:
    n, d = ROWS.shape
    pca = PCA(d - 1).fit(ROWS)
    share = (n - 1) / n  # scikit-learn divides by n - 1
    model = ConvexGAN(lam=pca.noise_variance_ * share).fit(ROWS)
    W = model.generator_.weights @ model.generator_.components
    found = W.T @ W + model.lam_ * np.eye(d)
    np.testing.assert_allclose(found, pca.get_covariance() * share, atol=1e-9)
    many = np.random.default_rng(0).standard_normal((200_000, 4))
    drawn = least_weights(many, moments_of(ROWS), model.lam_)
    np.testing.assert_allclose(drawn.T @ drawn, W.T @ W, atol=0.2)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_densities_and_samples_with_noise_are_those_of_maximum_likelihood(k: int) -> None:
    rows = np.tile(ROWS, (500, 1))  # where n and n - 1 are alike
    pca, model = PCA(k).fit(rows), ConvexGAN(n_components=k).fit(rows)
    np.testing.assert_allclose(model.score_samples(ROWS), pca.score_samples(ROWS), atol=1e-3)
    drawn = model.sample(100_000, noise=True, random_state=0)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), pca.get_covariance(), atol=0.2)


def test_latents_are_the_posterior_mean() -> None:
    model = ConvexGAN(n_components=2).fit(ROWS)
    W = model.generator_.weights @ model.generator_.components
    inside = model.generator_.components.T @ model.generator_.components
    noise = model.lam_ * inside + model.noise_variance_ * (np.eye(5) - inside)
    gain = W @ np.linalg.inv(W.T @ W + noise)
    expected = (ROWS - ROWS.mean(axis=0)) @ gain.T
    np.testing.assert_allclose(model.transform(ROWS), expected, atol=1e-9)


def test_section_H_linear_critic_matches_means() -> None:
    model = ConvexGAN("linear", lam=0.3).fit(ROWS + 1)
    mean = (ROWS + 1).mean(axis=0)
    g = cp.Variable(5)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(g)), [cp.norm(g - mean) <= 0.3])
    assert model.certificate_.upper == pytest.approx(problem.solve(solver=cp.CLARABEL), rel=1e-6)
    assert model.certificate_.proves(1e-9)
    np.testing.assert_allclose(model.sample(3, random_state=0), np.tile(g.value, (3, 1)), atol=1e-5)
    np.testing.assert_array_equal(least_mean(mean, 100.0), np.zeros(5))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_section_H_relu_critic_against_every_direction(d: int) -> None:
    rng = np.random.default_rng(d)
    real, made = rng.standard_normal((7, d)), rng.standard_normal((5, d)) + 0.3
    found = critic_distance(real, made, "relu", random_state=0)
    u = rng.standard_normal((200_000, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    values = np.abs(np.maximum(real @ u.T, 0).mean(axis=0) - np.maximum(made @ u.T, 0).mean(axis=0))
    assert found.exact == (d <= 2)
    assert found.value >= values.max() * (1 - 1e-9)
    assert found.value == pytest.approx(values.max(), rel=1e-3)
    assert np.linalg.norm(found.direction) == pytest.approx(1)


def test_transport_gives_the_generator_the_shape_of_the_samples() -> None:
    """Two clouds on a line: the same variance, and nothing in between."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.repeat([-2.0, 2.0], 300), np.zeros(600)])
    rows += 0.3 * rng.standard_normal(rows.shape)
    line = ConvexGAN(n_components=1).fit(rows)
    bent = ConvexGAN(generator="gated_ridge", n_components=1, alpha=1e-3, random_state=0).fit(rows)
    middle = [
        float((np.abs(model.sample(4000, random_state=1)[:, 0]) < 0.7).mean())
        for model in (line, bent)
    ]
    assert middle[0] > 0.2
    assert middle[1] < middle[0] / 2
    assert bent.certificate_.proves(1e-9)


@pytest.mark.parametrize("generator", ["linear", *NONLINEAR, GatedRidge(bias=False)])
def test_model_files_keep_samples_to_the_last_bit(generator: Any, tmp_path: Path) -> None:
    model = quick(generator).fit(ROWS)
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    first, second = (each.sample(5, random_state=3) for each in (model, again))
    np.testing.assert_array_equal(first, second)
    assert again.certificate_ == model.certificate_
    assert again.latent_ == model.latent_
    assert clone(again).get_params()["n_pairs"] == 200


@pytest.mark.parametrize("generator", ["linear", *NONLINEAR])
def test_a_torch_module_of_latents(generator: str) -> None:
    torch = pytest.importorskip("torch")
    model = quick(generator, latent=4).fit(ROWS.reshape(400, 5, 1))
    latents = np.random.default_rng(0).standard_normal((6, 4))
    made = to_torch(model)(torch.tensor(latents)).detach().numpy()
    np.testing.assert_allclose(made, model.inverse_transform(latents), atol=1e-9)
    assert made.shape == (6, 5, 1)


def test_images_come_back_as_images_and_the_way_between_them() -> None:
    images = load_digits().images[:300].astype(int)
    model = ConvexGAN(n_components=10, latent=12).fit(images)
    assert model.sample(2, random_state=0).shape == (2, 8, 8)
    first, last = np.random.default_rng(0).standard_normal((2, 12))
    way = model.interpolate(first, last, 5)
    np.testing.assert_allclose(way[[0, -1]], model.inverse_transform([first, last]), atol=1e-9)
    sizes = np.linalg.norm(way_between(first, last, 5, 12), axis=1)
    ends = np.linalg.norm([first, last], axis=1)
    np.testing.assert_allclose(sizes, np.linspace(*ends, 5))
    assert model.transform(images).shape == (300, 12)
    with pytest.raises(ValueError, match="as in training"):
        model.transform(images.reshape(300, 4, 16))


def test_the_zero_generator_is_said() -> None:
    with pytest.warns(CertificateWarning, match="the mean alone"):
        model = ConvexGAN(lam=1e3).fit(ROWS)
    np.testing.assert_allclose(model.sample(2), np.tile(ROWS.mean(axis=0), (2, 1)))
    assert (model.certificate_.upper, model.n_components_) == (0.0, 0)
    with pytest.warns(CertificateWarning, match="all equal"):
        constant = ConvexGAN(generator="gated_ridge").fit(np.full((9, 4, 4), 7))
    np.testing.assert_array_equal(constant.sample(2), np.full((2, 4, 4), 7.0))
    with pytest.warns(CertificateWarning, match="zero generator"):
        assert not ConvexGAN("linear", lam=1e3).fit(ROWS).sample(1).any()


def test_more_latents_than_the_rank_are_not_used() -> None:
    flat = np.column_stack([ROWS, ROWS[:, 0]])
    model = ConvexGAN(n_components=6, latent=9).fit(flat)
    assert model.n_components_ == 5
    assert np.linalg.matrix_rank(model.generator_.weights) == 5
    assert model.lam_ == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="no density"):
        model.score(flat)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"critic": "cubic"}, "critic is 'cubic'"),
        ({"generator": "softmax"}, "generator is 'softmax'"),
        ({"critic": "linear", "generator": "gated"}, "goes with a linear one"),
        ({"lam": -1.0}, "lam is -1.0"),
        ({"lam": "large"}, "lam is 'large'"),
        ({"lam": 0.1, "n_components": 2}, "pass one of them"),
        ({"n_components": 1.5}, "n_components is 1.5"),
        ({"n_components": 0}, "n_components is 0"),
        ({"latent": 0}, "latent is 0"),
        ({"lam": 0.5, "latent": 2}, "there are 2 latents and 4 eigenvalues"),
        ({"alpha": 0}, "alpha is 0"),
        ({"n_pairs": 1}, "n_pairs is 1"),
        ({"generator": "polynomial", "n_pairs": 2}, "spans 1 of 4 directions"),
    ],
)
def test_bad_options(words: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ConvexGAN(**words).fit(ROWS)


def test_bad_samples() -> None:
    with pytest.raises(ValueError, match="minimum of 2"):
        ConvexGAN().fit(ROWS[:1].reshape(1, 5, 1))
    with pytest.raises(ValueError, match="0 sample"):
        ConvexGAN().fit(np.zeros((0, 4, 4)))
    with pytest.raises(ValueError, match="NaN"):
        ConvexGAN().fit(np.where(ROWS > 4, np.nan, ROWS))
    model = ConvexGAN().fit(ROWS)
    with pytest.raises(ValueError, match="finite latents"):
        model.inverse_transform(np.zeros((2, 77)))
    with pytest.raises(ValueError, match="n_samples is 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="critic is"):
        critic_distance(ROWS, ROWS, "cubic")
    with pytest.raises(AttributeError, match="has no attribute"):
        quick("polynomial").fit(ROWS).score(ROWS)


def test_what_would_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvxnn.memory.available", lambda: 2**10)
    with pytest.raises(MemoryBudgetError, match="fewer samples"):
        quick("linear").fit(ROWS)
    monkeypatch.setattr("cvxnn.memory.available", lambda: 2**18)
    quick("linear").fit(ROWS)
    with pytest.raises(MemoryBudgetError, match="fewer n_components"):
        quick("polynomial").fit(ROWS)


def test_scikit_learn_takes_it() -> None:
    check_estimator(ConvexGAN(), on_skip=None)
