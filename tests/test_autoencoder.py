"""Autoencoders against their closed form, CVXPY, descent and principal components (section I)."""

from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import check_estimator

from cvxnn import ConvexAutoencoder, ConvexRegressor, DeepLinear, Scope, load, save, verify
from cvxnn.errors import CertificateWarning

X6 = np.random.default_rng(4).standard_normal((6, 3))
RNG = np.random.default_rng(0)
LOW = RNG.standard_normal((40, 3)) @ RNG.standard_normal((3, 6))
CLEAN = LOW / LOW.std()
NOISY = CLEAN + 0.3 * RNG.standard_normal(CLEAN.shape)


def nuclear(X: np.ndarray, Y: np.ndarray, alpha: float, centred: bool) -> float:
    Z, s = cp.Variable((X.shape[1], Y.shape[1])), cp.Variable((1, Y.shape[1]))
    shift = np.ones((len(X), 1)) @ s if centred else 0
    loss = cp.sum_squares(X @ Z + shift - Y) / (2 * len(X))
    return cp.Problem(cp.Minimize(loss + alpha * cp.normNuc(Z))).solve(solver=cp.CLARABEL)


def test_section_I_the_closed_form() -> None:
    model = ConvexAutoencoder(alpha=1 / 6, fit_intercept=False).fit(X6)
    assert 6 * model.certificate_.upper == pytest.approx(2.5514849, abs=5e-8)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.proves(1e-10)
    assert model.solution_.solver == "shrinkage"
    _, sizes, right = np.linalg.svd(X6)
    Z = right.T @ np.diag(np.maximum(1 - 1 / sizes**2, 0)) @ right
    np.testing.assert_allclose(model.reconstruct(X6), X6 @ Z, atol=1e-12)


