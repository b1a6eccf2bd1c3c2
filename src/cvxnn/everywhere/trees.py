"""Split trees: what a search leaves behind, and all that is needed to prove its bound again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.cells import CELL, ROOT, Bounds, Effort, Guess, bound
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.quadratics import Boxes, Rows
from cvxnn.everywhere.relaxed import Moments


@dataclass(frozen=True, eq=False)
class Tree:
    """A partition of the ball by splits of one coordinate each, in preorder, left child first.

    Children always part their parent, whatever the numbers are, so that the leaves cover the ball.
    """

    coordinate: NDArray[np.int64]
    """(m,), what each node splits; -1 for a leaf."""
    value: Floats
    """(m,), where."""
    start: Moments
    """Of directions, where the search for multipliers started."""
    upper: float
    """The bound on M / (unit alpha) that the leaves prove."""
    unit: float = 1.0
    """The search was for a proof of M <= unit alpha."""

    def sane(self, rank: int) -> bool:
        """Tell whether the numbers are those of a tree in so many dimensions."""
        mean, second, *rest = self.start
        shapes = np.shape(mean) == (rank,) and np.shape(second) == (rank, rank)
        return bool(
            shapes
            and np.shape(self.value) == np.shape(self.coordinate)
            and np.isfinite(self.value).all()
            and (np.abs(mean) <= 2).all()
            and (np.abs(second) <= 2).all()
            and all(0 < number < np.inf for number in rest)
            and 1e-9 < self.unit < 1e9
        )


def root(rows: Rows, start: Moments, effort: Effort = ROOT) -> tuple[Boxes, Bounds]:
    """Return the whole ball and its bound."""
    one = np.ones((1, rows.rank))
    boxes = Boxes(-one, one)
    guess = Guess(start.mean[None], start.second[None], np.zeros(1), np.ones(1), np.full(1, np.inf))
    blur = min(max(start.blur, 1e-7), 1.0)
    effort = replace(effort, blur=blur, floor=blur, memory=max(start.weight, 1.0))
    return boxes, bound(rows, boxes, guess, effort)


def halves(boxes: Boxes, coordinate: NDArray[np.int64], value: Floats) -> Boxes:
    """Return the lower parts of all boxes, and then the upper ones."""
    each = np.arange(len(value))
    lower, upper = boxes.high.copy(), boxes.low.copy()
    cut = np.clip(value, boxes.low[each, coordinate], boxes.high[each, coordinate])
    lower[each, coordinate] = upper[each, coordinate] = cut
    return Boxes(np.concatenate([boxes.low, upper]), np.concatenate([lower, boxes.high]))


def children(rows: Rows, boxes: Boxes, parents: Bounds) -> Bounds:
    """Return the bounds of both halves of every parent, none above its parent's."""
    return bound(rows, boxes, join([parents, parents]).guess, CELL)


def preorder(
    coordinate: list[int], value: list[float], pairs: list[tuple[int, int]]
) -> tuple[NDArray[np.int64], Floats]:
    """Return the nodes in preorder, given in any order with the numbers of each one's children."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if coordinate[node] >= 0:
            stack += reversed(pairs[node])
    return np.asarray(coordinate, dtype=np.int64)[order], np.asarray(value, dtype=float)[order]


def take(bounds: Bounds, index: NDArray[np.generic]) -> Bounds:
    """Return the bounds at `index`."""
    upper, value, direction, guess, spread = bounds
    return Bounds(upper[index], value[index], direction[index], guess.take(index), spread[index])


def join(parts: Sequence[Bounds]) -> Bounds:
    """Return all bounds in one batch."""
    return Bounds(
        upper=np.concatenate([part.upper for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        guess=Guess(
            *(np.concatenate(each) for each in zip(*(p.guess for p in parts), strict=True))
        ),
        spread=np.concatenate([part.spread for part in parts]),
    )


def families(coordinate: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return where every node's two children are, (m, 2), or None if this is no preorder tree.

    >>> families(np.array([3, -1, 0, -1, -1]))[[0, 2]]
    array([[1, 2],
           [3, 4]])
    """
    pairs = np.full((len(coordinate), 2), -1)
    stack: list[int] = []
    for node in range(len(coordinate) - 1, -1, -1):
        if coordinate[node] >= 0:
            if len(stack) < 2:
                return None
            pairs[node] = stack.pop(), stack.pop()
        stack.append(node)
    return pairs if stack == [0] else None
