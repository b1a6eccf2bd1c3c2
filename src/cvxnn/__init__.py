"""Two-layer neural networks trained to certified global optimality."""

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.certificate import Certificate, Exactness, Scope, Verification, verify
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.gates import enumerate_patterns
from cvxnn.solve import Solution, Status

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "ConvexClassifier",
    "ConvexRegressor",
    "Exactness",
    "GatedReLU",
    "ReLU",
    "Scope",
    "Solution",
    "Status",
    "Verification",
    "enumerate_patterns",
    "verify",
]
