"""Networks as modules of torch."""

from cvxnn.export.networks import to_torch

__all__ = ["to_torch"]
