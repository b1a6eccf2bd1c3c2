"""Sequences of tokens: how a row of the data is one, what a token carries, and who reads it out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, double, is_sparse, like, namespace

READOUTS = ("mean", "sum", "first")
POSITIONS = ("none", "sinusoidal", "one_hot")
_WAVES = 4
"""Wavelengths of sinusoidal positions."""
_SHORTEST = 4.0
"""The shortest of them, in tokens; the longest is four times the sequence."""


@dataclass(frozen=True)
class Tokens:
    """What attention sees of sequences (s, w): tokens with a one and their position appended.

    Tokens of zeros are no tokens: nothing is appended to them, they are read by none and counted by
    none, so that sequences are padded with zeros to the longest, and more padding changes nothing.

    >>> Tokens((3, 1)).rows(np.array([[2.0, 5.0, 0.0]])).tolist()
    [[2.0, 1.0], [5.0, 1.0], [0.0, 0.0]]
    """

    shape: tuple[int, int]
    """(s, w)."""
    bias: bool = True
    positions: str = "none"
    marked: bool = False
    """The last entry of a token is what it counts in the output, and no part of it."""

    @property
    def count(self) -> int:
        """s, the tokens of a sequence."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """d, the entries of a token with what is appended to it."""
        return int(self.shape[1] - self.marked + self.appended.shape[1])

    @property
    def appended(self) -> NDArray[np.float64]:
        """What each token carries beside its own entries, (s, d - w)."""
        ones = np.ones((self.count, int(self.bias)))
        return np.concatenate([ones, placed(self.positions, self.count)], axis=1)

    def rows(self, X: Array) -> Array:
        """Return the tokens (n * s, d) of sequences (n, s * w), sequence by sequence.

        Marks are the first of d + 1 columns. Raises ValueError for another number of columns.
        """
        s, w = self.shape
        if X.shape[1] != s * w:
            raise ValueError(
                f"X has {X.shape[1]} columns and sequences of {s} tokens of width {w} have {s * w} "
                f"entries; pass X of shape (n, {s}, {w}), or another shape"
            )
        xp, extra = namespace(X), self.appended
        plain = xp.reshape(X, (X.shape[0] * s, w))
        marks, plain = plain[:, w - self.marked :], plain[:, : w - self.marked]
        if extra.shape[1] == 0:
            return xp.concat([marks, plain], axis=1)
        there = xp.astype(xp.any(plain != 0, axis=1, keepdims=True), X.dtype)
        beside = like(np.tile(extra, (X.shape[0], 1)), X)
        return xp.concat([marks, plain, there * beside], axis=1)

    def parted(self, rows: Array, readout: str) -> tuple[Array, Array]:
        """Return the tokens (n, s, d) of `rows`, and what each counts in the output, (n, s)."""
        s = self.count
        whole = namespace(rows).reshape(rows, (rows.shape[0] // s, s, rows.shape[1]))
        if self.marked:
            return whole[:, :, 1:], double(whole[:, :, 0])
        return whole, counted(double(whole), readout)


def placed(positions: str, count: int) -> NDArray[np.float64]:
    """Return what the places of a sequence add to its tokens, (s, k); k is 0 for "none".

    "one_hot" is a column a place; "sinusoidal" is the sine and cosine [Vaswani2017, section 3.5] of
    four wavelengths, from 4 tokens to four times the sequence.

    >>> placed("one_hot", 2).tolist(), placed("sinusoidal", 6).shape
    ([[1.0, 0.0], [0.0, 1.0]], (6, 8))
    """
    if positions == "none":
        return np.zeros((count, 0))
    if positions == "one_hot":
        return np.eye(count)
    lengths = np.geomspace(_SHORTEST, _SHORTEST * max(count, 2), _WAVES)
    angles = 2 * math.pi * np.arange(count)[:, None] / lengths
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def counted(tokens: Array, readout: str) -> Array:
    """Return what every token (n, s, d) counts in the output of its sequence, (n, s).

    "mean" and "sum" are over the tokens that are not zero, "first" reads the first token alone.
    """
    xp = namespace(tokens)
    there = xp.astype(xp.any(tokens != 0, axis=2), tokens.dtype)
    if readout == "sum":
        return there
    if readout == "first":
        places = xp.arange(tokens.shape[1], device=device(tokens))
        return there * xp.astype(places == 0, tokens.dtype)
    return there / xp.clip(xp.sum(there, axis=1, keepdims=True), min=1.0)


def each_first(X: Array) -> Array:
    """Return sequences (n * s, s, w): those of `X` (n, s, w) with each token in turn the first.

    Attention without positions does not ask for the order of the tokens, so a network that reads
    out the first token gives on these rows its output at every token of every sequence.

    >>> each_first(np.array([[[1.0], [2.0]]])).tolist()
    [[[1.0], [2.0]], [[2.0], [1.0]]]
    """
    xp, (n, s, w) = namespace(X), X.shape
    order = np.array([[t, *(u for u in range(s) if u != t)] for t in range(s)], dtype=np.int64)
    index = xp.asarray(order.reshape(-1), device=device(X))
    return xp.reshape(xp.take(X, index, axis=1), (n * s, s, w))


def each_marked(X: Array) -> Array:
    """Return sequences (n * s, s, w + 1): those of `X` (n, s, w) with each token in turn marked.

    A last column is one at the token that is read out and zero at the others: what mixers with
    readout="marked" are given, for an output at every token.

    >>> each_marked(np.array([[[5.0], [6.0]]])).tolist()
    [[[5.0, 1.0], [6.0, 0.0]], [[5.0, 0.0], [6.0, 1.0]]]
    """
    xp, (n, s, _) = namespace(X), X.shape
    rows = xp.repeat(X, s, axis=0)
    marks = like(np.tile(np.eye(s), (n, 1))[:, :, None], X)
    return xp.concat([rows, marks], axis=2)


def each_turned(X: Array, modes: int | None = None) -> Array:
    """Return rows (n * s, s * w): the sequences `X` (n, s, w), turned till each token is the first.

    Token u of the row of token t is x_{t + u}, counted around. A two-layer network on such rows is
    a Fourier neural operator [Li2021] with an output at every token: a neuron's weights (s, w) meet
    the sequence by circular correlation, a product of their Fourier transforms. With `modes` its
    filters are the low frequencies alone, those below `modes`, as coordinates in their orthonormal
    basis: rows are (n * s, k * w) with k = 2 * modes - 1, at most s.

    Raises ValueError unless 1 <= modes <= s // 2 + 1.

    >>> each_turned(np.array([[[1.0], [2.0], [3.0]]])).tolist()
    [[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]]
    """
    xp, (n, s, w) = namespace(X), X.shape
    order = (np.arange(s)[:, None] + np.arange(s)) % s
    turned = xp.take(X, xp.asarray(order.reshape(-1), device=device(X)), axis=1)
    rows = xp.reshape(turned, (n * s, s, w))
    if modes is None:
        return xp.reshape(rows, (n * s, s * w))
    basis = like(low_frequencies(s, modes), X)
    low = xp.matmul(xp.matrix_transpose(basis), rows)
    return xp.reshape(low, (n * s, basis.shape[1] * w))


def low_frequencies(count: int, modes: int) -> NDArray[np.float64]:
    """Return an orthonormal basis (s, k) of the signals of s places with frequencies below `modes`.

    Raises ValueError unless 1 <= modes <= s // 2 + 1.
    """
    if not 1 <= modes <= count // 2 + 1:
        raise ValueError(
            f"modes is {modes}; a sequence of {count} tokens has frequencies 0 to {count // 2}: "
            f"expected 1 to {count // 2 + 1}"
        )
    angles = 2 * math.pi * np.outer(np.arange(count), np.arange(modes)) / count
    waves = np.concatenate([np.cos(angles), np.sin(angles[:, 1:])], axis=1)
    lengths = np.linalg.norm(waves, axis=0)
    kept = lengths > 1e-6  # the sine of the highest frequency of an even number is zero
    return np.asarray(waves[:, kept] / lengths[kept])


def checked_shape(shape: Any) -> tuple[int, int]:
    """Return (tokens, width); ValueError for other shapes than two positive integers."""
    whole = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    fine = all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in whole)
    if len(whole) != 2 or not fine or min(whole) < 1:
        raise ValueError(f"shape is {shape!r}; expected (tokens, width), two positive integers")
    return int(whole[0]), int(whole[1])


def stacked(X: Any) -> Any:
    """Return a list of sequences, of tokens each, as an array (n, s, w); all else as it is.

    Raises ValueError for sequences of different lengths, and tokens of different widths.
    """
    sized = isinstance(X, list | tuple) and all(_is_sequence(each) for each in X)
    if not sized or not len(X):
        return X
    widths = sorted({len(token) for sequence in X for token in sequence})
    if len(widths) > 1:
        raise ValueError(
            f"tokens have widths {', '.join(map(str, widths))}; expected one width for all"
        )
    lengths = sorted({len(sequence) for sequence in X})
    if len(lengths) > 1:
        raise ValueError(
            f"sequences have {lengths[0]} to {lengths[-1]} tokens; pad the shorter ones with "
            "tokens of zeros, which count as none"
        )
    return np.asarray(X)


def _is_sequence(value: Any) -> bool:
    listed: Any = list | tuple | np.ndarray
    return isinstance(value, listed) and len(value) > 0 and isinstance(value[0], listed)


def as_sequences(X: Any, shape: Sequence[int] | None) -> Any:
    """Return sequences (n, s, w) as rows (n, s * w); tables (n, s * w) are returned as they are.

    What is no array of numbers is returned too. Raises ValueError for another shape than is
    expected, and for sequences of which none is.
    """
    found = getattr(X, "shape", None)
    if found is None or is_sparse(X) or len(found) < 3:
        return X
    given = tuple(found[1:])
    if shape is None or given != tuple(shape):
        wanted = "(n, tokens, width)" if shape is None else f"(n, {shape[0]}, {shape[1]})"
        turned = shape is not None and given == tuple(shape)[::-1]
        advice = ": pass X.swapaxes(1, 2), tokens first" if turned else ""
        raise ValueError(f"X has shape {tuple(found)}; expected {wanted}{advice}")
    return X.reshape((found[0], given[0] * given[1]))
