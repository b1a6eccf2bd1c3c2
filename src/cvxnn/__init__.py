"""Two-layer neural networks trained to certified global optimality."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cvxnn.architectures import (
        Attention,
        AttentionNetwork,
        BatchNorm,
        BatchNormAfter,
        BatchNormAfterNetwork,
        BatchNormNetwork,
        Circular,
        CircularNetwork,
        ConvGated,
        ConvNetwork,
        ConvReLU,
        DeepConvGated,
        DeepConvNetwork,
        DeepConvReLU,
        DeepGatedNetwork,
        DeepGatedReLU,
        DeepLinear,
        DeepLinearNetwork,
        DeepNetwork,
        DeepReLU,
        DeepThreshold,
        DeepThresholdNetwork,
        ExpertNetwork,
        GatedNetwork,
        GatedReLU,
        GatedRidge,
        Mixer,
        MixerNetwork,
        Polynomial,
        PolynomialNetwork,
        ReLU,
        ReLUNetwork,
        Threshold,
        ThresholdNetwork,
    )
    from cvxnn.assess import certify_network
    from cvxnn.autoencoder import ConvexAutoencoder
    from cvxnn.certificate import Certificate, Exactness, Scope, Verification, verify
    from cvxnn.denoiser import ConvexDenoiser, Filters
    from cvxnn.density import ConvexDensity
    from cvxnn.encoding import ColumnEncoder
    from cvxnn.estimators import ConvexClassifier, ConvexRegressor
    from cvxnn.estimators_cv import ConvexClassifierCV, ConvexRegressorCV
    from cvxnn.everywhere.columns import ColumnCones, column_cones
    from cvxnn.files import load, save
    from cvxnn.forecaster import ConvexForecaster
    from cvxnn.gates import enumerate_patterns
    from cvxnn.generation.gan import ConvexGAN
    from cvxnn.generation.progressive import ProgressiveGAN
    from cvxnn.generation.score import ConvexScore
    from cvxnn.heads import Alternation, ConvexHead, alternate
    from cvxnn.landscape import from_sklearn, from_torch, polish, stationarity
    from cvxnn.layerwise import LayerwiseClassifier
    from cvxnn.optima import OptimalSet, optimal_set
    from cvxnn.quantised import QuantisedFit, QuantisedNetwork, fit_quantised
    from cvxnn.regimes import Regimes
    from cvxnn.robust import RobustClassifier, worst_case
    from cvxnn.solve import Solution, Status
    from cvxnn.spline import ConvexSpline
    from cvxnn.stages import Stage
    from cvxnn.theory.flow import MarginFlow, margin_flow
    from cvxnn.theory.isometry import Interpolant, Isometry, interpolate, neural_isometry
    from cvxnn.theory.margin import MaxMargin, certify_margin, max_margin
    from cvxnn.theory.wasserstein import (
        Direction,
        Flowed,
        Potential,
        wasserstein_direction,
        wasserstein_flow,
    )

__version__ = "0.1.0"

__all__ = [
    "Alternation",
    "Attention",
    "AttentionNetwork",
    "BatchNorm",
    "BatchNormAfter",
    "BatchNormAfterNetwork",
    "BatchNormNetwork",
    "Certificate",
    "Circular",
    "CircularNetwork",
    "ColumnCones",
    "ColumnEncoder",
    "ConvGated",
    "ConvNetwork",
    "ConvReLU",
    "ConvexAutoencoder",
    "ConvexClassifier",
    "ConvexClassifierCV",
    "ConvexDenoiser",
    "ConvexDensity",
    "ConvexForecaster",
    "ConvexGAN",
    "ConvexHead",
    "ConvexRegressor",
    "ConvexRegressorCV",
    "ConvexScore",
    "ConvexSpline",
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
    "Direction",
    "Exactness",
    "ExpertNetwork",
    "Filters",
    "Flowed",
    "GatedNetwork",
    "GatedReLU",
    "GatedRidge",
    "Interpolant",
    "Isometry",
    "LayerwiseClassifier",
    "MarginFlow",
    "MaxMargin",
    "Mixer",
    "MixerNetwork",
    "OptimalSet",
    "Polynomial",
    "PolynomialNetwork",
    "Potential",
    "ProgressiveGAN",
    "QuantisedFit",
    "QuantisedNetwork",
    "ReLU",
    "ReLUNetwork",
    "Regimes",
    "RobustClassifier",
    "Scope",
    "Solution",
    "Stage",
    "Status",
    "Threshold",
    "ThresholdNetwork",
    "Verification",
    "alternate",
    "certify_margin",
    "certify_network",
    "column_cones",
    "enumerate_patterns",
    "fit_quantised",
    "from_sklearn",
    "from_torch",
    "interpolate",
    "load",
    "margin_flow",
    "max_margin",
    "neural_isometry",
    "optimal_set",
    "polish",
    "save",
    "stationarity",
    "verify",
    "wasserstein_direction",
    "wasserstein_flow",
    "worst_case",
]

_NAMES = {
    "architectures": (
        "Attention",
        "AttentionNetwork",
        "BatchNorm",
        "BatchNormAfter",
        "BatchNormAfterNetwork",
        "BatchNormNetwork",
        "ExpertNetwork",
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
        "Circular",
        "CircularNetwork",
        "ConvGated",
        "ConvNetwork",
        "ConvReLU",
        "GatedNetwork",
        "GatedReLU",
        "GatedRidge",
        "Mixer",
        "MixerNetwork",
        "Polynomial",
        "PolynomialNetwork",
        "ReLU",
        "ReLUNetwork",
        "Threshold",
        "ThresholdNetwork",
    ),
    "assess": ("certify_network",),
    "autoencoder": ("ConvexAutoencoder",),
    "certificate": ("Certificate", "Exactness", "Scope", "Verification", "verify"),
    "denoiser": ("ConvexDenoiser", "Filters"),
    "density": ("ConvexDensity",),
    "encoding": ("ColumnEncoder",),
    "estimators": ("ConvexClassifier", "ConvexRegressor"),
    "estimators_cv": ("ConvexClassifierCV", "ConvexRegressorCV"),
    "everywhere.columns": ("ColumnCones", "column_cones"),
    "files": ("load", "save"),
    "forecaster": ("ConvexForecaster",),
    "theory.flow": ("MarginFlow", "margin_flow"),
    "heads": ("Alternation", "ConvexHead", "alternate"),
    "generation.gan": ("ConvexGAN",),
    "gates": ("enumerate_patterns",),
    "theory.isometry": ("Interpolant", "Isometry", "interpolate", "neural_isometry"),
    "landscape": ("from_sklearn", "from_torch", "polish", "stationarity"),
    "layerwise": ("LayerwiseClassifier",),
    "theory.margin": ("MaxMargin", "certify_margin", "max_margin"),
    "optima": ("OptimalSet", "optimal_set"),
    "generation.progressive": ("ProgressiveGAN",),
    "quantised": ("QuantisedFit", "QuantisedNetwork", "fit_quantised"),
    "regimes": ("Regimes",),
    "robust": ("RobustClassifier", "worst_case"),
    "generation.score": ("ConvexScore",),
    "solve": ("Solution", "Status"),
    "spline": ("ConvexSpline",),
    "stages": ("Stage",),
    "theory.wasserstein": (
        "Direction",
        "Flowed",
        "Potential",
        "wasserstein_direction",
        "wasserstein_flow",
    ),
}
_HOMES = {name: f"cvxnn.{home}" for home, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # names come when they are used: `cvxnn --help` waits for no scikit-learn

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'cvxnn' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

    def __dir__():
        return [*__all__, "__version__"]
