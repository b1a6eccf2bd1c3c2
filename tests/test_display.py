"""Figures: what is drawn, and that nothing is drawn by an import."""

import numpy as np
import pytest

from cvxnn import ConvexForecaster, ConvexRegressor, ConvexRegressorCV, margin_flow
from cvxnn.display import MarginDisplay, PathDisplay, RegimesDisplay

pyplot = pytest.importorskip("matplotlib.pyplot")
pyplot.switch_backend("agg")

X = np.linspace(-1, 1, 40)[:, None]
y = np.abs(X[:, 0])


def test_the_validation_curve_of_an_estimator() -> None:
    model = ConvexRegressorCV("gated", alphas=5, random_state=0).fit(X, y)
    display = PathDisplay.from_estimator(model).plot()
    (axis,) = display.axes_
    drawn = axis.lines[0].get_xydata()
    np.testing.assert_allclose(drawn, model.alpha_path_[:, :2])
    assert axis.lines[1].get_xdata()[0] == model.alpha_
    assert (axis.get_xscale(), axis.get_xlabel()) == ("log", "alpha")
    pyplot.close(display.figure_)


def test_it_draws_into_axes_of_the_user() -> None:
    model = ConvexRegressor("gated", random_state=0).fit(X, y)
    figure, axis = pyplot.subplots()
    assert PathDisplay.from_estimator(model).plot([axis]).figure_ is figure
    pyplot.close(figure)


def test_an_alpha_that_was_given_has_no_curve() -> None:
    model = ConvexRegressor("gated", alpha=0.01, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="no alpha_path_; fit one with alpha='auto'"):
        PathDisplay.from_estimator(model)


def test_regimes_colour_the_series_they_explain() -> None:
    t = np.arange(120)
    series = np.where(t % 40 < 20, np.sin(t), 3 + np.sin(2 * t))
    model = ConvexForecaster("gated", lags=2, alpha=1e-3, n_gates=6, random_state=0).fit(series)
    display = RegimesDisplay.from_estimator(model, series, most=2).plot()
    above, below = display.axes_
    found = display.regimes
    coloured = {line.get_label(): line for line in above.lines}
    for k in range(2):
        (name,) = [label for label in coloured if label.startswith(f"{k}: ")]
        x, drawn = coloured[name].get_xydata().T
        np.testing.assert_array_equal(x, 2 + np.flatnonzero(found.labels == k))
        np.testing.assert_array_equal(drawn, series[x.astype(int)])
        lags, values = below.lines[k].get_xydata().T
        np.testing.assert_array_equal(lags, [2, 1])
        np.testing.assert_array_equal(values, found.coefficients[k, :, 0])
        assert below.lines[k].get_color() == coloured[name].get_color()
    assert len(coloured["others"].get_xdata()) == (found.labels >= 2).sum() > 0
    pyplot.close(display.figure_)


def test_the_course_of_a_gradient_flow() -> None:
    X = np.array([[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]])
    flow = margin_flow(X, [1, 1, -1, -1], bias=False, steps=300)
    drawn = MarginDisplay.from_flow(flow).plot()
    curve, bound = drawn.axes_.get_lines()
    assert len(curve.get_xdata()) == np.isfinite(flow.norms).sum() > 10
    assert set(bound.get_ydata()) == {flow.bound.lower}
    assert curve.get_ydata().min() >= flow.bound.lower
    pyplot.close(drawn.figure_)
