"""One value for every architecture: minimise loss(A u + F b) + penalty(u) subject to C u in K."""

from dataclasses import dataclass
from typing import NamedTuple

from cvxnn.arrays import Array, namespace
from cvxnn.functions import Cone, Mean, Penalty
from cvxnn.maps import Lift, Rows


class Constraint(NamedTuple):
    """C u in K."""

    map: Rows
    cone: Cone


class Iterate(NamedTuple):
    """What a solver has: a primal point, and a dual point that may still be infeasible."""

    blocks: Array
    """u, (p, d, c)."""
    free: Array
    """b, (q, c), the coefficients of the unpenalised columns."""
    dual: Array
    """(n, c), about minus the gradient of the loss."""
    multiplier: Array | None = None
    """In the dual cone, one entry per row of C; None without a constraint."""
    gauges: Array | None = None
    """Polar gauges of the dual point, (p,), up to a factor; None where they are not known."""
    bounds: tuple[float, float] | None = None
    """Objective and lower bound by a solver's own account, which proves nothing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """minimise loss(A u + F b) + penalty(u) over u and b, subject to C u in K.

    `lift` is A, from blocks (p, d, c) to predictions (n, c). `free` is F, (n, q): orthogonal
    columns of equal norm that carry no penalty (an intercept, a linear skip); q may be 0. The
    dual is: maximise -loss*(-v) over v with F' v = 0 and, for a multiplier m in the dual cone,
    A* v + C* m in the domain of the penalty's conjugate.
    """

    loss: Mean
    lift: Lift
    penalty: Penalty
    free: Array
    constraint: Constraint | None = None
    interior: Array | None = None
    """A dual point (n, c) with F' v = 0, inside the domain of loss*(-v); None: zero is."""

    def predict(self, blocks: Array, free: Array) -> Array:
        """Return A u + F b, (n, c), in the dtype of `blocks`."""
        xp = namespace(blocks)
        return self.lift.apply(blocks) + xp.astype(self.free, blocks.dtype, copy=False) @ free

    def objective(self, blocks: Array, free: Array) -> float:
        """Return loss(A u + F b) + penalty(u); cone violations are not in it."""
        return self.loss.value(self.predict(blocks, free)) + self.penalty.value(blocks)

    def violation(self, blocks: Array) -> float:
        """Return the largest cone violation relative to the largest row of C u."""
        if self.constraint is None or blocks.shape[0] == 0:
            return 0.0
        xp = namespace(blocks)
        rows = self.constraint.map.apply(blocks)
        size = float(xp.max(xp.abs(rows)))
        return self.constraint.cone.violation(rows) / size if size > 0 else 0.0
