"""Attention with linear or gated scores: heads are factors of matrices, and training is convex."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.shared import as_it_is, mean_network, unweighted
from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Cells, Nuclear, Penalty
from cvxnn.functions.cells import cells_as_columns, cells_as_rows
from cvxnn.gates import Gates, NoGates, Pairs, Source, opened
from cvxnn.gates.base import Floats
from cvxnn.maps import Heads
from cvxnn.tokens import (
    POSITIONS,
    READOUTS,
    Tokens,
    checked_shape,
    counted,
)

_HEADS, _PAIRS = 50, 60
"""Heads of a gate, and steps and slopes of them, that memory is counted for."""
_FLOOR = 1e-12
"""Singular values below this share of the largest are zero."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionNetwork:
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

    weights_in: Array
    """W1, (m, d, d)."""
    weights_out: Array
    """W2, (m, d, c)."""
    intercept: Array
    """s, (c,)."""
    skip: Array
    """S, (tokens * width, c)."""
    tokens: Tokens
    """What a sequence is."""
    readout: str
    """"mean", "sum" or "first"."""
    gates: Array | None = None
    """H, (m, d, d); None for linear attention."""

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "linear_attention" if self.gates is None else "gated_attention"

    @property
    def rules(self) -> Array:
        """The generators of the heads' masks; linear attention has none."""
        return self.weights_in[:0, :, 0] if self.gates is None else self.gates

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each head's scores, |W1_j| of all entries, (m,)."""
        return np.linalg.norm(to_numpy(self.weights_in), axis=(1, 2))

    @property
    def n_neurons(self) -> int:
        """Number of heads, m."""
        return int(self.weights_in.shape[0])

    def hidden(self, X: Array) -> Array:
        """Return the tokens that each head pools, (n, m * d) of sequences (n, tokens * width)."""
        features = self.tokens.rows(X)
        xp, first = namespace(X), like(self.weights_in, X)
        if self.gates is None:
            pooled = _heads(features, self.tokens, self.readout, None, 1).pooled(0, first)
            return xp.reshape(pooled, (X.shape[0], -1))
        rules, owner = np.unique(to_numpy(self.gates), axis=0, return_inverse=True)
        wide = double(xp.reshape(features, (-1, self.tokens.count, features.shape[1])))
        parts = [xp.zeros((X.shape[0], 0, features.shape[1]), dtype=X.dtype, device=device(X))]
        for gate, rule in enumerate(rules):
            # the gates decide as in training: in float64, so that float32 data switch alike
            masks = opened(wide, like(rule, wide))[None, ...]
            mine = xp.asarray(np.flatnonzero(owner.ravel() == gate), device=device(X))
            lift = _heads(features, self.tokens, self.readout, masks, 1)
            parts.append(lift.pooled(0, xp.take(first, mine, axis=0)))
        back = np.argsort(np.argsort(owner.ravel(), kind="stable"), kind="stable")
        pooled = xp.take(xp.concat(parts, axis=1), xp.asarray(back, device=device(X)), axis=1)
        return xp.reshape(pooled, (X.shape[0], -1))

    def __call__(self, X: Array) -> Array:
        """Return the outputs, (n, tokens * width) to (n, c)."""
        linear = X @ like(self.skip, X) + like(self.intercept, X)
        outward = like(self.weights_out, X)
        flat = namespace(X).reshape(outward, (-1, outward.shape[2]))
        return self.hidden(X) @ flat + linear

    def weight_decay(self) -> float:
        """Return sum_j |W1_j| |W2_j|."""
        outward = np.linalg.norm(to_numpy(self.weights_out), axis=(1, 2))
        return float((self.lengths * outward).sum())

    def parameters(self) -> dict[str, Array]:
        """Return every array by name."""
        names = ("weights_in", "weights_out", "intercept", "skip")
        arrays = {name: getattr(self, name) for name in names}
        return arrays if self.gates is None else {"gates": self.gates} | arrays


