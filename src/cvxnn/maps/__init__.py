"""Linear maps on blocks: shapes and adjoints, batched over gates."""

from cvxnn.maps.base import Lift, LinearMap, Rows
from cvxnn.maps.dense import Dense
from cvxnn.maps.gated import ConeRows, Gated, Signed, row_blocks
from cvxnn.maps.gated_stream import GatedStream
from cvxnn.maps.gram import Coefficients, Explicit, Gram, Kept, gram
from cvxnn.maps.heads import Heads
from cvxnn.maps.pooled import Pooled, pooled_factors
from cvxnn.maps.quadratic import QuadraticForms
from cvxnn.maps.stacked import Stacked, StackedRows

__all__ = [
    "Coefficients",
    "ConeRows",
    "Dense",
    "Explicit",
    "Gated",
    "GatedStream",
    "Gram",
    "Heads",
    "Kept",
    "Lift",
    "LinearMap",
    "Pooled",
    "QuadraticForms",
    "Rows",
    "Signed",
    "Stacked",
    "StackedRows",
    "gram",
    "pooled_factors",
    "row_blocks",
]
