"""Score matching on a line and by gates, as one interface for the estimator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, GatedReLU, assemble, free_columns
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.errors import CvxnnError
from cvxnn.everywhere.scores import ScoreLine, objective
from cvxnn.everywhere.stein import Stein, Threshold, gaussian_score
from cvxnn.functions import Squared, mean_loss
from cvxnn.gates import Gates
from cvxnn.program import Program

Floats = NDArray[np.float64]

_FOLDS, _STRENGTHS, _RANGE, _ABOVE = 4, 8, 300.0, 3.0
"""Of the validation of alpha: folds, strengths, from the largest to the least of these, and the
least over the threshold."""
_ROUGH: dict[str, Any] = {"tol": 1e-2, "max_iter": 400}
"""How far networks are trained that only choose a strength."""


class Found(NamedTuple):
    """A network, the dual point that proves its bound, and the certificate."""

    network: Any
    dual: Floats
    certificate: Certificate


class Match(Protocol):
    """The loss of Hyvarinen on some samples, with free columns, for any strength."""

    @property
    def program(self) -> Program:
        """A program with its loss and free columns."""

    @property
    def generators(self) -> Floats:
        """The gates; none where the program is over all networks."""

    @property
    def dual_shape(self) -> tuple[int, ...]:
        """The shape of dual points."""

    @property
    def alpha_max(self) -> float:
        """The least strength whose best network has no neurons."""

    def threshold(self, alpha: float) -> Threshold:
        """Return bounds on the least strength with an optimum, enough to place `alpha`."""

    def solve(self, alpha: float, interior: Floats, **limits: Any) -> Found:
        """Return the optimum at a strength at which `interior` is feasible."""

    def roughly(self, alpha: float, interior: Floats, start: Any) -> tuple[Any, Any]:
        """Return a network near the optimum, and where to start from at the next strength."""

    def bound(self, dual: Floats, interior: Floats, alpha: float) -> float:
        """Return the lower bound that a dual point proves."""


@dataclass(frozen=True, eq=False)
class LineMatch:
    """One column and all ReLU networks."""

    X: Floats
    line: ScoreLine
    base: Floats
    """The score of the Gaussian at the distinct samples, (k,), zero without a slope."""

    generators = np.zeros((0, 2))

    @classmethod
    def of(cls, X: Floats, *, intercept: bool, skip: bool) -> "LineMatch":
        """Return the problem of samples (n, 1); ValueError where a slope has no optimum."""
        x, place = np.unique(X[:, 0], return_inverse=True)
        share = np.bincount(place) / len(X)
        base = gaussian_score(x[:, None], share, intercept)[:, 0] if skip else np.zeros(len(x))
        return cls(X, ScoreLine(x, share, intercept, skip), base)

    @property
    def program(self) -> Program:
        """The squared loss on the Gaussian's score: what bounds are measured by."""
        loss = mean_loss(Squared(), self.base[:, None], self.line.weights)
        x = self.line.x[:, None]
        free = free_columns(x, intercept=self.line.intercept, skip=self.line.skip)
        gates = Gates(np.array([[0.0, 1.0]]), np.ones((1, len(x)), dtype=np.bool_))
        return assemble(GatedReLU(), x, gates, loss, 1.0, free=free, outputs=1).program

    @property
    def dual_shape(self) -> tuple[int, ...]:
        """(k,)."""
        return self.line.x.shape

    @property
    def alpha_max(self) -> float:
        """The gauge of the Gaussian's score."""
        return self.line.gauge(self.base)

    def threshold(self, alpha: float) -> Threshold:
        """Return a formula from below, and from above an explicit point or the conic program."""
        least, inside = self.line.least(), self.line.orthogonal(self.line.inside())
        most = self.line.gauge(inside)
        if least < alpha <= most:
            most, inside = self.line.threshold()
        return Threshold(min(least, most), most, inside)

    def solve(self, alpha: float, interior: Floats, **limits: Any) -> Found:
        """Return the optimum; an interior point has no use for limits."""
        network, dual = self.line.solve(alpha)
        claim = Certificate(
            upper=objective(network, self.X, np.full(len(self.X), 1 / len(self.X)), alpha),
            lower=self.line.bound(dual, interior, alpha),
            scope=Scope.ALL_NETWORKS,
            exactness=Exactness.EXACT,
            bound="enumeration",
            resolution=1e-12,
        )
        return Found(network, dual, claim)

    def roughly(self, alpha: float, interior: Floats, start: Any) -> tuple[Any, Any]:
        """Return the optimum: it takes no longer."""
        return self.line.solve(alpha)[0], None

    def bound(self, dual: Floats, interior: Floats, alpha: float) -> float:
        """Return the lower bound over all networks."""
        return self.line.bound(dual, interior, alpha)


