"""The semidefinite program of a potential of squared ReLU neurons, and its bounds.

A potential Phi(x) = sum_j a_j max(0, z.w_j)^2 with z = x or (x, 1) is, on the pattern D of its
neurons, a quadratic form S with gradient 2 E S z and Laplacian 2 tr E S E', E the first d rows of
the identity. S is a difference of sums of w w' over the pattern's cone; here these are relaxed to
positive semidefinite matrices with a'S b >= 0 for any two walls a, b of the cone, which is exact
where there are at most four walls: with A their rows S is a sum of such w w' iff A S A' is
completely positive, which up to four rows nonnegative entries suffice for [WangChen2022].
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial import ConvexHull, QhullError

from cvxnn.everywhere.neurons import Floats
from cvxnn.gates import Gates
from cvxnn.solvers.standard import conic

_ROUNDING = 1e-13
"""What eigenvalues are off by, relative to the largest, and what that takes from a bound."""


class Dual(NamedTuple):
    """Multipliers of the gradients at the samples, and of the cones' walls."""

    pull: Floats
    """(n, d)."""
    walls: tuple[Floats, ...]
    """For every block, one number >= 0 a pair of walls."""


class Answer(NamedTuple):
    """What the solver found."""

    matrices: Floats
    """S of every pattern, those that add first, (2p, D, D)."""
    dual: Dual
    value: float


