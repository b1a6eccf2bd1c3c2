"""Hinge loss against the worst of a ball around every sample, as one cone program, with its bound.

A neuron with (2 D - I) (X u)_k >= radius |u|* for all k, |.|* the dual norm of the ball, keeps its
pattern D all over every ball. Of such neurons the outputs are linear there, x.g_k with g_k the sum
of those open on sample k, and the worst margin is y_k x_k.g_k - radius |g_k|* [Bai2022].
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from cvxnn.everywhere.neurons import Floats
from cvxnn.gates import Gates
from cvxnn.solvers.standard import conic


class Answer(NamedTuple):
    """The blocks, those that add first, and what they are proved against."""

    blocks: Floats
    """(2p, d)."""
    lower: float


@dataclass(frozen=True, eq=False)
class Robust:
    """minimise mean of max(0, 1 - y_k z_k.g_k + radius |E g_k|*) + alpha sum |u_b|.

    E g are the first `width` entries: a column of ones is not disturbed.
    """

    features: Floats
    """z, (n, D)."""
    signs: Floats
    """y, (n,)."""
    gates: Gates
    alpha: float
    radius: float
    norm: str
    width: int

    @property
    def senses(self) -> Floats:
        """1 for blocks that add, -1 for the others, (2p,)."""
        return np.repeat([1.0, -1.0], len(self.gates))

    @property
    def sides(self) -> Floats:
        """1 where a block is open and -1 where it is closed, (2p, n)."""
        return np.where(np.concatenate([self.gates.masks, self.gates.masks]), 1.0, -1.0)

    def solve(self) -> Answer:
        """Return the optimum and a lower bound that its multipliers prove."""
        (n, wide), blocks = self.features.shape, 2 * len(self.gates)
        sizes = (blocks * wide, blocks, blocks, n * wide, n, n)
        u, reach, length, g, worst, short = _selectors(sizes)
        link = self._opened() @ u - g
        hinge = self.signs[:, None] * self.features
        margins = sparse.block_diag(hinge[:, None, :], format="csr") @ g
        above = sparse.vstack([margins - self.radius * worst + short, short])
        sided = [side[:, None] * self.features for side in self.sides]
        stable = sparse.block_diag(sided, format="csr") @ u
        stable = (
            stable - self.radius * sparse.kron(sparse.eye_array(blocks), np.ones((n, 1))) @ reach
        )
        parts = [above, stable, _tops(length, u, wide, wide)]
        cones = [("nonnegative", 2 * n + n * blocks), *[("second order", wide + 1)] * blocks]
        cost = np.concatenate([np.zeros(sum(sizes[:2])), np.full(blocks, self.alpha)])
        cost = np.concatenate([cost, np.zeros(n * wide + n), np.full(n, 1 / n)])
        matrix, cones, own = self._norms([(reach, u, wide), (worst, g, wide)], parts, cones)
        cost = np.concatenate([cost, np.zeros(own)])
        pad = sparse.csr_array((link.shape[0], own))
        shift = np.concatenate([np.ones(n), np.zeros(matrix.shape[0] - n)])
        rows = [(sparse.hstack([link, pad]), np.zeros(n * wide), "zero")]
        answer = conic(np.zeros(len(cost)), cost, rows, matrix, cones, shift)
        x, z = np.array(answer.x), np.array(answer.z)[n * wide :]
        return Answer(
            x[: blocks * wide].reshape(blocks, wide),
            self.bound(
                np.array(answer.z)[: n * wide].reshape(n, wide),
                z[:n],
                z[2 * n : 2 * n + n * blocks].reshape(blocks, n),
            ),
        )

    def bound(self, pull: Floats, weights: Floats, multiplier: Floats) -> float:
        """Return the lower bound of multipliers, made feasible: a multiple of the sum of weights.

        For weights 0 <= m_k <= 1 / n, pulls q_k within radius m_k of -m_k y_k z_k and multipliers
        c >= 0 of the sides it is sum m if every |sum_k D_k q_k - sides c z + o| <= alpha for some o
        of norm at most radius sum c.
        """
        weights, multiplier = np.maximum(weights, 0), np.maximum(multiplier, 0)
        centre = -(weights * self.signs)[:, None] * self.features
        off = self._within((pull - centre)[:, : self.width], self.radius * weights)
        centre[:, : self.width] += off
        masks = np.concatenate([self.gates.masks, self.gates.masks]).astype(float)
        left = self.senses[:, None] * (masks @ centre) - (multiplier * self.sides) @ self.features
        near = self._within(left[:, : self.width], self.radius * multiplier.sum(axis=1))
        left[:, : self.width] -= near
        longest = float(np.linalg.norm(left, axis=1).max(initial=0.0))
        most = float(weights.max()) * len(weights)
        scale = 1 / max(longest / self.alpha, most, 1e-300)
        return scale * float(weights.sum()) * (1 - 1e-12)

    def _within(self, vectors: Floats, radii: Floats) -> Floats:
        """Return the vectors of the ball's norm <= radii that come nearest to `vectors` (k, d)."""
        if self.norm == "linf":
            return np.asarray(np.clip(vectors, -radii[:, None], radii[:, None]))
        lengths = np.linalg.norm(vectors, axis=1)
        return vectors * np.minimum(1.0, radii / np.where(lengths > 0, lengths, 1.0))[:, None]

    def _opened(self) -> Any:
        """Return the map from blocks to g, (n * D, 2p * D)."""
        masks = np.concatenate([self.gates.masks, self.gates.masks]).astype(float)
        eye = sparse.eye_array(self.features.shape[1])
        return sparse.kron(sparse.csr_array((self.senses[:, None] * masks).T), eye, format="csr")

    def _norms(
        self, pairs: list[tuple[Any, Any, int]], parts: list[Any], cones: list[tuple[str, int]]
    ) -> tuple[Any, list[tuple[str, int]], int]:
        """Append rows for tops >= dual norms of the first entries of vectors; count the new."""
        d, size = self.width, parts[0].shape[1]
        if self.norm == "l2":
            for top, vector, wide in pairs:
                parts.append(_tops(top, vector, wide, d))
                cones += [("second order", d + 1)] * top.shape[0]
            return sparse.vstack(parts), cones, 0
        counts = [top.shape[0] * d for top, _, _ in pairs]
        own = _selectors(tuple(counts))
        whole = [
            sparse.hstack([part, sparse.csr_array((part.shape[0], sum(counts)))]) for part in parts
        ]
        # the rows so far end in second order cones; those of absolute values follow
        for (top, vector, wide), size_of in zip(pairs, own, strict=True):
            k = top.shape[0]
            pick = sparse.kron(sparse.eye_array(k), np.eye(d, wide)) @ vector
            sums = sparse.kron(sparse.eye_array(k), np.ones((1, d))) @ size_of
            whole += [
                sparse.hstack([pick, size_of]),
                sparse.hstack([-pick, size_of]),
                sparse.hstack([top, -sums]),
            ]
            cones = [*cones, ("nonnegative", 2 * k * d + k)]
        assert size == top.shape[1]
        return sparse.vstack(whole), cones, sum(counts)


def _selectors(sizes: tuple[int, ...]) -> list[Any]:
    """Return for every part of a vector the matrix that picks it."""
    whole, ends = sparse.eye_array(sum(sizes), format="csr"), np.cumsum((0, *sizes))
    return [whole[first:last] for first, last in pairwise(ends)]


def _tops(top: Any, vector: Any, wide: int, d: int) -> Any:
    """Return rows (top_k, first d entries of vector_k) for every k."""
    k = top.shape[0]
    first = sparse.kron(sparse.eye_array(k), np.eye(d + 1, 1)) @ top
    rest = sparse.kron(sparse.eye_array(k), np.eye(d + 1, d, -1) @ np.eye(d, wide)) @ vector
    return first + rest
