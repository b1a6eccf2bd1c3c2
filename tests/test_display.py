"""Figures: what is drawn, and that nothing is drawn by an import."""

import numpy as np
import pytest

from cvxnn import ConvexRegressor, ConvexRegressorCV
from cvxnn.display import PathDisplay

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
