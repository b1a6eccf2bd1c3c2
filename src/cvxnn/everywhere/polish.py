"""The last digits of a small network: the exact program on its patterns and their neighbours.

Where few rows and columns are, optimal neurons lie exactly on the kinks of samples, where descent
stalls. The convex program over the closed cones of the patterns at hand has no kinks; what its dual
point still wants is found by projection on cells and their neighbours.
"""

import numpy as np

from cvxnn.architectures import ReLU
from cvxnn.arrays import to_numpy
from cvxnn.everywhere import together
from cvxnn.everywhere.neurons import Floats, Neurons, Training
from cvxnn.everywhere.price import Priced
from cvxnn.everywhere.reweigh import reweigh
from cvxnn.gates import Gates, distinct
from cvxnn.gates.base import Masks, pattern_keys
from cvxnn.maps import Lift, Stacked
from cvxnn.program import Iterate, Program
from cvxnn.projection import Faces, gauges, nearest
from cvxnn.solve import Status, solve_part
from cvxnn.solvers import Reference

_ENTRIES = 20_000
"""Entries (patterns times samples times features) of a program that is worth starting."""
_GROWN = 4
"""How many times larger it may become."""
_NEAR = 0.03
"""Distance to a kink, as a cosine, at which the pattern behind it competes too."""

_CELLS = 300
"""Random directions whose cells are searched, beside those of the candidates."""


def affordable(training: Training, neurons: Neurons) -> bool:
    """Tell whether the last digits are cheap.

    With one output, whether the exact program on the patterns of these neurons is small.
    """
    if training.outputs > 1:
        return together.affordable(training, neurons)
    d, count = training.features.shape[1], len(neurons.weights) + 1
    entries = count * 2 ** min(d - 1, 3) * training.features.size
    return bool(d <= 12 and entries <= _ENTRIES)


def around(training: Training, neurons: Neurons) -> Masks:
    """Return the patterns (p, n) of the neurons and those behind their nearest kinks."""
    features = training.features
    lengths = np.linalg.norm(features, axis=1)
    d = features.shape[1]
    found = []
    for unit in neurons.weights / neurons.sizes[:, None]:
        products = features @ unit
        distance = np.where(lengths > 0, np.abs(products) / np.where(lengths > 0, lengths, 1), 1)
        nearby = np.argsort(distance)[: min(d - 1, 3)]
        nearby = nearby[distance[nearby] < _NEAR]
        for code in range(2 ** len(nearby)):
            mask = products >= 0
            mask[nearby] ^= (code >> np.arange(len(nearby))) % 2 == 1
            found.append(mask)
    return np.array(found, dtype=np.bool_).reshape(-1, len(features))


def program_of(training: Training, masks: Masks) -> Program:
    """Return the program of networks with these patterns (p, n)."""
    relu, gates = ReLU(bias=False), _gates(training, masks)
    return Program(
        loss=training.loss,
        lift=_lift(training, gates),
        penalty=relu.penalty(training.alpha, 1),
        free=training.columns,
        constraint=relu.constraint(training.features, gates, 1),
    )


def _lift(training: Training, gates: Gates) -> Lift:
    """Return the map of the ReLU program, with rows added up to samples."""
    if training.pooling is None:
        return ReLU(bias=False).lift(training.features, gates, 1)
    sums, (n, d) = training.pooling.sums, (len(training.loss.target), training.features.shape[1])
    factors = np.array([sums @ (mask[:, None] * training.features) for mask in gates.masks])
    factors = factors.reshape(len(gates), n, d)
    return Stacked(np.concatenate([factors, -factors]), 1)


def _gates(training: Training, masks: Masks) -> Gates:
    """Return gates with these masks; in given programs generators are only names."""
    return Gates(np.zeros((len(masks), training.features.shape[1])), masks)


def polish(training: Training, neurons: Neurons, candidates: Priced, tol: float) -> Neurons:
    """Return the best neurons over the patterns around these, and over what those still want.

    The objective never rises. `candidates` are where the search for missing patterns starts.
    Several outputs make that program hard, and descend on faces.
    """
    if training.outputs > 1:
        return together.polish(training, neurons, np.random.default_rng(0), tol)
    masks, best = around(training, neurons), neurons
    for _ in range(20):
        masks = distinct(_gates(training, masks)).masks
        if not len(masks) or masks.size * training.features.shape[1] > _GROWN * _ENTRIES:
            break
        program = program_of(training, masks)
        solution = solve_part(program, Reference(), tol=1e-10)
        if solution.status is Status.NUMERICAL:
            break
        best = min(best, _read(training, masks, solution.iterate), key=training.objective)
        dual = solution.iterate.dual[:, 0]
        wanted = missing(training, dual, candidates, masks, tol)
        if not len(wanted):
            break
        masks = np.concatenate([masks, wanted])
    thinner = reweigh(training, thin(training, best))
    close = training.objective(thinner) <= training.objective(best) * (1 + 1e-9)
    return thinner if close else best


