"""Solvers: each a frozen dataclass of settings, run by `cvxnn.solve.solve`."""

from cvxnn.solvers.admm import ADMM
from cvxnn.solvers.fista import FISTA

__all__ = ["ADMM", "FISTA"]
