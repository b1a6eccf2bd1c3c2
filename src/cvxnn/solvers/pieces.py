"""Losses and penalties as conic programs: linear and diagonal quadratic costs under cones."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.functions import (
    L1,
    Cells,
    ColumnNorm,
    CrossEntropy,
    EigenNorm,
    FourierNorm,
    GroupNorm,
    HardMargin,
    Hinge,
    Huber,
    Interpolation,
    Logistic,
    Nuclear,
    Outputs,
    Parts,
    Quantile,
    Ridge,
    SphereMoments,
    Squared,
    SquaredHinge,
    Unpenalised,
)
from cvxnn.functions.cells import cells_as_columns
from cvxnn.functions.fourier import coefficients, counts
from cvxnn.functions.outputs import outputs_as_blocks
from cvxnn.solvers.piece import Floats, Matrix, Piece
from cvxnn.solvers.pieces_spectral import eigen_norm, sphere_moments


def smooth(square: Floats) -> Piece:
    """Return x' diag(square) x / 2, which needs no cones."""
    none, empty = np.zeros(0), sparse.csc_array((0, len(square)))
    return Piece(square, none, none, empty, sparse.csc_array((0, 0)), none, [])


def linear(on: Matrix, own: Matrix, right: Floats, cost: Floats, square: Floats) -> Piece:
    """Return min over e of e' diag(square) e / 2 + cost' e subject to on x + own e <= right."""
    cones = [("nonnegative", len(right))]
    return Piece(np.zeros(on.shape[1]), square, cost, on, own, right, cones)


def scaled(piece: Piece, unit: float) -> Piece:
    """Return x -> f(unit x) for a piece whose rows all end in zero: e is measured in units too."""
    return piece._replace(
        square=piece.square * unit**2,
        own_square=piece.own_square * unit**2,
        own_cost=piece.own_cost * unit,
    )


def squared(loss: Squared, target: Floats, weights: Floats) -> Piece:
    """Return sum w x^2 / 2 for residuals x."""
    return smooth(weights)


def huber(loss: Huber, target: Floats, weights: Floats) -> Piece:
    """Return min over h and t of sum w (h^2 / 2 + delta t) with t >= |x - h|, residuals x."""
    n = len(weights)
    eye, none = sparse.eye_array(n), np.zeros(n)
    on = sparse.vstack([eye, -eye])
    own = sparse.block_array([[-eye, -eye], [eye, -eye]])
    square = np.concatenate([weights, none])
    cost = np.concatenate([none, weights * loss.delta])
    return linear(on, own, np.zeros(2 * n), cost, square)


def quantile(loss: Quantile, target: Floats, weights: Floats) -> Piece:
    """Return min over t of sum w t with t >= -level x and t >= (1 - level) x, residuals x."""
    n = len(weights)
    eye = sparse.eye_array(n)
    on = sparse.vstack([-loss.level * eye, (1 - loss.level) * eye])
    return linear(on, sparse.vstack([-eye, -eye]), np.zeros(2 * n), weights, np.zeros(n))


def _shortfall(target: Floats, cost: Floats, square: Floats) -> Piece:
    """Return min over t of sum cost t + square t^2 / 2 with t >= 1 - y x and t >= 0."""
    y = target.ravel()
    eye, none = sparse.eye_array(len(y)), sparse.csc_array((len(y), len(y)))
    on = sparse.vstack([-sparse.diags_array(y), none])
    right = np.concatenate([-np.ones(len(y)), np.zeros(len(y))])
    return linear(on, sparse.vstack([-eye, -eye]), right, cost, square)


def hinge(loss: Hinge, target: Floats, weights: Floats) -> Piece:
    """Return the weighted sum of shortfalls."""
    return _shortfall(target, weights, np.zeros(len(weights)))


def hard_margin(loss: HardMargin, target: Floats, weights: Floats) -> Piece:
    """Return the indicator of y x >= 1."""
    y, none = target.ravel(), np.zeros(0)
    return linear(
        -sparse.diags_array(y), sparse.csc_array((len(y), 0)), -np.ones(len(y)), none, none
    )


def interpolation(loss: Interpolation, target: Floats, weights: Floats) -> Piece:
    """Return the indicator of x = 0 for residuals x."""
    n = len(weights)
    piece = linear(sparse.eye_array(n), sparse.csc_array((n, 0)), np.zeros(n), *2 * [np.zeros(0)])
    return piece._replace(cones=[("zero", n)])


