"""Grown models as users have them: verified, saved, tampered with, warm-started, validated."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    ReLU,
    certify_network,
    from_sklearn,
    load,
    polish,
    save,
    verify,
)
from cvxnn.certificate import Scope
from cvxnn.errors import UnsupportedError
from cvxnn.solve import Status


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.abs(X[:, 0]) - X[:, -1] + 0.2 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def searched() -> Any:
    """A model whose bound is by search: rank 4, a bias and an intercept."""
    X, y = data(120, 3)
    model = ConvexRegressor(gates="grow", alpha=0.05, proof_time=10, random_state=0)
    model.fit(X, y)
    assert model.solution_.status is Status.BEST_FOUND
    return model, X, y


def test_a_grown_model_is_certified_among_all_networks(searched: Any) -> None:
    model, X, y = searched
    claim = model.certificate_
    assert claim.scope is Scope.ALL_NETWORKS
    assert claim.bound == "search"
    assert claim.relative_gap < 0.05
    again = verify(model, X, y)
    assert again.accepted, again.reason
    assert claim.lower <= again.certificate.lower <= claim.upper


def test_it_is_better_than_a_sampled_one(searched: Any) -> None:
    model, X, y = searched
    sampled = ConvexRegressor(gates="sample", n_gates=100, alpha=0.05, random_state=0).fit(X, y)
    assert model.certificate_.upper < sampled.certificate_.upper
    assert model.network_.n_neurons < sampled.network_.n_neurons


def test_it_survives_a_file(searched: Any, tmp_path: Path) -> None:
    model, X, y = searched
    save(model, tmp_path / "m.cvxnn")
    again = load(tmp_path / "m.cvxnn")
    assert (again.predict(X) == model.predict(X)).all()
    assert verify(again, X, y)
    save(again, tmp_path / "n.cvxnn")
    assert (tmp_path / "n.cvxnn").read_bytes() == (tmp_path / "m.cvxnn").read_bytes()


def test_what_was_moved_is_rejected(searched: Any) -> None:
    model, X, y = searched
    evidence = model.evidence(X, y)
    rng = np.random.default_rng(0)
    from cvxnn.certificate import check

    assert check(evidence)
    gap = evidence.claim.gap
    for size in (0.05, 0.3, 3.0):
        noise = size * np.abs(evidence.dual).max() * rng.standard_normal(evidence.dual.shape)
        assert not check(evidence._replace(dual=evidence.dual + noise))
    assert not check(evidence._replace(claim=replace(evidence.claim, lower=evidence.claim.upper)))
    assert not check(evidence._replace(objective=evidence.objective + 20 * gap))
    assert not verify(model, X, -y)


@pytest.mark.parametrize("kind", ["coordinate", "value"])
def test_a_tree_that_was_moved_proves_no_more(searched: Any, kind: str) -> None:
    model, X, y = searched
    rng = np.random.default_rng(1)
    problem_lower = model.certificate_.lower
    for _ in range(4):
        trees = list(model.proof_.trees)
        k = int(rng.integers(len(trees)))
        part = getattr(trees[k], kind).copy()
        part[int(rng.integers(len(part)))] += 1 if kind == "coordinate" else 0.3
        trees[k] = replace(trees[k], **{kind: part})
        moved = replace(model.proof_, trees=tuple(trees))
        original, model.proof_ = model.proof_, moved
        try:
            found = verify(model, X, y).certificate.lower
        finally:
            model.proof_ = original
        assert found <= model.certificate_.upper
        assert found <= problem_lower * (1 + 1e-2) or found == -np.inf


def test_low_rank_is_proved_by_enumeration() -> None:
    X, y = data(25, 2)
    model = ConvexRegressor(gates="grow", alpha=0.05, tol=1e-5, random_state=0).fit(X, y)
    assert model.solution_.status is Status.OPTIMAL
    assert model.certificate_.bound == "enumeration"
    assert verify(model, X, y)
    every = ConvexRegressor(gates="enumerate", alpha=0.05, tol=1e-6).fit(X, y)
    assert model.certificate_.upper == pytest.approx(every.certificate_.upper, rel=1e-5)


def test_the_oracles_of_the_optimal_sets_need_no_enumeration() -> None:
    """Four and eight atoms on which two and five neurons suffice [Mishkin2023]."""
    turn = np.arange(8) * np.pi / 4
    octagon = np.column_stack([np.cos(turn), np.sin(turn)])
    cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    for X, beta, optimum, most in ((cross, 0.2, 0.5256854, 2), (octagon, 0.3, 0.8657195, 5)):
        n = len(X)
        words = {"alpha": beta / n, "fit_intercept": False, "tol": 1e-6, "random_state": 0}
        model = ConvexRegressor(ReLU(bias=False), gates="grow", **words).fit(X, np.ones(n))
        assert n * model.certificate_.upper == pytest.approx(optimum, abs=1e-7)
        assert model.network_.n_neurons <= most


@pytest.mark.parametrize("words", [{"loss": "logistic"}, {"loss": "squared_hinge"}, {"skip": True}])
def test_other_losses_and_a_skip(words: Any) -> None:
    X, y = data(80, 3, seed=2)
    model = ConvexClassifier(gates="grow", alpha=0.01, random_state=0, **words)
    model.fit(X, y > 0.2, sample_weight=np.arange(80) % 3)
    assert 0 <= model.certificate_.lower <= model.certificate_.upper
    assert verify(model, X, y > 0.2, np.arange(80) % 3)


def test_alpha_is_validated() -> None:
    X, y = data(60, 3, seed=3)
    model = ConvexRegressor(gates="grow", proof_time=0, random_state=0).fit(X, y)
    assert 0 < model.alpha_ < model.alpha_max_
    assert model.score(X, y) > 0.8


def test_a_warm_start_gives_the_same() -> None:
    X, y = data(60, 3, seed=4)
    model = ConvexRegressor(gates="grow", alpha=0.02, warm_start=True, proof_time=0, random_state=0)
    first = model.fit(X, y).certificate_.upper
    assert model.fit(X, y).certificate_.upper == pytest.approx(first, rel=1e-4)


def test_a_network_of_scikit_learn_is_measured_and_polished() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X)[:150, :4], scale(y)[:150]
    trained = MLPRegressor(hidden_layer_sizes=(15,), alpha=0.0, max_iter=300, random_state=0)
    with pytest.warns(ConvergenceWarning):
        trained.fit(X, y)
    network = from_sklearn(trained)
    before = certify_network(network, X, y, alpha=0.05, gates="all", proof_time=1.0)
    assert before.scope is Scope.ALL_NETWORKS
    assert before.relative_gap > 0.1
    better = polish(network, X, y, alpha=0.05)
    after = certify_network(better, X, y, alpha=0.05, gates="all", proof_time=1.0)
    assert after.upper < before.upper
    assert after.lower <= after.upper


def test_certify_refuses_what_it_cannot_say() -> None:
    X, y = data(20, 2)
    gated = ConvexRegressor("gated", alpha=0.1, n_gates=5, random_state=0).fit(X, y).network_
    with pytest.raises(UnsupportedError, match="gates='all' speaks of networks that grow"):
        certify_network(gated, X, y, alpha=0.1, gates="all")
    dead = ConvexRegressor(gates="grow", alpha=1e3, random_state=0)
    with pytest.warns(UserWarning, match="no neurons"):
        dead.fit(X, y)
    for gates in ("own", "enumerate", "all"):
        found = certify_network(dead.network_, X, y, alpha=1e3, gates=gates)
        assert found.lower <= found.upper
    assert found.proves(1e-6)
