"""A series as samples: windows of lags that share its memory, their scale and their splits."""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """A series with the columns that are known beside it; zero where a step is missing."""

    values: Floats
    """(n,)."""
    exog: Floats
    """(n, q)."""
    there: NDArray[np.bool_]
    """(n,): whether the step has all its values."""

    def windows(self, lags: int, ahead: int) -> Floats:
        """Return (r, lags), r = n - lags - ahead + 1: row t is steps t, ..., t + lags - 1.

        A Hankel matrix: no number is copied.

        >>> one = Series(np.arange(4.0), np.zeros((4, 0)), np.ones(4, bool))
        >>> one.windows(2, 1).tolist(), np.shares_memory(one.windows(2, 1), one.values)
        ([[0.0, 1.0], [1.0, 2.0]], True)
        """
        return sliding_window_view(self.values, lags)[: self.rows(lags, ahead)]

    def targets(self, lags: int, ahead: int) -> Floats:
        """Return (r, ahead): row t is steps t + lags, ..., without a copy."""
        return sliding_window_view(self.values[lags:], ahead)[: self.rows(lags, ahead)]

    def beside(self, lags: int, ahead: int) -> Floats:
        """Return the columns beside the targets, (r, ahead, q), without a copy."""
        rows = self.rows(lags, ahead)
        if not self.exog.shape[1]:
            return np.zeros((rows, ahead, 0))
        return sliding_window_view(self.exog[lags:], ahead, axis=0)[:rows].transpose(0, 2, 1)

    def features(self, lags: int, ahead: int) -> Floats:
        """Return (r, lags + ahead * q): the window, then the columns beside each target.

        The windows themselves where there are no columns; with columns a copy is made.
        """
        windows = self.windows(lags, ahead)
        return joined(windows, self.beside(lags, ahead)) if self.exog.shape[1] else windows

    def whole(self, lags: int, ahead: int) -> NDArray[np.bool_]:
        """Return (r,): whether a window, its targets and the columns beside them are all there."""
        rows = self.rows(lags, ahead)
        if self.there.all():
            return np.ones(rows, dtype=np.bool_)
        seen = np.concatenate([[0], np.cumsum(self.there)])
        width = lags + ahead
        return np.asarray(seen[width:] - seen[:-width] == width)[:rows]

    def until(self, end: int) -> "Series":
        """Return the steps before `end`."""
        return Series(self.values[:end], self.exog[:end], self.there[:end])

    def require(self, lags: int, ahead: int) -> None:
        """Raise ValueError where no window can be used."""
        n, width = len(self.values), lags + ahead
        if n < width:
            raise ValueError(
                f"the series has {n} steps; lags={lags} and {ahead} steps ahead need at least "
                f"{width}: use fewer lags or a shorter horizon, or pass more steps"
            )
        if not self.whole(lags, ahead).any():
            raise ValueError(
                f"no {width} steps in a row are without missing values; use fewer lags or fill in "
                "values"
            )

    def rows(self, lags: int, ahead: int) -> int:
        """Return how many windows are followed by `ahead` steps."""
        return len(self.values) - lags - ahead + 1


def joined(windows: Floats, beside: Floats) -> Floats:
    """Return windows (r, lags) and columns (r, ahead, q) as one array of features."""
    return np.concatenate([windows, beside.reshape(len(windows), -1)], axis=1)


def series_of(y: Any, X: Any = None, *, missing: str = "raise") -> Series:
    """Return a series of a user's `y` (n,) or (n, 1) and `X` (n, q), in float64.

    Raises ValueError for other shapes, infinite numbers, and, with missing "raise", for NaN.
    """
    values = _numbers(y, "y")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"y has shape {values.shape}; expected one series (n,). Pass what else is known at "
            "every step as columns of X"
        )
    exog = np.zeros((len(values), 0)) if X is None else columns_of(X)
    if len(exog) != len(values):
        raise ValueError(
            f"X has {len(exog)} rows and y has {len(values)} steps; pass one row a step"
        )
    for name, each in (("y", values[:, None]), ("X", exog)):
        _require(name, each, missing)
    there = ~(np.isnan(values) | np.isnan(exog).any(axis=1))
    if there.all():
        return Series(values, exog, there)
    return Series(np.where(there, values, 0.0), np.where(there[:, None], exog, 0.0), there)


