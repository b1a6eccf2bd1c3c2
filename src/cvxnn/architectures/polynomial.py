"""Two-layer networks with a quadratic activation: training is a semidefinite program."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import mean_of, with_bias
from cvxnn.arrays import Array, double, like, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import EigenNorm, Penalty, SphereMoments
from cvxnn.functions.decompose import decomposed, eigenpairs
from cvxnn.gates import Gates, NoGates
from cvxnn.maps import QuadraticForms
from cvxnn.symmetric import to_blocks, to_matrices, triangle

Floats = NDArray[np.float64]

_FLOOR = 1e-12
"""Weights below this share of the largest are zero."""
_UNIT = 1e-9
"""How far from 1 the length of a neuron's inward weights may be."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PolynomialNetwork(Neurons):
    """f(x) = sum_j s(x'u_j) a_j + x'S + s0 with |u_j| = 1 and s(t) = q t^2 + l t + k.

    >>> import numpy as np
    >>> net = PolynomialNetwork(
    ...     weights_in=np.array([[1.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ...     activation=np.array([1.0, 0.0, 0.0]),
    ... )
    >>> net(np.array([[2.0], [-1.0]])).tolist(), net.weight_decay()
    ([[12.0], [3.0]], 3.0)
    """

    weights_in: Array
    """u, (m, d), or (m, d + 1) with the hidden bias last; rows of unit length."""
    intercept: Array
    """s0, (c,)."""
    activation: Array
    """(q, l, k), (3,)."""

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return _name(*to_numpy(self.activation).tolist())

    @property
    def rules(self) -> Array:
        """(0, d) or (0, d + 1): these neurons have no patterns."""
        return self.weights_in[:0, :]

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron's first layer, |u_j|^2, (m,)."""
        return (to_numpy(self.weights_in) ** 2).sum(axis=1)

    def hidden(self, X: Array) -> Array:
        """Return the activations s(x'u_j), (n, d) to (n, m)."""
        features = with_bias(X, self.weights_in.shape[1] > self.skip.shape[0])
        values = features @ like(self.weights_in, X).T
        square, linear, constant = to_numpy(self.activation).tolist()
        return (square * values + linear) * values + constant

    def weight_decay(self) -> float:
        """Return sum_j sum_k |a_jk|, for a pure square sum_j |u_j|^2 sum_k |a_jk|.

        Raises ValueError for a neuron that is not of unit length, unless the activation is a pure
        square: others are not homogeneous, and longer neurons are other networks.
        """
        squares = self.lengths
        off = np.abs(np.sqrt(squares) - 1) > _UNIT
        if off.any() and to_numpy(self.activation)[1:].any():
            worst = int(np.flatnonzero(off)[0])
            raise ValueError(
                f"neuron {worst} has inward weights of length {math.sqrt(squares[worst]):.6g} and "
                "the program is that of neurons of unit length; divide its weights by their length"
            )
        return float((squares[:, None] * np.abs(to_numpy(self.weights_out))).sum())


