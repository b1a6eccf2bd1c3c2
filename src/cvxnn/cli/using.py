"""What the commands do with a saved model: predict, verify, describe."""

from typing import Any

from numpy.typing import NDArray

from cvxnn.certificate import Certificate, Verification, verify
from cvxnn.cli.facts import Json, estimator, facts, steps, text_columns, training
from cvxnn.cli.fitting import split
from cvxnn.files import load, read_notes
from cvxnn.tables import read_features, read_table


def predict(path: str, data: str, proba: bool) -> tuple[list[str], Any]:
    """Return the column names and the rows of a model's predictions."""
    model, notes = load(path), training(path, read_notes(path))
    target = notes.get("target", [])
    names, text = _names(model, notes), text_columns(model)
    X = read_features(data, names, model.n_features_in_, target, text)
    if proba:
        return _probabilities(path, model, X)
    outputs = model.predict(X)
    rows = outputs.reshape(len(X), -1).tolist()
    width = len(rows[0])
    header = target or [f"prediction {k}" if width > 1 else "prediction" for k in range(width)]
    return header, rows


def _probabilities(path: str, model: Any, X: NDArray[Any]) -> tuple[list[str], Any]:
    network = estimator(model)
    if not hasattr(network, "predict_proba"):
        reason = "a regression" if not hasattr(network, "classes_") else f"loss {network.loss!r}"
        raise ValueError(f"{path} was trained with {reason}, without probabilities; drop --proba")
    return [str(label) for label in network.classes_], model.predict_proba(X).tolist()


def recheck(path: str, data: str, target: tuple[str, ...]) -> tuple[Verification, Certificate, str]:
    """Verify a model on the rows that it was trained on; return the verdict, claim and rows."""
    model, notes = load(path), training(path, read_notes(path))
    table = read_table(data, target or notes.get("target", ()), _names(model, notes))
    rows, _ = split(table.y, notes.get("task", ""), notes.get("test_size", 0), notes.get("seed", 0))
    X, network = table.X[rows], estimator(model)
    for step in steps(model):
        X = step.transform(X)
    checked = f"network and dual vector, in float64, on {len(rows):,} rows of {data}"
    return verify(network, X, table.y[rows]), network.certificate_, checked


def describe(path: str) -> Json:
    """Return the facts about a saved model."""
    notes = read_notes(path)
    told = training(path, notes)
    return {"model": path, "cvxnn": notes.get("cvxnn", "unknown"), **facts(load(path), told)}


def _names(model: Any, notes: Json) -> list[str] | None:
    """Return the names of the features, if they have any."""
    named = getattr(model, "feature_names_in_", None)
    return notes.get("features") if named is None else named.tolist()
