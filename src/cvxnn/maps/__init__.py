"""Linear maps on blocks: shapes and adjoints, batched over gates."""

from cvxnn.maps.base import Lift, LinearMap, Rows
from cvxnn.maps.gated import ConeRows, Gated, Signed, row_blocks
from cvxnn.maps.gated_stream import GatedStream

__all__ = [
    "ConeRows",
    "Gated",
    "GatedStream",
    "Lift",
    "LinearMap",
    "Rows",
    "Signed",
    "row_blocks",
]
