"""Tables of numbers to learn from, or one sentence on why a source is none."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.encoding import categories, require_present
from cvxnn.errors import listed
from cvxnn.tables.readers import Column, Source, read

_BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class Table:
    """Features and target of a data set; `y` is (n,), or (n, c) with several target columns.

    >>> table = read_table("sklearn:iris")
    >>> table.X.shape, table.features[0], table.target, str(table.y[0])
    ((150, 4), 'sepal length (cm)', ('species',), 'setosa')
    """

    X: NDArray[Any]
    """(n, d), float64; objects where columns are text."""
    y: NDArray[Any]
    features: tuple[str, ...]
    target: tuple[str, ...]
    named: bool
    """Whether the columns have names of their own; the arrays of an npz file have not."""
    text: tuple[str, ...] = ()
    """The features that are text, for a `ColumnEncoder` to turn into numbers."""


def read_table(
    source: str, target: Sequence[str] = (), features: Sequence[str] | None = None
) -> Table:
    """Read a CSV, TSV, Parquet or npz file, or a data set `sklearn:NAME`.

    `target` names the target columns, by default the last one; `features` the others that are
    wanted, in their order, by default all. An npz file holds arrays `X` and `y`, whose columns have
    no names to find them by. Booleans become 0 and 1 as features, and text stays text; in the
    target, text, booleans and whole numbers stay what they are.

    Raises FileNotFoundError; ValueError for other kinds of file, and for columns that are not
    there, are neither numbers nor text, have too many different texts, or have missing or infinite
    values; UnsupportedError where a reader is missing.
    """
    found = read(source)
    chosen = tuple(target) or found.target
    if not chosen:
        raise ValueError(f"{source} has no array y; add it, or name the target array")
    _require(found, chosen, "target column")
    names = tuple(features or ())
    if features is None or not found.named:
        names = tuple(name for name in found.features if name not in chosen)
    if not names:
        raise ValueError(
            f"{source} has no column beside {listed(chosen)}; expected features and a target"
        )
    values = [_target(found, name) for name in chosen]
    y = values[0] if len(values) == 1 else np.column_stack(values)
    X, text = _matrix(found, names)
    for name in text:
        categories(name, found.columns[name])
    return Table(X, y, names, chosen, found.named, text)


def read_features(
    source: str,
    names: Sequence[str] | None,
    count: int,
    target: Sequence[str] = (),
    text: Collection[int] = (),
) -> NDArray[Any]:
    """Read the `count` columns that a model was trained on, (n, count).

    They are found by `names` where both sides have names, otherwise by their order, with `target`
    passed over; those at the places `text` are text. Raises as `read_table`, and ValueError for
    another number of columns and for text elsewhere.
    """
    found = read(source)
    if names is None or not found.named:
        names = [name for name in found.features if name not in target]
        if len(names) != count:
            raise ValueError(
                f"{source} has {len(names)} feature columns but the model was trained on {count}; "
                "pass the columns of the training data, in their order"
            )
    worded = {names[place] for place in text}
    X, others = _matrix(read(source, worded) if text else found, names, worded)
    _refuse(found, [name for name in others if name not in worded], "numbers, as in training")
    return X


def _require(found: Source, names: Sequence[str], kind: str) -> None:
    absent = [name for name in names if name not in found.columns]
    if absent:
        raise ValueError(
            f"{found.name} lacks the {kind}{'s' if len(absent) > 1 else ''} {listed(absent)}; it "
            f"has {listed(found.columns)}"
        )


def _matrix(
    found: Source, names: Sequence[str], worded: Collection[str] = ()
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the columns of these names side by side, and the names of those that are text.

    Words for true and false are numbers, but not in the columns `worded`.
    """
    _require(found, names, "column")
    columns, text, missing = [], [], []
    for name in names:
        column = found.columns[name]
        numbers = None if name in worded and _is_text(column) else _numbers(column)
        if numbers is None:
            text.append(name)
        columns.append(column if numbers is None else numbers)
        gone = map(_is_missing, column) if numbers is None else np.isnan(numbers)
        missing.append((name, int(sum(gone))))
    _refuse(found, [n for n in text if not _is_text(found.columns[n])], "numbers or text")
    require_present(found.name, missing)
    for name, column in zip(names, columns, strict=True):
        if name not in text:
            _require_bounded(found, name, column)
    if not text:
        return np.column_stack(columns), ()
    return np.column_stack([column.astype(object) for column in columns]), tuple(text)


def _refuse(found: Source, names: Sequence[str], expected: str) -> None:
    if names:
        examples = [f"{name} ({_example(found.columns[name])})" for name in names]
        raise ValueError(
            f"{found.name} has columns that are no numbers: {listed(examples)}; drop them, or "
            f"turn them into {expected}"
        )


def _require_bounded(found: Source, name: str, column: NDArray[np.float64]) -> None:
    rows = int(np.isinf(column).sum())
    if rows:
        raise ValueError(f"{found.name} has infinite values in {name} ({rows} rows); replace them")


def _is_text(column: Column) -> bool:
    return column.dtype.kind == "U" or (
        column.dtype.kind == "O"
        and all(isinstance(value, str) or _is_missing(value) for value in column)
    )


def _example(column: Column) -> str:
    return repr(str(next((value for value in column if not _is_missing(value)), "")))


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN and NaT differ from themselves


def _numbers(column: Column) -> NDArray[np.float64] | None:
    """Return a column in float64, NaN where it is missing; None if it holds something else."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    if column.dtype.kind not in "OU":
        return None
    numbers = [_number(value) for value in column]
    return None if None in numbers else np.array(numbers, dtype=np.float64)


def _number(value: Any) -> float | None:
    if _is_missing(value):
        return np.nan
    if isinstance(value, str):
        return _BOOLEANS.get(value.lower())
    try:
        return float(value)  # True, Decimal
    except TypeError:
        return None


def _target(found: Source, name: str) -> NDArray[Any]:
    column = found.columns[name]
    if column.dtype.kind in "iub":
        return column
    if column.dtype.kind == "f":
        numbers = column.astype(np.float64)
        require_present(found.name, [(name, int(np.isnan(numbers).sum()))])
        _require_bounded(found, name, numbers)
        whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53)
        return numbers.astype(np.int64) if whole.all() else numbers
    missing = sum(map(_is_missing, column))
    if missing:
        raise ValueError(
            f"{found.name} has missing values in its target {name} ({missing} rows); drop "
            "those rows"
        )
    return np.array([str(value) for value in column])
