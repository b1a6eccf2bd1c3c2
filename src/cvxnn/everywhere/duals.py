"""Dual points: made feasible by one number, the bound on their gauge."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from cvxnn.everywhere.neurons import Floats, Training

SAFETY = 1e-12
"""Relative slack of every lower bound against rounding."""
STRETCH = 10.0
"""A dual point is made at most so much longer."""


class Scaled(NamedTuple):
    """A feasible dual point on the ray of another, and the bound that it proves."""

    lower: float
    dual: Floats
    scale: float


def dual_value(training: Training, dual: Floats) -> float:
    """Return -L*(-V), the bound on the objective of all networks if `dual` V is feasible."""
    return -training.loss.conjugate(-dual)


def scaled(training: Training, dual: Floats, gauge: float) -> Scaled:
    """Return the best feasible multiple of `dual` (n, c), of which gauge alpha bounds M.

    The dual objective is concave along the ray; the multiple is at most 1 / gauge. Zero is
    feasible, always.

    >>> from cvxnn.functions import Squared, mean_loss
    >>> y = np.array([[2.0], [0.0]])
    >>> training = Training(np.eye(2), mean_loss(Squared(), y), np.zeros((2, 0)), alpha=0.5)
    >>> lower, dual, scale = scaled(training, np.array([[1.0], [0.0]]), gauge=2.0)
    >>> round(lower, 9), round(scale, 9)
    (0.75, 0.5)
    """
    largest = STRETCH
    if gauge * STRETCH > 1 - SAFETY:
        largest = (1 - SAFETY) / gauge

    def loss(scale: float) -> float:
        value = training.loss.conjugate(-scale * dual)
        return value if np.isfinite(value) else 1e30

    inner = minimize_scalar(loss, bounds=(0.0, largest), method="bounded").x
    scales = [0.0, min(1.0, largest), largest, float(inner)]
    scale = min(scales, key=loss)
    value = -loss(scale)
    return Scaled(value - SAFETY * abs(value), scale * dual, scale)
