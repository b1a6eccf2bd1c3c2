"""Closed convex functions: losses over samples, penalties on blocks and cones."""

from cvxnn.functions.base import Cone, ConvexFunction, Penalty, SampleLoss
from cvxnn.functions.cells import Cells
from cvxnn.functions.cones import PSD, Nonnegative
from cvxnn.functions.fourier import FourierNorm
from cvxnn.functions.hard import HardMargin, Interpolation
from cvxnn.functions.kernel_ridge import KernelRidge
from cvxnn.functions.losses import (
    CrossEntropy,
    Hinge,
    Huber,
    Logistic,
    Quantile,
    Squared,
    SquaredHinge,
)
from cvxnn.functions.mean import Mean, mean_loss
from cvxnn.functions.outputs import Outputs
from cvxnn.functions.parts import Parts
from cvxnn.functions.penalties import (
    L1,
    ColumnNorm,
    GroupNorm,
    Nuclear,
    Ridge,
    Unpenalised,
)
from cvxnn.functions.separable import Separable
from cvxnn.functions.spectral import EigenNorm, SphereMoments

__all__ = [
    "L1",
    "PSD",
    "Cells",
    "ColumnNorm",
    "Cone",
    "ConvexFunction",
    "CrossEntropy",
    "EigenNorm",
    "FourierNorm",
    "GroupNorm",
    "HardMargin",
    "Hinge",
    "Huber",
    "Interpolation",
    "KernelRidge",
    "Logistic",
    "Mean",
    "Nonnegative",
    "Nuclear",
    "Outputs",
    "Parts",
    "Penalty",
    "Quantile",
    "Ridge",
    "SampleLoss",
    "Separable",
    "SphereMoments",
    "Squared",
    "SquaredHinge",
    "Unpenalised",
    "mean_loss",
]
