"""Blocks as sums of atoms, over which their penalty adds up: the neurons of a nuclear norm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, namespace, to_numpy
from cvxnn.functions import ColumnNorm, Nuclear, Penalty
from cvxnn.functions.blocks import thin_svd

_FAINT = 1e-10
"""Singular values below this share of the largest are zero."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """The m atoms of k blocks."""

    parts: Array
    """(m, d, c), each in its block's place."""
    owner: NDArray[np.int64]
    """(m,), the block of each, in order."""
    blocks: int

    @property
    def whole(self) -> bool:
        """Whether every block is one atom."""
        return np.array_equal(self.owner, np.arange(self.blocks))

    def joined(self, shares: Array) -> Array:
        """Return the blocks, (k, d, c), with every atom times its share (m,)."""
        xp, parts = namespace(shares), shares[:, None, None] * self.parts
        if self.whole:
            return parts
        own = xp.asarray(self.owner == np.arange(self.blocks)[:, None], device=device(parts))
        flat = xp.astype(own, parts.dtype) @ xp.reshape(parts, (len(self.owner), -1))
        return xp.reshape(flat, (self.blocks, *parts.shape[1:]))


def atoms(penalty: Penalty, blocks: Array) -> Atoms:
    """Return the atoms of blocks (k, d, c).

    Singular triples of a nuclear norm and columns of a sum of their norms, those that are not
    zero; whole blocks else.

    >>> atoms(Nuclear(alpha=1.0), np.array([[[3.0, 0.0], [0.0, 2.0]]])).parts[1]
    array([[0., 0.],
           [0., 2.]])
    """
    xp, (k, d, c) = namespace(blocks), blocks.shape
    if c == 1 or k == 0 or not isinstance(penalty, ColumnNorm | Nuclear):
        return Atoms(blocks, np.arange(k), k)
    if isinstance(penalty, Nuclear):
        left, sizes, right = thin_svd(blocks)
        columns, rows = left * sizes, right
        lengths = to_numpy(sizes[:, 0, :])
    else:
        columns, rows = blocks, xp.broadcast_to(_unit(blocks, c), (k, c, c))
        lengths = to_numpy(xp.sqrt(xp.sum(blocks**2, axis=1)))
    flat = np.flatnonzero(lengths > _FAINT * lengths.max(axis=1, keepdims=True))
    index, r = xp.asarray(flat, device=device(blocks)), lengths.shape[1]
    tall = xp.take(xp.reshape(xp.permute_dims(columns, (0, 2, 1)), (k * r, d)), index, axis=0)
    wide = xp.take(xp.reshape(rows, (k * r, c)), index, axis=0)
    return Atoms(tall[:, :, None] * wide[:, None, :], flat // r, k)


def _unit(like: Array, side: int) -> Array:
    return namespace(like).eye(side, dtype=like.dtype, device=device(like))
