"""Attention with linear or gated scores: heads are factors of matrices, and training is convex."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from cvxnn.architectures import heads
from cvxnn.architectures.base import Sizes
from cvxnn.architectures.heads import HeadsNetwork, OfHeads
from cvxnn.arrays import Array, double, like, namespace
from cvxnn.gates import Gates, NoGates, Pairs, Source, opened
from cvxnn.maps import Heads
from cvxnn.tokens import POSITIONS, READOUTS, Tokens, checked_shape


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionNetwork(HeadsNetwork):
    """f(X) = readout over tokens t of sum_j sigma(X W1_j X') X W2_j, and X.S + s beside it.

    X (s, d) are the tokens of a sequence, with a one and their position appended if asked for.
    sigma is the identity, or with `gates` H_j keeps the scores of the pairs with x_t'H_j x_u >= 0.
    W1 is the product of a head's query and key weights, W2 that of its value and output weights.

    >>> import numpy as np
    >>> from cvxnn.tokens import Tokens
    >>> net = AttentionNetwork(
    ...     weights_in=np.ones((1, 1, 1)),
    ...     weights_out=np.full((1, 1, 1), 3.0),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ...     tokens=Tokens((2, 1), bias=False),
    ...     readout="sum",
    ... )
    >>> net(np.array([[1.0, 2.0]])).round(
    ...     9
    ... ).tolist()  # scores [[1, 2], [2, 4]], times [1, 2], times 3
    [[45.0]]
    """

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "linear_attention" if self.gates is None else "gated_attention"

    opened = staticmethod(opened)

    def map_of(self, features: Array, masks: Array | None) -> Heads:
        """Return the map of heads on tokens."""
        return _heads(features, self.tokens, self.readout, masks, 1)

    def contributions(self, X: Array) -> Array:
        """Return what every token adds to the outputs, (n, tokens, c) of (n, tokens * width).

        A token's value x'W2 counts by the scores y'W1 x of all that ask it and are read out. Their
        sum, with the intercept and the skip, is the output.
        """
        keys, shares = self.tokens.parted(double(self.tokens.rows(X)), self.readout)
        xp, (n, s, _) = namespace(keys), keys.shape
        asking, total = shares[:, :, None] * keys, 0.0
        for j in range(self.n_neurons):
            first, second = (like(each[j], keys) for each in (self.weights_in, self.weights_out))
            asked = xp.sum(asking, axis=1, keepdims=True)
            if self.gates is not None:
                seen = xp.astype(opened(keys, like(self.gates[j], keys)), keys.dtype)
                asked = xp.matmul(xp.matrix_transpose(seen), asking)
            scores = xp.sum(xp.matmul(asked, first) * keys, axis=2, keepdims=True)
            total = total + scores * xp.matmul(keys, second)
        return total if self.n_neurons else like(np.zeros((n, s, len(self.intercept))), keys)


@dataclass(frozen=True)
class Attention(OfHeads):
    """Self-attention without softmax, read out by the mean over tokens [Sahiner2022].

    With the tokens X_i of a sequence, heads W1, W2, and r_i what every token counts in the output,

    minimise L(sum_j r_i' sigma(X_i W1_j X_i') X_i W2_j) + alpha * sum_j |W1_j| |W2_j|

    for sigma the identity is a program in Z = sum_j vec(W1_j) vec(W2_j)', of d * d by d * c
    entries, with alpha times its nuclear norm: exact for any number of heads, and the singular
    vectors of Z are heads. The data enter by the query X_i'r_i and the matrix X_i'X_i alone.
    `gated` attention keeps the scores of pairs of tokens that fixed gates open, one Z for each
    gate; gates stay with the network.

    Sequences shorter than others are padded with tokens of zeros: these ask nothing, are asked
    nothing and are not counted, so that padding is exact. Centre the tokens and bring them to about
    unit length: outputs are cubic in them.

    Raises ValueError for options out of range.

    >>> Attention().name, Attention((8, 8), gated=True).name
    ('linear_attention', 'gated_attention')
    """

    shape: Sequence[int] | None = None
    """(tokens, width) of a sequence; a row of the data is one, token by token. None takes it from
    arrays (n, tokens, width)."""
    gated: bool = False
    """Keep the scores that gates open, in place of all."""
    bias: bool = True
    """Append a one to every token: heads then see single tokens and pairs of them too."""
    positions: str = "none"
    """What tokens carry of their place: "none", "sinusoidal" or "one_hot"."""
    readout: str = "mean"
    """"mean" or "sum" over the tokens, or "first": the output at the first token alone."""

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise ValueError(f"readout is {self.readout!r}; expected one of {', '.join(READOUTS)}")
        if self.positions not in POSITIONS:
            known = ", ".join(POSITIONS)
            raise ValueError(f"positions is {self.positions!r}; expected one of {known}")
        if self.shape is not None:
            object.__setattr__(self, "shape", checked_shape(self.shape))

    @cached_property
    def tokens(self) -> Tokens:
        """What a sequence is; ValueError where its shape is not known."""
        return Tokens(heads.known_shape(self), self.bias, self.positions)

    @property
    def name(self) -> str:
        """How users call it."""
        return "gated_attention" if self.gated else "linear_attention"

    @property
    def source(self) -> Source:
        """Where its gates come from."""
        return Pairs(self.tokens.count) if self.gated else NoGates()

    @property
    def axes(self) -> MappingProxyType[str, tuple[str, ...]]:
        """Axes of its network's parameters."""
        return MappingProxyType(heads.axes_of(self, "width"))

    def lift(self, features: Array, gates: Gates, outputs: int) -> Heads:
        """Return A Z, whose blocks (d * d * d, c) are W2[m, c] W1[l, k] in the order (m, l, k)."""
        masks = heads.masks_beside(gates, features, self.tokens.count) if self.gated else None
        return _heads(features, self.tokens, self.readout, masks, outputs)

    def of(self, network: AttentionNetwork) -> "Attention":
        """Return the architecture with the options of the network."""
        tokens, gated = network.tokens, network.gates is not None
        words: dict[str, Any] = {"bias": tokens.bias, "positions": tokens.positions}
        return Attention(tokens.shape, gated=gated, readout=network.readout, **words)

    def network(self, parameters: dict[str, Array]) -> AttentionNetwork:
        """Return the network with these arrays."""
        return AttentionNetwork(**parameters, tokens=self.tokens, readout=self.readout)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n tokens: keys, queries, masks, blocks, and some heads."""
        s = self.tokens.count
        masks = n * s * p // 2 if self.gated else 0
        pooled, steps = n // s * d, heads.PAIRS * (d * d + d * outputs)
        queries = n * d if self.gated else n // s * d
        wide = queries + heads.HEADS * p * (pooled + steps)
        return Sizes(lift=n * d + masks, blocks=p * d**3 * outputs, rows=0, wide=wide)


def _heads(
    features: Array, tokens: Tokens, readout: str, masks: Array | None, outputs: int
) -> Heads:
    """Return the map of heads on tokens (n * s, d); longer sequences than wide by their QR."""
    xp = namespace(features)
    keys, shares = tokens.parted(features, readout)
    wide = double(keys)  # float32 data do not round what is made of them
    queries = shares[:, :, None] * wide
    if masks is None:
        queries = xp.sum(queries, axis=1, keepdims=True)
        if tokens.count > keys.shape[2]:  # the sum of x x' is all that is asked of the keys
            keys = xp.linalg.qr(wide)[1]
    return Heads(keys, queries, outputs, masks)
