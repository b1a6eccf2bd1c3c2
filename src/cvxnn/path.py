"""A sequence of strengths, warm-started, and the largest useful one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, double, is_sparse, like, namespace, norm, to_numpy
from cvxnn.certificate import orthogonal
from cvxnn.functions import CrossEntropy, Logistic, Mean, SampleLoss
from cvxnn.program import Iterate, Program
from cvxnn.solve import Solution, Solver, solve_part
from cvxnn.solvers import ADMM, Newton
from cvxnn.solvers.fista import origin
from cvxnn.solvers.working_set import restrict
from cvxnn.streamed import Streamed

_INTERIOR: dict[str, SampleLoss] = {
    "logistic": Logistic(),
    "hinge": Logistic(),
    "squared_hinge": Logistic(),
    "cross_entropy": CrossEntropy(),
}
"""Losses whose dual domain has zero on its edge, and a smooth loss with gradients inside it."""


_SMALL = 2_000_000
"""Entries of the matrix of plain Newton steps up to which a null model is found by them."""
_ENOUGH = 1e-11
"""Pull on a free coefficient, as a share of what pulls from both sides, that counts as none."""
_NOISE = 4e-15
"""Gradient of a loss, as a share of that at zero, that is rounding: a constant target's."""
_POWER = 8
"""Power iterations for a strength that only a grid starts from."""
_TRIES = 30
"""Plain Newton steps at most."""


def null_model(program: Program) -> Iterate:
    """Return the best iterate without blocks: the intercept and the linear skip alone."""
    alone = replace(restrict(program, np.zeros(0, dtype=np.int64)), constraint=None)
    if Newton().why_not(alone) is not None:
        return solve_part(alone, ADMM(), tol=1e-10, max_iter=5000).iterate
    found = _plain(alone)
    if found is None:
        # classes that a linear part nearly separates have no best one: ADMM would go on and on
        return solve_part(alone, Newton(), tol=1e-10, max_iter=200).iterate
    return found


def _plain(program: Program) -> Iterate | None:
    """Return the null model by damped Newton steps, None where they do not arrive."""
    columns, (n, c) = to_numpy(double(program.free)), program.loss.target.shape
    loss = Mean(
        program.loss.loss,
        *(to_numpy(double(x)) for x in (program.loss.target, program.loss.weights)),
    )
    q = columns.shape[1]
    if n * q * c**2 > _SMALL:
        return None
    free, every = np.zeros((q, c)), np.eye(q * c).reshape(q * c, q, c)
    noise = _NOISE * np.abs(loss.gradient(np.zeros((n, c))))
    for _ in range(_TRIES):
        fit = columns @ free
        pull = loss.gradient(fit)
        pull = np.where(np.abs(pull) <= noise, 0.0, pull)
        slope = columns.T @ pull
        if (np.abs(slope) <= _ENOUGH * (np.abs(columns).T @ np.abs(pull))).all():
            blocks = np.zeros(program.lift.in_shape)
            return Iterate(*(like(x, program.free) for x in (blocks, free, -pull)))
        root = loss.root(fit)
        roots = np.stack([root.adjoint(columns @ one).ravel() for one in every], axis=1)
        step = np.linalg.lstsq(roots.T @ roots, slope.ravel(), rcond=1e-14)[0].reshape(q, c)
        now, gain, share = loss.value(fit), float((slope * step).sum()), 1.0
        while (
            share > 1e-6 and loss.value(columns @ (free - share * step)) > now - 1e-4 * share * gain
        ):
            share /= 2
        free = free - share * step
    return None


def null_start(problem: Any) -> Iterate:
    """Return the zero network with its best intercept and skip, where every run starts."""
    xp, null = namespace(problem.X), null_model(problem.program)
    blocks = xp.zeros(problem.program.lift.in_shape, dtype=xp.float64)
    return null._replace(blocks=like(blocks, null.free), multiplier=None)


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
    an upper bound. Where all networks compete it is the largest price that was found. Under a
    ridge penalty no network is empty; it is then about the strength at which every part of the fit
    is at most half of what it would be unpenalised.
    """
    program = problem.program
    if math.isfinite(program.penalty.smoothness):
        return _stiffness(program)
    return float(problem.gauge(null_model(program).dual))


def is_separated(problem: Any, largest: float) -> bool:
    """Tell whether free columns alone drive a loss that has no minimum as low as one likes.

    `largest` is the problem's `alpha_max`: 0 then, as for a loss that free columns bring to its
    minimum.
    """
    return largest == 0 and problem.program.loss.loss.name in ("logistic", "cross_entropy")


def _stiffness(program: Program) -> float:
    """Return about the largest eigenvalue of A A* W beside the free columns, by power iteration."""
    pull = double(-program.loss.gradient(program.predict(*origin(program))))
    v, found = orthogonal(program.free, pull), 0.0
    if norm(v) <= _ENOUGH * norm(pull):
        return 0.0
    for _ in range(_POWER):
        size = norm(v)
        if size == 0:
            return 0.0
        image = program.lift.apply(program.lift.adjoint(v / size))
        v = orthogonal(program.free, double(program.loss.weights) * image)
        found = norm(v)
    return found


def grid(largest: float, ratio: float, count: int) -> NDArray[np.float64]:
    """Return `count` strengths falling geometrically from largest / 2 to largest * ratio."""
    return np.geomspace(largest / 2, largest * ratio, count)


class Mark(NamedTuple):
    """A solution on a path."""

    alpha: float
    iterate: Iterate


def path(
    problem: Any,
    alphas: NDArray[np.float64],
    solver: Solver,
    behind: Sequence[Mark] = (),
    **limits: Any,
) -> Iterator[tuple[float, Solution]]:
    """Yield (alpha, solution) for each falling strength in turn, each started from those before.

    `behind` are the last solutions of a path that is gone on with.
    """
    marks = list(behind)
    for alpha in map(float, alphas):
        here = problem.at(alpha)
        start = _ahead(here, marks)
        words = {"start": start, "judge": here.judge, "check_start": start is None}
        solution = solve_part(here.working(), solver, **words, **limits)
        marks = [*marks[-1:], Mark(alpha, solution.iterate)]
        yield alpha, solution


def _ahead(problem: Any, marks: Sequence[Mark]) -> Iterate | None:
    """Return where the line through the last two solutions of a path leads, block by block.

    Solutions are piecewise smooth in alpha. Without cones, and with the same gates, the blocks
    that are not zero go on along their line unless they would turn away; the dual point stays,
    since a line soon leaves the domain of the loss's conjugate.
    """
    if not marks:
        return None
    last = marks[-1].iterate
    shapes = {mark.iterate.blocks.shape for mark in marks} | {problem.program.lift.in_shape}
    if len(marks) < 2 or len(shapes) > 1 or problem.program.constraint is not None:
        return last
    before, share = marks[-2], marks[-1].alpha - problem.alpha
    share /= before.alpha - marks[-1].alpha
    xp = namespace(last.blocks)
    blocks = last.blocks + share * (last.blocks - before.iterate.blocks)
    along = xp.sum(blocks * last.blocks, axis=(1, 2), keepdims=True) > 0
    return last._replace(
        blocks=xp.where(along, blocks, last.blocks),
        free=last.free + share * (last.free - before.iterate.free),
    )


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
