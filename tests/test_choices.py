"""What validation decides beside alpha: a skip connection, and the mean of the folds' networks."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit

from cvxnn import (
    ConvexClassifier,
    ConvexClassifierCV,
    ConvexRegressor,
    ConvexRegressorCV,
    Scope,
    Status,
    load,
    save,
    training,
    verify,
)
from cvxnn.architectures import GatedReLU
from cvxnn.functions import Squared
from cvxnn.gates import from_generators
from cvxnn.selection import Search, cross_validate, folds_from, squared_error
from cvxnn.solvers import WorkingSet

RNG = np.random.default_rng(0)
N = 50
X = RNG.normal(size=(N, 3))
Y = np.maximum(X @ [1.0, -1.0, 0.5], 0) + 0.2 * RNG.normal(size=N)
LINE = X @ [1.0, 2.0, -1.0] + 0.3 * RNG.normal(size=N)
CLASSES = np.digitize(Y, [0.1, 0.8])
GATES = RNG.normal(size=(8, 4))
FEW: dict[str, Any] = {
    "alphas": 4,
    "ratio": 1e-2,
    "cv": 3,
    "gates": GATES,
    "proof_time": 0.0,
    "random_state": 0,
}


# the mean of the folds


def test_the_networks_kept_are_those_that_were_judged() -> None:
    target, weights = Y[:, None], np.ones(N)
    architecture = GatedReLU()
    problem = training.problem_of(
        architecture,
        X,
        target,
        weights,
        Squared(),
        from_generators(architecture.features(X), GATES),
        scope=Scope.GIVEN_GATES,
        intercept=True,
        skip=False,
    )
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    folds = folds_from(splits, np.arange(N), weights, N)
    alphas = np.array([0.1, 0.03, 0.01])
    search = Search(patience=0, keep=True, tol=1e-9)
    found = cross_validate(problem, alphas, folds, WorkingSet(), squared_error, search)
    for row, alpha in enumerate(alphas):
        for k, (train, test) in enumerate(splits):
            network = found.networks[row][k]
            errors = (network(X[test])[:, 0] - Y[test]) ** 2
            assert found.losses[row, k] == pytest.approx(errors.mean())
            one = ConvexRegressor("gated", alpha=float(alpha), gates=GATES, tol=1e-8)
            alone = one.fit(X[train], Y[train])
            np.testing.assert_allclose(network(X)[:, 0], alone.predict(X), atol=1e-2)
    without = cross_validate(problem, alphas, folds, WorkingSet(), squared_error, Search())
    assert without.networks == ()


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (ConvexRegressorCV("gated", refit="average", **FEW), Y),
        (ConvexRegressorCV("gated", refit="average", rule="1se", **FEW), Y),
        (ConvexRegressorCV("gated", refit="average", **FEW), np.column_stack([Y, LINE])),
        (ConvexClassifierCV("gated", refit="average", **FEW), CLASSES),
        (ConvexClassifierCV("gated", refit="average", loss="hinge", **FEW), CLASSES > 0),
        (ConvexRegressorCV("relu", refit="average", **FEW), Y),
        (ConvexRegressorCV("relu", refit="average", **FEW | {"gates": "grow"}), Y),
    ],
)
def test_a_mean_is_a_network_with_an_honest_certificate(
    model: Any, y: np.ndarray, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    claim = model.certificate_
    assert model.solution_.status is Status.AVERAGED
    assert model.solution_.reason == "the mean of the networks of 3 folds"
    assert claim.lower <= claim.upper
    assert claim.scope is (Scope.ALL_NETWORKS if model.proof_ else Scope.GIVEN_GATES)
    assert verify(model, X, y)
    assert not verify(model, X[::-1], y)
    path = tmp_path / "model.cvxnn"
    save(model, path)
    again = load(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.solution_.status is Status.AVERAGED
    assert (again.refit, again.skip_) == ("average", False)
    assert verify(again, X, y)


def test_a_mean_is_between_the_bounds_of_the_optimum() -> None:
    mean = ConvexRegressorCV("gated", refit="average", **FEW).fit(X, Y)
    best = ConvexRegressorCV("gated", **FEW).fit(X, Y)
    assert mean.alpha_ == best.alpha_
    np.testing.assert_array_equal(mean.losses_, best.losses_)
    assert best.certificate_.lower <= mean.certificate_.upper
    assert mean.certificate_.lower <= best.certificate_.upper
    assert mean.certificate_.relative_gap > best.certificate_.relative_gap


def test_the_mean_of_one_fold_is_its_network() -> None:
    split = ShuffleSplit(1, random_state=0)
    words = FEW | {"cv": split, "alphas": [0.02]}
    mean = ConvexRegressorCV("gated", refit="average", **words).fit(X, Y)
    train, _ = next(split.split(X))
    alone = ConvexRegressor("gated", alpha=0.02, gates=GATES, tol=1e-6).fit(X[train], Y[train])
    np.testing.assert_allclose(mean.predict(X), alone.predict(X), atol=2e-2)


def test_the_mean_does_not_depend_on_processes() -> None:
    one, two = (
        ConvexRegressorCV("gated", refit="average", n_jobs=jobs, **FEW).fit(X, Y).predict(X)
        for jobs in (None, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_where_nothing_was_validated_there_is_no_mean() -> None:
    model = ConvexRegressorCV("gated", refit="average", **FEW).fit(X, np.ones(N))
    assert model.solution_.status is Status.OPTIMAL
    np.testing.assert_allclose(model.predict(X), 1.0)


# a skip connection


def test_a_skip_connection_is_taken_where_it_helps() -> None:
    auto, without, with_one = (
        ConvexRegressorCV("gated", skip=skip, **FEW).fit(X, LINE) for skip in ("auto", False, True)
    )
    assert (auto.skip_, without.skip_, with_one.skip_) == (True, False, True)
    assert with_one.losses_.mean(axis=1).min() < without.losses_.mean(axis=1).min()
    np.testing.assert_array_equal(auto.alpha_path_, with_one.alpha_path_)
    np.testing.assert_array_equal(auto.predict(X), with_one.predict(X))
    assert (auto.alpha_, auto.alpha_max_) == (with_one.alpha_, with_one.alpha_max_)


def test_a_skip_connection_is_left_out_where_it_does_not() -> None:
    words = FEW | {"gates": np.array([[1.0, -1.0, 0.5, 0.0]])}  # the one neuron of the truth
    auto, without = (ConvexRegressorCV("gated", skip=s, **words).fit(X, Y) for s in ("auto", False))
    assert not auto.skip_
    np.testing.assert_array_equal(auto.predict(X), without.predict(X))


def test_of_equals_there_is_none() -> None:
    y = np.sign(X[:, 0])
    far = X + 20 * y[:, None]  # every network tells them apart
    model = ConvexClassifierCV("gated", skip="auto", loss="squared", **FEW).fit(far, y)
    assert (model.losses_.min(), model.skip_) == (0.0, False)


def test_wide_data_have_no_skip_connection() -> None:
    wide = np.random.default_rng(0).normal(size=(30, 25))
    words = {name: word for name, word in FEW.items() if name != "gates"}
    model = ConvexRegressorCV("gated", skip="auto", n_gates=5, **words)
    assert not model.fit(wide, wide[:, 0]).skip_


def test_a_line_without_noise_is_found() -> None:
    model = ConvexRegressorCV("gated", skip="auto", **FEW).fit(X, X @ [1.0, 2.0, -1.0])
    assert model.skip_
    np.testing.assert_allclose(model.predict(X), X @ [1.0, 2.0, -1.0], atol=1e-6)


def test_the_answer_is_in_files_and_in_proofs(tmp_path: Path) -> None:
    model = ConvexRegressor("gated", skip="auto", gates=GATES).fit(X, LINE)
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert (again.skip, again.skip_) == ("auto", True)
    assert verify(model, X, LINE)
    assert verify(again, X, LINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"skip": "auto", "alpha": 0.1}, "skip is 'auto' and alpha 0.1; expected skip to be True"),
        ({"skip": "yes"}, "skip is 'yes' and alpha 'auto'; expected"),
    ],
)
def test_other_words_for_skip_are_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvexRegressor("gated", **words).fit(X, Y)


def test_other_words_for_refit_are_refused() -> None:
    with pytest.raises(ValueError, match="refit is 'mean'; expected 'all' or 'average'"):
        ConvexRegressorCV("gated", refit="mean", **FEW).fit(X, Y)


def test_without_neurons_a_skip_connection_is_logistic_regression() -> None:
    y = LINE + RNG.normal(size=N) > 0
    with pytest.warns(UserWarning, match="no neurons"):
        model = ConvexClassifier("gated", alpha=1e3, skip=True, gates=GATES).fit(X, y)
    linear = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.network_.skip[:, 0], linear.coef_[0], rtol=1e-4)
    np.testing.assert_allclose(model.network_.intercept, linear.intercept_, atol=1e-4)


def test_classes_that_a_line_separates_have_no_skip_connection() -> None:
    model = ConvexClassifierCV("gated", skip="auto", **FEW).fit(X, X[:, 0] > 0)  # no best line
    assert not model.skip_
    assert model.score(X, X[:, 0] > 0) > 0.8
    for classes in (X[:, 0] > 0, np.digitize(X[:, 0], [-0.5, 0.5])):
        with pytest.raises(ValueError, match="a line separates the classes"):
            ConvexClassifier("gated", alpha=0.1, skip=True, gates=GATES).fit(X, classes)
