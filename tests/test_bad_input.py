"""What users get wrong: the type of the error, and what it says."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    Status,
    verify,
)
from cvxnn.errors import CertificateWarning, CvxnnError, UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
Y = np.abs(X[:, 0]) - X[:, 1]
LABELS = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
WEIGHTS = RNG.integers(1, 4, 20).astype(float)


def regressor(**options: Any) -> ConvexRegressor:
    settings = {"architecture": "gated", "alpha": 0.02, "n_gates": 12, "random_state": 0}
    settings |= {"gates": "sample"}
    return ConvexRegressor(**settings | options)


def classifier(**options: Any) -> ConvexClassifier:
    settings = {"architecture": "gated", "alpha": 0.02, "n_gates": 12, "random_state": 0}
    settings |= {"gates": "sample"}
    return ConvexClassifier(**settings | options)


BOTH = pytest.mark.parametrize(
    ("model", "target"), [(regressor(), Y), (classifier(), LABELS)], ids=["regressor", "classifier"]
)


def with_entry(x: np.ndarray, value: Any) -> np.ndarray:
    other = x.astype(object if isinstance(value, str) else float)
    other[3] = value
    return other


# data


@BOTH
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_entry(X, math.nan), "contains NaN"),
        (with_entry(X, math.inf), "contains infinity"),
        (with_entry(X, "red"), "could not convert string to float"),
        (X.astype(str)[:, :1] + "?", "could not convert string to float"),
        (X[0], "Expected 2D array, got 1D array"),
        (X[None], r"X has shape \(1, 20, 3\); pass the architecture with shape="),
        (X[:0], "Found array with 0 sample"),
        (X[:, :0], "0 feature"),
        (X[:5], "inconsistent numbers of samples"),
        (X + 1j, "Complex data not supported"),
    ],
)
def test_features_must_be_numbers_in_a_table(
    model: Any, target: np.ndarray, data: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        clone(model).fit(data, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (with_entry(Y, math.nan), "contains NaN"),
        (with_entry(Y, math.inf), "contains infinity"),
        (with_entry(Y, "red"), "could not convert string"),
        (Y[:5], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
        (Y[:, None, None], "dim 3"),
    ],
)
def test_targets_must_be_numbers(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regressor().fit(X, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.repeat("one", 20), "one class .* 'one'"),
        (Y, "Unknown label type: continuous"),
        (np.where(Y > 0, math.nan, 1.0), "contains NaN"),
        (np.stack([LABELS, LABELS], axis=1), "y should be a 1d array"),
    ],
)
def test_classes_must_be_labels(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, target)


def test_one_class_is_left_by_the_weights() -> None:
    with pytest.raises(ValueError, match="one class among the samples of positive weight"):
        classifier().fit(X, LABELS, sample_weight=(LABELS == "yes").astype(float))


def test_a_column_of_labels_is_taken_with_a_warning() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = classifier().fit(X, LABELS[:, None])
    assert model.score(X, LABELS) > 0.5


@BOTH
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(20), "zero for every sample"),
        (with_entry(WEIGHTS, -1.0), r"sample_weight\[3\] is -1.0"),
        (with_entry(WEIGHTS, math.nan), r"sample_weight\[3\] is nan"),
        (with_entry(WEIGHTS, math.inf), r"sample_weight\[3\] is inf"),
        (WEIGHTS[:5], r"sample_weight has shape \(5,\) but X has 20 rows"),
        (WEIGHTS[:, None], r"sample_weight has shape \(20, 1\)"),
        (with_entry(WEIGHTS, "heavy"), "could not convert string"),
    ],
)
def test_weights_must_be_weights(
    model: Any, target: np.ndarray, weights: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, target, sample_weight=weights)


# options


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha is 0; expected 'auto' or a positive number"),
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"alpha": math.inf}, "alpha is inf"),
        ({"alpha": None}, "alpha is None"),
        ({"alpha": [0.1, 0.2]}, "alpha is .0.1, 0.2."),
        ({"alpha": "x"}, "alpha is 'x'; expected 'auto'"),
        ({"tol": 0}, "tol is 0"),
        ({"tol": -1e-3}, "tol is -0.001"),
        ({"tol": math.nan}, "tol is nan"),
        ({"tol": "small"}, "tol is 'small'"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_iter": -5}, "max_iter is -5"),
        ({"max_time": 0}, "max_time is 0"),
        ({"max_time": -1.0}, "max_time is -1.0"),
        ({"n_gates": 0}, "n_gates is 0; expected a positive integer"),
        ({"n_gates": 2.5}, "n_gates is 2.5"),
        (
            {"architecture": "transformer"},
            "'transformer'; expected one of 'attention', 'batchnorm', ",
        ),
        ({"loss": "zero_one"}, "loss is 'zero_one'; expected one of"),
        (
            {"gates": "all"},
            "gates is 'all'; expected 'auto', 'grow', 'sample', 'enumerate' or an array",
        ),
        ({"gates": None}, r"generators have shape \(\)"),
        ({"gates": 5}, r"generators have shape \(\)"),
        ({"gates": np.ones(4)}, r"generators have shape \(4,\); expected \(p, 4\)"),
        ({"gates": np.ones((2, 3))}, r"generators have shape \(2, 3\); expected \(p, 4\)"),
        ({"gates": np.ones((0, 4))}, "p >= 1"),
        ({"gates": np.full((1, 4), math.nan)}, "generators hold NaN or infinite entries"),
        ({"solver": "adam"}, "solver is 'adam'; expected one of 'admm', 'auto'"),
        ({"random_state": "lucky"}, "'lucky' cannot be used to seed"),
        ({"device": "abacus"}, "device='abacus'"),
    ],
)
def test_options_are_checked(
    model: Any, target: np.ndarray, options: dict[str, Any], message: str
) -> None:
    if "device" in options:
        pytest.importorskip("torch")
    with pytest.raises(ValueError, match=message):
        clone(model).set_params(**options).fit(X, target)


def test_a_loss_for_classes_is_none_for_numbers() -> None:
    with pytest.raises(ValueError, match="loss is 'logistic'; expected one of 'huber'"):
        regressor(loss="logistic").fit(X, Y)
    with pytest.raises(AttributeError, match="predict_proba"):
        classifier(loss="hinge").fit(X, LABELS).predict_proba(X)


def test_a_solver_says_why_not() -> None:
    with pytest.raises(UnsupportedError, match="use solver='admm'"):
        regressor(architecture="relu", solver="fista").fit(X, Y)


def test_cuda_that_is_not_there() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        assert regressor(device="cuda").fit(X, Y).solution_.status is Status.OPTIMAL
        return
    with pytest.raises(CvxnnError, match="device='cuda' is not at hand"):
        regressor(device="cuda").fit(X, Y)


def test_torch_on_the_cpu_gives_the_same() -> None:
    pytest.importorskip("torch")
    here, there = regressor(tol=1e-8).fit(X, Y), regressor(tol=1e-8, device="cpu").fit(X, Y)
    assert there.certificate_.upper == pytest.approx(here.certificate_.upper, rel=1e-7)
    assert type(there.predict(X)) is np.ndarray
    assert verify(there, X, Y)


# after fit


@pytest.mark.parametrize("call", ["predict", "transform", "score"])
@BOTH
def test_not_fitted(model: Any, target: np.ndarray, call: str) -> None:
    arguments = (X, target) if call == "score" else (X,)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(clone(model), call)(*arguments)


@BOTH
def test_other_columns(model: Any, target: np.ndarray) -> None:
    fitted = clone(model).fit(X, target)
    for call in (fitted.predict, fitted.transform):
        with pytest.raises(ValueError, match=r"X has 2 features, but .* expecting 3"):
            call(X[:, :2])
        with pytest.raises(ValueError, match="contains NaN"):
            call(with_entry(X, math.nan))
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = clone(model).fit(frame, target)
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame.rename(columns={"a": "z"}))


@BOTH
def test_verify_takes_no_other_data(model: Any, target: np.ndarray) -> None:
    fitted = clone(model).fit(X, target)
    assert verify(fitted, X, target)
    others = [(X + 1e-9, target), (X[:15], target[:15]), (X, target[::-1])]
    for data, other in others:
        verdict = verify(fitted, data, other)
        assert not verdict
        assert "not the data that the model was trained on" in verdict.reason
    assert not verify(fitted, X, target, sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="X has 2 features"):
        verify(fitted, X[:, :2], target)


def test_verify_knows_the_classes() -> None:
    fitted = classifier().fit(X, LABELS)
    with pytest.raises(ValueError, match="'maybe', which is none of the classes"):
        verify(fitted, X, np.where(LABELS == "yes", "maybe", "no"))


# alpha


@pytest.mark.parametrize("factor", [1.0 + 1e-9, 3.0, 1e6])
def test_alpha_above_the_largest(factor: float) -> None:
    largest = regressor().fit(X, Y).alpha_max_
    with pytest.warns(CertificateWarning, match="the best network has no neurons"):
        model = regressor(alpha=factor * largest).fit(X, Y)
    assert model.network_.n_neurons == 0
    assert model.certificate_.proves(1e-4)
    np.testing.assert_allclose(model.predict(X), Y.mean(), rtol=1e-8)
    assert model.transform(X).shape == (20, 0)
    assert verify(model, X, Y)


def test_log_odds_above_the_largest() -> None:
    with pytest.warns(CertificateWarning, match="no neurons"):
        model = classifier(alpha=10.0).fit(X, LABELS, sample_weight=WEIGHTS)
    share = WEIGHTS[LABELS == "yes"].sum() / WEIGHTS.sum()
    odds = np.log(share / (1 - share))
    np.testing.assert_allclose(model.decision_function(X), odds, rtol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], share, rtol=1e-5)


def test_alpha_just_below_the_largest_has_neurons() -> None:
    largest = regressor().fit(X, Y).alpha_max_
    assert regressor(alpha=0.99 * largest, tol=1e-8).fit(X, Y).network_.n_neurons > 0
