"""Threshold and sign networks over all half-spaces: growth by widening, and what it proves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from cvxnn import (
    ConvexClassifier,
    ConvexClassifierCV,
    ConvexRegressor,
    ConvexRegressorCV,
    Scope,
    Status,
    load,
    save,
    verify,
)
from cvxnn.errors import CertificateWarning, MemoryBudgetError, UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6))
Y = np.sign(X[:, 0] * X[:, 1]) + 0.3 * RNG.standard_normal(40)


@pytest.mark.parametrize("name", ["threshold", "sign"])
@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 2])
def test_growth_ends_at_the_optimum_of_all_patterns(name: str, columns: int, outputs: int) -> None:
    y = np.column_stack([Y, X[:, 2] > 0])[:25, :outputs]
    words: dict[str, Any] = {"alpha": 0.03, "tol": 1e-6}
    grown = ConvexRegressor(name, **words).fit(X[:25, :columns], y)
    whole = ConvexRegressor(name, gates="enumerate", **words).fit(X[:25, :columns], y)
    assert grown.certificate_.scope is Scope.ALL_NETWORKS
    assert grown.certificate_.upper == pytest.approx(whole.certificate_.upper, rel=3e-6)
    assert grown.certificate_.relative_gap <= 1e-5
    assert grown.alpha_max_ == pytest.approx(whole.alpha_max_, rel=1e-9)
    assert verify(grown, X[:25, :columns], y)


def test_two_columns_and_a_bias_are_proved_for_hundreds_of_samples() -> None:
    rng = np.random.default_rng(1)
    plane = rng.standard_normal((300, 2))
    labels = (plane**2).sum(axis=1) > 1
    model = ConvexClassifier("threshold", alpha=0.02, tol=1e-3).fit(plane, labels)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert model.certificate_.proves(2e-3)
    assert model.certificate_.bound == "enumeration"
    assert model.score(plane, labels) > 0.95
    assert verify(model, plane, labels)
    assert not verify(model, plane[::-1], labels)


def test_growth_is_better_than_samples_and_says_what_it_knows(tmp_path: Path) -> None:
    words: dict[str, Any] = {"alpha": 0.05, "tol": 1e-3, "random_state": 0}
    grown = ConvexRegressor("threshold", **words).fit(X, Y)
    drawn = ConvexRegressor("threshold", gates="sample", **words).fit(X, Y)
    assert grown.certificate_.upper < 0.95 * drawn.certificate_.upper
    assert drawn.estimated_gap_ is None
    assert grown.estimated_gap_ is not None
    assert grown.certificate_.scope is Scope.GIVEN_GATES  # no search goes through all patterns
    assert grown.certificate_.relative_gap <= grown.estimated_gap_ + 1e-9
    assert len(grown.generators_) >= grown.network_.n_neurons
    assert verify(grown, X, Y)
    save(grown, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    np.testing.assert_array_equal(again.predict(X), grown.predict(X))
    assert again.estimated_gap_ == grown.estimated_gap_
    assert verify(again, X, Y)


def test_a_proof_over_all_networks_is_stored(tmp_path: Path) -> None:
    model = ConvexRegressor("sign", alpha=0.05, tol=1e-3).fit(X[:, :2], Y)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert verify(again, X[:, :2], Y)
    again.dual_ = 1.01 * again.dual_
    assert not verify(again, X[:, :2], Y + 0.1)


def test_one_seed_one_network_and_the_order_of_rows_is_no_matter() -> None:
    words: dict[str, Any] = {"alpha": 0.1, "tol": 1e-3, "random_state": 3}
    one, two = (ConvexRegressor("threshold", **words).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    turned = ConvexRegressor("threshold", **words).fit(X[::-1], Y[::-1])
    np.testing.assert_allclose(turned.certificate_.upper, one.certificate_.upper, rtol=1e-2)


def test_no_neurons_at_large_strengths() -> None:
    with pytest.warns(CertificateWarning, match="no neurons"):
        model = ConvexRegressor("threshold", alpha=100.0).fit(X, Y)
    assert model.network_.n_neurons == 0
    assert model.certificate_.relative_gap == pytest.approx(0, abs=1e-9)
    assert verify(model, X, Y)


def test_a_stop_keeps_the_best_so_far() -> None:
    seen: list[float] = []

    def stop(progress: Any) -> bool:
        seen.append(progress.certificate.upper)
        return len(seen) == 3

    with pytest.warns(UserWarning, match="stopped on request"):
        model = ConvexRegressor("threshold", alpha=0.01, callbacks=[stop]).fit(X, Y)
    assert model.solution_.status is Status.INTERRUPTED
    assert model.certificate_.upper == pytest.approx(min(seen))
    assert verify(model, X, Y)


def test_a_time_limit_keeps_the_best_so_far() -> None:
    with pytest.warns(UserWarning, match="time limit"):
        model = ConvexRegressor("threshold", alpha=0.001, tol=1e-8, max_time=0.2).fit(X, Y)
    assert model.solution_.status is Status.MAX_TIME
    assert verify(model, X, Y)


def test_a_warm_start_goes_on_from_the_last_gates() -> None:
    words: dict[str, Any] = {"alpha": 0.05, "tol": 1e-2, "warm_start": True, "random_state": 0}
    model = ConvexRegressor("threshold", **words).fit(X, Y)
    first = model.certificate_.upper
    model.fit(X, Y)
    assert model.certificate_.upper <= first * (1 + 1e-9)


def test_too_little_memory_is_said_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvxnn.memory.available", lambda: 10 * 2**20)
    with pytest.raises(MemoryBudgetError):
        ConvexRegressor("threshold", alpha=0.1).fit(X, Y)


def test_losses_with_kinks_have_drawn_gates() -> None:
    model = ConvexRegressor("threshold", alpha=0.02, loss="quantile", n_gates=16).fit(X, Y)
    assert model.estimated_gap_ is None
    assert model.certificate_.scope is Scope.GIVEN_GATES
    with pytest.raises(UnsupportedError, match="has kinks"):
        ConvexRegressor("threshold", alpha=0.1, loss="quantile", gates="grow").fit(X, Y)


def test_other_solvers_are_refused() -> None:
    with pytest.raises(ValueError, match="gates is 'grow', which has a solver of its own"):
        ConvexRegressor("threshold", alpha=0.1, solver="fista", gates="grow").fit(X, Y)


@pytest.mark.parametrize("refit", ["all", "average"])
def test_strengths_are_chosen(refit: str) -> None:
    words: dict[str, Any] = {"alphas": 3, "ratio": 0.05, "cv": 3, "refit": refit, "tol": 1e-2}
    model = ConvexRegressorCV("threshold", random_state=0, **words).fit(X, Y)
    assert model.losses_.shape == (3, 3)
    assert verify(model, X, Y)


def test_classes_share_neurons() -> None:
    labels = np.digitize(Y, [-0.5, 0.8])
    words: dict[str, Any] = {"alphas": 3, "ratio": 0.1, "cv": 2, "tol": 1e-2}
    model = ConvexClassifierCV("sign", random_state=0, **words).fit(X, labels)
    assert model.network_.weights_out.shape[1] == 3
    assert verify(model, X, labels)


def test_breast_cancer_has_better_half_spaces_than_drawn_ones() -> None:
    data, labels = load_breast_cancer(return_X_y=True)
    data, labels = StandardScaler().fit_transform(data)[:200, :10], labels[:200]
    words: dict[str, Any] = {"alpha": 0.03, "tol": 1e-2, "random_state": 0}
    grown = ConvexClassifier("threshold", **words).fit(data, labels)
    drawn = ConvexClassifier("threshold", gates="sample", **words).fit(data, labels)
    assert grown.certificate_.upper < 0.95 * drawn.certificate_.upper
    assert verify(grown, data, labels)
