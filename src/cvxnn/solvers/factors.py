"""Factors of a program's blocks, as descent on them needs it: what they make, and at what price."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array
from cvxnn.functions import Cells, EigenNorm, Nuclear, SphereMoments
from cvxnn.maps import Heads, QuadraticForms
from cvxnn.program import Program
from cvxnn.solvers.factors_heads import AT_ONCE, heads_of
from cvxnn.solvers.factors_symmetric import matrices_of

Floats = NDArray[np.float64]


class Factors(Protocol):
    """Vectors w_j whose blocks have the penalty alpha * cost * sum of |w_j|^2, at least."""

    @property
    def vectors(self) -> Floats:
        """(m, k), those that the blocks were taken apart into."""

    @property
    def cost(self) -> float:
        """What alpha |w_j|^2 is counted."""

    def image(self, vectors: Floats) -> tuple[Array, Callable[[Array], Floats]]:
        """Return A U of the blocks (n, c), and what makes of a gradient there one in the w_j."""

    def composed(self, vectors: Floats) -> Array:
        """Return the blocks U, (p, t, c)."""


def why_no_factors(program: Program) -> str | None:
    """Return None where blocks have factors, else what is to be done."""
    lift, penalty = program.lift, program.penalty
    if isinstance(lift, QuadraticForms) and isinstance(penalty, EigenNorm | SphereMoments):
        return None
    if isinstance(lift, Heads) and isinstance(penalty, Cells):
        return None if isinstance(penalty.norm, Nuclear) else "heads are weighed by another norm"
    return (
        "factors are those of symmetric matrices, or attention heads, and this program has none; "
        "use solver='auto', or a quadratic, polynomial, attention or mixer architecture"
    )


def factors_of(program: Program, blocks: Array, share: float, *, new: bool = False) -> Factors:
    """Return factors of blocks, of at least a share of their block's largest weight.

    `new`: they are to be added to others, so that not all heads of a full rank need come at once.
    """
    if isinstance(program.lift, Heads):
        return heads_of(program, blocks, share, AT_ONCE if new else None)
    return matrices_of(program, blocks, share)


def strength(program: Program) -> float:
    """Return alpha."""
    penalty = program.penalty
    norm: Any = penalty.norm if isinstance(penalty, Cells) else penalty
    return float(norm.alpha)
