"""Closed forms against Clarabel through CVXPY, growth and the notes' numbers (section M)."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from cvxnn import ConvexRegressor, ReLU, Scope, Status, certify_network, load, save, verify
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.closed import ClosedForm, closed_gauge, excess_of, line_of
from cvxnn.everywhere.grow import Grow
from cvxnn.gates import distinct, enumerate_patterns

PLAIN = ReLU(bias=False)


def fit(X: Any, y: Any, beta: float, **words: Any) -> ConvexRegressor:
    y = np.asarray(y, dtype=float)
    words = {"fit_intercept": False, "random_state": 0} | words
    return ConvexRegressor(PLAIN, alpha=beta / len(y), **words).fit(X, y)


def oracle(
    X: np.ndarray, y: np.ndarray, beta: float, weights: np.ndarray, free: np.ndarray
) -> float:
    """Return the optimum over all patterns: sum w (f - y)^2 / 2 + beta * sizes, y (n, c)."""
    masks = distinct(enumerate_patterns(X)).masks
    fit, size, cones = free @ cp.Variable((free.shape[1], y.shape[1])), 0, []
    for mask in masks:
        for sign in (1.0, -1.0):
            u = cp.Variable((X.shape[1], y.shape[1]))
            cones.append(cp.multiply((2.0 * mask - 1.0)[:, None], X @ u) >= 0)
            fit = fit + sign * cp.multiply(mask[:, None] * 1.0, X @ u)
            size = size + sum(cp.norm(u[:, k]) for k in range(y.shape[1]))
    loss = cp.sum(cp.multiply(weights[:, None], cp.square(fit - y))) / 2
    problem = cp.Problem(cp.Minimize(loss + beta * size), cones)
    return float(problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-9, tol_gap_abs=1e-9))


def line(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.outer(rng.normal(size=n), rng.normal(size=d))


def orthogonal(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    turn = np.linalg.qr(rng.normal(size=(d, n)))[0].T
    return rng.uniform(0.3, 3.0, size=n)[:, None] * turn


# the notes' numbers


def test_section_M_rank_one() -> None:
    c, y = np.array([1.0, -2.0, 0.5, 3.0, -1.0]), np.array([1.0, -0.5, 0.7, 2.0, -1.0])
    model = fit(np.outer(c, [1.0, 2.0]), y, 0.15, tol=1e-9)
    assert 5 * model.certificate_.upper == pytest.approx(0.40902213, abs=1e-8)
    assert 5 * model.certificate_.lower == pytest.approx(0.40902213, abs=1e-8)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.bound == "closed form"
    assert (model.solution_.solver, model.solution_.status) == ("closed form", Status.OPTIMAL)
    assert model.solution_.reason == "features of rank one: a closed form"
    length = 5**0.5
    parts = [np.maximum(sign * c, 0) for sign in (1.0, -1.0)]
    saved = sum(max(abs(length * p @ y) - 0.15, 0) ** 2 / (5 * p @ p) for p in parts)
    assert 5 * model.certificate_.upper == pytest.approx((y @ y - saved) / 2, rel=1e-12)
    cosines = np.abs(model.network_.weights_in @ [1, 2]) / length
    lengths = np.linalg.norm(model.network_.weights_in, axis=1)
    np.testing.assert_allclose(cosines, lengths)


def test_section_M_whitened_rows() -> None:
    y, beta = np.array([1.0, 2.0, -1.0, 0.5, -2.0, 1.0]), 0.7
    X = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 6)))[0].T
    model = fit(X, y, beta, tol=1e-9)
    assert 6 * model.certificate_.upper == pytest.approx(2.8252476, abs=1e-7)
    assert 6 * model.certificate_.lower == pytest.approx(2.8252476, abs=1e-7)
    assert model.certificate_.bound == "closed form"
    assert model.solution_.reason == "orthogonal rows: a closed form"
    up, down = np.maximum(y, 0), np.maximum(-y, 0)
    expected = sum(
        sign * max(1 - beta / np.linalg.norm(part), 0) * part
        for sign, part in ((1, up), (-1, down))
    )
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-9)
    assert model.network_.n_neurons == 2
    assert verify(model, X, y)
    assert not verify(model, X[::-1], y)


def test_section_M_penalised_bias_on_a_line() -> None:
    x, y = np.array([-2.0, -1.0, 0.3, 1.1, 2.0]), np.array([1.0, -0.5, 0.7, 2.0, -1.0])
    model = ConvexRegressor(ReLU(), alpha=0.15 / 5, fit_intercept=False, tol=1e-8, random_state=0)
    model.fit(x[:, None], y)
    assert 5 * model.certificate_.upper == pytest.approx(1.35155972, abs=1e-7)
    assert 5 * model.certificate_.lower == pytest.approx(1.35155972, abs=1e-5)
    u = model.network_.weights_in
    kinks = -u[:, 1] / u[:, 0]
    np.testing.assert_allclose(np.unique(kinks.round(5)), [-1.0, 1.1])


# random problems


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # some have no neurons
@pytest.mark.parametrize("seed", range(30))
def test_rank_one_is_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 7)), int(rng.integers(1, 4))
    X, y = line(rng, n, d), rng.normal(size=n)
    if seed % 5 == 0:
        X[0] = 0.0
    weights = rng.uniform(0.2, 2.0, size=n)
    weights /= weights.mean()
    intercept, skip, beta = bool(seed % 2), bool(seed % 3 == 0), 10 ** rng.uniform(-2, 0)
    columns = [np.ones((n, 1))] * intercept + [X[:, :1]] * skip
    free = np.concatenate([np.zeros((n, 1)), *columns], axis=1)
    model = ConvexRegressor(
        PLAIN, alpha=beta / n, fit_intercept=intercept, skip=skip, tol=1e-8, random_state=0
    )
    model.fit(X, y, sample_weight=weights)
    assert model.solution_.solver == "closed form"
    expected = oracle(X, y[:, None], beta, weights, free)
    assert n * model.certificate_.upper == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert n * model.certificate_.lower == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # some have no neurons
@pytest.mark.parametrize("seed", range(30))
def test_orthogonal_rows_are_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 5))
    X, y = orthogonal(rng, n, n + seed % 3), rng.normal(size=n)
    weights = rng.uniform(0.2, 2.0, size=n)
    weights /= weights.mean()
    beta = 10 ** rng.uniform(-2, 0)
    model = ConvexRegressor(PLAIN, alpha=beta / n, fit_intercept=False, tol=1e-9)
    model.fit(X, y, sample_weight=weights)
    assert model.solution_.solver == "closed form"
    expected = oracle(X, y[:, None], beta, weights, np.zeros((n, 1)))
    assert n * model.certificate_.upper == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert n * model.certificate_.lower == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert model.network_.n_neurons <= 2


def test_several_outputs_on_a_line_agree_with_growth() -> None:
    rng = np.random.default_rng(0)
    X, Y = line(rng, 12, 2), rng.normal(size=(12, 2))
    words: dict[str, Any] = {"alpha": 0.02, "fit_intercept": False, "random_state": 0}
    closed = ConvexRegressor(PLAIN, **words).fit(X, Y)
    grown = ConvexRegressor(PLAIN, gates="grow", solver=Grow(), tol=1e-7, **words).fit(X, Y)
    assert closed.solution_.solver == "closed form"
    assert closed.certificate_.upper <= grown.certificate_.upper * (1 + 1e-9)
    assert closed.certificate_.upper == pytest.approx(grown.certificate_.upper, rel=1e-4)


@pytest.mark.parametrize("make", [line, orthogonal])
def test_descents_never_go_below(make: Any) -> None:
    rng = np.random.default_rng(4)
    X, y = make(rng, 5, 6), rng.normal(size=5)
    lower = fit(X, y, 0.1).certificate_.lower
    for _ in range(20):
        W, a = rng.normal(size=(8, 6)), rng.normal(size=8)
        for step in range(400):
            h = np.maximum(X @ W.T, 0)
            r = (h @ a - y) / 5
            rate = 0.3 / (1 + step / 100) / max(np.abs(X).max() ** 2, 1.0) / 8
            gradient = ((r[:, None] * (h > 0)) * a).T @ X + 0.02 * W
            W, a = W - rate * gradient, a - rate * (h.T @ r + 0.02 * a)
        loss = ((np.maximum(X @ W.T, 0) @ a - y) ** 2).mean() / 2
        assert loss + 0.01 * ((W**2).sum() + (a**2).sum()) >= lower


# the bound on orthogonal rows, for other losses too


def test_the_gauge_of_orthogonal_rows_is_attained_and_never_exceeded() -> None:
    rng = np.random.default_rng(1)
    X, v = orthogonal(rng, 5, 7), np.array([[1.0], [-2.0], [0.5], [0.0], [-0.3]])
    gauge = closed_gauge(X, v, 1.0)
    assert gauge is not None
    U = rng.normal(size=(20_000, 7))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    assert np.abs(v.T @ np.maximum(X @ U.T, 0)).max() <= gauge
    best = []
    for sign in (1.0, -1.0):
        u = X.T @ np.maximum(sign * v[:, 0], 0)  # where Xu is s^2 v_+
        best.append(float(np.abs(v[:, 0] @ np.maximum(X @ u, 0)) / np.linalg.norm(u)))
    assert gauge == pytest.approx(max(best), rel=1e-9)


def test_other_losses_are_proved_on_orthogonal_rows() -> None:
    rng = np.random.default_rng(2)
    X, y = orthogonal(rng, 12, 14), rng.normal(size=12)
    words: dict[str, Any] = {"loss": "huber", "proof_time": 0.0, "tol": 1e-6, "random_state": 0}
    model = ConvexRegressor(PLAIN, alpha=0.05, **words).fit(X, y)  # with an intercept
    assert model.certificate_.bound == "closed form"
    assert model.certificate_.relative_gap < 1e-4
    assert verify(model, X, y)
    assert model.solution_.solver == "grow"
    certificate = certify_network(
        model.network_, X, y, alpha=0.05, loss="huber", gates="all", proof_time=0.0
    )
    assert certificate.bound == "closed form"
    assert certificate.relative_gap < 1e-4


def test_a_proof_in_closed_form_is_not_believed_of_other_rows() -> None:
    rng = np.random.default_rng(5)
    X, y = orthogonal(rng, 6, 8), rng.normal(size=6)
    model = fit(X, y, 0.1)
    other = X + 0.1 * rng.normal(size=X.shape)
    found = verify(model, other, y)
    assert not found
    assert found.certificate.lower == -np.inf


# where it is used and where not


def test_alpha_is_chosen_by_closed_forms_too() -> None:
    rng = np.random.default_rng(6)
    X = line(rng, 40, 3)
    y = np.abs(X[:, 0]) + 0.01 * rng.normal(size=40)
    model = ConvexRegressor(PLAIN, random_state=0).fit(X, y)
    assert model.solution_.solver == "closed form"
    assert model.score(X, y) > 0.99
    assert model.certificate_.proves(1e-6)


def test_it_is_saved_and_verified(tmp_path: Any) -> None:
    rng = np.random.default_rng(7)
    X, y = orthogonal(rng, 6, 8), rng.normal(size=6)
    model = fit(X, y, 0.1)
    save(model, tmp_path / "model")
    assert verify(load(tmp_path / "model"), X, y)


@pytest.mark.parametrize(
    "words", [{"gates": "grow", "solver": "grow"}, {"loss": "huber"}, {"gates": "enumerate"}]
)
def test_other_wishes_are_heeded(words: dict[str, Any]) -> None:
    rng = np.random.default_rng(8)
    model = fit(line(rng, 6, 2), rng.normal(size=6), 0.1, **words)
    assert model.solution_.solver != "closed form"


def test_data_without_a_closed_form_are_refused() -> None:
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(6, 3)), rng.normal(size=6)
    assert line_of(X) is None
    assert excess_of(X) is None
    with pytest.raises(UnsupportedError, match="rank one, or orthogonal rows"):
        fit(X, y, 0.1, gates="grow", solver=ClosedForm())
    with pytest.raises(UnsupportedError, match="for the squared loss"):
        fit(line(rng, 6, 3), y, 0.1, gates="grow", solver=ClosedForm(), loss="huber")
    with pytest.raises(UnsupportedError, match="pass gates='grow'"):
        fit(line(rng, 6, 3), y, 0.1, gates="sample", solver=ClosedForm())


def test_no_neurons_and_no_data_to_speak_of() -> None:
    assert line_of(np.zeros((3, 2))) is None
    with pytest.warns(UserWarning, match="no neurons"):
        model = fit(np.eye(3), [0.1, -0.2, 0.1], 3.0)
    assert model.network_.n_neurons == 0
    assert model.certificate_.proves(1e-9)
