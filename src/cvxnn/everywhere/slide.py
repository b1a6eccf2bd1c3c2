"""Local descent on balanced weights by L-BFGS: far from the optimum, and for several outputs."""

import numpy as np

from cvxnn.everywhere.neurons import Floats, Neurons, Training
from cvxnn.linalg import descend_smooth


def slide(training: Training, neurons: Neurons, steps: int) -> Neurons:
    """Return the neurons after at most `steps` steps on both layers at once.

    Smooth except at kinks, where it stalls; the objective never rises.
    """
    k, d = neurons.weights.shape
    c, q = neurons.outputs.shape[1], training.columns.shape[1]
    if k == 0:
        return neurons
    features, columns, alpha = training.features, training.columns, training.alpha

    def unpack(z: Floats) -> tuple[Floats, Floats, Floats]:
        inner = z[: k * d].reshape(k, d)
        outer = z[k * d : k * (d + c)].reshape(k, c)
        return inner, outer, z[k * (d + c) :].reshape(q, c)

    def value(z: Floats) -> tuple[float, Floats]:
        inner, outer, free = unpack(z)
        products = features @ inner.T
        hidden = np.maximum(products, 0.0)
        fit = hidden @ outer + columns @ free
        pull = training.loss.gradient(fit)
        back = np.where(products > 0, pull @ outer.T, 0.0).T @ features
        decay = z[: k * (d + c)]
        parts = (back, hidden.T @ pull, columns.T @ pull)
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
