"""From arrays and a user's words to a problem, and from a problem to a trained network."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.architectures import (
    BY_NAME,
    Architecture,
    Growing,
    Network,
    Problem,
    assemble,
    free_columns,
    growing,
)
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Certificate, Scope
from cvxnn.everywhere.closed import ClosedForm
from cvxnn.everywhere.grow import Grow
from cvxnn.everywhere.open import OpenProblem, open_problem
from cvxnn.everywhere.sketch import Sketch
from cvxnn.functions import (
    CrossEntropy,
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)
from cvxnn.gates import Gates
from cvxnn.gates.base import pattern_keys
from cvxnn.path import interior_dual, null_model
from cvxnn.program import Iterate, Program
from cvxnn.projection import by_projection
from cvxnn.solve import Progress, Solution, Solver, Status, solve
from cvxnn.solvers import ADMM, FISTA, Newton, Reference, WorkingSet
from cvxnn.solvers.reference import TINY
from cvxnn.streamed import LARGE, dense_bytes, stays

LOSSES: dict[str, SampleLoss] = {
    loss.name: loss
    for loss in (
        Squared(),
        Huber(),
        Quantile(),
        Logistic(),
        SquaredHinge(),
        Hinge(),
        CrossEntropy(),
    )
}
SOLVERS: dict[str, Solver] = {
    solver.name: solver for solver in (FISTA(), Newton(), ADMM(), WorkingSet(), Reference())
}
GATES = ("auto", "grow", "sample", "enumerate")
_ROUGH = 5e-3
"""Relative gap from which growth is light."""
_LIGHT = Grow(tol=1e-2, sharp=2e-3, starts=64, exact=False)
_HUGE = 5e9
"""Entries of the dense lift from which products are too dear for conjugate gradients."""
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


def architecture_of(value: str | Architecture) -> Architecture:
    """Return the architecture that a user named or passed."""
    architecture: Architecture = named("architecture", value, BY_NAME, BY_NAME)
    return architecture


def gates_of(
    architecture: Architecture,
    X: Array,
    choice: str | Array,
    n_gates: int,
    rng: np.random.Generator,
) -> tuple[Gates, Scope]:
    """Return the gates that a user asked for, and what a bound over them speaks of.

    `choice` is "sample", "enumerate" or an array of generators (p, d), d counting the bias; "auto"
    and "grow" are "sample" where gates are fixed. The scope is that of one output.

    Raises ValueError for other words, and for any but "auto" where there are no gates.
    """
    _require_gates(architecture, choice)
    features, source = architecture.features(X), architecture.source
    some = architecture.scope(every=False, outputs=1)
    if not isinstance(choice, str):
        return source.useful(source.given(features, choice), features), some
    if choice != "enumerate":
        return source.draw(features, n_gates, rng), some
    return source.every(features), architecture.scope(every=True, outputs=1)


def _require_gates(architecture: Architecture, choice: str | Array) -> None:
    """Raise ValueError for words that are none, and for any but "auto" where there are no gates."""
    word = isinstance(choice, str)
    if without_gates(architecture) and not (word and choice == "auto"):
        raise ValueError(
            f"gates is {choice!r} but {architecture.name} networks have no gates: their program is "
            "over all networks; leave gates='auto'"
        )
    if word and choice not in GATES:
        raise ValueError(
            f"gates is {choice!r}; expected 'auto', 'grow', 'sample', 'enumerate' or an array of "
            "generators"
        )


def without_gates(architecture: Architecture) -> bool:
    """Tell whether the program is over all networks on any gates, so that there are none."""
    return architecture.scope(every=False, outputs=1) is Scope.ALL_NETWORKS


def problem_of(
    architecture: Architecture,
    X: Array,
    target: Array,
    weights: NDArray[np.float64],
    loss: SampleLoss,
    gates: Gates,
    *,
    scope: Scope,
    intercept: bool,
    skip: bool,
) -> Problem:
    """Return the problem at alpha = 1; `target` (n, c) in float64, positive `weights` (n,)."""
    problem = assemble(
        architecture.weighted(weights),
        X,
        gates,
        mean_loss(loss, target, weights),
        1.0,
        free=free_columns(X, intercept=intercept, skip=skip),
        outputs=target.shape[1],
        scope=architecture.scope(every=scope is Scope.ALL_NETWORKS, outputs=target.shape[1]),
    )
    return problem.within(interior_dual(problem.program))


def open_problem_of(
    architecture: Growing,
    X: Array,
    target: Array,
    weights: NDArray[np.float64],
    loss: SampleLoss,
    *,
    intercept: bool,
    skip: bool,
) -> OpenProblem:
    """Return the problem over all networks at alpha = 1; arguments as in `problem_of`."""
    free = free_columns(X, intercept=intercept, skip=skip)
    loss_of_all = mean_loss(loss, target, weights)
    problem = open_problem(architecture.weighted(weights), X, loss_of_all, free)
    if problem.pooling is not None:
        memory.require(memory.of_growth(*problem.features.shape))
    return problem.within(interior_dual(problem.program))


def solver_for(program: Program, choice: str | Solver) -> tuple[Solver, str]:
    """Return the solver that a user asked for and why it is this; "auto" goes by the program.

    Newton's method on a working set of gates where the loss is smooth and there are no cones. Else
    the interior point reference while the program is tiny; beyond, column generation over the
    gates with cones, alternating directions without. Where a single product takes seconds, a
    Newton step of hundreds would hide the run for minutes: there accelerated gradients go on, and
    where there are no more than two blocks to choose from.
    """
    if choice != "auto":
        solver: Solver = named("solver", choice, SOLVERS, ["auto", *SOLVERS])
        return solver, "asked for"
    size = program.lift.out_shape[0] * math.prod(program.lift.in_shape)
    few = program.lift.in_shape[0] <= _FEW
    if program.constraint is None and math.isfinite(program.loss.smoothness) and not few:
        return _for_smooth(size)
    if size <= TINY and Reference().why_not(program) is None:
        return Reference(), "a tiny program: an interior point method"
    if few and FISTA().why_not(program) is None:
        return FISTA(), "a smooth loss and no blocks to choose from: accelerated gradients"
    if program.constraint is None:
        return ADMM(), "a loss with kinks: alternating directions"
    if not by_projection(program.penalty):  # as a working set prices cones
        return ADMM(), "cones under another than a Euclidean norm: alternating directions"
    return WorkingSet(), "cones: column generation over the gates"


def _for_smooth(size: int) -> tuple[Solver, str]:
    """Return the solver of smooth losses without cones, by the entries of the dense lift."""
    if size > _HUGE:
        return FISTA(), "a smooth loss without cones, large products: accelerated gradients"
    return WorkingSet(), "a smooth loss without cones: Newton's method on a working set"


def chosen(
    architecture: Architecture, gates: str | Array, solver: str | Solver, loss: SampleLoss
) -> str | Array:
    """Return what "auto" stands for: "grow" where networks grow and growth can, else "sample".

    Raises ValueError as `gates_of`.
    """
    _require_gates(architecture, gates)
    if not (isinstance(gates, str) and gates == "auto"):
        return gates
    own = isinstance(solver, str) and solver == "auto"
    can = own and growing(architecture) and math.isfinite(loss.smoothness)
    return "grow" if can else "sample"


def grows(architecture: Architecture, gates: str | Array) -> TypeGuard[Growing]:
    """Tell whether training is over all networks, not over given gates."""
    return isinstance(gates, str) and gates == "grow" and growing(architecture)


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
    problem: OpenProblem, choice: str | Solver, seed: int, tol: float
) -> tuple[Solver, str]:
    """Return the solver of an open problem, and why it is this one.

    "auto" is the closed form where the data have one; else as `grower`.
    """
    if choice == "auto" and ClosedForm().why_not(working := problem.working()) is None:
        return ClosedForm(), ClosedForm().reason(working)
    return grower(choice, seed, tol), "neurons are added where they help"


def roughly(solver: Solver, *, kept: bool) -> Solver:
    """Return the solver as the validation of alpha uses it, whose networks are `kept` or not."""
    if not isinstance(solver, Grow):
        return solver
    return replace(_LIGHT, seed=solver.seed) if kept else Sketch(seed=solver.seed)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its certificate, and the solution that it was read from."""

    network: Network
    certificate: Certificate
    solution: Solution
    dual: Array
    """(n, c), the dual point that proves the lower bound."""
    proof: Any = None
    """How it was proved over all networks; None with given gates."""
    estimate: float | None = None
    """The relative gap if growth missed no neuron: not proved; None where nothing was grown."""


