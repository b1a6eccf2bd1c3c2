"""What users get wrong, and data that are odd but right: a clear error or the right answer."""

import math
import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    GatedReLU,
    ReLU,
    Scope,
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
    return ConvexRegressor(**settings | options)


def classifier(**options: Any) -> ConvexClassifier:
    settings = {"architecture": "gated", "alpha": 0.02, "n_gates": 12, "random_state": 0}
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
        (X[None], "Found array with dim 3"),
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
        ({"architecture": "transformer"}, "'transformer'; expected one of 'gated', 'relu'"),
        ({"loss": "zero_one"}, "loss is 'zero_one'; expected one of"),
        ({"gates": "all"}, "gates is 'all'; expected 'sample', 'enumerate' or an array"),
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
        with pytest.raises(ValueError, match="X has 2 features, but .* expecting 3"):
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


# odd but right


@pytest.mark.parametrize("architecture", ["gated", "relu"])
@pytest.mark.parametrize(
    "odd",
    [
        np.column_stack([X, np.full(20, 7.0)]),
        np.column_stack([X, np.zeros(20)]),
        np.column_stack([X, X]),
        np.column_stack([X[:, :1], X[:, :1]]),
        X[:2],
        X[:1],
        np.repeat(X[:3], 3, axis=0),
        np.zeros((6, 2)),
    ],
    ids=["constant", "zero", "duplicate", "twins", "wide", "one sample", "repeats", "all zero"],
)
def test_odd_features_have_the_right_answer(architecture: str, odd: np.ndarray) -> None:
    y = Y[: len(odd)]
    ours = regressor(architecture=architecture, tol=1e-6).fit(odd, y)
    exact = regressor(architecture=architecture, solver="reference", tol=1e-6).fit(odd, y)
    assert ours.solution_.status is Status.OPTIMAL
    slack = 1e-12 * float((y**2).sum())
    assert ours.certificate_.upper == pytest.approx(exact.certificate_.upper, rel=1e-5, abs=slack)
    assert verify(ours, odd, y)


@pytest.mark.parametrize("architecture", ["gated", "relu"])
def test_one_sample(architecture: str) -> None:
    model = regressor(architecture=architecture).fit(X[:1], Y[:1])
    np.testing.assert_allclose(model.predict(X[:1]), Y[:1], rtol=1e-6)
    with pytest.raises(ValueError, match="n_samples = 1 "):
        regressor(architecture=architecture, alpha="auto").fit(X[:1], Y[:1])


@pytest.mark.parametrize("alpha", [0.02, "auto"])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e12])
def test_a_constant_target(value: float, alpha: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CertificateWarning)  # no neurons are needed
        model = regressor(alpha=alpha).fit(X, np.full(20, value))
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-9)
    assert model.certificate_.proves(1e-4)


SCALES = pytest.mark.parametrize("scale", [1e-12, 1e12])
BARE = pytest.mark.parametrize(
    "architecture", [GatedReLU(bias=False), ReLU(bias=False)], ids=lambda one: one.name
)


@SCALES
@BARE
def test_targets_of_any_scale(architecture: Any, scale: float) -> None:
    """(y, alpha) to (c y, c alpha) takes the optimum p to c^2 p."""
    base = regressor(architecture=architecture, tol=1e-6).fit(X, Y)
    other = regressor(architecture=architecture, tol=1e-6, alpha=0.02 * scale).fit(X, scale * Y)
    assert other.solution_.status is Status.OPTIMAL
    expected = scale**2 * base.certificate_.upper
    assert other.certificate_.upper == pytest.approx(expected, rel=2e-6, abs=0)


