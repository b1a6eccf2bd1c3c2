"""Climbing from the relaxed network's dual point to the network's own, proof by proof.

The point (1 - t) V + t W between the network's V, which asks for an exact proof, and the relaxed
network's W, which nearly has one, bounds the objective the better the smaller t, and is the harder
to prove feasible. Every rung gives a bound, also one that time did not suffice for.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cvxnn.everywhere.duals import dual_value, scaled
from cvxnn.everywhere.neurons import Floats, Training
from cvxnn.everywhere.quadratics import Rows
from cvxnn.everywhere.relaxed import Moments
from cvxnn.everywhere.search import Found, replay, search
from cvxnn.everywhere.trees import Tree
from cvxnn.everywhere.views import views

SHRINK = 0.6
"""Each rung aims at this share of the gap of the one before."""
LEAP = 0.3
"""The same while there is time for this many more rungs like the last."""
PLENTY = 10
NEAR = 1.5
"""A rung that would end this close to the tolerance, as a multiple, aims at the tolerance."""
LIGHT = 10.0
"""How many rounds of play the relaxed network's moments count for in the climb."""

Starts = tuple[tuple[Moments, Moments], ...]
"""Where searches start: for every view of the outputs, for v and for -v."""
_ROUNDING = 1e-13
"""Share of the largest length, and of its square in products, that is rounding."""
_FAR = 1e3
"""Multiple of a unit beyond which a bound is computed again in units of itself: less is rounded."""


class Space(NamedTuple):
    """The data in their row space, leading directions first; M depends on nothing else."""

    features: Floats
    """(n, r)."""
    turn: Floats
    """(r, d), orthonormal rows."""


class Rung(NamedTuple):
    """A feasible dual point and the trees that prove it so."""

    lower: float
    dual: Floats
    trees: tuple[Tree, ...]
    """For every view of the outputs, of v and of -v."""
    seen: Floats
    """Directions of large value, (m, d)."""
    value: float
    """The largest multiple of alpha that a direction was seen to attain before scaling."""
    seconds: float
    """That it took."""


class Goal(NamedTuple):
    """What a climb is after."""

    dual: Floats
    """The network's."""
    objective: float
    tol: float
    until: float
    """Wall clock."""

    @property
    def left(self) -> float:
        """Return the seconds left."""
        return self.until - time.perf_counter()


def row_space(features: Floats) -> Space:
    """Return the features in their leading singular directions, those at rounding level dropped."""
    if not features.any():
        return Space(features[:, :0], np.zeros((0, features.shape[1])))
    gram = features.T @ features
    lengths = np.sqrt(np.diag(gram))
    if np.abs(gram - np.diag(lengths**2)).max() <= _ROUNDING * lengths.max() ** 2:
        # of equal lengths any rotation would be as good, and rounding would choose
        order = np.argsort(-np.round(lengths / lengths.max(), 6), kind="stable")
        order = order[lengths[order] > _ROUNDING * lengths.max()]
        return Space(np.ascontiguousarray(features[:, order]), np.eye(len(lengths))[order])
    _, sizes, turn = np.linalg.svd(features, full_matrices=False)
    turn = turn[sizes > 1e-13 * sizes[0]]
    return Space(np.ascontiguousarray(features @ turn.T), turn)