def test_section_I_the_program_and_descent_agree_with_it() -> None:
    assert 6 * nuclear(X6, X6, 1 / 6, False) == pytest.approx(2.5514849, abs=1e-6)
    rng, best = np.random.default_rng(1), np.inf

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        left, right = w[:9].reshape(3, 3), w[9:].reshape(3, 3)
        rest = X6 @ left @ right - X6
        down = [X6.T @ rest @ right.T + left, (X6 @ left).T @ rest + right]
        value = 0.5 * (rest**2).sum() + 0.5 * (w**2).sum()
        return value, np.concatenate([d.ravel() for d in down])

    for _ in range(10):
        found = minimize(objective, rng.standard_normal(18), jac=True, method="L-BFGS-B")
        best = min(best, found.fun)
    assert best == pytest.approx(2.5514849, abs=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_section_I_linear_against_CVXPY_and_principal_components(centred: bool) -> None:
    X = NOISY + 1.0
    rows = X - X.mean(axis=0) if centred else X
    variances = np.linalg.svd(rows, compute_uv=False) ** 2 / len(X)
    alpha = 0.5 * (variances[2] + variances[3])
    model = ConvexAutoencoder(alpha=alpha, fit_intercept=centred).fit(X)
    assert model.certificate_.upper == pytest.approx(nuclear(X, X, alpha, centred), rel=1e-6)
    assert model.certificate_.proves(1e-9)
    assert model.n_components_ == 3
    assert model.alpha_max_ == pytest.approx(variances[0])
    if centred:  # the same axes; what comes back along each is shrunk by alpha / variance
        pca = PCA(3).fit(X)
        shares = 1 - alpha / variances[:3]
        shrunk = pca.inverse_transform(pca.transform(X) * shares)
        np.testing.assert_allclose(model.reconstruct(X), shrunk, atol=1e-9)
        assert model.score(X) <= pca.explained_variance_ratio_.sum()


def test_little_strength_gives_principal_components() -> None:
    model = ConvexAutoencoder(alpha=1e-9).fit(CLEAN)
    pca = PCA(3).fit(CLEAN)
    restored = pca.inverse_transform(pca.transform(CLEAN))
    np.testing.assert_allclose(model.reconstruct(CLEAN), restored, atol=1e-6)
    assert model.n_components_ == 3


def test_equal_samples_count_as_often_as_they_are_there() -> None:
    twice = np.concatenate([X6, X6[:2]])
    model = ConvexAutoencoder(alpha=0.1).fit(twice)
    assert model.certificate_.upper == pytest.approx(nuclear(twice, twice, 0.1, True), rel=1e-6)


def test_orthogonal_columns_have_a_closed_form_too() -> None:
    X, _ = np.linalg.qr(RNG.standard_normal((12, 3)))
    Y = RNG.standard_normal((12, 2))
    words = {"alpha": 0.05, "fit_intercept": False, "tol": 1e-9}
    model = ConvexRegressor(DeepLinear(bias=False), **words).fit(2 * X, Y)
    assert model.solution_.solver == "shrinkage"
    assert model.certificate_.proves(1e-10)
    assert model.certificate_.upper == pytest.approx(nuclear(2 * X, Y, 0.05, False), rel=1e-6)


def test_section_I_gated_is_the_nuclear_program_of_its_gates() -> None:
    X, alpha = NOISY[:15, :3], 0.05
    model = ConvexAutoencoder("gated", alpha=alpha, n_gates=5, tol=1e-7, random_state=0).fit(X)
    gates = model.regressor_.generators_
    wide = np.column_stack([X, np.ones(len(X))])
    blocks = [cp.Variable((4, 3)) for _ in gates]
    s = cp.Variable((1, 3))
    fit = np.ones((len(X), 1)) @ s
    for gate, block in zip(gates, blocks, strict=True):
        fit = fit + np.diag((wide @ gate >= 0).astype(float)) @ wide @ block
    cost = cp.sum_squares(fit - X) / 30 + alpha * sum(cp.normNuc(block) for block in blocks)
    best = cp.Problem(cp.Minimize(cost)).solve(solver=cp.CLARABEL)
    assert model.certificate_.upper == pytest.approx(best, rel=1e-5)
    assert model.certificate_.proves(1e-7)
    assert model.transform(X).shape == (15, model.n_components_)
    restored = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(restored, model.reconstruct(X), atol=1e-12)


def test_section_I_relu_is_over_all_networks() -> None:
    X = X6[:, :2]
    model = ConvexAutoencoder("relu", alpha=0.05, random_state=0).fit(X)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.proves(1e-3)
    assert verify(model, X)
    rng = np.random.default_rng(2)
    target = X - X.mean(axis=0)
    for _ in range(2):  # no network that descent finds is better than the bound

        def objective(w: np.ndarray) -> float:
            inner, outer, shift = w[:24].reshape(3, 8), w[24:40].reshape(8, 2), w[40:]
            hidden = np.maximum(np.column_stack([X, np.ones(6)]) @ inner, 0)
            rest = hidden @ outer + shift + X.mean(axis=0) - X
            return 0.5 * (rest**2).sum() / 6 + 0.025 * (w[:40] ** 2).sum()

        found = minimize(objective, rng.standard_normal(42), method="L-BFGS-B")
        assert found.fun >= model.certificate_.lower - 1e-7
    assert model.certificate_.upper < 0.5 * (target**2).sum() / 6


@pytest.mark.parametrize("architecture", ["linear", "gated"])
def test_section_I_denoising(architecture: str) -> None:
    train, test = slice(0, 30), slice(30, 40)
    alpha = "auto" if architecture == "linear" else 0.02
    model = ConvexAutoencoder(architecture, alpha=alpha, n_gates=8, random_state=0)
    model.fit(NOISY[train], CLEAN[train])
    assert model.score(NOISY[train], CLEAN[train]) > 0.8
    assert verify(model, NOISY[train], CLEAN[train])
    assert not verify(model, NOISY[train])
    if architecture == "linear":
        wrong = [
            ((x - CLEAN[test]) ** 2).mean() for x in (model.reconstruct(NOISY[test]), NOISY[test])
        ]
        assert wrong[0] < wrong[1]
        best = nuclear(NOISY[train], CLEAN[train], model.alpha_, True)
        assert model.certificate_.upper == pytest.approx(best, rel=2e-4)


def test_scikit_learn() -> None:
    check_estimator(ConvexAutoencoder(), on_skip=None)
    model = clone(ConvexAutoencoder(alpha=0.1)).fit(X6, [0, 1, 0, 1, 0, 1])  # labels: no targets
    assert model.get_feature_names_out().tolist() == [f"convexautoencoder{i}" for i in range(3)]
    assert model.n_components_ == 3


@pytest.mark.parametrize("architecture", ["linear", "gated", "relu"])
def test_files(architecture: str, tmp_path: Path) -> None:
    model = ConvexAutoencoder(architecture, alpha=0.1, n_gates=4, random_state=0).fit(X6)
    save(model, tmp_path / "model.cvxnn")
    loaded = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(loaded.transform(X6), model.transform(X6))
    np.testing.assert_array_equal(loaded.reconstruct(X6), model.reconstruct(X6))
    assert loaded.certificate_ == model.certificate_
    assert verify(loaded, X6)


def test_data_that_are_odd() -> None:
    with pytest.warns(CertificateWarning, match="no neurons"):
        empty = ConvexAutoencoder(alpha=100.0).fit(X6)
    assert empty.transform(X6).shape == (6, 0)
    np.testing.assert_allclose(empty.reconstruct(X6), np.tile(X6.mean(axis=0), (6, 1)))
    np.testing.assert_allclose(empty.inverse_transform(np.zeros((2, 0)))[0], X6.mean(axis=0))
    flat = np.column_stack([X6, np.full(6, 7.0)])
    np.testing.assert_allclose(
        ConvexAutoencoder(alpha=0.1).fit(flat).reconstruct(flat)[:, :3],
        ConvexAutoencoder(alpha=0.1).fit(X6).reconstruct(X6),
        atol=1e-9,
    )
    whole = np.arange(12).reshape(4, 3) ** 2
    same = ConvexAutoencoder().fit(whole).reconstruct(whole.astype(float))
    np.testing.assert_array_equal(ConvexAutoencoder().fit(whole).reconstruct(whole), same)
    with pytest.warns(CertificateWarning, match="no neurons"):
        one = ConvexAutoencoder().fit(X6[:1])
    np.testing.assert_allclose(one.reconstruct(X6[:1]), X6[:1])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ConvexAutoencoder().fit(X6 * np.nan)
    with pytest.raises(ValueError, match="expected clean samples of one shape"):
        ConvexAutoencoder().fit(X6, X6[:, :2])
    with pytest.raises(ValueError, match="alpha is -1"):
        ConvexAutoencoder(alpha=-1.0).fit(X6)
    with pytest.raises(ValueError, match="codes have 2 columns and the network has 3"):
        ConvexAutoencoder(alpha=0.1).fit(X6).inverse_transform(X6[:, :2])
