"""The convex problem of the sizes alone: which of the neurons at hand are needed, and how large."""

import numpy as np

from cvxnn.everywhere.neurons import Floats, Neurons, Training
from cvxnn.linalg import nonnegative_quadratic

_ROUNDS = 30
_FINE, _ROUGH = (300, 1e-9), (50, 1e-3)
"""Steps and tolerance of the group lasso of several outputs; where the network still turns."""
_RIDGES: tuple[float, ...] = (1e-12, 1e-9, 1e-6, 1e-3)
"""How strongly sizes are held where the quadratic model is too close to singular, in units of its
mean curvature, from the least that lets pivoting end."""
_NEEDLESS = 1e-6
"""Size, in units of the largest, below which a neuron goes if that costs no more than rounding."""


def reweigh(training: Training, neurons: Neurons, caution: float = 0.0) -> Neurons:
    """Return the neurons at their best sizes, the others dropped; directions stay.

    With `caution` it is one step only, held near the sizes at hand: neurons that are nearly
    needless then stay for the descent to turn, which finds better networks.
    """
    best = resize(training, neurons, neurons.sizes, caution)
    sizes, objective = best.sizes, training.objective(best)
    largest, least = float(sizes.max(initial=0.0)), 1e-15 * objective / training.alpha
    fewer = best.keep(sizes > max(_NEEDLESS * largest, least))
    if training.objective(fewer) <= objective * (1 + 1e-14):
        return fewer
    return best.keep(sizes > max(1e-10 * largest, least))


def resize(training: Training, neurons: Neurons, sizes: Floats, caution: float = 0.0) -> Neurons:
    """Return the neurons at their best sizes, zero for some, starting from `sizes` (k,).

    With one output the sizes c >= 0 solve a nonnegative lasso, min L(Phi c + F b) + alpha sum c,
    by pivoting inside proximal Newton steps; with several, the rows of the output weights a
    group lasso, by accelerated proximal gradient.
    """
    if not len(neurons.weights):
        return neurons
    if neurons.outputs.shape[1] > 1:
        return _grouped(training, neurons, sizes, *(_ROUGH if caution else _FINE))
    directions = neurons.weights / neurons.sizes[:, None]
    atoms = training.atoms(directions) * neurons.outputs[:, 0]
    columns, q = np.column_stack([atoms, training.columns]), training.columns.shape[1]
    price = np.concatenate([np.full(len(sizes), training.alpha), np.zeros(q)])
    x = np.concatenate([sizes, neurons.free[:, 0]])

    def value(x: Floats) -> float:
        return training.loss.value((columns @ x)[:, None]) + float(price @ x)

    now, k, ridges = value(x), len(sizes), _RIDGES
    for _ in range(1 if caution else _ROUNDS):
        fit = (columns @ x)[:, None]
        bent = columns * np.sqrt(training.curvature(fit))
        gram = bent.T @ bent
        slope = columns.T @ training.loss.gradient(fit)[:, 0] + price
        target, ridges = _target(gram, slope, x, k, caution, ridges)
        predicted, share = float(slope @ (target - x)), 1.0
        if not predicted < 0:
            break
        then = value(target)
        while not then <= now + 1e-4 * share * predicted and share > 1e-6:
            share /= 2
            then = value(x + share * (target - x))
        if not then < now:
            break
        x, gain, now = x + share * (target - x), now - then, then
        if gain <= 1e-13 * abs(now):
            break
    found = np.maximum(x[: len(sizes), None], 0.0)
    return Neurons(directions * found, neurons.outputs, x[len(sizes) :, None])


def _target(
    gram: Floats, slope: Floats, x: Floats, bounded: int, caution: float, ridges: tuple[float, ...]
) -> tuple[Floats, tuple[float, ...]]:
    """Return the minimum of the quadratic model, held near `x`, and the ridges worth trying."""
    diagonal = np.diag(gram).copy()
    mean = max(float(diagonal.mean()), 1e-300)
    for count, ridge in enumerate(ridges):
        near = ridge * mean + np.where(np.arange(len(x)) < bounded, caution * diagonal, 0.0)
        model = gram + np.diag(near)
        found = nonnegative_quadratic(model, model @ x - slope, x[:bounded] > 0, bounded)
        if found is not None:
            return found, ridges[count:]
    return x, ridges[-1:]


def _grouped(
    training: Training, neurons: Neurons, sizes: Floats, steps: int, rtol: float
) -> Neurons:
    directions = neurons.weights / neurons.sizes[:, None]
    atoms, (k, width) = training.atoms(directions), neurons.outputs.shape
    q, c = training.columns.shape[1], training.loss.target.shape[1]
    columns = np.column_stack([atoms, training.columns])
    bound = training.loss.smoothness * float(np.linalg.norm(columns, 2)) ** 2
    x = np.concatenate(
        [(sizes[:, None] * neurons.outputs).reshape(k * width // c, c), neurons.free]
    )
    ahead, momentum = x, 1.0
    for _ in range(steps):
        moved = ahead - columns.T @ training.loss.gradient(columns @ ahead) / bound
        lengths = np.linalg.norm(moved[: len(x) - q].reshape(k, width), axis=1)
        shrink = np.maximum(1 - training.alpha / bound / np.maximum(lengths, 1e-300), 0.0)
        each = np.concatenate([np.repeat(shrink, width // c), np.ones(q)])
        following = moved * each[:, None]
        if float(((ahead - following) * (following - x)).sum()) > 0:
            momentum = 1.0
        rise = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / rise * (following - x)
        done = np.abs(following - x).max() <= rtol * np.abs(following).max(initial=1e-300)
        x, momentum = following, rise
        if done:
            break
    rows = x[: len(x) - q].reshape(k, width)
    lengths = np.linalg.norm(rows, axis=1)
    alive = (lengths > 0)[:, None]
    outputs = np.where(alive, rows / np.where(alive, lengths[:, None], 1.0), neurons.outputs)
    return Neurons(directions * lengths[:, None], outputs, x[len(x) - q :])
