"""From JSON and arrays back to a fitted step, everything checked against everything else."""

import math
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.density import ConvexDensity, sum_of
from cvxnn.encoding import ColumnEncoder
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.everywhere.bound import Proof
from cvxnn.everywhere.relaxed import Moments
from cvxnn.everywhere.trees import Tree
from cvxnn.files.pack import KINDS, OBJECTS, SCALES, Json
from cvxnn.files.records import certificate_of, held_of, number, record_of, text
from cvxnn.files.sealed import Arrays
from cvxnn.forecaster import ConvexForecaster
from cvxnn.lags import Scale
from cvxnn.program import Iterate
from cvxnn.solve import Solution, Status

Sizes = dict[str, int]
Shapes = dict[str, tuple[str, ...]]

_TREES = {
    "splits": ("nodes", "two"),
    "mean": ("rank",),
    "second": ("rank", "rank"),
    "numbers": ("four",),
}
"""The axes of the arrays of a search tree."""

_SHAPES: Shapes = {
    "dual": ("samples", "outputs"),
    "alpha_path": ("strengths", "three"),
    "losses": ("strengths", "folds"),
    "directions": ("features", "directions"),
    "mean": ("features",),
    "var": ("features",),
    "scale": ("features",),
}
"""The axes of every array but the network's; axes of one name have one length."""


