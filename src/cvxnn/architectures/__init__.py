"""Architectures: each one file, its network included."""

from cvxnn.architectures.attention import Attention, AttentionNetwork
from cvxnn.architectures.base import (
    Architecture,
    Growing,
    Network,
    Problem,
    assemble,
    by_rows,
    evaluate,
    growing,
    objective,
)
from cvxnn.architectures.batchnorm import BatchNorm, BatchNormNetwork
from cvxnn.architectures.batchnorm_after import BatchNormAfter, BatchNormAfterNetwork
from cvxnn.architectures.circular import Circular, CircularNetwork
from cvxnn.architectures.conv import ConvGated, ConvReLU
from cvxnn.architectures.deep import DeepNetwork, DeepReLU
from cvxnn.architectures.deep_conv import DeepConvGated, DeepConvReLU
from cvxnn.architectures.deep_filters import DeepConvNetwork
from cvxnn.architectures.deep_gated import DeepGatedNetwork, DeepGatedReLU
from cvxnn.architectures.deep_linear import DeepLinear, DeepLinearNetwork
from cvxnn.architectures.deep_threshold import DeepThreshold, DeepThresholdNetwork
from cvxnn.architectures.filters import ConvNetwork
from cvxnn.architectures.free import Free, free_columns
from cvxnn.architectures.gated import GatedNetwork, GatedReLU
from cvxnn.architectures.gated_ridge import ExpertNetwork, GatedRidge
from cvxnn.architectures.mixer import Mixer, MixerNetwork
from cvxnn.architectures.places import (
    SEQUENTIAL,
    as_rows,
    images_of,
    in_places,
    shape_of,
    shaped,
)
from cvxnn.architectures.polynomial import Polynomial, PolynomialNetwork
from cvxnn.architectures.relu import ReLU, ReLUNetwork
from cvxnn.architectures.represented import Represented, represented
from cvxnn.architectures.threshold import Threshold, ThresholdNetwork

BY_NAME: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        ReLU(),
        GatedReLU(),
        GatedRidge(),
        BatchNorm(),
        BatchNormAfter(),
        Threshold(),
        Threshold(sign=True),
        DeepThreshold(),
        DeepThreshold(sign=True),
        Polynomial(),
        Polynomial(square=1.0, linear=0.0, constant=0.0),
        DeepReLU(),
        DeepGatedReLU(),
        DeepLinear(),
        ConvReLU(),
        ConvGated(),
        DeepConvReLU(kernel=7, stride=7),
        DeepConvGated(kernel=7, stride=7),
        Circular(),
        Circular(gated=True),
        Attention(),
        Attention(gated=True),
        Mixer(),
        Mixer(gated=True),
    )
}
"""The architectures that users may call by name, with default options."""

__all__ = [
    "BY_NAME",
    "SEQUENTIAL",
    "Architecture",
    "Attention",
    "AttentionNetwork",
    "BatchNorm",
    "BatchNormAfter",
    "BatchNormAfterNetwork",
    "BatchNormNetwork",
    "Circular",
    "CircularNetwork",
    "ConvGated",
    "ConvNetwork",
    "ConvReLU",
    "DeepConvGated",
    "DeepConvNetwork",
    "DeepConvReLU",
    "DeepGatedNetwork",
    "DeepGatedReLU",
    "DeepLinear",
    "DeepLinearNetwork",
    "DeepNetwork",
    "DeepReLU",
    "DeepThreshold",
    "DeepThresholdNetwork",
    "ExpertNetwork",
    "Free",
    "GatedNetwork",
    "GatedReLU",
    "GatedRidge",
    "Growing",
    "Mixer",
    "MixerNetwork",
    "Network",
    "Polynomial",
    "PolynomialNetwork",
    "Problem",
    "ReLU",
    "ReLUNetwork",
    "Represented",
    "Threshold",
    "ThresholdNetwork",
    "as_rows",
    "assemble",
    "by_rows",
    "evaluate",
    "free_columns",
    "growing",
    "images_of",
    "in_places",
    "objective",
    "represented",
    "shape_of",
    "shaped",
]
