"""Score matching on a line, over all ReLU networks: one conic program in the dual.

A neuron is a unit vector w = (u, b) with max(0, u x + b), and its kink lies between two samples or
on one. The arcs of the circle between kinks at samples are cells: on each the active samples are a
prefix or a suffix, and what a neuron adds to the objective is linear in w.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.architectures import ReLUNetwork
from cvxnn.solvers.standard import conic

Floats = NDArray[np.float64]

_LEAST = 1e-9
"""Neurons below this share of the largest are an interior point's zeros."""
_INWARD = 10.0 ** np.arange(-12, -3)
"""How far a neuron is turned into its arc, the first that puts every sample on its side."""
_CLEAR = 1e-14
"""How far from a kink a sample is on one side of it, whatever the order of operations."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """The arcs of directions (u, b) whose neurons are active on the same samples."""

    low: NDArray[np.int64]
    """(m,): the first active sample."""
    high: NDArray[np.int64]
    """(m,): one past the last."""
    rays: Floats
    """(m, 2, 2): the unit directions at both ends, of angle less than pi."""

    @classmethod
    def of(cls, x: Floats) -> "Arcs":
        """Return those of sorted, distinct samples (k,): suffixes, prefixes, and all of them."""
        k = len(x)
        right = np.stack([np.ones(k), -x], axis=1) / np.hypot(1.0, x)[:, None]
        up = np.array([[0.0, 1.0]])
        rays = np.concatenate(
            [
                np.stack([right[:-1], right[1:]], axis=1),
                np.stack([-right[:-1], -right[1:]], axis=1),
                np.stack([right[:1], up], axis=1),
                np.stack([up, -right[-1:]], axis=1),
            ]
        )
        inner = np.arange(1, k)
        low = np.concatenate([inner, 0 * inner, [0, 0]])
        high = np.concatenate([np.full(k - 1, k), inner, [k, k]])
        return cls(low, high, rays)

    @cached_property
    def walls(self) -> Floats:
        """(m, 2, 2): the inward normals of both ends; w is in the cone iff both products are >= 0.

        They are the rows of the inverse of the matrix of rays, scaled.
        """
        first, second = self.rays[:, 0], self.rays[:, 1]
        turn = np.sign(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])[:, None]
        return np.stack(
            [
                turn * np.stack([-first[:, 1], first[:, 0]], axis=1),
                turn * np.stack([second[:, 1], -second[:, 0]], axis=1),
            ],
            axis=1,
        )

    def reach(self, pulls: Floats) -> float:
        """Return the largest |c.w| over unit w in every arc, for pulls c (m, 2) of the arcs."""
        best = np.abs((self.rays @ pulls[:, :, None])[:, :, 0]).max(axis=1)
        sides = (self.walls @ pulls[:, :, None])[:, :, 0]
        inside = (sides >= 0).all(axis=1) | (sides <= 0).all(axis=1)
        return float(np.where(inside, np.linalg.norm(pulls, axis=1), best).max())


@dataclass(frozen=True, eq=False)
class ScoreLine:
    """minimise sum_k w_k (s(x_k)^2 / 2 + s'(x_k)) + alpha * sum_j |(u_j, b_j)| |a_j|.

    s(x) = sum_j a_j max(0, u_j x + b_j), plus an unpenalised intercept and slope where they are
    asked for. At a kink the derivative counts as whichever side is less: networks with the kink
    moved past the sample come as near as one likes. Its dual is to maximise -sum_k w_k q_k^2 / 2
    over q with |sum_k w_k (q_k max(0, w.z_k) + u 1[active])| <= alpha for all unit w = (u, b).
    """

    x: Floats
    """(k,), sorted and distinct."""
    weights: Floats
    """(k,), with sum one."""
    intercept: bool
    skip: bool

    @cached_property
    def arcs(self) -> Arcs:
        """The cells of neurons."""
        return Arcs.of(self.x)

    def gauge(self, dual: Floats) -> float:
        """Return the least alpha at which q (k,) is feasible, the free columns left aside."""
        parts = [
            self.weights * dual * self.x + self.weights,
            self.weights * dual,
        ]
        sums = np.stack([np.concatenate([[0.0], np.cumsum(part)]) for part in parts], axis=1)
        return self.arcs.reach(sums[self.arcs.high] - sums[self.arcs.low])

    def orthogonal(self, dual: Floats) -> Floats:
        """Return q near `dual` with sum w q = 0 for an intercept, sum w q x = -1 for a slope."""
        columns = [np.ones_like(self.x)] * self.intercept + [self.x] * self.skip
        if not columns:
            return dual
        basis = np.stack(columns, axis=1)
        wanted = np.array([0.0] * self.intercept + [-1.0] * self.skip)
        for _ in range(2):  # twice, so that rounding leaves nothing
            weighted = self.weights[:, None] * basis
            shift = np.linalg.solve(basis.T @ weighted, wanted - weighted.T @ dual)
            dual = dual + basis @ shift
        return dual

    def bound(self, dual: Floats, interior: Floats, alpha: float) -> float:
        """Return the lower bound that q proves, drawn towards a feasible point as far as it must.

        -inf where the interior is not feasible.
        """
        dual, interior = self.orthogonal(dual), self.orthogonal(interior)
        here, there = self.gauge(dual), self.gauge(interior)
        if not there <= alpha:
            return -np.inf
        # the gauge is convex along the way, and rounding may not undo what was gained
        share = 0.0 if here <= alpha else min(1.0, (here - alpha) / (here - there) * (1 + 1e-9))
        drawn = (1 - share) * dual + share * interior
        if not self.gauge(drawn) <= alpha * (1 + 1e-13):
            drawn = interior
        return -float(self.weights @ drawn**2) / 2

    def least(self) -> float:
        """Return a strength up to which the objective has no lower bound.

        A neuron with its kink on an extreme sample changes its derivative and no output; at other
        samples two neurons, one for either side, do.
        """
        costs = np.hypot(1.0, self.x)
        shares = np.full(len(self.x), 0.5)
        shares[[0, -1]] = 1.0
        return float((shares * self.weights / costs).max())

    def inside(self) -> Floats:
        """Return a dual point (k,) that is feasible for all but small strengths.

        What a neuron with its kink at t and all samples beyond active adds, times its length, is a
        function h(t) that is linear between samples, falls by w_k at x_k, and ends at 0. Here it
        begins at 0 too and falls from w_k / 2 to -w_k / 2 at samples between.
        """
        above, below = self.weights / 2, -self.weights / 2
        above[0], below[0], above[-1], below[-1] = 0.0, -self.weights[0], self.weights[-1], 0.0
        sums = np.zeros(len(self.x) + 1)
        sums[1:-1] = -(above[1:] - below[:-1]) / np.diff(self.x)
        return (sums[:-1] - sums[1:]) / self.weights

    def threshold(self) -> tuple[float, Floats]:
        """Return the strength below which there is no optimum, and the dual point (k,) there.

        It is as exact as an interior point's answer, and never too small.
        """
        answer = self._conic(None)
        dual = self.orthogonal(np.array(answer.x)[: len(self.x)])
        return self.gauge(dual), dual

    def solve(self, alpha: float) -> tuple[ReLUNetwork, Floats]:
        """Return the best network, and the dual point (k,) that proves it."""
        answer, m = self._conic(alpha), len(self.arcs.low)
        dual = np.array(answer.x)[: len(self.x)]
        rows = 2 * (len(self.x) + 1) + self.intercept + self.skip
        cones = np.array(answer.z)[rows : rows + 6 * m].reshape(2, m, 3)
        # a multiplier of |sign c + G'mu| <= alpha is minus the neuron, with output of minus sign
        units, outputs = -cones[:, :, 1:].reshape(-1, 2), np.repeat([-1.0, 1.0], m)
        sizes = np.linalg.norm(units, axis=1)
        (kept,) = np.nonzero(sizes > max(_LEAST * sizes.max(initial=0.0), 1e-12))
        turned = np.array([self._inward(units[j] / sizes[j], int(j) % m) for j in kept]).reshape(
            -1, 2
        )
        return self._network(turned, outputs[kept] * sizes[kept], dual), dual

    def _inward(self, unit: Floats, arc: int) -> Floats:
        """Return a unit vector as it is in float64 that is active on its arc's samples alone."""
        expected = np.zeros(len(self.x), dtype=bool)
        expected[self.arcs.low[arc] : self.arcs.high[arc]] = True
        middle = self.arcs.rays[arc].sum(axis=0)
        middle = middle / np.linalg.norm(middle)
        shares = np.maximum(self.arcs.walls[arc] @ unit, 0.0)  # of the other ray, up to a factor
        unit = self.arcs.rays[arc].T @ shares[::-1]
        unit = unit / np.linalg.norm(unit)
        for share in _INWARD:
            moved = (1 - share) * unit + share * middle
            values = (moved[0] * self.x + moved[1]) / np.hypot(1.0, self.x)
            if (np.where(expected, values, -values) > _CLEAR).all():
                return np.asarray(moved)
        return np.asarray(middle)

    def _network(self, units: Floats, sizes: Floats, dual: Floats) -> ReLUNetwork:
        values = np.maximum(self.x[:, None] * units[:, 0] + units[:, 1], 0) @ sizes
        free = [self.x] * self.skip + [np.ones_like(self.x)] * self.intercept
        found: Any = np.zeros(0)
        if free:
            roots, basis = np.sqrt(self.weights), np.stack(free, axis=1)
            found = np.linalg.lstsq(roots[:, None] * basis, roots * (dual - values), rcond=None)[0]
        spread = np.sqrt(np.abs(sizes))[:, None]
        return ReLUNetwork(
            weights_in=units * spread,
            weights_out=np.sign(sizes)[:, None] * spread,
            skip=np.array([[found[0] if self.skip else 0.0]]),
            intercept=np.array([found[-1] if self.intercept else 0.0]),
        )

    def _conic(self, alpha: float | None) -> Any:
        """Return Clarabel's answer to the dual, or to the least feasible alpha for None.

        Variables: q (k), its running sums P of w q and R of w q x (k + 1 each), a multiplier for
        either end of every arc and sign, and alpha where it is sought.
        """
        k, m = len(self.x), len(self.arcs.low)
        places, weighted = np.arange(k), sparse.diags_array(self.weights)
        steps = sparse.eye_array(k, k + 1, k=1) - sparse.eye_array(k, k + 1)
        first = sparse.coo_array(([1.0], ([0], [0])), shape=(1, k + 1))
        last = sparse.coo_array(([1.0], ([0], [k])), shape=(1, k + 1))
        inclined = sparse.diags_array(self.weights * self.x)
        wide = 4 * m + (alpha is None)
        rows: list[tuple[Any, Floats, str]] = [
            (_across(-weighted, steps, None, k, wide), np.zeros(k), "zero"),
            (_across(-inclined, None, steps, k, wide), np.zeros(k), "zero"),
            (_across(None, first, None, k, wide), np.zeros(1), "zero"),
            (_across(None, None, first, k, wide), np.zeros(1), "zero"),
        ]
        if self.intercept:
            rows.append((_across(None, last, None, k, wide), np.zeros(1), "zero"))
        if self.skip:
            rows.append((_across(None, None, last, k, wide), -np.ones(1), "zero"))
        counts = np.concatenate([[0.0], np.cumsum(self.weights)])
        active = counts[self.arcs.high] - counts[self.arcs.low]
        cones, shift = self._cones(alpha, active)
        below = sparse.eye_array(4 * m, 4 * m + (alpha is None))
        nothing = sparse.coo_array((4 * m, 3 * k + 2))
        every = sparse.vstack([cones, sparse.hstack([nothing, below])])
        total = 3 * k + 2 + wide
        square, cost = np.zeros(total), np.zeros(total)
        if alpha is None:
            cost[-1] = 1.0
        else:
            square[places] = self.weights
        sizes = [("second order", 3)] * (2 * m) + [("nonnegative", 4 * m)]
        return conic(square, cost, rows, every, sizes, np.concatenate([shift, np.zeros(4 * m)]))

    def _cones(self, alpha: float | None, active: Floats) -> tuple[Any, Floats]:
        """Return (matrix, shift) of (alpha, sign c(q) + G'mu), the arcs of plus sign first."""
        k, m = len(self.x), len(self.arcs.low)
        entries: list[tuple[Floats, NDArray[np.int64], NDArray[np.int64]]] = []
        shift = np.zeros(6 * m)
        arcs = np.arange(m)
        for half, sign in enumerate((1.0, -1.0)):
            top = 3 * (half * m + arcs)
            if alpha is None:
                entries.append((np.ones(m), top, np.full(m, 3 * k + 2 + 4 * m)))
            else:
                shift[top] = -alpha
            shift[top + 1] = -sign * active
            for part, start in ((1, 2 * k + 1), (2, k)):  # u goes with R, b with P
                entries.append((np.full(m, sign), top + part, start + self.arcs.high))
                entries.append((np.full(m, -sign), top + part, start + self.arcs.low))
                for wall in (0, 1):
                    column = 3 * k + 2 + 2 * (half * m + arcs) + wall
                    entries.append((self.arcs.walls[:, wall, part - 1], top + part, column))
        values, at, columns = (np.concatenate(each) for each in zip(*entries, strict=True))
        shape = (6 * m, 3 * k + 2 + 4 * m + (alpha is None))
        return sparse.coo_array((values, (at, columns)), shape=shape), shift


def _across(q: Any, P: Any, R: Any, k: int, wide: int) -> Any:
    """Return rows over all variables, with zeros for what is None and for the last `wide`."""
    height = next(part.shape[0] for part in (q, P, R) if part is not None)
    widths = (k, k + 1, k + 1)
    parts = [
        sparse.coo_array((height, width)) if part is None else part
        for part, width in zip((q, P, R), widths, strict=True)
    ]
    return sparse.hstack([*parts, sparse.coo_array((height, wide))])


def divergence(network: Any, X: Floats) -> Floats:
    """Return the trace of the Jacobian of a gated or ReLU network at points (n, d), (n,).

    A neuron counts where its rule is >= 0, as for its output.

    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[2.0, 1.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.array([[-1.0]]),
    ... )
    >>> divergence(net, np.array([[1.0], [-1.0]])).tolist()
    [5.0, -1.0]
    """
    d = X.shape[1]
    wide = network.weights_in.shape[1] > d
    features = np.column_stack([X, np.ones(len(X))]) if wide else X
    slopes = (network.weights_in[:, :d] * network.weights_out).sum(axis=1)
    return np.asarray((features @ network.rules.T >= 0) @ slopes + np.trace(network.skip))


def objective(network: Any, X: Floats, weights: Floats, alpha: float) -> float:
    """Return the weighted mean of |s|^2 / 2 + tr Js, plus alpha times the weight decay."""
    each = (np.asarray(network(X)) ** 2).sum(axis=1) / 2 + divergence(network, X)
    return float(weights @ each) + alpha * float(network.weight_decay())