@SCALES
@BARE
def test_features_of_any_scale(architecture: Any, scale: float) -> None:
    """(X, alpha) to (c X, c alpha) leaves the optimum alone where there is no hidden bias."""
    base = regressor(architecture=architecture, tol=1e-6).fit(X, Y)
    other = regressor(architecture=architecture, tol=1e-6, alpha=0.02 * scale).fit(scale * X, Y)
    assert other.solution_.status is Status.OPTIMAL
    assert other.certificate_.upper == pytest.approx(base.certificate_.upper, rel=2e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@SCALES
def test_scales_in_float32_end_honestly(scale: float) -> None:
    narrow = (scale * X).astype(np.float32)
    model = regressor(architecture=GatedReLU(bias=False), alpha=0.02 * scale).fit(narrow, Y)
    exact = regressor(architecture=GatedReLU(bias=False), tol=1e-6).fit(X, Y).certificate_
    assert model.certificate_.lower <= exact.upper * (1 + 1e-5)
    assert model.certificate_.upper >= exact.lower * (1 - 1e-5)
    assert (model.solution_.status is Status.OPTIMAL) == model.certificate_.proves(1e-4)


def test_a_run_cut_short_warns() -> None:
    with pytest.warns(ConvergenceWarning, match="iteration limit came first"):
        model = regressor(max_iter=1).fit(X, Y)
    assert model.solution_.status is Status.MAX_ITER
    assert verify(model, X, Y)
    with pytest.warns(ConvergenceWarning, match="time limit came first"):
        regressor(max_time=1e-9, tol=1e-12).fit(X, Y)


# dtype, weights, copies


@BOTH
def test_float32_is_kept_and_data_are_not_touched(model: Any, target: np.ndarray) -> None:
    narrow = X.astype(np.float32)
    before, labels = narrow.copy(), target.copy()
    fitted = clone(model).fit(narrow, target)
    np.testing.assert_array_equal(narrow, before)
    np.testing.assert_array_equal(target, labels)
    assert fitted.transform(narrow).dtype == np.float32
    assert fitted.certificate_.proves(1e-4)
    assert verify(fitted, narrow, target)
    if isinstance(fitted, ConvexRegressor):
        assert fitted.predict(narrow).dtype == np.float32
        assert fitted.predict(X).dtype == np.float64
    else:
        assert fitted.predict_proba(narrow).dtype == np.float32


def answers(model: Any) -> np.ndarray:
    return model.network_(X)


@BOTH
def test_a_weight_of_two_is_two_copies(model: Any, target: np.ndarray) -> None:
    counts = WEIGHTS.astype(int)
    weighted = clone(model).fit(X, target, sample_weight=WEIGHTS)
    copied = clone(model).fit(np.repeat(X, counts, axis=0), np.repeat(target, counts))
    np.testing.assert_allclose(answers(weighted), answers(copied), rtol=0, atol=1e-10)
    assert weighted.certificate_.upper == pytest.approx(copied.certificate_.upper, rel=1e-10)
    scaled = clone(model).fit(X, target, sample_weight=1e6 * WEIGHTS)
    assert scaled.certificate_.upper == pytest.approx(weighted.certificate_.upper, rel=1e-10)


@BOTH
def test_a_weight_of_zero_is_no_sample(model: Any, target: np.ndarray) -> None:
    weights = WEIGHTS * (np.arange(20) % 3 > 0)
    kept = weights > 0
    weighted = clone(model).fit(X, target, sample_weight=weights)
    fewer = clone(model).fit(X[kept], target[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(answers(weighted), answers(fewer), rtol=0, atol=1e-10)
    assert verify(weighted, X, target, sample_weight=weights)


@BOTH
def test_the_order_of_samples_does_not_matter(model: Any, target: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(20)
    here, there = clone(model).fit(X, target), clone(model).fit(X[order], target[order])
    np.testing.assert_allclose(answers(here), answers(there), rtol=0, atol=1e-10)


def test_balanced_classes() -> None:
    rare = np.where(np.arange(20) < 4, "rare", "common")
    balanced = classifier(class_weight="balanced").fit(X, rare)
    by_hand = classifier().fit(X, rare, sample_weight=np.where(rare == "rare", 20 / 8, 20 / 32))
    np.testing.assert_allclose(answers(balanced), answers(by_hand), rtol=0, atol=1e-10)
    named = classifier(class_weight={"rare": 4.0, "common": 1.0}).fit(X, rare)
    np.testing.assert_allclose(answers(named), answers(by_hand), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight="fair").fit(X, rare)


# frames, pipelines, copies


@BOTH
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(model: Any, target: np.ndarray, library: str) -> None:
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}
    frame = pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)
    fitted = clone(model).fit(frame, target)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.n_features_in_ == 3
    np.testing.assert_array_equal(answers(fitted), answers(clone(model).fit(X, target)))
    hidden = clone(model).set_output(transform=library).fit(frame, target).transform(frame)
    assert type(hidden) is type(frame)
    assert list(hidden.columns) == list(fitted.get_feature_names_out())
    assert len(hidden.columns) == fitted.network_.n_neurons


def test_text_in_a_frame() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "colour": "red"})
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit(frame, Y)