def rung(
    training: Training,
    space: Space,
    dual: Floats,
    starts: Starts,
    *,
    units: Floats | None = None,
    seconds: float = 0.0,
    order: Sequence[int] | None = None,
) -> Rung:
    """Prove a multiple of `dual` (n, c) feasible.

    A joint neuron's value is bounded by what it attains of every view; a search proves
    M <= unit alpha for its view, where it can. `order` tells which tree to make first; what time it
    leaves goes to the others.
    """
    began = time.perf_counter()
    until = began + seconds
    pulls = training.pulls(dual)
    seen_from = views(pulls)
    columns, outputs = pulls @ seen_from.directions.T, len(seen_from.directions)
    units = np.ones(outputs) if units is None else units
    found: dict[int, Found] = {}
    for k in range(2 * outputs) if order is None else order:
        left = max(until - time.perf_counter(), 0.0) / (2 * outputs - len(found))
        sign = 1.0 - 2.0 * (k % 2)
        unit = training.alpha * float(units[k // 2])
        rows = Rows(space.features, sign * columns[:, k // 2], unit)
        found[k] = search(rows, starts[k // 2][k % 2], seconds=left)
    each = [found[k] for k in range(2 * outputs)]
    if (far := max(one.upper for one in each)) > _FAR and np.isfinite(far):
        left = max(until - time.perf_counter(), 0.0)
        more = units * far
        return rung(training, space, dual, starts, units=more, seconds=left, order=order)
    proved = np.asarray([one.upper for one in each]).reshape(-1, 2).max(axis=1) * units
    seen = np.asarray([one.value for one in each]).reshape(-1, 2).max(axis=1) * units
    missed = seen_from.missed(space.features, pulls) / training.alpha
    lower, point, scale = scaled(training, dual, seen_from.joined(proved) + missed)
    trees = tuple(
        replace(one.tree, unit=float(units[k // 2] * scale)) for k, one in enumerate(each)
    )
    directions = np.stack([one.direction for one in each]) @ space.turn
    passed = time.perf_counter() - began
    return Rung(lower, point, trees, directions, float(seen.max()), passed)


def climb(training: Training, space: Space, starts: Starts, first: Rung, goal: Goal) -> Rung:
    """Return the best rung between the network's dual point and the first rung's, one output.

    A direction that refutes a rung shortens the network's end.
    """
    best, seen, end, objective = first, [first.seen], goal.dual, goal.objective
    # away from the relaxed network's own dual point its moments are a guess like any other
    starts = tuple((up._replace(weight=LIGHT), down._replace(weight=LIGHT)) for up, down in starts)
    while (gap := objective - best.lower) > goal.tol * objective and goal.left > 0:
        share = LEAP if goal.left > PLENTY * best.seconds else SHRINK
        close = share * gap <= NEAR * goal.tol * objective
        wanted = objective - (0.98 * goal.tol * objective if close else share * gap)
        point = _between(training, end, first.dual, wanted)
        order = np.argsort([len(tree.value) * tree.upper for tree in best.trees])
        found = rung(
            training, space, point, starts, seconds=goal.left, order=[int(k) for k in order]
        )
        seen.append(found.seen)
        best = max(best, found, key=lambda one: one.lower)
        if found.value > 1:
            end = end / _largest(training, found.seen, end, 1 + 1e-3)
        elif best.lower < wanted:  # out of time, or of reach
            break
    return best._replace(seen=np.concatenate(seen))


def _between(training: Training, end: Floats, first: Floats, wanted: float) -> Floats:
    """Return the point of that value nearest to `first`; `end` if none has it."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if dual_value(training, (1 - middle) * end + middle * first) >= wanted:
            low = middle
        else:
            high = middle
    return (1 - low) * end + low * first


def _largest(training: Training, directions: Floats, dual: Floats, least: float) -> float:
    """Return the largest value / alpha that a direction attains, of either sign, or `least`."""
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    hidden = np.maximum(training.features @ (directions / np.maximum(lengths, 1e-300)).T, 0)
    return max(least, float(np.abs(hidden.T @ training.pulls(dual)).max()) / training.alpha)


def proved_gauge(training: Training, space: Space, dual: Floats, trees: tuple[Tree, ...]) -> float:
    """Return the bound on M / alpha that the trees prove of `dual`, computed again."""
    pulls = training.pulls(dual)
    ends, seen_from = [], views(pulls)
    columns = pulls @ seen_from.directions.T
    for k, tree in enumerate(trees):
        sign = 1.0 if k % 2 == 0 else -1.0
        rows = Rows(space.features, sign * columns[:, k // 2], training.alpha * tree.unit)
        ends.append(replay(rows, tree) * tree.unit)
    missed = seen_from.missed(space.features, pulls) / training.alpha
    return seen_from.joined(np.asarray(ends).reshape(-1, 2).max(axis=1)) + missed
