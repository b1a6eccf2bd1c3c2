"""Text, categories and codes as numbers: a column of zeros and ones for each of them."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from cvxnn import memory
from cvxnn.errors import listed

Key = str | float
"""A category: text, or a number of a column that is declared categorical."""

MOST = 1000
_FEWEST = 3
"""So few values a column of numbers must have to become indicators: those of two are itself."""
_FEW = 20
"""So many categories a column may have however few rows there are."""

_DECLARED = ("category", "categorical", "enum")
"""How the types of categorical columns begin, in pandas and in polars."""


class ColumnEncoder(TransformerMixin, BaseEstimator):
    """Number columns as they are, and text and categorical ones as a column 0/1 a category.

    For pandas and polars frames, and arrays of objects. Columns of the type category, and columns
    that hold text, become one column for every category of training, in sorted order; a category
    that was not there in training is zero in all of them. Booleans are the numbers 0 and 1.
    Numbers with few different values are often codes, grades or counts: with `levels`, a column of
    numbers that has at least three and at most so many of them keeps its place and is followed by
    a column 0/1 for every value.

    The estimators use it for frames with such columns. In front of a scaler it has a place of its
    own, because scalers take numbers alone.

    Parameters
    ----------
    levels : int, default 0
        Different values up to which a column of numbers also becomes a column 0/1 for each.

    Attributes
    ----------
    categories_ : list of (None or list)
        For every column its categories, or None where it holds numbers.
    levels_ : list of (None or list)
        For every column of numbers the values that have a column 0/1, or None where none has.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    ValueError
        Naming the column: for missing values, text among numbers, numbers where training had text
        or text where it had numbers, and in `fit` for more than 1000 categories, or more than 20
        and than half of the rows; for `levels` that is no number of values.
    MemoryBudgetError
        When the numbers would not fit into memory.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"city": ["Rome", "Paris", "Rome"], "size": [3.0, 1.0, 2.0]})
    >>> encoder = ColumnEncoder().fit(frame)
    >>> encoder.get_feature_names_out().tolist()
    ['city_Paris', 'city_Rome', 'size']
    >>> encoder.transform(pd.DataFrame({"city": ["Rome", "Oslo"], "size": [1.5, 2.5]}))
    array([[0. , 1. , 1.5],
           [0. , 0. , 2.5]])
    >>> grades = np.array([[1.0], [2.0], [3.0], [2.0]])
    >>> ColumnEncoder(levels=5).fit_transform(grades)[:2]
    array([[1., 1., 0., 0.],
           [2., 0., 1., 0.]])
    """

    def __init__(self, *, levels: int = 0) -> None:
        self.levels = levels

    def fit(self, X: Any, y: Any = None) -> "ColumnEncoder":
        """Learn the categories of the columns of `X` (n, d); return self."""
        if isinstance(self.levels, bool) or not 0 <= self.levels <= MOST:
            raise ValueError(f"levels is {self.levels!r}; expected a number from 0 to {MOST}")
        rows = self._rows(X, reset=True)
        self.categories_: list[list[Key] | None] = []
        self.levels_: list[list[float] | None] = []
        for name, column in zip(self._names(), _columns(rows), strict=True):
            text = is_text(column)
            values = [] if text else np.unique(_numbers(name, column)).tolist()
            coded = _FEWEST <= len(values) <= self.levels
            self.categories_.append(categories(name, column) if text else None)
            self.levels_.append(values if coded else None)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the columns as numbers, (n, d) to (n, width)."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        plain = not any(self.categories_) and not any(self.levels_)
        if plain and isinstance(rows, np.ndarray) and rows.dtype.kind == "f":
            return rows
        memory.require(8 * rows.shape[0] * self.width_)
        result = np.zeros((rows.shape[0], self.width_))
        first = 0
        for name, column, known, levels in zip(
            self._names(), _columns(rows), self.categories_, self.levels_, strict=True
        ):
            if known is None:
                numbers = _numbers(name, column)
                result[:, first] = numbers
                first += 1
                places = np.searchsorted(levels or [], numbers)
                seen = np.flatnonzero(np.isin(numbers, levels or []))
            else:
                places = _places(name, column, known)
                seen = np.flatnonzero(places >= 0)
            result[seen, first + places[seen]] = 1.0
            first += len(known or levels or [])
        return result

    @property
    def width_(self) -> int:
        """How many columns of numbers there are."""
        return sum(len(names) for names in self._expanded([""] * len(self.categories_)))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return a name for every column of numbers: NAME, NAME_CATEGORY or NAME_VALUE."""
        check_is_fitted(self)
        expanded = self._expanded(_check_feature_names_in(self, input_features))
        return np.array([name for group in expanded for name in group], dtype=object)

    def _expanded(self, names: Sequence[Any]) -> list[list[str]]:
        groups = []
        for name, known, levels in zip(names, self.categories_, self.levels_, strict=True):
            if known is None:
                groups.append([f"{name}", *(f"{name}_{value:g}" for value in levels or [])])
            else:
                groups.append([f"{name}_{key}" for key in known])
        return groups

    def _names(self) -> list[str]:
        return [str(name) for name in _check_feature_names_in(self)]

    def _rows(self, X: Any, reset: bool) -> Any:
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if X.shape[0] == 0:
                raise ValueError("X has 0 rows; expected at least one sample")
            return X
        kind = getattr(getattr(X, "dtype", None), "kind", "O")
        words: dict[str, Any] = {"dtype": [np.float64, np.float32]}
        if kind in "OUS":
            words = {"dtype": object, "ensure_all_finite": False}
        return validate_data(self, X, reset=reset, **words)


