"""Test score, seconds with tuning and size on the UCI tables: ours and what users take today."""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits

from cvxnn import ColumnEncoder, ConvexClassifierCV, ConvexRegressorCV

Floats = NDArray[np.float64]

SMALLEST, MOST_CLASSES = 100, 8
"""Rows and classes of the tables that take part."""
TWICE = {
    "acute-nephritis",  # the rows of acute-inflammation
    "cardiotocography-10clases",  # the rows of cardiotocography-3clases
    "energy-y2",  # the rows of energy-y1
    "image-segmentation",  # statlog-image
    "statlog-australian-credit",  # the rows of credit-approval, labels in doubt
}
"""Tables that repeat another one."""
TREES = {"forest", "boosting"}
"""Methods that cut columns of codes as they are; others see a column 0/1 a value beside them."""
LEVELS = 12
"""Different numbers up to which a column counts as one of codes."""
TIE = {"classification": 0.005, "regression": 0.01}
"""Differences of accuracy and of R2 that count as none."""


class Table(NamedTuple):
    """One data set: samples (n, d), targets (n,), and whether they are classes."""

    name: str
    X: Floats
    y: NDArray[Any]
    kind: str


class Fit(NamedTuple):
    """A fitted model and how many parts it has."""

    model: Any
    size: int


def tables(folder: Path, kind: str, largest: int) -> Iterator[Table]:
    """Yield the tables of a collection, `uci_classification.npz` or `uci_regression.npz`.

    Of regression tables with more than `largest` rows so many are drawn; larger ones of classes are
    left out.
    """
    with np.load(folder / f"uci_{kind}.npz", allow_pickle=False) as archive:
        for name in sorted({key.split("/")[0] for key in archive.files}):
            X, y = archive[f"{name}/X"].astype(np.float64), archive[f"{name}/y"]
            X = X[:, X.std(axis=0) > 0]
            if kind == "regression":
                rows = np.random.default_rng(0).permutation(len(X))[:largest]
                if len(X) >= SMALLEST:
                    yield Table(name, X[rows], y[rows].astype(np.float64), kind)
                continue
            few = len(np.unique(y)) <= MOST_CLASSES and np.bincount(y).min() >= 2
            if SMALLEST <= len(X) <= largest and few and name not in TWICE:
                yield Table(name, X, y, kind)


def _grid(model: Any, grid: Any, jobs: dict[str, Any]) -> GridSearchCV:
    return GridSearchCV(model, grid, cv=3, **jobs)


