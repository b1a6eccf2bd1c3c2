"""Score matching by gated networks: the trace of the Jacobian is linear in the blocks."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import Architecture, GatedNetwork, assemble, free_columns
from cvxnn.architectures.free import Free
from cvxnn.certificate import Certificate, Exactness, Scope, orthogonal
from cvxnn.everywhere.scores import Floats, objective
from cvxnn.functions import Nuclear, Squared, mean_loss
from cvxnn.functions.tilted import Tilted
from cvxnn.gates import Gates
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solution, solve
from cvxnn.solvers import FISTA

_RANK = 1e-10
"""Eigenvalues below this share of the largest are zero."""
_ROUNDS = 40
"""How often blocks are reweighed in the search for the threshold."""


class Threshold(NamedTuple):
    """Between which strengths the one lies below which there is no optimum."""

    least: float
    """No optimum up to here: there is a ray along which the objective falls for ever."""
    most: float
    """An optimum from here on."""
    interior: Floats
    """The dual point, (n, d) or one a sample, that proves `most`."""

    def why(self, alpha: float) -> str:
        """Return in words why a strength that is not above `most` is not one."""
        where = f"above {self.most:.4g} score matching is proved to have a lower bound"
        if alpha <= self.least:
            where = f"up to {self.least:.4g} score matching has no lower bound"
        return (
            f"alpha is {alpha:.4g} and {where} on these samples: neurons with their kink at a "
            f"sample change the derivative there and no output; pass alpha={2 * self.most:.2g} or "
            "more, fewer gates, more samples, or noise="
        )


@dataclass(frozen=True, eq=False)
class Stein:
    """minimise the weighted mean of |s|^2 / 2 + tr Js, plus alpha * sum over gates of |u_j|_*.

    s(x) = sum_j 1[x'g_j >= 0] u_j'x + the free columns' part. With r the Gaussian score that fits
    the free columns (zero without a skip), sum_i w_i r_i f_i' = -tr f for them and the objective is

        mean of |s - r|^2 / 2 + sum_j <E_j, u_j> + alpha |u_j|_* - mean of |r|^2 / 2

    with E_j the mean over the gate's samples of I + x r': what is left there of the identity that
    Stein found for the Gaussian. Networks that are zero on all samples may still have <E, u> < 0,
    and below a threshold of alpha there is no optimum. A dual point v is feasible where
    |A_j*v - E_j|_2 <= alpha for all j and F'v = 0.
    """

    X: Floats
    gates: Gates
    program: Program
    """At alpha = 1, its penalty `Tilted`."""
    free: Free
    base: Floats
    """r, (n, d)."""
    architecture: Any

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        X: Floats,
        weights: Floats,
        gates: Gates,
        *,
        intercept: bool,
        skip: bool,
    ) -> "Stein":
        """Return the problem of samples (n, d); ValueError where a skip has no optimum."""
        base = gaussian_score(X, weights, intercept) if skip else np.zeros_like(X)
        problem = assemble(
            architecture,
            X,
            gates,
            mean_loss(Squared(), base, weights),
            1.0,
            free=free_columns(X, intercept=intercept, skip=skip),
            outputs=X.shape[1],
        )
        share = problem.program.loss.weights
        slope = np.asarray(problem.program.lift.adjoint(share * base))
        counts = (gates.masks * share[:, 0]).sum(axis=1)
        d = X.shape[1]
        slope[:, np.arange(d), np.arange(d)] += counts[:, None]
        penalty: Any = Tilted(Nuclear(1.0), slope)
        program = replace(problem.program, penalty=penalty)
        return cls(X, gates, program, problem.free, base, architecture)

    @property
    def weights(self) -> Floats:
        """(n,), with sum one."""
        return np.asarray(self.program.loss.weights[:, 0])

    @property
    def constant(self) -> float:
        """The mean of |r|^2 / 2."""
        return float(self.weights @ (self.base**2).sum(axis=1)) / 2

    def gauge(self, dual: Floats) -> float:
        """Return the least alpha at which v (n, d) is feasible, F'v = 0 left aside."""
        penalty: Any = self.program.penalty
        return float(penalty.excess(self.program.lift.adjoint(dual)))

    @property
    def alpha_max(self) -> float:
        """The least alpha whose best network has no neurons."""
        return self.gauge(np.zeros_like(self.X))

    @cached_property
    def _frame(self) -> tuple[Floats, Floats]:
        """Return U (n, r) and B (r, p D) with U B the columns of all blocks, F's part taken out."""
        lift: Any = self.program.lift
        columns = np.asarray(lift.columns(slice(None)), dtype=np.float64)
        columns = orthogonal(self.program.free, columns)
        n, wide = columns.shape
        gram = columns @ columns.T if n <= wide else columns.T @ columns
        values, vectors = np.linalg.eigh(gram)
        kept = values > _RANK * max(values[-1], 1e-300)
        basis = vectors[:, kept] if n <= wide else columns @ vectors[:, kept]
        basis = basis / np.linalg.norm(basis, axis=0)
        return basis, basis.T @ columns

    def threshold(self, alpha: float) -> Threshold:
        """Return bounds on the threshold, as far apart as it takes to tell on which side alpha is.

        v with A*v nearest to E, blocks weighed: what is left over is a ray of networks that are
        zero on all samples, and its largest block says from which alpha on v is feasible. Weights
        go up where much is left [Lawson1974].
        """
        penalty: Any = self.program.penalty
        p, wide, d = self.program.lift.in_shape
        basis, blocks = self._frame
        wanted, share = penalty.slope.reshape(p * wide, d), np.full(p, 1.0 / p)
        best = Threshold(0.0, np.inf, np.zeros_like(self.X))
        for _ in range(_ROUNDS):
            weighted = blocks * np.repeat(share, wide)
            found = np.linalg.pinv(weighted @ blocks.T, rcond=_RANK, hermitian=True)
            dual = basis @ (found @ (weighted @ wanted))
            left = penalty.slope - self.program.lift.adjoint(dual)
            sizes = np.linalg.svd(left, compute_uv=False)
            cost = float(share @ sizes.sum(axis=1))
            gain = float(share @ (sizes**2).sum(axis=1))
            most = float(sizes[:, 0].max())
            real = gain > (1e-7 * np.linalg.norm(wanted)) ** 2 / p
            least = max(best.least, gain / cost if real else 0.0)
            if most < best.most:
                best = best._replace(most=most, interior=dual)
            best = best._replace(least=min(least, best.most))
            if alpha > 1.01 * best.most or alpha <= best.least:
                return best
            share = share * (sizes[:, 0] + 1e-3 * most)
            share = share / share.sum()
        return best

    def bound(self, dual: Floats, interior: Floats, alpha: float) -> tuple[float, Floats]:
        """Return the lower bound that v proves, drawn towards a feasible point, and that point."""
        v, inside = (orthogonal(self.program.free, each) for each in (dual, interior))
        here, there = self.gauge(v), self.gauge(inside)
        if not there <= alpha:
            return -np.inf, inside
        if here > alpha:  # the gauge is convex along the way
            share = min(1.0, (here - alpha) / (here - there) * (1 + 1e-9))
            v = (1 - share) * v + share * inside
            if not self.gauge(v) <= alpha * (1 + 1e-12):
                v = inside
        return -self.program.loss.conjugate(-v) - self.constant, v

    def at(self, alpha: float) -> Program:
        """Return the program of a strength."""
        penalty: Any = self.program.penalty
        tilted: Any = Tilted(Nuclear(alpha), penalty.slope)
        return replace(self.program, penalty=tilted)

    def solve(
        self, alpha: float, interior: Floats, start: Iterate | None = None, **limits: Any
    ) -> Solution:
        """Return the optimum at a strength above the threshold, certified for these gates."""
        program = self.at(alpha)
        if start is None:
            blocks = np.zeros(program.lift.in_shape)
            start = Iterate(blocks, self.free.coefficients(self.base), np.zeros_like(self.X))

        def judge(iterate: Iterate) -> tuple[Certificate, Iterate]:
            lower, dual = self.bound(iterate.dual, interior, alpha)
            claim = Certificate(
                upper=program.objective(iterate.blocks, iterate.free) - self.constant,
                lower=lower,
                scope=Scope.GIVEN_GATES,
                exactness=Exactness.GATED,
                resolution=1e-12 * max(1.0, self.constant),
            )
            return claim, iterate._replace(dual=dual)

        return solve(program, FISTA(), start=start, judge=judge, **limits)

    def network(self, iterate: Iterate) -> GatedNetwork:
        """Return the network of an iterate."""
        skip, intercept = self.free.weights(iterate.free)
        made = (self.gates, iterate.blocks, intercept, skip, self.X)
        network: GatedNetwork = self.architecture.recover(*made)
        return network

    def objective(self, network: Any, alpha: float) -> float:
        """Return the objective of a network on the samples."""
        return objective(network, self.X, self.weights, alpha)


def gaussian_score(X: Floats, weights: Floats, intercept: bool) -> Floats:
    """Return the score of the Gaussian of the samples' moments at the samples, (n, d).

    Without an intercept its mean is zero. ValueError for dependent columns.

    >>> gaussian_score(np.array([[1.0], [3.0]]), np.ones(2), True).ravel().tolist()
    [1.0, -1.0]
    """
    share = weights / weights.sum()
    rows = X - share @ X if intercept else X
    moments = rows.T @ (share[:, None] * rows)
    values = np.linalg.eigvalsh(moments)
    if not values[0] > _RANK * values[-1]:
        flat = np.flatnonzero(np.diag(moments) <= _RANK * values[-1])
        what = f"columns {flat.tolist()} of X are constant" if len(flat) else "X's columns depend"
        raise ValueError(
            f"{what}{'' if len(flat) else ' on each other'} ({X.shape[0]} samples of "
            f"{X.shape[1]} columns): along such directions skip=True has no optimum; drop the "
            "columns, use their leading principal components, or pass skip=False"
        )
    return np.asarray(-np.linalg.solve(moments, rows.T).T)
