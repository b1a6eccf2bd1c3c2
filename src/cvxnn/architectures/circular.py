"""Circular convolutions of full length, pooled before the ReLU: a lasso in the Fourier domain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.relu import ReLU, ReLUNetwork
from cvxnn.architectures.shared import gated_map, mean_of
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import FourierNorm, Penalty
from cvxnn.gates import Gates, HalfSpaces
from cvxnn.gates.base import Floats
from cvxnn.maps import Lift
from cvxnn.program import Constraint

_RELU = ReLU(bias=False)
_ZERO = 1e-12
"""Coefficients, and blocks, below this share of the largest are rounding."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CircularNetwork(Neurons):
    """f(x) = sum_j max(0, x'U_j w_j) a_j + x'S + s, U_j the circulant matrix of the filter u_j.

    Column k of U_j is u_j moved on by k places: U_j w is the circular convolution of u_j and w.
    With `gates` a neuron is 1[x'g_j >= 0] x'U_j w_j.

    >>> import numpy as np
    >>> net = CircularNetwork(
    ...     filters=np.array([[1.0, 2.0]]),
    ...     weights_in=np.array([[0.0, 1.0]]),
    ...     weights_out=np.array([[1.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> net(np.array([[1.0, 0.0], [0.0, 1.0]])).round(9).tolist()
    [[2.0], [1.0]]
    """

    filters: Array
    """u, (m, d), of length one."""
    weights_in: Array
    """w, (m, d): how the places are pooled."""
    gates: Array | None = None
    """g, (m, d); None for ReLU networks."""

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "circular" if self.gates is None else "circular_gated"

    @property
    def combined(self) -> Array:
        """U_j w_j, (m, d): the weights that the two first layers make."""
        return _convolved(self.filters, self.weights_in)

    @property
    def rules(self) -> Array:
        """The generators of the neurons' patterns."""
        return self.combined if self.gates is None else self.gates

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron's first layers, |u_j| |w_j|, (m,)."""
        inward = np.linalg.norm(to_numpy(self.weights_in), axis=1)
        return inward * np.linalg.norm(to_numpy(self.filters), axis=1)

    def hidden(self, X: Array) -> Array:
        """Return the activations (n, m)."""
        xp = namespace(X)
        values = X @ _convolved(like(self.filters, X), like(self.weights_in, X)).T
        if self.gates is None:
            return xp.maximum(values, xp.zeros_like(values))
        wide = xp.astype(X, xp.float64)  # gates decide as in training
        return xp.where(wide @ like(self.gates, wide).T >= 0, values, xp.zeros_like(values))