def test_weights_reach_the_end_of_a_searched_pipeline() -> None:
    with config_context(enable_metadata_routing=True):
        last = regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), last)
        grid = {"convexregressor__alpha": [0.01, 0.5], "convexregressor__n_gates": [4]}
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CertificateWarning)  # 0.5 may be too strong
            search.fit(X, Y, sample_weight=WEIGHTS)
        best = search.best_estimator_
        scaled = best[:-1].transform(X)
        alone = regressor(**search_parameters(search)).fit(scaled, Y, sample_weight=WEIGHTS)
        np.testing.assert_allclose(best.predict(X), alone.predict(scaled), rtol=0, atol=1e-10)
        unweighted = regressor(**search_parameters(search)).fit(scaled, Y)
        assert not np.allclose(best.predict(X), unweighted.predict(scaled))


def search_parameters(search: GridSearchCV) -> dict[str, Any]:
    return {name.split("__")[1]: value for name, value in search.best_params_.items()}


def test_fields_of_an_architecture_can_be_searched() -> None:
    grid = {"architecture": [GatedReLU(bias=True), GatedReLU(bias=False)], "alpha": [0.02]}
    search = GridSearchCV(regressor(), grid, cv=2, error_score="raise").fit(X, Y)
    assert search.best_params_["architecture"] in grid["architecture"]


@BOTH
def test_pickle_and_clone(model: Any, target: np.ndarray) -> None:
    fitted = clone(model).fit(X, target)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict(X), fitted.predict(X))
    assert copy.certificate_ == fitted.certificate_
    assert verify(copy, X, target)
    fresh = clone(fitted)
    assert not hasattr(fresh, "network_")
    assert fresh.get_params() == model.get_params()
    np.testing.assert_array_equal(fresh.fit(X, target).predict(X), fitted.predict(X))


# warm starts


@pytest.mark.parametrize("architecture", ["gated", "relu"])
def test_a_warm_start_goes_on_from_the_last_solution(architecture: str) -> None:
    model = regressor(architecture=architecture, warm_start=True, random_state=None)
    first = model.fit(X, Y)
    generators, cold = first.generators_, first.solution_.iterations
    model.fit(X, Y)
    np.testing.assert_array_equal(model.generators_, generators)
    assert model.solution_.iterations < cold
    model.set_params(alpha=0.019).fit(X, Y)
    assert model.solution_.status is Status.OPTIMAL
    assert verify(model, X, Y)


def test_a_warm_start_on_other_data_claims_no_more_than_it_knows() -> None:
    """All patterns of the old data are not all patterns of the new."""
    model = regressor(architecture=ReLU(), gates="enumerate", warm_start=True)
    model.fit(X[:6, :2], Y[:6])
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    model.fit(X[6:13, :2], Y[6:13])
    cold = regressor(architecture=ReLU(), gates="enumerate").fit(X[6:13, :2], Y[6:13])
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert verify(model, X[6:13, :2], Y[6:13])
    assert model.certificate_.upper == pytest.approx(cold.certificate_.upper, rel=2e-4)
    model.set_params(gates="sample").fit(X[:7, :2], Y[:7])
    assert model.certificate_.scope is Scope.GIVEN_GATES
    assert verify(model, X[:7, :2], Y[:7])
