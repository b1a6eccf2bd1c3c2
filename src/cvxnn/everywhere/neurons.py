"""Neurons without gates: what training over all networks moves, and its objective."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.pooling import Pooling
from cvxnn.functions import Mean

Floats = NDArray[np.float64]

_FLAT = 1e-3
"""Least curvature of a sample's loss, as a share of its smoothness."""

MOST_PAIRED = 4000
"""Samples beyond which no matrix of their pairs is made."""
MOST_CURVED = 30_000_000
"""Numbers in the curvature of all neurons beyond which none is computed."""


class Neurons(NamedTuple):
    """k neurons sum_j max(0, X a_j) s_j' and free coefficients b."""

    weights: Floats
    """a, (k, d): first-layer vectors that carry the neuron's whole size."""
    outputs: Floats
    """s, (k, c), or (k, cells * c): unit vectors; 1 or -1 with one output."""
    free: Floats
    """b, (q, c)."""

    @property
    def sizes(self) -> Floats:
        """Return |a_j|, (k,): what alpha multiplies."""
        return np.asarray(np.linalg.norm(self.weights, axis=1))

    def keep(self, index: NDArray[np.generic]) -> "Neurons":
        """Return the neurons at `index`."""
        return Neurons(self.weights[index], self.outputs[index], self.free)


@dataclass(frozen=True, eq=False)
class Training:
    """minimise L(sum_j max(0, X a_j) s_j' + F b) + alpha sum_j |a_j|, over any number of neurons.

    With balanced layers this is weight decay: |a_j| = |u_j| |w_j| [Pilanci2020, lemma 1]. Rows of X
    may be patches, whose activations add up to samples'.
    """

    features: Floats
    """X, (n, d) or (N, d), a column of ones in it if the neurons have a bias."""
    loss: Mean
    columns: Floats
    """F, (n, q), unpenalised."""
    alpha: float
    turn: Floats | None = None
    """R, (D, d), orthonormal, where the data had more columns than rows; else None."""
    unit: float = 1.0
    """Of the data: `features` is the data times R over it, and `alpha` that of the data over it."""
    pooling: Pooling | None = None
    """How rows of `features` add up to samples; None: every row is one."""

    @property
    def outputs(self) -> int:
        """How many output weights a neuron has: c, or one for every cell and output."""
        cells = 1 if self.pooling is None else self.pooling.cells
        return int(self.loss.target.shape[1]) * cells

    def atoms(self, directions: NDArray[Any]) -> NDArray[Any]:
        """Return the samples' activations (n, k), or (n, k * cells), of neurons (k, d)."""
        return self._pooled(np.maximum(self.features @ directions.T, 0.0))

    def _pooled(self, hidden: NDArray[Any]) -> NDArray[Any]:
        return hidden if self.pooling is None else self.pooling.pooled(hidden)

    def mix(self, hidden: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """Return what activations (N, k) of the rows make with outputs (k, s), (n, c)."""
        c = self.loss.target.shape[1]
        (k, width), pooled = outputs.shape, self._pooled(hidden)
        return np.asarray(pooled @ outputs.reshape(k * width // c, c))

    def pulls(self, dual: NDArray[Any]) -> NDArray[Any]:
        """Return what a dual point (n, c) asks of the rows, (N, s); the adjoint of `mix`."""
        return dual if self.pooling is None else self.pooling.spread(dual)

    def outward(self, weights: Floats) -> Floats:
        """Return neurons' weights (k, d) as weights of the data's columns (k, D)."""
        own = weights if self.turn is None else weights @ self.turn.T
        return np.asarray(own / self.unit)

    def inward(self, weights: Floats) -> Floats:
        """Return weights of the data's columns (k, D) as weights of the features (k, d)."""
        own = weights if self.turn is None else weights @ self.turn
        return np.asarray(own * self.unit)

    @cached_property
    def row_squares(self) -> NDArray[np.float32] | None:
        """The rows' outer products x_i x_i', (n, d * d), or None where they are too many."""
        n, d = self.features.shape
        if n * d * d > 2e7:
            return None
        return (self.single[:, :, None] * self.single[:, None, :]).reshape(n, d * d)

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The features in single precision."""
        return np.ascontiguousarray(self.features, dtype=np.float32)

    @cached_property
    def kernel(self) -> NDArray[np.float32] | None:
        """X X', (n, n), or None for more than 4,000 samples."""
        return self.single @ self.single.T if len(self.single) <= MOST_PAIRED else None

    @cached_property
    def whitening(self) -> Floats:
        """(X'X)^(-1/4), (d, d): directions drawn with it lie between isotropic and whitened."""
        return whitening(self.features)

    def predict(self, neurons: Neurons) -> Floats:
        """Return the outputs, (n, c)."""
        hidden = np.maximum(self.features @ neurons.weights.T, 0.0)
        return self.mix(hidden, neurons.outputs) + self.columns @ neurons.free

    def objective(self, neurons: Neurons) -> float:
        """Return mean loss + alpha * sum_j |a_j|."""
        decay = self.alpha * float(neurons.sizes.sum())
        return self.loss.value(self.predict(neurons)) + decay

    def curvature(self, fit: Floats) -> Floats:
        """Return the loss's second derivatives (n, c), kept off zero for Newton's sake."""
        floor = _FLAT * self.loss.loss.smoothness * self.loss.weights
        return np.asarray(np.maximum(self.loss.curvature(fit), floor))

    def dual(self, neurons: Neurons) -> Floats:
        """Return minus the gradient of the loss at the outputs, (n, c)."""
        return np.asarray(-self.loss.gradient(self.predict(neurons)))


def whitening(features: Floats) -> Floats:
    """Return (X'X)^(-1/4), (d, d), its largest entries held back."""
    values, vectors = np.linalg.eigh((features.T @ features).astype(np.float64))
    top = float(values[-1])
    roots = np.maximum(values, 1e-12 * top) ** -0.25 if top > 0 else np.ones_like(values)
    return np.asarray((vectors * roots) @ vectors.T)


def pulled(
    features: NDArray[Any], hidden: NDArray[Any], pull: NDArray[Any], outputs: NDArray[Any]
) -> NDArray[Any]:
    """Return what a pull (n, c) on the outputs asks of neurons: sum_i 1[h_ij > 0] (s_j'p_i) x_i.

    Of activations h (n, k) and outputs s (k, c) of neurons on features (n, d); it is (k, d).
    """
    alive = (hidden > 0).astype(features.dtype)  # np.where takes several times as long
    if outputs.shape[1] == 1:
        return np.asarray((alive.T @ (features * pull)) * outputs)
    return np.asarray((alive * (pull @ outputs.T)).T @ features)
