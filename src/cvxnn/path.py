"""A sequence of strengths, warm-started; the largest useful one, and the best by validation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import evaluate
from cvxnn.arrays import Array, device, namespace, to_numpy
from cvxnn.functions import CrossEntropy, Logistic, SampleLoss
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solution, Solver, solve_part
from cvxnn.solvers import ADMM
from cvxnn.solvers.working_set import restrict

_INTERIOR: dict[str, SampleLoss] = {
    "logistic": Logistic(),
    "hinge": Logistic(),
    "squared_hinge": Logistic(),
    "cross_entropy": CrossEntropy(),
}
"""Losses whose dual domain has zero on its edge, and a smooth loss with gradients inside it."""


def null_model(program: Program) -> Iterate:
    """Return the best iterate without blocks: the intercept and the linear skip alone."""
    none = np.zeros(0, dtype=np.int64)
    return solve_part(restrict(program, none), ADMM(), tol=1e-10, max_iter=5000).iterate


def interior_dual(program: Program) -> Array | None:
    """Return a dual point inside the domain of the loss's conjugate and orthogonal to F.

    It is minus the gradient of the logistic (or softmax) loss at its own best free coefficients.
    None when zero is such a point.
    """
    smooth = _INTERIOR.get(program.loss.loss.name)
    if smooth is None:
        return None
    other = replace(program, loss=replace(program.loss, loss=smooth), interior=None)
    free = null_model(other).free
    return -other.loss.gradient(program.free @ free)


def alpha_max(problem: Any) -> float:
    """Return the smallest alpha at which the zero network is optimal, by the problem's gauge.

    For losses with kinks the dual point of the null model need not be unique; the value is then
    an upper bound. Where all networks compete it is the largest price that was found.
    """
    return float(problem.gauge(null_model(problem.program).dual))


def grid(largest: float, ratio: float, count: int) -> NDArray[np.float64]:
    """Return `count` strengths falling geometrically from largest / 2 to largest * ratio."""
    return np.geomspace(largest / 2, largest * ratio, count)


def path(
    problem: Any, alphas: NDArray[np.float64], solver: Solver, **limits: Any
) -> Iterator[tuple[float, Solution]]:
    """Yield (alpha, solution) for each strength in turn, each started from the one before."""
    start: Iterate | None = None
    for alpha in alphas:
        here = problem.at(float(alpha))
        solution = solve_part(here.working(), solver, start=start, judge=here.judge, **limits)
        start = solution.iterate
        yield float(alpha), solution


@dataclass(frozen=True)
class Search:
    """How alpha="auto" chooses: the grid, the folds, and when to stop descending."""

    count: int = 12
    ratio: float = 1e-3
    folds: int = 5
    patience: int = 2
    """Strengths without a better validation loss after which the path ends."""
    tol: float = 1e-2
    """Relative gap of the solves inside the folds."""
    max_iter: int = 2000


def choose_alpha(
    problem: Any, largest: float, groups: NDArray[np.int64], solver: Solver, search: Search
) -> tuple[float, NDArray[np.float64]]:
    """Return the alpha of least mean validation loss, and (alpha, loss) rows of the path.

    `groups` (n,) is the fold of every sample. All folds descend together, and the descent ends
    after `patience` strengths without gain; equal losses go to the larger alpha.
    """
    alphas = grid(largest, search.ratio, search.count)
    limits = {"tol": search.tol, "max_iter": search.max_iter}
    folds = [_fold(problem, groups != fold) for fold in np.unique(groups)]
    paths = [path(train, alphas, solver, **limits) for train, _ in folds]
    losses: list[float] = []
    for solutions in zip(*paths, strict=True):
        held_out = [
            _held_out(problem, train.at(alpha).network(solution.iterate), rows)
            for (train, rows), (alpha, solution) in zip(folds, solutions, strict=True)
        ]
        losses.append(sum(held_out))
        if len(losses) - 1 - int(np.argmin(losses)) >= search.patience:
            break
    table = np.column_stack([alphas[: len(losses)], losses])
    return float(alphas[int(np.argmin(losses))]), table


def _fold(problem: Any, keep: NDArray[np.bool_]) -> tuple[Any, NDArray[np.int64]]:
    """Return the problem of the kept samples, and the indices of the others."""
    xp = namespace(problem.X)
    train = problem.subset(xp.asarray(np.flatnonzero(keep), device=device(problem.X)))
    return train.within(interior_dual(train.program)), np.flatnonzero(~keep)


def _held_out(problem: Any, network: Any, rows: NDArray[np.int64]) -> float:
    """Return the share of these samples in the mean loss of the whole data."""
    xp, loss = namespace(problem.X), problem.program.loss
    index = xp.asarray(rows, device=device(problem.X))
    outputs = evaluate(network, xp.take(problem.X, index, axis=0))
    values = loss.loss.value(outputs, xp.take(loss.target, index, axis=0))
    return float(xp.sum(xp.take(loss.weights, index, axis=0)[:, 0] * values))


def row_keys(X: Array, y: Array, salt: bytes = b"") -> NDArray[np.bytes_]:
    """Return one key (n,) per row of (X, y): equal rows have equal keys, and keys have an order."""
    X, y = to_numpy(X), to_numpy(y)
    keys = (
        blake2b((x + 0.0).tobytes() + (t + 0.0).tobytes(), key=salt, digest_size=15).hexdigest()
        for x, t in zip(X, y, strict=True)
    )
    return np.array(list(keys), dtype="S30")


def content_folds(
    X: Array, y: Array, folds: int, labels: Array | None, seed: int
) -> NDArray[np.int64]:
    """Return the fold (n,) of every sample, from the samples' own content.

    Equal samples share a fold, and the order of the samples does not matter. With `labels` the
    folds are stratified.
    """
    keys = row_keys(X, y, int(seed).to_bytes(8, "little"))
    result = np.empty(len(keys), dtype=np.int64)
    strata = np.zeros(len(keys)) if labels is None else labels
    first = 0
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order = np.unique(keys[members], return_inverse=True)[1]
        result[members] = (order + first) % folds
        first += int(order.max()) + 1
    return result


__all__ = [
    "Search",
    "alpha_max",
    "choose_alpha",
    "content_folds",
    "grid",
    "interior_dual",
    "null_model",
    "path",
    "row_keys",
]
