"""Figures in the manner of scikit-learn's displays; matplotlib is imported when one is drawn."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.errors import UnsupportedError
from cvxnn.regimes import Regimes

Floats = NDArray[np.float64]


def require_matplotlib() -> None:
    """Raise UnsupportedError, before any work, where no figure can be drawn."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            "figures are drawn with matplotlib, which is not installed; install cvxnn[plot]"
        ) from error


class Curve(NamedTuple):
    """A quantity along the path, with the half width of a band around it."""

    name: str
    values: Floats
    band: Floats | None = None


class PathDisplay:
    """Curves against the strength of weight decay, one panel a kind, on a logarithmic axis.

    Parameters
    ----------
    alphas : array (k,)
        The strengths.
    panels : sequence of sequences of Curve
        Panels from top to bottom; curves of a panel share its axis.
    chosen : float or None
        A strength to mark.

    Attributes
    ----------
    figure_, axes_
        After `plot`: the matplotlib figure and its axes.

    Examples
    --------
    >>> import numpy as np
    >>> from cvxnn import ConvexRegressorCV
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> model = ConvexRegressorCV("gated", alphas=4, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> len(PathDisplay.from_estimator(model).panels)
    1
    """

    def __init__(
        self, alphas: Floats, panels: Sequence[Sequence[Curve]], chosen: float | None = None
    ) -> None:
        self.alphas, self.panels, self.chosen = alphas, panels, chosen

    @classmethod
    def from_estimator(cls, model: Any) -> "PathDisplay":
        """Return the validation curve of an estimator that chose alpha, with standard errors.

        Raises ValueError for one that was given its alpha.
        """
        if not hasattr(model, "alpha_path_"):
            raise ValueError(
                "this estimator has no alpha_path_; fit one with alpha='auto', or a CV version"
            )
        alphas, losses, errors = model.alpha_path_.T
        return cls(alphas, [[Curve("validation loss", losses, errors)]], model.alpha_)

    @classmethod
    def from_rows(cls, points: Sequence[Any]) -> "PathDisplay":
        """Return scores, bounds and neurons of the rows of `cvxnn path`."""

        def column(name: str) -> Floats:
            return np.array([getattr(point, name) for point in points], dtype=np.float64)

        scores = [Curve("training score", column("train_score"))]
        if not np.isnan(column("test_score")).all():
            scores.append(Curve("test score", column("test_score")))
        bounds = [Curve("objective", column("objective")), Curve("bound", column("lower_bound"))]
        neurons = [Curve("neurons", column("neurons"))]
        return cls(column("alpha"), [scores, bounds, neurons])

    def plot(self, axes: Sequence[Any] | None = None) -> "PathDisplay":
        """Draw the panels, into `axes` if they are given, one for each; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        count = len(self.panels)
        size = (5.6, 1.2 + 1.5 * count)
        drawn: Any = axes
        if axes is None:
            _, grid = plt.subplots(
                count, sharex=True, figsize=size, layout="constrained", squeeze=False
            )
            drawn = grid[:, 0]
        for axis, curves in zip(drawn, self.panels, strict=True):
            for curve in curves:
                (line,) = axis.plot(self.alphas, curve.values, marker=".", label=curve.name)
                if curve.band is not None:
                    low, high = curve.values - curve.band, curve.values + curve.band
                    axis.fill_between(self.alphas, low, high, color=line.get_color(), alpha=0.15)
            if self.chosen is not None:
                axis.axvline(self.chosen, color="0.4", linewidth=0.8, linestyle="--")
            axis.set_xscale("log")
            axis.spines[["top", "right"]].set_visible(False)
            if len(curves) > 1:
                axis.legend(frameon=False)
            else:
                axis.set_ylabel(curves[0].name)
        drawn[-1].set_xlabel("alpha")
        self.figure_, self.axes_ = drawn[0].figure, list(drawn)
        return self


class RegimesDisplay:
    """A series in the colours of its regimes, and below it their coefficients against the lag.

    Parameters
    ----------
    values : array (n,)
        The series.
    regimes : Regimes
        Of a `ConvexForecaster` on that series.
    lags : int
        How many coefficients are those of lags.
    most : int, default=5
        How many regimes, the frequent ones, have a colour; the others are grey.

    Attributes
    ----------
    figure_ : Figure
        After `plot`.
    axes_ : list of Axes
        The two panels.

    Examples
    --------
    >>> from cvxnn import ConvexForecaster
    >>> y = [0.1]
    >>> for _ in range(59):
    ...     y.append(1 - 1.9 * abs(y[-1]))
    >>> model = ConvexForecaster("relu", lags=1, alpha=1e-5).fit(y)
    >>> RegimesDisplay.from_estimator(model, y).regimes.counts.sum()
    np.int64(59)
    """

    def __init__(self, values: Any, regimes: Regimes, lags: int, *, most: int = 5) -> None:
        self.values = np.asarray(values, dtype=np.float64).ravel()
        self.regimes, self.lags, self.most = regimes, lags, most

    @classmethod
    def from_estimator(
        cls, model: Any, y: Any, X: Any = None, *, most: int = 5
    ) -> "RegimesDisplay":
        """Return the figure of a fitted forecaster on a series `y` (n,) with columns `X` (n, q)."""
        return cls(y, model.regimes(y, X), model.lags, most=most)

    def plot(self, axes: Sequence[Any] | None = None) -> "RegimesDisplay":
        """Draw the two panels, into `axes` if they are given; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        drawn: Any = axes
        if axes is None:
            _, drawn = plt.subplots(2, figsize=(6.4, 4.6), layout="constrained")
        above, below = drawn
        labels, counts = self.regimes.labels, self.regimes.counts
        steps = self.regimes.first + np.arange(len(labels))
        above.plot(self.values, color="0.8", linewidth=0.8, zorder=0)
        others = labels >= self.most
        if others.any():
            above.plot(steps[others], self.values[steps[others]], ".", color="0.6", label="others")
        for k in range(min(self.most, len(counts))):
            (at,) = np.nonzero(labels == k)
            name = f"{k}: {counts[k] / max(1, counts.sum()):.0%}"
            (line,) = above.plot(steps[at], self.values[steps[at]], ".", markersize=4, label=name)
            below.plot(
                np.arange(self.lags, 0, -1),
                self.regimes.coefficients[k, : self.lags, 0],
                marker=".",
                color=line.get_color(),
            )
        above.set(xlabel="step", ylabel="series")
        below.set(xlabel="lag", ylabel="coefficient")
        for axis in (above, below):
            axis.spines[["top", "right"]].set_visible(False)
        above.legend(frameon=False, title="regime", loc="center left", bbox_to_anchor=(1, 0.5))
        self.figure_, self.axes_ = above.figure, [above, below]
        return self


