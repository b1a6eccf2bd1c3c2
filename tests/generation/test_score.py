"""Score matching against CVXPY, enumeration, closed forms, descent and autograd (section M)."""

from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.utils.estimator_checks import check_estimator

from cvxnn import ConvexRegressor, ConvexScore, GatedReLU, Scope, load, save, verify
from cvxnn.errors import CertificateWarning, UnsupportedError
from cvxnn.everywhere.scores import ScoreLine, divergence
from cvxnn.everywhere.stein import Stein
from cvxnn.functions import Nuclear
from cvxnn.functions.tilted import Tilted
from cvxnn.training import gates_of

X5 = np.array([[-1.5], [-0.4], [0.3], [1.1], [2.0]])
PLAIN: dict[str, Any] = {"skip": False, "fit_intercept": False}
RNG = np.random.default_rng(0)
TWO = np.concatenate([0.5 * RNG.standard_normal((8, 2)) - 1, 0.5 * RNG.standard_normal((9, 2)) + 1])
HUMPS = np.concatenate([0.4 * RNG.standard_normal(60) - 1, 0.5 * RNG.standard_normal(90) + 1])


def over_all(x: np.ndarray, lam: float, linear: bool = False) -> float:
    """The notes' program on rows [x, 1], every pattern and both signs, sums over samples."""
    x = np.sort(x)
    W, n = np.column_stack([x, np.ones(len(x))]), len(x)
    patterns = {tuple(np.arange(n) >= k) for k in range(n)} | {
        tuple(np.arange(n) < k) for k in range(1, n + 1)
    }
    fit, trace, decay, rows = 0, 0, 0, []
    for pattern in patterns:
        mask = np.array(pattern, dtype=float)
        for sign in (1, -1):
            w = cp.Variable(2)
            fit, trace = fit + sign * cp.multiply(mask, W @ w), trace + sign * mask.sum() * w[0]
            decay = decay + cp.norm(w)
            rows.append(cp.multiply(2 * mask - 1, W @ w) >= 0)
    if linear:
        free = cp.Variable(2)
        fit, trace = fit + W @ free, trace + n * free[0]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(fit) / 2 + trace + lam * decay), rows)
    return problem.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize(
    ("lam", "value"), [(0.56, -1.699303), (0.9, -1.1703467), (1.5, -0.6100806), (3.0, -0.0347770)]
)
def test_section_M_on_a_line_it_is_exact(lam: float, value: float) -> None:
    model = ConvexScore(alpha=lam / 5, tol=1e-7, **PLAIN).fit(X5)
    assert 5 * model.certificate_.upper == pytest.approx(value, abs=1e-6)
    assert over_all(X5[:, 0], lam) == pytest.approx(value, abs=1e-5)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.proves(1e-8)
    assert verify(model, X5)
    assert not verify(model, X5 + 0.01)


def test_section_M_the_threshold() -> None:
    for lam in (0.5, 0.55):
        assert over_all(X5[:, 0], lam) == -np.inf
        with pytest.raises(ValueError, match=r"up to 0\.1109 score matching has no lower bound"):
            ConvexScore(alpha=lam / 5, **PLAIN).fit(X5)
    model = ConvexScore(alpha=0.2, **PLAIN).fit(X5)
    extremes = min(X5.min() ** 2, X5.max() ** 2)
    assert 5 * model.threshold_ == pytest.approx(1 / np.sqrt(1 + extremes), rel=1e-9)


def test_section_M_samples_between_have_a_threshold_too() -> None:
    """The notes' bound is of the extremes: here 1 / sqrt(101), and a sample at 0 needs 1 / 2."""
    x = np.array([-10.0, 0.0, 10.0])
    assert over_all(x, 0.45) == -np.inf
    assert np.isfinite(over_all(x, 0.55))
    line = ScoreLine(x, np.full(3, 1 / 3), False, False)
    assert 3 * line.least() == pytest.approx(0.5)
    assert 3 * line.threshold()[0] == pytest.approx(0.5, rel=1e-6)
    twice = ScoreLine(x, np.array([0.25, 0.5, 0.25]), False, False)  # a sample that is there twice
    assert 4 * twice.threshold()[0] == pytest.approx(1.0, rel=1e-6)
    for seed in range(6):
        x = np.sort(np.random.default_rng(seed).standard_normal(7) * 2)
        line = ScoreLine(x, np.full(7, 1 / 7), seed % 2 == 0, seed % 3 == 0)
        assert line.threshold()[0] == pytest.approx(line.least(), rel=1e-5)
        assert line.gauge(line.orthogonal(line.inside())) >= line.least() * (1 - 1e-12)


