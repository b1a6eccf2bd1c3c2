"""Mixers with linear or gated units: attention over channels, with values of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from cvxnn.architectures import heads
from cvxnn.architectures.base import Sizes
from cvxnn.architectures.heads import HeadsNetwork, OfHeads
from cvxnn.arrays import Array, like, namespace
from cvxnn.gates import Gates, Mixes, NoGates, Source, passed
from cvxnn.maps import Heads
from cvxnn.tokens import READOUTS, Tokens, checked_shape

_READOUTS = (*READOUTS, "marked")


@dataclass(frozen=True, eq=False, kw_only=True)
class MixerNetwork(HeadsNetwork):
    """f(X) = readout over tokens t of sum_j sigma(W1_j X) W2_j, and X.S + s beside it.

    X (s, d) are the tokens of a sequence, with a one appended if asked for. sigma is the identity,
    or with `gates` G_j keeps what is not negative in G_j X.

    >>> import numpy as np
    >>> from cvxnn.tokens import Tokens
    >>> net = MixerNetwork(
    ...     weights_in=np.array([[[0.0, 1.0], [2.0, 0.0]]]),
    ...     weights_out=np.full((1, 1, 1), 3.0),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ...     tokens=Tokens((2, 1), bias=False),
    ...     readout="first",
    ... )
    >>> net(np.array([[1.0, 5.0]])).tolist()  # the first token becomes the second, times 3
    [[15.0]]
    """

    weights_in: Array
    """W1, (m, s, s)."""

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "linear_mixer" if self.gates is None else "gated_mixer"

    opened = staticmethod(passed)

    def map_of(self, features: Array, masks: Array | None) -> Heads:
        """Return the map of units on tokens."""
        return _units(features, self.tokens, self.readout, masks, 1)


@dataclass(frozen=True)
class Mixer(OfHeads):
    """An MLP-mixer block: tokens are mixed by W1, gated, and their channels mixed by W2.

    With the tokens X_i of a sequence, and r_i what every token counts in the output,

    minimise L(sum_j r_i' sigma(W1_j X_i) W2_j) + alpha * sum_j |W1_j| |W2_j|

    for sigma the identity is a program in Z = sum_j vec(W1_j) vec(W2_j)', of s * s by d * c
    entries, with alpha times its nuclear norm [Sahiner2022]: exact for any number of units.
    `gated` mixers keep what is not negative in G X for fixed G, one Z for each; gates stay with the
    network. Mixers know the order of the tokens. For an output at every token, readout="marked"
    takes the rows of `cvxnn.tokens.each_marked`.

    Raises ValueError for options out of range.

    >>> Mixer().name, Mixer((8, 8), gated=True).name
    ('linear_mixer', 'gated_mixer')
    """

    shape: Sequence[int] | None = None
    """(tokens, width) of a sequence, marks counted; a row of the data is one, token by token. None
    takes it from arrays (n, tokens, width)."""
    gated: bool = False
    """Keep what gates open, in place of all."""
    bias: bool = True
    """Append a one to every token."""
    readout: str = "mean"
    """"mean" or "sum" over the tokens, the output at the "first", or "marked": the last entry of
    every token is what it counts, and no part of it."""

    def __post_init__(self) -> None:
        if self.readout not in _READOUTS:
            known = ", ".join(_READOUTS)
            raise ValueError(f"readout is {self.readout!r}; expected one of {known}")
        if self.shape is not None:
            shape = checked_shape(self.shape)
            if self.readout == "marked" and shape[1] < 2:
                raise ValueError(
                    f"shape is {shape}, and the last entry of a token is its mark; expected a "
                    "width of at least 2"
                )
            object.__setattr__(self, "shape", shape)

    @cached_property
    def tokens(self) -> Tokens:
        """What a sequence is; ValueError where its shape is not known."""
        shape = heads.known_shape(self)
        return Tokens(shape, self.bias, marked=self.readout == "marked")

    @property
    def name(self) -> str:
        """How users call it."""
        return "gated_mixer" if self.gated else "linear_mixer"

    @property
    def source(self) -> Source:
        """Where its gates come from."""
        return Mixes(self.tokens.count, self.tokens.marked) if self.gated else NoGates()

    @property
    def axes(self) -> MappingProxyType[str, tuple[str, ...]]:
        """Axes of its network's parameters."""
        return MappingProxyType(heads.axes_of(self, "tokens"))

    def lift(self, features: Array, gates: Gates, outputs: int) -> Heads:
        """Return A Z, whose blocks (d * s * s, c) are W2[m, c] W1[l, k] in the order (m, l, k)."""
        masks = heads.masks_beside(gates, features, self.tokens.count) if self.gated else None
        return _units(features, self.tokens, self.readout, masks, outputs)

    def of(self, network: MixerNetwork) -> "Mixer":
        """Return the architecture with the options of the network."""
        tokens, gated = network.tokens, network.gates is not None
        return Mixer(tokens.shape, gated=gated, bias=tokens.bias, readout=network.readout)

    def network(self, parameters: dict[str, Array]) -> MixerNetwork:
        """Return the network with these arrays."""
        return MixerNetwork(**parameters, tokens=self.tokens, readout=self.readout)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n tokens: channels, shares, masks, blocks, and some units."""
        s = self.tokens.count
        masks = n * d * p // 2 if self.gated else 0
        pooled, steps = n // s * d, heads.PAIRS * (s * s + d * outputs)
        queries = n * s if self.gated else n
        wide = queries + heads.HEADS * p * (pooled + steps)
        return Sizes(lift=n * d + masks, blocks=p * s * s * d * outputs, rows=0, wide=wide)


def _units(
    features: Array, tokens: Tokens, readout: str, masks: Array | None, outputs: int
) -> Heads:
    """Return the map of units on tokens (n * s, d): channels are keys, and values of their own."""
    xp = namespace(features)
    rows, shares = tokens.parted(features, readout)
    keys = xp.matrix_transpose(rows)
    queries = shares[:, None, :]
    if masks is not None:
        queries = shares[:, :, None] * like(np.eye(tokens.count), shares)[None, :, :]
    return Heads(keys, queries, outputs, masks, apart=True)
