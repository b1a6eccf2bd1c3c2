"""Data that are odd but right, and the laws of weights, dtypes, frames and copies."""

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.test_bad_input import BOTH, WEIGHTS, X, Y, classifier, regressor

from cvxnn import (
    ConvexRegressor,
    GatedReLU,
    ReLU,
    Scope,
    Status,
    verify,
)
from cvxnn.errors import CertificateWarning


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # some need no neurons
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
    with pytest.warns(CertificateWarning, match="no neurons"):  # the intercept is enough
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
        model = regressor(solver="fista", max_iter=1).fit(X, Y)
    assert model.solution_.status is Status.MAX_ITER
    assert verify(model, X, Y)
    with pytest.warns(ConvergenceWarning, match="time limit came first"):
        regressor(solver="fista", max_time=1e-9, tol=1e-12).fit(X, Y)


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
    assert regressor().fit(frame, Y).encoder_.categories_ == [None, ["red"]]
    fitted = regressor().fit(frame.assign(colour=1.0), Y)
    for text in (frame, frame.to_numpy(dtype=object)):  # where training had numbers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # arrays have no names
            with pytest.raises(ValueError, match="could not convert string to float"):
                fitted.predict(text)
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit(frame.to_numpy(dtype=object), Y)  # arrays do not say what is a category


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
    assert model.solution_.iterations <= cold
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
