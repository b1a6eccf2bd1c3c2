"""Which solver takes a program, and why: what "auto" stands for."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cvxnn.architectures import Problem, represented
from cvxnn.everywhere.closed import ClosedForm
from cvxnn.everywhere.grow import Grow
from cvxnn.everywhere.jumps import JumpProblem
from cvxnn.everywhere.open import OpenProblem
from cvxnn.everywhere.sketch import Sketch
from cvxnn.everywhere.widen import Widen
from cvxnn.functions import (
    CrossEntropy,
    EigenNorm,
    Logistic,
    Penalty,
    Ridge,
    SampleLoss,
    SphereMoments,
    Squared,
)
from cvxnn.program import Program
from cvxnn.projection import by_projection
from cvxnn.solve import Solver
from cvxnn.solvers import (
    ADMM,
    FISTA,
    Direct,
    Factored,
    Newton,
    Reference,
    Shrinkage,
    Subspace,
    WorkingSet,
)
from cvxnn.solvers.direct import MOST, side
from cvxnn.solvers.reference import TINY
from cvxnn.solvers.subspace import TURNED

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        FISTA(),
        Factored(),
        Newton(),
        Direct(),
        Shrinkage(),
        ADMM(),
        WorkingSet(),
        Subspace(),
        Reference(),
    )
}
_ROUGH = 5e-3
"""Relative gap from which growth is light."""
_LIGHT = Grow(tol=1e-2, sharp=2e-3, starts=64, add=40, exact=False)
_HUGE = 5e9
"""Entries of the dense lift from which products are too dear for conjugate gradients."""
_WIDE, _LARGE = 200, 1e9
"""Columns, and entries, from which a few directions of the data are worth trying first."""
_TINY_EXP = 45_000
"""Entries up to which the interior point method is the quickest in spite of exponential cones."""
_HASTY: dict[str, Any] = {
    "tol": 1e-2,
    "starts": 16,
    "circles": 8,
    "wide": 1,
    "rounds": 6,
    "add": 128,
}
"""Words of a light `Widen`."""
_FEW = 2
"""Blocks up to which there is no working set to choose: symmetric matrices are one or two."""


def named(what: str, value: Any, table: dict[str, Any], allowed: Iterable[str]) -> Any:
    """Return `value` itself, or the entry of `table` that it names; ValueError for other names."""
    if not isinstance(value, str):
        return value
    names = sorted(allowed)
    if value not in names:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(map(repr, names))}")
    return table[value]


def solver_for(program: Program, choice: str | Solver) -> tuple[Solver, str]:
    """Return the solver that a user asked for and why it is this; "auto" goes by the program.

    A closed form, for linear autoencoders. The linear system of the squared loss with a ridge
    penalty, where it is not too large; descent on factors where blocks are symmetric matrices or
    sums of heads and the loss is smooth. Where the loss is smooth and there are no cones, Newton's
    method, on a working set unless gates are few or the penalty is smooth; in a few directions of
    the data first where these are large and have many columns. Else the interior point reference
    while the program is tiny; beyond, column generation over the gates with cones, alternating
    directions without. Where a single product takes seconds, a Newton step of hundreds would hide
    the run for minutes: there accelerated gradients go on, and where there are no more than two
    blocks to choose from.
    """
    if choice != "auto":
        solver: Solver = named("solver", choice, SOLVERS, ["auto", *SOLVERS])
        return solver, "asked for"
    n, (p, d, _) = program.lift.out_shape[0], program.lift.in_shape[:3]
    if Shrinkage().why_not(program) is None:
        return Shrinkage(), "a linear network that restores its data: a closed form"
    if side(n, d, p) <= MOST and Direct().why_not(program) is None:
        return Direct(), "the squared loss with a ridge penalty: one linear system"
    if Factored().why_not(program) is None:
        return Factored(), "a smooth loss on matrices of low rank: descent on few factors"
    size = n * math.prod(program.lift.in_shape)
    few = program.lift.in_shape[0] <= _FEW
    if program.constraint is None and math.isfinite(program.loss.smoothness) and not few:
        wide = d >= _WIDE and Subspace().why_not(program) is None
        return _for_smooth(size, program.lift.in_shape, program.penalty, wide)
    logarithms = isinstance(program.loss.loss, Logistic | CrossEntropy)
    if size <= (_TINY_EXP if logarithms else TINY) and Reference().why_not(program) is None:
        return Reference(), "a tiny program: an interior point method"
    if few and FISTA().why_not(program) is None:
        return FISTA(), "a smooth loss and no blocks to choose from: accelerated gradients"
    if program.constraint is None:
        return ADMM(), "a loss with kinks: alternating directions"
    if not by_projection(program.penalty):  # as a working set prices cones
        return ADMM(), "cones under another than a Euclidean norm: alternating directions"
    return WorkingSet(), "cones: column generation over the gates"


def _for_smooth(
    size: int, shape: tuple[int, ...], penalty: Penalty, wide: bool
) -> tuple[Solver, str]:
    """Return the solver of smooth losses without cones, by the entries of the dense lift.

    The blocks are of `shape` (p, d, c). `wide`: `Subspace` takes the program, and there are many
    columns.
    """
    p, _, outputs = shape
    if size > _LARGE and wide:
        newton = size <= _HUGE and outputs == 1
        solver = Subspace(then=WorkingSet()) if newton else Subspace()
        return solver, "a smooth loss without cones, many columns: a few of their directions first"
    if size > _HUGE:
        return FISTA(), "a smooth loss without cones, large products: accelerated gradients"
    if math.isfinite(penalty.smoothness):
        return Newton(), "a smooth loss and a smooth penalty: Newton's method"
    if WorkingSet().takes_all(p):
        return Newton(), "a smooth loss without cones, few gates: Newton's method"
    return WorkingSet(), "a smooth loss without cones: Newton's method on a working set"


def posed(problem: Problem, solver: Solver, reason: str) -> tuple[Any, Solver, str]:
    """Return the arguments; a direct solver's problem in its samples where columns are more."""
    n, (p, d, _) = problem.program.lift.out_shape[0], problem.program.lift.in_shape
    if isinstance(solver, Direct) and solver.why_not(problem.program) is None and n <= p * d:
        return represented(problem), solver, reason
    return problem, solver, reason


