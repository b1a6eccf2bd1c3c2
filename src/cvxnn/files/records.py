"""Models that are their options and the attributes that they name in `_held`: one rule for all."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from cvxnn.architectures import BY_NAME
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.worst import WorstCase
from cvxnn.files.sealed import Arrays
from cvxnn.generation.generators import Generator
from cvxnn.generation.saddle import Saddle
from cvxnn.patches import Patches
from cvxnn.quantised import QuantisedFit, QuantisedNetwork
from cvxnn.stages import Columns, Stage
from cvxnn.stagewise import Trained
from cvxnn.training import LOSSES
from cvxnn.whitening import Whitening

Json = dict[str, Any]

BOUNDS = ("upper", "lower", "violation", "resolution")
"""The numbers of a certificate."""

NETWORKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{name: architecture.network for name, architecture in BY_NAME.items()},
    "quantised": lambda parameters: QuantisedNetwork(**parameters),
}
"""What makes a network of its parameters."""

RECORDS = {
    kind.__name__: kind
    for kind in (
        WorstCase,
        QuantisedFit,
        Trained,
        Columns,
        Whitening,
        Patches,
        Stage,
        Generator,
        Saddle,
    )
}
"""What is its fields."""


def kept(name: str, value: Any, arrays: Arrays, pack: Callable[..., Json]) -> Json:
    """Return the JSON of a value, its arrays put into `arrays` under `name`.

    `pack` is `packed`, for fitted models inside. Raises UnsupportedError for other values.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if isinstance(value, Certificate):
        return {"certificate": certificate_entry(value)}
    if type(value) in RECORDS.values():  # some are tuples too
        return {"record": type(value).__name__} | fields_of(value, f"{name}.", arrays, pack)
    if isinstance(value, list | tuple):
        each = [kept(f"{name}.{i}", x, arrays, pack) for i, x in enumerate(value)]
        return {"each": each, "tuple": isinstance(value, tuple)}
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            arrays[name] = value
            return {"array": value.dtype.kind}
        if all(isinstance(each, str) for each in value.tolist()):
            return {"labels": value.tolist(), "objects": value.dtype.kind == "O"}
    if getattr(value, "architecture", None) in NETWORKS and callable(value):
        for each, array in value.parameters().items():
            arrays[f"{name}.{each}"] = np.asarray(array)
        return {"network": value.architecture, "parameters": list(value.parameters())}
    if getattr(value, "name", None) in LOSSES:
        settings = {field.name: float(getattr(value, field.name)) for field in fields(value)}
        return {"loss": value.name, "settings": settings}
    if hasattr(value, "get_params"):
        return {"part": pack(value, f"{name}.", arrays)}
    raise UnsupportedError(f"a model file cannot hold {name}={value!r}; use numbers or text")


def fields_of(value: Any, prefix: str, arrays: Arrays, pack: Callable[..., Json]) -> Json:
    """Return the JSON of what a model or a record holds."""
    own = [field.name for field in fields(value)] if is_dataclass(value) else None
    names = own or getattr(value, "_held", None) or value._fields
    held = {name: kept(prefix + name, getattr(value, name), arrays, pack) for name in names}
    return {"held": held}


def held_of(entry: Json, prefix: str, arrays: Arrays, unpack: Callable[..., Any]) -> Json:
    """Return what `fields_of` held, by name."""
    return {
        name: _value(prefix + name, each, arrays, unpack) for name, each in entry["held"].items()
    }


def record_of(kind: Any, entry: Json, prefix: str, arrays: Arrays, unpack: Any) -> Any:
    """Return the dataclass of what `fields_of` held."""
    return kind(**held_of(entry, prefix, arrays, unpack))


def _value(name: str, entry: Json, arrays: Arrays, unpack: Callable[..., Any]) -> Any:
    if "plain" in entry:
        return entry["plain"]
    if "certificate" in entry:
        return certificate_of(entry["certificate"])
    if "array" in entry:
        return _array(name, arrays, entry["array"])
    if "each" in entry:
        each = [_value(f"{name}.{i}", x, arrays, unpack) for i, x in enumerate(entry["each"])]
        return tuple(each) if entry["tuple"] else each
    if "labels" in entry:
        labels = entry["labels"]
        if not all(isinstance(each, str) for each in labels):
            raise ValueError(f"the labels are {labels!r}; expected text")
        return np.array(labels, dtype=object if entry["objects"] else np.str_)
    if "network" in entry:
        made = NETWORKS[entry["network"]]
        return made({each: _array(f"{name}.{each}", arrays) for each in entry["parameters"]})
    if "loss" in entry:
        settings = {each: number(entry["settings"], each) for each in entry["settings"]}
        return type(LOSSES[entry["loss"]])(**settings)
    if "record" in entry:
        return record_of(RECORDS[entry["record"]], entry, f"{name}.", arrays, unpack)
    return unpack(entry["part"], f"{name}.", arrays)


def _array(name: str, arrays: Arrays, kind: str = "") -> Any:
    array = arrays[name]
    if kind and array.dtype.kind != kind:
        raise ValueError(f"{name} is {array.dtype}; expected another kind of numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite numbers")
    return array


def certificate_entry(claim: Certificate) -> Json:
    """Return the JSON of a certificate."""
    numbers = {name: float(getattr(claim, name)) for name in BOUNDS}
    words = {"scope": claim.scope.name, "exactness": claim.exactness.name, "bound": claim.bound}
    return numbers | words


def certificate_of(entry: Json) -> Certificate:
    """Return the certificate of its JSON."""
    return Certificate(
        **dict[str, Any]({name: number(entry, name) for name in BOUNDS}),
        scope=Scope[entry["scope"]],
        exactness=Exactness[entry["exactness"]],
        bound=text(entry, "bound"),
    )


def text(entry: Json, name: str) -> str:
    """Return an entry that is text; TypeError for others."""
    value = entry[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; expected text")
    return value


def number(entry: Json, name: str) -> float:
    """Return an entry that is a finite number; TypeError for others."""
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(f"{name} is {value!r}; expected a finite number")
    return float(value)
