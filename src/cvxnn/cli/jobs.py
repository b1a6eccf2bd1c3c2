"""What the commands do, whatever is said about it."""

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from cvxnn.architectures import BY_NAME
from cvxnn.certificate import Certificate, Verification, verify
from cvxnn.cli.watch import Watch
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.files import load, read_notes, save
from cvxnn.tables import Table, read_features, read_table

Json = dict[str, Any]

_FEW = 20
"""A target of whole numbers with more values than this is a quantity, not a class."""


def task_of(table: Table, wanted: str) -> tuple[str, str]:
    """Return "classification" or "regression", and why; `wanted` may be "auto".

    ValueError where the target fits neither or not the one that is wanted.
    """
    y, name = table.y, " and ".join(table.target)
    values = np.unique(y)
    labels = y.dtype.kind in "Ub"
    if wanted != "auto":
        if wanted == "regression" and labels:
            raise ValueError(
                f"the target {name} is no number ({values[0]!s}, ...); pass --task classification"
            )
        return wanted, "as asked"
    if y.ndim == 2:
        if labels:
            raise ValueError(f"the targets {name} are text; pass one --target to classify by")
        return "regression", "several targets"
    few = max(2, min(_FEW, len(y) // 4))
    if labels:
        if len(values) > max(_FEW, len(y) // 4):
            raise ValueError(
                f"the target {name} is text with {len(values)} different values in {len(y)} rows, "
                "which are no classes; pass another --target, or --task classification"
            )
        return "classification", f"its {len(values)} values are no numbers"
    if y.dtype.kind in "iu" and len(values) <= few:
        return "classification", f"its {len(values)} values are whole numbers"
    return "regression", f"its {len(values)} values are numbers"


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
    output: Path
    target: tuple[str, ...]
    task: str
    test_size: float
    standardize: bool
    architecture: str
    bias: bool
    options: Json
    """Of the estimator."""


def fit(order: Order, console: Console, quiet: bool) -> Json:
    """Read, split, train, score and save; return the facts. `console` is told how it goes."""
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
        model = _model(order, task, watch)
        model.fit(table.X[train], table.y[train])
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
            "score": _score(model, table, task, train, test if len(test) else train),
        }
        save(model, order.output, notes)
    for warning in heard:
        if not quiet and not issubclass(warning.category, ConvergenceWarning):
            console.print(f"note: {warning.message}", style="yellow", markup=False)
    return facts(model, notes)


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
    return f"target: {', '.join(table.target)}{chosen}\ntask: {task} ({why}{hint})"


def _model(order: Order, task: str, watch: Watch) -> Any:
    kind: Any = ConvexClassifier if task == "classification" else ConvexRegressor
    architecture: Any = type(BY_NAME[order.architecture])
    model = kind(architecture(bias=order.bias), **order.options, callbacks=[watch])
    return make_pipeline(StandardScaler(), model) if order.standardize else model


def _score(model: Any, table: Table, task: str, train: Any, rows: Any) -> Json:
    X, y = table.X, table.y
    classifies = task == "classification"
    simple = DummyClassifier() if classifies else DummyRegressor()
    simple.fit(X[train], y[train])
    return {
        "name": "accuracy" if classifies else "R^2",
        "value": _or_none(model.score(X[rows], y[rows])),
        "baseline": _or_none(simple.score(X[rows], y[rows])),
        "baseline_is": f"always {simple.predict(X[:1])[0]}" if classifies else "always the mean",
        "on": "training" if rows is train else "test",
    }


def _or_none(score: float) -> float | None:
    return float(score) if np.isfinite(score) else None


def predict(path: str, data: str, proba: bool) -> tuple[list[str], Any]:
    """Return the column names and the rows of a model's predictions."""
    model, notes = load(path), read_notes(path)
    names = _names(model, notes)
    target = notes.get("target", ["prediction"])
    X = read_features(data, names, model.n_features_in_, target)
    if not proba:
        outputs = model.predict(X)
        return list(target), outputs.reshape(len(X), -1).tolist()
    classes = getattr(model, "classes_", None)
    if classes is None:
        raise ValueError(f"{path} is a regression and has no probabilities; leave out --proba")
    network = estimator(model)
    if network.loss != "logistic":
        raise ValueError(
            f"{path} was trained with loss {network.loss!r}, which gives no probabilities; leave "
            "out --proba, or train with --loss logistic"
        )
    return [str(label) for label in classes], model.predict_proba(X).tolist()


def recheck(path: str, data: str, target: tuple[str, ...]) -> tuple[Verification, Certificate, str]:
    """Verify a model on the rows that it was trained on; return the verdict, claim and rows."""
    model, notes = load(path), read_notes(path)
    table = read_table(data, target or notes.get("target", ()), _names(model, notes))
    rows, _ = split(table.y, notes.get("task", ""), notes.get("test_size", 0), notes.get("seed", 0))
    X, network = table.X[rows], estimator(model)
    for _, step in model.steps[:-1] if isinstance(model, Pipeline) else ():
        X = step.transform(X)
    checked = f"network and dual vector, in float64, on {len(rows):,} rows of {data}"
    return verify(network, X, table.y[rows]), network.certificate_, checked


def _names(model: Any, notes: Json) -> list[str] | None:
    """Return the names of the features, if they have any."""
    named = getattr(model, "feature_names_in_", None)
    return notes.get("features") if named is None else named.tolist()


def estimator(model: Any) -> Any:
    """Return the estimator of a model, which may be the last step of a pipeline."""
    return model[-1] if isinstance(model, Pipeline) else model


def facts(model: Any, notes: Json) -> Json:
    """Return what there is to say about a fitted model, as JSON."""
    network = estimator(model)
    classes = getattr(network, "classes_", None)
    return {
        "estimator": type(network).__name__,
        "architecture": network.architecture_.name,
        "bias": network.architecture_.bias,
        "loss": network.loss if isinstance(network.loss, str) else network.loss.name,
        "intercept": network.fit_intercept,
        "skip": network.skip,
        "standardized": model is not network,
        "features": network.n_features_in_,
        "outputs": network.dual_.shape[1],
        "classes": None if classes is None else [str(label) for label in classes],
        "neurons": network.network_.n_neurons,
        "gates": len(network.generators_),
        "alpha": network.alpha_,
        "alpha_max": network.alpha_max_,
        "certificate": certificate(network.certificate_),
        "tol": network.tol,
        "status": network.solution_.status.name,
        "advice": network.solution_.status.value,
        "solver": network.solution_.solver,
        "iterations": network.n_iter_,
        "fingerprint": network.fingerprint_,
        "trained_on": len(network.dual_),
        "notes": notes,
    }


def certificate(claim: Any) -> Json:
    """Return a certificate as JSON."""
    return {
        "upper": claim.upper,
        "lower": claim.lower,
        "gap": claim.gap,
        "relative_gap": claim.relative_gap,
        "scope": claim.scope.name,
        "exactness": claim.exactness.name,
        "bound": claim.bound,
        "violation": claim.violation,
    }
