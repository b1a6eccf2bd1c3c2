"""Two-layer ReLU networks: gates become cones, and inside them the gated program is exact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import mask_columns, mean_of, split, with_bias
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import ColumnNorm, GroupNorm, Nonnegative, Penalty
from cvxnn.gates import Gates, HalfSpaces
from cvxnn.maps import ConeRows, Gated, Signed
from cvxnn.program import Constraint


@dataclass(frozen=True, eq=False, kw_only=True)
class ReLUNetwork(Neurons):
    """f(x) = sum_j max(0, x'u_j) a_j + x'S + s.

    >>> import numpy as np
    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[6.0], [0.0]]
    """

    architecture = "relu"

    def hidden(self, X: Array) -> Array:
        """Return the activations max(0, x'u_j), (n, d) to (n, m)."""
        xp = namespace(X)
        features = with_bias(X, self.weights_in.shape[1] > self.skip.shape[0])
        values = features @ like(self.weights_in, X).T
        return xp.maximum(values, xp.zeros_like(values))


@dataclass(frozen=True)
class ReLU:
    """ReLU networks on given patterns [Pilanci2020], theorem 1.

    minimise L(sum_i D_i X (u_i - v_i)) + alpha * sum_i (|u_i| + |v_i|)
    subject to (2 D_i - I) X u_i >= 0 and (2 D_i - I) X v_i >= 0

    With every pattern of the data it is the training problem itself, for any width. With several
    outputs it is that of networks in which every neuron serves one output, for which it is exact
    too, and the scope says so: one-vs-all, or the weight decay |u_j| |a_j|_1. The optimum under
    |u_j| |a_j|_2, where outputs share neurons, is never larger; on given patterns its program is
    copositive [Sahiner2021], and it is trained over all networks, by gates="grow".

    >>> ReLU(bias=False).name
    'relu'
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each neuron."""

    name = "relu"
    exactness = Exactness.EXACT
    source = HalfSpaces()
    grows = True
    streams = False
    steady = True
    axes = AXES

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks for all patterns and one output."""
        if outputs > 1:
            return Scope.SEPARATE_OUTPUTS
        return Scope.ALL_NETWORKS if every else Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "ReLU":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def plain(self, features: Array) -> Array:
        """Return the features."""
        return features

    def sums(self, n: int) -> None:
        """Return None: every sample is a row."""

    def grown(self, parameters: dict[str, Array], features: Array) -> ReLUNetwork:
        """Return the network with these arrays."""
        return self.network(parameters)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Signed:
        """Return A (u, v) = sum_i D_i X (u_i - v_i)."""
        return Signed(Gated(features, mask_columns(gates, features), outputs))

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint:
        """Return the cones on which a gated neuron is a ReLU."""
        signs = like(2.0 * gates.masks - 1.0, features)
        twice = namespace(features).concat([signs, signs], axis=0)
        return Constraint(ConeRows(features, twice, outputs), Nonnegative())

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every block and output."""
        return GroupNorm(alpha) if outputs == 1 else ColumnNorm(alpha)

    def of(self, network: ReLUNetwork) -> "ReLU":
        """Return the architecture with or without a bias, as the network."""
        return ReLU(bias=network.weights_in.shape[1] > network.skip.shape[0])

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> ReLUNetwork:
        """Return one balanced neuron per nonzero block and output; parallel ones are merged."""
        host = to_numpy(blocks)
        signs = np.repeat([1.0, -1.0], len(gates))
        lengths = np.linalg.norm(host, axis=1)
        block, output = np.nonzero(lengths > 1e-12 * lengths.max(initial=0.0))
        weights, outputs = merged(
            host[block, :, output], signs[block, None] * np.eye(host.shape[2])[output]
        )
        weights_in, roots = split(weights)
        return ReLUNetwork(
            weights_in=like(weights_in, blocks),
            weights_out=like(roots * outputs, blocks),
            intercept=intercept,
            skip=skip,
        )

    def unlift(self, network: ReLUNetwork, gates: Gates, features: Array) -> Array:
        """Return blocks in which every neuron lies in the closed cone of one of the gates."""
        weights_in, weights_out = to_numpy(network.weights_in), to_numpy(network.weights_out)
        blocks = np.zeros((2 * len(gates), features.shape[1], weights_out.shape[1]))
        places = self.places(weights_in, gates, to_numpy(features).astype(float))
        for u, a, gate in zip(weights_in, weights_out, places, strict=True):
            blocks[gate] += np.outer(u, np.maximum(a, 0))
            blocks[len(gates) + gate] += np.outer(u, np.maximum(-a, 0))
        return like(blocks, features)

    def places(self, weights: Array, gates: Gates, features: Array) -> list[int]:
        """Return for every neuron (m, d) a gate in whose closed cone it lies, on the host.

        Raises ValueError for a neuron without one.
        """
        values = features @ weights.T
        slack = 1e-9 * np.abs(values).max(axis=0, initial=0.0)
        places = []
        for j, (column, near) in enumerate(zip(values.T, slack, strict=True)):
            on, off = column > near, column < -near
            holds = ~(on & ~gates.masks).any(axis=1) & ~(off & gates.masks).any(axis=1)
            if not holds.any():
                raise ValueError(
                    f"the activation pattern of neuron {j} is not among the {len(gates)} gates "
                    "given; take the gates from the network, or enumerate them"
                )
            places.append(int(holds.argmax()))
        return places

    def stated(self, network: ReLUNetwork, X: Array) -> ReLUNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> ReLUNetwork:
        """Return the network with these arrays."""
        return ReLUNetwork(**parameters)

    def mean(self, networks: Sequence[ReLUNetwork]) -> ReLUNetwork:
        """Return the network of all their neurons, each with its share."""
        root = len(networks) ** -0.5
        return ReLUNetwork(
            weights_in=root * np.concatenate([to_numpy(each.weights_in) for each in networks]),
            weights_out=root * np.concatenate([to_numpy(each.weights_out) for each in networks]),
            intercept=mean_of([each.intercept for each in networks]),
            skip=mean_of([each.skip for each in networks]),
        )

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: masks and signs, and two blocks of cone rows a gate."""
        return Sizes(lift=3 * n * p, blocks=2 * p * d * outputs, rows=2 * p * n * outputs)


def merged(weights: Array, outputs: Array) -> tuple[Array, Array]:
    """Add up neurons of equal direction and output; a neuron on a common face comes in pieces."""
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / np.where(lengths > 0, lengths, 1.0)
    order = np.argsort(-lengths[:, 0], kind="stable")
    taken = np.zeros(len(weights), dtype=bool)
    kept, merged = [], []
    for j in order:
        if not taken[j]:
            near = np.linalg.norm(directions - directions[j], axis=1) < 1e-7
            same = near & (outputs == outputs[j]).all(axis=1) & ~taken
            taken |= same
            kept.append(j)
            merged.append(weights[same].sum(axis=0))
    if not kept:
        return weights, outputs
    return np.stack(merged), outputs[kept]