@dataclass(frozen=True)
class Circular:
    """Circular convolution, pooling with weights, ReLU and a linear layer [ErgenPilanci2021b].

    A neuron has a filter u of |u| <= 1 and the weights w of its places. What they make, z = U w,
    is any vector, and the least |w| is |F z|_1 / sqrt(d), F the unitary Fourier transform:

    minimise L(sum_i D_i X (z_i - y_i)) + alpha / sqrt(d) * sum_i (|F z_i|_1 + |F y_i|_1)
    subject to (2 D_i - I) X z_i >= 0 and (2 D_i - I) X y_i >= 0

    Rows of X are signals of d places; filters are as long as they, or nothing of this is exact.
    With every pattern it is the training problem itself, for one output; with several, that of
    networks whose neurons serve one output each. `gated` drops the cones: gates are fixed.

    >>> Circular().name, Circular(gated=True).name
    ('circular', 'circular_gated')
    """

    gated: bool = False
    """Fixed gates in place of the ReLU."""

    bias = False
    source = HalfSpaces()
    grows = False
    streams = False
    steady = False

    @property
    def name(self) -> str:
        """How users call it."""
        return "circular_gated" if self.gated else "circular"

    @property
    def exactness(self) -> Exactness:
        """How the program stands to the network."""
        return Exactness.GATED if self.gated else Exactness.EXACT

    @property
    def axes(self) -> MappingProxyType[str, tuple[str, ...]]:
        """Axes of its network's parameters."""
        gates = {"gates": ("neurons", "width")} if self.gated else {}
        return MappingProxyType({"filters": ("neurons", "width"), **gates, **AXES})

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of ReLU networks; gates are a part of the network that has them."""
        return _RELU.scope(every=every and not self.gated, outputs=outputs)

    def weighted(self, weights: Array) -> "Circular":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the signals."""
        return X

    def lift(self, features: Array, gates: Gates, outputs: int) -> Lift:
        """Return A z = sum_i D_i X z_i, or A (z, y) of z - y."""
        if self.gated:
            return gated_map(features, gates, outputs)
        return _RELU.lift(features, gates, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint | None:
        """Return the cones of the patterns; None for fixed gates."""
        return None if self.gated else _RELU.constraint(features, gates, outputs)

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the l1 norm of the Fourier coefficients."""
        return FourierNorm(alpha)

    def of(self, network: CircularNetwork) -> "Circular":
        """Return the architecture with or without gates, as the network."""
        return Circular(gated=network.gates is not None)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> CircularNetwork:
        """Return one neuron per nonzero block and output, |u| = 1 and |w| = |a|.

        With the coefficients v of z those of u are sqrt(|v| / |v|_1), so that |w| = |v|_1 / sqrt d.
        """
        host = to_numpy(blocks)
        sizes = np.linalg.norm(host, axis=1)
        block, output = np.nonzero(sizes > _ZERO * sizes.max(initial=0.0))
        filters, weights = factored(host[block, :, output])
        roots = np.sqrt(np.linalg.norm(weights, axis=1))[:, None]
        signs = np.where(block < len(gates), 1.0, -1.0)[:, None]
        return CircularNetwork(
            filters=like(filters, blocks),
            weights_in=like(weights / np.where(roots > 0, roots, 1.0), blocks),
            weights_out=like(roots * signs * np.eye(host.shape[2])[output], blocks),
            intercept=intercept,
            skip=skip,
            gates=gates.generators[block] if self.gated else None,
        )

    def unlift(self, network: CircularNetwork, gates: Gates, features: Array) -> Array:
        """Return blocks with every neuron's U w a' at its gate, or in a closed cone that holds it.

        Raises ValueError for a neuron without one.
        """
        plain = ReLUNetwork(
            weights_in=to_numpy(network.combined),
            weights_out=network.weights_out,
            intercept=network.intercept,
            skip=network.skip,
        )
        if network.gates is None:
            return _RELU.unlift(plain, gates, features)
        blocks = np.zeros((len(gates), features.shape[1], network.weights_out.shape[1]))
        equal = (to_numpy(network.gates)[:, None, :] == gates.generators[None, :, :]).all(axis=2)
        if not equal.any(axis=1).all():
            lost = int(np.flatnonzero(~equal.any(axis=1))[0])
            raise ValueError(f"the gate of neuron {lost} is not among the {len(gates)} gates given")
        products = plain.weights_in[:, :, None] * to_numpy(network.weights_out)[:, None, :]
        if len(products):
            np.add.at(blocks, equal.argmax(axis=1), products)
        return like(blocks, features)

    def stated(self, network: CircularNetwork, X: Array) -> CircularNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> CircularNetwork:
        """Return the network with these arrays."""
        return CircularNetwork(**parameters)

    def mean(self, networks: Sequence[CircularNetwork]) -> CircularNetwork:
        """Return the network of all their neurons, each with its share."""
        root = len(networks) ** -0.5
        names = [name for name, axes in self.axes.items() if axes[0] == "neurons"]
        arrays = {
            name: np.concatenate([to_numpy(getattr(each, name)) for each in networks])
            * (root if name in ("weights_in", "weights_out") else 1.0)
            for name in names
        }
        arrays["intercept"] = mean_of([each.intercept for each in networks])
        arrays["skip"] = mean_of([each.skip for each in networks])
        return self.network(arrays)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: those of ReLU networks, or the masks and free blocks."""
        if self.gated:
            return Sizes(lift=n * p, blocks=p * d * outputs, rows=0)
        return _RELU.sizes(n, d, p, outputs)


def factored(vectors: Floats) -> tuple[Floats, Floats]:
    """Return u and w (m, d) with U w = z for the rows z, |u| = 1 and |w| = |F z|_1 / sqrt d.

    >>> u, w = factored(np.array([[3.0, 1.0, -1.0]]))
    >>> _convolved(u, w).round(9).tolist(), float(np.linalg.norm(u).round(9))
    ([[3.0, 1.0, -1.0]], 1.0)
    """
    d = vectors.shape[1]
    found = np.fft.fft(vectors, axis=1, norm="ortho")
    moduli = np.abs(found)
    sums = moduli.sum(axis=1, keepdims=True)
    roots = np.sqrt(moduli / np.where(sums > 0, sums, 1.0))
    kept = moduli > _ZERO * moduli.max(axis=1, keepdims=True, initial=0.0)
    roots = np.where(kept, roots, 0.0)
    other = np.where(kept, found / (math.sqrt(d) * np.where(kept, roots, 1.0)), 0.0)
    parts = (np.fft.ifft(each, axis=1, norm="ortho").real for each in (roots, other))
    filters, weights = parts
    lengths = np.linalg.norm(filters, axis=1, keepdims=True)
    lengths = np.where(lengths > 0, lengths, 1.0)  # one up to what was left out
    return filters / lengths, weights * lengths


def _convolved(filters: Array, weights: Array) -> Array:
    """Return the circular convolutions of the rows, (m, d) each."""
    xp, d = namespace(filters, weights), filters.shape[1]
    if filters.shape[0] == 0:
        return 0 * filters
    product = xp.fft.rfft(filters, axis=1) * xp.fft.rfft(weights, axis=1)
    return xp.fft.irfft(product, n=d, axis=1)
