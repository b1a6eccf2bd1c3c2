"""Bounds on an optimum that anyone can check: the certificate, and how its two sides are proved."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np

from cvxnn.arrays import Array, device, double, namespace
from cvxnn.functions import Mean
from cvxnn.program import Iterate, Program
from cvxnn.projection import CUT, by_projection, gauges, inside_cones, polar_bound

_SAFETY = 1e-12
"""Relative slack of every lower bound against rounding; errors near 1e-15 were observed."""

_SINGLE = 1e-5
"""Share of the largest entry below which a sum is rounding in single precision."""
_STRETCH = 10.0
"""How much longer a dual point is made at most."""


class Scope(Enum):
    """The networks that the lower bound speaks of; a member's value is said to the user."""

    GIVEN_GATES = "networks whose activation patterns are among the given gates"
    STABLE_GATES = "networks on the given gates whose patterns are the same all over every ball"
    SEPARATE_OUTPUTS = "networks on the given gates whose neurons serve one output each"
    ALL_NETWORKS = "all networks of this kind, of any width"


class Exactness(Enum):
    """How the convex program stands to the network."""

    EXACT = "the program is equivalent to training the network"
    GATED = "the network is gated: its gates are fixed, its weights are optimal"
    RELAXATION = "the program is a lower bound; the upper bound is the network's own objective"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """An upper and a lower bound on the smallest objective in scope, in the user's units.

    >>> c = Certificate(
    ...     upper=1.0,
    ...     lower=0.999,
    ...     scope=Scope.ALL_NETWORKS,
    ...     exactness=Exactness.EXACT,
    ...     bound="enumeration",
    ... )
    >>> c.proves(0.01), round(c.relative_gap, 6)
    (True, 0.001)
    """

    upper: float
    """Objective of the network handed over: float64, original data."""
    lower: float
    """Nothing in scope has a smaller objective."""
    scope: Scope
    exactness: Exactness
    bound: str = "dual"
    """How `lower` was proved: "dual", "enumeration", "closed form", ...: docs/certificates.rst."""
    violation: float = 0.0
    """Largest relative cone violation of the convex point."""
    resolution: float = 0.0
    """Objectives that differ by less are equal up to rounding."""
    directions: int | None = None
    """How many leading directions of the data the networks in scope see; None: all of the data."""
    whole: float | None = None
    """With `directions`: no network in scope that sees all of the data has a smaller objective;
    None where that is not proved."""

    @property
    def gap(self) -> float:
        """Return upper - lower."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> float:
        """Return the gap as a share of `upper`; 0 when it is below the resolution.

        Bounds that contradict each other by more than rounding prove nothing: infinity.
        """
        if not np.isfinite(self.gap):
            return float("inf")
        if self.gap > self.resolution:
            return self.gap / abs(self.upper) if self.upper != 0 else float("inf")
        return 0.0 if self.gap >= -self.resolution - 1e-9 * abs(self.upper) else float("inf")

    def proves(self, tol: float) -> bool:
        """Tell whether the network is within the relative gap `tol` of the best in scope."""
        return bool(self.relative_gap <= tol)

    def summary(self) -> str:
        """Return the certificate in words."""
        return "\n".join(f"{name:<13}{value}" for name, value in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs for tables."""
        whole = "no lower bound" if self.whole is None else f"lower bound {self.whole:.10g}"
        seen = f", that see the data's leading directions alone, {self.directions} of them"
        return [
            ("objective", f"{self.upper:.10g}"),
            ("lower bound", f"{self.lower:.10g}"),
            ("relative gap", f"{self.relative_gap:.2e}"),
            ("scope", self.scope.value + (seen if self.directions else "")),
            ("exactness", self.exactness.value),
            ("proved by", self.bound),
            *([("all the data", whole)] if self.directions else []),
        ]

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in self.rows())
        return f"<table>{cells}</table>"


def feasible_dual(
    program: Program,
    dual: Array,
    multiplier: Array | None = None,
    *,
    gauge_of: Callable[[Array], float] | None = None,
) -> tuple[float, Array]:
    """Return a proved lower bound on the program and the feasible dual point that proves it.

    `dual` (n, c) is made orthogonal to the free columns, drawn towards the program's interior
    point until it is in the domain of the loss's conjugate, and scaled until every block's polar
    gauge is at most one. `gauge_of` gives the largest gauge of more blocks than the program's own;
    the bound is then on the program of all of them.
    """
    v = in_domain(program.loss, program.free, program.interior, double(dual))
    if gauge_of is None:
        gauge = polar_bound(program, v, None if multiplier is None else double(multiplier))
    else:
        gauge = gauge_of(v)
    # a long stretch would only amplify the rounding of a dual point that is about zero
    largest = min((1 - _SAFETY) / gauge, _STRETCH) if gauge > 0 else 1.0

    # a penalty without a dual norm, such as ridge, is finite everywhere and has a price instead
    def value(s: float) -> float:
        price = program.penalty.conjugate(program.lift.adjoint(s * v)) if gauge == 0 else 0.0
        return -program.loss.conjugate(-s * v) - price

    values = [(value(s), s) for s in {largest, min(largest, 1.0), 0.0}]
    best, scale = max(pair for pair in values if not np.isnan(pair[0]))
    return best - _SAFETY * abs(best), scale * v


