"""What the tests of deep networks share: the data of the notes, and fits of their sums."""

from typing import Any

import numpy as np
import pytest
from tests.every import share
from tests.hundred.descent import relu

from cvxnn import ConvexRegressor

many = pytest.mark.skipif(share(2) == 2, reason="long descents run with EVERY=1")

D = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 1.0]])
Y = np.array([1.0, -1.5, 2.0])
LAM = 0.2


def fitted(architecture: Any, X: np.ndarray = D, y: np.ndarray = Y, lam: float = LAM, **words: Any):
    words = {"gates": "enumerate", "tol": 1e-9, "fit_intercept": False} | words
    return ConvexRegressor(architecture, alpha=lam / len(X), **words).fit(X, y)


def of_sums(model: Any, n: int = 3) -> tuple[float, float]:
    return n * model.certificate_.lower, n * model.certificate_.upper


def output(X: Any, u: Any, w: Any) -> Any:
    """Sub-networks of three layers, runs first: u (r, k, m, d), w (r, k, m) to (r, k, n)."""
    import torch

    first = relu(torch.tensor(X) @ u.swapaxes(2, 3))
    return relu((first * w[:, :, None, :]).sum(dim=3))


OPTIMA = {"path": 0.321158, "layers": 0.448328}
"""Section D.8."""