def train(
    problem: Any,
    solver: Solver,
    *,
    start: Iterate | None = None,
    tol: float = 1e-4,
    max_iter: int = 20_000,
    max_time: float | None = None,
    proof_time: float = 0.0,
    callbacks: Iterable[Callable[[Progress], object]] = (),
    reason: str = "asked for",
) -> Trained:
    """Solve, read the network off the solution, and certify the network itself.

    `reason` is why this solver is used; it goes into the solution.
    """
    solution = solve(
        problem.working(),
        solver,
        start=start or null_start(problem),
        tol=tol,
        max_iter=max_iter,
        max_time=max_time,
        callbacks=callbacks,
        judge=problem.judge,
    )
    network = problem.network(solution.iterate)
    certificate, dual, proof = solution.certificate, solution.iterate.dual, None
    if solution.status is not Status.DATA:  # the data of that certificate are no longer there
        certificate, dual, proof = problem.settle(
            network, solution.iterate, certificate, tol, proof_time
        )
    solution = replace(solution, reason=reason)
    if solution.status is Status.BEST_FOUND and certificate.proves(tol):
        solution = replace(solution, status=Status.OPTIMAL)
    estimate = problem.estimate(solution.iterate) if solver.heuristic else None
    return Trained(network, certificate, solution, dual, proof, estimate)


