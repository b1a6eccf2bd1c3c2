"""How estimators take in data: checked, by row blocks where that will do; and tell of progress."""

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from cvxnn import memory, training
from cvxnn.architectures import Architecture, growing, in_places
from cvxnn.arrays import Array
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.widen import MOST, Widen
from cvxnn.functions import SampleLoss
from cvxnn.solve import Progress
from cvxnn.streamed import dense_bytes, mapped, require_finite, stays


def validated(estimator: Any, X: Any, y: Any = "no_validation", **words: Any) -> Any:
    """Return data as scikit-learn validates them: arrays, or CSR for sparse X; memory maps stay.

    Raises ValueError with the row and the column of a NaN or infinity.
    """
    if isinstance(X, np.ndarray):
        mapped(X)  # a file that was cut off is told before it is read
    words |= {"dtype": [np.float64, np.float32], "accept_sparse": "csr"}
    found = validate_data(estimator, X, y, ensure_all_finite=False, **words)
    require_finite(found[0] if isinstance(found, tuple) else found)
    return found


def by_blocks(model: Any, architecture: Architecture) -> bool:
    """Tell whether an estimator's work reads X by row blocks alone.

    Cones, enumeration, the columns of a linear skip, singular vectors and other devices need X
    whole.
    """
    enumerated = isinstance(model.gates, str) and model.gates == "enumerate"
    whole = bool(model.skip) or enumerated or model.rank is not None or model.device is not None
    return architecture.streams and not whole


def require_fit(
    model: Any,
    architecture: Architecture,
    X: Array,
    outputs: int,
    loss: SampleLoss,
    choice: Any,
    gates: int,
) -> None:
    """Raise MemoryBudgetError where a fit on X (n, d) would not; `choice` is that of the gates.

    Growing counts neurons and candidates; of patches the equal ones are made one first, and what
    is left is counted then. Widening counts the most patterns that it may hold.
    """
    if not training.grows(architecture, choice):
        whole = not by_blocks(model, architecture)
        training.require_memory(architecture, X, gates, outputs, loss, model.solver, whole=whole)
    elif growing(architecture):
        dense = 0 if stays(X, False) else dense_bytes(X)
        rows, width = architecture.features(X[:1]).shape  # of one sample
        count = memory.of_growth if rows == 1 else memory.of_patches
        memory.require(dense + count(X.shape[0] * rows, width))
    else:
        training.require_memory(architecture, X, MOST, outputs, loss, Widen())


def of_columns(architecture: Architecture) -> bool:
    """Tell whether gates are vectors of the data's columns, not of an inner layer's outputs."""
    return not any("inputs" in axes for axes in architecture.axes.values())


def require_directions(architecture: Architecture) -> None:
    """Raise ValueError where networks cannot be trained on directions of X."""
    if in_places(architecture):
        raise ValueError(
            f"rank is given but {architecture.name} networks see pixels in their places, not "
            "directions of X; leave rank=None"
        )


def report_progress(event: Progress) -> None:
    """Print one line: iteration, seconds, objective, lower bound, relative gap."""
    now = event.certificate
    print(
        f"{event.iteration:>7} it {event.seconds:>8.2f} s   objective {now.upper:.6g}   "
        f"lower bound {now.lower:.6g}   relative gap {now.relative_gap:.1e}"
    )


def on_device(x: Array, name: str | None) -> Array:
    """Return `x` as it is, or as a torch tensor on the device of that name."""
    if name is None:
        return x
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            f"device={name!r} needs torch, which is not installed; install cvxnn[torch]"
        ) from error
    try:
        return torch.asarray(x, device=name)
    except (RuntimeError, AssertionError) as error:  # no such device, or none of its kind
        reason = str(error).splitlines()[0]
        raise UnsupportedError(
            f"device={name!r} is not at hand ({reason}); pass device=None or 'cpu'"
        ) from error
