"""Penalties on symmetric matrices as conic programs, with the cones that Clarabel has for them."""

import numpy as np
from scipy import sparse

from cvxnn.functions import EigenNorm, SphereMoments
from cvxnn.solvers.piece import Floats, Matrix, Piece
from cvxnn.symmetric import side_of, to_blocks


def _per_matrix(shape: tuple[int, ...], rows: Matrix) -> Matrix:
    """Return rows (r, t) on every matrix of blocks (p, t, c), one after the other."""
    p, _, c = shape
    every = [sparse.kron(rows, sparse.csr_array(np.eye(c)[output][None, :])) for output in range(c)]
    return sparse.kron(sparse.eye_array(p), sparse.vstack(every))


def _entries(diagonal: Floats) -> Floats:
    """Return the vector of the diagonal matrix, (t,)."""
    return np.asarray(to_blocks(np.diag(diagonal)[None, None])).ravel()


def eigen_norm(penalty: EigenNorm, shape: tuple[int, ...]) -> Piece:
    """Return min over W of alpha tr W with W + U >= 0 and W - U >= 0 for every matrix U."""
    p, size, c = shape
    side, count = side_of(size), p * c
    eye = sparse.eye_array(size)
    return Piece(
        np.zeros(count * size),
        np.zeros(count * size),
        np.tile(penalty.alpha * _entries(np.ones(side)), count),
        _per_matrix(shape, sparse.vstack([-eye, eye])),
        sparse.kron(sparse.eye_array(count), sparse.vstack([-eye, -eye])),
        np.zeros(2 * count * size),
        [("psd", side)] * (2 * count),
    )


def sphere_moments(penalty: SphereMoments, shape: tuple[int, ...]) -> Piece:
    """Return min of alpha e with e >= the last entry, balanced diagonals and U >= 0."""
    p, size, c = shape
    side, count = side_of(size), p * c
    last = np.eye(side)[-1]
    eye: Matrix = sparse.eye_array(size)
    balances = sparse.csr_array(np.stack([_entries(last), _entries(1 - 2 * last)]))
    rows = sparse.vstack([balances, -eye])
    top = sparse.csr_array(([-1.0], ([0], [0])), shape=(size + 2, 1))
    return Piece(
        np.zeros(count * size),
        np.zeros(count),
        np.full(count, penalty.alpha),
        _per_matrix(shape, rows),
        sparse.kron(sparse.eye_array(count), top),
        np.zeros(count * (size + 2)),
        [("nonnegative", 1), ("zero", 1), ("psd", side)] * count,
    )
