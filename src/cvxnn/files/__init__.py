"""Model files: what prediction and verification need of a fitted model, and nothing that runs."""

import os
from typing import Any

from sklearn.pipeline import Pipeline

from cvxnn import __version__
from cvxnn.errors import ModelFormatError, UnsupportedError
from cvxnn.files import sealed
from cvxnn.files.pack import packed
from cvxnn.files.sealed import Arrays
from cvxnn.files.unpack import unpacked

__all__ = ["load", "read_notes", "save"]

FORMAT, VERSION = "cvxnn-model", 1
"""What the header begins with; a file of another version is refused."""

_UNFIT = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError)
"""What goes wrong when parts of a model do not fit together."""


def save(model: Any, path: str | os.PathLike[str], notes: dict[str, Any] | None = None) -> None:
    """Write a fitted estimator, or a pipeline that scales for one, to a model file.

    Before the estimator a pipeline may have ColumnEncoder and StandardScaler steps; what
    `fit_quantised` returns may be saved too. The file is
    safetensors with JSON metadata under a checksum. It holds the network, gates, dual
    vector, certificate, options, names and classes; the convex blocks and the trace stay behind,
    and so do callbacks and random states. `notes` is JSON of the caller's, for `read_notes`.

    Raises UnsupportedError for other models and options, NotFittedError, and OSError.

    >>> import tempfile
    >>> from cvxnn import ConvexRegressor
    >>> model = ConvexRegressor("gated", alpha=0.01, random_state=0).fit([[-1.0], [1.0]], [0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.cvxnn")
    ...     again = load(f"{folder}/model.cvxnn")
    >>> bool((again.predict([[0.5]]) == model.predict([[0.5]])).all())
    True
    """
    arrays: Arrays = {}
    pipeline = type(model) is Pipeline
    steps = model.steps if pipeline else [("", model)]
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "pipeline": pipeline,
        "steps": [
            {"step": name, **packed(step, f"{place}.", arrays)}
            for place, (name, step) in enumerate(steps)
        ],
        "notes": {"cvxnn": __version__, **(notes or {})},
    }
    for later in header["steps"][1:]:  # a scaler that was loaded hands on arrays without names
        later["feature_names"] = None
    try:  # what cannot be read back is not written
        _model(header, arrays)
    except _UNFIT as error:
        raise UnsupportedError(f"a model file cannot hold this model: {_why(error)}") from error
    sealed.write(path, header, arrays)


def load(path: str | os.PathLike[str]) -> Any:
    """Return the model of a file that `save` wrote; nothing in the file is run.

    Raises ModelFormatError for a file that is truncated, altered, of another kind or version, or
    whose parts do not fit together, and OSError for one that cannot be opened.
    """
    header, arrays = _read(path)
    try:
        return _model(header, arrays)
    except _UNFIT as error:
        raise ModelFormatError(
            f"{path} holds no model that cvxnn could have saved: {_why(error)}; save it again"
        ) from error


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the notes of a model file, with the version of cvxnn that saved it as "cvxnn".

    Raises as `load`.
    """
    header, _ = _read(path)
    notes = header.get("notes")
    if not isinstance(notes, dict):
        raise ModelFormatError(f"{path} has no notes; save the model again")
    return notes


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    header, arrays = sealed.read(path)
    if header.get("format") != FORMAT:
        raise ModelFormatError(f"{path} is not a model file of cvxnn; pass a file that it saved")
    if header.get("version") != VERSION:
        raise ModelFormatError(
            f"{path} has format version {header.get('version')!r} and cvxnn {__version__} reads "
            f"version {VERSION}; use the version of cvxnn that saved it"
        )
    return header, arrays


def _model(header: dict[str, Any], arrays: Arrays) -> Any:
    kinds = [step["kind"] for step in header["steps"]]
    prepares = [kind in ("ColumnEncoder", "StandardScaler") for kind in kinds]
    if prepares != [True] * (len(kinds) - 1) + [False] or (
        len(kinds) > 1 and not header["pipeline"]
    ):
        raise ValueError(
            f"its steps are {kinds}; expected an estimator, and before it ColumnEncoder and "
            "StandardScaler steps"
        )
    steps = [
        (str(step["step"]), unpacked(step, f"{place}.", arrays))
        for place, step in enumerate(header["steps"])
    ]
    return Pipeline(steps) if header["pipeline"] else steps[0][1]


def _why(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
