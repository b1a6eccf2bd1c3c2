"""From arrays and a user's words to a problem, and from a problem to a trained network."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.architectures import (
    BY_NAME,
    Architecture,
    Network,
    Problem,
    assemble,
    evaluate,
    free_columns,
)
from cvxnn.arrays import Array, like, namespace
from cvxnn.certificate import Certificate, Scope, feasible_dual
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
from cvxnn.gates import Gates, distinct, enumerate_patterns, from_generators, gaussian
from cvxnn.gates.base import pattern_keys
from cvxnn.path import interior_dual, null_model, row_keys
from cvxnn.program import Iterate, Program
from cvxnn.solve import Progress, Solution, Solver, solve
from cvxnn.solvers import ADMM, FISTA, Reference, WorkingSet

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
    solver.name: solver for solver in (FISTA(), ADMM(), WorkingSet(), Reference())
}
GATES = ("sample", "enumerate")
_TINY = 150_000
"""Entries of the dense lift up to which an interior point method is the quickest."""


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

    `choice` is "sample", "enumerate" or an array of generators (p, d), d counting the bias. Only
    a ReLU program on all patterns speaks of all networks.
    """
    features = architecture.features(X)
    if not isinstance(choice, str):
        return distinct_or_all(from_generators(features, choice)), Scope.GIVEN_GATES
    if choice not in GATES:
        raise ValueError(
            f"gates is {choice!r}; expected 'sample', 'enumerate' or an array of generators"
        )
    if choice == "sample":
        return gaussian(features, n_gates, rng), Scope.GIVEN_GATES
    exact = architecture.name == "relu"
    scope = Scope.ALL_NETWORKS if exact else Scope.GIVEN_GATES
    return distinct_or_all(enumerate_patterns(features)), scope


def distinct_or_all(gates: Gates) -> Gates:
    """Return the distinct gates that are open somewhere; all of them if none is."""
    kept = distinct(gates)
    return kept if len(kept) else gates


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
        architecture,
        X,
        gates,
        mean_loss(loss, target, weights),
        1.0,
        free=free_columns(X, intercept=intercept, skip=skip),
        outputs=target.shape[1],
        scope=scope,
    )
    program = problem.program
    return replace(problem, program=replace(program, interior=interior_dual(program)))


def solver_for(program: Program, choice: str | Solver) -> Solver:
    """Return the solver that a user asked for; "auto" goes by loss, constraint and size.

    The interior point reference while the program is tiny and free of nuclear norms. Beyond,
    proximal gradient for smooth losses without cones; for the others column generation over the
    gates with cones, alternating directions without.
    """
    if choice != "auto":
        solver: Solver = named("solver", choice, SOLVERS, ["auto", *SOLVERS])
        return solver
    smooth = program.constraint is None and math.isfinite(program.loss.smoothness)
    tiny = program.lift.out_shape[0] * math.prod(program.lift.in_shape) <= _TINY
    nuclear = smooth and program.lift.out_shape[-1] > 1
    if tiny and not nuclear and Reference().why_not(program) is None:
        return Reference()
    if smooth:
        return FISTA()
    return ADMM() if program.constraint is None else WorkingSet()


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its certificate, and the solution that it was read from."""

    network: Network
    certificate: Certificate
    solution: Solution


def train(
    problem: Problem,
    solver: Solver,
    *,
    start: Iterate | None = None,
    tol: float = 1e-4,
    max_iter: int = 20_000,
    max_time: float | None = None,
    callbacks: Iterable[Callable[[Progress], object]] = (),
) -> Trained:
    """Solve, read the network off the solution, and certify the network itself."""
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
    return Trained(network, problem.certificate(network, solution.certificate), solution)


def null_start(problem: Problem) -> Iterate:
    """Return the zero network with its best intercept and skip, where every run starts."""
    xp, null = namespace(problem.X), null_model(problem.program)
    blocks = xp.zeros(problem.program.lift.in_shape, dtype=xp.float64)
    return null._replace(blocks=like(blocks, null.free), multiplier=None)


def require_memory(
    architecture: Architecture, X: Array, p: int, outputs: int, solver: str | Solver
) -> None:
    """Raise MemoryBudgetError, before anything is allocated, when a fit would not fit."""
    n, d = X.shape[0], architecture.features(X[:1]).shape[1]
    sizes = architecture.sizes(n, d, p, outputs)
    auto = WorkingSet() if sizes.rows else ADMM()
    chosen = auto if solver == "auto" else named("solver", solver, SOLVERS, ["auto", *SOLVERS])
    memory.require(memory.predict(sizes, chosen, n=n, d=d, p=p, itemsize=X.dtype.itemsize))


def positive_weights(weights: Any, n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sample weights (n,) and which are positive; the others take no part.

    Raises ValueError for a wrong shape, for NaN, infinite or negative weights, and for all zero.
    """
    if weights is None:
        return np.ones(n), np.ones(n, dtype=np.bool_)
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.shape != (n,):
        raise ValueError(
            f"sample_weight has shape {values.shape} but X has {n} rows; pass one weight per sample"
        )
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"sample_weight[{row}] is {values[row]}; weights must be finite and at least 0"
        )
    if not (values > 0).any():
        raise ValueError(
            "sample_weight is zero for every sample; give some sample a positive weight"
        )
    return values, values > 0