class MarginDisplay:
    """Norm over margin along a gradient flow, against the bound that it cannot fall below.

    Parameters
    ----------
    steps : array (k,)
        Counts of steps.
    norms : array (k,)
        Norm over margin; what is infinite is not drawn.
    bound : float
        The least norm of a network with margin 1.

    Attributes
    ----------
    figure_, axes_
        After `plot`: the matplotlib figure and its axes.

    Examples
    --------
    >>> from cvxnn import margin_flow
    >>> flow = margin_flow([[1.0], [2.0], [-1.0]], [1, 1, 0], bias=False, steps=200)
    >>> MarginDisplay.from_flow(flow).bound <= flow.norms.min()
    np.True_
    """

    def __init__(self, steps: Floats, norms: Floats, bound: float) -> None:
        self.steps, self.norms, self.bound = steps, norms, bound

    @classmethod
    def from_flow(cls, flow: Any) -> "MarginDisplay":
        """Return the figure of what `margin_flow` returned."""
        return cls(flow.steps, flow.norms, flow.bound.lower)

    def plot(self, axes: Any = None) -> "MarginDisplay":
        """Draw the curve and the bound, into `axes` if they are given; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        if axes is None:
            _, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
        seen = np.isfinite(self.norms)
        axes.plot(self.steps[seen], self.norms[seen], label="norm / margin of the flow")
        axes.axhline(
            self.bound, color="0.4", linewidth=0.8, linestyle="--", label="least of any network"
        )
        axes.set(xlabel="step", ylabel="norm / margin", ylim=(0.95 * self.bound, 2 * self.bound))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        self.figure_, self.axes_ = axes.figure, axes
        return self
