"""Architectures: each one file, its network included."""

from cvxnn.architectures.base import (
    Architecture,
    Free,
    Network,
    Problem,
    assemble,
    by_rows,
    evaluate,
    free_columns,
)
from cvxnn.architectures.gated import GatedNetwork, GatedReLU
from cvxnn.architectures.polynomial import Polynomial, PolynomialNetwork
from cvxnn.architectures.relu import ReLU, ReLUNetwork

BY_NAME: dict[str, Architecture] = {
    "relu": ReLU(),
    "gated": GatedReLU(),
    "polynomial": Polynomial(),
    "quadratic": Polynomial(square=1.0, linear=0.0, constant=0.0),
}
"""The architectures that users may call by name, with default options."""

__all__ = [
    "BY_NAME",
    "Architecture",
    "Free",
    "GatedNetwork",
    "GatedReLU",
    "Network",
    "Polynomial",
    "PolynomialNetwork",
    "Problem",
    "ReLU",
    "ReLUNetwork",
    "assemble",
    "by_rows",
    "evaluate",
    "free_columns",
]
