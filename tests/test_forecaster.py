"""Series: windows that share memory, forecasts, the order of time, and what is refused."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from cvxnn import (
    ConvexForecaster,
    ConvexRegressor,
    GatedReLU,
    ReLU,
    Status,
    load,
    save,
    verify,
)
from cvxnn.errors import CertificateWarning, ModelFormatError, UnsupportedError
from cvxnn.lags import Series, ordered_splits, series_of
from cvxnn.regimes import regimes_of
from cvxnn.timestamps import require_even

RNG = np.random.default_rng(0)
FEW: dict[str, Any] = {"alpha": 1e-3, "n_gates": 12, "random_state": 0, "tol": 1e-4}


def tent(n: int, start: float = 0.1, kink: float = 0.0) -> np.ndarray:
    """A series that two linear models explain: y[t] = 1 - 1.9 |y[t - 1] - kink|."""
    values = [start]
    for _ in range(n - 1):
        values.append(1 - 1.9 * abs(values[-1] - kink))
    return np.array(values)


def noisy(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A series with a season and a column that is known ahead."""
    t, rng = np.arange(n), np.random.default_rng(1)
    X = rng.normal(size=(n, 2))
    y = 5 + 3 * np.sin(t / 3) + 2 * np.maximum(X[:, 0], 0) + 0.1 * rng.normal(size=n)
    return y, X


# windows


def test_windows_are_the_hankel_matrix_and_share_the_memory_of_the_series() -> None:
    y, X = noisy(12)
    series = series_of(y, X)
    expected = np.array([y[t : t + 3] for t in range(8)])
    np.testing.assert_array_equal(series.windows(3, 2), expected)
    np.testing.assert_array_equal(series.targets(3, 2), [y[t + 3 : t + 5] for t in range(8)])
    np.testing.assert_array_equal(series.beside(3, 2), [X[t + 3 : t + 5] for t in range(8)])
    for view in (series.windows(3, 2), series.targets(3, 2)):
        assert np.shares_memory(view, y)
    assert np.shares_memory(series.beside(3, 2), X)
    features = series.features(3, 2)
    np.testing.assert_array_equal(features[5], [*y[5:8], *X[8], *X[9]])


