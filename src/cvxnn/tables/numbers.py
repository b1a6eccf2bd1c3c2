"""Tables of numbers to learn from, or one sentence on why a source is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.tables.readers import Column, Source, listed, read

_BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class Table:
    """Features and target of a data set; `y` is (n,), or (n, c) with several target columns.

    >>> table = read_table("sklearn:iris")
    >>> table.X.shape, table.features[0], table.target, str(table.y[0])
    ((150, 4), 'sepal length (cm)', ('species',), 'setosa')
    """

    X: NDArray[np.float64]
    y: NDArray[Any]
    features: tuple[str, ...]
    target: tuple[str, ...]
    named: bool
    """Whether the columns have names of their own; the arrays of an npz file have not."""


def read_table(
    source: str, target: Sequence[str] = (), features: Sequence[str] | None = None
) -> Table:
    """Read a CSV, TSV, Parquet or npz file, or a data set `sklearn:NAME`.

    `target` names the target columns, by default the last one; `features` the others that are
    wanted, in their order, by default all. An npz file holds arrays `X` and `y`, whose columns have
    no names to find them by. Booleans become 0 and 1 as features; in the target, text, booleans and
    whole numbers stay what they are.

    Raises FileNotFoundError; ValueError for other kinds of file, and for columns that are not
    there, are text, or have missing or infinite values; UnsupportedError where a reader is missing.
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
    return Table(_matrix(found, names), y, names, chosen, found.named)


def read_features(
    source: str, names: Sequence[str] | None, count: int, target: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Read the `count` columns that a model was trained on, (n, count).

    They are found by `names` where both sides have names, otherwise by their order, with `target`
    passed over. Raises as `read_table`, and ValueError for another number of columns.
    """
    found = read(source)
    if names is not None and found.named:
        return _matrix(found, names)
    rest = [name for name in found.features if name not in target]
    if len(rest) != count:
        raise ValueError(
            f"{source} has {len(rest)} feature columns but the model was trained on {count}; pass "
            "the columns of the training data, in their order"
        )
    return _matrix(found, rest)


def _require(found: Source, names: Sequence[str], kind: str) -> None:
    absent = [name for name in names if name not in found.columns]
    if absent:
        raise ValueError(
            f"{found.name} lacks the {kind}{'s' if len(absent) > 1 else ''} {listed(absent)}; it "
            f"has {listed(found.columns)}"
        )


def _matrix(found: Source, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the columns of these names side by side, or say which are no numbers."""
    _require(found, names, "column")
    columns = {name: _numbers(found.columns[name]) for name in names}
    text = {name: found.columns[name] for name, column in columns.items() if column is None}
    if text:
        examples = [f"{name} ({_example(column)})" for name, column in text.items()]
        raise ValueError(
            f"{found.name} has columns that are no numbers: {listed(examples)}; drop them, or "
            "turn them into numbers, for example with pandas.get_dummies"
        )
    matrix = np.column_stack([column for column in columns.values() if column is not None])
    _require_finite(found, names, matrix)
    return matrix


def _require_finite(found: Source, names: Sequence[str], matrix: NDArray[np.float64]) -> None:
    for wrong, word, advice in (
        (np.isnan(matrix), "missing", "impute them, for example with sklearn.impute.SimpleImputer"),
        (np.isinf(matrix), "infinite", "replace them"),
    ):
        counts = wrong.sum(axis=0)
        if counts.any():
            places = [f"{names[int(j)]} ({counts[j]} rows)" for j in np.flatnonzero(counts)]
            raise ValueError(
                f"{found.name} has {word} values in {listed(places)}; drop those rows, or {advice}"
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
        _require_finite(found, [name], numbers[:, None])
        whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53)
        return numbers.astype(np.int64) if whole.all() else numbers
    missing = sum(map(_is_missing, column))
    if missing:
        raise ValueError(
            f"{found.name} has missing values in its target {name} ({missing} rows); drop "
            "those rows"
        )
    return np.array([str(value) for value in column])
