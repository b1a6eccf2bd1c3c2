"""The last digits of a small network of several outputs: descent on faces, neuron by neuron.

Optimal neurons lie on the kinks of samples, where descent stalls. Here those rows are held at zero:
every neuron moves in the subspace in which they vanish, and there the objective is smooth. What
leaves a face is found by pricing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.merge import fuse
from cvxnn.everywhere.neurons import Floats, Neurons, Training, pulled
from cvxnn.everywhere.price import Priced, price
from cvxnn.functions import GroupNorm
from cvxnn.gates.base import Masks
from cvxnn.linalg import descend_smooth
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.solve import Status, solve_part
from cvxnn.solvers import Reference

_ENTRIES = 60_000
"""Neurons times entries of X up to which this is worth its time."""
_WIDTHS = (1e-2, 1e-4)
"""Distances to a kink, as sines, within which a neuron is put onto it, one after the other."""
_STEPS = 300
_SAME = 1e-8
"""One less the cosine from which neurons are one."""
_ROUNDS, _PATIENCE, _GAIN = 20, 2, 1e-9
"""Rounds at most; those without a relative gain after which it gives up; what counts as one."""
_COLUMNS, _ADD, _WANTED = 3, 30, 1e-6
"""How often neurons are added in a round, how many, and the shortfall of their price at most."""
_ALIKE = 1 - 1e-5
"""Cosine above which the better of two candidates is enough."""
_EVEN = 1e-10
"""Relative rise of the objective at which fewer neurons are preferred."""
_FINE, _TRIES = 1e-9, 2
"""Relative gap of the problem of the output weights, and runs of the interior point method."""
_TINY = 1e-6
"""Size of a new neuron, in units of the largest."""
_EMPTY = 1e-9
"""Size, in units of the largest, of neurons that are left out."""


class Held(NamedTuple):
    """The faces that neurons are held on."""

    spaces: Floats
    """(k, d, d), projections onto the subspace in which the rows vanish."""
    rows: Masks
    """(n, k), the rows that do."""


class Tried(NamedTuple):
    """A network and what it is worth."""

    neurons: Neurons
    value: float
    """Its objective."""
    worst: float
    """The largest price that was found at its dual point, over alpha."""


def affordable(training: Training, neurons: Neurons) -> bool:
    """Tell whether descent on faces is cheap for networks of about so many neurons."""
    cells = 1 if training.pooling is None else training.pooling.cells
    return cells == 1 and (len(neurons.weights) + 1) * training.features.size <= _ENTRIES


def polish(training: Training, neurons: Neurons, rng: np.random.Generator, tol: float) -> Neurons:
    """Return the best network that descents on faces and pricing find from these neurons.

    It ends when no neuron's price exceeds (1 + tol) alpha, or when
    some rounds gained nothing. Of networks that are as good it takes the one of least prices.
    """
    best, idle = Tried(neurons, training.objective(neurons), np.inf), 0
    for _ in range(_ROUNDS):
        found = _completed(training, settle(training, neurons), rng, tol)
        idle = 0 if found.value < best.value * (1 - _GAIN) else idle + 1
        best, neurons = _better(best, found), found.neurons
        if idle == _PATIENCE or found.worst <= 1 + tol:
            break
    fewer = resized(training, _fused(best.neurons))
    if training.objective(fewer) > best.value * (1 + _EVEN):
        return best.neurons
    return fewer if _largest(training, fewer, rng) <= max(best.worst, 1 + tol) else best.neurons


def _better(first: Tried, second: Tried) -> Tried:
    if abs(first.value - second.value) <= _EVEN * first.value:
        return min(first, second, key=lambda tried: tried.worst)
    return min(first, second, key=lambda tried: tried.value)


def _priced(training: Training, neurons: Neurons, rng: np.random.Generator) -> Priced:
    own = neurons.weights / neurons.sizes[:, None]
    dual = training.pulls(training.dual(neurons))
    return price(training.features, dual, rng, steps=40, own=own)


def _largest(training: Training, neurons: Neurons, rng: np.random.Generator) -> float:
    return float(_priced(training, neurons, rng).values[0]) / training.alpha


def _completed(training: Training, neurons: Neurons, rng: np.random.Generator, tol: float) -> Tried:
    """Return the neurons with what their dual point wants.

    The convex problem of the output weights, solved to the end, gives dual points that descent
    does not: its prices are right to second order in the directions.
    """
    for count in range(_COLUMNS + 1):
        priced = _priced(training, neurons, rng)
        worst = float(priced.values[0]) / training.alpha
        if worst <= 1 + tol or count == _COLUMNS:
            break
        neurons = resized(training, _joined(neurons, priced, training.alpha * (1 - _WANTED)))
    return Tried(neurons, training.objective(neurons), worst)


def resized(training: Training, neurons: Neurons) -> Neurons:
    """Return the neurons with the best output weights for their directions, the needless dropped.

    minimise L(Phi G + F b) + alpha sum_j |g_j|, by an interior point method.
    """
    if not len(neurons.weights):
        return neurons
    directions = neurons.weights / neurons.sizes[:, None]
    atoms = training.atoms(directions)
    program = Program(
        loss=training.loss,
        lift=Gated(np.ones((len(atoms), 1)), atoms, neurons.outputs.shape[1]),
        penalty=GroupNorm(training.alpha),
        free=training.columns,
    )
    solution = solve_part(program, Reference(), tol=_FINE, max_iter=_TRIES)
    if solution.status is Status.NUMERICAL:
        return neurons
    rows = solution.iterate.blocks[:, 0, :]
    sizes = np.linalg.norm(rows, axis=1)
    kept = sizes > _EMPTY * sizes.max(initial=0.0)
    directions, rows, sizes = directions[kept], rows[kept], sizes[kept, None]
    found = Neurons(directions * sizes, rows / sizes, solution.iterate.free)
    return min(neurons, found, key=training.objective)


def settle(training: Training, neurons: Neurons) -> Neurons:
    """Return the best of descents with no kink held, and with those held that are near.

    They start from the neurons and from fewer, the nearly equal ones made one, which are preferred
    where they end as low.
    """
    best, starts = neurons, [neurons] if len(neurons.weights) else []
    fewer = fuse(neurons)
    if len(fewer.weights) < len(neurons.weights):
        starts.append(fewer)
    for start in starts:
        found = [_fused(descend(training, start, 0.0, _STEPS // 5))]
        found += [_fused(descend(training, found[0], width, _STEPS)) for width in _WIDTHS]
        least = min(found, key=training.objective)
        leaner = len(least.weights) < len(best.weights)
        if training.objective(least) < training.objective(best) * (1 + _GAIN * leaner):
            best = least
    return best


def hold(features: Floats, directions: Floats, width: float) -> Held:
    """Return the faces within `width` of unit `directions` (k, d), the nearest rows first.

    Rows are held as long as a direction is left to each neuron.

    >>> held = hold(np.eye(2), np.array([[1.0, 0.001], [0.6, 0.8]]), 0.01)
    >>> held.spaces[0].tolist(), held.rows.T.tolist()
    ([[1.0, 0.0], [0.0, 0.0]], [[False, True], [False, False]])
    """
    lengths = np.linalg.norm(features, axis=1)
    units = features / np.where(lengths > 0, lengths, 1.0)[:, None]
    distance = np.where(lengths[:, None] > 0, np.abs(units @ directions.T), np.inf)
    k, d = directions.shape
    spaces, rows = np.tile(np.eye(d), (k, 1, 1)), np.zeros((len(features), k), dtype=np.bool_)
    for j in range(k):
        (near,) = np.nonzero(distance[:, j] < width)
        left = d
        for i in near[np.argsort(distance[near, j], kind="stable")]:
            part = spaces[j] @ units[i]
            length = float(np.linalg.norm(part))
            if length > 1e-9:
                if left == 1:
                    break
                spaces[j] -= np.outer(part, part) / length**2
                left -= 1
            rows[i, j] = True
    return Held(spaces, rows)


def descend(training: Training, neurons: Neurons, width: float, steps: int) -> Neurons:
    """Return the neurons, put onto the faces within `width`, after L-BFGS on both layers there."""
    sizes = neurons.sizes
    held = hold(training.features, neurons.weights / sizes[:, None], width)
    objective = _Objective(training, held, neurons.outputs.shape[1])
    roots = np.sqrt(sizes)[:, None]
    inner = objective.turned(neurons.weights / roots)
    start = np.concatenate([x.ravel() for x in (inner, roots * neurons.outputs, neurons.free)])
    inner, outer, free = objective.unpack(descend_smooth(objective, start, steps, ftol=1e-15))
    lengths = np.linalg.norm(outer, axis=1, keepdims=True)
    moved = Neurons(inner * lengths, outer / np.where(lengths > 0, lengths, 1.0), free)
    sizes = moved.sizes
    return moved.keep(sizes > _EMPTY * sizes.max(initial=0.0))


class _Objective:
    """Mean loss + alpha / 2 (|inner|^2 + |outer|^2) of neurons on their faces, and its gradient."""

    def __init__(self, training: Training, held: Held, outputs: int) -> None:
        self.training, self.spaces, self.alive = training, held.spaces, ~held.rows
        (k, d), q = held.spaces.shape[:2], training.columns.shape[1]
        self.shapes = (k, d), (k, outputs), (q, outputs)
        self.ends = [k * d, k * (d + outputs)]

    def turned(self, weights: Floats) -> Floats:
        """Return the weights (k, d) in the neurons' subspaces."""
        return np.asarray((self.spaces @ weights[:, :, None])[:, :, 0])

    def unpack(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return first-layer and output weights and free coefficients of a flat vector."""
        parts = np.split(z, self.ends)
        inner, outer, free = (
            part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)
        )
        return self.turned(inner), outer, free

    def __call__(self, z: Floats) -> tuple[float, Floats]:
        training = self.training
        inner, outer, free = self.unpack(z)
        hidden = np.maximum(training.features @ inner.T, 0.0) * self.alive
        fit = training.mix(hidden, outer) + training.columns @ free
        pull = training.loss.gradient(fit)
        push = training.pulls(pull)
        back = self.turned(pulled(training.features, hidden, push, outer))
        parts = (back, hidden.T @ push, training.columns.T @ pull)
        slope = np.concatenate([part.ravel() for part in parts])
        decay = z[: self.ends[1]]
        slope[: self.ends[1]] += training.alpha * decay
        return training.loss.value(fit) + training.alpha / 2 * float(decay @ decay), slope


def _fused(neurons: Neurons) -> Neurons:
    """Return the neurons with those of one direction made one: by the triangle inequality no worse.

    Their output weights are added up.
    """
    sizes = neurons.sizes
    units = neurons.weights / sizes[:, None]
    owner: NDArray[np.int64] = np.full(len(sizes), -1)
    for j in np.argsort(-sizes):
        if owner[j] < 0:
            owner[(units @ units[j] > 1 - _SAME) & (owner < 0)] = j
    first = np.unique(owner)
    sums = np.zeros((len(sizes), neurons.outputs.shape[1]))
    np.add.at(sums, owner, sizes[:, None] * neurons.outputs)
    lengths = np.linalg.norm(sums[first], axis=1, keepdims=True)
    outputs = sums[first] / np.where(lengths > 0, lengths, 1.0)
    return Neurons(units[first] * lengths, outputs, neurons.free).keep(lengths[:, 0] > 0)


def _joined(neurons: Neurons, priced: Priced, least: float) -> Neurons:
    """Return the neurons and the best different candidates of a price above `least`, tiny ones."""
    (wanted,) = np.nonzero(priced.values > least)
    chosen: list[int] = []
    for j in wanted:
        if len(chosen) == _ADD:
            break
        if not (priced.directions[chosen] @ priced.directions[j] > _ALIKE).any():
            chosen.append(int(j))
    size = _TINY * (float(neurons.sizes.max(initial=0.0)) or 1.0)
    return Neurons(
        np.concatenate([neurons.weights, size * priced.directions[chosen]]),
        np.concatenate([neurons.outputs, priced.outputs[chosen]]),
        neurons.free,
    )
