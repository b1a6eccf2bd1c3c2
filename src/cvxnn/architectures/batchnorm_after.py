"""Batch normalisation after the ReLU: every pattern has an orthonormal basis of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.batchnorm import averaged, statistics
from cvxnn.architectures.centred import Free, balanced, neuron_of, pattern_of, place_of
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.relu import ReLU
from cvxnn.architectures.shared import with_bias
from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Nonnegative, Penalty
from cvxnn.gates import Gates
from cvxnn.gates.base import Floats
from cvxnn.maps import Stacked, StackedRows
from cvxnn.program import Constraint

_RELU = ReLU(bias=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchNormAfterNetwork(Neurons):
    """f(x) = sum_j (g_j h (max(0, x'w_j) - mean_j) / sd_j + b_j k) a_j + x'S + s.

    `means` and `variances` are those of max(0, x'w_j) on the training data; (h, k) are `units`.

    >>> import numpy as np
    >>> net = BatchNormAfterNetwork(
    ...     weights_in=np.array([[2.0]]),
    ...     means=np.array([1.0]),
    ...     variances=np.array([4.0]),
    ...     gammas=np.array([1.0]),
    ...     shifts=np.array([0.5]),
    ...     units=np.ones(2),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist()
    [[3.0], [0.0]]
    """

    weights_in: Array
    """w, (m, d), or (m, d + 1) with the hidden bias last; only directions count."""
    means: Array
    """(m,)."""
    variances: Array
    """sd^2, (m,), positive."""
    gammas: Array
    """g, (m,)."""
    shifts: Array
    """b, (m,)."""
    units: Array
    """(2,): what a scale of one makes of a deviation, and what a shift of one adds."""

    architecture = "batchnorm_after"

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron's normalising layer, |(g_j, b_j)|, (m,)."""
        return np.hypot(to_numpy(self.gammas), to_numpy(self.shifts))

    def hidden(self, X: Array) -> Array:
        """Return the normalised activations, (n, d) to (n, m)."""
        xp = namespace(X)
        features = with_bias(X, self.weights_in.shape[1] > self.skip.shape[0])
        values = features @ like(self.weights_in, X).T
        units, means = to_numpy(self.units), to_numpy(self.means)
        scale = units[0] * to_numpy(self.gammas) / np.sqrt(to_numpy(self.variances))
        shift = units[1] * to_numpy(self.shifts) - scale * means
        return xp.maximum(values, xp.zeros_like(values)) * like(scale, X) + like(shift, X)


@dataclass(frozen=True)
class BatchNormAfter:
    """ReLU networks with batch normalisation after the ReLU [Ergen2022].

    A neuron's activations (X w)_+ are normalised over the training data, scaled by g and shifted:

    minimise L(sum_j (g_j ((X w_j)_+ - mean) / sd + b_j) a_j) + alpha * sum_j |(g_j, b_j)| |a_j|

    With U_i the left singular vectors of the centred active rows of a pattern, D_i X less its
    column means, a neuron is (h sqrt(n) U_i t, k b), its cone is that of w = V_i S_i^-1 t, and its
    size is |(t, b)|. h and k are 1, or n^-1/2 with `unit_scale` and `unit_shift`. Columns without
    variance are in no neuron, unless a bias; neurons of constant activation are their shift.

    >>> BatchNormAfter().name
    'batchnorm_after'
    """

    bias: bool = True
    """Append a column of ones to the data, a coordinate of each neuron's direction."""
    unit_scale: bool = False
    """Divide by |(X w)_+ - mean| and not by the standard deviation."""
    unit_shift: bool = False
    """Let a shift of b add b / sqrt(n)."""
    weights: Floats | None = field(default=None, init=False, repr=False, compare=False)
    """(n,): of the training samples, set by `weighted`; None: each counts once."""

    name = "batchnorm_after"
    exactness = Exactness.EXACT
    source = Free()
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType(
        {
            **AXES,
            "means": ("neurons",),
            "variances": ("neurons",),
            "gammas": ("neurons",),
            "shifts": ("neurons",),
            "units": ("two",),
        }
    )

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of ReLU networks."""
        return _RELU.scope(every=every, outputs=outputs)

    def weighted(self, weights: Array) -> "BatchNormAfter":
        """Return the architecture whose statistics count samples by their weights (n,)."""
        found = replace(self)
        object.__setattr__(found, "weights", np.asarray(to_numpy(weights), dtype=np.float64))
        return found

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def _units(self, n: int) -> tuple[float, float]:
        root = float(n if self.weights is None else self.weights.sum()) ** -0.5
        return root if self.unit_scale else 1.0, root if self.unit_shift else 1.0

    def lift(self, features: Array, gates: Gates, outputs: int) -> Stacked:
        """Return the sum of +-h sqrt(n) U_i t + k b over blocks (t, b), first those with plus."""
        n, rows = features.shape[0], balanced(features, self.weights)
        scale, shift = self._units(n)
        ones = np.full((n, 1), shift)
        parts = [n**0.5 * scale * pattern_of(rows, mask).outputs for mask in gates.masks]
        factors = [np.concatenate([sign * u, ones], axis=1) for sign in (1, -1) for u in parts]
        shape = (2 * len(gates), n, rows.basis.shape[1] + 1)
        return Stacked(like(np.array(factors).reshape(shape), double(features)), outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint:
        """Return the cones on which w = V_i S_i^-1 t has the pattern of its gate."""
        rows = balanced(features, self.weights)
        matrices = np.zeros((len(gates), features.shape[0], rows.basis.shape[1] + 1))
        for matrix, mask in zip(matrices, gates.masks, strict=True):
            cone = pattern_of(rows, mask).cone
            lengths = np.linalg.norm(cone, axis=1, keepdims=True)
            # a row's length means nothing to the cone, and much to steps in its multipliers
            matrix[:, :-1] = cone / np.where(lengths > 0, lengths, 1.0)
        both = np.concatenate([matrices, matrices])
        return Constraint(StackedRows(like(both, double(features)), outputs), Nonnegative())

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every block and output."""
        return _RELU.penalty(alpha, outputs)

    def of(self, network: BatchNormAfterNetwork) -> "BatchNormAfter":
        """Return the architecture with the bias and the units of the network."""
        scale, shift = (float(unit) != 1.0 for unit in to_numpy(network.units))
        bias = network.weights_in.shape[1] > network.skip.shape[0]
        return BatchNormAfter(bias=bias, unit_scale=scale, unit_shift=shift)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> BatchNormAfterNetwork:
        """Return one balanced neuron per nonzero block and output, of variance one if it varies."""
        host, n = to_numpy(blocks), features.shape[0]
        rows = balanced(features, self.weights)
        patterns = {i: pattern_of(rows, gates.masks[i]) for i in np.flatnonzero(_used(host))}
        host = host.copy()
        for i, pattern in patterns.items():  # coordinates below the rank are of no use
            host[[i, len(gates) + i], :-1] *= np.any(pattern.outputs, axis=0, keepdims=True).T
        lengths = np.linalg.norm(host, axis=1)
        block, output = np.nonzero(lengths > 1e-12 * lengths.max(initial=0.0))
        found, lengths = host[block, :, output], lengths[block, output]
        roots, sizes = np.sqrt(lengths), np.linalg.norm(found[:, :-1], axis=1)
        sizes = np.where(sizes > 1e-12 * lengths, sizes, 0.0)  # a shift alone has no direction
        turns = np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1.0), 0.0)[:, None]
        turns = turns * found[:, :-1]
        places, signs = block % max(1, len(gates)), np.where(block < len(gates), 1.0, -1.0)
        inner = [
            neuron_of(rows, gates.masks[i], patterns[i], turn)
            for i, turn in zip(places, turns, strict=True)
        ]
        shape = (len(block), rows.basis.shape[1])
        weights = n**0.5 * np.array(inner).reshape(shape) @ rows.weights.T
        values = np.maximum(to_numpy(double(features)) @ weights.T, 0)
        made = {
            "weights_in": weights,
            "means": (rows.shares * values).mean(axis=0),
            "variances": np.ones(len(block)),
            "gammas": signs * sizes / roots,
            "shifts": found[:, -1] / roots,
            "units": np.array(self._units(n)),
            "weights_out": roots[:, None] * np.eye(host.shape[2])[output],
        }
        return BatchNormAfterNetwork(
            **{name: like(array, blocks) for name, array in made.items()},
            intercept=intercept,
            skip=skip,
        )

    def unlift(self, network: BatchNormAfterNetwork, gates: Gates, features: Array) -> Array:
        """Return blocks in which every neuron lies in the closed cone of one of the gates."""
        rows, x = balanced(features, self.weights), to_numpy(double(features))
        weights, outer = to_numpy(network.weights_in), to_numpy(network.weights_out)
        places = _RELU.places(weights, gates, x)
        blocks = np.zeros((2 * len(gates), rows.basis.shape[1] + 1, outer.shape[1]))
        pairs = np.stack([to_numpy(network.gammas), to_numpy(network.shifts)], axis=1)
        for w, place, pair, a in zip(weights, places, pairs, outer, strict=True):
            place, turn = place_of(rows, gates, place, np.maximum(x @ w, 0))
            size = np.linalg.norm(turn)
            turn = turn / size if size > 0 else turn
            gammas, shifts = pair[0] * a, pair[1] * a
            for sign, half in ((1.0, place), (-1.0, len(gates) + place)):
                here = (sign * gammas > 0) | ((gammas == 0) & (sign > 0))
                blocks[half, :-1] += np.outer(turn, np.where(here, np.abs(gammas), 0.0))
                blocks[half, -1] += np.where(here, shifts, 0.0)
        return like(blocks, features)

    def stated(self, network: BatchNormAfterNetwork, X: Array) -> BatchNormAfterNetwork:
        """Return the network that does the same on these data and holds their statistics."""
        rows, n = to_numpy(double(self.features(X))), X.shape[0]
        values = np.maximum(rows @ to_numpy(network.weights_in).T, 0)
        weights = np.ones(n) if self.weights is None else self.weights
        return replace(network, **statistics(network, values, weights, self._units(n)))

    def network(self, parameters: dict[str, Array]) -> BatchNormAfterNetwork:
        """Return the network with these arrays."""
        return BatchNormAfterNetwork(**parameters)

    def mean(self, networks: Sequence[BatchNormAfterNetwork]) -> BatchNormAfterNetwork:
        """Return the network of all their neurons, each with its share and its own statistics."""
        return BatchNormAfterNetwork(**averaged(networks, self.axes))

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: two matrices a block for lift and cones, and their rows."""
        matrices = 2 * p * n * (d + 1)
        blocks, rows = 2 * p * (d + 1) * outputs, 2 * p * n * outputs
        return Sizes(lift=0, blocks=blocks, rows=rows, wide=2 * matrices)


def _used(blocks: Floats) -> NDArray[np.bool_]:
    """Tell which gates (p,) have a block (2p, d, c) that is not zero."""
    pairs = blocks.reshape(2, len(blocks) // 2, -1)
    return np.asarray(pairs.any(axis=(0, 2)))
