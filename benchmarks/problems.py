"""The gated problems of the benchmarks: samples with a last column of ones, targets, gates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.floating[Any]]


class Data(NamedTuple):
    """Samples (n, d) with a last column of ones, targets (n, 1), and how many gates to draw."""

    features: Floats
    target: Floats
    n_gates: int


def correlated(n: int, d: int, n_gates: int, rng: np.random.Generator) -> Data:
    """Return Gaussian samples, neighbours correlated 1/2, and a teacher of ten noisy neurons."""
    places = np.arange(d - 1)
    root = np.linalg.cholesky(0.5 ** np.abs(places[:, None] - places))
    X = rng.standard_normal((n, d - 1)) @ root.T
    outputs = np.maximum(X @ rng.standard_normal((d - 1, 10)), 0) @ rng.standard_normal((10, 1))
    target = outputs / outputs.std() + 0.3 * rng.standard_normal((n, 1))
    return Data(np.hstack([X, np.ones((n, 1))]), target, n_gates)


def digits(rng: np.random.Generator) -> Data:
    """Return scikit-learn's digits, even against odd, without the pixels that are always zero."""
    X, label = load_digits(return_X_y=True)
    X = np.hstack([X[:, X.any(axis=0)], np.ones((len(X), 1))])
    return Data(X, np.where(label[:, None] % 2 == 0, 1.0, -1.0), 1000)


PROBLEMS: dict[str, Callable[[np.random.Generator], Data]] = {
    "A": lambda rng: correlated(1000, 50, 500, rng),
    "digits": digits,
    "B": lambda rng: correlated(5000, 100, 1000, rng),
}
