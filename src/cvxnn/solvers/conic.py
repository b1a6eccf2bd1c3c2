"""A program written out as one cone program, and its points read back.

minimise loss(f) + penalty(u) over u, b and f, subject to A u + F b = f and C u >= 0

The multiplier of the equality is a subgradient of the loss, hence minus the dual point: it is
exact where a loss has kinks and its gradient says nothing. That of C u >= 0 is the program's.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from cvxnn.arrays import device, double, like, namespace, to_numpy
from cvxnn.program import Iterate, Program
from cvxnn.solvers.piece import Floats, Matrix, Piece
from cvxnn.solvers.pieces import CENTRED, LOSSES, PENALTIES, SHIFTABLE, SPECTRAL, scaled

_AT_ONCE = 1e-30
"""A step so short that a prox is the projection onto the domain."""
_ENOUGH = 1e-9
"""How much worse, relatively, a point may be for its lower rank."""


class Units(NamedTuple):
    """Powers of two in which the variables are measured, so that none is of an odd size."""

    prediction: float
    block: float
    free: float
    rows: Floats
    """What multiplies each row of C, (p * n * c,); 0 for one left out, empty or said before."""


class ConeProgram(NamedTuple):
    """minimise x' diag(square) x / 2 + cost' x subject to right - matrix x in the cones.

    x holds u, b and f, then the own variables of the penalty and of the loss. The rows are those
    of A u + F b = f and of C u, then those of the penalty and of the loss.
    """

    square: Floats
    cost: Floats
    matrix: Matrix
    right: Floats
    cones: list[tuple[str, int]]
    units: Units


def entries(program: Program) -> int:
    """Return how many numbers A and C hold, written out."""
    p, d, outputs = program.lift.in_shape
    rows = 0 if program.constraint is None else math.prod(program.constraint.map.out_shape)
    return program.lift.out_shape[0] * outputs * p * d + rows * d


def power_of_two(size: float) -> float:
    """Return the power of two next to a size; 1 where there is none."""
    return 2.0 ** round(math.log2(size)) if 0 < size < math.inf else 1.0


def _largest(matrix: Any) -> float:
    return float(abs(matrix).max()) if 0 not in matrix.shape else 0.0


def written_out(program: Program) -> ConeProgram:
    """Return the cone program of a program whose functions are in the tables of pieces."""
    target = to_numpy(double(program.loss.target))
    outputs = sparse.eye_array(target.shape[1])
    lift = sparse.kron(_columns(program), outputs)
    free = sparse.kron(to_numpy(double(program.free)), outputs)
    rows, row_units = _cone_rows(program)
    centred = type(program.loss.loss) in CENTRED
    unit = power_of_two(_largest(target)) if centred else 1.0
    units = Units(
        unit, unit / power_of_two(_largest(lift)), unit / power_of_two(_largest(free)), row_units
    )
    penalty, loss = _pieces(program, target, units)
    matrix = sparse.block_array(
        [
            [lift * (units.block / unit), free * (units.free / unit), -_eye(loss), None, None],
            [-rows, None, None, None, None],
            [penalty.on, None, None, penalty.own, None],
            [None, None, loss.on, None, loss.own],
        ],
        format="csc",
    )
    none = np.zeros(free.shape[1])
    square = [penalty.square, none, loss.square, penalty.own_square, loss.own_square]
    zeros = np.zeros(len(penalty.square) + len(none) + len(loss.square))
    right = [(target / unit if centred else 0 * target).ravel(), np.zeros(rows.shape[0])]
    return ConeProgram(
        square=np.concatenate(square),
        cost=np.concatenate([zeros, penalty.own_cost, loss.own_cost]),
        matrix=matrix,
        right=np.concatenate([*right, penalty.right, loss.right]),
        cones=[("zero", target.size), ("nonnegative", rows.shape[0]), *penalty.cones, *loss.cones],
        units=units,
    )


def _pieces(program: Program, target: Floats, units: Units) -> tuple[Piece, Piece]:
    """Return penalty and loss as functions of u and f in their units."""
    loss, penalty = program.loss.loss, program.penalty
    weights = np.repeat(to_numpy(double(program.loss.weights)), target.shape[1])
    return (
        scaled(PENALTIES[type(penalty)](penalty, program.lift.in_shape), units.block),
        scaled(LOSSES[type(loss)](loss, target, weights), units.prediction),
    )


def _eye(piece: Piece) -> Matrix:
    return sparse.eye_array(len(piece.square))


def _columns(program: Program) -> Floats:
    """Return the matrix of the lift for one output, (n, p * d), one block at a time."""
    p, d, outputs = program.lift.in_shape
    xp, columns = namespace(program.free), double(program.free)
    matrix = np.zeros((program.lift.out_shape[0], p * d))
    for block in range(p):
        part = program.lift.restrict(xp.asarray([block], device=device(columns)))
        for j in range(d):
            vector = np.zeros((1, d, outputs))
            vector[0, j, 0] = 1.0
            matrix[:, block * d + j] = to_numpy(part.apply(like(vector, columns)))[:, 0]
    return matrix


def _cone_rows(program: Program) -> tuple[Matrix, Floats]:
    """Return the rows of C in their units but for those that say nothing, and all units."""
    p, d, outputs = program.lift.in_shape
    if program.constraint is None or p == 0:
        return sparse.csr_array((0, p * d * outputs)), np.zeros(0)
    rows = [to_numpy(double(program.constraint.map.rows(block))) for block in range(p)]
    units = np.repeat(np.concatenate([_row_units(one) for one in rows]), outputs)
    matrix = sparse.kron(sparse.block_diag(rows), sparse.eye_array(outputs), format="csr")
    return (sparse.diags_array(units) @ matrix)[units > 0], units


def _row_units(rows: Floats) -> Floats:
    """Return the units of a block's rows, 0 for empty ones and for multiples of one before."""
    largest = np.abs(rows).max(axis=1)
    units = np.array([1 / power_of_two(size) if size > 0 else 0.0 for size in largest])
    directions = rows / np.where(largest > 0, largest, 1.0)[:, None]
    again = np.ones(len(rows), dtype=np.bool_)
    again[np.unique(directions, axis=0, return_index=True)[1]] = False
    return np.where(again, 0.0, units)