def squared_hinge(loss: SquaredHinge, target: Floats, weights: Floats) -> Piece:
    """Return half the weighted sum of squared shortfalls."""
    return _shortfall(target, np.zeros(len(weights)), weights)


def _log_sums(on: Matrix, sizes: int, weights: Floats) -> Piece:
    """Return min over t of w' t with sum over k of exp((on x)_ik - t_i) <= 1 for every i.

    The rows of `on` come in groups of `sizes`. Each exponential is at most a variable e_ik:
    ((on x)_ik - t_i, 1, e_ik) is in the exponential cone [Chandrasekaran2017].
    """
    n, terms = len(weights), on.shape[0]
    first, third = np.array([[1.0], [0.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])
    sums = sparse.kron(sparse.eye_array(n), np.ones((1, sizes)))
    none, above = sparse.csc_array((n, n)), sparse.csc_array((n, on.shape[1]))
    exponents = [sparse.kron(sums.T, first), -sparse.kron(sparse.eye_array(terms), third)]
    own = sparse.vstack([sparse.hstack([none, sums]), sparse.hstack(exponents)])
    right = np.concatenate([np.ones(n), np.tile([0.0, 1.0, 0.0], terms)])
    return Piece(
        np.zeros(on.shape[1]),
        np.zeros(n + terms),
        np.concatenate([weights, np.zeros(terms)]),
        sparse.vstack([above, -sparse.kron(on, first)]),
        own,
        right,
        [("nonnegative", n)] + [("exponential", 3)] * terms,
    )


def logistic(loss: Logistic, target: Floats, weights: Floats) -> Piece:
    """Return the sum of w log(exp(0) + exp(-y x))."""
    y = target.ravel()
    on = sparse.kron(sparse.diags_array(y), np.array([[0.0], [-1.0]]))
    return _log_sums(on, 2, weights)


def cross_entropy(loss: CrossEntropy, target: Floats, weights: Floats) -> Piece:
    """Return the sum of w log(sum over k of exp(x_k - x_label))."""
    outputs = target.shape[1]
    lead = [np.eye(outputs) - row for row in target]
    return _log_sums(sparse.block_diag(lead), outputs, weights[::outputs])


def _norms(alpha: float, pick: Matrix, p: int) -> Piece:
    """Return alpha times the sum over p blocks and groups; `pick` (groups, entries, block)."""
    groups, entries, width = pick.shape
    rows = np.concatenate([np.zeros((groups, 1, width)), -pick], axis=1)
    tops = np.kron(np.eye(groups), -np.eye(entries + 1, 1))
    eye = sparse.eye_array(p)
    return Piece(
        np.zeros(p * width),
        np.zeros(p * groups),
        np.full(p * groups, alpha),
        sparse.kron(eye, rows.reshape(-1, width)),
        sparse.kron(eye, tops),
        np.zeros(p * groups * (entries + 1)),
        [("second order", entries + 1)] * (p * groups),
    )


def group_norm(penalty: GroupNorm, shape: tuple[int, ...]) -> Piece:
    """Return alpha times the sum of the blocks' Euclidean norms."""
    p, d, c = shape
    return _norms(penalty.alpha, np.eye(d * c)[None], p)


def column_norm(penalty: ColumnNorm, shape: tuple[int, ...]) -> Piece:
    """Return alpha times the sum of the norms of the blocks' columns."""
    p, d, c = shape
    pick = np.eye(d * c).reshape(d, c, d * c).transpose(1, 0, 2)
    return _norms(penalty.alpha, pick, p)


def nuclear(penalty: Nuclear, shape: tuple[int, ...]) -> Piece:
    """Return min of alpha / 2 (tr V + tr W) with [V, U; U', W] positive semidefinite.

    [Fazel2001], lemma 1. A block with one row or column has its Euclidean norm instead.
    """
    p, d, c = shape
    if min(d, c) == 1:
        return group_norm(GroupNorm(penalty.alpha), shape)
    side = d + c
    # column by column of the upper triangle, off-diagonal entries times sqrt(2)
    column, row = np.tril_indices(side)
    entry = np.where(row == column, 1.0, np.sqrt(2.0))
    cross = (row < d) & (column >= d)
    on, own = np.zeros((len(row), d * c)), -np.diag(entry)[:, ~cross]
    on[cross, row[cross] * c + column[cross] - d] = -entry[cross]
    cost = np.where(row == column, penalty.alpha / 2, 0.0)[~cross]
    eye = sparse.eye_array(p)
    return Piece(
        np.zeros(p * d * c),
        np.zeros(p * len(cost)),
        np.tile(cost, p),
        sparse.kron(eye, on),
        sparse.kron(eye, own),
        np.zeros(p * len(row)),
        [("psd", side)] * p,
    )


def cells(penalty: Cells, shape: tuple[int, ...]) -> Piece:
    """Return the piece of the norm, on the entries where the cells are beside each other."""
    return _turned(penalty.norm, cells_as_columns(_order(shape), penalty.cells))


def outputs(penalty: Outputs, shape: tuple[int, ...]) -> Piece:
    """Return the piece of the norm, on the columns as blocks of their own."""
    return _turned(penalty.norm, outputs_as_blocks(_order(shape)))


def _order(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(np.prod(shape)).reshape(shape)


def _turned(norm: Any, order: NDArray[np.int64]) -> Piece:
    """Return the piece of a norm whose entries stand in another order."""
    piece = PENALTIES[type(norm)](norm, order.shape)
    back = np.argsort(order.ravel())
    on = sparse.csc_array(piece.on)[:, back]
    return piece._replace(square=piece.square[back], on=on)


def fourier_norm(penalty: FourierNorm, shape: tuple[int, ...]) -> Piece:
    """Return alpha / sqrt(d) times the sum of moduli: norms of real and imaginary parts."""
    p, d, c = shape
    waves = coefficients(np.eye(d)[None])[0]
    planes = np.stack([waves.real, waves.imag], axis=1) * counts(np.eye(d)[None])[0, :, :, None]
    every = np.kron(planes.reshape(-1, d), np.eye(c)).reshape(len(planes), 2, c, d * c)
    pick = every.swapaxes(1, 2).reshape(-1, 2, d * c)
    return _norms(penalty.alpha / np.sqrt(d), pick, p)


def absolute(penalty: L1, shape: tuple[int, ...]) -> Piece:
    """Return alpha times the sum of t >= |x|."""
    size = int(np.prod(shape))
    eye = sparse.eye_array(size)
    on, own = sparse.vstack([eye, -eye]), sparse.vstack([-eye, -eye])
    return linear(on, own, np.zeros(2 * size), np.full(size, penalty.alpha), np.zeros(size))


def parts(penalty: Parts, shape: tuple[int, ...]) -> Piece:
    """Return the piece of the inner norm: parts are blocks of their own, one after the other."""
    p, d, c = shape
    inner: Any = penalty.norm
    return PENALTIES[type(inner)](inner, (p * penalty.count, d // penalty.count, c))


def ridge(penalty: Ridge, shape: tuple[int, ...]) -> Piece:
    """Return alpha / 2 times the sum of squares."""
    return smooth(np.full(int(np.prod(shape)), penalty.alpha))


def nothing(penalty: Unpenalised, shape: tuple[int, ...]) -> Piece:
    """Return the zero function."""
    return smooth(np.zeros(int(np.prod(shape))))


LOSSES: dict[type, Callable[[Any, Floats, Floats], Piece]] = {
    Squared: squared,
    Huber: huber,
    Quantile: quantile,
    Hinge: hinge,
    SquaredHinge: squared_hinge,
    Logistic: logistic,
    CrossEntropy: cross_entropy,
    HardMargin: hard_margin,
    Interpolation: interpolation,
}
"""The weighted sum of a loss from its target (n, c) and one weight per entry, by type."""

CENTRED = {Squared, Huber, Quantile, Interpolation}
"""Losses whose piece is a function of the residuals f - y; the others' of the predictions."""

SHIFTABLE = {CrossEntropy}
"""Losses that a shift of all predictions of a sample leaves alone: its dual row sums to zero."""

PENALTIES: dict[type, Callable[[Any, tuple[int, ...]], Piece]] = {
    GroupNorm: group_norm,
    ColumnNorm: column_norm,
    Nuclear: nuclear,
    Cells: cells,
    FourierNorm: fourier_norm,
    L1: absolute,
    Outputs: outputs,
    Parts: parts,
    Ridge: ridge,
    Unpenalised: nothing,
    EigenNorm: eigen_norm,
    SphereMoments: sphere_moments,
}
"""Functions of the blocks of a shape (p, d, c), entry by entry, by the type of the penalty."""

SPECTRAL = {EigenNorm, SphereMoments}
"""Penalties whose prox has zeros among the eigenvalues, not among the entries."""
