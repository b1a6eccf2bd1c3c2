"""A sequence of strengths, warm-started, and the largest useful one."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, is_sparse, to_numpy
from cvxnn.functions import CrossEntropy, Logistic, SampleLoss
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solution, Solver, solve_part
from cvxnn.solvers import ADMM, Newton
from cvxnn.solvers.working_set import restrict
from cvxnn.streamed import Streamed

_INTERIOR: dict[str, SampleLoss] = {
    "logistic": Logistic(),
    "hinge": Logistic(),
    "squared_hinge": Logistic(),
    "cross_entropy": CrossEntropy(),
}
"""Losses whose dual domain has zero on its edge, and a smooth loss with gradients inside it."""


def null_model(program: Program) -> Iterate:
    """Return the best iterate without blocks: the intercept and the linear skip alone."""
    alone = restrict(program, np.zeros(0, dtype=np.int64))
    if alone.free.shape[1] > 1 and Newton().why_not(alone) is None:
        # classes that a linear part nearly separates have no best one: ADMM would go on and on
        return solve_part(alone, Newton(), tol=1e-10, max_iter=200).iterate
    return solve_part(alone, ADMM(), tol=1e-10, max_iter=5000).iterate


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


def row_keys(X: Array, y: Array, salt: bytes = b"") -> NDArray[np.bytes_]:
    """Return one key (n,) per row of (X, y): equal rows have equal keys, and keys have an order."""
    source, y = X if isinstance(X, Streamed) else Streamed(to_numpy(X)), to_numpy(y)
    keys = (
        blake2b(x + (t + 0.0).tobytes(), key=salt, digest_size=15).hexdigest()
        for rows, block in source.blocks()
        for x, t in zip(_row_bytes(block), y[rows], strict=True)
    )
    return np.array(list(keys), dtype="S30")


def _row_bytes(block: Any) -> Iterator[bytes]:
    """Yield what tells rows apart: their numbers, with the columns that they are in where sparse.

    Zeros have one sign.
    """
    if not is_sparse(block):
        yield from ((x + 0.0).tobytes() for x in block)
        return
    for first, last in pairwise(block.indptr):
        yield block.indices[first:last].tobytes() + (block.data[first:last] + 0.0).tobytes()