def unpacked(step: Json, prefix: str, arrays: Arrays) -> Any:
    """Return the fitted step of what `packed` made.

    Raises KeyError, TypeError, AttributeError, IndexError or ValueError where it is no such thing.
    """
    kind = KINDS[step["kind"]]
    own = {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
    if is_dataclass(kind):
        return record_of(kind, step, "", own, unpacked)
    unpack = _record if hasattr(kind, "_held") else _UNPACKS.get(kind, _estimator)
    fitted = unpack(kind, step, own)
    if step["features"] is None:
        return fitted
    fitted.n_features_in_ = _whole(step, "features")
    names = step["feature_names"]
    if names is not None:
        if len(names) != fitted.n_features_in_ or not all(isinstance(n, str) for n in names):
            raise ValueError(f"there are {len(names)} names for {fitted.n_features_in_} features")
        fitted.feature_names_in_ = np.array(names, dtype=object)
        if getattr(fitted, "encoder_", None) is not None:
            fitted.encoder_.feature_names_in_ = fitted.feature_names_in_
    return fitted


def _scaler(kind: Any, step: Json, own: Arrays) -> Any:
    scaler = kind(with_mean=bool(step["with_mean"]), with_std=bool(step["with_std"]))
    _require_shapes(own, _SHAPES, {"features": _whole(step, "features")})
    for name in SCALES:
        setattr(scaler, f"{name}_", own.get(name))
    seen = np.array(step["samples"], dtype=np.float64)
    scaler.n_samples_seen_ = seen[()]
    if seen.shape not in ((), (step["features"],)) or 0 in own.get("scale", ()):
        raise ValueError("the scaler has a scale of zero or a strange number of samples")
    if (scaler.with_mean and scaler.mean_ is None) or (scaler.with_std and scaler.scale_ is None):
        raise ValueError("the scaler has no mean or no scale")
    return scaler


def _encoder(kind: Any, step: Json, own: Arrays) -> Any:
    encoder, count = ColumnEncoder(levels=int(step.get("most_levels", 0))), _whole(step, "features")
    found: Any = step["categories"]
    coded: Any = step.get("levels", [None] * count)
    for each in (found, coded):
        if not isinstance(each, list) or len(each) != count:
            raise ValueError(f"the categories are not those of {count} columns")
    for values in coded:
        numbers = np.array(values or [], dtype=np.float64)
        if not (np.isfinite(numbers).all() and (np.diff(numbers) > 0).all()):
            raise ValueError(f"the levels are {values!r}; expected numbers, rising")
    for known in found:
        if known is None:
            continue
        kinds = {type(key) for key in known}
        if kinds not in ({str}, {float}) or known != sorted(set(known)):
            raise ValueError(f"the categories are {known!r}; expected text or numbers, sorted")
    encoder.categories_, encoder.levels_, encoder.n_features_in_ = found, coded, count
    return encoder


def _forecaster(kind: Any, step: Json, own: Arrays) -> Any:
    regressor = _part(step["parts"][0], "0.", own, ConvexRegressor)
    model = kind(**_params(kind, step["params"], regressor.generators_))
    model._check_options()
    held = {name: own[name] for name in ("tail", "exog_mean", "exog_deviation")}
    for name, array in held.items():
        if array.dtype != np.float64 or array.ndim != 1 or np.isinf(array).any():
            raise ValueError(f"{name} is {array.dtype} {array.shape}; expected float64 (n,)")
    q, names = len(held["exog_mean"]), step["exog_names"]
    model.scale_ = Scale(
        mean=number(step, "mean"),
        deviation=number(step, "deviation"),
        exog_mean=held["exog_mean"],
        exog_deviation=held["exog_deviation"],
    )
    whole = model.scale_.deviation > 0 and (held["exog_deviation"] > 0).all()
    width, outputs = model.lags + model.horizon * q, regressor.dual_.shape[1]
    fits = (len(held["exog_deviation"]), len(held["tail"])) == (q, model.lags)
    if not whole or not fits or (regressor.n_features_in_, outputs) != (width, model.horizon):
        raise ValueError("its network, lags, horizon and columns do not fit together")
    if names is not None and (len(names) != q or not all(isinstance(n, str) for n in names)):
        raise ValueError(f"there are {len(names)} names for {q} columns")
    model.tail_, model.exog_names_ = held["tail"], names
    model._adopt(regressor)
    return model


def _density(kind: Any, step: Json, own: Arrays) -> Any:
    parts = [
        None if part is None else _part(part, f"{i}.", own, ConvexClassifier)
        for i, part in enumerate(step["parts"])
    ]
    networks = [part for part in parts if part is not None]
    model = kind(**_params(kind, step["params"], networks[0].generators_))
    model.conditionals_, model.rates_ = parts, own["rates"]
    widths = [len(range(*model._before(i).indices(len(parts)))) for i in range(len(parts))]
    if any(
        part is not None and (part.n_features_in_ != width or part.classes_.tolist() != [0, 1])
        for part, width in zip(parts, widths, strict=True)
    ):
        raise ValueError("its networks are not those of binary coordinates in a row")
    rates = own["rates"]
    if rates.shape != (len(parts),) or not ((rates > 0) & (rates < 1)).all():
        raise ValueError("its rates are not one probability for every coordinate")
    model.certificate_ = sum_of([part.certificate_ for part in networks])
    return model


def _record(kind: Any, step: Json, own: Arrays) -> Any:
    held = held_of(step, "", own, unpacked)
    if held.keys() != set(kind._held):
        raise ValueError(f"it holds {sorted(held)}; expected {sorted(kind._held)}")
    inside = held.get("regressor_", held.get("classifier_"))
    generators: Any = held.get("generators_") if inside is None else inside.generators_
    model = kind(**_params(kind, step["params"], generators))
    for name, value in held.items():
        setattr(model, name, value)
    model._settle(step["features"])
    return model


def _part(step: Json, prefix: str, own: Arrays, kind: Any) -> Any:
    """Return a fitted estimator inside another."""
    if not issubclass(KINDS[step["kind"]], kind):
        raise ValueError(f"it holds a {step['kind']} inside; expected a {kind.__name__}")
    return unpacked(step, prefix, own)


_UNPACKS = {
    StandardScaler: _scaler,
    ColumnEncoder: _encoder,
    ConvexForecaster: _forecaster,
    ConvexDensity: _density,
}


def _estimator(kind: Any, step: Json, own: Arrays) -> Any:
    labels = _labels(step, own) if issubclass(kind, ConvexClassifier) else None
    architecture = _object("architecture", step["architecture"])
    sample = np.zeros((1, len(own["network.skip"])))
    encoder = None if step["categories"] is None else _encoder(ColumnEncoder, step, own)
    sizes = {
        "features": _whole(step, "features") if encoder is None else encoder.width_,
        "width": architecture.features(sample).shape[1],
        "two": 2,
        "three": 3,
        "four": 4,
    }
    if labels is not None:
        sizes["outputs"] = 1 if len(labels) == 2 else len(labels)
    elif step["target"] is True:
        sizes["outputs"] = 1
    held = {name: x for name, x in own.items() if name != "classes"}
    network = {f"network.{name}": axes for name, axes in architecture.axes.items()}
    generator = architecture.source.shape(sizes["width"])
    sizes |= {f"generator{place}": length for place, length in enumerate(generator)}
    axes = {"generators": ("gates", *(f"generator{place}" for place in range(len(generator))))}
    _require_shapes(held, _SHAPES | axes | network, sizes)
    model = kind(**_params(kind, step["params"], own["generators"]))
    model._loss(sizes["outputs"])
    model.encoder_ = encoder
    if labels is None:
        model._single = bool(step["target"])
    else:
        model.classes_ = labels
    _restore(model, step, own, architecture)
    return model


def _restore(model: Any, step: Json, own: Arrays, architecture: Any) -> None:
    """Set the attributes of a fitted estimator."""
    prefix = "network."
    network = {name.removeprefix(prefix): x for name, x in own.items() if name.startswith(prefix)}
    model.architecture_ = architecture
    model.network_ = architecture.network(network)
    model.generators_, model.dual_ = own["generators"], own["dual"]
    if "alpha_path" in own:
        model.alpha_path_ = own["alpha_path"]
    if "losses" in own:
        model.losses_, model.alphas_ = own["losses"], model.alpha_path_[:, 0]
    model.alpha_, model.alpha_max_ = number(step, "alpha"), number(step, "alpha_max")
    model.skip_ = step["skip"]
    if not isinstance(model.skip_, bool):
        raise TypeError(f"skip is {model.skip_!r}; expected true or false")
    if not (model.alpha_ > 0 and model.alpha_max_ >= 0):
        raise ValueError(f"alpha is {model.alpha_} and alpha_max {model.alpha_max_}")
    model.n_iter_ = _whole(step, "iterations")
    model.fingerprint_ = text(step, "fingerprint")
    model._n_features_out = math.prod(model.network_.weights_out.shape[:-1])
    model.directions_ = own.get("directions")
    model.certificate_ = _seen(certificate_of(step["certificate"]), step, model.directions_)
    estimate = step["estimated_gap"]
    model.estimated_gap_ = None if estimate is None else number(step, "estimated_gap")
    exact, claim = architecture.exactness, model.certificate_
    whole = claim.scope is Scope.ALL_NETWORKS
    if claim.exactness is not exact or (whole and exact is Exactness.GATED):
        raise ValueError(f"its certificate is not one of {architecture.name} networks")
    width, outputs = model.generators_.shape[1], model.dual_.shape[1]
    model.proof_ = _proof(step["trees"], own, model)
    model.solution_ = Solution(
        iterate=Iterate(np.zeros((0, width, outputs)), np.zeros((0, outputs)), model.dual_),
        status=Status[step["status"]],
        certificate=model.certificate_,
        iterations=model.n_iter_,
        seconds=number(step, "seconds"),
        solver=text(step, "solver"),
        trace=(),
    )


def _proof(trees: Any, own: Arrays, model: Any) -> Proof | None:
    """Return the proof over all networks; None where gates were given."""
    if trees is None:
        return None
    if not isinstance(trees, int) or trees < 0:
        raise ValueError(f"there are {trees!r} search trees; expected a number")
    claim = model.certificate_
    found = []
    for k in range(trees):
        splits = own[f"tree{k}.splits"]
        *rest, upper, unit = own[f"tree{k}.numbers"].tolist()
        start = Moments(own[f"tree{k}.mean"], own[f"tree{k}.second"], *rest)
        found.append(Tree(splits[:, 0].astype(np.int64), splits[:, 1], start, upper, unit))
    return Proof(model.dual_, claim.lower, claim.bound, None, 0.0, tuple(found))


def _require_shapes(held: Arrays, shapes: Shapes, sizes: Sizes) -> None:
    """Bind the axes of the arrays to lengths, those in `sizes` first; ValueError at odds."""
    for name, array in held.items():
        tree, _, part = name.partition(".")
        axes = shapes[name] if name in shapes else _TREES[part]
        if name not in shapes:
            axes = tuple(axis if axis in ("two", "four") else tree + axis for axis in axes)
        if array.dtype != np.float64 or array.ndim != len(axes):
            raise ValueError(f"{name} is {array.dtype} {array.shape}; expected float64 {axes}")
        for axis, length in zip(axes, array.shape, strict=True):
            if sizes.setdefault(axis, length) != length:
                raise ValueError(
                    f"{name} has shape {array.shape} where {axis} is {sizes[axis]} elsewhere"
                )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinite numbers")


def _labels(step: Json, own: Arrays) -> NDArray[Any]:
    target = step["target"]
    if target["labels"] is None:
        classes = own["classes"]
    elif all(isinstance(label, str) for label in target["labels"]):
        classes = np.array(target["labels"], dtype=object if target["objects"] else np.str_)
    else:
        raise ValueError(f"the classes are {target['labels']!r}; expected text")
    if classes.ndim != 1 or len(classes) < 2 or not (classes[:-1] < classes[1:]).all():
        raise ValueError("the classes are not two or more sorted labels")
    return classes


def _params(kind: Any, params: Json, generators: NDArray[np.float64]) -> Json:
    expected = kind().get_params(deep=False)
    if "rank" in expected:  # files of before there was one
        params = {"rank": None} | params
    if params.keys() != expected.keys():
        raise ValueError(f"the options are {sorted(params)}; expected {sorted(expected)}")
    return {name: _param(name, value, generators) for name, value in params.items()}


def _param(name: str, value: Any, generators: NDArray[np.float64]) -> Any:
    if name == "gates" and value == {"name": "generators_"}:
        return generators
    if name in ("alphas", "noise") and isinstance(value, list):
        return np.array([float(x) for x in value])
    if name == "class_weight" and isinstance(value, list):
        return {label: weight for label, weight in value}
    return _object(name, value) if name in OBJECTS else _plain(name, value)


def _object(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    settings = {
        key: _object(name, x) if isinstance(x, dict) else _plain(key, x)
        for key, x in value["settings"].items()
    }
    return type(OBJECTS[name][value["name"]])(**settings)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_plain(name, x) for x in value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{name} is {value!r}; expected a number, a word or nothing")


def _seen(claim: Certificate, step: Json, directions: NDArray[np.float64] | None) -> Certificate:
    """Return a claim with what it says of networks that see a part of the data."""
    if directions is None:
        return claim
    whole = None if step["whole"] is None else number(step, "whole")
    return replace(claim, directions=directions.shape[1], whole=whole)


def _whole(entry: Json, name: str) -> int:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError(f"{name} is {value!r}; expected a positive integer")
    return value
