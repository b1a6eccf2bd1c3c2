"""Gated networks of whole experts under plain weight decay: training is ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cvxnn.architectures.base import Sizes
from cvxnn.architectures.shared import gated_map, mean_of, with_bias
from cvxnn.arrays import Array, like, masked_sum, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Ridge
from cvxnn.gates import Gates, HalfSpaces
from cvxnn.maps import Kept


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpertNetwork:
    """f(x) = sum_i 1[x'g_i >= 0] W_i' x + x'S + s: linear experts that their gates switch.

    Every expert counts as a neuron for each output, with a last weight of one.

    >>> import numpy as np
    >>> net = ExpertNetwork(
    ...     gates=np.array([[1.0]]),
    ...     experts=np.array([[[2.0]], [[3.0]]]),
    ...     intercept=np.zeros(2),
    ...     skip=np.zeros((1, 2)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[2.0, 3.0], [0.0, 0.0]]
    """

    gates: Array
    """g, (p, d) or (p, d + 1)."""
    experts: Array
    """W, (c, p, d) or (c, p, d + 1): outputs first."""
    intercept: Array
    """s, (c,)."""
    skip: Array
    """S, (d, c)."""

    architecture = "gated_ridge"

    @property
    def rules(self) -> Array:
        """The gates, once for every output, (c p, d) or (c p, d + 1)."""
        xp = namespace(self.gates)
        return xp.concat([self.gates] * self.experts.shape[0], axis=0)

    @property
    def weights_in(self) -> Array:
        """The experts of the first output, then of the next, (c p, d) or (c p, d + 1)."""
        return namespace(self.experts).reshape(self.experts, (-1, self.experts.shape[2]))

    @property
    def weights_out(self) -> Array:
        """One at the output of each neuron, (c p, c)."""
        c, p, _ = self.experts.shape
        return like(np.repeat(np.eye(c), p, axis=0), self.experts)

    @property
    def lengths(self) -> Array:
        """The norm of every neuron's weights, (c p,)."""
        return np.linalg.norm(to_numpy(self.weights_in), axis=1)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, c p."""
        return int(self.experts.shape[0] * self.experts.shape[1])

    def _seen(self, X: Array) -> tuple[Array, Array]:
        """Return the features (n, d) or (n, d + 1) and the masks (n, p) as numbers."""
        xp = namespace(X)
        features = with_bias(X, self.experts.shape[2] > self.skip.shape[0])
        # the gates decide as in training: in float64, so that float32 data switch alike
        wide = xp.astype(features, xp.float64, copy=False)
        gates = wide @ like(self.gates, wide).T
        return features, xp.astype(gates >= 0, X.dtype)

    def hidden(self, X: Array) -> Array:
        """Return the activations 1[x'g_i >= 0] x'W_i, (n, d) to (n, c p)."""
        features, masks = self._seen(X)
        xp = namespace(masks)
        return xp.concat([masks * (features @ like(w, X).T) for w in self._each()], axis=1)

    def __call__(self, X: Array) -> Array:
        """Return the outputs, (n, d) to (n, c)."""
        features, masks = self._seen(X)
        sums = [masked_sum(masks, features @ like(w, X).T) for w in self._each()]
        linear = X @ like(self.skip, X) + like(self.intercept, X)
        return namespace(masks).stack(sums, axis=-1) + linear

    def _each(self) -> list[Array]:
        return [self.experts[k, :, :] for k in range(self.experts.shape[0])]

    def weight_decay(self) -> float:
        """Return sum_i |W_i|_F^2 / 2."""
        return float((to_numpy(self.experts) ** 2).sum()) / 2

    def parameters(self) -> dict[str, Array]:
        """Return every array by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class GatedRidge:
    """Gated linear experts with weight decay: minimise L(sum_i D_i X W_i) + alpha/2 sum_i |W_i|^2.

    `alpha` times half the squared Frobenius norm is torch's weight_decay=alpha on a network whose
    one trained layer is W: the gates are fixed and nothing follows. That network's training is
    this very program, strictly convex, so that every gate is used; it is not weight decay on both
    layers of a two-layer network, which is `GatedReLU`, nor the unsquared Frobenius norm, which is
    weight decay on experts D_i X M_i a_i with a scale a_i each. With the squared loss it is one
    linear system, of samples or of columns, whichever are fewer, for any number of gates: the
    kernel ridge regression of neural tangent kernels with fixed gates [Fiat2019].

    >>> GatedRidge(bias=False).name
    'gated_ridge'
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each expert."""

    name = "gated_ridge"
    exactness = Exactness.GATED
    source = HalfSpaces()
    grows = False
    streams = True
    steady = False
    axes = MappingProxyType(
        {
            "gates": ("experts", "width"),
            "experts": ("outputs", "experts", "width"),
            "intercept": ("outputs",),
            "skip": ("features", "outputs"),
        }
    )

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of the gates: they are a part of the network."""
        return Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "GatedRidge":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Kept:
        """Return A u = sum_i D_i X u_i, whose normal matrix is kept."""
        return Kept(gated_map(features, gates, outputs))

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: an expert's weights are free."""

    def penalty(self, alpha: float, outputs: int) -> Ridge:
        """Return half the sum of squares."""
        return Ridge(alpha)

    def of(self, network: ExpertNetwork) -> "GatedRidge":
        """Return the architecture with or without a bias, as the network."""
        return GatedRidge(bias=network.experts.shape[2] > network.skip.shape[0])

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> ExpertNetwork:
        """Return the experts that are not zero."""
        alive = np.flatnonzero(to_numpy(blocks).any(axis=(1, 2)))
        host = to_numpy(blocks)
        host = host if len(alive) == len(host) else host[alive]
        return ExpertNetwork(
            gates=gates.generators[alive],
            experts=like(np.ascontiguousarray(host.transpose(2, 0, 1)), blocks),
            intercept=intercept,
            skip=skip,
        )

    def unlift(self, network: ExpertNetwork, gates: Gates, features: Array) -> Array:
        """Return the experts' weights at their gates; every gate must be among `gates`."""
        place = {gate.tobytes(): i for i, gate in reversed(list(enumerate(gates.generators + 0.0)))}
        experts = to_numpy(network.experts)
        blocks = np.zeros((len(gates), features.shape[1], len(experts)))
        for i, gate in enumerate(to_numpy(network.gates) + 0.0):
            if gate.tobytes() not in place:
                raise ValueError(
                    f"the gate of neuron {i} is not among the {len(gates)} gates given"
                )
            blocks[place[gate.tobytes()]] += experts[:, i, :].T
        return like(blocks, features)

    def stated(self, network: ExpertNetwork, X: Array) -> ExpertNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> ExpertNetwork:
        """Return the network with these arrays."""
        return ExpertNetwork(**parameters)

    def mean(self, networks: Sequence[ExpertNetwork]) -> ExpertNetwork:
        """Return the network whose outputs are the mean of theirs, one expert a gate."""
        every = np.concatenate([to_numpy(network.gates) for network in networks])
        rules = np.unique(every, axis=0) if len(every) else np.zeros((1, every.shape[1]))
        gates = Gates(rules, np.zeros((len(rules), 0), dtype=np.bool_))
        blocks = [self.unlift(network, gates, rules) for network in networks]
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
