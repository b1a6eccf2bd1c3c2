"""Tables of numbers from files and from scikit-learn."""

from cvxnn.tables.numbers import Table, read_features, read_table
from cvxnn.tables.readers import BUNDLED

__all__ = ["BUNDLED", "Table", "read_features", "read_table"]