def test_large_windows_of_gated_networks_are_never_written_out() -> None:
    n, lags = 60_000, 300  # 137 MiB of windows
    y = np.sin(np.arange(n) / 7.0) ** 3
    model = ConvexForecaster(
        "gated",
        lags=lags,
        alpha=0.05,
        n_gates=2,
        tol=0.5,
        skip=False,
        solver="fista",
        random_state=0,
    )
    tracemalloc.start()
    model.fit(y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * n * lags / 2


def test_windows_with_missing_values_take_no_part() -> None:
    y = np.arange(9.0)
    y[4] = np.nan
    series = series_of(y, missing="skip")
    assert series.whole(2, 1).tolist() == [True, True, False, False, False, True, True]
    assert not np.isnan(series.windows(2, 1)).any()


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("validation", [0.3, 4])
def test_no_target_of_training_is_validated(horizon: int, validation: Any) -> None:
    whole = np.ones(40, dtype=bool)
    whole[[7, 30]] = False
    splits = ordered_splits(whole, horizon, validation)
    assert len(splits) == (4 if validation == 4 else 1)
    for train, test in splits:
        targets = {t + h for t in train for h in range(horizon)}
        assert max(targets) < test.min()
        assert whole[train].all()
        assert whole[test].all()
    assert splits[-1][1][-1] == 39
    tested = np.concatenate([test for _, test in splits])
    assert (np.diff(tested) > 0).all()


# training and forecasts


@pytest.mark.parametrize("architecture", ["relu", "gated", ReLU(bias=False), GatedReLU(bias=False)])
def test_it_is_the_regressor_on_the_windows(architecture: Any) -> None:
    y = tent(40) + 0.1 * np.random.default_rng(2).normal(size=40)
    words = FEW | {"architecture": architecture, "skip": False}
    model = ConvexForecaster(lags=2, scale=False, **words).fit(y)
    rows = np.column_stack([y[:-2], y[1:-1]])
    other = ConvexRegressor(**words).fit(rows, y[2:])
    assert model.certificate_ == other.certificate_
    np.testing.assert_array_equal(model.predict(y), other.predict(rows))
    assert verify(model, y)
    assert not verify(model, y[::-1].copy())


def test_a_piecewise_linear_series_is_found_and_continued() -> None:
    y = tent(140)
    model = ConvexForecaster("relu", lags=1, alpha=1e-7, proof_time=0.0).fit(y[:120])
    assert model.score(y[119:]) > 1 - 1e-9
    np.testing.assert_allclose(model.forecast(4), y[120:124], atol=1e-4)
    np.testing.assert_allclose(model.forecast(4, after=y[:60]), y[60:64], atol=1e-4)


@pytest.mark.parametrize("horizon", [1, 2])
def test_long_forecasts_go_on_from_their_own(horizon: int) -> None:
    y, X = noisy(60)
    model = ConvexForecaster("gated", lags=3, horizon=horizon, **FEW).fit(y[:50], X[:50])
    far = model.forecast(4, X[50:54])
    window = y[47:50]
    for block in range(4 // horizon):
        at = 50 + block * horizon
        step = model.forecast(horizon, X[at : at + horizon], after=window)
        np.testing.assert_allclose(step, far[block * horizon : (block + 1) * horizon])
        window = np.concatenate([window, step])[-3:]
    paths = model.predict(y[44:54], X[44:54], steps=4)
    assert paths.shape == (4, 4)
    np.testing.assert_allclose(paths[3], far)


def test_one_step_is_one_column_and_more_steps_are_more() -> None:
    y, _ = noisy(50)
    one = ConvexForecaster("gated", lags=4, **FEW).fit(y)
    assert one.predict(y).shape == (46,)
    assert one.predict(y, steps=3).shape == (44, 3)
    several = ConvexForecaster("gated", lags=4, horizon=3, **FEW | {"tol": 1e-2}).fit(y)
    assert several.predict(y).shape == (44, 3)
    assert several.forecast().shape == (3,)
    assert several.network_.weights_out.shape[1] == 3
    assert several.score(y) > 0.9
    assert several.forecast(1).shape == (1,)


def test_what_is_known_ahead_helps() -> None:
    y, X = noisy(200)
    alone = ConvexForecaster("gated", lags=6, **FEW).fit(y[:150])
    beside = ConvexForecaster("gated", lags=6, **FEW).fit(y[:150], X[:150])
    assert beside.score(y[144:], X[144:]) > alone.score(y[144:]) + 0.1


def test_alpha_is_chosen_by_the_steps_at_the_end() -> None:
    y, _ = noisy(120)
    alphas = [0.1, 0.03, 0.01, 0.003]
    model = ConvexForecaster("gated", lags=4, alphas=alphas, n_gates=8, random_state=0).fit(y)
    assert model.losses_.shape == (4, 1)
    assert model.alpha_ in model.alphas_
    # the scale is that of the steps before the first that is validated
    assert model.scale_.mean == pytest.approx(y[: 120 - round(0.2 * 116)].mean())
    blocks = clone(model).set_params(validation=3).fit(y)
    assert blocks.losses_.shape == (4, 3)
    # later steps have no say in earlier validation: the fold's losses do not change
    other = y.copy()
    other[-1] += 100.0
    again = clone(blocks).fit(other)
    np.testing.assert_allclose(again.losses_[0, :2], blocks.losses_[0, :2], rtol=0.2)


def test_missing_values_leave_out_their_windows() -> None:
    y = tent(80)
    holed = y.copy()
    holed[[20, 50]] = np.nan
    words: dict[str, Any] = {"lags": 2, "scale": False} | FEW
    model = ConvexForecaster("gated", missing="skip", **words).fit(holed)
    found = model.predict(holed)
    assert np.flatnonzero(np.isnan(found)).tolist() == [18, 19, 20, 48, 49, 50]
    assert np.isfinite(model.score(holed))
    assert verify(model, holed)
    kept = np.isfinite(found)
    rows = np.column_stack([y[:-2], y[1:-1]])[kept]
    other = ConvexRegressor("gated", skip=True, gates=model.regressor_.generators_, **FEW)
    other.fit(rows, y[2:][kept])
    assert model.certificate_.upper == pytest.approx(other.certificate_.upper, rel=1e-5)
    assert (model.regimes(holed).labels == -1).sum() == 6


def test_a_constant_series_is_continued() -> None:
    with pytest.warns(CertificateWarning, match="no neurons"):
        model = ConvexForecaster("gated", lags=2, **FEW).fit(np.full(30, 7.0))
    np.testing.assert_allclose(model.forecast(3), 7.0)
    chosen = ConvexForecaster("gated", lags=2, random_state=0).fit(np.full(30, 7.0))
    np.testing.assert_allclose(chosen.forecast(3), 7.0)


def test_units_do_not_matter() -> None:
    y, X = noisy(60)
    model = ConvexForecaster("gated", lags=3, **FEW).fit(y, X)
    other = ConvexForecaster("gated", lags=3, **FEW).fit(1e4 * y - 7, X * [1e3, 1e-3])
    assert other.certificate_.upper == pytest.approx(model.certificate_.upper, rel=1e-6)
    ahead = np.ones((3, 2))
    np.testing.assert_allclose(
        other.forecast(3, ahead * [1e3, 1e-3]), 1e4 * model.forecast(3, ahead) - 7, rtol=1e-6
    )


# regimes


@pytest.mark.parametrize("architecture", ["relu", "gated"])
@pytest.mark.parametrize("horizon", [1, 2])
def test_regimes_are_the_network(architecture: str, horizon: int) -> None:
    y, X = noisy(80)
    words = FEW | {"gates": "sample", "n_gates": 6, "tol": 1e-2}
    model = ConvexForecaster(architecture, lags=3, horizon=horizon, **words).fit(y, X)
    found = model.regimes(y, X)
    features = series_of(y, X).features(3, horizon)
    models = np.einsum("nd,ndc->nc", features, found.coefficients[found.labels])
    models += found.constants[found.labels]
    np.testing.assert_allclose(models.squeeze(), model.predict(y, X), rtol=1e-8)
    assert (np.diff(found.counts) <= 0).all()
    assert found.counts.sum() == len(features)
    assert len(np.unique(found.active, axis=0)) == len(found.active)
    spans = found.spans()
    assert sum(last - first + 1 for _, first, last in spans) == len(features)
    assert found.first == 3


def test_regimes_of_the_tent_are_its_two_sides() -> None:
    y = tent(200, start=0.3, kink=0.1)
    found = ConvexForecaster("relu", lags=1, alpha=1e-7, proof_time=0.0).fit(y).regimes(y)
    sides = y[:-1] > 0.1
    assert len(found.counts) >= 2
    slopes = found.coefficients[found.labels, 0, 0]
    np.testing.assert_allclose(slopes, np.where(sides, -1.9, 1.9), atol=1e-3)


def test_networks_that_are_not_piecewise_linear_have_no_regimes() -> None:
    class Square:
        architecture, rules = "square", np.ones((1, 1))
        weights_in, weights_out = np.ones((1, 1)), np.ones((1, 1))
        intercept, skip, n_neurons = np.zeros(1), np.zeros((1, 1)), 1

        def __call__(self, x: np.ndarray) -> np.ndarray:
            return x**2

    with pytest.raises(UnsupportedError, match="square networks are not linear"):
        regimes_of(Square(), np.array([[1.0], [2.0]]))


# files


def test_a_saved_forecaster_goes_on_as_before(tmp_path: Path) -> None:
    y, X = noisy(60)
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = ConvexForecaster("gated", lags=3, horizon=2, alphas=2, n_gates=3, random_state=0)
    save(model.fit(y, frame), tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.forecast(4, X[:4]), model.forecast(4, X[:4]))
    np.testing.assert_array_equal(again.predict(y, X), model.predict(y, X))
    np.testing.assert_array_equal(again.alpha_path_, model.alpha_path_)
    assert again.certificate_ == model.certificate_
    assert verify(again, y, frame)
    with pytest.raises(ValueError, match="X has the columns"):
        again.predict(y, frame.rename(columns={"a": "c"}))


def test_parts_that_do_not_fit_are_no_model(tmp_path: Path) -> None:
    y, _ = noisy(40)
    model = ConvexForecaster("gated", lags=3, **FEW).fit(y)
    path = tmp_path / "model.cvxnn"
    save(model, path)
    from cvxnn.files import sealed

    header, arrays = sealed.read(path)
    header["steps"][0]["params"]["lags"] = 4
    sealed.write(path, header, arrays)
    with pytest.raises(ModelFormatError, match="do not fit together"):
        load(path)
    model.lags = 5
    with pytest.raises(UnsupportedError, match="do not fit together"):
        save(model, path)


# what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"lags": 0}, "lags is 0; expected a positive integer"),
        ({"lags": True}, "lags is True"),
        ({"horizon": 1.5}, "horizon is 1.5"),
        ({"horizon": 40}, "30 steps; lags=3 and 40 steps ahead need at least 43"),
        ({"lags": 30}, "30 steps; lags=30 and 1 steps ahead need at least 31"),
        ({"lags": 29, "alpha": "auto"}, "1 windows are too few to choose alpha"),
        ({"validation": 20, "lags": 10, "alpha": "auto"}, "20 windows are too few"),
        ({"lags": 15}, "15 windows to train on and the linear part has 16 weights"),
        ({"validation": 1.0}, "validation is 1.0; expected a share"),
        ({"validation": True}, "validation is True"),
        ({"missing": "drop"}, "missing is 'drop'"),
        ({"alpha": "best"}, "alpha is 'best'"),
        ({"loss": "logistic"}, "loss is 'logistic'"),
    ],
)
def test_options_out_of_range(words: dict[str, Any], message: str) -> None:
    y, _ = noisy(30)
    with pytest.raises(ValueError, match=message):
        ConvexForecaster("gated", **({"lags": 3, "alpha": 0.01} | words)).fit(y)