def test_section_M_the_unit_certificate_on_a_circle() -> None:
    model = ConvexScore(alpha=0.9 / 5, **PLAIN).fit(X5)
    s, x = model.predict(X5)[:, 0], X5[:, 0]
    # the network moves kinks off samples: its own active samples are those of its arcs
    angles = np.linspace(-np.pi, np.pi, 200_001)
    values = np.cos(angles)[:, None] * x + np.sin(angles)[:, None]
    pull = np.maximum(values, 0) @ s + np.cos(angles) * (values >= 0).sum(axis=1)
    assert np.abs(pull).max() == pytest.approx(0.9, abs=1e-4)


def test_section_M_no_descent_is_lower() -> None:
    def loss(w: np.ndarray) -> float:
        u, b, a = w.reshape(3, 6)
        values = X5 * u + b
        s = np.maximum(values, 0) @ a
        trace = (values >= 0) @ (u * a)
        return float(((s**2) / 2 + trace).mean() + 0.09 * (w**2).sum())

    best = ConvexScore(alpha=0.18, **PLAIN).fit(X5).certificate_.lower
    rng = np.random.default_rng(3)
    found = [minimize(loss, rng.standard_normal(18), method="Nelder-Mead").fun for _ in range(8)]
    assert min(found) >= best - 1e-9


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_with_a_free_line_against_CVXPY(alpha: float) -> None:
    x = HUMPS[::6]
    model = ConvexScore(alpha=alpha, tol=1e-7).fit(x[:, None])
    best = over_all(x, alpha * len(x), linear=True) / len(x)
    assert model.certificate_.upper == pytest.approx(best, rel=1e-5)
    assert model.certificate_.proves(1e-7)


def test_autograd_has_the_same_divergence() -> None:
    torch = pytest.importorskip("torch")
    from cvxnn.export import to_torch

    for model in (
        ConvexScore(alpha=0.05).fit(HUMPS[:, None]),
        ConvexRegressor("gated", alpha=0.01, n_gates=6, skip=True, random_state=0).fit(
            TWO, -(TWO**2)
        ),
        ConvexRegressor("relu", alpha=0.01, tol=1e-2, random_state=0).fit(TWO, -TWO),
    ):
        network = model.network_
        points = HUMPS[:9, None] if network.skip.shape[0] == 1 else TWO
        module = to_torch(network).double()
        for x, found in zip(points, divergence(network, points), strict=True):
            one = torch.tensor(x[None], dtype=torch.float64)
            jacobian = torch.autograd.functional.jacobian(module, one)[0, :, 0, :]
            assert float(torch.trace(jacobian)) == pytest.approx(found, abs=1e-10)


def gated(X: np.ndarray, masks: np.ndarray, alpha: float, skip: bool) -> float:
    (n, d), W = X.shape, np.column_stack([X, np.ones(len(X))])
    fit, trace, decay = 0, 0, 0
    for mask in masks:
        V = cp.Variable((d + 1, d))
        fit = fit + np.diag(mask.astype(float)) @ W @ V
        trace, decay = trace + mask.mean() * cp.trace(V[:d]), decay + cp.normNuc(V)
    if skip:
        S, b = cp.Variable((d, d)), cp.Variable((1, d))
        fit, trace = fit + X @ S + np.ones((n, 1)) @ b, trace + cp.trace(S)
    cost = cp.sum_squares(fit) / (2 * n) + trace + alpha * decay
    return cp.Problem(cp.Minimize(cost)).solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("skip", [False, True])
def test_section_M_gates_in_the_plane(skip: bool) -> None:
    words = {"skip": skip, "fit_intercept": skip, "n_gates": 4, "random_state": 0, "tol": 1e-6}
    model = ConvexScore(alpha=0.1, **words).fit(TWO)
    W = np.column_stack([TWO, np.ones(len(TWO))])
    masks = (W @ model.generators_.T >= 0).T
    best = gated(TWO, masks, 0.1, skip)
    assert model.certificate_.upper == pytest.approx(best, rel=1e-5)
    assert model.certificate_.proves(1e-6)
    assert model.certificate_.scope is Scope.GIVEN_GATES
    assert verify(model, TWO)


def test_section_M_the_threshold_of_gates() -> None:
    rng = np.random.default_rng(0)
    gates, _ = gates_of(GatedReLU(), TWO, "sample", 10, rng)
    problem = Stein.of(GatedReLU(), TWO, np.ones(len(TWO)), gates, intercept=False, skip=False)
    found = problem.threshold(1e9)
    assert found.least <= found.most
    for place in range(30):  # close in on it
        middle = (found.least * found.most) ** 0.5
        found = problem.threshold(middle)
        if found.most < 1.15 * found.least or place > 3:
            break
    assert 0 < found.least < found.most < 1.3 * found.least
    # below: a ray on which the objective falls for ever; above: a bound
    assert gated(TWO, gates.masks, 0.9 * found.least, False) < -1e3
    above = gated(TWO, gates.masks, 1.1 * found.most, False)
    lower, _ = problem.bound(np.zeros_like(TWO), found.interior, 1.1 * found.most)
    assert -np.inf < lower <= above + 1e-6
    with pytest.raises(ValueError, match="fewer gates, more samples"):
        ConvexScore(alpha=0.5 * found.least, gates=gates.generators, **PLAIN).fit(TWO)


