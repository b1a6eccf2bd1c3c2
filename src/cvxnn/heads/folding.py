"""The scaler of a table, and how it is folded into networks, which then take raw features."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def scaler_of(X: Any, floor: float) -> tuple[Floats, Floats]:
    """Return mean and scale (d,) of columns."""
    mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, floor * float(np.median(deviation)))
    # a column that is constant up to the rounding of its numbers is left as it is
    alive = scale > 4 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(alive & (scale > 0), scale, 1.0)


def _folded(rows: Any, mean: Floats, scale: Floats) -> Floats:
    """Return rows (m, d) or (m, d + 1) on standardised features as rows (m, d + 1) on raw ones."""
    d = len(mean)
    slopes = rows[:, :d] / scale
    shift = rows[:, d] if rows.shape[1] > d else np.zeros(len(rows))
    return np.column_stack([slopes, shift - slopes @ mean])


def _outer(network: Any, mean: Floats, scale: Floats) -> dict[str, Floats]:
    skip = network.skip / scale[:, None]
    return {"skip": skip, "intercept": network.intercept - mean @ skip}


def _plain(network: Any, mean: Floats, scale: Floats) -> Any:
    inner = {"weights_in": _folded(network.weights_in, mean, scale)}
    if hasattr(network, "gates"):
        inner["gates"] = _folded(network.gates, mean, scale)
    return replace(network, **inner, **_outer(network, mean, scale))


def _experts(network: Any, mean: Floats, scale: Floats) -> Any:
    experts = [_folded(each, mean, scale) for each in network.experts]
    inner = {"experts": np.stack(experts), "gates": _folded(network.gates, mean, scale)}
    return replace(network, **inner, **_outer(network, mean, scale))


FOLDS = {"gated_ridge": _experts, "gated": _plain, "relu": _plain}
"""What folds a scaler into networks."""
