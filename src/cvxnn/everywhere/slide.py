"""Local descent on balanced weights by L-BFGS: far from the optimum, and for several outputs."""

import numpy as np

from cvxnn.arrays import Array
from cvxnn.everywhere.neurons import Floats, Neurons, Training, pulled
from cvxnn.linalg import descend_smooth


def slide(training: Training, neurons: Neurons, steps: int) -> Neurons:
    """Return the neurons after at most `steps` steps on both layers at once.

    Smooth except at kinks, where it stalls. With one output, where Newton steps follow, products
    are in single precision.
    """
    k, d = neurons.weights.shape
    c, q = neurons.outputs.shape[1], training.columns.shape[1]
    targets = training.loss.target.shape[1]
    if k == 0:
        return neurons
    features: Array = training.single if c == 1 else training.features
    columns, alpha = training.columns, training.alpha

    def unpack(z: Floats) -> tuple[Floats, Floats, Floats]:
        inner = z[: k * d].reshape(k, d)
        outer = z[k * d : k * (d + c)].reshape(k, c)
        return inner, outer, z[k * (d + c) :].reshape(q, targets)

    def value(z: Floats) -> tuple[float, Floats]:
        inner, outer, free = unpack(z)
        first, second = inner.astype(features.dtype), outer.astype(features.dtype)
        hidden = np.maximum(features @ first.T, 0.0)
        fit = training.mix(hidden, second) + columns @ free
        pull = training.loss.gradient(fit)
        push = training.pulls(pull).astype(features.dtype)
        back = pulled(features, hidden, push, second)
        decay = z[: k * (d + c)]
        parts = (back, hidden.T @ push, columns.T @ pull)
        gradient = np.concatenate([part.ravel() for part in parts])
        gradient[: k * (d + c)] += alpha * decay
        return training.loss.value(fit) + alpha / 2 * float(decay @ decay), gradient

    roots = np.sqrt(neurons.sizes)[:, None]
    start = np.concatenate(
        [(neurons.weights / roots).ravel(), (roots * neurons.outputs).ravel(), neurons.free.ravel()]
    )
    inner, outer, free = unpack(descend_smooth(value, start, steps))
    lengths = np.linalg.norm(outer, axis=1, keepdims=True)
    outputs = outer / np.where(lengths > 0, lengths, 1.0)
    moved = Neurons(inner * lengths, outputs, free)
    sizes = moved.sizes
    return moved.keep(sizes > 1e-9 * sizes.max(initial=0.0))
