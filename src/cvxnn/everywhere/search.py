"""Best-first branch and bound for M(v): an upper bound at any time, and a tree that proves it."""

import heapq
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.cells import BRIEF, ROOT, Bounds, Effort
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.quadratics import Boxes, Rows
from cvxnn.everywhere.relaxed import Moments
from cvxnn.everywhere.trees import Tree, children, families, halves, join, preorder, root, take

BATCH = 128
"""Boxes that are split at a time."""
MARGIN = 0.35
"""A split leaves at least this share of the width on each side."""
ROOM = 4e7
"""About so many numbers the open boxes of a search may hold."""


class Found(NamedTuple):
    """What a search knows of M(v) / alpha."""

    value: float
    """Attained at the direction, (d,)."""
    direction: Floats
    tree: Tree

    @property
    def upper(self) -> float:
        """Return what the tree proves."""
        return self.tree.upper


def search(rows: Rows, start: Moments, *, seconds: float = 0.0) -> Found:
    """Bound M(v) / alpha until it is at most 1, until it is known to exceed 1, or time is up.

    The boxes of the highest bounds are halved, in the coordinate whose width costs most, near the
    mean of the maximisers met there. Without `seconds` the bound is that of the whole ball, until
    six rounds on it gain less than a thousandth.

    >>> from cvxnn.everywhere.relaxed import isotropic
    >>> rows = Rows(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0]), alpha=3.0)
    >>> found = search(rows, isotropic(2), seconds=1.0)
    >>> bool(found.upper <= 1)
    True
    """
    until = time.perf_counter() + seconds
    frontier = _Frontier(rows, start, effort=ROOT if seconds else BRIEF)
    most = ROOM / (rows.rank + 6) ** 2
    while frontier.heap and frontier.value <= 1 and len(frontier.heap) < most:
        if time.perf_counter() >= until:
            break
        frontier.split()
    return frontier.found()


def replay(rows: Rows, tree: Tree) -> float:
    """Return a bound on M(v) / alpha, by bounding the leaves of the tree again; inf if it is none.

    Where rounding leaves one above the tree's claim, as on another machine, the search goes on
    below it, to at most twice the nodes of the tree.
    """
    pairs = families(tree.coordinate)
    if pairs is None or not tree.sane(rows.rank):
        return np.inf
    upper = _replayed(rows, tree, pairs)
    if 0 < tree.upper < min(upper, 1.0):
        # leaves are done below 1, and by how much is a matter of rounding: in other units they are
        # done below the claim
        there = rows.over(tree.upper)
        upper = min(upper, tree.upper * _replayed(there, replace(tree, upper=1.0), pairs))
    return upper


def _replayed(rows: Rows, tree: Tree, pairs: NDArray[np.int64]) -> float:
    frontier = _Frontier(rows, tree.start, _Guide(tree, pairs))
    while frontier.heap and frontier.upper > tree.upper and len(frontier) < 2 * len(pairs) + 200:
        frontier.split()
    return frontier.upper


class _Guide(NamedTuple):
    """A tree whose splits are to be made again."""

    tree: Tree
    pairs: NDArray[np.int64]


class _Frontier:
    """Open boxes, the highest bound first, and the tree that led to them."""

    def __init__(
        self, rows: Rows, start: Moments, guide: _Guide | None = None, effort: Effort = ROOT
    ) -> None:
        self.rows, self.start, self.guide = rows, start, guide
        self.heap: list[tuple[float, int]] = []
        self.open: dict[int, tuple[Boxes, Bounds]] = {}
        self.coordinate: list[int] = []
        self.cut: list[float] = []
        self.pairs: list[tuple[int, int]] = []
        self.place: list[int] = []
        """Where each node is in the guide; -1 for nowhere."""
        self.closed = self.value = 0.0
        self.direction = np.zeros(rows.rank)
        place = [0 if guide is not None else -1]
        if len(rows.weights):
            self._add(*root(rows, start, effort), self._grow(place))
        else:
            self._grow(place)

    def __len__(self) -> int:
        return len(self.coordinate)

    @property
    def upper(self) -> float:
        """Return the highest bound of all leaves."""
        return max(self.closed, -self.heap[0][0]) if self.heap else self.closed

    def found(self) -> Found:
        """Return what is known so far."""
        upper = max(self.upper, self.value)
        tree = Tree(*preorder(self.coordinate, self.cut, self.pairs), self.start, upper)
        return Found(self.value, self.direction, tree)

    def split(self) -> None:
        """Halve the boxes of the highest bounds."""
        nodes, boxes, bounds = self._pop()
        coordinate, cut = _cuts(boxes, bounds)
        pairs = np.full((len(nodes), 2), -1)
        if self.guide is not None:
            place = np.asarray([self.place[node] for node in nodes])
            told = np.flatnonzero((place >= 0) & (self.guide.tree.coordinate[place] >= 0))
            place = place[told]
            coordinate[told] = np.minimum(self.guide.tree.coordinate[place], self.rows.rank - 1)
            cut[told] = self.guide.tree.value[place]
            pairs[told] = self.guide.pairs[place]
        both = halves(boxes, coordinate, cut)
        born = self._grow([int(k) for k in pairs.T.ravel()])
        for k, node in enumerate(nodes):
            self.coordinate[node], self.cut[node] = int(coordinate[k]), float(cut[k])
            self.pairs[node] = born[k], born[len(nodes) + k]
        self._add(both, children(self.rows, both, bounds), born)

    def _add(self, boxes: Boxes, bounds: Bounds, nodes: list[int]) -> None:
        """Put the boxes that may exceed 1 on the heap."""
        best = int(bounds.value.argmax())
        if bounds.value[best] > self.value:
            self.value, self.direction = float(bounds.value[best]), bounds.direction[best]
        for k, node in enumerate(nodes):
            upper = float(bounds.upper[k])
            if not upper <= 1:
                heapq.heappush(self.heap, (-upper, node))
                one = np.array([k])
                self.open[node] = Boxes(boxes.low[one], boxes.high[one]), take(bounds, one)
            else:
                self.closed = max(self.closed, upper)

    def _grow(self, place: list[int]) -> list[int]:
        """Make new leaves and return their numbers."""
        nodes = list(range(len(self), len(self) + len(place)))
        self.coordinate += [-1] * len(place)
        self.cut += [0.0] * len(place)
        self.pairs += [(-1, -1)] * len(place)
        self.place += place
        return nodes

    def _pop(self) -> tuple[list[int], Boxes, Bounds]:
        """Take the highest boxes off the heap, stacked."""
        nodes = [heapq.heappop(self.heap)[1] for _ in range(min(BATCH, len(self.heap)))]
        taken = [self.open.pop(node) for node in nodes]
        boxes = Boxes(*(np.concatenate(part) for part in zip(*(b for b, _ in taken), strict=True)))
        return nodes, boxes, join([bounds for _, bounds in taken])


def _cuts(boxes: Boxes, bounds: Bounds) -> tuple[NDArray[np.int64], Floats]:
    coordinate = bounds.spread.argmax(axis=1)
    each = np.arange(len(coordinate))
    low, high = boxes.low[each, coordinate], boxes.high[each, coordinate]
    middle = bounds.guess.mean[each, coordinate]
    room = MARGIN * (high - low)
    return coordinate, np.clip(middle, low + room, high - room)