def is_frame(X: Any) -> bool:
    """Tell whether `X` is a frame, of pandas or polars."""
    return all(hasattr(type(X), name) for name in ("columns", "dtypes"))


def holds_text(X: Any) -> bool:
    """Tell whether `X` is a frame with a column of text or categories."""
    return is_frame(X) and any(map(is_text, _columns(X)))


def is_text(column: Any) -> bool:
    """Tell whether a column is of a categorical type or holds text."""
    if str(column.dtype).lower().startswith(_DECLARED):
        return True
    values = np.asarray(column)
    return values.dtype.kind in "US" or (
        values.dtype.kind == "O" and any(isinstance(value, str) for value in values)
    )


def categories(name: str, column: Any) -> list[Key]:
    """Return the distinct values of a column, sorted; ValueError if there are too many of them."""
    found = sorted(set(_keys(name, column)))
    rows = len(column)
    if len(found) > MOST or len(found) > max(_FEW, rows // 2):
        raise ValueError(
            f"column {name!r} has {len(found)} different values in {rows} rows, too many for "
            f"categories (at most {MOST}, and half of the rows); drop it, or make it coarser"
        )
    return found


def require_present(where: str, missing: Sequence[tuple[str, int]]) -> None:
    """Raise ValueError if one of the columns (name, number of rows without a value) lacks some."""
    holes = [f"{name} ({rows} rows)" for name, rows in missing if rows]
    if holes:
        raise ValueError(
            f"{where} has missing values in {listed(holes)}; drop those rows, or impute them, for "
            "example with sklearn.impute.SimpleImputer"
        )


def _columns(X: Any) -> list[Any]:
    if isinstance(X, np.ndarray):
        return list(X.T)
    count = range(X.shape[1])
    return [X.iloc[:, j] for j in count] if hasattr(X, "iloc") else [X[:, j] for j in count]


def _missing(column: Any) -> NDArray[np.bool_]:
    if hasattr(column, "isna"):  # pandas
        return np.asarray(column.isna(), dtype=np.bool_)
    if hasattr(column, "is_null"):  # polars
        return np.asarray(column.is_null(), dtype=np.bool_)
    return np.array([value is None or value != value for value in column], dtype=np.bool_)


def _keys(name: str, column: Any) -> list[Any]:
    """Return the values as text, or all as numbers."""
    require_present("X", [(name, int(_missing(column).sum()))])
    values = np.asarray(column).tolist()
    keys = [float(value) if isinstance(value, Real) else str(value) for value in values]
    if len({type(key) for key in keys}) > 1:
        number, text = (next(key for key in keys if isinstance(key, kind)) for kind in (float, str))
        raise ValueError(
            f"column {name!r} holds text and numbers ({text!r}, {number:g}); make it one of them"
        )
    return keys


def _places(name: str, column: Any, known: list[Key]) -> NDArray[np.int64]:
    """Return which of the known categories every row has, (n,); -1 for another."""
    keys, place = _keys(name, column), {key: k for k, key in enumerate(known)}
    if keys and type(keys[0]) is not type(known[0]):
        now, then = ("text", "numbers") if isinstance(keys[0], str) else ("numbers", "text")
        raise ValueError(
            f"column {name!r} holds {now} ({keys[0]!r}) and held {then} in training "
            f"({known[0]!r}); pass {then}"
        )
    return np.array([place.get(key, -1) for key in keys], dtype=np.int64)


def _numbers(name: str, column: Any) -> NDArray[np.float64]:
    """Return a column of numbers in float64, all finite."""
    require_present("X", [(name, int(_missing(column).sum()))])
    values = np.asarray(column)
    if values.dtype.kind in "mM" or is_text(column):
        raise ValueError(
            f"column {name!r} holds {values.tolist()[0]!r}, which is neither a number nor a "
            "category of training; turn it into a number or drop it"
        )
    try:
        numbers = values.astype(np.float64)
    except TypeError as error:
        error.add_note(f"in column {name!r} of X")
        raise
    bad = np.flatnonzero(~np.isfinite(numbers))
    require_present("X", [(name, int(np.isnan(numbers).sum()))])
    if len(bad):
        raise ValueError(f"X has infinite values in {name} ({len(bad)} rows); replace them")
    return numbers