def linear(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """Logistic regression over ten C by three folds; ridge over fifteen alphas, leave-one-out."""
    if kind == "regression":
        return Fit(RidgeCV(np.logspace(-4, 4, 15)).fit(X, y), X.shape[1])
    model = LogisticRegressionCV(
        Cs=10,
        cv=3,
        max_iter=1000,
        use_legacy_attributes=False,
        l1_ratios=(0.0,),
        scoring="accuracy",
    )
    return Fit(model.fit(X, y), X.shape[1])


def kernel(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """Support vectors with Gaussian kernels: four C times three widths."""
    grid = {"C": [0.1, 1, 10, 100], "gamma": [0.1 / X.shape[1], 1 / X.shape[1], 4 / X.shape[1]]}
    model = _grid(SVC() if kind == "classification" else _scaled(SVR()), _names(grid, kind), {})
    model.fit(X, y)
    best = model.best_estimator_
    vectors = (best if kind == "classification" else best.regressor_).support_vectors_
    return Fit(model, len(vectors))


def _scaled(model: Any) -> TransformedTargetRegressor:
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def _names(grid: dict[str, Any], kind: str) -> dict[str, Any]:
    return grid if kind == "classification" else {f"regressor__{k}": v for k, v in grid.items()}


def forest(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """A random forest of 100 trees, leaves of at least one or five samples."""
    make = RandomForestClassifier if kind == "classification" else RandomForestRegressor
    model = _grid(make(100, random_state=seed), {"min_samples_leaf": [1, 5]}, {}).fit(X, y)
    return Fit(model, sum(tree.tree_.node_count for tree in model.best_estimator_.estimators_))


def boosting(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """Histogram boosting, two rates times two numbers of leaves."""
    classes = kind == "classification"
    make = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    grid = {"learning_rate": [0.05, 0.1], "max_leaf_nodes": [8, 31]}
    model = _grid(make(random_state=seed), grid, {}).fit(X, y)
    trees = [tree for stage in model.best_estimator_._predictors for tree in stage]
    return Fit(model, sum(len(tree.nodes) for tree in trees))


def mlp(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """scikit-learn's network, 100 neurons: decay and rate with early stopping, decay without."""
    make = MLPClassifier if kind == "classification" else MLPRegressor
    rates = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1], "learning_rate_init": [1e-3, 1e-2]}
    grids = [
        _names(rates | {"early_stopping": [True]}, kind),
        _names({"alpha": [1e-3, 1e-1, 1.0], "early_stopping": [False]}, kind),
    ]
    model = make(hidden_layer_sizes=(100,), random_state=seed)
    return Fit(
        _grid(model if kind == "classification" else _scaled(model), grids, {}).fit(X, y), 100
    )


def ours(X: Floats, y: Any, kind: str, seed: int, **words: Any) -> Fit:
    """Our estimators, alpha by three folds; a per cent of the objective is enough to predict."""
    make = ConvexClassifierCV if kind == "classification" else ConvexRegressorCV
    grid = {"alphas": 12, "ratio": 3e-4, "cv": 3}
    model = make(**grid, tol=1e-2, proof_time=0, random_state=seed, **words).fit(X, y)
    return Fit(model, model.network_.n_neurons)


def relu(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """Ours, any ReLU network."""
    return ours(X, y, kind, seed)


def gated(X: Floats, y: Any, kind: str, seed: int) -> Fit:
    """Ours, gated ReLU."""
    return ours(X, y, kind, seed, architecture="gated")


METHODS: dict[str, Callable[[Floats, Any, str, int], Fit]] = {
    "relu": relu,
    "gated": gated,
    "linear": linear,
    "kernel": kernel,
    "forest": forest,
    "boosting": boosting,
    "mlp": mlp,
}


def measure(table: Table, method: str, split: int) -> dict[str, Any]:
    """Return one row: score on the 30 % held out, CPU seconds with all tuning, and size."""
    labels = table.y if table.kind == "classification" else None
    X, X_test, y, y_test = train_test_split(
        table.X, table.y, test_size=0.3, random_state=split, stratify=labels
    )
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    if method not in TREES:
        encoder = ColumnEncoder(levels=LEVELS).fit(X)
        X, X_test = encoder.transform(X), encoder.transform(X_test)
    if table.kind == "regression":
        mean, spread = y.mean(), y.std()
        y, y_test = (y - mean) / spread, (y_test - mean) / spread
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = METHODS[method](X, y, table.kind, split)
    seconds = time.process_time() - begin
    return {
        "kind": table.kind,
        "table": table.name,
        "method": method,
        "split": split,
        "score": float(fit.model.score(X_test, y_test)),
        "seconds": seconds,
        "size": int(fit.size),
    }


def report(rows: list[dict[str, Any]], kind: str) -> str:
    """Return the comparison on the tables and splits that every method has finished."""
    rows = [row for row in rows if row["kind"] == kind]
    methods = [name for name in METHODS if any(row["method"] == name for row in rows)]
    found = {(row["table"], row["split"], row["method"]): row for row in rows}
    pairs = sorted({(row["table"], row["split"]) for row in rows})
    pairs = [pair for pair in pairs if all((*pair, method) in found for method in methods)]
    names = sorted({table for table, _ in pairs})
    if not names:
        return f"{kind}: no table that every method has finished"

    def mean(what: str) -> Floats:
        return np.array(
            [
                [
                    np.mean([found[(*pair, method)][what] for pair in pairs if pair[0] == name])
                    for method in methods
                ]
                for name in names
            ]
        )

    score, seconds, size = mean("score"), mean("seconds"), mean("size")
    ranks = np.array([rankdata(-row) for row in score]).mean(axis=0)
    lines = [
        f"{kind}: {len(names)} tables, {len(pairs)} splits",
        f"{'method':>10}{'rank':>7}{'score':>8}{'median s':>10}{'total s':>9}{'size':>8}"
        f"{'W/T/L of ' + methods[0]:>18}{'p':>8}",
    ]
    for k in np.argsort(ranks):
        gain = score[:, 0] - score[:, k]
        tie = np.abs(gain) < TIE[kind]
        record = f"{(~tie & (gain > 0)).sum()}/{tie.sum()}/{(~tie & (gain < 0)).sum()}"
        chance = f"{wilcoxon(gain).pvalue:.3f}" if k and gain.any() else "-"
        lines.append(
            f"{methods[k]:>10}{ranks[k]:>7.2f}{score[:, k].mean():>8.4f}"
            f"{np.median(seconds[:, k]):>10.2f}{seconds[:, k].sum():>9.1f}"
            f"{np.median(size[:, k]):>8.0f}{record if k else '-':>18}{chance:>8}"
        )
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("practical.jsonl"), help="a row a fit")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--kinds", default="classification,regression")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--largest", type=int, default=2400, help="rows of a table at most")
    parser.add_argument("--tables", default="", help="names; all that qualify if not given")
    parser.add_argument("--report", action="store_true", help="print the tables of --out and end")
    args = parser.parse_args()
    args.methods = args.methods.split(",")
    if unknown := set(args.methods) - set(METHODS):
        parser.error(f"unknown methods {sorted(unknown)}; choose from {', '.join(METHODS)}")
    if not args.report and "CVXNN_DATA" not in os.environ:
        parser.error("set CVXNN_DATA to the folder of uci_classification.npz, uci_regression.npz")
    return args


def main() -> None:
    """Measure what `--out` does not hold yet, a row at a time, and print the tables."""
    args = options()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    rows = [json.loads(line) for line in lines]
    known = {(row["kind"], row["table"], row["method"], row["split"]) for row in rows}
    wanted = set(filter(None, args.tables.split(",")))
    for kind in args.kinds.split(",") if not args.report else ():
        some = [
            table
            for table in tables(Path(os.environ["CVXNN_DATA"]), kind, args.largest)
            if not wanted or table.name in wanted
        ]
        for split, table, method in product(range(args.splits), some, args.methods):
            if (kind, table.name, method, split) in known:
                continue
            rows.append(measure(table, method, split))
            with args.out.open("a") as file:
                print(json.dumps(rows[-1]), file=file)
    for kind in args.kinds.split(","):
        print(report(rows, kind), end="\n\n")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