def average(
    problem: Any, networks: Sequence[Network], *, tol: float = 1e-4, proof_time: float = 0.0
) -> Trained:
    """Return the mean of networks as one network, and what its own dual point proves of it."""
    begin = time.perf_counter()
    if isinstance(problem, Problem) and growing(problem.architecture):
        # a neuron's pattern on all samples need not be among the gates: compared with all networks
        loss, interior = problem.program.loss, problem.program.interior
        every = open_problem(problem.architecture, problem.X, loss, problem.free)
        problem = every.within(interior).at(problem.alpha)
    network = problem.architecture.stated(problem.architecture.mean(networks), problem.X)
    certificate, dual, proof = problem.assess(network, tol, proof_time)
    blocks, outputs = np.zeros((0, *problem.program.lift.in_shape[1:])), len(network.intercept)
    solution = Solution(
        iterate=Iterate(blocks, np.zeros((0, outputs)), to_numpy(dual)),
        status=Status.AVERAGED,
        certificate=certificate,
        iterations=1,
        seconds=time.perf_counter() - begin,
        solver="mean",
        trace=(),
        reason=f"the mean of the networks of {len(networks)} folds",
    )
    return Trained(network, certificate, solution, dual, proof)


def null_start(problem: Any) -> Iterate:
    """Return the zero network with its best intercept and skip, where every run starts."""
    xp, null = namespace(problem.X), null_model(problem.program)
    blocks = xp.zeros(problem.program.lift.in_shape, dtype=xp.float64)
    return null._replace(blocks=like(blocks, null.free), multiplier=None)


def require_memory(
    architecture: Architecture,
    X: Array,
    p: int,
    outputs: int,
    loss: SampleLoss,
    solver: str | Solver,
    *,
    whole: bool = True,
) -> None:
    """Raise MemoryBudgetError, before anything is allocated, when a fit would not fit.

    `whole` tells that X is needed as one array; else row blocks will do, where it is large.
    """
    rows, d = architecture.features(X[:1]).shape  # of one sample
    n = X.shape[0] * rows
    dense = 0 if stays(X, not whole) else dense_bytes(X)
    none = without_gates(architecture)
    p = 1 if none else p
    sizes = architecture.sizes(n, d, p, outputs)
    smooth = _for_smooth(n * d * p * outputs)[0] if math.isfinite(loss.smoothness) else ADMM()
    smooth = FISTA() if none else smooth  # a symmetric matrix or two: no blocks to choose from
    auto = WorkingSet() if sizes.rows else smooth
    chosen = auto if solver == "auto" else named("solver", solver, SOLVERS, ["auto", *SOLVERS])
    words = {"n": n, "d": d, "p": p, "itemsize": X.dtype.itemsize}
    streams = not whole and dense_bytes(X) >= LARGE
    memory.require(dense + memory.predict(sizes, chosen, by_blocks=streams, **words))


def complete(architecture: Architecture, gates: Gates, features: Array) -> bool:
    """Tell whether the gates hold every activation pattern of the data."""
    try:
        every = architecture.source.every(features)
    except ValueError:  # there are more than can be listed, let alone held by a model
        return False
    needed, given = (architecture.source.canonical(each.masks) for each in (every, gates))
    return bool(np.isin(pattern_keys(needed), pattern_keys(given)).all())
