"""Attention on the tokens of frozen networks: scaled, projected, summed up, and folded again."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.architectures import Attention, AttentionNetwork
from cvxnn.functions import Logistic
from cvxnn.heads.backbones import tokens_of
from cvxnn.maps import row_blocks
from cvxnn.tokens import Tokens, checked_shape
from cvxnn.training import require_memory

Floats = NDArray[np.float64]

_FLAT = 1e-6
"""Size of a direction, relative to the largest, that is none."""
_FIRST = 2048
"""Sequences of a stream whose tokens make the scaler."""


class TokenScaler(NamedTuple):
    """What tokens become: (x - mean) / scale, in the directions `basis`; zero tokens stay so."""

    mean: Floats
    """(d,)."""
    scale: Floats
    """(d,)."""
    basis: Floats
    """(d, k), of directions that make the tokens one long in the root mean square."""

    @property
    def weights(self) -> Floats:
        """(d, k), of the linear map."""
        return self.basis / self.scale[:, None]

    def __call__(self, tokens: Any) -> Any:
        """Return tokens (n, s, k) of (n, s, d), in their dtype."""
        n, s, d = tokens.shape
        seen = np.empty((n, s, self.basis.shape[1]), dtype=tokens.dtype)
        mean, weights = self.mean.astype(tokens.dtype), self.weights.astype(tokens.dtype)
        for rows in row_blocks(n, s * d):
            some = tokens[rows]
            seen[rows] = ((some - mean) @ weights) * some.any(axis=2, keepdims=True)
        return seen

    def map(self, bias: bool, places: int) -> Floats:
        """Return the map of raw tokens with a one, and `places` more, to what heads see."""
        d, k = self.basis.shape
        whole = np.zeros((d + 1 + places, k + bias + places))
        whole[:d, :k] = self.weights
        whole[d, :k] = -self.mean @ self.weights
        whole[d, k : k + bias] = 1.0
        whole[d + 1 :, k + bias :] = np.eye(places)
        return whole

    def folded(self, network: Any, architecture: Attention, shape: tuple[int, int]) -> Any:
        """Return the network of raw sequences (s, d) that does what `network` does of scaled ones.

        `architecture` is that of raw sequences; `network` may see sums in the place of sequences.
        """
        tokens = Tokens(shape, True, architecture.positions)
        fold = self.map(architecture.bias, tokens.appended.shape[1] - 1)
        words = network.parameters()
        for name in ("weights_in", "gates"):
            if name in words:
                words[name] = fold @ words[name] @ fold.T
        words["weights_out"] = fold @ words["weights_out"]
        words["skip"] = np.zeros((math.prod(shape), len(network.intercept)))
        return AttentionNetwork(**words, tokens=tokens, readout=architecture.readout)

    def settle(self, shape: Any, features: Any) -> None:
        """Raise ValueError unless it is a scaler of sequences (s, d), of `features` numbers."""
        d = len(self.mean)
        fine = np.shape(self.scale) == (d,) and np.ndim(self.basis) == 2 and len(self.basis) == d
        if not fine or checked_shape(shape)[1] != d or math.prod(shape) != features:
            raise ValueError(
                f"its scaler is of tokens of width {d} and its sequences have shape {shape} and "
                f"{features} numbers"
            )


def token_scaler(tokens: Any, floor: float, projection: int | None) -> TokenScaler:
    """Return the scaler of tokens (n, s, d), and their leading directions if there are to be fewer.

    A deviation below `floor` times the median one counts as that much. Leading directions are
    brought to one size, as descent on heads is slow where sizes differ; what is below `floor` times
    the largest counts as that much. Raises ValueError for a projection that is not from 1 to d.
    """
    n, s, d = tokens.shape
    if projection is not None and not 1 <= projection <= d:
        raise ValueError(f"projection is {projection}; tokens of width {d} take 1 to {d}")
    flat = tokens.reshape(n * s, d)
    there = flat.any(axis=1)
    count = max(int(there.sum()), 1)
    mean = flat.sum(axis=0, dtype=np.float64) / count  # zero tokens add nothing
    second = np.zeros((d, d))
    for rows in row_blocks(n * s, d):
        some = (flat[rows] - mean) * there[rows, None]
        second += some.T @ some / count
    deviation = np.sqrt(second.diagonal())
    scale = np.maximum(deviation, floor * float(np.median(deviation)))
    # a column that is constant up to the rounding of its numbers is left as it is
    alive = scale > 4 * np.finfo(tokens.dtype).eps * np.abs(mean)
    scale = np.where(alive & (scale > 0), scale, 1.0)
    scaled = second / np.outer(scale, scale)
    basis = np.eye(d)
    if projection is not None:
        values, vectors = (each[..., : -projection - 1 : -1] for each in np.linalg.eigh(scaled))
        sizes = np.sqrt(np.maximum(values, max(floor, _FLAT) ** 2 * values[0]))
        basis = vectors / np.where(sizes > 0, sizes, 1.0)
    length = np.sqrt(np.trace(basis.T @ scaled @ basis))
    return TokenScaler(mean, scale, basis / length if length > 0 else basis)


def seen_by(
    architecture: Attention, scaler: TokenScaler, shape: tuple[int, int], *, sums: Any
) -> Attention:
    """Return the architecture that sees scaled sequences, of raw ones (s, d), or their sums."""
    inner = (shape[0], int(scaler.basis.shape[1]))
    if not sums:
        return replace(architecture, shape=inner)
    width = Tokens(inner, architecture.bias, architecture.positions).width
    return Attention((width + 1, width), bias=False, readout="first")


def sums_up(architecture: Attention, shape: tuple[int, int]) -> bool:
    """Tell whether sums say as much as scaled sequences (s, k), in fewer numbers."""
    width = Tokens(shape, architecture.bias, architecture.positions).width
    smaller = (width + 1) * width < math.prod(shape)
    return smaller and not architecture.gated and architecture.readout != "sum"


def sums_of(architecture: Attention, seen: Any) -> Any:
    """Return sequences (n, w + 1, w) on which linear attention, read out at the first, is the same.

    Linear attention sees a query q, the mean of the tokens or the first, and the sum G of x x'. The
    first token is q, and the others are a triangle R with R'R = G - q q'.
    """
    n, s, k = seen.shape
    tokens = Tokens((s, k), architecture.bias, architecture.positions)
    wide = tokens.rows(seen.reshape(n, -1)).reshape(n, s, tokens.width).astype(np.float64)
    if architecture.readout == "first":
        query, rest = wide[:, 0], wide[:, 1:]
    else:
        there = wide.any(axis=2, keepdims=True)
        count = np.maximum(there.sum(axis=1), 1)
        query = wide.sum(axis=1) / count
        above = np.sqrt(np.maximum(count - 1, 0)) * query  # G = sum of (x - q)(x - q)' + s q q'
        rest = np.concatenate([there * (wide - query[:, None]), above[:, None]], axis=1)
    triangle: Any = np.linalg.qr(rest, mode="r")
    missing = tokens.width - triangle.shape[1]
    triangle = np.pad(triangle, ((0, 0), (0, max(missing, 0)), (0, 0)))
    return np.concatenate([query[:, None], triangle], axis=1).astype(seen.dtype)


class Streamed(NamedTuple):
    """What is left of a stream of tokens."""

    scaler: TokenScaler
    architecture: Attention
    """What sees the rows."""
    rows: Any
    """Scaled sequences, or their sums, as rows of a table."""
    labels: NDArray[Any]
    shape: tuple[int, int]
    """(s, d) of a raw sequence."""


def streamed_tokens(
    architecture: Attention, batches: Any, gates: int, *, floor: float, projection: int | None
) -> Streamed:
    """Return the scaled sequences of a stream of outputs and labels, or sums where these are fewer.

    The scaler and the directions are those of the first 2,048 sequences. Raises ValueError for
    outputs that are no tokens, and for a batch of another shape; MemoryBudgetError, once the scaler
    is known, where the stream says how many there are and they, or the fit, would not fit.
    """
    stream = _of_one_shape(batches)
    head, labels = [], []
    for tokens, y in stream:
        head.append(tokens)
        labels.append(y)
        if sum(map(len, head)) >= _FIRST:
            break
    first, size = np.concatenate(head), len(head[0])
    head.clear()
    shape = (int(first.shape[1]), int(first.shape[2]))
    scaler = token_scaler(first, floor, projection)
    sums = sums_up(architecture, (shape[0], scaler.basis.shape[1]))
    seen = seen_by(architecture, scaler, shape, sums=sums)
    if batches.count is not None:
        _require(seen, batches.count * size, len(np.unique(np.concatenate(labels))), gates)

    def kept(tokens: Any) -> Any:
        some = scaler(tokens)
        return (sums_of(architecture, some) if sums else some).reshape(len(some), -1)

    rows = [kept(first)]
    for tokens, y in stream:
        rows.append(kept(tokens))
        labels.append(y)
    return Streamed(scaler, seen, np.concatenate(rows), np.concatenate(labels), shape)


def _of_one_shape(batches: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Yield tokens (batch, s, d), float32, and labels."""
    shape: Any = None
    for number, (output, y) in enumerate(batches):
        tokens = tokens_of(output).to("cpu").float().numpy()
        shape = tokens.shape[1:] if shape is None else shape
        if tokens.shape[1:] != shape:
            raise ValueError(
                f"batch {number} has {tokens.shape[1]} tokens of width {tokens.shape[2]} and the "
                f"first {shape[0]} of width {shape[1]}; bring inputs to one size, or pad sequences "
                "with tokens of zeros"
            )
        yield tokens, y


def _require(architecture: Attention, n: int, classes: int, gates: int) -> None:
    """Raise MemoryBudgetError where n sequences and the fit on them would not fit."""
    s, k = architecture.tokens.shape
    memory.require(8 * n * s * k)
    empty = np.broadcast_to(np.float32(0.0), (n, s * k))
    outputs = classes if classes > 2 else 1
    require_memory(architecture, empty, gates, outputs, Logistic(), "auto")
