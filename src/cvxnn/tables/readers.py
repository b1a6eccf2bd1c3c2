"""Columns from files and from scikit-learn, as they are: numbers, booleans or text."""

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.errors import UnsupportedError, listed

Column = NDArray[Any]
"""Numbers, booleans, or objects: text, and None where a cell is empty."""

BUNDLED = {
    "breast_cancer": "diagnosis",
    "diabetes": "progression",
    "digits": "digit",
    "iris": "species",
    "linnerud": "",
    "wine": "cultivar",
}
"""The data sets that come with scikit-learn, and a name for their target where they give none."""

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
_CHUNK = 50_000
"""Rows of a CSV file that are held as text at a time."""


@dataclass(frozen=True, eq=False)
class Source:
    """What a file holds: all columns, those that may be features, and the target by default."""

    name: str
    columns: dict[str, Column]
    features: tuple[str, ...]
    target: tuple[str, ...]
    named: bool = True


def read(source: str, text: Iterable[str] = ()) -> Source:
    """Read a CSV, TSV, Parquet or npz file, or a data set `sklearn:NAME`.

    Columns of a CSV or TSV file that `text` names stay text, even if every cell is a number.

    Raises FileNotFoundError, ValueError for what cannot be read as a table with rows, and
    UnsupportedError where a reader is not installed.
    """
    if source.startswith("sklearn:"):
        return _bundled(source)
    path = Path(source)
    if path.suffix.lower() not in _READERS:
        raise ValueError(
            f"{source} is not data that can be read; expected a file that ends in "
            f"{listed(tuple(_READERS))}, or sklearn:NAME with a name among {listed(BUNDLED)}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{source} does not exist, or is no file; check the path")
    reader = _READERS[path.suffix.lower()]
    found = _csv(path, set(text)) if reader is _csv else reader(path)
    if not found.columns or not len(next(iter(found.columns.values()))):
        raise ValueError(f"{source} has no rows; expected at least one sample")
    return found


def _bundled(source: str) -> Source:
    from sklearn import datasets

    name = source.removeprefix("sklearn:")
    if name not in BUNDLED:
        raise ValueError(
            f"scikit-learn comes with no data set {name!r}; expected sklearn: and one of "
            f"{listed(BUNDLED)}"
        )
    data = getattr(datasets, f"load_{name}")()
    features = {str(n): column for n, column in zip(data.feature_names, data.data.T, strict=True)}
    if name == "linnerud":
        targets = {str(n): y for n, y in zip(data.target_names, data.target.T, strict=True)}
    elif name in ("diabetes", "digits"):
        targets = {BUNDLED[name]: data.target}
    else:
        targets = {BUNDLED[name]: np.asarray(data.target_names)[data.target].astype(object)}
    return Source(source, features | targets, tuple(features), tuple(targets))


def _csv(path: Path, text: Set[str] = frozenset()) -> Source:
    try:
        columns, mixed = _csv_columns(path, as_text=text)
        if mixed:  # numbers in one part of the file and text in another: text then
            columns, _ = _csv_columns(path, as_text=text | mixed)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 ({error.reason}); save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}; check its quotes") from error
    return Source(str(path), columns, tuple(columns), tuple(columns)[-1:])


def _csv_columns(path: Path, as_text: Set[str]) -> tuple[dict[str, Column], set[str]]:
    """Return the columns, and the names of those that are numbers only here and there."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        delimiter = max(",;\t|", key=lambda mark: len(next(csv.reader([head], delimiter=mark), [])))
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names = _header(path, next(rows, []))
        lines = _whole_rows(path, rows, len(names))
        parts: list[list[Column]] = [[] for _ in names]
        while chunk := list(islice(lines, _CHUNK)):
            for name, part, cells in zip(names, parts, zip(*chunk, strict=True), strict=True):
                part.append(_texts(cells) if name in as_text else _parsed(cells))
    kinds = {
        name: {part.dtype for part in column} for name, column in zip(names, parts, strict=True)
    }
    joined = {
        name: np.concatenate(column) if column else np.empty(0)
        for name, column in zip(names, parts, strict=True)
    }
    return joined, {name for name, found in kinds.items() if len(found) > 1}


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if not names:
        raise ValueError(f"{path} is empty; expected a line of column names, then rows")
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"the first line of {path} holds numbers; put a line of column names first"
        )
    unnamed = [str(place) for place, name in enumerate(names, 1) if not name]
    if unnamed:
        raise ValueError(
            f"{path} has columns without a name ({listed(unnamed)}); name or drop them"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has several columns named {listed(twice)}; rename them")
    return names


def _whole_rows(path: Path, rows: Any, width: int) -> Iterable[list[str]]:
    for row in rows:
        if not row:
            continue  # a blank line
        if len(row) != width:
            raise ValueError(
                f"line {rows.line_num} of {path} has {len(row)} cells but the header has {width}; "
                "check its separators and quotes"
            )
        yield row


def _parsed(cells: Sequence[str]) -> Column:
    """Return numbers, NaN where a cell is missing, if that is what the cells are; else text."""
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:  # some cell is no number: missing, or text
        pass
    if all(_is_number(cell) or cell.strip().lower() in _MISSING for cell in cells):
        return np.array([float(cell) if _is_number(cell) else np.nan for cell in cells])
    return _texts(cells)


def _texts(cells: Sequence[str]) -> Column:
    return np.array([cell.strip() or None for cell in cells], dtype=object)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> Source:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UnsupportedError(
            f"{path} needs pyarrow, which is not installed; run `pip install pyarrow` or pass CSV"
        ) from error
    try:
        table = parquet.ParquetFile(path).read()
    except ValueError as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return Source(str(path), columns, tuple(columns), tuple(columns)[-1:])


def _npz(path: Path) -> Source:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is not an npz file of numbers and text ({error}); write it with numpy.savez"
        ) from error
    if "X" not in arrays or arrays["X"].ndim != 2:
        shapes = listed([f"{name} {array.shape}" for name, array in arrays.items()])
        raise ValueError(f"{path} has no array X (n, d); it has {shapes or 'no arrays'}")
    X = arrays.pop("X")
    features = {f"X[{j}]": X[:, j] for j in range(X.shape[1])}
    if "y" in arrays and (arrays["y"].ndim not in (1, 2) or len(arrays["y"]) != len(X)):
        raise ValueError(
            f"y of {path} has shape {arrays['y'].shape} and X {X.shape}; expected one target per "
            "row of X"
        )
    others = {name: array for name, array in arrays.items() if array.shape == X.shape[:1]}
    target: tuple[str, ...] = ("y",) if "y" in others else ()
    if "y" in arrays and arrays["y"].ndim == 2:
        others |= {f"y[{j}]": column for j, column in enumerate(arrays["y"].T)}
        target = tuple(f"y[{j}]" for j in range(arrays["y"].shape[1]))
    return Source(str(path), features | others, tuple(features), target, named=False)


_READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".npz": _npz,
}
