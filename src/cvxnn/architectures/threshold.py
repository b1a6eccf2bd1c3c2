"""Two-layer networks of threshold or sign neurons: a Lasso over activation patterns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import mask_columns, mean_of, with_bias
from cvxnn.arrays import Array, device, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import GroupNorm, Penalty
from cvxnn.gates import Faces, Gates, reached, reached_masks, widest
from cvxnn.gates.base import pattern_keys
from cvxnn.maps import Gated


@dataclass(frozen=True, eq=False, kw_only=True)
class ThresholdNetwork(Neurons):
    """f(x) = sum_j s_j step(x'w_j) a_j + x'S + s; step is 1[t >= 0], or +-1 with `sign`.

    A product x'w that rounding cannot tell from zero is zero.

    >>> import numpy as np
    >>> net = ThresholdNetwork(
    ...     weights_in=np.array([[1.0]]),
    ...     amplitudes=np.array([2.0]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[0.5], [-1.0]])).tolist()
    [[6.0], [0.0]]
    """

    weights_in: Array
    """w, (m, d), or (m, d + 1) with the hidden bias last; only directions count."""
    amplitudes: Array
    """s, (m,)."""
    sign: bool = False
    """Neurons give -1, not 0, outside their half-space."""

    settings = ("sign",)

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "sign" if self.sign else "threshold"

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron's first layer, (m,)."""
        return np.abs(to_numpy(self.amplitudes))

    def hidden(self, X: Array) -> Array:
        """Return the activations s_j step(x'w_j), (n, d) to (n, m)."""
        xp = namespace(X)
        # in float64, as in training, so that float32 data switch alike
        wide = xp.astype(X, xp.float64)
        features = with_bias(wide, self.weights_in.shape[1] > self.skip.shape[0])
        steps = xp.astype(reached(features, like(self.weights_in, wide)), X.dtype)
        return _levels(steps, self.sign) * like(self.amplitudes, X)

    def widened(self, X: Array) -> "ThresholdNetwork":
        """Return the network of equal outputs on samples `X` (n, d) and of the largest margins.

        Every neuron keeps its pattern and takes the unit vector w with the largest margin
        min |x_i'w|, the hidden bias counting as a coordinate [CortesVapnik1995]; neurons with a
        sample on their border stay as they are.

        >>> import numpy as np
        >>> net = ThresholdNetwork(
        ...     weights_in=np.array([[1.0, 0.1]]),
        ...     amplitudes=np.ones(1),
        ...     weights_out=np.ones((1, 1)),
        ...     intercept=np.zeros(1),
        ...     skip=np.zeros((1, 1)),
        ... )
        >>> wide = net.widened(np.array([[-1.0], [0.0], [2.0]])).weights_in[0]
        >>> print(-wide[1] / wide[0])  # where the neuron switches: between -1 and 0
        -0.5
        """
        rows = to_numpy(with_bias(X, self.weights_in.shape[1] > self.skip.shape[0])).astype(float)
        weights = to_numpy(self.weights_in).astype(float)
        masks = reached_masks(weights, rows)
        wide = [widest(rows, *each) for each in zip(masks, weights, strict=True)]
        moved = np.array(wide).reshape(weights.shape)
        kept = (reached_masks(moved, rows) == masks).all(axis=1)
        moved = np.where(kept[:, None], moved, weights)
        return replace(self, weights_in=like(moved, self.weights_in))