def iterate_of(program: Program, units: Units, x: Floats, z: Floats, cost: float) -> Iterate:
    """Return the points of a program, in float64, from those of its cone program.

    `z` holds the multipliers of the rows, for costs divided by `cost`.
    """
    columns = double(program.free)
    (n, outputs), blocks = program.lift.out_shape, math.prod(program.lift.in_shape)
    free = x[blocks : blocks + columns.shape[1] * outputs]
    dual = -z[: n * outputs].reshape(n, outputs) * (cost / units.prediction)
    if type(program.loss.loss) in SHIFTABLE:
        dual = dual - dual.mean(axis=1, keepdims=True)
    multiplier = None
    if program.constraint is not None:
        rows = np.zeros(len(units.rows))
        kept = units.rows > 0
        rows[kept] = z[n * outputs :][: kept.sum()] * units.rows[kept] * (cost / units.block)
        multiplier = like(rows.reshape(program.constraint.map.out_shape), columns)
    iterate = Iterate(
        blocks=like(x[:blocks].reshape(program.lift.in_shape) * units.block, columns),
        free=like(free.reshape(-1, outputs) * units.free, columns),
        dual=like(dual, columns),
        multiplier=multiplier,
    )
    return _sparse(program, iterate, units.block)


def _sparse(program: Program, iterate: Iterate, unit: float) -> Iterate:
    """Return the iterate with zero for what is zero, or of the rank, after a proximal step.

    An interior point has no zeros; at the optimum such a step changes nothing else.
    """
    slope = program.lift.adjoint(iterate.dual)
    if program.constraint is not None:
        slope = slope + program.constraint.map.adjoint(iterate.multiplier)
    xp, blocks = namespace(slope), iterate.blocks
    step = unit / (_largest(to_numpy(slope)) or 1.0)
    moved = program.penalty.prox(blocks + step * slope, step)
    if type(program.penalty) not in SPECTRAL:
        return iterate._replace(blocks=xp.where(moved == 0, xp.zeros_like(blocks), blocks))
    # a loss with kinks may have an inaccurate slope: then full rank is the lesser evil
    choices = [moved, program.penalty.prox(blocks, _AT_ONCE)]
    low, plain = (program.objective(each, iterate.free) for each in choices)
    return iterate._replace(blocks=choices[int(low > plain * (1 + _ENOUGH))])
