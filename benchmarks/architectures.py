"""Every architecture on the same real tables: score, time with tuning, size, what is proved."""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cvxnn import ConvexClassifierCV, ConvexRegressorCV
from cvxnn.architectures import BY_NAME
from cvxnn.errors import CvxnnError

TABLES: dict[str, tuple[Callable[..., Any], Any]] = {
    "diabetes": (load_diabetes, ConvexRegressorCV),
    "wine": (load_wine, ConvexClassifierCV),
    "breast_cancer": (load_breast_cancer, ConvexClassifierCV),
    "digits": (load_digits, ConvexClassifierCV),
}
"""Bundled with scikit-learn, and what learns them."""


class Row(NamedTuple):
    """What one architecture made of one table."""

    table: str
    architecture: str
    score: str
    seconds: str
    neurons: str
    gap: str
    scope: str


def fitted(table: str, architecture: str, args: argparse.Namespace) -> Row:
    """Return the row of a fit: alpha by three folds, R2 or accuracy on the 30 % held out."""
    load, kind = TABLES[table]
    X, y = load(return_X_y=True)
    strata = y if kind is ConvexClassifierCV else None
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=strata)
    scaler = StandardScaler().fit(X)
    if strata is None:
        mean, spread = y.mean(), y.std()
        y, y_test = (y - mean) / spread, (y_test - mean) / spread
    words = {"n_gates": args.gates, "tol": args.tol, "max_time": args.max_time}
    model = kind(architecture, alphas=8, cv=3, random_state=args.seed, **words)
    begin = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the gap is in the table
            model.fit(scaler.transform(X), y)
    except CvxnnError as error:
        return Row(table, architecture, type(error).__name__, "", "", "", "")
    claim = model.certificate_
    return Row(
        table,
        architecture,
        f"{model.score(scaler.transform(X_test), y_test):.3f}",
        f"{time.perf_counter() - begin:.1f}",
        str(model.network_.n_neurons),
        f"{claim.relative_gap:.0e}",
        claim.scope.name,
    )


def rows(args: argparse.Namespace) -> Iterator[Row]:
    """Yield the table's rows, the names first."""
    yield Row("table", "architecture", "score", "seconds", "neurons", "gap", "scope")
    for table in args.tables.split(","):
        for architecture in args.architectures.split(","):
            yield fitted(table, architecture, args)


def main() -> None:
    """Print a row a fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--architectures", default=",".join(BY_NAME))
    parser.add_argument("--gates", type=int, default=100)
    parser.add_argument("--tol", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-time", type=float, default=300.0, help="seconds of a whole fit")
    for row in rows(parser.parse_args()):
        widths = (15, 17, 9, 9, 9, 8, 14)
        print(
            "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(),
            flush=True,
        )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
