"""Deep parallel linear networks: at any depth weight decay is the nuclear norm of one matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import mean_of, with_bias
from cvxnn.arrays import Array, device, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Nuclear, Penalty
from cvxnn.gates import Gates, NoGates
from cvxnn.maps import Gated


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepLinearNetwork(Neurons):
    """f(x) = sum_j (x'u_j) w_j1 ... w_jk a_j + x'S + s: chains of linear units beside each other.

    >>> import numpy as np
    >>> net = DeepLinearNetwork(
    ...     weights_in=np.array([[2.0]]),
    ...     weights_hidden=np.array([[0.5]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[3.0], [-3.0]]
    """

    weights_hidden: Array
    """w, (m, k): the weights between the k + 1 hidden units of a chain."""

    architecture = "deep_linear"

    @property
    def rules(self) -> Array:
        """No generators, (0, d): there are no patterns."""
        return self.weights_in[:0, :]

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each chain before its output: |u_j w_j1 ... w_jk|, (m,)."""
        inward = np.linalg.norm(to_numpy(self.weights_in), axis=1)
        return np.asarray(inward * np.abs(to_numpy(self.weights_hidden)).prod(axis=1))

    def hidden(self, X: Array) -> Array:
        """Return what the last units of the chains hold, (n, d) to (n, m)."""
        xp = namespace(X)
        features = with_bias(X, self.weights_in.shape[1] > self.skip.shape[0])
        chains = xp.prod(like(self.weights_hidden, X), axis=1)
        return (features @ like(self.weights_in, X).T) * chains


@dataclass(frozen=True)
class DeepLinear:
    """Deep parallel linear networks [WangErgenPilanci2023]: minimise L(X Z) + alpha * |Z|_*.

    sum_k X W_1k ... W_Lk under the weight decay sum_k (|W_1k|^L + ... + |W_Lk|^L) / L of Frobenius
    norms, which at its least is sum_k |W_1k| ... |W_Lk|, is the nuclear norm at any depth L, and
    the bound is over all such networks of any width. A single chain has in general a gap.

    Raises ValueError for a depth that is no integer of two or more.

    >>> DeepLinear().name
    'deep_linear'
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each first unit."""
    depth: int = 3
    """L, how many layers of weights there are."""

    name = "deep_linear"
    exactness = Exactness.EXACT
    source = NoGates()
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType({**AXES, "weights_hidden": ("neurons", "layers")})

    def __post_init__(self) -> None:
        depth: Any = self.depth
        whole = isinstance(depth, int | np.integer) and not isinstance(depth, bool)
        if not whole or depth < 2:
            raise ValueError(f"depth is {self.depth!r}; expected an integer of at least 2")

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks: the program is over all of them without any gates."""
        return Scope.ALL_NETWORKS

    def weighted(self, weights: Array) -> "DeepLinear":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Gated:
        """Return A Z = X Z, a gate that is open everywhere."""
        xp = namespace(features)
        ones = xp.ones((features.shape[0], 1), dtype=features.dtype, device=device(features))
        return Gated(features, ones, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the nuclear norm."""
        return Nuclear(alpha)

    def of(self, network: DeepLinearNetwork) -> "DeepLinear":
        """Return the architecture with the bias and the depth of the network."""
        bias = network.weights_in.shape[1] > network.skip.shape[0]
        return DeepLinear(bias=bias, depth=network.weights_hidden.shape[1] + 2)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepLinearNetwork:
        """Return a chain per nonzero singular value; its last two layers are balanced.

        All layers before these have norm one. Shares of the L-th root each compute the same.
        """
        left, values, right = np.linalg.svd(to_numpy(blocks)[0], full_matrices=False)
        rank = int((values > 1e-12 * values.max(initial=0.0)).sum())
        roots = np.sqrt(values[:rank])[:, None]
        hidden = np.ones((rank, self.depth - 2))
        first = roots if self.depth == 2 else np.ones_like(roots)
        hidden[:, -1:] = roots
        made = {
            "weights_in": left.T[:rank] * first,
            "weights_hidden": hidden,
            "weights_out": right[:rank] * roots,
        }
        return DeepLinearNetwork(
            **{name: like(array, blocks) for name, array in made.items()},
            intercept=intercept,
            skip=skip,
        )

    def unlift(self, network: DeepLinearNetwork, gates: Gates, features: Array) -> Array:
        """Return the matrix that the chains are together, one block."""
        chains = to_numpy(network.weights_hidden).prod(axis=1)[:, None]
        inward = to_numpy(network.weights_in) * chains
        return like((inward.T @ to_numpy(network.weights_out))[None], features)

    def stated(self, network: DeepLinearNetwork, X: Array) -> DeepLinearNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> DeepLinearNetwork:
        """Return the network with these arrays."""
        return DeepLinearNetwork(**parameters)

    def mean(self, networks: Sequence[DeepLinearNetwork]) -> DeepLinearNetwork:
        """Return the network of all their chains, each with its share."""
        root = len(networks) ** -0.5
        shares = {"weights_in": root, "weights_hidden": 1.0, "weights_out": root}
        return DeepLinearNetwork(
            **{
                name: share * np.concatenate([to_numpy(getattr(each, name)) for each in networks])
                for name, share in shares.items()
            },
            intercept=mean_of([each.intercept for each in networks]),
            skip=mean_of([each.skip for each in networks]),
        )

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: a column of ones and one matrix."""
        return Sizes(lift=n, blocks=d * outputs, rows=0)
