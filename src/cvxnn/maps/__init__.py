"""Linear maps on blocks: shapes and adjoints, batched over gates."""

from cvxnn.maps.base import Lift, LinearMap, Rows
from cvxnn.maps.gated import ConeRows, Gated, Signed, row_blocks

__all__ = ["ConeRows", "Gated", "Lift", "LinearMap", "Rows", "Signed", "row_blocks"]
