"""Deep parallel gated networks: products of masks along paths, and training without a cone."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

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
from cvxnn.architectures.trees import gated_blocks, gated_lift, gated_trees
from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import GroupNorm, Nuclear, Parts, Penalty
from cvxnn.gates import Gates, SubNetworks
from cvxnn.gates.subnetworks import (
    activations_of,
    along_paths,
    edges_of,
    first_inputs,
    unpacked,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepGatedNetwork(Neurons):
    """f(x) = sum_j F_j(x) a_j + x'S + s: parallel sub-networks of units that gates switch.

    The gates of F_j are the units of a ReLU sub-network of the same shape with weights of its own:
    a unit of F_j is its weighted sum where that of its gates is open, and zero elsewhere.

    >>> import numpy as np
    >>> net = DeepGatedNetwork(
    ...     gates=np.array([[[1.0, 1.0], [-1.0, -1.0]]]),
    ...     weights_in=np.array([[[2.0], [1.0]]]),
    ...     weights_hidden=np.ones((1, 2)),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ...     fan_in=np.array([2.0]),
    ...     layered=np.zeros(1),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[6.0], [0.0]]
    """

    gates: Array
    """g, (m, paths, width + layers): a path's first gates, then the weights that it goes by."""
    weights_in: Array
    """u, (m, paths, d), or (m, paths, d + 1) with the hidden bias last."""
    weights_hidden: Array
    """(m, e): what units of the first hidden layer are multiplied by, then of the second, ..."""
    fan_in: Array
    """(layers,): how many units one of the second hidden layer sums, one of the third, ..."""
    layered: Array
    """(1,): 1 where weight decay counts layers, 0 where it counts paths."""

    architecture = "deep_gated"

    @property
    def rules(self) -> Array:
        """The generators of the sub-networks' patterns: the gates."""
        return self.gates

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each sub-network before its output, (m,)."""
        return lengths(self)

    def hidden(self, X: Array) -> Array:
        """Return the outputs of the sub-networks before `weights_out`, (n, d) to (n, m)."""
        xp, width = namespace(X), self.weights_in.shape[2]
        features = with_bias(X, width > self.skip.shape[0])
        # the gates decide as in training: in float64, so that float32 data switch alike
        wide, fan_in = double(features), fan_of(self)
        inner, edges = unpacked(like(self.gates, wide), fan_in)
        first = first_inputs(wide, inner)
        layers = [xp.astype(x >= 0, X.dtype) for x in activations_of(first, edges, fan_in)]
        passed = along_paths(edges_of(like(self.weights_hidden, X), fan_in))
        columns = like(self.weights_in, X) * passed[:, :, None]
        return xp.sum(along_paths(layers) * first_inputs(features, columns), axis=2)


@dataclass(frozen=True)
class DeepGatedReLU:
    """Deep parallel gated networks: minimise L(sum_i sum_p D_ip X W_ip) + alpha * sum_i R(W_i).

    D_ip is the product of the masks of a path of a random ReLU sub-network, and no cone is left.
    With "path" decay, sum_j sqrt(sum_p prod of squared weights) |a_j| [ErgenPilanci2023], R is the
    Frobenius norm of a sub-network's columns W_ip, and the nuclear norm of the columns one above
    the other for several outputs. With "layers", the product of the layers' Frobenius norms, the
    best sub-networks have one path each, and R is the sum over paths of such norms: a two-layer
    gated network whose gates are products of masks.

    Raises ValueError for an unknown `decay` and a `fan_in` that is no tuple of positive integers.

    >>> DeepGatedReLU(fan_in=(2, 2)).source.shape(width=5)  # paths, and columns with two layers
    (4, 7)
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each first unit."""
    fan_in: tuple[int, ...] = (2,)
    """How many units one of the second hidden layer sums, one of the third, ...: three layers of
    weights and two paths a sub-network by default."""
    decay: str = "path"
    """"path" or "layers"."""

    name = "deep_gated"
    exactness = Exactness.GATED
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType({"gates": ("neurons", "paths", "reach"), **SHAPES})

    lift = gated_lift
    unlift = gated_blocks

    def __post_init__(self) -> None:
        object.__setattr__(self, "fan_in", checked(self.fan_in))
        if self.decay not in ("path", "layers"):
            raise ValueError(f"decay is {self.decay!r}; expected 'path' or 'layers'")

    @property
    def source(self) -> SubNetworks:
        """Random sub-networks, and the products of the masks of their units."""
        return SubNetworks(self.fan_in, signed=False)

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of the gates: they are a part of the network."""
        return Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "DeepGatedReLU":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: gated neurons need no cones."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the norm of every block, or of its columns."""
        norm = GroupNorm(alpha) if outputs == 1 else Nuclear(alpha)
        return Parts(norm, counts(self.fan_in)[0]) if self.decay == "layers" else norm

    def of(self, network: DeepGatedNetwork) -> "DeepGatedReLU":
        """Return the architecture with the bias, the fan-in and the decay of the network."""
        bias = network.weights_in.shape[2] > network.skip.shape[0]
        decay = "layers" if layered(network) else "path"
        return DeepGatedReLU(bias=bias, fan_in=fan_of(network), decay=decay)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepGatedNetwork:
        """Return one sub-network per nonzero singular value of each block, or of each column."""
        block, made = gated_trees(self, to_numpy(blocks))
        made |= {"fan_in": np.array(self.fan_in), "layered": np.array([self.decay == "layers"])}
        return DeepGatedNetwork(
            gates=gates.generators[block],
            **{name: like(array, blocks) for name, array in made.items()},
            intercept=intercept,
            skip=skip,
        )

    def stated(self, network: DeepGatedNetwork, X: Array) -> DeepGatedNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> DeepGatedNetwork:
        """Return the network with these arrays."""
        return DeepGatedNetwork(**parameters)

    def mean(self, networks: Sequence[DeepGatedNetwork]) -> DeepGatedNetwork:
        """Return the network of all their sub-networks, each with its share."""
        return DeepGatedNetwork(**averaged(networks))

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: a matrix a gate, and blocks without cone rows."""
        paths = counts(self.fan_in)[0]
        # while all blocks are a working set its copies, in either precision, are there too
        return Sizes(lift=p * n * paths * (3 * d + 1), blocks=p * paths * d * outputs, rows=0)
