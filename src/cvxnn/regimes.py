"""Which linear model of a network is active on which sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import evaluate
from cvxnn.architectures.shared import with_bias
from cvxnn.arrays import Array, double, to_numpy
from cvxnn.errors import UnsupportedError

Floats = NDArray[np.float64]

_AGREE = 1e-7
"""Distance of the linear models' outputs from the network's, as a share of its largest term."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Regimes:
    """A network on some samples as linear models: x'A_k + b_k where x is in regime k.

    A regime is a set of active neurons; regime 0 is the most frequent one.
    """

    labels: NDArray[np.int64]
    """(n,): the regime of every sample, -1 where there is none because values are missing."""
    active: NDArray[np.bool_]
    """(k, m): the neurons that are active in a regime."""
    coefficients: Floats
    """A, (k, d, c)."""
    constants: Floats
    """b, (k, c)."""
    first: int = 0
    """For a series, the step that the first sample predicts."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many samples a regime has, (k,), falling."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.active))

    def spans(self) -> list[tuple[int, int, int]]:
        """Return (regime, first, last) for every run of samples in one regime, in order.

        >>> Regimes(
        ...     labels=np.array([0, 0, 1, 0]),
        ...     active=np.eye(2, dtype=bool),
        ...     coefficients=np.zeros((2, 1, 1)),
        ...     constants=np.zeros((2, 1)),
        ... ).spans()
        [(0, 0, 1), (1, 2, 2), (0, 3, 3)]
        """
        starts = np.flatnonzero(np.diff(self.labels, prepend=-2))
        ends = np.append(starts[1:], len(self.labels)) - 1
        return [
            (int(self.labels[start]), int(start), int(end))
            for start, end in zip(starts, ends, strict=True)
        ]


def regimes_of(network: Any, X: Array) -> Regimes:
    """Return the linear models that a network is on samples (n, d), and which one is where.

    The outputs of the models are compared with the network's own, so that a network that is not
    linear between the half-spaces of its neurons raises UnsupportedError.
    """
    if network.rules.shape != network.weights_in.shape or network.weights_in.ndim != 2:
        raise UnsupportedError(
            f"{network.architecture} networks have no neurons that half-spaces switch, so there "
            "are no linear models to tell apart; use 'relu' or 'gated'"
        )
    x, d = to_numpy(double(X)), network.skip.shape[0]
    rules, inward = to_numpy(network.rules), to_numpy(network.weights_in)
    on = with_bias(x, rules.shape[1] > d) @ rules.T >= 0
    active, labels = _by_frequency(on)
    weights = inward[:, :, None] * to_numpy(network.weights_out)[:, None, :]  # (m, d + 1, c)
    sums = np.tensordot(active.astype(np.float64), weights, axes=1)
    coefficients = sums[:, :d] + to_numpy(network.skip)
    constants = sums[:, d:].sum(axis=1) + to_numpy(network.intercept)
    outputs = evaluate(network, x)
    models = np.empty_like(outputs)
    for k in range(len(active)):
        models[labels == k] = x[labels == k] @ coefficients[k] + constants[k]
    size = np.abs(x).max(initial=0.0) * np.abs(weights).sum() + np.abs(outputs).max(initial=0.0)
    if not (np.abs(models - outputs) <= _AGREE * size).all():
        raise UnsupportedError(
            f"{network.architecture} networks are not linear between the half-spaces of their "
            "neurons, so there are no linear models to tell apart; use 'relu' or 'gated'"
        )
    return Regimes(labels=labels, active=active, coefficients=coefficients, constants=constants)


def _by_frequency(on: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the distinct rows of `on` (n, m), the frequent ones first, and which one is where."""
    if not on.shape[1]:
        return on[: min(1, len(on))], np.zeros(len(on), dtype=np.int64)
    packed = np.packbits(on, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    counts = np.bincount(inverse.ravel())
    order = np.lexsort((first, -counts))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return on[first[order]], rank[inverse.ravel()]