def likely(
    loss: SampleLoss, penalty: Penalty, *, n: int, d: int, p: int, outputs: int, heads: bool = False
) -> Solver:
    """Return what "auto" takes for a program without cones, before there is one.

    `heads`: its blocks are sums of attention heads.
    """
    if not math.isfinite(loss.smoothness):
        return ADMM()
    if isinstance(loss, Squared) and isinstance(penalty, Ridge) and side(n, d, p) <= MOST:
        return Direct()
    if heads or isinstance(penalty, EigenNorm | SphereMoments):
        return Factored()
    wide = d >= _WIDE and isinstance(penalty, TURNED)
    if p <= _FEW:
        return FISTA()
    return _for_smooth(n * d * p * outputs, (p, d, outputs), penalty, wide)[0]


def grower(choice: str | Solver, seed: int, tol: float) -> Solver:
    """Return the solver of open problems; ValueError for a name that is another's.

    A relative gap `tol` of a per cent asks for less than growth is made for: wider kinks will do,
    and no wide search for the neuron that is missing.
    """
    if isinstance(choice, str) and choice not in ("auto", "grow"):
        raise ValueError(
            f"solver is {choice!r} and gates is 'grow', which has a solver of its own; pass "
            "solver='auto', or gates='sample' or 'enumerate'"
        )
    if not isinstance(choice, str):
        return choice
    return Grow(seed=seed) if tol < _ROUGH else replace(_LIGHT, tol=tol, seed=seed)


def open_solver(
    problem: OpenProblem | JumpProblem, choice: str | Solver, seed: int, tol: float
) -> tuple[Solver, str]:
    """Return the solver of an open problem, and why it is this one.

    "auto" is the closed form where the data have one; else as `grower`.
    """
    if isinstance(problem, JumpProblem):
        own = choice if isinstance(choice, Widen) else Widen(seed=seed, tol=tol)
        grower(choice, seed, tol)  # refuses the names of others
        return own, "patterns are added where they help"
    if choice == "auto" and ClosedForm().why_not(working := problem.working()) is None:
        return ClosedForm(), ClosedForm().reason(working)
    return grower(choice, seed, tol), "neurons are added where they help"


def roughly(solver: Solver, *, kept: bool) -> Solver:
    """Return the solver as the validation of alpha uses it, whose networks are `kept` or not."""
    if isinstance(solver, Widen):
        return replace(solver, **_HASTY)
    if not isinstance(solver, Grow):
        return solver
    return replace(_LIGHT, seed=solver.seed) if kept else Sketch(seed=solver.seed)
