"""The reference: an interior point method on the whole program, written out with dense data."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from cvxnn.arrays import namespace
from cvxnn.errors import CvxnnError
from cvxnn.functions import Nonnegative
from cvxnn.program import Iterate, Program
from cvxnn.solvers.conic import ConeProgram, entries, iterate_of, power_of_two, written_out
from cvxnn.solvers.fista import origin
from cvxnn.solvers.pieces import LOSSES, PENALTIES

_REGULARISATION = (1e-9, 1e-10, 1e-8, 1e-11)
"""Clarabel's, attempt by attempt; which is the most accurate differs between programs."""

_ANSWERS = ("Solved", "AlmostSolved", "InsufficientProgress", "NumericalError", "MaxIterations")
"""Statuses with a point that is the best found; a certificate says how good it is."""

_CONES = {
    "zero": "ZeroConeT",
    "nonnegative": "NonnegativeConeT",
    "second order": "SecondOrderConeT",
    "exponential": "ExponentialConeT",
    "psd": "PSDTriangleConeT",
}
"""What Clarabel calls the cones."""

TINY = 150_000
"""Entries of the dense lift up to which an interior point method is the quickest, if not Newton's
method."""

_LEAST = 1e-8
"""Least unit of cost, as a share of the loss of predicting zero."""


class State(NamedTuple):
    """The last point, the cone program once it is built, its unit of cost, and the attempts."""

    iterate: Iterate
    cone: ConeProgram | None
    cost: float
    attempts: int
    answered: bool
    """Whether the point is Clarabel's."""


@dataclass(frozen=True)
class Reference:
    """Clarabel's interior point method [Goulart2024] on the dense program, for small problems.

    Takes the losses and penalties of this library, and cones of nonnegative rows. A step solves
    the program once. If its certificate is not good enough the next one does so with another
    regularisation and with costs in units of the last optimum, which matters for tiny alphas; after
    four steps it is done. Raises CvxnnError if Clarabel finds no point at all.

    >>> import numpy as np
    >>> from cvxnn.functions import GroupNorm, Squared, mean_loss
    >>> from cvxnn.maps import Gated
    >>> from cvxnn.solve import solve
    >>> X, y = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
    >>> program = Program(
    ...     loss=mean_loss(Squared(), y),
    ...     lift=Gated(X, np.ones((2, 1)), outputs=1),
    ...     penalty=GroupNorm(0.5),
    ...     free=np.zeros((2, 0)),
    ... )
    >>> solution = solve(program, Reference(), tol=1e-8)
    >>> solution.status.name, round(float(solution.iterate.blocks[0, 0, 0]), 6)
    ('OPTIMAL', 0.8)
    """

    tol: float = 1e-13
    """Clarabel's tolerance on gap and residuals; below what it attains, it does what it can."""
    max_entries: int = 20_000_000
    """Most entries of A and C together."""

    name = "reference"
    heuristic = False
    copies = (4, 4)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: points are all it holds."""
        return 0

    def why_not(self, program: Program) -> str | None:
        """Return None for functions with a cone program, up to `max_entries`."""
        for function, known in ((program.loss.loss, LOSSES), (program.penalty, PENALTIES)):
            if type(function) not in known:
                names = ", ".join(kind.__name__ for kind in known)
                return (
                    f"{type(function).__name__} has no cone program here, only {names} have; "
                    "use solver='admm'"
                )
        if program.constraint is not None and type(program.constraint.cone) is not Nonnegative:
            cone = type(program.constraint.cone).__name__
            return f"the reference takes rows in Nonnegative, not in {cone}; use solver='admm'"
        size = entries(program)
        if size > self.max_entries:
            return (
                f"the dense program has {size:,} entries and the reference takes "
                f"{self.max_entries:,}; use solver='admm', or fewer gates"
            )
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, from which Clarabel cannot gain, or at zero."""
        if start is None:
            blocks, free = origin(program)
            start = Iterate(blocks, free, namespace(free).zeros_like(program.loss.target))
        return State(start, None, power_of_two(_at_zero(program)), 0, False)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one more solve."""
        cone = state.cone or written_out(program)
        answer = interior_point(cone, state.cost, _REGULARISATION[state.attempts], self.tol)
        state = state._replace(cone=cone, attempts=state.attempts + 1)
        x, z = np.array(answer.x), np.array(answer.z)
        if str(answer.status) in _ANSWERS and np.isfinite(x).all() and np.isfinite(z).all():
            # an optimum of zero is no unit of cost
            least = power_of_two(_LEAST * _at_zero(program))
            cost = max(state.cost * power_of_two(abs(answer.obj_val)), least)
            iterate = iterate_of(program, cone.units, x, z, state.cost)
            return state._replace(iterate=iterate, cost=cost, answered=True)
        if self.done(state) and not state.answered:
            raise CvxnnError(
                f"Clarabel ended with {answer.status} on a program that has an optimum; "
                "standardise the data, or use solver='admm'"
            )
        return state

    def read(self, program: Program, state: State) -> Iterate:
        """Return the point of the last solve, in float64."""
        return state.iterate

    def done(self, state: State) -> bool:
        """Tell whether every regularisation was tried."""
        return state.attempts == len(_REGULARISATION)


def _at_zero(program: Program) -> float:
    return program.loss.value(namespace(program.free).zeros_like(program.loss.target))


def interior_point(cone: ConeProgram, cost: float, regularisation: float, tol: float) -> Any:
    """Return Clarabel's solution of the program with its costs divided by `cost`."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.presolve_enable = False  # it drops rows, and with them their multipliers
    settings.chordal_decomposition_enable = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    settings.static_regularization_constant = regularisation
    settings.iterative_refinement_reltol = settings.iterative_refinement_abstol = 1e-15
    settings.iterative_refinement_stop_ratio = 2.0
    cones = [
        getattr(clarabel, _CONES[kind])(*(() if kind == "exponential" else (size,)))
        for kind, size in cone.cones
        if size > 0
    ]
    square = sparse.csc_matrix(sparse.diags_array(cone.square / cost))
    matrix = sparse.csc_matrix(cone.matrix)
    return clarabel.DefaultSolver(
        square, cone.cost / cost, matrix, cone.right, cones, settings
    ).solve()
