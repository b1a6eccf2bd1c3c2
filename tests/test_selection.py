"""Choosing alpha: the folds, the rule, and what a user finds after it went well or badly."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import KFold, PredefinedSplit, cross_val_score

from cvxnn import (
    ConvexClassifierCV,
    ConvexRegressor,
    ConvexRegressorCV,
    load,
    save,
    verify,
)
from cvxnn import path as paths
from cvxnn.errors import CertificateWarning
from cvxnn.functions import Squared
from cvxnn.selection import Fold, Search, Table, folds_from, misclassified

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 4))
y = np.maximum(X @ [1.0, -1.0, 0.5, 0.0], 0) + 0.3 * rng.standard_normal(60)
GATES = rng.standard_normal((12, 5))
ALPHAS = np.array([0.3, 0.1, 0.03, 0.01])


def table(*rows: list[float]) -> Table:
    losses = np.array(rows)
    folds = losses.shape[1]
    share = np.full(folds, 1 / folds)
    return Table(10.0 ** -np.arange(len(rows)), losses, share, losses @ share)


def test_the_least_loss_wins_and_ties_go_to_the_larger_alpha() -> None:
    assert table([3, 3], [1, 2], [2, 1], [2, 2]).best("min") == 1


def test_of_equal_shares_of_labels_the_trained_loss_decides() -> None:
    found = table([3, 3], [1, 2], [2, 1], [1.5 + 1e-12, 1.5], [2, 2])
    assert found._replace(guide=np.array([5.0, 4.0, 3.0, 2.0, 1.0])).best("min") == 3
    assert found._replace(guide=np.array([5.0, 4.0, 2.0, 2.0, 1.0])).best("min") == 2
    near = table([1, 1], [1 + 1e-6, 1])._replace(guide=np.array([2.0, 1.0]))
    assert near.best("min") == 0  # not equal


def test_one_standard_error() -> None:
    found = table([3.0, 3.2], [2.0, 1.4], [1.0, 2.0], [1.5, 2.5])
    assert found.error[2] == pytest.approx(np.std([1.0, 2.0], ddof=1) / np.sqrt(2))
    assert (found.best("min"), found.best("1se")) == (2, 1)  # 1.7 is within 1.5 + 0.5, 3.1 is not


def test_patience_counts_from_the_best() -> None:
    found = table([3, 3], [1, 1], [2, 2], [1, 1])
    assert [found.ended(k) for k in (0, 1, 2, 3)] == [False, True, True, False]
    falling = found._replace(guide=np.array([4.0, 3.0, 2.0, 1.0]))  # labels wait for the loss
    assert not any(falling.ended(k) for k in (1, 2, 3))


def test_shares_of_labels_are_given_a_third_chance() -> None:
    rng = np.random.default_rng(0)
    data, words = rng.standard_normal((60, 3)), {"alphas": 12, "n_gates": 20, "random_state": 0}
    target = data[:, 0] + 3 * rng.standard_normal(60)
    for model, labels, more in (
        (ConvexRegressorCV("gated", **words), target, 2),
        (ConvexClassifierCV("gated", scoring="loss", **words), target > 0, 2),
        (ConvexClassifierCV("gated", **words), target > 0, 3),
    ):
        model.fit(data, labels)
        assert len(model.alphas_) < 12
        best = int(model.alpha_path_[:, 1].argmin())
        assert len(model.alphas_) >= best + 1 + more
        if more == 2:  # the loss that is counted is the one that is trained
            assert len(model.alphas_) == best + 1 + more


def test_losses_are_those_of_separate_fits() -> None:
    """Against scikit-learn's own loop over the folds, each fit from nothing and precise."""
    folds = KFold(4, shuffle=True, random_state=0)
    words = {"gates": GATES, "proof_time": 0.0}
    model = ConvexRegressorCV(
        "gated", alphas=ALPHAS, cv=folds, scoring="squared_error", **words
    ).fit(X, y)
    assert model.alphas_.tolist() == ALPHAS.tolist()
    for row, alpha in enumerate(ALPHAS):
        one = ConvexRegressor("gated", alpha=float(alpha), tol=1e-8, **words)
        errors = -cross_val_score(one, X, y, cv=folds, scoring="neg_mean_squared_error")
        np.testing.assert_allclose(model.losses_[row], errors, rtol=2e-2)
    assert model.alpha_ == ALPHAS[model.losses_.mean(axis=1).argmin()]
    whole = ConvexRegressor("gated", alpha=model.alpha_, **words).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), atol=1e-2)


