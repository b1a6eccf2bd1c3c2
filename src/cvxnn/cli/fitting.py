"""What `cvxnn fit` does: read, split, train, score, save."""

import math
import time
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cvxnn import __version__, training
from cvxnn.architectures import Architecture
from cvxnn.cli.facts import KEY, Json, estimator, facts, finite
from cvxnn.cli.watch import Watch
from cvxnn.encoding import ColumnEncoder
from cvxnn.errors import listed
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.files import save
from cvxnn.tables import Table, read_table

_FEW = 20
"""A target of whole numbers with more values than this is a quantity, not a class."""


def architecture_of(name: str, bias: bool) -> Architecture:
    """Return the architecture of a name, with or without a hidden bias.

    ValueError for other names, and where neurons always have a bias.
    """
    known: Any = training.architecture_of(name)
    options = {field.name for field in fields(known) if field.init}
    if not (bias or "bias" in options):
        raise ValueError(f"{name} networks always have a hidden bias; leave out --no-bias")
    chosen: Architecture = replace(known, bias=bias) if "bias" in options else known
    return chosen


def task_of(table: Table, wanted: str) -> tuple[str, str]:
    """Return "classification" or "regression", and why; `wanted` may be "auto".

    ValueError where the target fits neither, or not the one that is wanted.
    """
    y, name = table.y, " and ".join(table.target)
    count, text = len(np.unique(y)), y.dtype.kind in "Ub"
    if wanted == "regression" and text:
        raise ValueError(f"the target {name} is no number ({y.flat[0]}); pass another --target")
    if wanted != "auto":
        return wanted, "as asked"
    if y.ndim == 2:
        if text:
            raise ValueError(f"the targets {name} are no numbers; pass one --target to classify by")
        return "regression", "several targets"
    if text and count > max(_FEW, len(y) // 4):
        raise ValueError(
            f"the target {name} has {count} different texts in {len(y)} rows, too many for "
            "classes; pass another --target, or --task classification"
        )
    if text:
        return "classification", f"distinct texts: {count}"
    if y.dtype.kind in "iu" and count <= max(2, min(_FEW, len(y) // 4)):
        return "classification", f"distinct whole numbers: {count}"
    return "regression", f"distinct numbers: {count}"


def split(y: NDArray[Any], task: str, test_size: float, seed: int) -> tuple[Any, Any]:
    """Return the indices of training and test rows, classes in equal shares where that works."""
    if not 0 <= test_size < 1:
        raise ValueError(f"test-size is {test_size}; expected a share from 0 to less than 1")
    rows = np.arange(len(y))
    if test_size == 0:
        return rows, rows[:0]
    held_out = math.ceil(test_size * len(y))
    strata = None
    if task == "classification":
        counts = np.unique(y, return_counts=True)[1]
        enough = min(held_out, len(y) - held_out) >= len(counts) and counts.min() >= 2
        strata = y if enough else None
    train, test = train_test_split(rows, test_size=held_out, random_state=seed, stratify=strata)
    return train, test


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a user asks of `fit`."""

    data: str
    output: Path | None
    target: tuple[str, ...]
    task: str
    test_size: float
    levels: int
    """Of the encoder."""
    standardize: bool
    architecture: Architecture
    options: Json
    """Of the estimator."""


def fit(order: Order, console: Console, quiet: bool) -> Json:
    """Read, split, train, score and save; return the facts. `console` is told how it goes."""
    assert order.output is not None
    require_place(order.output)
    with Watch(console, quiet) as watch, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        watch.doing(f"reading {order.data}")
        table = read_table(order.data, order.target)
        task, why = task_of(table, order.task)
        train, test = split(table.y, task, order.test_size, order.options["random_state"])
        if not quiet:
            said = _announcement(table, task, why, order)
            console.print(said, style="dim", markup=False, soft_wrap=True)
        auto = order.options["alpha"] == "auto"
        watch.doing("choosing alpha by five-fold validation" if auto else "preparing")
        begin = time.perf_counter()
        model = _model(order, task, watch, table)
        model.fit(table.X[train], table.y[train])
        if not np.isfinite(estimator(model).certificate_.upper):
            raise FloatingPointError("the objective is not finite")
        notes = {
            "source": order.data,
            "rows": len(table.y),
            "train_rows": len(train),
            "test_rows": len(test),
            "features": list(table.features) if table.named else None,
            "target": list(table.target),
            "task": task,
            "test_size": order.test_size,
            "seed": order.options["random_state"],
            "seconds": time.perf_counter() - begin,
            **_scores(model, table, task, train, test if len(test) else train),
        }
        save(model, order.output, {KEY: notes})
    for message in dict.fromkeys(_worth_saying(heard)):
        if not quiet:
            console.print(f"note: {message}", style="yellow", markup=False, soft_wrap=True)
    return {"model": str(order.output), "cvxnn": __version__, **facts(model, notes)}


def _worth_saying(heard: list[warnings.WarningMessage]) -> list[str]:
    """Return the warnings, without the one that a status says already."""
    return [str(w.message) for w in heard if not issubclass(w.category, ConvergenceWarning)]


def require_place(output: Path) -> None:
    """Raise OSError, before any work, where a file cannot be written."""
    folder = output.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} of {output} does not exist; make it first")
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder; name a file to write")


def _announcement(table: Table, task: str, why: str, order: Order) -> str:
    chosen = "" if order.target else " (the default; --target says otherwise)"
    hint = "" if order.task != "auto" else "; --task says otherwise"
    words = f"\none column a category: {listed(table.text)}" if table.text else ""
    return f"target: {', '.join(table.target)}{chosen}\ntask: {task} ({why}{hint}){words}"


def kind_of(order: Order, task: str, options: Json) -> Any:
    """Return the estimator for a task, not fitted, with these options."""
    kind: Any = ConvexClassifier if task == "classification" else ConvexRegressor
    return kind(order.architecture, **options)


def preparation(order: Order, table: Table) -> list[Any]:
    """Return the steps that come before the estimator."""
    encoder = [ColumnEncoder(levels=order.levels)] if table.text or order.levels else []
    return encoder + ([StandardScaler()] if order.standardize else [])


def _model(order: Order, task: str, watch: Watch, table: Table) -> Any:
    model = kind_of(order, task, order.options | {"callbacks": [watch]})
    steps = preparation(order, table)
    return make_pipeline(*steps, model) if steps else model


def _scores(model: Any, table: Table, task: str, train: Any, rows: Any) -> Json:
    X, y = table.X, table.y
    classifies = task == "classification"
    simple = DummyClassifier() if classifies else DummyRegressor()
    simple.fit(X[train], y[train])
    return {
        "metric": "accuracy" if classifies else "R^2",
        "measured_on": "training" if rows is train else "test",
        "score": finite(model.score(X[rows], y[rows])),
        "baseline": finite(simple.score(X[rows], y[rows])),
        "baseline_is": f"always {simple.predict(X[:1])[0]}" if classifies else "always the mean",
    }
