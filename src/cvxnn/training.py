"""From arrays and a user's words to a problem, and from a problem to a trained network."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.architectures import (
    BY_NAME,
    SEQUENTIAL,
    Architecture,
    Network,
    Problem,
    assemble,
    free_columns,
    growing,
)
from cvxnn.arrays import Array, to_numpy
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.everywhere.jumps import jump_problem
from cvxnn.everywhere.open import open_problem
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
from cvxnn.gates import Gates, searching
from cvxnn.path import interior_dual, null_start
from cvxnn.program import Iterate
from cvxnn.solve import Progress, Solution, Solver, Status, solve
from cvxnn.solver_choice import SOLVERS, likely, named
from cvxnn.solvers import WorkingSet
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
GATES = ("auto", "grow", "sample", "enumerate")


def architecture_of(value: str | Architecture) -> Architecture:
    """Return the architecture that a user named or passed; "attention" is the linear one."""
    table = {**BY_NAME, "attention": BY_NAME["linear_attention"]}
    architecture: Architecture = named("architecture", value, table, table)
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
    architecture: Architecture,
    X: Array,
    target: Array,
    weights: NDArray[np.float64],
    loss: SampleLoss,
    *,
    intercept: bool,
    skip: bool,
) -> Any:
    """Return the problem over all networks at alpha = 1; arguments as in `problem_of`.

    It is an `OpenProblem` where neurons grow, a `JumpProblem` where patterns are searched.
    """
    free = free_columns(X, intercept=intercept, skip=skip)
    loss_of_all = mean_loss(loss, target, weights)
    problem: Any
    if growing(architecture):
        problem = open_problem(architecture.weighted(weights), X, loss_of_all, free)
        if problem.pooling is not None:
            memory.require(memory.of_growth(*problem.features.shape))
    else:
        problem = jump_problem(architecture.weighted(weights), X, loss_of_all, free)
    return problem.within(interior_dual(problem.program))


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
    can = own and _open(architecture) and math.isfinite(loss.smoothness)
    return "grow" if can else "sample"


def grows(architecture: Architecture, gates: str | Array) -> bool:
    """Tell whether training is over all networks, not over given gates."""
    return isinstance(gates, str) and gates == "grow" and _open(architecture)


def _open(architecture: Architecture) -> bool:
    """Tell whether there is a problem over all networks: neurons grow, or gates are searched."""
    return growing(architecture) or searching(architecture.source)


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
    gates: Gates | None = None
    """Those that the bound speaks of; None where they are the network's own, or none."""
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
    relaxed = certificate.exactness is Exactness.RELAXATION
    if solution.status is Status.OPTIMAL and relaxed and not certificate.proves(tol):
        solution = replace(solution, status=Status.BEST_FOUND)  # the relaxation was solved
    last = solution.iterate._replace(dual=dual)
    estimate = problem.estimate(last) if solver.heuristic else None
    gates = problem.bounding(last) if proof is None else None
    return Trained(network, certificate, solution, dual, proof, gates, estimate)


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
    gates = problem.gates if isinstance(problem, Problem) else None
    return Trained(network, certificate, solution, dual, proof, gates)


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
    penalty = architecture.penalty(1.0, outputs)
    heads = isinstance(architecture, SEQUENTIAL)
    free = likely(loss, penalty, n=n, d=d, p=p, outputs=outputs, heads=heads)
    auto = WorkingSet() if sizes.rows else free
    chosen = auto if solver == "auto" else named("solver", solver, SOLVERS, ["auto", *SOLVERS])
    words = {"n": n, "d": d, "p": p, "itemsize": X.dtype.itemsize}
    streams = not whole and dense_bytes(X) >= LARGE
    memory.require(dense + memory.predict(sizes, chosen, by_blocks=streams, **words))