def _read(training: Training, masks: Masks, iterate: Iterate) -> Neurons:
    blocks = iterate.blocks[:, :, 0]
    signs = np.repeat([1.0, -1.0], len(masks))[:, None]
    sizes = np.linalg.norm(blocks, axis=1)
    kept = sizes > 1e-9 * sizes.max(initial=0.0)
    return Neurons(blocks[kept], signs[kept], iterate.free)


def missing(
    training: Training, dual: Floats, candidates: Priced, masks: Masks, tol: float
) -> Masks:
    """Return patterns beyond `masks` whose cells hold a neuron of price above (1 + tol) alpha."""
    known = {key.tobytes() for key in pattern_keys(masks)}
    drawn = np.random.default_rng(0).standard_normal((_CELLS, training.features.shape[1]))
    starts = np.concatenate([candidates.directions, drawn]) @ training.features.T >= 0
    cells = distinct(_gates(training, starts)).masks
    if not len(cells):
        return cells
    pulls = training.pulls(dual[:, None])[:, 0]
    worth = gauges(program_of(training, cells), dual[:, None], enough=1 + tol)
    found = []
    for block in np.flatnonzero(to_numpy(worth) > 1 + tol):
        sign = 1.0 if block < len(cells) else -1.0
        top, point = climb(training.features, sign * pulls, cells[block % len(cells)])
        value = float(np.linalg.norm(point))
        reached = pattern_keys(top[None])[0].tobytes()
        if reached not in known and value > training.alpha * (1 + tol):
            known.add(reached)
            found.append(top)
    return np.array(found, dtype=np.bool_).reshape(-1, len(training.features))


def refine(training: Training, dual: Floats, found: Priced, most: int) -> Priced:
    """Return candidates with the best of `most` different cells climbed from, by `climb`.

    `dual` is what is asked of the rows, (N, s).
    """
    features, seen = training.features, set()
    directions, values = found.directions.astype(np.float64), found.values.astype(np.float64)
    products = directions[: 10 * most] @ features.T > 0
    for j, mask in enumerate(products):
        cell = (mask.tobytes(), found.outputs[j].tobytes())
        if cell in seen:
            continue
        seen.add(cell)
        _, point = climb(features, dual @ found.outputs[j].astype(np.float64), mask)
        length = float(np.linalg.norm(point))
        if length > values[j]:
            directions[j], values[j] = point / length, length
        if len(seen) == most:
            break
    order = np.argsort(-values)
    return Priced(directions[order], found.outputs[order], values[order])


def climb(features: Floats, dual: Floats, mask: Masks) -> tuple[Masks, Floats]:
    """Return a pattern and the point of its cell that the dual point wants most, (d,).

    The point's length is the maximum of dual' max(0, X u), |u| <= 1, over the closed cell: a
    projection on a cone. Where it lies on faces, the cells behind them are tried; the pattern
    returned is one with none better behind.
    """
    point, faces = _on_cell(features, dual, mask)
    value = float(np.linalg.norm(point))
    while True:
        for face in faces:
            other = mask.copy()
            other[face] = ~other[face]
            there, behind = _on_cell(features, dual, other)
            length = float(np.linalg.norm(there))
            if length > value * (1 + 1e-12) + 1e-300:
                mask, point, value, faces = other, there, length, behind
                break
        else:
            return mask, point


def _on_cell(features: Floats, dual: Floats, mask: Masks) -> tuple[Floats, Faces]:
    lengths = np.linalg.norm(features, axis=1)
    alive = np.flatnonzero(lengths > 0)
    rows = (np.where(mask, 1.0, -1.0) / np.where(lengths > 0, lengths, 1.0))[:, None] * features
    point, faces = nearest(rows[alive], features.T @ (mask * dual), np.zeros(0, dtype=np.int64))
    return point, alive[faces]


def thin(training: Training, neurons: Neurons) -> Neurons:
    """Return an inclusion-minimal network with the same fit and no larger a sum of sizes.

    While the neurons' activations are dependent, sizes move along a null vector until one is zero
    [Mishkin2023]; for one output.
    """
    sizes = neurons.sizes
    order = np.argsort(sizes)
    neurons, sizes = neurons.keep(order), sizes[order]
    units = neurons.weights / sizes[:, None]
    atoms = training.atoms(units) * neurons.outputs[:, 0]
    scale = np.linalg.norm(atoms, axis=0)
    left = np.flatnonzero(scale > 0)
    while len(left):
        _, values, right = np.linalg.svd(atoms[:, left] / scale[left], full_matrices=True)
        if len(left) <= atoms.shape[0] and values[-1] > 1e-9 * values[0]:
            break
        null = right[-1] / scale[left]
        null = null if null.sum() >= 0 else -null
        shares = np.where(null > 0, sizes[left] / np.where(null > 0, null, 1.0), np.inf)
        first = int(shares.argmin())
        sizes[left] = np.maximum(sizes[left] - shares[first] * null, 0.0)
        left = np.delete(left, first)
    return Neurons(units * sizes[:, None], neurons.outputs, neurons.free).keep(left)
