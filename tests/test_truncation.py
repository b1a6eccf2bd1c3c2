"""Networks of low rank: closed forms, optima on all of the data, and what is claimed of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from cvxnn import (
    Circular,
    ConvexClassifier,
    ConvexRegressor,
    ConvexRegressorCV,
    ConvGated,
    ReLU,
    Scope,
    load,
    optimal_set,
    save,
    verify,
)
from cvxnn.architectures import BY_NAME, in_places
from cvxnn.cli import app
from cvxnn.errors import UnsupportedError
from cvxnn.functions import Huber, Quantile, Squared
from cvxnn.truncation import leading_directions, whole_of

Floats = np.ndarray

pytestmark = pytest.mark.filterwarnings("ignore:alpha is:cvxnn.errors.CertificateWarning")

EVERY: dict[str, Any] = {"gates": "enumerate", "tol": 1e-8, "fit_intercept": False}


def data(seed: int, n: int = 20, d: int = 4) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * 2.0 ** -np.arange(d), rng.standard_normal(n)


# the numbers of section C


def test_section_C_two_samples() -> None:
    X, y, beta = np.diag([1.0, 0.4]), np.array([100.0, 100.0]), 5.0
    every, first = (
        ConvexRegressor(ReLU(bias=False), alpha=beta / 2, rank=k, **EVERY).fit(X, y) for k in (2, 1)
    )
    assert 2 * every.certificate_.upper == pytest.approx(1278.0351, abs=5e-5)
    assert 2 * first.certificate_.upper == pytest.approx(5487.5, rel=1e-7)
    ratio = first.certificate_.upper / every.certificate_.upper
    assert ratio == pytest.approx(4.294, abs=5e-4)
    assert ratio > (1 + 0.4 / 5) ** 2  # the source's promise
    assert ratio < 9.13  # what is proved
    assert 0 < first.certificate_.whole <= every.certificate_.upper


# 100 random problems, the optimum on both sides of the claim


def rank_one(X: Floats, y: Floats, beta: float) -> float:
    """The optimum of section M on the rank-one part of the samples."""
    left, sizes, _ = np.linalg.svd(X, full_matrices=False)
    c = sizes[0] * left[:, 0]
    gain = 0.0
    for side in (np.maximum(c, 0), np.maximum(-c, 0)):
        if side.any():
            gain += max(abs(side @ y) - beta, 0.0) ** 2 / (2 * side @ side)
    return float(y @ y / 2 - gain)


@pytest.mark.parametrize("seed", range(60))
def test_squared_losses_lose_no_more_than_is_claimed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 5)), 2
    X = rng.standard_normal((n, d)) * [1.0, 10.0 ** rng.uniform(-3, 0)]
    y, alpha = 10.0 ** rng.uniform(-1, 1) * rng.standard_normal(n), 10.0 ** rng.uniform(-2, 0)
    best = ConvexRegressor(ReLU(bias=False), alpha=alpha, **EVERY).fit(X, y).certificate_
    claim = ConvexRegressor(ReLU(bias=False), alpha=alpha, rank=1, **EVERY).fit(X, y).certificate_
    expected = rank_one(X, y, n * alpha) / n
    assert claim.upper == pytest.approx(expected, rel=1e-6)
    assert claim.upper >= best.lower
    assert 0 <= claim.whole <= best.upper * (1 + 1e-9)
    sigma = np.linalg.svd(X)[1][1] / n**0.5
    factor = (1 + sigma * np.sqrt(best.upper / 2) / alpha) ** 2
    assert claim.upper <= best.upper * factor * (1 + 1e-9)


LOSSES = ["huber", Huber(delta=0.2), "quantile", Quantile(0.9)]
LABELLED = ["logistic", "squared_hinge", "hinge"]


@pytest.mark.parametrize("seed", range(42))
def test_other_losses_lose_no_more_than_is_claimed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = (LOSSES + LABELLED)[seed % 7]
    X = rng.standard_normal((5, 2)) * [1.0, 10.0 ** rng.uniform(-3, 0)]
    labels, alpha = np.array([0, 1, 0, 1, 1]), 10.0 ** rng.uniform(-2, -0.5)
    y = labels if loss in LABELLED else rng.standard_normal(5)
    kind = ConvexClassifier if loss in LABELLED else ConvexRegressor
    best, claim = (
        kind(ReLU(bias=False), alpha=alpha, loss=loss, rank=k, **EVERY | {"tol": 1e-6})
        .fit(X, y)
        .certificate_
        for k in (None, 1)
    )
    assert claim.upper >= best.lower
    assert 0 < claim.whole <= best.upper
    sigma = np.linalg.svd(X)[1][1] / 5**0.5
    if loss == "squared_hinge":
        factor = (1 + sigma * np.sqrt(best.upper / 2) / alpha) ** 2
    else:
        slope = {"Huber(delta=0.2)": 0.2, "quantile": 0.5, "Quantile(level=0.9)": 0.9}
        factor = 1 + slope.get(str(loss), 1.0) * sigma / alpha
    assert claim.upper <= best.upper * factor * (1 + 1e-9)
    assert claim.lower / claim.whole <= factor * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_classes_lose_no_more_than_is_claimed(seed: int) -> None:
    X, _ = data(seed, 9, 2)
    labels = np.array([0, 1, 2] * 3)
    words = {"alpha": 0.03, "random_state": 0, "proof_time": 0, "fit_intercept": seed % 2 == 0}
    best, claim = (ConvexClassifier(rank=k, **words).fit(X, labels).certificate_ for k in (None, 1))
    assert claim.scope is Scope.ALL_NETWORKS
    assert 0 < claim.whole <= best.upper
    assert claim.upper >= best.lower


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
def test_gated_networks_lose_no_more_than_is_claimed(outputs: int, weighted: bool) -> None:
    X, y = data(3)
    y = np.stack([y, y**2], axis=1)[:, :outputs]
    weights = np.arange(1.0, 21.0) if weighted else None
    words = {"alpha": 0.05, "tol": 1e-8}
    model = ConvexRegressor("gated", rank=2, n_gates=12, random_state=0, **words)
    claim = model.fit(X, y, weights).certificate_
    whole = ConvexRegressor("gated", gates=model.generators_, **words).fit(X, y, weights)
    assert 0 < claim.whole <= whole.certificate_.upper <= claim.upper
    assert verify(model, X, y, weights)


# what a network of low rank is


def test_pixels_have_places() -> None:
    X, y = data(0)
    for architecture in (Circular(), ConvGated(shape=(1, X.shape[1]), kernel=2)):
        with pytest.raises(ValueError, match="pixels in their places, not directions of X"):
            ConvexRegressor(architecture, alpha=0.02, rank=2).fit(X, y)


@pytest.mark.parametrize("name", [name for name, one in BY_NAME.items() if not in_places(one)])
def test_the_network_sees_the_directions_alone(name: str, tmp_path: Path) -> None:
    X, y = data(0)
    model = ConvexRegressor(name, alpha=0.02, rank=2, n_gates=30, random_state=0, proof_time=0.2)
    model.fit(X, y)
    right = np.linalg.svd(X, full_matrices=False)[2][:2]
    np.testing.assert_allclose(model.predict(X @ right.T @ right), model.predict(X), atol=1e-9)
    loss = ((model.predict(X) - y) ** 2).mean() / 2
    expected = loss + 0.02 * model.network_.weight_decay()
    assert model.certificate_.upper == pytest.approx(expected, rel=1e-12)
    assert model.certificate_.relative_gap < 1e-3
    assert "leading directions alone, 2 of them" in model.certificate_.summary()
    assert (model.certificate_.whole is None) == (name not in ("relu", "gated"))
    assert verify(model, X, y)
    assert model.network_.weights_in.shape[-1] >= 4
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert again.certificate_ == model.certificate_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, y)


@pytest.mark.parametrize(
    ("name", "gates"),
    [("relu", "enumerate"), ("batchnorm", "enumerate"), ("polynomial", "auto"), ("relu", "grow")],
)
def test_full_rank_is_no_rank(name: str, gates: str) -> None:
    X, y = data(1, 7, 2)
    X = np.column_stack([X, X[:, 0] - X[:, 1]])  # of rank two
    words = {"alpha": 0.02, "gates": gates, "tol": 1e-7, "random_state": 0}
    every, ranked = (ConvexRegressor(name, rank=k, **words).fit(X, y) for k in (None, 2))
    assert ranked.certificate_.upper == pytest.approx(every.certificate_.upper, rel=1e-6)
    np.testing.assert_allclose(ranked.predict(X), every.predict(X), atol=2e-3)
    if name == "relu":
        claim = ranked.certificate_
        assert claim.whole == pytest.approx(claim.lower, rel=1e-9)


def test_validation_sparse_data_and_torch() -> None:
    X, y = data(2, 40)
    model = ConvexRegressorCV(alphas=4, cv=3, rank=2, random_state=0, proof_time=0).fit(X, y)
    assert model.directions_.shape == (4, 2)
    plain = ConvexRegressor("gated", alpha=0.05, rank=2, random_state=0, n_gates=9)
    thin = ConvexRegressor("gated", alpha=0.05, rank=2, random_state=0, n_gates=9)
    np.testing.assert_allclose(
        thin.fit(csr_array(X), y).predict(csr_array(X)), plain.fit(X, y).predict(X), atol=1e-6
    )
    pytest.importorskip("torch")
    import torch

    from cvxnn.export import to_torch

    module = to_torch(model)
    outputs = module(torch.asarray(X)).detach().numpy()
    np.testing.assert_allclose(outputs.ravel(), model.predict(X), atol=1e-9)


def test_gates_of_a_last_fit_and_own_gates_are_turned() -> None:
    X, y = data(4)
    words = {"alpha": 0.02, "rank": 2, "n_gates": 9, "random_state": 0}
    model = ConvexRegressor("gated", warm_start=True, **words).fit(X, y)
    first, upper = model.generators_, model.certificate_.upper
    np.testing.assert_allclose(model.fit(X, y).generators_, first, atol=1e-12)
    given = ConvexRegressor("gated", gates=first, alpha=0.02, rank=2).fit(X, y)
    assert given.certificate_.upper == pytest.approx(upper, rel=1e-3)


# what is not claimed, and bad input


def test_nothing_is_claimed_of_the_whole_where_nothing_is_proved() -> None:
    X, y = data(5, 8, 2)
    for words in ({"gates": "sample"}, {"gates": "enumerate", "skip": True}):
        model = ConvexRegressor(alpha=0.05, rank=1, random_state=0, **words).fit(X, y)
        assert model.certificate_.whole is None
        assert "no lower bound" in model.certificate_.summary()
        assert verify(model, X, y)

    class Odd(Squared):
        name = "odd"

    claim = model.certificate_
    words = {"alpha": 0.1, "outputs": 1, "skip": False}
    directions = leading_directions(X, np.ones(8), 1)
    made = [
        whole_of(ReLU(), replace(claim, scope=Scope.ALL_NETWORKS), X, np.ones(8), directions, loss,
                 **words)
        for loss in (Squared(), Odd())
    ]  # fmt: skip
    assert [one is None for one in made] == [False, True]


def test_other_claims_are_refused() -> None:
    X, y = data(6, 12, 2)
    model = ConvexRegressor(alpha=0.05, rank=1, random_state=0).fit(X, y)
    claim = model.certificate_
    assert verify(model, X, y)
    model.certificate_ = replace(claim, whole=claim.whole * 1.01)
    assert "all of the data give" in verify(model, X, y).reason
    model.certificate_ = claim
    model.directions_ = 2 * model.directions_
    assert "not orthonormal" in verify(model, X, y).reason
    with pytest.raises(UnsupportedError, match="fit without rank"):
        optimal_set(model, X, y)


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (0, "rank is 0; expected a positive integer"),
        (True, "rank is True; expected a positive integer"),
        (1.5, "rank is 1.5; expected a positive integer"),
        ("two", "rank is 'two'; expected a positive integer"),
        (3, "rank is 3 but X has rank 2; pass at most that"),
    ],
)
def test_a_strange_rank_is_an_error(rank: Any, said: str) -> None:
    X, y = data(7, 8, 2)
    X = np.column_stack([X, 2 * X[:, 0]])
    with pytest.raises(ValueError, match=said):
        ConvexRegressor(alpha=0.1, rank=rank).fit(X, y)


def test_the_command_line_takes_a_rank(tmp_path: Path) -> None:
    words = ["fit", "sklearn:diabetes", "-o", str(tmp_path / "m.cvxnn"), "--alpha", "0.5"]
    words += ["--rank", "3", "--proof-time", "0", "--tol", "0.01", "--json"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    claim = json.loads(run.stdout)["certificate"]
    assert claim["directions"] == 3
    assert claim["whole"] <= claim["lower"]


def test_directions_are_those_of_the_weighted_samples() -> None:
    X, _ = data(8)
    weights = np.arange(20.0) % 3 + 1
    repeated = np.repeat(X, weights.astype(int), axis=0)
    one = leading_directions(X, weights, 2)
    other = leading_directions(repeated, np.ones(len(repeated)), 2)
    np.testing.assert_allclose(one, other, atol=1e-12)