@dataclass(frozen=True, eq=False)
class Samples:
    """The distinct samples of a data set, in an order of their own, with their total weights."""

    index: NDArray[np.int64]
    """(k,): one row of the data for each distinct sample."""
    weights: NDArray[np.float64]
    """(k,)."""
    owner: NDArray[np.int64]
    """(n,): which distinct sample a row is; -1 where the row has no weight."""
    share: NDArray[np.float64]
    """(n,): the row's part of that sample's weight."""

    def spread(self, dual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dual vector (n, c) of all rows from that of the distinct samples (k, c)."""
        return self.share[:, None] * dual[self.owner]


def distinct_samples(X: Array, target: Array, weights: NDArray[np.float64]) -> Samples:
    """Merge equal rows of (X, target), sort by content, and leave out rows without weight.

    So a weight of two is two copies to the last bit, and the order of the rows does not matter.
    """
    keys = row_keys(X, target)
    kept = np.flatnonzero(weights > 0)
    _, first, inverse = np.unique(keys[kept], return_index=True, return_inverse=True)
    totals = np.asarray(np.bincount(inverse, weights[kept]), dtype=np.float64)
    owner, share = np.full(len(weights), -1, dtype=np.int64), np.zeros(len(weights))
    owner[kept], share[kept] = inverse, weights[kept] / totals[inverse]
    return Samples(kept[first], totals, owner, share)


def fingerprint(X: Array, target: Array, weights: Array) -> str:
    """Return a hash of the data, to tell other data apart; weights count up to a factor."""
    digest = sha256(repr((X.shape, target.shape)).encode())
    for part in (X, target, weights / weights.max()):
        digest.update(np.ascontiguousarray(part, dtype=np.float64).data)
    return digest.hexdigest()


def complete(gates: Gates, features: Array) -> bool:
    """Tell whether the gates hold every activation pattern of the data."""
    try:
        every = distinct(enumerate_patterns(features))
    except ValueError:  # there are more than can be listed, let alone held by a model
        return False
    return bool(np.isin(pattern_keys(every.masks), pattern_keys(gates.masks)).all())


def certify_network(
    network: Network,
    X: Array,
    y: Array,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    sample_weight: Any = None,
    gates: str = "own",
    fit_intercept: bool = True,
    skip: bool = False,
) -> Certificate:
    """Return bounds on how far any network, however it was trained, is from the best in scope.

    `network` is a `ReLUNetwork` or `GatedNetwork`, `y` (n,) or (n, c) the targets as the loss takes
    them: numbers, labels -1 and 1, or one-hot rows. With gates "own" the scope is the networks with
    the patterns of this one's neurons; with "enumerate" it is all networks. `fit_intercept` and
    `skip` say whether the networks compared with may have them.

    >>> from cvxnn import ReLUNetwork
    >>> X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[0.0, 0.8]]),
    ...     weights_out=np.array([[0.8]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> found = certify_network(net, X, y, alpha=0.1 / 3, gates="enumerate", fit_intercept=False)
    >>> found.lower <= 0.2310367 / 3 <= found.upper
    True
    """
    bias = network.weights_in.shape[1] > network.skip.shape[0]
    known: Any = BY_NAME[network.architecture]
    architecture: Architecture = replace(known, bias=bias)
    target = np.asarray(y, dtype=np.float64)
    target = target[:, None] if target.ndim == 1 else target
    weights, keep = positive_weights(sample_weight, len(target))
    rows = np.asarray(X)[keep]
    rng = np.random.default_rng(0)  # given and enumerated gates draw nothing
    own = named("gates", gates, {"own": True, "enumerate": False}, ("own", "enumerate"))
    drawn, scope = gates_of(architecture, rows, network.rules if own else "enumerate", 1, rng)
    sample_loss: SampleLoss = named("loss", loss, LOSSES, LOSSES)
    problem = problem_of(
        architecture,
        rows,
        target[keep],
        weights[keep],
        sample_loss,
        drawn,
        scope=scope,
        intercept=fit_intercept,
        skip=skip,
    ).at(alpha)
    dual = -problem.program.loss.gradient(evaluate(network, rows))
    lower, _ = feasible_dual(problem.program, dual)
    return problem.certificate(
        network,
        Certificate(upper=math.inf, lower=lower, scope=scope, exactness=architecture.exactness),
    )