@dataclass(frozen=True)
class Threshold:
    """Threshold networks on given patterns [Ergen2023]: a Lasso over columns d_i = 1[X w_i >= 0].

    minimise L(sum_i d_i z_i) + alpha * sum_i |z_i|

    with one row z_i of weights to the outputs per pattern. Neurons s 1[x'w >= 0] a have an
    amplitude s that weight decay sees and a direction w whose length it does not. With every
    pattern, those of half-spaces with samples on their border included, it is the training problem
    itself, for any width and any number of outputs.

    >>> Threshold().name, Threshold(sign=True).name
    ('threshold', 'sign')
    """

    bias: bool = True
    """Append a column of ones to the data, a coordinate of each neuron's direction."""
    sign: bool = False
    """Columns 2 d_i - 1: neurons that give -1, not 0, outside their half-space."""

    exactness = Exactness.EXACT
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType({"amplitudes": ("neurons",), **AXES})

    @property
    def name(self) -> str:
        """How users call it."""
        return "sign" if self.sign else "threshold"

    @property
    def source(self) -> Faces:
        """Gates with the patterns of borders; for sign neurons one of each opposite pair."""
        return Faces(both=self.sign)

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks for all patterns."""
        return Scope.ALL_NETWORKS if every else Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "Threshold":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Gated:
        """Return A z = sum_i d_i z_i: a gated map whose only feature is one."""
        kind = {"dtype": features.dtype, "device": device(features)}
        ones = namespace(features).ones((features.shape[0], 1), **kind)
        return Gated(ones, _levels(mask_columns(gates, features), self.sign), outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: every vector with the pattern will do."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every pattern's row, |z_i| for one output."""
        return GroupNorm(alpha)

    def of(self, network: ThresholdNetwork) -> "Threshold":
        """Return the architecture with or without a bias, and of the steps, of the network."""
        return Threshold(network.weights_in.shape[1] > network.skip.shape[0], network.sign)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> ThresholdNetwork:
        """Return one balanced neuron per nonzero block, with the generator of its gate."""
        rows = to_numpy(blocks)[:, 0, :]
        lengths = np.linalg.norm(rows, axis=1)
        kept = np.flatnonzero(lengths > 1e-12 * lengths.max(initial=0.0))
        roots = np.sqrt(lengths[kept])
        return ThresholdNetwork(
            weights_in=like(gates.generators[kept], blocks),
            amplitudes=like(roots, blocks),
            weights_out=like(rows[kept] / roots[:, None], blocks),
            intercept=intercept,
            skip=skip,
            sign=self.sign,
        )

    def unlift(self, network: ThresholdNetwork, gates: Gates, features: Array) -> Array:
        """Return the blocks s_j a_j summed at each pattern; ValueError for one not among `gates`.

        The opposite of a sign neuron's pattern will do, with the opposite sign.
        """
        rows = to_numpy(network.amplitudes)[:, None] * to_numpy(network.weights_out)
        masks = reached_masks(
            to_numpy(network.weights_in).astype(float), to_numpy(features).astype(float)
        )
        place = {key.tobytes(): i for i, key in enumerate(pattern_keys(gates.masks))}
        blocks = np.zeros((len(gates), 1, rows.shape[1]))
        for j, row in enumerate(rows):
            here, there = (place.get(pattern_keys(m[None])[0].tobytes()) for m in _both(masks[j]))
            if here is not None:
                blocks[here, 0] += row
            elif self.sign and there is not None:
                blocks[there, 0] -= row
            elif self.sign or masks[j].any():
                raise ValueError(
                    f"the activation pattern of neuron {j} is not among the {len(gates)} gates "
                    "given; take the gates from the network, or enumerate them"
                )
        return like(blocks, features)

    def stated(self, network: ThresholdNetwork, X: Array) -> ThresholdNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> ThresholdNetwork:
        """Return the network with these arrays."""
        return ThresholdNetwork(**parameters, sign=self.sign)

    def mean(self, networks: Sequence[ThresholdNetwork]) -> ThresholdNetwork:
        """Return the network whose outputs are the mean of theirs, one neuron a direction."""
        every = np.concatenate([to_numpy(network.weights_in) for network in networks])
        products = np.concatenate(
            [
                to_numpy(network.amplitudes)[:, None] * to_numpy(network.weights_out)
                for network in networks
            ]
        )
        rules, place = np.unique(every, axis=0, return_inverse=True)
        blocks = np.zeros((len(rules), 1, products.shape[1]))
        np.add.at(blocks[:, 0], place.ravel(), products / len(networks))
        return self.recover(
            Gates(rules, np.zeros((len(rules), 0), dtype=np.bool_)),
            blocks,
            mean_of([network.intercept for network in networks]),
            mean_of([network.skip for network in networks]),
            rules,
        )

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: the columns, and a row of weights each."""
        return Sizes(lift=n * p, blocks=p * outputs, rows=0)


def _levels(steps: Array, sign: bool) -> Array:
    """Return steps of 0 and 1 as they are, or as -1 and 1."""
    return 2 * steps - 1 if sign else steps


def _both(mask: Array) -> tuple[Array, Array]:
    return mask, ~mask