@dataclass(frozen=True)
class Polynomial:
    """Networks with s(t) = square t^2 + linear t + constant [BartanPilanci2021].

    With neurons of unit length and alpha times the sum of |outward weights| as the penalty the
    training problem is, for moments Z and Z' of the points (u, 1) of either sign,

    minimise L(q x'(Z1 - Z1')x + l x'(z2 - z2') + k (z4 - z4')) + alpha * (z4 + z4')
    subject to Z = [Z1, z2; z2', z4] >= 0, trace Z1 = z4, and Z' likewise

    for every width from 2 (d + 1) on. For a pure square it is L(q x'Zx) + alpha * sum of
    |eigenvalues of Z|. The dual constraint is a trust-region problem, so that a bound over all
    networks of this kind takes polynomial time. With several outputs the penalty counts every
    outward weight, which is as if every neuron served one output. The default coefficients come
    near a ReLU on [-5, 5].

    Raises ValueError for coefficients that are not finite and for square = 0: then the network is
    linear. Of higher degrees no exact program of this kind exists.

    >>> Polynomial().name, Polynomial(square=1.0, linear=0.0, constant=0.0).name
    ('polynomial', 'quadratic')
    """

    bias: bool = True
    """Append a column of ones to the data, penalised as part of each neuron."""
    square: float = 0.09
    """q, not zero."""
    linear: float = 0.5
    """l."""
    constant: float = 0.47
    """k."""

    exactness = Exactness.EXACT
    source = NoGates()
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType({"activation": ("three",), **AXES})

    def __post_init__(self) -> None:
        given = {"square": self.square, "linear": self.linear, "constant": self.constant}
        for name, value in given.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; the coefficients must be finite numbers")
        if self.square == 0:
            raise ValueError(
                "square is 0: with a linear activation the network is a linear model, and no "
                "semidefinite program is needed; pass another coefficient, or fit with skip=True"
            )

    @property
    def name(self) -> str:
        """How users call it: "quadratic" for a pure square."""
        return _name(self.square, self.linear, self.constant)

    @property
    def pure(self) -> bool:
        """Whether the activation is a square alone."""
        return self.linear == 0 and self.constant == 0

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks: the program is over all of them without any gates."""
        return Scope.ALL_NETWORKS

    def weighted(self, weights: Array) -> "Polynomial":
        """Return the architecture itself."""
        return self

    def features(self, X: Array) -> Array:
        """Return the data, with a column of ones for the bias."""
        return with_bias(X, self.bias)

    def lift(self, features: Array, gates: Gates, outputs: int) -> QuadraticForms:
        """Return A Z = q x'Zx, or A (Z, Z') with the linear and constant parts."""
        if self.pure:
            weights, signs = np.full((features.shape[1],) * 2, self.square), np.ones(1)
        else:
            weights = np.full((features.shape[1] + 1,) * 2, self.square)
            weights[-1, :] = weights[:, -1] = self.linear / 2
            weights[-1, -1] = self.constant
            features, signs = with_bias(features, True), np.array([1.0, -1.0])
        # float32 data do not round the coefficients
        wide = double(features[:1, :])
        return QuadraticForms(features, like(weights, wide), like(signs, wide), outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: the domain of the penalty is the constraint."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the sum of |eigenvalues|, or of the last entries of moment matrices."""
        return EigenNorm(alpha) if self.pure else SphereMoments(alpha)

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> PolynomialNetwork:
        """Return one neuron per eigenvector, or per piece of the neural decomposition."""
        host = to_numpy(to_matrices(blocks))
        width, outputs = host.shape[-1] - (not self.pure), host.shape[1]
        inward, outward = [np.zeros((0, width))], [np.zeros((0, outputs))]
        for place, matrices in enumerate(host):
            for output, matrix in enumerate(matrices):
                u, sizes = eigenpairs(matrix) if self.pure else decomposed(matrix)
                inward.append(u)
                outward.append((1.0 - 2.0 * place) * sizes[:, None] * np.eye(outputs)[output])
        weights, sizes = np.concatenate(inward), np.concatenate(outward)
        kept = np.abs(sizes).sum(axis=1) > _FLOOR * np.abs(sizes).max(initial=0.0)
        return PolynomialNetwork(
            weights_in=like(weights[kept], blocks),
            weights_out=like(sizes[kept], blocks),
            intercept=intercept,
            skip=skip,
            activation=like(np.array([self.square, self.linear, self.constant]), blocks),
        )

    def unlift(self, network: PolynomialNetwork, gates: Gates, features: Array) -> Array:
        """Return the sums of a_j u_j u_j', or of a_j (u_j, 1) (u_j, 1)' by the sign of a_j."""
        points, sizes = to_numpy(network.weights_in), to_numpy(network.weights_out)
        if self.pure:
            parts = [sizes]
        else:
            points = np.column_stack([points, np.ones(len(points))])
            parts = [np.maximum(sizes, 0), np.maximum(-sizes, 0)]
        sums = [[(points.T * column) @ points for column in part.T] for part in parts]
        return to_blocks(like(np.array(sums), features))

    def stated(self, network: PolynomialNetwork, X: Array) -> PolynomialNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> PolynomialNetwork:
        """Return the network with these arrays."""
        return PolynomialNetwork(**parameters)

    def of(self, network: PolynomialNetwork) -> "Polynomial":
        """Return the architecture with the bias and the activation of a network."""
        square, linear, constant = to_numpy(network.activation).tolist()
        bias = network.weights_in.shape[1] > network.skip.shape[0]
        return replace(self, bias=bias, square=square, linear=linear, constant=constant)

    def mean(self, networks: Sequence[PolynomialNetwork]) -> PolynomialNetwork:
        """Return the network of all their neurons, each with its share."""
        outward = [to_numpy(each.weights_out) / len(networks) for each in networks]
        return PolynomialNetwork(
            weights_in=np.concatenate([to_numpy(each.weights_in) for each in networks]),
            weights_out=np.concatenate(outward),
            intercept=mean_of([each.intercept for each in networks]),
            skip=mean_of([each.skip for each in networks]),
            activation=to_numpy(networks[0].activation),
        )

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: the matrices of weights, and one or two triangles an output."""
        side, count = (d, 1) if self.pure else (d + 1, 2)
        return Sizes(
            lift=side * side * (1 + outputs), blocks=count * triangle(side) * outputs, rows=0
        )


def _name(square: float, linear: float, constant: float) -> str:
    return "polynomial" if linear or constant else "quadratic"
