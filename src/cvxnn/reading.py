"""How estimators take in data: checked, and by row blocks where that will do."""

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from cvxnn.architectures import Architecture
from cvxnn.streamed import mapped, require_finite


def validated(estimator: Any, X: Any, y: Any = "no_validation", **words: Any) -> Any:
    """Return data as scikit-learn validates them: arrays, or CSR for sparse X; memory maps stay.

    Raises ValueError with the row and the column of a NaN or infinity.
    """
    if isinstance(X, np.ndarray):
        mapped(X)  # a file that was cut off is told before it is read
    words |= {"dtype": [np.float64, np.float32], "accept_sparse": "csr"}
    found = validate_data(estimator, X, y, ensure_all_finite=False, **words)
    require_finite(found[0] if isinstance(found, tuple) else found)
    return found


def by_blocks(model: Any, architecture: Architecture) -> bool:
    """Tell whether an estimator's work reads X by row blocks alone.

    Cones, enumeration, the columns of a linear skip and other devices need X whole.
    """
    enumerated = isinstance(model.gates, str) and model.gates == "enumerate"
    whole = bool(model.skip) or enumerated or model.device is not None
    return architecture.streams and not whole