@dataclass(frozen=True, eq=False)
class GatedMatch:
    """Given gates."""

    problem: Stein

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        X: Floats,
        gates: Gates,
        *,
        intercept: bool,
        skip: bool,
    ) -> "GatedMatch":
        """Return the problem of samples (n, d)."""
        words = {"intercept": intercept, "skip": skip}
        return cls(Stein.of(architecture, X, np.ones(len(X)), gates, **words))

    @property
    def program(self) -> Program:
        """That of alpha = 1."""
        return self.problem.program

    @property
    def generators(self) -> Floats:
        """The gates, (p, d) or (p, d + 1)."""
        return np.asarray(self.problem.gates.generators)

    @property
    def dual_shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.problem.X.shape

    @property
    def alpha_max(self) -> float:
        """The gauge of zero."""
        return self.problem.alpha_max

    def threshold(self, alpha: float) -> Threshold:
        """Return what reweighing blocks finds."""
        return self.problem.threshold(alpha)

    def solve(self, alpha: float, interior: Floats, **limits: Any) -> Found:
        """Return the optimum on the gates."""
        solution = self.problem.solve(alpha, interior, **limits)
        network = self.problem.network(solution.iterate)
        upper = self.problem.objective(network, alpha)
        claim = replace(solution.certificate, upper=upper)
        return Found(network, np.asarray(solution.iterate.dual), claim)

    def roughly(self, alpha: float, interior: Floats, start: Any) -> tuple[Any, Any]:
        """Return a network after few iterations."""
        solution = self.problem.solve(alpha, interior, start=start, **_ROUGH)
        return self.problem.network(solution.iterate), solution.iterate

    def bound(self, dual: Floats, interior: Floats, alpha: float) -> float:
        """Return the lower bound over networks of these gates."""
        return self.problem.bound(dual, interior, alpha)[0]


def validated_strength(
    match: Match,
    X: Floats,
    part_of: Callable[[Floats], Match],
    loss: Callable[[Any, Floats], float],
    seed: int,
) -> float:
    """Return the strength of the least loss(network, samples) on held-out samples.

    `part_of` makes the problem of some samples (k, d) on the same gates. ValueError for few.
    """
    if len(X) < 2 * _FOLDS:
        raise ValueError(
            f"alpha='auto' validates on {_FOLDS} parts and X has n_samples = {len(X)}; pass a "
            "positive alpha"
        )
    most = match.threshold(match.alpha_max).most
    lowest = max(match.alpha_max / _RANGE, _ABOVE * most, 1e-300)
    strengths = np.geomspace(max(match.alpha_max, 2 * lowest), lowest, _STRENGTHS)
    order = np.random.default_rng(seed).permutation(len(X)) % _FOLDS
    losses = np.zeros(_STRENGTHS)
    for fold in range(_FOLDS):
        part, held, start = part_of(X[order != fold]), X[order == fold], None
        for place, alpha in enumerate(strengths):
            bounds = part.threshold(alpha)
            try:
                if not alpha > bounds.most:
                    raise CvxnnError(bounds.why(alpha))
                network, start = part.roughly(alpha, bounds.interior, start)
            except CvxnnError:  # without bound, or too near to that: less will not help
                losses[place:] = np.inf
                break
            losses[place] += loss(network, held)
    return float(strengths[int(np.argmin(losses))])
