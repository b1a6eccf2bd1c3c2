"""Two-layer gated ReLU networks: the gates are fixed, and training is a plain group lasso."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import gated_map, mean_of, with_bias
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import GroupNorm, Nuclear, Penalty
from cvxnn.gates import Gates, HalfSpaces
from cvxnn.maps import Gated, GatedStream


@dataclass(frozen=True, eq=False, kw_only=True)
class GatedNetwork(Neurons):
    """f(x) = sum_j 1[x'g_j >= 0] (x'u_j) a_j + x'S + s: neurons that their gates switch.

    >>> import numpy as np
    >>> net = GatedNetwork(
    ...     gates=np.array([[1.0]]),
    ...     weights_in=np.array([[2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[6.0], [0.0]]
    """

    gates: Array
    """g, (m, d) or (m, d + 1)."""

    architecture = "gated"

    @property
    def rules(self) -> Array:
        """The generators of the neurons' patterns: the gates."""
        return self.gates

    def hidden(self, X: Array) -> Array:
        """Return the activations 1[x'g_j >= 0] x'u_j, (n, d) to (n, m)."""
        xp = namespace(X)
        bias = self.weights_in.shape[1] > self.skip.shape[0]
        features = with_bias(X, bias)
        values = features @ like(self.weights_in, X).T
        # the gates decide as in training: in float64, so that float32 data switch alike
        gates = xp.astype(features, xp.float64) @ like(self.gates, xp.astype(X, xp.float64)).T
        return xp.where(gates >= 0, values, xp.zeros_like(values))


@dataclass(frozen=True)
class GatedReLU:
    """Gated ReLU networks [Mishkin2022]: minimise L(sum_i D_i X W_i) + alpha * sum_i |W_i|.

    The norm of a block is Euclidean for one output and nuclear for several, which is exactly
    weight decay on both layers [Sahiner2021]: outputs share neurons, where those of `ReLU` on given
    gates serve one output each. Gates stay with the network.

    >>> GatedReLU(bias=False).name
    'gated'
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each neuron."""

    name = "gated"
    exactness = Exactness.GATED
    source = HalfSpaces()
    grows = False
    streams = True
    steady = True
    axes = MappingProxyType({"gates": ("neurons", "width"), **AXES})

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of the gates: they are a part of the network."""
        return Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "GatedReLU":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Gated | GatedStream:
        """Return A u = sum_i D_i X u_i."""
        return gated_map(features, gates, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: a gated neuron's weights are free."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm per block, or the nuclear norm for several outputs."""
        return GroupNorm(alpha) if outputs == 1 else Nuclear(alpha)

    def of(self, network: GatedNetwork) -> "GatedReLU":
        """Return the architecture with or without a bias, as the network."""
        return GatedReLU(bias=network.weights_in.shape[1] > network.skip.shape[0])

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> GatedNetwork:
        """Return one neuron per nonzero singular value of each block, balanced."""
        host = to_numpy(blocks)
        left, values, right = np.linalg.svd(host, full_matrices=False)
        floor = 1e-12 * values.max(initial=0.0)
        block, rank = np.nonzero(values > floor)
        roots = np.sqrt(values[block, rank])[:, None]
        return GatedNetwork(
            gates=gates.generators[block],
            weights_in=like(left[block, :, rank] * roots, blocks),
            weights_out=like(right[block, rank, :] * roots, blocks),
            intercept=intercept,
            skip=skip,
        )

    def unlift(self, network: GatedNetwork, gates: Gates, features: Array) -> Array:
        """Return the blocks u_j a_j' summed at each gate; every gate must be among `gates`."""
        blocks = np.zeros((len(gates), features.shape[1], network.weights_out.shape[1]))
        products = (
            to_numpy(network.weights_in)[:, :, None] * to_numpy(network.weights_out)[:, None, :]
        )
        equal = (to_numpy(network.gates)[:, None, :] == gates.generators[None, :, :]).all(axis=2)
        if not equal.any(axis=1).all():
            lost = int(np.flatnonzero(~equal.any(axis=1))[0])
            raise ValueError(f"the gate of neuron {lost} is not among the {len(gates)} gates given")
        np.add.at(blocks, equal.argmax(axis=1), products)
        return like(blocks, features)

    def stated(self, network: GatedNetwork, X: Array) -> GatedNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> GatedNetwork:
        """Return the network with these arrays."""
        return GatedNetwork(**parameters)

    def mean(self, networks: Sequence[GatedNetwork]) -> GatedNetwork:
        """Return the network whose outputs are the mean of theirs, one block a gate."""
        every = np.concatenate([to_numpy(network.gates) for network in networks])
        rules = np.unique(every, axis=0) if len(every) else np.zeros((1, every.shape[1]))
        gates = Gates(rules, np.zeros((len(rules), 0), dtype=np.bool_))
        blocks = [self.unlift(network, gates, network.weights_in) for network in networks]
        return self.recover(
            gates,
            sum(blocks[1:], blocks[0]) / len(networks),
            mean_of([network.intercept for network in networks]),
            mean_of([network.skip for network in networks]),
            rules,
        )

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: the masks, and blocks without cone rows."""
        return Sizes(lift=n * p, blocks=p * d * outputs, rows=0)