def relative_gap(program: Program, dual: Array, gauge: float, upper: float) -> float:
    """Return the relative gap, at most 1, of a dual point whose largest gauge is `gauge`."""
    v = in_domain(program.loss, program.free, program.interior, double(dual))
    lower = -program.loss.conjugate(-v / max(gauge, 1.0))
    return min((upper - lower) / upper, 1.0) if upper > 0 else 1.0


def in_domain(loss: Mean, free: Array, interior: Array | None, v: Array) -> Array:
    """Return a point near `v` (n, c) that is orthogonal to `free` and where loss*(-v) is finite.

    It is drawn towards the point `interior`, None for zero; zero itself when that fails. Outputs
    that sum to zero up to single precision, as gradients of the softmax loss do, are made to. An
    output that no sample pulls up, as that of a class without samples, has no part in it.
    """
    xp, given = namespace(v), v
    v = orthogonal(free, given)
    if np.isfinite(loss.conjugate(-v)):
        return v
    if free.shape[1] and v.shape[1] > 1:
        absent = xp.all(given <= 0, axis=0)
        if xp.any(absent):
            v = orthogonal(free, _without(given, absent))
    inside = 0 * v
    if interior is not None:
        inside = orthogonal(free, double(interior))
    means = xp.mean(v, axis=1, keepdims=True)
    if float(xp.max(xp.abs(means))) <= _SINGLE * float(xp.max(xp.abs(v))):
        v = v - means
    for share in (0.0, *(10.0 ** np.arange(-12.0, 1.0)).tolist()):
        drawn = v + share * (inside - v)
        if np.isfinite(loss.conjugate(-drawn)):
            return drawn
    return xp.zeros_like(v)


def _without(v: Array, outputs: Array) -> Array:
    """Return `v` (n, c) with zeros at some outputs; what they had goes to each row's largest."""
    xp = namespace(v)
    largest = v == xp.max(v, axis=1, keepdims=True)
    moved = xp.sum(xp.where(outputs, v, 0.0), axis=1, keepdims=True)
    share = xp.astype(largest, v.dtype) / xp.sum(xp.astype(largest, v.dtype), axis=1, keepdims=True)
    return xp.where(outputs, 0.0, v + share * moved)


def orthogonal(free: Array, v: Array) -> Array:
    """Return `v` (n, c) less its part in the span of the orthogonal columns of `free` (n, q).

    >>> orthogonal(np.ones((2, 1)), np.array([[3.0], [1.0]]))[:, 0]
    array([ 1., -1.])
    """
    if free.shape[1] == 0:
        return v
    columns = double(free)
    square = namespace(v).sum(columns[:, 0] ** 2)
    for _ in range(2):  # twice, so that rounding leaves nothing
        v = v - columns @ (columns.T @ v / square)
    return v


def certify(
    program: Program,
    iterate: Iterate,
    *,
    scope: Scope = Scope.GIVEN_GATES,
    exactness: Exactness = Exactness.EXACT,
    prices: Callable[[Program, Array], Array] = gauges,
) -> tuple[Certificate, Iterate]:
    """Return the certificate of a program's iterate in float64, and the iterate that it holds for.

    Without a cone the bounds hold as they are, and `prices` bounds the gauges of a dual point. With
    one, `upper` belongs to the blocks projected onto their cones, so it is the objective of a
    feasible point.
    """
    blocks = inside_cones(program, double(iterate.blocks))
    free = double(iterate.free)
    known: list[Array] = []

    def gauge_of(v: Array) -> float:
        known.append(prices(program, v))
        return float(namespace(v).max(known[-1]))

    if program.constraint is None and program.lift.in_shape[0] > 0:
        lower, dual = feasible_dual(program, iterate.dual, gauge_of=gauge_of)
    else:
        lower, dual = feasible_dual(program, iterate.dual, iterate.multiplier)
    if program.constraint is not None and not by_projection(program.penalty):
        # what is not claimed: another run of cutting planes may leave as much
        lower = min(lower, -program.loss.conjugate(-(1 - 4 * CUT) * dual))
    certificate = Certificate(
        upper=program.objective(blocks, free),
        lower=lower,
        scope=scope,
        exactness=exactness,
        violation=program.violation(blocks),
        resolution=resolution(program),
    )
    found = iterate._replace(blocks=blocks, free=free, dual=dual, bounds=None)
    return certificate, found._replace(gauges=known[0] if known else None)