def walls_of(rows: Floats, inside: Floats) -> Floats:
    """Return those rows (k, D) without which {u : rows u >= 0} would be larger; `inside` is in it.

    Rows over their product with a point inside are points of a plane; those of the hull's corners
    are the walls.

    >>> walls_of(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 1.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    heights = rows @ inside
    rows, heights = rows[heights > 0], heights[heights > 0]
    if len(rows) <= 1 or rows.shape[1] == 1:
        return rows[:1]
    across = np.linalg.svd(inside[None])[2][1:]
    places: Floats = (rows / heights[:, None]) @ across.T
    if places.shape[1] == 1:
        ends = np.unique([int(places[:, 0].argmin()), int(places[:, 0].argmax())])
        return np.asarray(rows[ends])
    try:
        return np.asarray(rows[np.sort(ConvexHull(places).vertices)])
    except QhullError:  # too few rows for a hull: all of them are walls or repeat one
        return rows


@dataclass(frozen=True, eq=False)
class Directions:
    """minimise mean_n (|g_n|^2 / 2 + t_n + s_n.g_n) + alpha sum tr S, g and t of the potential."""

    features: Floats
    """z, (n, D)."""
    score: Floats
    """s, (n, d), the gradient of the target's log density at the samples."""
    gates: Gates

    @property
    def signs(self) -> Floats:
        """1 for blocks that add, -1 for the others, (2p,)."""
        return np.repeat([1.0, -1.0], len(self.gates))

    @cached_property
    def walls(self) -> tuple[Floats, ...]:
        """The walls of every pattern's cone, of unit length."""
        lengths = np.linalg.norm(self.features, axis=1)
        units = self.features[lengths > 0] / lengths[lengths > 0, None]
        masks = self.gates.masks[:, lengths > 0]
        return tuple(
            walls_of(np.where(mask[:, None], units, -units), rule)
            for mask, rule in zip(masks, self.gates.generators, strict=True)
        )

    @cached_property
    def pairs(self) -> tuple[Floats, ...]:
        """The symmetric matrices (a b' + b a') / 2 of any two walls, (k, D, D), by pattern."""
        found = []
        for walls in self.walls:
            first, second = np.triu_indices(len(walls), 1)
            outer = walls[first][:, :, None] * walls[second][:, None, :]
            found.append((outer + outer.transpose(0, 2, 1)) / 2)
        return tuple(found)

    @cached_property
    def curls(self) -> Floats:
        """What the Laplacian's mean makes of every pattern: 2 k_j / n on E'E, (p,)."""
        return np.asarray(2 * self.gates.masks.mean(axis=1))

    def forms(self, pull: Floats) -> Floats:
        """Return (p, D, D), the linear part of the objective in S for multipliers (n, d)."""
        n, wide = self.features.shape
        d = self.score.shape[1]
        outer = (pull[:, :, None] * self.features[:, None, :]).reshape(n, -1)
        sums = (self.gates.masks.astype(float) @ outer).reshape(-1, d, wide)
        form = np.zeros((len(self.gates), wide, wide))
        form[:, :d, :] += sums
        form[:, :, :d] += sums.transpose(0, 2, 1)
        form[:, range(d), range(d)] += self.curls[:, None]
        return form

    def lack(self, dual: Dual) -> float:
        """Return the least alpha at which the multipliers are feasible, rounding included."""
        form = self.forms(dual.pull)
        worst = -np.inf
        for k, sign in enumerate(self.signs):
            j = k % len(self.gates)
            matrix = sign * form[j] - np.tensordot(dual.walls[k], self.pairs[j], axes=1)
            values = np.linalg.eigvalsh(matrix)
            worst = max(worst, -float(values[0]) + _ROUNDING * float(np.abs(values).max()))
        return worst

    def dual_value(self, dual: Dual) -> float:
        """Return what feasible multipliers prove: -n/2 sum |pull - score / n|^2."""
        n = len(self.score)
        return -n / 2 * float(((dual.pull - self.score / n) ** 2).sum())

    def bound(self, alpha: float, dual: Dual, inner: Dual) -> float:
        """Return a proved lower bound from multipliers that may lack a little.

        `inner` are feasible at a smaller alpha; what lacks is made up by a share of them.
        """
        room, short = alpha - self.lack(inner), self.lack(dual) - alpha
        if room <= 0:
            return -np.inf
        share = max(short, 0.0) / (max(short, 0.0) + room)
        pull = (1 - share) * dual.pull + share * inner.pull
        value = self.dual_value(Dual(pull, ()))
        return value - _ROUNDING * abs(value)

    def solve(self, alpha: float) -> Answer:
        """Return the optimum at a strength `alpha` at which there is one."""
        size, (n, d) = self._width * len(self.signs), self.score.shape
        cost = np.concatenate([self._costs + alpha * self._traces, self.score.ravel() / n])
        square = np.concatenate([np.zeros(size), np.full(n * d, 1 / n)])
        link = sparse.hstack([self._gradients, -sparse.eye_array(n * d)])
        cones = sparse.hstack([self._cones, sparse.csc_array((self._cones.shape[0], n * d))])
        answer = conic(square, cost, [(link, np.zeros(n * d), "zero")], cones, self._sizes)
        return self._read(np.array(answer.x), np.array(answer.z), n * d, answer.obj_val)

    def threshold(self) -> tuple[float, Dual]:
        """Return the alpha below which the program is unbounded, and multipliers feasible above it.

        It is the most that the Laplacian gains by potentials of trace one without a gradient at any
        sample: neurons on either side of a sample.
        """
        size, count = self._width * len(self.signs), self.score.size
        rows: list[tuple[Any, Floats, str]] = [
            (self._gradients, np.zeros(count), "zero"),
            (sparse.csc_array(self._traces[None]), np.ones(1), "nonnegative"),
        ]
        answer = conic(np.zeros(size), self._costs, rows, self._cones, self._sizes)
        z = np.array(answer.z)
        found = self._read(np.array(answer.x), np.delete(z, count), count, answer.obj_val)
        return max(0.0, -found.value), found.dual

    @property
    def _width(self) -> int:
        wide = int(self.features.shape[1])
        return wide * (wide + 1) // 2

    @cached_property
    def _scales(self) -> tuple[Any, Any, Floats]:
        """Rows, columns and factors of the entries of a matrix, column by column."""
        column, row = np.tril_indices(self.features.shape[1])
        return row, column, np.where(row == column, 1.0, np.sqrt(2.0))

    def _flat(self, matrices: Floats) -> Floats:
        row, column, scale = self._scales
        return np.asarray(matrices[..., row, column] * scale)

    @cached_property
    def _traces(self) -> Floats:
        return np.tile(self._flat(np.eye(self.features.shape[1])), len(self.signs))

    @cached_property
    def _costs(self) -> Floats:
        """The Laplacian's mean, (2p * width,)."""
        inner = np.zeros((self.features.shape[1],) * 2)
        d = self.score.shape[1]
        inner[range(d), range(d)] = 1.0
        each = self.curls[:, None] * self._flat(inner)
        return np.concatenate([each.ravel(), -each.ravel()])

    @cached_property
    def _gradients(self) -> Any:
        """The gradients at the samples, (n * d, 2p * width)."""
        n, wide = self.features.shape
        d = self.score.shape[1]
        outer = np.zeros((n, d, wide, wide))
        for k in range(d):
            outer[:, k, k, :] += self.features
            outer[:, k, :, k] += self.features
        flat = self._flat(outer)
        masks = self.gates.masks.astype(float)
        both = np.concatenate([masks, -masks])
        whole = both.T[:, None, :, None] * flat[:, :, None, :]
        return sparse.csc_array(whole.reshape(n * d, -1))

    @cached_property
    def _cones(self) -> Any:
        """Rows of the walls, then the matrices themselves: what must be in the cones."""
        blocks = [self._flat(pairs) for pairs in self.pairs]
        walls: Any = sparse.block_diag(2 * blocks, format="csc")
        return sparse.vstack([walls, sparse.eye_array(self._width * len(self.signs))])

    @cached_property
    def _sizes(self) -> list[tuple[str, int]]:
        rows = 2 * sum(len(pairs) for pairs in self.pairs)
        return [("nonnegative", rows)] + [("psd", self.features.shape[1])] * len(self.signs)

    def _read(self, x: Floats, z: Floats, count: int, value: float) -> Answer:
        wide = self.features.shape[1]
        row, column, scale = self._scales
        flat = x[: self._width * len(self.signs)].reshape(len(self.signs), -1) / scale
        matrices = np.zeros((len(self.signs), wide, wide))
        matrices[:, row, column] = flat
        matrices[:, column, row] = flat
        sizes = [len(pairs) for pairs in self.pairs] * 2
        ends: Any = np.cumsum(sizes)
        walls: Any = np.maximum(z[count : count + ends[-1]], 0.0)
        parts = tuple(np.split(walls, ends[:-1]))
        return Answer(matrices, Dual(z[:count].reshape(self.score.shape), parts), value)
