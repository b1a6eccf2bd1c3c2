"""From a fitted step to JSON and arrays."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import BY_NAME
from cvxnn.autoencoder import ConvexAutoencoder
from cvxnn.denoiser import ConvexDenoiser
from cvxnn.density import ConvexDensity
from cvxnn.encoding import ColumnEncoder
from cvxnn.errors import UnsupportedError
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.estimators_cv import ConvexClassifierCV, ConvexRegressorCV
from cvxnn.files.records import certificate_entry, fields_of
from cvxnn.files.sealed import Arrays
from cvxnn.forecaster import ConvexForecaster
from cvxnn.generation.gan import ConvexGAN
from cvxnn.generation.progressive import ProgressiveGAN
from cvxnn.generation.score import ConvexScore
from cvxnn.heads import ConvexHead
from cvxnn.layerwise import LayerwiseClassifier
from cvxnn.quantised import QuantisedFit
from cvxnn.robust import RobustClassifier
from cvxnn.solver_choice import SOLVERS
from cvxnn.spline import ConvexSpline
from cvxnn.training import LOSSES

Json = dict[str, Any]

_NETWORKS = ConvexRegressor, ConvexRegressorCV, ConvexClassifier, ConvexClassifierCV
_SERIES = ConvexForecaster, ConvexDensity
_RECORDS = (
    ConvexAutoencoder,
    ConvexDenoiser,
    ConvexGAN,
    ConvexHead,
    ConvexScore,
    ConvexSpline,
    LayerwiseClassifier,
    ProgressiveGAN,
    RobustClassifier,
    QuantisedFit,
)
KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (ColumnEncoder, StandardScaler, *_NETWORKS, *_SERIES, *_RECORDS)
}
"""The steps that a file may hold."""

OBJECTS: dict[str, Mapping[str, Any]] = {
    "architecture": BY_NAME,
    "generator": BY_NAME,
    "loss": LOSSES,
    "solver": SOLVERS,
}
"""The options that may be objects, and the objects that they may be."""

SCALES = ("mean", "var", "scale")
"""The arrays of a scaler."""


def packed(step: Any, prefix: str, arrays: Arrays) -> Json:
    """Return the JSON of a fitted step, and put its arrays into `arrays` under `prefix`.

    Raises UnsupportedError for what a file cannot hold, NotFittedError.
    """
    kind = type(step).__name__
    if type(step) is not KINDS.get(kind):
        raise UnsupportedError(
            f"a model file cannot hold {kind}; expected ConvexRegressor, ConvexClassifier or their "
            "CV versions, alone or in a Pipeline after ColumnEncoder and StandardScaler steps, "
            "ConvexAutoencoder, ConvexForecaster, ConvexDensity, ConvexDenoiser, ConvexGAN, "
            "ConvexHead, ConvexScore, ConvexSpline, LayerwiseClassifier, ProgressiveGAN, "
            "RobustClassifier or what fit_quantised returns"
        )
    if is_dataclass(step):
        return {"kind": kind, "features": None, **fields_of(step, prefix, arrays, packed)}
    check_is_fitted(step)
    names = getattr(step, "feature_names_in_", None)
    pack = _record if hasattr(step, "_held") else _PACKS.get(type(step), _estimator)
    features = getattr(step, "n_features_in_", None)  # series and images have none
    return {
        "kind": kind,
        "features": None if features is None else int(features),
        "feature_names": None if names is None else names.tolist(),
        **pack(step, prefix, arrays),
    }


def _scaler(scaler: Any, prefix: str, arrays: Arrays) -> Json:
    held = {name: getattr(scaler, f"{name}_") for name in SCALES}
    arrays |= {prefix + name: x for name, x in held.items() if x is not None}
    return {
        "with_mean": bool(scaler.with_mean),
        "with_std": bool(scaler.with_std),
        "samples": np.asarray(scaler.n_samples_seen_, dtype=np.float64).tolist(),
    }


def _encoder(encoder: Any, prefix: str, arrays: Arrays) -> Json:
    return {
        "categories": encoder.categories_,
        "most_levels": int(encoder.levels),
        "levels": encoder.levels_,
    }


def _forecaster(model: Any, prefix: str, arrays: Arrays) -> Json:
    scale = model.scale_
    arrays |= {
        f"{prefix}tail": model.tail_,
        f"{prefix}exog_mean": scale.exog_mean,
        f"{prefix}exog_deviation": scale.exog_deviation,
    }
    return {
        "params": _params(model),
        "mean": scale.mean,
        "deviation": scale.deviation,
        "exog_names": model.exog_names_,
        "parts": [packed(model.regressor_, f"{prefix}0.", arrays)],
    }


def _density(model: Any, prefix: str, arrays: Arrays) -> Json:
    arrays[f"{prefix}rates"] = model.rates_
    return {
        "params": _params(model),
        "parts": [
            None if part is None else packed(part, f"{prefix}{i}.", arrays)
            for i, part in enumerate(model.conditionals_)
        ],
    }


def _record(model: Any, prefix: str, arrays: Arrays) -> Json:
    return {"params": _params(model), **fields_of(model, prefix, arrays, packed)}


def _params(model: Any) -> Json:
    return {name: _param(name, x) for name, x in model.get_params(deep=False).items()}


_PACKS = {
    StandardScaler: _scaler,
    ColumnEncoder: _encoder,
    ConvexForecaster: _forecaster,
    ConvexDensity: _density,
}


def _estimator(model: Any, prefix: str, arrays: Arrays) -> Json:
    held = {"generators": model.generators_, "dual": model.dual_}
    held |= {f"network.{name}": x for name, x in model.network_.parameters().items()}
    if hasattr(model, "alpha_path_"):
        held["alpha_path"] = model.alpha_path_
    if hasattr(model, "losses_"):
        held["losses"] = model.losses_
    if model.directions_ is not None:
        held["directions"] = model.directions_
    held |= _trees(model.proof_)
    arrays |= {prefix + name: x for name, x in held.items()}
    classifies = isinstance(model, ConvexClassifier)
    claim, solution = model.certificate_, model.solution_
    return {
        "params": _params(model),
        "architecture": _object("architecture", model.architecture_),
        "target": _classes(model.classes_, prefix, arrays) if classifies else model._single,
        "categories": None if model.encoder_ is None else model.encoder_.categories_,
        "alpha": float(model.alpha_),
        "skip": bool(model.skip_),
        "alpha_max": float(model.alpha_max_),
        "fingerprint": model.fingerprint_,
        "certificate": certificate_entry(claim),
        "whole": claim.whole,
        "estimated_gap": model.estimated_gap_,
        "status": solution.status.name,
        "solver": solution.solver,
        "seconds": float(solution.seconds),
        "iterations": int(model.n_iter_),
        "trees": None if model.proof_ is None else len(model.proof_.trees),
    }


def _trees(proof: Any) -> Arrays:
    """Return the arrays of a proof over all networks; there are none for other proofs."""
    held: Arrays = {}
    for k, tree in enumerate(() if proof is None else proof.trees):
        held[f"tree{k}.splits"] = np.column_stack([tree.coordinate.astype(float), tree.value])
        held[f"tree{k}.mean"], held[f"tree{k}.second"], *rest = tree.start
        held[f"tree{k}.numbers"] = np.array([*rest, tree.upper, tree.unit])
    return held


def _param(name: str, value: Any) -> Any:
    if name == "stages":
        return None  # they are held, each as what it is
    if name in ("callbacks", "random_state", "cv"):
        return int(value) if isinstance(value, int | np.integer) else None
    if name == "gates" and not isinstance(value, str):
        return {"name": "generators_"}  # the array is stored once, as that attribute
    if name in ("alphas", "noise") and np.ndim(value):
        return np.asarray(value, dtype=np.float64).tolist()
    if name == "class_weight" and isinstance(value, dict):
        return [[_plain(name, label), _plain(name, weight)] for label, weight in value.items()]
    return _object(name, value) if name in OBJECTS else _plain(name, value)


def _object(name: str, value: Any) -> Any:
    """Return a word as it is, and an object of ours as its name and settings."""
    if isinstance(value, str):
        return value
    known = OBJECTS[name].get(getattr(value, "name", ""))
    if known is None or type(value) is not type(known):
        ours = ", ".join(type(one).__name__ for one in OBJECTS[name].values())
        raise UnsupportedError(f"a model file cannot hold {name}={value!r}; expected one of {ours}")
    settings = {field.name: getattr(value, field.name) for field in fields(known) if field.init}
    return {
        "name": known.name,
        "settings": {
            key: _object(name, x) if is_dataclass(x) else _plain(name, x)
            for key, x in settings.items()
        },
    }


def _plain(name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_plain(name, x) for x in value]
    raise UnsupportedError(f"a model file cannot hold {name}={value!r}; pass a number or a word")


def _classes(classes: Any, prefix: str, arrays: Arrays) -> Json:
    """Return labels that are text; numbers go to the arrays."""
    if classes.dtype.kind in "biuf":
        arrays[f"{prefix}classes"] = classes
        return {"labels": None}
    labels = classes.tolist()
    strange = [label for label in labels if not isinstance(label, str)]
    if strange:
        raise UnsupportedError(
            f"a model file cannot hold the class {strange[0]!r}; use numbers or text as labels"
        )
    return {"labels": labels, "objects": classes.dtype.kind == "O"}