def columns_of(X: Any) -> Floats:
    """Return columns (n, q) in float64; (n,) is one column."""
    exog = _numbers(X, "X")
    if exog.ndim == 1:
        exog = exog[:, None]
    if exog.ndim != 2:
        raise ValueError(f"X has shape {exog.shape}; expected columns (n, q)")
    return exog


def _numbers(values: Any, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds what is no number ({error}); pass numbers") from error


def _require(name: str, values: Floats, missing: str) -> None:
    bad = ~np.isfinite(values) if missing == "raise" else np.isinf(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} is {values[row, column]} at step {row}"
            + (f", column {column}" if name == "X" else "")
            + "; fill it in, or pass NaN with missing='skip' to leave out the windows that hold it"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Scale:
    """What a series and its columns are standardised by."""

    mean: float = 0.0
    deviation: float = 1.0
    exog_mean: Floats
    """(q,)."""
    exog_deviation: Floats
    """(q,)."""

    @classmethod
    def of(cls, series: Series) -> "Scale":
        """Return means and deviations of the steps that are there; no deviation counts as 1.

        >>> Scale.of(series_of([1.0, 3.0])).mean
        2.0
        """
        values, exog = series.values[series.there], series.exog[series.there]
        deviations = exog.std(axis=0)
        return cls(
            mean=float(values.mean()),
            deviation=float(values.std()) or 1.0,
            exog_mean=exog.mean(axis=0),
            exog_deviation=np.where(deviations > 0, deviations, 1.0),
        )

    @classmethod
    def none(cls, q: int) -> "Scale":
        """Return the scale that changes nothing, for q columns."""
        return cls(exog_mean=np.zeros(q), exog_deviation=np.ones(q))

    def values(self, raw: Floats) -> Floats:
        """Return values of the series, standardised."""
        return np.asarray((raw - self.mean) / self.deviation)

    def raw(self, values: Floats) -> Floats:
        """Return standardised values in units of the series."""
        return np.asarray(self.mean + self.deviation * values)

    def columns(self, exog: Floats) -> Floats:
        """Return columns (..., q), standardised."""
        return np.asarray((exog - self.exog_mean) / self.exog_deviation)

    def __call__(self, series: Series) -> Series:
        """Return a series standardised: a copy of n numbers, not of its windows."""
        return replace(series, values=self.values(series.values), exog=self.columns(series.exog))


Splits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def ordered_splits(whole: NDArray[np.bool_], horizon: int, validation: Any) -> Splits:
    """Return (train, test) windows, every test after its training, by its targets too.

    `whole` (r,) tells which windows may be used. `validation` is the share of the last ones in one
    split, or the number of blocks at the end in as many. ValueError where a side would be empty.

    >>> ordered_splits(np.ones(6, bool), 2, 0.3)
    [(array([0, 1, 2]), array([4, 5]))]
    """
    kept, splits = np.flatnonzero(whole), []
    blocks = isinstance(validation, Integral)
    size = len(kept) // (validation + 1) if blocks else round(float(validation) * len(kept))
    size, count = max(1, size), int(validation) if blocks else 1
    for k in range(count, 0, -1):
        test = kept[max(len(kept) - k * size, 0) : len(kept) - (k - 1) * size]
        train = kept[kept + horizon <= test[0]] if len(test) else kept[:0]
        if not len(train):
            raise ValueError(
                f"{len(kept)} windows are too few to choose alpha with validation={validation!r}: "
                "pass a longer series, fewer lags, a shorter horizon or a positive alpha"
            )
        splits.append((train, test))
    return splits