@pytest.mark.parametrize("architecture", ["gated", "relu"])
def test_the_number_of_jobs_changes_nothing(architecture: str) -> None:
    words = {
        "alphas": 5,
        "ratio": 1e-2,
        "cv": 3,
        "n_gates": 20,
        "random_state": 0,
        "proof_time": 0.0,
    }
    one, two = (
        ConvexRegressorCV(architecture, n_jobs=jobs, **words).fit(X, y) for jobs in (None, 2)
    )
    assert one.losses_.tolist() == two.losses_.tolist()
    assert one.alpha_ == two.alpha_
    assert one.predict(X).tolist() == two.predict(X).tolist()


def test_copies_of_rows_are_weights() -> None:
    """Rows that are copied into one split by the user's splitter keep their counts there."""
    owner, weights = np.array([0, 1, 0, -1, 2]), np.array([1.0, 2.0, 3.0, 0.0, 4.0])
    (fold,) = folds_from([(np.array([0, 1, 2, 3]), np.array([0, 4]))], owner, weights, 3)
    assert fold.train.tolist() == [4.0, 2.0, 0.0]
    assert fold.test.tolist() == [1.0, 0.0, 4.0]


def test_classes_are_compared_by_their_labels() -> None:
    one = misclassified(np.array([[0.2], [-3.0], [0.0]]), np.array([[1.0], [1.0], [-1.0]]))
    three = misclassified(np.array([[0.1, 0.3, 0.2]]), np.eye(3)[[1]])
    assert (one.tolist(), three.tolist()) == ([0.0, 1.0, 0.0], [0.0])


def test_classes_are_chosen_well(tmp_path: Path) -> None:
    iris, labels = load_iris(return_X_y=True)
    model = ConvexClassifierCV("gated", alphas=8, ratio=3e-3, n_gates=20, random_state=0)
    model.fit(iris, labels)
    assert model.score(iris, labels) > 0.95
    assert model.losses_.shape == (len(model.alphas_), 5)
    simpler = clone(model).set_params(rule="1se").fit(iris, labels)
    assert simpler.alpha_ > model.alpha_
    assert simpler.losses_.tolist() == model.losses_.tolist()
    assert verify(model, iris, labels)
    save(model, tmp_path / "iris.cvxnn")
    again = load(tmp_path / "iris.cvxnn")
    assert again.predict(iris).tolist() == model.predict(iris).tolist()
    assert again.losses_.tolist() == model.losses_.tolist()
    assert again.get_params() == model.get_params()


def test_strengths_of_ones_own_are_kept_in_files(tmp_path: Path) -> None:
    model = ConvexRegressorCV("gated", alphas=ALPHAS[:2], n_gates=8, random_state=0).fit(X, y)
    save(model, tmp_path / "model.cvxnn")
    assert load(tmp_path / "model.cvxnn").alphas.tolist() == ALPHAS[:2].tolist()


