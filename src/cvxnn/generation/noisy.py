"""What noise tells of a score: its loss on noisy samples, and how steep it is among them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 20
"""How often noise is drawn for every sample."""
_STEEP = 200
"""Samples at which the steepness of a score is measured."""


class Level(NamedTuple):
    """A noise level: its noisy samples and what a network is to predict of them."""

    noisy: Floats
    target: Floats


def noisy_copies(X: Floats, sigma: float, copies: int, seed: Any) -> Level:
    """Return copies of samples (n, d) with noise, and minus the noise over sigma [Vincent2011]."""
    drawn = np.random.default_rng(seed).standard_normal((copies * len(X), X.shape[1]))
    return Level(np.tile(X, (copies, 1)) + sigma * drawn, -drawn / sigma)


def silverman(X: Floats) -> Floats:
    """Return the standard deviation of noise by the rule of Silverman for kernels, (d,).

    >>> silverman(np.array([[-1.0], [1.0]])).round(3).tolist()
    [0.922]
    """
    n, d = X.shape
    width = X.std(axis=0) * (4 / ((d + 2) * n)) ** (1 / (d + 4))
    return np.asarray(np.where(width > 0, width, 1.0))


def noisy_loss(network: Any, X: Floats, width: Floats, seed: int) -> float:
    """Return the mean of |s|^2 / 2 + s.e / width at samples (n, d) + width * e, e normal noise.

    Up to a constant it is the mean of |s - grad log p|^2 / 2 for the density p of such samples
    [Vincent2011], jumps of s included.

    >>> loss = noisy_loss(lambda x: -x / 2, np.zeros((400, 1)), np.ones(1), 0)
    >>> bool(abs(loss - (1 / 8 - 1 / 2)) < 0.02)
    True
    """
    drawn = np.random.default_rng(seed).standard_normal((_DRAWS, *X.shape))
    drawn = drawn - drawn.mean(axis=0)  # so that a constant score pays for its square alone
    total = 0.0
    for noise in drawn:
        s = np.asarray(network(X + width * noise))
        total += float((s * (s / 2 + noise / width)).sum(axis=1).mean())
    return total / _DRAWS


def steepness(network: Any, X: Floats, sigma: float, seed: int) -> float:
    """Return the 90th percentile of the spectral norm of the Jacobian at noisy samples.

    1 for a network that is constant there.
    """
    rng = np.random.default_rng(seed)
    rows = X[rng.choice(len(X), size=min(_STEEP, len(X)), replace=False)]
    rows = rows + sigma * rng.standard_normal(rows.shape)
    d = X.shape[1]
    features = np.column_stack([rows, np.ones(len(rows))])[:, : network.weights_in.shape[1]]
    masks = (features @ network.rules.T >= 0).astype(np.float64)
    parts = network.weights_in[:, :d, None] * network.weights_out[:, None, :]
    jacobians = np.tensordot(masks, parts, axes=1) + network.skip
    size = float(np.quantile(np.linalg.norm(jacobians, ord=2, axis=(1, 2)), 0.9))
    return size if size > 0 else 1.0
