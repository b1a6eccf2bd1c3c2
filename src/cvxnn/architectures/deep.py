"""Deep parallel ReLU networks: patterns of every unit of a sub-network become one cone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cvxnn.architectures.base import Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.paths import (
    SHAPES,
    averaged,
    checked,
    counts,
    fan_of,
    layered,
    lengths,
)
from cvxnn.architectures.shared import with_bias
from cvxnn.architectures.trees import signed_blocks, signed_cones, signed_lift, signed_trees
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import ColumnNorm, GroupNorm, Parts, Penalty
from cvxnn.gates import Gates, SubNetworks
from cvxnn.gates.subnetworks import activations_of, edges_of, first_inputs, packed


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepNetwork(Neurons):
    """f(x) = sum_j F_j(x) a_j + x'S + s: parallel sub-networks F_j of ReLU units.

    A sub-network is a tree: a unit of the first hidden layer is max(0, x'u), one of a later layer
    the positive part of a weighted sum of units of its own, and the last hidden layer is one unit.

    >>> import numpy as np
    >>> net = DeepNetwork(
    ...     weights_in=np.array([[[1.0], [-1.0]]]),
    ...     weights_hidden=np.array([[1.0, -2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ...     fan_in=np.array([2.0]),
    ...     layered=np.zeros(1),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[3.0], [0.0]]
    """

    weights_in: Array
    """u, (m, paths, d), or (m, paths, d + 1) with the hidden bias last."""
    weights_hidden: Array
    """(m, e): what units of the first hidden layer are multiplied by, then of the second, ..."""
    fan_in: Array
    """(layers,): how many units one of the second hidden layer sums, one of the third, ..."""
    layered: Array
    """(1,): 1 where weight decay counts layers, 0 where it counts paths."""

    architecture = "deep"

    @property
    def rules(self) -> Array:
        """The generators of the sub-networks' patterns, (m, paths, width + layers)."""
        edges = edges_of(to_numpy(self.weights_hidden), fan_of(self))
        return packed(to_numpy(self.weights_in), edges)

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each sub-network before its output, (m,).

        The root of the sum over paths of the squared products of weights, or the product of the
        layers' Frobenius norms.
        """
        return lengths(self)

    def hidden(self, X: Array) -> Array:
        """Return the activations of the last hidden layer, (n, d) to (n, m)."""
        xp = namespace(X)
        features = with_bias(X, self.weights_in.shape[2] > self.skip.shape[0])
        first = first_inputs(features, like(self.weights_in, X))
        edges = edges_of(like(self.weights_hidden, X), fan_of(self))
        last = activations_of(first, edges, fan_of(self))[-1][:, :, 0]
        return xp.maximum(last, xp.zeros_like(last))


@dataclass(frozen=True)
class DeepReLU:
    """Deep parallel ReLU networks on given patterns [ErgenPilanci2021; WangErgenPilanci2023].

    A sub-network is unrolled along its paths: with c_p the product of a path's weights and D_p
    that of the patterns of its units, it computes sum_p D_p X c_p, and is a ReLU network where
    s (2 D - I) times the input of every unit is nonnegative, s the sign of the weights above it:

    minimise L(sum_i (sum_p D_ip X (c_ip - c'_ip))) + alpha * sum_i (R(c_i) + R(c'_i))
    subject to the cones of every unit

    `decay` says which weight decay that is. With "path" it is the path regularisation
    sum_j sqrt(sum_p prod of squared weights) |a_j| [ErgenPilanci2023], and R is the Frobenius norm:
    exact at any depth. With "layers" it is the product of the Frobenius norms of a sub-network's
    layers, which is the sum of their L-th powers over L, and R is the sum of the columns' norms:
    exact for three layers, or where only units of the second hidden layer sum several, and a
    relaxation else. "printed" is the program found on slides, with the Frobenius norm for the
    weight decay of "layers": a relaxation. Squares of all layers of three or more have no convex
    form.

    Exact is meant for networks whose units share no inputs; sharing allows no smaller path norm.
    With several outputs each sub-network serves one. gates="enumerate" lists every pattern, for a
    few samples in few dimensions.

    Raises ValueError for an unknown `decay` and a `fan_in` that is no tuple of positive integers.

    >>> DeepReLU().exactness.name, DeepReLU(decay="printed").exactness.name
    ('EXACT', 'RELAXATION')
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each first unit."""
    fan_in: tuple[int, ...] = (2,)
    """How many units one of the second hidden layer sums, one of the third, ...: three layers of
    weights and two paths a sub-network by default."""
    decay: str = "path"
    """"path", "layers" or "printed"."""

    name = "deep"
    grows = False
    streams = False
    steady = False
    axes = SHAPES

    lift = signed_lift
    constraint = signed_cones
    unlift = signed_blocks

    def __post_init__(self) -> None:
        object.__setattr__(self, "fan_in", checked(self.fan_in))
        if self.decay not in ("path", "layers", "printed"):
            raise ValueError(f"decay is {self.decay!r}; expected 'path', 'layers' or 'printed'")

    @property
    def source(self) -> SubNetworks:
        """Random sub-networks, and the patterns of all their units."""
        return SubNetworks(self.fan_in)

    @property
    def exactness(self) -> Exactness:
        """How the program stands to the network: a relaxation where its norm is too small."""
        plain = all(fan == 1 for fan in self.fan_in[1:])
        exact = self.decay == "path" or (self.decay == "layers" and plain)
        return Exactness.EXACT if exact else Exactness.RELAXATION

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks for all patterns and one output."""
        if outputs > 1:
            return Scope.SEPARATE_OUTPUTS
        return Scope.ALL_NETWORKS if every else Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "DeepReLU":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Frobenius norm of every block and output, or that of its columns."""
        norm = GroupNorm(alpha) if outputs == 1 else ColumnNorm(alpha)
        return Parts(norm, counts(self.fan_in)[0]) if self.decay == "layers" else norm

    def of(self, network: DeepNetwork) -> "DeepReLU":
        """Return the architecture with the bias, the fan-in and the decay of the network."""
        bias = network.weights_in.shape[2] > network.skip.shape[0]
        decay = "layers" if layered(network) else "path"
        return DeepReLU(bias=bias, fan_in=fan_of(network), decay=decay)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepNetwork:
        """Return one sub-network per nonzero block and output, its weights layer by layer."""
        made = signed_trees(self, gates, blocks, features.shape[1])
        made |= {"fan_in": np.array(self.fan_in), "layered": np.array([self.decay != "path"])}
        return DeepNetwork(
            **{name: like(array, blocks) for name, array in made.items()},
            intercept=intercept,
            skip=skip,
        )

    def stated(self, network: DeepNetwork, X: Array) -> DeepNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> DeepNetwork:
        """Return the network with these arrays."""
        return DeepNetwork(**parameters)

    def mean(self, networks: Sequence[DeepNetwork]) -> DeepNetwork:
        """Return the network of all their sub-networks, each with its share."""
        return DeepNetwork(**averaged(networks))

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: matrices of lift and cones, twice a gate, and their rows."""
        paths, units, edges = counts(self.fan_in)
        matrices, masks = 2 * p * n * (1 + 2 * units) * paths * d, p * n * (units + edges)
        return Sizes(
            lift=matrices + masks,
            blocks=2 * p * paths * d * outputs,
            rows=2 * p * n * units * outputs,
        )