def test_a_fold_that_fails_says_where() -> None:
    class Broken(Squared):
        def gradient(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
            if len(f) < 50:  # inside folds alone
                raise ArithmeticError("the loss broke")
            return super().gradient(f, y)

    model = ConvexRegressorCV("gated", alphas=ALPHAS, cv=3, loss=Broken(), n_gates=8)
    with pytest.raises(ArithmeticError, match="broke") as caught:
        model.fit(X, y)
    assert caught.value.__notes__ == ["in cross-validation: fold 1 of 3, alpha = 0.3"]


def test_a_fold_that_fails_in_another_process_says_where() -> None:
    bad = PredefinedSplit(np.arange(60) % 2)
    model = ConvexRegressorCV("gated", alphas=ALPHAS, cv=bad, loss=Failing(), n_gates=8, n_jobs=2)
    with pytest.raises(ArithmeticError, match="failed"):
        model.fit(X, y)


class Failing(Squared):
    """Fails on data of half the size."""

    def gradient(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        if len(f) == 30:
            raise ArithmeticError("the loss failed")
        return super().gradient(f, y)


def interrupted_after(solves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count, solve_part = iter(range(10**6)), paths.solve_part

    def stop(*args: object, **limits: object) -> object:
        if next(count) == solves:
            raise KeyboardInterrupt
        return solve_part(*args, **limits)  # type: ignore[arg-type]

    monkeypatch.setattr(paths, "solve_part", stop)


def test_an_interrupt_keeps_the_finished_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_after(8, monkeypatch)
    model = ConvexRegressorCV("gated", alphas=ALPHAS, cv=3, n_gates=8, random_state=0)
    with pytest.warns(CertificateWarning, match="interrupted: alpha is the best of 2 of 4"):
        model.fit(X, y)
    assert model.losses_.shape == (2, 3)
    assert model.alpha_ in ALPHAS[:2]


def test_an_interrupt_before_any_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ConvexRegressorCV("gated", alphas=ALPHAS, cv=3, n_gates=8).fit(X, y)


def test_the_time_limit_keeps_the_finished_strengths() -> None:
    data, target = load_diabetes(return_X_y=True)
    strengths = np.geomspace(10.0, 0.01, 400)
    model = ConvexRegressorCV("gated", alphas=strengths, max_time=1.0, random_state=0)
    with warnings.catch_warnings(record=True) as caught:  # the training may not be over either
        warnings.simplefilter("always")
        model.fit(100 * data, target)
    said = [str(one.message) for one in caught if one.category is CertificateWarning]
    assert "the time for it was over: alpha is the best of" in said[0]
    assert 1 <= len(model.alphas_) < 400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"rule": "best"}, "rule is 'best'; expected one of 'min', '1se'"),
        ({"ratio": 1.0}, "ratio is 1.0; it must lie between 0 and 1"),
        ({"alphas": 0}, "alphas is 0; expected at least 1"),
        ({"alphas": [0.1, -1.0]}, "positive finite"),
        ({"alphas": [0.1, np.nan]}, "positive finite"),
        ({"cv": 1}, "cv is 1; expected at least 2 folds, or a splitter"),
        ({"cv": []}, "cv gives no splits"),
        ({"cv": [(np.arange(60), np.arange(0))]}, "split 0 of cv has no test rows"),
        ({"scoring": "accuracy"}, "scoring is 'accuracy'; expected one of 'loss'"),
    ],
)
def test_what_cannot_be_is_said(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvexRegressorCV("gated", n_gates=8, **words).fit(X, y)  # type: ignore[arg-type]


def test_copies_and_weights_agree() -> None:
    weights = rng.integers(1, 4, len(X))
    twice = np.repeat(np.arange(len(X)), weights)
    one = ConvexRegressorCV("gated", gates=GATES, alphas=5, random_state=0)
    two = clone(one).fit(X[twice], y[twice])
    one.fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(one.losses_, two.losses_, rtol=1e-10)
    assert one.alpha_ == pytest.approx(two.alpha_)


def test_a_search_falls_from_half_the_largest() -> None:
    alphas = Search(alphas=3, ratio=0.02).strengths(10.0)
    np.testing.assert_allclose(alphas, [5.0, 1.0, 0.2])
    assert Fold(np.ones(1), np.zeros(1)).train.sum() == 1
