"""The data: (n, d) samples and (n,) targets, and the form in which every solver gets them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

Floats = NDArray[np.float64]
Table = tuple[Floats, Floats]


def standard(X: Any, y: Any) -> Table:
    """Scale the columns that vary, add one of ones, and bring all columns to unit norm.

    Entries of X are rounded to single precision, so that every solver has the same data.
    """
    X = np.asarray(X, dtype=np.float64)
    X = X[:, X.std(axis=0) > 1e-10 * np.abs(X).max(axis=0)]
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    X = (X / np.linalg.norm(X, axis=0)).astype(np.float32)
    return X.astype(np.float64), np.asarray(y, dtype=np.float64)


def signs(labels: Any) -> Floats:
    """Return 1 for the true labels and -1 for the others."""
    return np.where(labels, 1.0, -1.0)


def teacher(n: int, d: int, seed: int = 0, neurons: int = 10) -> Table:
    """Return Gaussian samples, neighbours correlated 1/2, and ten noisy neurons' outputs."""
    rng, places = np.random.default_rng(seed), np.arange(d - 1)
    root = np.linalg.cholesky(0.5 ** np.abs(places[:, None] - places))
    X = rng.standard_normal((n, d - 1)) @ root.T
    hidden = np.maximum(X @ rng.standard_normal((d - 1, neurons)), 0)
    outputs = hidden @ rng.standard_normal(neurons)
    return X, outputs / outputs.std() + 0.3 * rng.standard_normal(n)


def digits() -> Table:
    """Return scikit-learn's digits, even against odd."""
    X, label = load_digits(return_X_y=True)
    return X, signs(label % 2 == 0)


def breast_cancer() -> Table:
    """Return scikit-learn's breast cancer table."""
    X, label = load_breast_cancer(return_X_y=True)
    return X, signs(label == 1)


def diabetes() -> Table:
    """Return scikit-learn's diabetes table, its target standardised."""
    X, y = load_diabetes(return_X_y=True)
    return X, (y - y.mean()) / y.std()


BUNDLED: dict[str, Callable[[], Table]] = {
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "digits": digits,
}
