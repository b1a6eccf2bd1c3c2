"""Unpenalised columns: the intercept of the outputs and a linear skip connection."""

from dataclasses import dataclass

from cvxnn.arrays import Array, device, double, namespace, norm
from cvxnn.linalg import orthonormal_columns
from cvxnn.streamed import Streamed, frobenius


@dataclass(frozen=True, eq=False)
class Free:
    """Unpenalised columns F = [X, 1] T, orthogonal and of equal norm, in the scale of the data."""

    columns: Array
    """F, (n, q)."""
    transform: Array
    """T, (d + 1, q); the last row belongs to the intercept."""
    intercept: bool
    skip: bool

    def weights(self, coefficients: Array) -> tuple[Array, Array]:
        """Return the skip (d, c) and the intercept (c,) of coefficients (q, c)."""
        weights = self.transform @ double(coefficients)
        return weights[:-1, :], weights[-1, :]

    def coefficients(self, prediction: Array) -> Array:
        """Return the b (q, c) with the least |F b - prediction|."""
        return self.columns.T @ prediction / max(norm(self.columns[:, :1]) ** 2, 1e-300)


def free_columns(X: Array, *, intercept: bool, skip: bool) -> Free:
    """Return the unpenalised columns of an output intercept and a linear skip connection.

    A skip is for data in memory: its columns are dense, and `Streamed` data raise ValueError.
    """
    xp = namespace(X)
    if skip and isinstance(X, Streamed):
        raise ValueError("skip=True makes dense float64 columns of X; pass X as an array in memory")
    n, d = X.shape
    wide = double(X) if skip else xp.zeros((n, 0), dtype=xp.float64, device=device(X))
    ones = xp.ones((n, int(intercept)), dtype=xp.float64, device=device(X))
    raw = xp.concat([wide, ones], axis=1)
    if raw.shape[1] == 0:
        none = xp.zeros((d + 1, 0), dtype=xp.float64, device=device(X))
        return Free(xp.zeros((n, 0), dtype=xp.float64, device=device(X)), none, intercept, skip)
    columns, transform = orthonormal_columns(raw)
    scale = frobenius(X) / d**0.5 or 1.0
    kind = {"dtype": xp.float64, "device": device(X)}
    above = transform[:d, :] if skip else xp.zeros((d, transform.shape[1]), **kind)
    below = transform[-1:, :] if intercept else xp.zeros((1, transform.shape[1]), **kind)
    full = xp.concat([above, below], axis=0)
    return Free(scale * columns, scale * full, intercept, skip)
