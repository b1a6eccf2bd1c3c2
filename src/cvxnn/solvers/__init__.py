"""Solvers: each a frozen dataclass of settings, run by `cvxnn.solve.solve`."""

from cvxnn.solvers.admm import ADMM
from cvxnn.solvers.direct import Direct
from cvxnn.solvers.factored import Factored
from cvxnn.solvers.fista import FISTA
from cvxnn.solvers.newton import Newton
from cvxnn.solvers.reference import Reference
from cvxnn.solvers.shrinkage import Shrinkage
from cvxnn.solvers.subspace import Subspace
from cvxnn.solvers.working_set import WorkingSet

__all__ = [
    "ADMM",
    "FISTA",
    "Direct",
    "Factored",
    "Newton",
    "Reference",
    "Shrinkage",
    "Subspace",
    "WorkingSet",
]
