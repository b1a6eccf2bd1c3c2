"""Convex networks that predict a series from its own past."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import Architecture
from cvxnn.arrays import Array, to_numpy
from cvxnn.certificate import Evidence
from cvxnn.estimators import ConvexRegressor
from cvxnn.estimators_cv import ConvexRegressorCV
from cvxnn.functions import SampleLoss
from cvxnn.lags import Floats, Scale, Series, columns_of, joined, ordered_splits, series_of
from cvxnn.regimes import Regimes, regimes_of
from cvxnn.solve import Progress, Solver
from cvxnn.timestamps import require_even

HANDED_ON = (
    "network_",
    "certificate_",
    "solution_",
    "architecture_",
    "alpha_",
    "alpha_max_",
    "alpha_path_",
    "alphas_",
    "losses_",
    "skip_",
    "dual_",
    "n_iter_",
    "estimated_gap_",
)
"""The attributes of the regressor that the forecaster has too."""

_OWN = ("lags", "horizon", "validation", "missing", "scale")
_CHOICE = ("alphas", "ratio", "rule")


class ConvexForecaster(BaseEstimator):
    """Autoregression by a two-layer network, trained to a certified optimum.

    Predicts the next `horizon` steps from the last `lags` ones, and from what is known beside the
    steps to come:

        y[t], ..., y[t + horizon - 1] = f(y[t - lags], ..., y[t - 1]; X[t], ..., X[t + horizon - 1])

    f is the network of `ConvexRegressor` on these samples: the windows of a series are the rows of
    a Hankel matrix, and training is the same convex program [Gupta2021]. Longer forecasts go on
    from their own predictions.

    Windows are views of the series. They are copied where there are columns X, by ReLU networks,
    and to merge equal samples below 128 MiB; larger windows of "gated" networks are read where they
    are.

    Parameters
    ----------
    architecture : str or Architecture, default="gated"
        As in `ConvexRegressor`. Neighbouring windows are much alike, which makes growth over all
        "relu" networks slow on long series and its bounds loose; "gated" is proved to `tol`.
    lags : int, default=24
        Steps of the past that the network sees.
    horizon : int, default=1
        Steps that it predicts at once, one output each.
    validation : float or int, default=0.2
        For alpha="auto": the share of the samples, the last ones, that choose alpha; or the number
        of blocks at the end, each predicted by networks of what comes before it. Alpha chosen, the
        network is trained on all.
    missing : {"raise", "skip"}, default="raise"
        What to do about NaN: refuse it, or leave out the windows that hold it.
    scale : bool, default=True
        Standardise the series and the columns of X, by the steps before the first validated one.
    alphas : int or array (k,), default=8
    ratio : float, default=1e-3
    rule : {"min", "1se"}, default="min"
        The choice of alpha, as in `ConvexRegressorCV`.
    skip : bool or "auto", default=True
        An unpenalised linear part, autoregression in the old sense; "auto" validates without and
        with one.
    n_gates : int, default=32
    tol : float, default=1e-3
    alpha, loss, gates, solver, fit_intercept, max_iter, max_time, proof_time, device, \
    random_state, callbacks, verbose
        As in `ConvexRegressor`.

    Attributes
    ----------
    regressor_ : ConvexRegressor
        What was trained on the windows.
    network_, certificate_, solution_, alpha_, alpha_max_, alpha_path_, skip_, dual_, n_iter_
        Those of `regressor_`: in units of the standardised series.
    scale_ : Scale
        `mean` and `deviation` of the series, `exog_mean` and `exog_deviation` (q,) of the columns.
    tail_ : array (lags,)
        The last steps of the series, from which `forecast` goes on.

    Raises
    ------
    ValueError
        For a series too short for its lags and horizon, NaN, infinite numbers, times that are not
        evenly spaced, and options out of range.

    Examples
    --------
    >>> y = [0.1]
    >>> for _ in range(99):
    ...     y.append(1 - 1.9 * abs(y[-1]))
    >>> model = ConvexForecaster("relu", lags=1, alpha=1e-5, skip=False).fit(y[:80])
    >>> round(model.score(y[79:]), 3), model.regimes(y).active.shape
    (1.0, (2, 2))
    >>> bool(abs(model.forecast(2) - y[80:82]).max() < 0.01)
    True
    """

    def __init__(
        self,
        architecture: str | Architecture = "gated",
        *,
        lags: int = 24,
        horizon: int = 1,
        validation: Any = 0.2,
        missing: str = "raise",
        scale: bool = True,
        alpha: float | str = "auto",
        alphas: int | Array = 8,
        ratio: float = 1e-3,
        rule: str = "min",
        loss: str | SampleLoss = "squared",
        gates: str | Array = "auto",
        n_gates: int = 32,
        solver: str | Solver = "auto",
        tol: float = 1e-3,
        fit_intercept: bool = True,
        skip: bool | str = True,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        device: str | None = None,
        random_state: Any = None,
        callbacks: Iterable[Callable[[Progress], object]] | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.lags = lags
        self.horizon = horizon
        self.validation = validation
        self.missing = missing
        self.scale = scale
        self.alpha = alpha
        self.alphas = alphas
        self.ratio = ratio
        self.rule = rule
        self.loss = loss
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.skip = skip
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, y: Any, X: Any = None, times: Any = None) -> "ConvexForecaster":
        """Train on a series `y` (n,), with columns `X` (n, q) known at every step; return self.

        `times` (n,), numbers or dates, are only checked to be evenly spaced; those of a pandas
        Series are its index.
        """
        self._check_options()
        series = self._series(y, X, times)
        series.require(self.lags, self.horizon)
        whole, splits, early = series.whole(self.lags, self.horizon), None, len(series.values)
        if isinstance(self.alpha, str):
            splits = ordered_splits(whole, self.horizon, self.validation)
            early = int(splits[0][1][0]) + self.lags
        fewest = int(whole.sum()) if splits is None else len(splits[0][0])
        self._require_more_than_weights(fewest, series.exog.shape[1])
        seen = series.until(early)
        self.scale_ = Scale.of(seen) if self.scale else Scale.none(series.exog.shape[1])
        self.exog_names_ = _names(X)
        features, target, weights = self._samples(series)
        self._adopt(self._regressor(splits).fit(features, target, sample_weight=weights))
        tail = np.where(series.there, series.values, np.nan)[-self.lags :]
        self.tail_ = tail.copy()
        return self

    def predict(self, y: Any, X: Any = None, *, steps: int | None = None) -> Floats:
        """Return what the network predicts after every window of a series, without looking ahead.

        Row t holds the `steps` (default: `horizon`) steps that follow y[t : t + lags], all of them
        in the series: (n - lags - steps + 1, steps), or (n - lags,) for one step. More than
        `horizon` steps go on from predictions. NaN where missing="skip" and values are missing.
        """
        series, steps = self._known(y, X), self._steps(steps)
        ahead = self._blocks(steps) * self.horizon if series.exog.shape[1] else steps
        series.require(self.lags, ahead)
        scaled = self.scale_(series)
        windows, beside = scaled.windows(self.lags, ahead), scaled.beside(self.lags, ahead)
        paths = self._continued(windows, beside, steps)
        whole = series.whole(self.lags, ahead)
        if not whole.all():
            paths[~whole] = np.nan
        return paths[:, 0] if steps == 1 else paths

    def forecast(self, steps: int | None = None, X: Any = None, *, after: Any = None) -> Floats:
        """Return the next `steps` (default: `horizon`) values, (steps,), in units of the series.

        They follow the series of `fit`, or the end of another, `after`. `X` holds the columns of
        the steps to come, in whole blocks of `horizon` steps.
        """
        check_is_fitted(self)
        steps = self._steps(steps)
        tail = self.tail_ if after is None else self._end(after)
        if np.isnan(tail).any():
            raise ValueError(
                f"the last {self.lags} steps have missing values; fill them in and pass the "
                "series as `after`"
            )
        q, rows = len(self.scale_.exog_mean), self._blocks(steps) * self.horizon
        beside = np.zeros((rows, 0)) if X is None else columns_of(X)
        if beside.shape != (rows, q) or not np.isfinite(beside).all():
            raise ValueError(
                f"X has shape {beside.shape}; expected finite columns ({rows}, {q}) for {steps} "
                f"steps in blocks of {self.horizon}"
            )
        self._require_names(X)
        window, scaled = self.scale_.values(tail[None]), self.scale_.columns(beside[None])
        return np.asarray(self._continued(window, scaled, steps)[0])

    def score(self, y: Any, X: Any = None, *, steps: int | None = None) -> float:
        """Return the coefficient of determination of `predict` on a series; the mean over steps."""
        steps = self._steps(steps)
        found = self.predict(y, X, steps=steps).reshape(-1, steps)
        truth = self._known(y, X).targets(self.lags, steps)[: len(found)]
        kept = np.isfinite(found).all(axis=1)
        return float(r2_score(truth[kept], found[kept]))

    def regimes(self, y: Any, X: Any = None) -> Regimes:
        """Return the linear models that the network is, in units of the series, and where.

        Sample t predicts step t + lags of the series; its coefficients are those of the lags, the
        oldest first, and of the columns of X. Raises UnsupportedError for networks that are not
        piecewise linear.
        """
        series = self._known(y, X)
        series.require(self.lags, self.horizon)
        found = regimes_of(self.network_, self.scale_(series).features(self.lags, self.horizon))
        scale, lags = self.scale_, self.lags
        widths = np.tile(scale.exog_deviation, self.horizon)
        units = np.concatenate([np.ones(lags), scale.deviation / widths])
        centre = np.concatenate([np.full(lags, scale.mean), np.tile(scale.exog_mean, self.horizon)])
        coefficients = found.coefficients * units[:, None]
        constants = scale.raw(found.constants) - centre @ coefficients
        whole = series.whole(self.lags, self.horizon)
        return replace(
            found,
            labels=np.where(whole, found.labels, -1),
            coefficients=coefficients,
            constants=constants,
            first=self.lags,
        )

    def evidence(self, y: Any, X: Any = None, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what this series says about it."""
        if sample_weight is not None:
            raise ValueError("a series has no sample weights; pass verify(model, y, X)")
        series = self._known(y, X)
        series.require(self.lags, self.horizon)
        return self.regressor_.evidence(*self._samples(series))

    def _check_options(self) -> None:
        for name in ("lags", "horizon"):
            self._require_whole(name, getattr(self, name))
        if self.missing not in ("raise", "skip"):
            raise ValueError(f"missing is {self.missing!r}; expected 'raise' or 'skip'")
        share = self.validation
        blocks = isinstance(share, Integral) and int(share) >= 2
        if not blocks and not (isinstance(share, Real) and 0 < float(share) < 1):
            raise ValueError(
                f"validation is {share!r}; expected a share between 0 and 1, or 2 blocks or more"
            )

    def _require_whole(self, name: str, value: Any) -> None:
        if not (isinstance(value, Integral) and int(value) >= 1) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; expected a positive integer")

    def _require_more_than_weights(self, fewest: int, q: int) -> None:
        """Raise ValueError where a linear part would fit any targets of the `fewest` windows."""
        weights = self.lags + self.horizon * q + 1
        if self.skip is True and fewest <= weights:
            raise ValueError(
                f"there are {fewest} windows to train on and the linear part has {weights} "
                "weights, which would fit anything; pass skip=False, fewer lags or more steps"
            )

    def _steps(self, steps: int | None) -> int:
        if steps is None:
            return self.horizon
        self._require_whole("steps", steps)
        return int(steps)

    def _blocks(self, steps: int) -> int:
        return -(-steps // self.horizon)

    def _series(self, y: Any, X: Any, times: Any = None) -> Series:
        index = getattr(y, "index", None)
        if hasattr(y, "iloc") and hasattr(X, "iloc") and not y.index.equals(X.index):
            raise ValueError("X has another index than y; pass the columns of the same steps")
        if times is None and getattr(getattr(index, "dtype", None), "kind", "") == "M":
            times = index
        series = series_of(y, X, missing=self.missing)
        if times is not None:
            require_even(times, len(series.values))
        return series

    def _known(self, y: Any, X: Any) -> Series:
        """Return a series that has what the one of `fit` had."""
        check_is_fitted(self)
        series, q = self._series(y, X), len(self.scale_.exog_mean)
        if series.exog.shape[1] != q:
            raise ValueError(f"X has {series.exog.shape[1]} columns and had {q} in training")
        self._require_names(X)
        return series

    def _require_names(self, X: Any) -> None:
        names = _names(X)
        if names is not None and self.exog_names_ is not None and names != self.exog_names_:
            raise ValueError(f"X has the columns {names} and had {self.exog_names_} in training")

    def _samples(self, series: Series) -> tuple[Floats, Floats, Floats | None]:
        """Return features, targets and weights: none for windows with missing values."""
        scaled, whole = self.scale_(series), series.whole(self.lags, self.horizon)
        target = scaled.targets(self.lags, self.horizon)
        return (
            scaled.features(self.lags, self.horizon),
            target[:, 0] if self.horizon == 1 else target,
            None if whole.all() else whole.astype(np.float64),
        )

    def _regressor(self, splits: Any) -> ConvexRegressor:
        words = {k: v for k, v in self.get_params(deep=False).items() if k not in _OWN}
        if splits is not None and self.alpha == "auto":
            del words["alpha"]
            return ConvexRegressorCV(cv=splits, **words)
        words = {name: value for name, value in words.items() if name not in _CHOICE}
        return ConvexRegressor(**words)

    def _adopt(self, regressor: ConvexRegressor) -> None:
        """Take a trained regressor as one's own."""
        self.regressor_ = regressor
        for name in HANDED_ON:
            if hasattr(self, name):
                delattr(self, name)
            if hasattr(regressor, name):
                setattr(self, name, getattr(regressor, name))

    def _end(self, after: Any) -> Floats:
        values = series_of(after, missing="skip")
        if len(values.values) < self.lags:
            raise ValueError(
                f"`after` has {len(values.values)} steps; expected at least lags={self.lags}"
            )
        return np.where(values.there, values.values, np.nan)[-self.lags :]

    def _continued(self, windows: Floats, beside: Floats, steps: int) -> Floats:
        """Return the steps (r, steps) after scaled windows, going on from what was predicted."""
        done: list[Floats] = []
        for block in range(self._blocks(steps)):
            known = beside[:, block * self.horizon : (block + 1) * self.horizon]
            features = joined(windows, known) if beside.shape[2] else windows
            done.append(to_numpy(self.regressor_._outputs(features)))
            windows = np.concatenate([windows, done[-1]], axis=1)[:, -self.lags :]
        paths = np.concatenate(done, axis=1)[:, :steps]
        return self.scale_.raw(paths)


def _names(X: Any) -> list[str] | None:
    """Return the names of the columns of a frame; None for arrays."""
    return [str(name) for name in X.columns] if hasattr(X, "columns") else None