@pytest.mark.parametrize("d", [1, 3])
def test_a_gaussian_has_a_linear_score(d: int) -> None:
    X = np.random.default_rng(5).standard_normal((60, d)) @ np.diag([1.0, 2.0, 0.5][:d]) + 1.0
    with pytest.warns(CertificateWarning, match="no neurons"):
        model = ConvexScore(alpha=50.0, n_gates=5, random_state=0).fit(X)
    covariance = np.cov(X.T, bias=True).reshape(d, d)
    expected = -np.linalg.solve(covariance, (X - X.mean(axis=0)).T).T
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6)
    expected = -np.trace(np.linalg.inv(covariance)) / 2
    assert model.certificate_.upper == pytest.approx(expected, rel=1e-9)
    noisy = ConvexScore("gated", alpha=50.0, noise=0.5, copies=400, n_gates=5, random_state=0)
    with pytest.warns(CertificateWarning):
        noisy.fit(X)
    wide = covariance + 0.25 * np.eye(d)
    expected = -np.linalg.solve(wide, (X - X.mean(axis=0)).T).T
    np.testing.assert_allclose(noisy.predict(X), expected, atol=0.1 * np.abs(expected).max())


def test_section_M_denoising_is_a_regression() -> None:
    words = {"alpha": 0.02, "n_gates": 8, "copies": 3, "random_state": 0}
    model = ConvexScore(noise=[1.0, 0.4], **words).fit(TWO)
    parts = list(model.parts(TWO))
    assert len(parts) == len(model.regressors_) == 2
    for sigma, (regressor, noisy, target) in zip([1.0, 0.4], parts, strict=True):
        np.testing.assert_allclose(noisy + sigma**2 * target, np.tile(TWO, (3, 1)), atol=1e-12)
        assert verify(regressor, noisy, target)
        assert regressor.certificate_.proves(1e-4)
    np.testing.assert_array_equal(model.predict(TWO, level=0), parts[0][0].network_(TWO))
    with pytest.raises(UnsupportedError, match="2 noise levels"):
        verify(model, TWO)
    one = ConvexScore(noise=0.4, **words).fit(TWO)
    assert verify(one, TWO)
    assert not verify(one, TWO + 1)


def test_alpha_is_validated_and_the_density_has_mass_one() -> None:
    model = ConvexScore(random_state=0).fit(HUMPS[:, None])
    assert model.network_.n_neurons > 0
    line = np.linspace(-8, 8, 8001)
    log = model.log_density(line[:, None])
    assert np.exp(log).sum() * (line[1] - line[0]) == pytest.approx(1.0, abs=1e-6)
    slopes = np.gradient(log, line)[1:-1]
    assert np.median(np.abs(slopes - model.predict(line[1:-1, None])[:, 0])) < 1e-6
    humps = np.exp(-((line + 1) ** 2) / 0.32) / 0.4 * 0.4
    humps = humps + np.exp(-((line - 1) ** 2) / 0.5) / 0.5 * 0.6
    truth = humps / (2 * np.pi) ** 0.5
    normal = np.exp(-((line - HUMPS.mean()) ** 2) / (2 * HUMPS.var()))
    normal = normal / (HUMPS.std() * (2 * np.pi) ** 0.5)
    wrong = [np.abs(p - truth).sum() for p in (np.exp(log), normal)]
    assert wrong[0] < 0.6 * wrong[1]
    drawn = model.sample(4000, steps=300, random_state=0)[:, 0]
    assert drawn.mean() == pytest.approx((line * np.exp(log)).sum() * 0.002, abs=0.1)
    share = np.exp(log)[line < 0].sum() * 0.002
    assert (drawn < 0).mean() == pytest.approx(share, abs=0.05)


def test_samples_of_two_columns_have_the_moments_of_the_data() -> None:
    X = np.concatenate([TWO, TWO[:, ::-1]])
    model = ConvexScore(noise=[1.0, 0.5], alpha=0.02, n_gates=16, random_state=0).fit(X)
    drawn = model.sample(2000, steps=200, random_state=0)
    assert drawn.shape == (2000, 2)
    wide = np.cov(X.T, bias=True) + 0.25 * np.eye(2)
    np.testing.assert_allclose(np.cov(drawn.T), wide, atol=0.5)
    away = np.linalg.norm(drawn - model.mean_, axis=1).max()
    assert away <= 2 * model.farthest_ * (1 + 1e-9)
    np.testing.assert_array_equal(drawn, model.sample(2000, steps=200, random_state=0))