@dataclass(frozen=True)
class Attention:
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

    grows = False
    streams = False
    steady = False

    weighted = unweighted
    stated = as_it_is
    mean = mean_network

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
        if self.shape is None:
            raise ValueError(
                f"{self.name} networks see sequences; pass X of shape (n, tokens, width), or the "
                "architecture with shape=(tokens, width)"
            )
        return Tokens(checked_shape(self.shape), self.bias, self.positions)

    @property
    def name(self) -> str:
        """How users call it."""
        return "gated_attention" if self.gated else "linear_attention"

    @property
    def exactness(self) -> Exactness:
        """How the program stands to the network."""
        return Exactness.GATED if self.gated else Exactness.EXACT

    @property
    def source(self) -> Source:
        """Where its gates come from."""
        return Pairs(self.tokens.count) if self.gated else NoGates()

    @property
    def axes(self) -> MappingProxyType[str, tuple[str, ...]]:
        """Axes of its network's parameters."""
        gates = {"gates": ("neurons", "width", "width")} if self.gated else {}
        own = {
            "weights_in": ("neurons", "width", "width"),
            "weights_out": ("neurons", "width", "outputs"),
        }
        return MappingProxyType({**gates, **AXES, **own})

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks, of any number of heads; with gates, those on the gates."""
        return Scope.GIVEN_GATES if self.gated else Scope.ALL_NETWORKS

    def features(self, X: Array) -> Array:
        """Return the tokens (n * s, d), sequence by sequence, with what is appended to them."""
        return self.tokens.rows(X)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Heads:
        """Return A Z, whose blocks (d * d * d, c) are W2[m, c] W1[l, k] in the order (m, l, k)."""
        masks = None
        if self.gated:
            s, xp = self.tokens.count, namespace(features)
            shape = (len(gates), features.shape[0] // s, s, s)
            masks = xp.asarray(gates.masks.reshape(shape), device=device(features))
        return _heads(features, self.tokens, self.readout, masks, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: heads are free."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the nuclear norm of Z for every gate."""
        return Cells(Nuclear(alpha), self.tokens.width)

    def of(self, network: AttentionNetwork) -> "Attention":
        """Return the architecture with the options of the network."""
        tokens, gated = network.tokens, network.gates is not None
        words: dict[str, Any] = {"bias": tokens.bias, "positions": tokens.positions}
        return Attention(tokens.shape, gated=gated, readout=network.readout, **words)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> AttentionNetwork:
        """Return one balanced head per nonzero singular value of every Z."""
        d, c = self.tokens.width, blocks.shape[2]
        host = to_numpy(cells_as_columns(blocks, d))
        alive = np.flatnonzero(host.any(axis=(1, 2)))
        left, values, right = np.linalg.svd(host[alive], full_matrices=False)
        block, rank = np.nonzero(values > _FLOOR * values.max(initial=0.0))
        roots = np.sqrt(values[block, rank])[:, None]
        first = (left[block, :, rank] * roots).reshape(-1, d, d)
        second = (right[block, rank, :] * roots).reshape(-1, d, c)
        return AttentionNetwork(
            weights_in=like(first, blocks),
            weights_out=like(second, blocks),
            intercept=intercept,
            skip=skip,
            tokens=self.tokens,
            readout=self.readout,
            gates=gates.generators[alive[block]] if self.gated else None,
        )

    def unlift(self, network: AttentionNetwork, gates: Gates, features: Array) -> Array:
        """Return the sums of vec(W1) vec(W2)' at every gate, which must be among `gates`."""
        first, second = to_numpy(network.weights_in), to_numpy(network.weights_out)
        m, d, c = second.shape
        owner = self._owners(network, gates)
        count = len(gates) if self.gated else 1
        flat, sums = (first.reshape(m, d * d), second.reshape(m, d * c)), []
        for gate in range(count):
            left, right = (each[owner == gate] for each in flat)
            sums.append(left.T @ right)
        whole = np.array(sums).reshape(count, d * d, d * c)
        return like(cells_as_rows(whole, d), features)

    def _owners(self, network: AttentionNetwork, gates: Gates) -> Any:
        """Return the place of every head's gate, (m,)."""
        if not self.gated:
            return np.zeros(network.n_neurons, dtype=np.int64)
        own: Floats = to_numpy(network.gates)
        equal = (own[:, None] == gates.generators[None]).all(axis=(2, 3))
        if not equal.any(axis=1).all():
            lost = int(np.flatnonzero(~equal.any(axis=1))[0])
            raise ValueError(f"the gate of neuron {lost} is not among the {len(gates)} gates given")
        return equal.argmax(axis=1) if len(gates) else np.zeros(0, dtype=np.int64)

    def network(self, parameters: dict[str, Array]) -> AttentionNetwork:
        """Return the network with these arrays."""
        return AttentionNetwork(**parameters, tokens=self.tokens, readout=self.readout)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n tokens: keys, queries, masks, blocks, and some heads."""
        s = self.tokens.count
        masks = n * s * p // 2 if self.gated else 0
        pooled, steps = n // s * d, _PAIRS * (d * d + d * outputs)
        queries = n * d if self.gated else n // s * d
        wide = queries + _HEADS * p * (pooled + steps)
        return Sizes(lift=n * d + masks, blocks=p * d**3 * outputs, rows=0, wide=wide)


def _heads(
    features: Array, tokens: Tokens, readout: str, masks: Array | None, outputs: int
) -> Heads:
    """Return the map of heads on tokens (n * s, d); longer sequences than wide by their QR."""
    xp, s = namespace(features), tokens.count
    keys = xp.reshape(features, (features.shape[0] // s, s, features.shape[1]))
    wide = double(keys)  # float32 data do not round what is made of them
    queries = counted(wide, readout)[:, :, None] * wide
    if masks is None:
        queries = xp.sum(queries, axis=1, keepdims=True)
        if s > keys.shape[2]:  # the sum of x x' is all that is asked of the keys
            keys = xp.linalg.qr(wide)[1]
    return Heads(keys, queries, outputs, masks)


def shaped(architecture: Any, X: Any) -> Any:
    """Return the architecture, with the shape of sequences (n, tokens, width) if it has none."""
    found = getattr(X, "shape", ())
    if isinstance(architecture, Attention) and architecture.shape is None and len(found) == 3:
        return replace(architecture, shape=tuple(int(one) for one in found[1:]))
    return architecture
