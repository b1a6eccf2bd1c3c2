"""Proved lower bounds on the objective of every network, and their recheck.

A dual point V with F'V = 0 and |V'(Xu)_+| <= alpha for all unit u bounds the objective of networks
of every width by -L*(-V). What has to be proved is the maximum over u.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.certificate import in_domain, orthogonal
from cvxnn.everywhere.closed import closed_gauge
from cvxnn.everywhere.duals import dual_value, scaled
from cvxnn.everywhere.ladder import (
    Goal,
    Rung,
    Space,
    Starts,
    climb,
    proved_gauge,
    row_space,
    rung,
)
from cvxnn.everywhere.neurons import Floats, Training
from cvxnn.everywhere.patterns import few_patterns, pattern_gauge
from cvxnn.everywhere.price import price
from cvxnn.everywhere.relaxed import QUICK, THOROUGH, Care, isotropic, relax
from cvxnn.everywhere.trees import Tree
from cvxnn.everywhere.views import views

_BEYOND = 1 + 1e-9
"""A direction that attains more than this multiple of alpha would lower the objective."""


@dataclass(frozen=True, eq=False)
class Proof:
    """A lower bound on the objective of all networks, and what it takes to check it."""

    dual: Floats
    """(n, c), feasible."""
    lower: float
    bound: str
    """How it was proved: "closed form", "enumeration", "search", "relaxed network", "trivial"."""
    found: Floats | None
    """Neuron directions seen that exceed alpha at the network's dual point, (m, d)."""
    seconds: float
    trees: tuple[Tree, ...] = ()
    """For every view of the outputs, of v and of -v; none for an enumeration."""


def prove(
    training: Training,
    *,
    dual: Floats | None = None,
    objective: float | None = None,
    interior: Floats | None = None,
    tol: float = 1e-4,
    seconds: float = 0.0,
    rng: np.random.Generator,
) -> Proof:
    """Return a proved lower bound on the objective of every network.

    `dual` (n, c) is a network's dual point, minus the gradient of the loss at its outputs, and
    `objective` its objective. At rank one, and on orthogonal rows for one output, the maximum over
    u has a closed form. With few patterns the bound is by enumeration. Else it is the relaxed
    network's; given `seconds` of wall time, branch and bound improves on it until the gap to
    `objective` is at most `tol` of it. `interior` is a point with F'V = 0 inside the domain of
    L*(-V), None for zero; where zero is on its edge, as with labels, an intercept needs a better
    one, or the bound may be trivial.

    >>> from cvxnn.functions import Squared, mean_loss
    >>> X, y = np.array([[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> training = Training(X, mean_loss(Squared(), y), np.zeros((3, 0)), alpha=0.1)
    >>> proof = prove(training, rng=np.random.default_rng(0))
    >>> proof.bound, 0 < proof.lower <= 1 / 3
    ('enumeration', True)
    >>> abs(recheck(training, proof) - proof.lower) < 1e-9
    True
    """
    began = time.perf_counter()
    case = _Case(training, row_space(training.features), interior, rng)
    given = None if dual is None else case.admissible(dual)
    if given is not None and (closed := case.closed(given)) is not None:
        chosen, kind = closed, "closed form"
    elif few_patterns(case.space.features, len(case.space.turn), seconds):
        chosen, kind = case.enumerated(given), "enumeration"
    else:
        chosen, kind = case.searched(given, objective, tol, began + seconds)
    if not chosen.dual.any():
        chosen, kind = chosen._replace(trees=()), "trivial"
    found = None if given is None else _exceeding(training, given, chosen.seen)
    passed = time.perf_counter() - began
    return Proof(chosen.dual, chosen.lower, kind, found, passed, chosen.trees)


def recheck(training: Training, proof: Proof) -> float:
    """Return the lower bound that the proof's dual point and trees give, computed again.

    Minus infinity where they give none. Nothing else of the proof is used, but whether it is by
    enumeration.
    """
    dual = np.asarray(proof.dual, dtype=float)
    if dual.shape != training.loss.target.shape or not np.isfinite(dual).all():
        return -np.inf
    dual = orthogonal(training.columns, dual)
    with np.errstate(all="ignore"):
        try:
            gauge = _gauge(training, dual, proof)
        except np.linalg.LinAlgError:  # numbers so wild that nothing can be computed prove nothing
            return -np.inf
        if not gauge < np.inf:
            return -np.inf
        lower = scaled(training, dual, max(gauge, 1.0)).lower
    return lower if np.isfinite(lower) else -np.inf