@pytest.mark.parametrize(
    ("y", "X", "message"),
    [
        ([1.0, np.nan, 2.0, 3.0], None, "y is nan at step 1; fill it in"),
        ([1.0, 2.0, np.inf, 3.0], None, "y is inf at step 2"),
        ([1.0, 2.0, 3.0, 4.0], [[1.0], [2.0], [np.nan], [0.0]], "X is nan at step 2, column 0"),
        ([1.0, 2.0, 3.0, 4.0], [[1.0], [2.0]], "X has 2 rows and y has 4 steps"),
        (np.ones((4, 2)), None, r"y has shape \(4, 2\); expected one series"),
        (["a", "b", "c", "d"], None, "y holds what is no number"),
        ([], None, "the series has 0 steps"),
    ],
)
def test_series_that_are_refused(y: Any, X: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvexForecaster("gated", lags=1, alpha=0.01).fit(y, X)


def test_nothing_left_but_missing_values() -> None:
    y = np.arange(20.0)
    y[::3] = np.nan
    model = ConvexForecaster("gated", lags=3, alpha=0.01, missing="skip")
    with pytest.raises(ValueError, match="no 4 steps in a row are without missing values"):
        model.fit(y)


def test_gaps_in_time_are_refused() -> None:
    y = pd.Series(tent(40), pd.date_range("2024-01-01", periods=40, freq="30min"))
    model = ConvexForecaster("gated", lags=2, missing="skip", **FEW)
    with pytest.raises(ValueError, match=r"at step 7, where .* is the usual step"):
        model.fit(y.drop(y.index[7]))
    with pytest.raises(ValueError, match="times go from"):
        model.fit(y.to_numpy(), times=np.r_[0:20, 21:41])
    model.fit(y.drop(y.index[7]).asfreq("30min"))
    assert np.isnan(model.predict(y.drop(y.index[7]).asfreq("30min"))).sum() == 3
    frame = pd.DataFrame({"a": np.ones(40)}, index=y.index.shift(1))
    with pytest.raises(ValueError, match="another index"):
        model.fit(y, frame)


@pytest.mark.parametrize("frequency", ["D", "MS", "ME", "QE", "YS", "B", "W-FRI", "15min"])
def test_calendars_are_even(frequency: str) -> None:
    times = pd.date_range("2023-01-31", periods=30, freq=frequency)
    require_even(times, 30)
    with pytest.raises(ValueError, match="usual step"):
        require_even(times.delete(11), 29)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.0], "pass one time a step"),
        ([0.0, np.nan, 2.0], "NaN or NaT"),
        (np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[D]"), "NaN or NaT"),
        ([3.0, 2.0, 1.0], "sort them"),
        ([1.0, 1.0, 1.0], "sort them"),
    ],
)
def test_times_that_are_refused(times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_even(times, 3)


def test_forecasts_that_are_refused() -> None:
    y, X = noisy(40)
    model = ConvexForecaster("gated", lags=3, horizon=2, **FEW).fit(y, X)
    with pytest.raises(ValueError, match=r"expected finite columns \(4, 2\) for 3 steps"):
        model.forecast(3, X[:3])
    with pytest.raises(ValueError, match="steps is 0"):
        model.forecast(0, X[:0])
    with pytest.raises(ValueError, match="X has 0 columns and had 2"):
        model.predict(y)
    with pytest.raises(ValueError, match="`after` has 2 steps; expected at least lags=3"):
        model.forecast(2, X[:2], after=y[:2])
    with pytest.raises(ValueError, match="the last 3 steps have missing values"):
        model.forecast(2, X[:2], after=[1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="no sample weights"):
        verify(model, y, X, np.ones(40))


def test_series_and_parameters_are_left_as_they_were() -> None:
    y, X = noisy(40)
    before = y.copy(), X.copy()
    model = ConvexForecaster("gated", lags=3, **FEW)
    words = model.get_params()
    model.fit(y, X)
    model.forecast(2, X[:2])
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(X, before[1])
    assert model.get_params() == words
    assert model.solution_.status is Status.OPTIMAL
    assert isinstance(model.scale_(series_of(y, X)), Series)