def resolution(program: Program) -> float:
    """Return the rounding unit of the objective: 1e-14 of the loss of scores that are wholly wrong.

    Those are zero and twice the target, as far away on its other side, where a loss such as that
    of quantiles may be steeper: a fit that misses by rounding may miss on either side.
    """
    xp, columns, loss = namespace(program.free), program.free, program.loss
    zero = xp.zeros(program.lift.out_shape, dtype=xp.float64, device=device(columns))
    return 1e-14 * max(abs(loss.value(zero)), abs(loss.value(zero + 2 * loss.target)))


class Evidence(NamedTuple):
    """What a model shows to be checked; made from the model, the data and nothing else."""

    claim: Certificate
    program: Program
    """The program of the model's own gates on the data at hand."""
    objective: float
    """The network's objective on the data at hand, in float64."""
    dual: Array
    """The stored dual vector, (n, c)."""
    prove: Callable[[Array], float] | None = None
    """What lower bound on all networks a dual vector proves; None: on the program's own gates."""
    widen: Callable[[float], float] | None = None
    """The bound on networks that see all of the data, from that on those which see a part."""
    objections: tuple[str, ...] = ()
    """What already speaks against the claim: other data, gates that are not all patterns."""


@dataclass(frozen=True)
class Verification:
    """The verdict on a claim, with the certificate that was recomputed."""

    accepted: bool
    reason: str
    certificate: Certificate

    def __bool__(self) -> bool:
        return self.accepted


def check(evidence: Evidence) -> Verification:
    """Recompute both bounds of a claim, and accept it only if they prove the gap it states.

    The upper bound is the network's objective; the lower bound comes from the stored dual vector,
    made feasible here. No solver is called and nothing of the claim is used but its numbers.
    """
    claim = evidence.claim
    if evidence.prove is None:
        lower, _ = feasible_dual(evidence.program, evidence.dual)
    else:
        lower = evidence.prove(evidence.dual)
    found = replace(
        claim, upper=evidence.objective, lower=lower, resolution=resolution(evidence.program)
    )
    slack = 1e-10 * abs(found.upper) + found.resolution
    faults = list(evidence.objections)
    if not abs(found.upper - claim.upper) <= slack:
        faults.append(f"the network's objective is {found.upper:.10g}, not {claim.upper:.10g}")
    if not found.lower >= claim.lower - slack:
        faults.append(f"the dual vector proves {found.lower:.10g}, not {claim.lower:.10g}")
    if not found.gap <= claim.gap * (1 + 1e-6) + slack:
        faults.append(f"the proved gap is {found.gap:.3g}, the claimed one {claim.gap:.3g}")
    if claim.whole is not None:
        whole = -np.inf if evidence.widen is None else evidence.widen(found.lower)
        found = replace(found, whole=whole)
        if not whole >= claim.whole - slack:
            faults.append(f"all of the data give {whole:.10g}, not {claim.whole:.10g}")
    if not found.relative_gap < float("inf"):
        faults.append(f"no optimum lies between {found.lower:.10g} and {found.upper:.10g}")
    reason = "; ".join(faults) or "both bounds were recomputed and prove the stated gap"
    return Verification(not faults, reason, found)


class Model(Protocol):
    """A trained model that can be checked."""

    def evidence(self, X: Any, y: Any, sample_weight: Any = None) -> Evidence:
        """Return the model's claim and what these data say about it."""


def verify(model: Model, X: Any, y: Any = None, sample_weight: Any = None) -> Verification:
    """Check a model's certificate against the data that it was trained on.

    Accepts only if the network's objective and the stored dual vector, both evaluated here in
    float64 and without a solver, prove the gap that the model states.

    >>> from cvxnn import ConvexRegressor
    >>> X, y = [[-1.0], [0.0], [1.0], [2.0]], [1.0, 0.0, 1.0, 2.0]
    >>> model = ConvexRegressor("gated", alpha=0.01, random_state=0).fit(X, y)
    >>> verify(model, X, y).accepted, verify(model, X, [1.0, 0.0, 1.0, 2.5]).accepted
    (True, False)
    """
    return check(model.evidence(X, y, sample_weight))