def test_tilted_prox_beats_perturbations() -> None:
    rng = np.random.default_rng(2)
    tilted = Tilted(Nuclear(0.7), rng.standard_normal((2, 3, 2)))
    x = rng.standard_normal((2, 3, 2))
    best = tilted.prox(x, 0.4)

    def cost(z: np.ndarray) -> float:
        return 0.4 * tilted.value(z) + 0.5 * float(((z - x) ** 2).sum())

    for _ in range(50):
        assert cost(best) <= cost(best + 0.1 * rng.standard_normal(x.shape)) + 1e-12
    v = tilted.slope + 0.1 * rng.standard_normal(x.shape)
    assert tilted.conjugate(v) == (0.0 if tilted.excess(v) <= 1 else np.inf)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
def test_scikit_learn() -> None:
    check_estimator(ConvexScore(alpha=0.5, n_gates=4, random_state=0), on_skip=None)
    whole = np.arange(12).reshape(6, 2) ** 2
    words = {"alpha": 1.0, "n_gates": 4, "random_state": 0}
    found = [ConvexScore(**words).fit(X).predict(X) for X in (whole, whole.astype(float))]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("words", [{}, {"noise": [1.0, 0.5], "alpha": 0.02}, {"gates": np.eye(3)}])
def test_files(words: dict, tmp_path: Path) -> None:
    X = TWO if words else HUMPS[:, None]
    model = ConvexScore(**({"alpha": 0.05, "n_gates": 4, "random_state": 0} | words)).fit(X)
    save(model, tmp_path / "model.cvxnn")
    loaded = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    seeds = {"random_state": 0, "steps": 5}
    np.testing.assert_array_equal(loaded.sample(9, **seeds), model.sample(9, **seeds))
    assert loaded.certificate_ == model.certificate_
    assert loaded.score(X) == model.score(X)
    if "noise" in words:
        assert all(verify(*part) for part in loaded.parts(X))
    else:
        assert verify(loaded, X)


def test_bad_input() -> None:
    flat = np.column_stack([TWO, np.full(len(TWO), 3.0)])
    with pytest.raises(ValueError, match=r"columns \[2\] of X are constant"):
        ConvexScore(alpha=1.0, n_gates=4).fit(flat)
    with pytest.raises(ValueError, match="X's columns depend on each other"):
        ConvexScore(alpha=1.0, n_gates=4).fit(TWO @ np.ones((2, 3)))
    with pytest.raises(ValueError, match="constant"):
        ConvexScore(alpha=1.0).fit([[2.0], [2.0]])
    with pytest.warns(CertificateWarning, match="no neurons"):
        one = ConvexScore(alpha=1.0, noise=0.5, n_gates=4, random_state=0).fit(TWO[:1])
    assert np.isfinite(one.predict(TWO)).all()  # the score of one Gaussian
    with pytest.raises(ValueError, match="NaN"):
        ConvexScore(alpha=1.0).fit(TWO * np.nan)
    with pytest.raises(ValueError, match="alpha='auto' validates on 4 parts"):
        ConvexScore().fit(TWO[:5])
    with pytest.raises(ValueError, match="without noise ReLU networks are for one column"):
        ConvexScore("relu", alpha=1.0).fit(TWO)
    with pytest.raises(ValueError, match="expected 'auto', 'relu' or 'gated'"):
        ConvexScore("threshold", alpha=1.0).fit(TWO)
    with pytest.raises(ValueError, match="falling"):
        ConvexScore(alpha=1.0, noise=[0.1, 1.0]).fit(TWO)
    with pytest.raises(ValueError, match="solver is 'newton'"):
        ConvexScore(alpha=1.0, solver="newton").fit(TWO)
    with pytest.raises(ValueError, match="copies is 0"):
        ConvexScore(alpha=1.0, copies=0).fit(TWO)
    with pytest.raises(ValueError, match="alpha is 'big'"):
        ConvexScore(alpha="big").fit(TWO)
    model = ConvexScore(alpha=0.5, n_gates=4, random_state=0).fit(TWO)
    with pytest.raises(ValueError, match="one column only"):
        model.log_density(TWO)
    with pytest.raises(ValueError, match="level is 1"):
        model.predict(TWO, level=1)
    with pytest.raises(ValueError, match="rate is 2"):
        model.sample(3, rate=2.0)
    outward = ConvexScore(alpha=3 / 5, **PLAIN).fit(X5)
    with pytest.raises(ValueError, match=r"pushes outward on the (left|right)"):
        outward.log_density(X5)
