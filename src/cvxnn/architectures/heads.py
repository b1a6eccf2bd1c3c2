"""What networks of heads share, attention and mixers: a head is a singular pair of a matrix."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from cvxnn.architectures.base import AXES
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import as_it_is, mean_network, unweighted
from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Cells, Nuclear, Penalty
from cvxnn.functions.cells import cells_as_columns, cells_as_rows
from cvxnn.gates import Gates
from cvxnn.tokens import Tokens, checked_shape

_FLOOR = 1e-12
"""Singular values below this share of the largest are zero."""
HEADS, PAIRS = 50, 60
"""Heads of a gate, and steps and slopes of them, that memory is counted for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeadsNetwork(Neurons):
    """f(X) = what heads pool of the tokens X, times their outward weights, and X.S + s beside it.

    A subclass has `map_of(features, masks)`, what heads do to tokens, and `opened(tokens, gate)`.
    """

    weights_in: Array
    """W1, (m, d, d)."""
    weights_out: Array
    """W2, (m, d, c)."""
    skip: Array
    """S, (tokens * width, c)."""
    tokens: Tokens
    """What a sequence is."""
    readout: str
    """How tokens are read out, as in the architecture."""
    gates: Array | None = None
    """As `weights_in`; None for linear heads."""

    settings = ("tokens", "readout")

    @property
    def rules(self) -> Array:
        """The generators of the heads' masks; linear heads have none."""
        return self.weights_in[:0, :, 0] if self.gates is None else self.gates

    def hidden(self, X: Array) -> Array:
        """Return the values that each head pools, (n, m * v) of sequences (n, tokens * width)."""
        features, heads = self.tokens.rows(X), cast(Any, self)
        xp, first = namespace(X), like(self.weights_in, X)
        if self.gates is None:
            return xp.reshape(heads.map_of(features, None).pooled(0, first), (X.shape[0], -1))
        rules, owner = np.unique(to_numpy(self.gates), axis=0, return_inverse=True)
        wide = self.tokens.parted(double(features), self.readout)[0]
        v = self.weights_out.shape[1]
        parts = [xp.zeros((X.shape[0], 0, v), dtype=X.dtype, device=device(X))]
        for gate, rule in enumerate(rules):
            # the gates decide as in training: in float64, so that float32 data switch alike
            masks = heads.opened(wide, like(rule, wide))[None, ...]
            mine = xp.asarray(np.flatnonzero(owner.ravel() == gate), device=device(X))
            parts.append(heads.map_of(features, masks).pooled(0, xp.take(first, mine, axis=0)))
        back = np.argsort(np.argsort(owner.ravel(), kind="stable"), kind="stable")
        pooled = xp.take(xp.concat(parts, axis=1), xp.asarray(back, device=device(X)), axis=1)
        return xp.reshape(pooled, (X.shape[0], -1))


class OfHeads:
    """What architectures of heads share; they have `gated`, `tokens` and `readout`."""

    grows = False
    streams = False
    steady = False

    weighted = unweighted
    stated = as_it_is
    mean = mean_network

    @property
    def exactness(self: Any) -> Exactness:
        """Return how the program stands to the network."""
        return Exactness.GATED if self.gated else Exactness.EXACT

    def scope(self: Any, *, every: bool, outputs: int) -> Scope:
        """Return all networks, of any number of heads; with gates, those on the gates."""
        return Scope.GIVEN_GATES if self.gated else Scope.ALL_NETWORKS

    def features(self: Any, X: Array) -> Array:
        """Return the tokens (n * s, d), sequence by sequence, with what is appended to them."""
        return self.tokens.rows(X)

    def constraint(self: Any, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: heads are free."""

    def penalty(self: Any, alpha: float, outputs: int) -> Penalty:
        """Return the nuclear norm of Z for every gate."""
        return Cells(Nuclear(alpha), self.tokens.width)

    def recover(
        self: Any, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> Any:
        """Return one balanced head per nonzero singular value of every Z."""
        v, c = self.tokens.width, blocks.shape[2]
        host = to_numpy(cells_as_columns(blocks, v))
        side = round(host.shape[1] ** 0.5)
        alive = np.flatnonzero(host.any(axis=(1, 2)))
        left, values, right = np.linalg.svd(host[alive], full_matrices=False)
        block, rank = np.nonzero(values > _FLOOR * values.max(initial=0.0))
        roots = np.sqrt(values[block, rank])[:, None]
        made = {
            "weights_in": like((left[block, :, rank] * roots).reshape(-1, side, side), blocks),
            "weights_out": like((right[block, rank, :] * roots).reshape(-1, v, c), blocks),
            "intercept": intercept,
            "skip": skip,
        }
        own = {"gates": gates.generators[alive[block]]} if self.gated else {}
        return self.network(made | own)

    def unlift(self: Any, network: Any, gates: Gates, features: Array) -> Array:
        """Return the sums of vec(W1) vec(W2)' at every gate, which must be among `gates`."""
        first, second = (to_numpy(each) for each in (network.weights_in, network.weights_out))
        owner, count = _owners(network, gates), len(gates) if self.gated else 1
        m, side, _ = first.shape
        _, v, c = second.shape
        flat, sums = (first.reshape(m, side * side), second.reshape(m, v * c)), []
        for gate in range(count):
            left, right = (each[owner == gate] for each in flat)
            sums.append(left.T @ right)
        whole = np.array(sums).reshape(count, side * side, v * c)
        return like(cells_as_rows(whole, v), features)


def known_shape(architecture: Any) -> tuple[int, int]:
    """Return (tokens, width); ValueError where it is not known."""
    if architecture.shape is None:
        raise ValueError(
            f"{architecture.name} networks see sequences; pass X of shape (n, tokens, width), or "
            "the architecture with shape=(tokens, width)"
        )
    return checked_shape(architecture.shape)


def axes_of(architecture: Any, side: str) -> dict[str, tuple[str, ...]]:
    """Return the axes of the network's parameters, W1 being (m, side, side)."""
    gates = {"gates": ("neurons", side, side)} if architecture.gated else {}
    own = {"weights_in": ("neurons", side, side), "weights_out": ("neurons", "width", "outputs")}
    return {**gates, **AXES, **own}


def masks_beside(gates: Gates, features: Array, count: int) -> Array:
    """Return the masks (p, n, count, k) where the features are."""
    masks = gates.masks.reshape(len(gates), -1, count, gates.masks.shape[2])
    return namespace(features).asarray(masks, device=device(features))


def _owners(network: Any, gates: Gates) -> Any:
    """Return the place of every head's gate, (m,)."""
    if network.gates is None:
        return np.zeros(network.n_neurons, dtype=np.int64)
    equal = (to_numpy(network.gates)[:, None] == gates.generators[None]).all(axis=(2, 3))
    if not equal.any(axis=1).all():
        lost = int(np.flatnonzero(~equal.any(axis=1))[0])
        raise ValueError(f"the gate of neuron {lost} is not among the {len(gates)} gates given")
    return equal.argmax(axis=1) if len(gates) else np.zeros(0, dtype=np.int64)
