"""Linear maps on blocks: shapes and adjoints, batched over gates."""

from cvxnn.maps.base import Lift, LinearMap, Rows
from cvxnn.maps.gated import ConeRows, Gated, Signed, row_blocks
from cvxnn.maps.gated_stream import GatedStream
from cvxnn.maps.pooled import Pooled, pooled_factors
from cvxnn.maps.quadratic import QuadraticForms
from cvxnn.maps.stacked import Stacked, StackedRows

__all__ = [
    "ConeRows",
    "Gated",
    "GatedStream",
    "Lift",
    "LinearMap",
    "Pooled",
    "QuadraticForms",
    "Rows",
    "Signed",
    "Stacked",
    "StackedRows",
    "pooled_factors",
    "row_blocks",
]
