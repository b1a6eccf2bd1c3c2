"""Fewer neurons for the same: those that are equal on the data, and those that are nearly so."""

from collections.abc import Hashable, Sequence

import numpy as np

from cvxnn.everywhere.neurons import Neurons, Training
from cvxnn.gates.base import pattern_keys

_CLOSE = 0.999
"""Cosine above which neurons are nearly equal."""


def merge(training: Training, neurons: Neurons) -> Neurons:
    """Add up neurons of equal pattern and output: the objective does not rise."""
    keys = pattern_keys(neurons.weights @ training.features.T > 0)
    outputs = neurons.outputs.round(9) + 0.0
    return _added(
        neurons, [(key.tobytes(), s.tobytes()) for key, s in zip(keys, outputs, strict=True)]
    )


def fuse(neurons: Neurons) -> Neurons:
    """Add up neurons of nearly equal direction and output, the largest first.

    Their patterns differ in few samples, so the objective may rise a little; descent then finds a
    network that is about as good, with fewer neurons.
    """
    sizes, k = neurons.sizes, len(neurons.weights)
    units = neurons.weights / sizes[:, None]
    alike = (units @ units.T > _CLOSE) & (neurons.outputs @ neurons.outputs.T > _CLOSE)
    owner = np.full(k, -1)
    for j in np.argsort(-sizes):
        if owner[j] < 0:
            owner[alike[j] & (owner < 0)] = j
    return _added(neurons, owner.tolist())


def _added(neurons: Neurons, names: Sequence[Hashable]) -> Neurons:
    """Return the neurons with those of one name added up, at the first one's output."""
    places: dict[Hashable, int] = {}
    owner = [places.setdefault(name, len(places)) for name in names]
    if len(places) == len(owner):
        return neurons
    weights = np.zeros((len(places), neurons.weights.shape[1]))
    np.add.at(weights, owner, neurons.weights)
    first = np.unique(owner, return_index=True)[1]
    return Neurons(weights, neurons.outputs[first], neurons.free)
