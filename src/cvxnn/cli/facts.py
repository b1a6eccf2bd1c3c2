"""What there is to say about a model, as JSON, and what its file says about its training."""

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cvxnn.certificate import Certificate
from cvxnn.encoding import ColumnEncoder
from cvxnn.errors import ModelFormatError

Json = dict[str, Any]

KEY = "cvxnn fit"
_NOTES: dict[str, Any] = {
    "source": str,
    "rows": int,
    "train_rows": int,
    "test_rows": int,
    "features": list | None,
    "target": list,
    "task": str,
    "test_size": float | int,
    "seed": int,
    "seconds": float | int,
    "metric": str,
    "measured_on": str,
    "score": float | None,
    "baseline": float | None,
    "baseline_is": str,
}
"""What `fit` notes about a training, in the model file under that key."""


def training(path: str, notes: Json) -> Json:
    """Return what `fit` noted about the training; nothing for a model that Python saved."""
    told = notes.get(KEY, {})
    if not isinstance(told, dict) or (told and not _complete(told)):
        raise ModelFormatError(f"{path} has notes that cvxnn fit did not write; train it again")
    return told


def _complete(told: Json) -> bool:
    known = told.keys() == _NOTES.keys()
    return known and all(isinstance(told[name], kind) for name, kind in _NOTES.items())


def estimator(model: Any) -> Any:
    """Return the estimator of a model, which may be the last step of a pipeline."""
    return model[-1] if isinstance(model, Pipeline) else model


def steps(model: Any) -> list[Any]:
    """Return what comes before the estimator of a model."""
    return [step for _, step in model.steps[:-1]] if isinstance(model, Pipeline) else []


def text_columns(model: Any) -> list[int]:
    """Return which columns of a model's data are text."""
    encoder: Any = next(iter(steps(model)), estimator(model).encoder_)
    if not isinstance(encoder, ColumnEncoder):
        return []
    known = enumerate(encoder.categories_)
    return [place for place, keys in known if keys and isinstance(keys[0], str)]


def facts(model: Any, notes: Json) -> Json:
    """Return what there is to say about a fitted model, as JSON."""
    network = estimator(model)
    classes = getattr(network, "classes_", None)
    return {
        "estimator": type(network).__name__,
        "architecture": network.architecture_.name,
        "bias": getattr(network.architecture_, "bias", True),  # inner layers have them
        "loss": network.loss if isinstance(network.loss, str) else network.loss.name,
        "intercept": network.fit_intercept,
        "skip": network.skip_,
        "standardized": any(isinstance(step, StandardScaler) for step in steps(model)),
        "rows": len(network.dual_),
        "features": model.n_features_in_,
        "outputs": network.dual_.shape[1],
        "classes": None if classes is None else [str(label) for label in classes],
        "neurons": network.network_.n_neurons,
        "gates": len(network.generators_),
        "alpha": network.alpha_,
        "alpha_max": network.alpha_max_,
        "tol": network.tol,
        "certificate": certificate(network.certificate_),
        "estimated_gap": network.estimated_gap_,
        "status": network.solution_.status.name,
        "solver": network.solution_.solver,
        "iterations": network.n_iter_,
        "fingerprint": network.fingerprint_,
        "training": notes,
    }


def finite(value: float) -> float | None:
    """Return the number as JSON can hold it: None for one that is not finite."""
    return float(value) if np.isfinite(value) else None


def certificate(claim: Certificate) -> Json:
    """Return a certificate as JSON; a gap that is infinite is null."""
    return {
        "upper": claim.upper,
        "lower": claim.lower,
        "relative_gap": finite(claim.relative_gap),
        "scope": claim.scope.name,
        "exactness": claim.exactness.name,
        "bound": claim.bound,
        "violation": claim.violation,
        "directions": claim.directions,
        "whole": claim.whole,
    }
