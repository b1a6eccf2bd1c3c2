"""A convex function as a conic program of its own."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Matrix: TypeAlias = Any
"""A sparse matrix of SciPy."""


class Piece(NamedTuple):
    """A convex function of a vector x as a conic program over variables e of its own.

    f(x) = min over e of x' diag(square) x / 2 + e' diag(own_square) e / 2 + own_cost' e
    subject to right - on x - own e in the product of the cones.
    """

    square: Floats
    own_square: Floats
    own_cost: Floats
    on: Matrix
    own: Matrix
    right: Floats
    cones: list[tuple[str, int]]
    """(kind, size): "zero", "nonnegative", "second order", "exponential" with the rows, "psd" with
    the side."""
