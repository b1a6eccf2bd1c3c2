"""The worst margin of a ReLU network over balls around samples: bounds, and attacks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import ReLUNetwork
from cvxnn.architectures.shared import with_bias
from cvxnn.everywhere.neurons import Floats

_STEPS = 20
_CLOSE = 1e-7
"""Relative distance of bound and attack at which they count as one."""


class WorstCase(NamedTuple):
    """What is known of the smallest margin y f(x + delta) over the ball of every sample."""

    proved: Floats
    """(n,): no point of the ball has a smaller margin."""
    attained: Floats
    """(n,): the margin at `points`."""
    points: Floats
    """(n, d), in the balls."""
    exact: NDArray[np.bool_]
    """(n,): whether the two agree, so that the worst case is known."""

    def hinge(self) -> tuple[float, float]:
        """Return the mean worst hinge loss: what an attack attains, and what none exceeds."""
        attained, proved = (np.maximum(0, 1 - m).mean() for m in (self.attained, self.proved))
        return float(attained), float(proved)


def dual_norm(vectors: Floats, norm: str) -> Floats:
    """Return the dual norms of vectors (k, d) for balls of "linf" or "l2", (k,)."""
    if norm == "linf":
        return np.asarray(np.abs(vectors).sum(axis=1))
    return np.asarray(np.linalg.norm(vectors, axis=1))


def worst_of(network: ReLUNetwork, X: Floats, signs: Floats, radius: float, norm: str) -> WorstCase:
    """Return bounds and attacks for samples (n, d) and signs (n,).

    A neuron that keeps its side all over a ball is linear there. One that does not is bounded by a
    line: from above by its chord, from below by zero or itself; so the margin has a linear bound,
    whose smallest value on the ball is a dual norm [Zhang2018]. With no such neuron it is exact.
    """
    d = X.shape[1]
    inward, sizes = network.weights_in[:, :d], network.weights_out[:, 0]
    values = np.asarray(with_bias(X, network.weights_in.shape[1] > d) @ network.weights_in.T)
    reach = radius * dual_norm(inward, norm)
    low, high = values - reach, values + reach
    shares = signs[:, None] * sizes
    open_, torn = low >= 0, (low < 0) & (high > 0)
    width = np.where(torn, high - low, 1.0)
    chord = np.where(shares < 0, high / width, (high > -low).astype(float))
    slopes = np.where(torn, chord, open_.astype(float))
    shift = np.where(torn & (shares < 0), -low * chord, 0.0)
    skip = network.skip[:, 0]
    gradient = (shares * slopes) @ inward + signs[:, None] * skip
    centre = (shares * (slopes * values + shift)).sum(axis=1)
    centre += signs * (X @ skip + network.intercept[0])
    proved = centre - radius * dual_norm(gradient, norm)
    points, attained = _attack(network, X, signs, radius, norm, gradient)
    proved = np.minimum(proved, attained)  # the two may cross by rounding
    size = np.abs(centre) + radius * dual_norm(gradient, norm) + 1e-300
    return WorstCase(proved, attained, points, attained - proved <= _CLOSE * size)


def _attack(
    network: ReLUNetwork, X: Floats, signs: Floats, radius: float, norm: str, guess: Floats
) -> tuple[Floats, Floats]:
    """Return the worst points found, first where the bound points to, and their margins."""
    d = X.shape[1]
    inward, sizes = network.weights_in[:, :d], network.weights_out[:, 0]
    bias = network.weights_in.shape[1] > d

    def slope(points: Floats) -> Floats:
        on = np.asarray(with_bias(points, bias) @ network.weights_in.T) > 0
        pull = signs[:, None] * ((on * sizes) @ inward + network.skip[:, 0])
        return np.asarray(pull)

    best, least = X.copy(), signs * network(X)[:, 0]
    point, pull = X, guess
    for _ in range(_STEPS):
        point = X - radius * _along(pull, norm)
        margin = signs * network(point)[:, 0]
        better = margin < least
        best[better], least = point[better], np.minimum(least, margin)
        pull = slope(point)
    return best, least


def _along(vectors: Floats, norm: str) -> Floats:
    """Return the points of the unit ball farthest along vectors (k, d)."""
    if norm == "linf":
        return np.sign(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))
