"""Batch normalisation before the ReLU: a ReLU program on whitened data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.relu import ReLU, ReLUNetwork
from cvxnn.architectures.shared import mean_of, with_bias
from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Penalty
from cvxnn.gates import Gates, HalfSpaces
from cvxnn.maps import Signed
from cvxnn.program import Constraint

Floats = NDArray[np.float64]

_CONSTANT = 1e-12
"""A column whose deviation is below this share of its largest entry does not vary."""

_RANK = 1e-10
"""Singular values of standardised columns below this share of the largest are rounding."""

NORMALISING = ("means", "variances", "gammas", "shifts", "units")
"""The arrays of a normalising layer."""

_RELU = ReLU(bias=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchNormNetwork(Neurons):
    """f(x) = sum_j max(0, g_j h (x'w_j - mean_j) / sd_j + b_j k) a_j + x'S + s.

    `means` and `variances` are those of x'w_j on the training data, as a normalising layer keeps
    them for evaluation; (h, k) are `units`.

    >>> import numpy as np
    >>> net = BatchNormNetwork(
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
    """w, (m, d); only directions count."""
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

    architecture = "batchnorm"

    @property
    def rules(self) -> Array:
        """The vectors (w, b) of the half-spaces in which neurons are active, (m, d + 1)."""
        scale, shift = self._affine()
        weights = scale[:, None] * to_numpy(self.weights_in)
        return np.concatenate([weights, shift[:, None]], axis=1)

    def _affine(self) -> tuple[Array, Array]:
        """Return p and q, (m,) each, with which a neuron is max(0, p x'w + q)."""
        means, variances = to_numpy(self.means), to_numpy(self.variances)
        units = to_numpy(self.units)
        scale = units[0] * to_numpy(self.gammas) / np.sqrt(variances)
        return scale, units[1] * to_numpy(self.shifts) - scale * means

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron's first layer, |(g_j, b_j)|, (m,)."""
        return np.hypot(to_numpy(self.gammas), to_numpy(self.shifts))

    def hidden(self, X: Array) -> Array:
        """Return the activations, (n, d) to (n, m)."""
        xp = namespace(X)
        scale, shift = (like(part, X) for part in self._affine())
        values = (X @ like(self.weights_in, X).T) * scale + shift
        return xp.maximum(values, xp.zeros_like(values))


class _White(NamedTuple):
    """Centred data in an orthonormal basis: (X - 1 mean') W = U, U'diag(p)U = I / n."""

    basis: Array
    """U, (n, r), with columns that sum to zero, each sample as often as it counts."""
    weights: Array
    """W, (d, r)."""
    mean: Array
    """(d,)."""
    shares: Array
    """n p, (n, 1): one for each sample where they count alike."""


@dataclass(frozen=True)
class BatchNorm:
    """ReLU networks with batch normalisation before the ReLU [Ergen2022].

    A neuron normalises x'w over the training data, scales it by g and shifts it by b:

    minimise L(sum_j (g_j (X w_j - mean) / sd + b_j)_+ a_j) + alpha * sum_j |(g_j, b_j)| |a_j|

    which at the optimum is weight decay on g, b and a; w has no length that counts. It is the ReLU
    program on the data [h sqrt(n) U, k 1], U the left singular vectors of the centred data: h and k
    are 1, or n^-1/2 with `unit_scale` and `unit_shift`, other regularisers and not another scaling
    of one. Columns without variance are in no neuron; gates are half-spaces with a bias.

    >>> BatchNorm().name
    'batchnorm'
    """

    unit_scale: bool = False
    """Divide by |X w - mean| and not by the standard deviation: g is n^-1/2 times as much."""
    unit_shift: bool = False
    """Let a shift of b add b / sqrt(n)."""
    weights: Floats | None = field(default=None, init=False, repr=False, compare=False)
    """(n,): of the training samples, set by `weighted`; None: each counts once."""

    name = "batchnorm"
    bias = True  # the shifts
    exactness = Exactness.EXACT
    source = HalfSpaces()
    grows = True
    streams = False
    steady = False
    axes = MappingProxyType(
        {
            **AXES,
            "weights_in": ("neurons", "features"),
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

    def weighted(self, weights: Array) -> "BatchNorm":
        """Return the architecture whose statistics count samples by their weights (n,)."""
        found = replace(self)
        object.__setattr__(found, "weights", np.asarray(to_numpy(weights), dtype=np.float64))
        return found

    def _count(self, n: int) -> Floats:
        """Return how many copies of a sample there are, (n,)."""
        return np.ones(n) if self.weights is None else self.weights

    def features(self, X: Array) -> Array:
        """Return the data with a column of ones, whose half-spaces are the neurons'."""
        return with_bias(X, True)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Signed:
        """Return A (u, v) = sum_i D_i X' (u_i - v_i) on the whitened data X'."""
        return _RELU.lift(self.plain(features), gates, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint:
        """Return the cones on which a gated neuron is a ReLU."""
        return _RELU.constraint(self.plain(features), gates, outputs)

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every block and output."""
        return _RELU.penalty(alpha, outputs)

    def plain(self, features: Array) -> Array:
        """Return X' = [h sqrt(n) U, k 1] in float64, (n, r + 1) from (n, d + 1)."""
        xp, white = namespace(features), self._white(features)
        scale, shift = self._units(features.shape[0])
        ones = double(features)[:, -1:]
        columns = scale * features.shape[0] ** 0.5 * white.basis
        return xp.concat([columns, shift * ones], axis=1)

    def sums(self, n: int) -> None:
        """Return None: every sample is a row."""

    def _white(self, features: Array) -> _White:
        return _white(features, self._count(features.shape[0]))

    def _units(self, n: int) -> tuple[float, float]:
        root = float(self._count(n).sum()) ** -0.5
        return root if self.unit_scale else 1.0, root if self.unit_shift else 1.0

    def of(self, network: BatchNormNetwork) -> "BatchNorm":
        """Return the architecture with the units of the network."""
        scale, shift = (float(unit) != 1.0 for unit in to_numpy(network.units))
        return BatchNorm(unit_scale=scale, unit_shift=shift)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> BatchNormNetwork:
        """Return one balanced neuron per nonzero block and output, of variance one if it varies."""
        plain = _RELU.recover(gates, blocks, intercept, skip, features)
        return self.grown(plain.parameters(), features)

    def grown(self, parameters: dict[str, Array], features: Array) -> BatchNormNetwork:
        """Return the network whose neurons on X' have these weights, of variance one."""
        plain, blocks = ReLUNetwork(**parameters), parameters["weights_out"]
        white, n = self._white(features), features.shape[0]
        inward = to_numpy(plain.weights_in)
        gammas = np.linalg.norm(inward[:, :-1], axis=1)
        # a neuron that is its shift alone still normalises something
        turns = np.where(gammas[:, None] > 0, inward[:, :-1], np.eye(1, inward.shape[1] - 1))
        turns = turns / np.where(gammas > 0, gammas, 1.0)[:, None]
        weights = n**0.5 * turns @ to_numpy(white.weights).T
        made = {
            "weights_in": weights,
            "means": weights @ to_numpy(white.mean),
            "variances": np.ones(len(weights)),
            "gammas": gammas,
            "shifts": inward[:, -1],
            "units": np.array(self._units(n)),
        }
        return BatchNormNetwork(
            **{name: like(array, blocks) for name, array in made.items()},
            weights_out=plain.weights_out,
            intercept=plain.intercept,
            skip=plain.skip,
        )

    def unlift(self, network: BatchNormNetwork, gates: Gates, features: Array) -> Array:
        """Return blocks in which every neuron lies in the closed cone of one of the gates."""
        white = self._white(features)
        values = to_numpy(double(features))[:, :-1] @ to_numpy(network.weights_in).T
        turns = values.T @ to_numpy(white.shares * white.basis)
        sizes = np.linalg.norm(turns, axis=1)
        scales = to_numpy(network.gammas) / np.where(sizes > 0, sizes, 1.0)
        inward = np.column_stack([scales[:, None] * turns, to_numpy(network.shifts)])
        plain = ReLUNetwork(
            weights_in=inward,
            weights_out=network.weights_out,
            intercept=network.intercept,
            skip=network.skip,
        )
        return like(_RELU.unlift(plain, gates, self.plain(features)), features)

    def stated(self, network: BatchNormNetwork, X: Array) -> BatchNormNetwork:
        """Return the network that does the same on these data and holds their statistics."""
        values = to_numpy(double(X)) @ to_numpy(network.weights_in).T
        n = len(values)
        return replace(network, **statistics(network, values, self._count(n), self._units(n)))

    def network(self, parameters: dict[str, Array]) -> BatchNormNetwork:
        """Return the network with these arrays."""
        return BatchNormNetwork(**parameters)

    def mean(self, networks: Sequence[BatchNormNetwork]) -> BatchNormNetwork:
        """Return the network of all their neurons, each with its share and its own statistics."""
        return BatchNormNetwork(**averaged(networks, self.axes))

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held by the ReLU program."""
        return _RELU.sizes(n, d, p, outputs)


def averaged(networks: Sequence[Any], axes: Mapping[str, tuple[str, ...]]) -> dict[str, Array]:
    """Return the arrays of the network of all their neurons, in the units of the first."""
    root, units = len(networks) ** -0.5, to_numpy(networks[0].units)
    every: dict[str, Array] = {
        "units": units,
        "intercept": mean_of([each.intercept for each in networks]),
        "skip": mean_of([each.skip for each in networks]),
    }
    for name in (name for name, along in axes.items() if along[0] == "neurons"):
        parts = [to_numpy(getattr(each, name)) for each in networks]
        if name in ("gammas", "shifts"):
            place = ("gammas", "shifts").index(name)
            own = [to_numpy(each.units)[place] / units[place] for each in networks]
            parts = [root * unit * part for unit, part in zip(own, parts, strict=True)]
        every[name] = np.concatenate(parts) * (root if name == "weights_out" else 1.0)
    return every


def statistics(
    network: Any, values: Floats, weights: Floats, units: tuple[float, float]
) -> dict[str, Array]:
    """Return the normalising layer that does on `values` (n, m) what the network's own does there.

    Its means and variances are those of the values, a sample counting `weights` (n,) times. What
    does not vary has a scale of zero, and its shift alone.
    """
    old = {name: to_numpy(getattr(network, name)) for name in NORMALISING}
    scale = old["units"][0] * old["gammas"] / np.sqrt(old["variances"])
    shift = old["units"][1] * old["shifts"] - scale * old["means"]
    shares = weights / weights.sum()
    means = shares @ values
    deviations = np.sqrt(shares @ (values - means) ** 2)
    varies = deviations > _CONSTANT * np.abs(values).max(axis=0, initial=0.0)
    found = {
        "means": means,
        "variances": np.where(varies, deviations, 1.0) ** 2,
        "gammas": np.where(varies, scale * deviations, 0.0) / units[0],
        "shifts": (shift + scale * means) / units[1],
        "units": np.array(units),
    }
    return {name: like(array, network.weights_out) for name, array in found.items()}


def _white(features: Array, weights: Floats) -> _White:
    """Return the whitening of data (n, d + 1) with a last column of ones, and weights (n,).

    Columns are standardised first, so that their units do not decide what rounding is.
    """
    xp = namespace(features)
    rows = double(features)[:, :-1]
    n, d = rows.shape
    shares = like(n * (weights / weights.sum())[:, None], rows)
    mean = xp.mean(shares * rows, axis=0)
    centred = rows - mean
    deviations = xp.sqrt(xp.mean(shares * centred**2, axis=0))
    varies = deviations > _CONSTANT * xp.max(xp.abs(rows), axis=0)
    scales = xp.where(varies, deviations, xp.ones_like(deviations))
    standard = xp.where(varies, centred / scales, xp.zeros_like(centred))
    left, values, right = xp.linalg.svd(xp.sqrt(shares) * standard, full_matrices=False)
    largest = float(values[0]) if min(n, d) > 0 else 0.0
    rank = int(xp.sum(xp.astype(values > _RANK * largest, xp.int64))) if largest > 0 else 0
    # all machines must find one basis of the many, since trees of boxes in it are kept as proofs:
    # the polar factor of full rank, which is smooth in the data, and else singular vectors of one
    # sign
    if rank == d:
        axes = right.T / values @ right / scales[:, None]
        return _White(left @ right / xp.sqrt(shares), axes, mean, shares)
    along = like(np.cos(np.arange(1.0, d + 1)), right)
    signs = xp.where(right[:rank, :] @ along < 0, -1.0, 1.0)
    axes = right[:rank, :].T / values[:rank] * signs / scales[:, None]
    return _White(left[:, :rank] * signs / xp.sqrt(shares), axes, mean, shares)
