"""Matrices by their factors of rank one: attention heads, whose weight decay is a nuclear norm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.functions.cells import cells_as_columns
from cvxnn.maps import Heads
from cvxnn.maps.heads import Weights
from cvxnn.program import Program

Floats = NDArray[np.float64]

AT_ONCE = 48
"""Heads of a gate that are added in a round: what they pool takes n d numbers each."""


def heads_of(
    program: Program, blocks: Array, share: float, most: int | None = None
) -> "HeadFactors":
    """Return balanced heads of blocks, of at least a share of their block's largest one.

    Of every block the largest, at most as many as `most`.
    """
    lift = cast(Heads, program.lift)
    vectors, owners = [np.zeros((0, sum(_sizes(lift))))], [np.zeros(0, dtype=np.int64)]
    host = to_numpy(cells_as_columns(blocks, lift.values))
    for block in np.flatnonzero(host.any(axis=(1, 2))):
        left, sizes, right = (each[:most] for each in singular(host[block], share))
        roots = np.sqrt(sizes)[:, None]
        vectors.append(np.concatenate([roots * left, roots * right], axis=1))
        owners.append(np.full(len(sizes), block))
    return HeadFactors(program, np.concatenate(vectors), np.concatenate(owners))


def singular(matrix: Floats, share: float) -> tuple[Floats, Floats, Floats]:
    """Return the singular triples of at least a share of the largest, vectors in rows."""
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    kept = sizes > share * sizes[0]
    return left.T[kept], sizes[kept], right[kept]


def _sizes(lift: Heads) -> tuple[int, int]:
    """Return the entries of W1 and of W2."""
    return lift.side**2, lift.values * lift.outputs


@dataclass(frozen=True, eq=False)
class HeadFactors:
    """w_j = (W1, W2) of every head, one after the other, and its gate."""

    program: Program
    vectors: Floats
    """(m, d * d + v * c), gate by gate, for values of width v."""
    owners: NDArray[np.int64]
    """(m,), ascending."""

    cost = 0.5

    @property
    def _lift(self) -> Heads:
        return cast(Heads, self.program.lift)

    def _weights(self, vectors: Floats) -> Weights:
        d, v, c = self._lift.side, self._lift.values, self._lift.outputs
        found = []
        for gate in np.unique(self.owners):
            mine = vectors[self.owners == gate]
            pair = mine[:, : d * d].reshape(-1, d, d), mine[:, d * d :].reshape(-1, v, c)
            first, second = (like(each, double(self.program.free)) for each in pair)
            found.append((int(gate), first, second))
        return found

    def composed(self, vectors: Floats) -> Array:
        """Return the blocks (p, v * d^2, c) that are the sums of these heads."""
        (p, size, c), d = self._lift.in_shape, self._lift.side
        blocks = np.zeros((p, size, c))
        for gate in np.unique(self.owners):
            mine = vectors[self.owners == gate]
            product = mine[:, : d * d].T @ mine[:, d * d :]  # (l, k) by (m, c)
            turned = product.reshape(d * d, self._lift.values, c).swapaxes(0, 1)
            blocks[gate] = turned.reshape(size, c)
        return like(blocks, double(self.program.free))

    def image(self, vectors: Floats) -> tuple[Array, Callable[[Array], Floats]]:
        """Return the outputs of the heads (n, c), and the way back."""
        free, lift = double(self.program.free), self._lift
        xp = namespace(free)
        if not len(vectors):
            zero = xp.zeros(lift.out_shape, dtype=free.dtype, device=device(free))
            return zero, lambda pull: vectors
        weights = self._weights(vectors)
        total, kept = lift.attend(weights)

        def back(pull: Array) -> Floats:
            parts = [
                [to_numpy(each).reshape(len(each), -1) for each in pair]
                for _, *pair in lift.slopes(weights, kept, pull)
            ]
            return np.concatenate([np.concatenate(pair, axis=1) for pair in parts])

        return total, back