def _gauge(training: Training, dual: Floats, proof: Proof) -> float:
    """Return a bound on M / alpha of the dual point, inf where the proof gives none."""
    if not dual.any():
        return 0.0
    if proof.bound == "closed form":
        gauge = closed_gauge(training.features, training.pulls(dual), training.alpha)
        return np.inf if gauge is None else gauge
    space = row_space(training.features)
    if proof.bound == "enumeration" and few_patterns(space.features, len(space.turn)):
        return pattern_gauge(space.features, training.pulls(dual), training.alpha)
    if len(proof.trees) != 2 * len(views(training.pulls(dual)).directions):
        return np.inf
    return proved_gauge(training, space, dual, proof.trees)


class _Case(NamedTuple):
    """A training problem, and how to come by dual points."""

    training: Training
    space: Space
    interior: Floats | None
    rng: np.random.Generator

    @property
    def outputs(self) -> int:
        return self.training.outputs

    def admissible(self, dual: Floats) -> Floats:
        point: Floats = in_domain(self.training.loss, self.training.columns, self.interior, dual)
        return point

    def null(self) -> Floats:
        """Return the dual point of predicting zero."""
        zero = np.zeros_like(self.training.loss.target)
        return self.admissible(-self.training.loss.gradient(zero))

    def relaxed(self, care: Care) -> tuple[Floats, Starts]:
        """Return the relaxed network's dual point, and where searches start; one output."""
        relaxed = relax(self.training, self.rng, care)
        up, down = (moments.turned(self.space.turn) for moments in relaxed.moments)
        return self.admissible(relaxed.dual), ((up, down),)

    def closed(self, dual: Floats) -> Rung | None:
        """Scale a dual point by its gauge in closed form; None where the data have none."""
        training = self.training
        gauge = closed_gauge(training.features, training.pulls(dual), training.alpha)
        if gauge is None:
            return None
        lower, point, _ = scaled(training, dual, gauge)
        return Rung(lower, point, (), np.zeros((0, training.features.shape[1])), gauge, 0.0)

    def enumerated(self, given: Floats | None) -> Rung:
        """Scale a dual point by its exact gauge."""
        training, dual = self.training, given
        if dual is None:
            dual = self.relaxed(THOROUGH)[0] if self.outputs == 1 else self.null()
        pulls = training.pulls(dual)
        gauge = pattern_gauge(self.space.features, pulls, training.alpha)
        lower, point, _ = scaled(training, dual, gauge)
        return Rung(lower, point, (), np.zeros((0, training.features.shape[1])), gauge, 0.0)

    def searched(
        self, given: Floats | None, objective: float | None, tol: float, until: float
    ) -> tuple[Rung, str]:
        """Bound by the relaxed network, and by searches until it is time."""
        training, space, even = self.training, self.space, isotropic(len(self.space.turn))
        dual = self.null() if given is None else given
        if self.outputs == 1:
            timed = until > time.perf_counter()
            dual, starts = self.relaxed(THOROUGH if timed else QUICK)
        else:
            starts = ((even, even),) * len(views(training.pulls(dual)).directions)
        first = rung(training, space, dual, starts)
        if until <= time.perf_counter():
            return first, "relaxed network"
        best = first
        if self.outputs > 1:
            best = self._jointly(dual, starts, until)
        elif given is not None:
            best = climb(training, space, starts, first, self._goal(given, objective, tol, until))
        better = best.lower > first.lower
        return (best, "search") if better else (first._replace(seen=best.seen), "relaxed network")

    def _goal(self, dual: Floats, objective: float | None, tol: float, until: float) -> Goal:
        """Return what to aim at, the network's dual point scaled by the largest price found."""
        training = self.training
        priced = price(training.features, training.pulls(dual), self.rng, steps=40)
        end = dual / max(float(priced.values[0]) / training.alpha, 1.0)
        return Goal(end, dual_value(training, end) if objective is None else objective, tol, until)

    def _jointly(self, dual: Floats, starts: Starts, until: float) -> Rung:
        """Search for every view: of a fan up to alpha, of a basis up to its share of the norm."""
        training, pulls = self.training, self.training.pulls(dual)
        seen_from = views(pulls)
        prices = [
            float(price(training.features, column[:, None], self.rng).values[0]) / training.alpha
            for column in seen_from.directions @ pulls.T
        ]
        units = np.asarray(prices) + 0.02 * max(prices)
        most = float(units.max() if seen_from.flat else np.linalg.norm(units))
        units = np.full_like(units, most) if seen_from.flat else units
        units = np.maximum(units / min(most, 1.0), 1e-6)
        left = until - time.perf_counter()
        return rung(training, self.space, dual, starts, units=units, seconds=left)


def _exceeding(training: Training, dual: Floats, directions: Floats) -> Floats | None:
    """Return the unit directions that attain more than alpha at the dual point."""
    lengths = np.linalg.norm(directions, axis=1)
    units = directions[lengths > 0] / lengths[lengths > 0, None]
    hidden = np.maximum(training.features @ units.T, 0)
    values = np.linalg.norm(hidden.T @ training.pulls(dual), axis=1)
    kept = units[values > _BEYOND * training.alpha]
    return kept if len(kept) else None
