"""What the laws are tested on: one list per protocol."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import (
    Architecture,
    Attention,
    BatchNorm,
    BatchNormAfter,
    Circular,
    ConvGated,
    ConvReLU,
    DeepConvGated,
    DeepConvReLU,
    DeepGatedReLU,
    DeepLinear,
    DeepReLU,
    DeepThreshold,
    GatedReLU,
    GatedRidge,
    Mixer,
    Polynomial,
    ReLU,
    Threshold,
)
from cvxnn.arrays import Array
from cvxnn.functions import (
    L1,
    PSD,
    Cells,
    ColumnNorm,
    ConvexFunction,
    CrossEntropy,
    EigenNorm,
    FourierNorm,
    GroupNorm,
    Hinge,
    Huber,
    KernelRidge,
    Logistic,
    Nonnegative,
    Nuclear,
    Outputs,
    Parts,
    Quantile,
    Ridge,
    SampleLoss,
    Separable,
    SphereMoments,
    Squared,
    SquaredHinge,
    Unpenalised,
    mean_loss,
)
from cvxnn.gates import NoGates

Cast = Callable[[np.ndarray], Array]
"""Brings a NumPy array into the library and dtype under test."""

# architectures


def with_bias(architecture: Any, bias: bool) -> Any:
    """Return the architecture with or without a hidden bias, where that is an option."""
    known = any(field.name == "bias" for field in fields(architecture))
    return replace(architecture, bias=bias) if known else architecture


ARCHITECTURES: tuple[Architecture, ...] = (
    GatedReLU(),
    GatedRidge(),
    ReLU(),
    BatchNorm(),
    BatchNormAfter(),
    Threshold(),
    Threshold(sign=True),
    DeepThreshold(hidden=5),
    DeepThreshold(hidden=4, depth=4, sign=True),
    Polynomial(),
    Polynomial(square=-0.7, linear=0.0, constant=0.0),
    DeepReLU(),
    DeepReLU(decay="layers"),
    DeepGatedReLU(),
    DeepGatedReLU(fan_in=(2, 2), decay="layers"),
    DeepLinear(),
    ConvReLU(shape=(1, 3), kernel=2, cells=2),
    ConvReLU(shape=(1, 3), kernel=2, pooling="max"),
    ConvGated(shape=(1, 3), kernel=2, cells=2),
    ConvGated(shape=(1, 3), kernel=2, pooling="max"),
    DeepConvReLU(shape=(1, 3), kernel=2, tied=False),
    DeepConvGated(shape=(1, 3), kernel=2),
    DeepConvGated(shape=(1, 3), kernel=2, tied=False),
    Circular(),
    Circular(gated=True),
    Attention((3, 1)),
    Attention((1, 3), readout="first"),
    Attention((3, 1), gated=True),
    Mixer((3, 1)),
    Mixer((3, 1), gated=True, readout="sum"),
)
WITH_GATES = tuple(one for one in ARCHITECTURES if not isinstance(one.source, NoGates))

# functions

TARGETS = {
    "real": np.array([[0.5, -1.0], [2.0, 0.0], [-0.25, 3.0], [1.0, 1.0]]),
    "sign": np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]]),
    "one_hot": np.eye(3)[[0, 2, 1, 2]],
}
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.5])

SAMPLE_LOSSES: list[tuple[str, SampleLoss, str]] = [
    ("squared", Squared(), "real"),
    ("huber", Huber(), "real"),
    ("huber_narrow", Huber(delta=0.3), "real"),
    ("quantile", Quantile(level=0.8), "real"),
    ("logistic", Logistic(), "sign"),
    ("squared_hinge", SquaredHinge(), "sign"),
    ("hinge", Hinge(), "sign"),
    ("cross_entropy", CrossEntropy(), "one_hot"),
]
"""Name, loss and the kind of target it takes."""


class FunctionInstance(NamedTuple):
    """A function under test; `shape` is that of its argument."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[Cast], ConvexFunction]


def _mean(name: str, loss: SampleLoss, kind: str) -> FunctionInstance:
    target = TARGETS[kind]
    return FunctionInstance(name, target.shape, lambda cast: mean_loss(loss, cast(target), WEIGHTS))


LOSSES = [_mean(*row) for row in SAMPLE_LOSSES]

NORMS = [
    FunctionInstance("group_norm", (3, 4), lambda cast: GroupNorm(alpha=0.7)),
    FunctionInstance("group_norm_matrices", (3, 2, 3), lambda cast: GroupNorm(alpha=1.3)),
    FunctionInstance("column_norm", (3, 2, 3), lambda cast: ColumnNorm(alpha=0.7)),
    FunctionInstance("nuclear_tall", (2, 3, 2), lambda cast: Nuclear(alpha=0.7)),
    FunctionInstance("nuclear_wide", (2, 2, 3), lambda cast: Nuclear(alpha=1.3)),
    FunctionInstance("parts", (3, 4, 2), lambda cast: Parts(Nuclear(alpha=0.7), 2)),
    FunctionInstance("parts_of_one_output", (2, 6, 1), lambda cast: Parts(GroupNorm(alpha=0.7), 3)),
    FunctionInstance("cells", (2, 4, 2), lambda cast: Cells(Nuclear(alpha=0.7), 2)),
    FunctionInstance("outputs", (2, 4, 2), lambda cast: Outputs(Cells(Nuclear(alpha=0.7), 2))),
    FunctionInstance("fourier_odd", (3, 5, 1), lambda cast: FourierNorm(alpha=0.7)),
    FunctionInstance("fourier_even", (2, 4, 2), lambda cast: FourierNorm(alpha=1.3)),
    FunctionInstance("l1", (3, 2, 2), lambda cast: L1(alpha=0.7)),
    FunctionInstance("eigen_norm", (2, 6, 2), lambda cast: EigenNorm(alpha=0.7)),
    FunctionInstance("sphere_moments", (2, 6, 2), lambda cast: SphereMoments(alpha=0.7)),
]

PENALTIES = [
    *NORMS,
    FunctionInstance("ridge", (3, 2, 2), lambda cast: Ridge(alpha=0.7)),
    FunctionInstance("kernel_ridge", (1, 3, 2), lambda cast: KernelRidge(0.7, lambda a: a[0, ...])),
    FunctionInstance("unpenalised", (3, 2), lambda cast: Unpenalised()),
    FunctionInstance(
        "separable",
        (13,),
        lambda cast: Separable(
            (GroupNorm(alpha=0.7), Unpenalised(), Ridge(alpha=2.0), Nuclear(alpha=0.4)),
            ((2, 2), (1, 2), (3, 1), (1, 2, 2)),
        ),
    ),
]

CONES = [
    FunctionInstance("nonnegative", (3, 4), lambda cast: Nonnegative()),
    FunctionInstance("psd", (2, 3, 3), lambda cast: PSD()),
]

FUNCTIONS = [*LOSSES, *PENALTIES, *CONES]
