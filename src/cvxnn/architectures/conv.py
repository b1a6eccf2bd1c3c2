"""Two-layer convolutional networks: filters, ReLU or gates, pooling, and a linear layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import sparse

from cvxnn.architectures.base import Sizes
from cvxnn.architectures.filters import (
    CONV_AXES,
    ConvNetwork,
    by_cells,
    check_options,
    distinct_rows,
    lift_numbers,
    network_of,
    options_of,
    pairs_of,
    patches_seen,
    pooled_map,
    source_of,
    stacked_patches,
)
from cvxnn.architectures.gated import GatedNetwork, GatedReLU
from cvxnn.architectures.relu import ReLU, ReLUNetwork
from cvxnn.architectures.shared import as_it_is, mean_network, unweighted
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Cells, GroupNorm, Nonnegative, Nuclear, Penalty
from cvxnn.functions.cells import cells_as_columns, cells_as_rows
from cvxnn.gates import Gates
from cvxnn.gates.base import Floats, Masks
from cvxnn.gates.filters import winning_rows
from cvxnn.maps import ConeRows, Lift, StackedRows
from cvxnn.patches import Sizes as Extents
from cvxnn.program import Constraint

_RELU, _GATED = ReLU(bias=False), GatedReLU(bias=False)
_NEAR = 1e-9
"""How far behind a face, relative to its largest product, a filter is still in a cone."""


@dataclass(frozen=True)
class ConvReLU:
    """Convolutional ReLU networks with pooling, on given patterns [ErgenPilanci2021b].

    With X_k (n, h) the patches at place k, a filter u and weights a of pooling cells,

    minimise L(sum_j sum_k (X_k u_j)_+ a_j[cell of k]) + alpha * sum_j |u_j| |a_j|

    A pattern is joint over the places. On the filters with pattern i, (2 D_ik - I) X_k u >= 0 for
    all k, activations are Phi_i u with Phi_i = sum_k D_ik X_k; under max pooling D_ik marks the
    winner of every cell. With every pattern, one output and one cell the program is the training
    problem itself. With more of them neurons serve one output of one cell each, as in `ReLU`;
    trained by gates="grow" they share, where places are averaged or added up.

    >>> ConvReLU(shape=(1, 8, 8), kernel=3).patches.count
    36
    """

    shape: Sequence[int] = (1, 28, 28)
    """(C, H, W) of images, or (C, L) of signals; a row of the data is one, channels first."""
    kernel: Extents = 3
    stride: Extents = 1
    padding: Extents = 0
    dilation: Extents = 1
    pooling: str = "average"
    """"average", "sum" or "max" over the places of a cell."""
    cells: Extents = 1
    """Pooling cells along each axis; each has its own outward weights."""
    bias: bool = True
    """Give every filter a bias, penalised as part of it."""
    rules: str = "both"
    """What gates are drawn from: "patches" of the data, "gaussian", or "both"."""

    name = "conv"
    exactness = Exactness.EXACT
    streams = False
    steady = False
    axes = CONV_AXES

    patches = cached_property(patches_seen)
    source = property(source_of)
    weighted = unweighted
    features = stacked_patches
    network = network_of
    stated = as_it_is
    mean = mean_network

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def grows(self) -> bool:
        """Whether it is trained over all networks: not under max pooling."""
        return self.pooling != "max"

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of ReLU networks whose outputs are those of every cell."""
        return _RELU.scope(every=every, outputs=outputs * self.patches.n_cells)

    def _by_cell(self, masks: Masks) -> Masks:
        """Return (p * a, n * K), the masks of every gate on one cell after the other."""
        inside = np.arange(self.patches.n_cells)[:, None] == self.patches.cell
        (p, rows), count = masks.shape, self.patches.count
        joint = masks.reshape(p, 1, rows // count, count) & inside[:, None, :]
        return np.asarray(joint.reshape(p * len(inside), rows))

    def lift(self, features: Array, gates: Gates, outputs: int) -> Lift:
        """Return A (u, v) = sum over gates and cells of Phi (u - v); blocks (2 * p * a, h, c)."""
        pool = self.patches.pool(self.pooling).sum(axis=0, keepdims=True)
        return pooled_map(features, self._by_cell(gates.masks), pool, 2, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint:
        """Return the cones on which filters have the gates' patterns, patches told apart once."""
        copies = np.tile(np.repeat(np.arange(len(gates)), self.patches.n_cells), 2)
        host = to_numpy(features)
        if self.pooling == "max":
            shape = (len(gates), *host.shape)
            rows = np.array([winning_rows(host, m, self.patches) for m in gates.masks])
            matrices = like(rows.reshape(shape)[copies], features)
            return Constraint(StackedRows(matrices, outputs), Nonnegative())
        kept = distinct_rows(host, gates.masks)
        signs = 2.0 * gates.masks[:, kept] - 1.0
        rows = like(host[kept], features)
        return Constraint(ConeRows(rows, like(signs[copies], features), outputs), Nonnegative())

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every block and output."""
        return _RELU.penalty(alpha, outputs)

    def of(self, network: ConvNetwork) -> "ConvReLU":
        """Return the architecture with the options of the network."""
        return ConvReLU(**options_of(network))

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> ConvNetwork:
        """Return one balanced filter per nonzero block and output; parallel ones are merged."""
        p, h, c = blocks.shape
        cells = self.patches.n_cells
        joint = namespace(blocks).reshape(blocks, (p // cells, cells * h, c))
        pairs = cells_as_columns(joint, cells)
        return by_cells(self, _RELU.recover(gates, pairs, intercept, skip, features), None)

    def grown(self, parameters: dict[str, Array], features: Array) -> ConvNetwork:
        """Return the network of a ReLU network on stacked patches, an output for every cell."""
        return by_cells(self, ReLUNetwork(**parameters), None)

    def unlift(self, network: ConvNetwork, gates: Gates, features: Array) -> Array:
        """Return blocks in which every filter lies in the closed cone of one of the gates."""
        inward, outward = to_numpy(network.weights_in), pairs_of(network)
        rows, cells = to_numpy(features).astype(float), self.patches.n_cells
        pairs = np.zeros((2 * len(gates), rows.shape[1], outward.shape[1]))
        find = self._places if self.pooling == "max" else _RELU.places
        for u, a, gate in zip(inward, outward, find(inward, gates, rows), strict=True):
            pairs[gate] += np.outer(u, np.maximum(a, 0))
            pairs[len(gates) + gate] += np.outer(u, np.maximum(-a, 0))
        joint = cells_as_rows(pairs, cells)
        return like(joint.reshape(-1, rows.shape[1], joint.shape[2]), features)

    def _places(self, weights: Floats, gates: Gates, rows: Floats) -> list[int]:
        """Return for every filter (m, d) a gate of whose winners it is; ValueError without one."""
        behind = np.array(
            [
                -(winning_rows(rows, mask, self.patches) @ weights.T).min(axis=0)
                for mask in gates.masks
            ]
        ).reshape(len(gates), len(weights))
        holds = behind <= _NEAR * np.abs(rows @ weights.T).max(axis=0, initial=0.0)
        if not holds.any(axis=0).all():
            lost = int(np.flatnonzero(~holds.any(axis=0))[0])
            raise ValueError(
                f"the activation pattern of neuron {lost} is not among the {len(gates)} gates "
                "given; take the gates from the network, or enumerate them"
            )
        return [int(place) for place in holds.argmax(axis=0)]

    def plain(self, features: Array) -> Array:
        """Return the stacked patches, on which every filter is a ReLU neuron."""
        return features

    def sums(self, n: int) -> Any:
        """Return the sparse matrix (n * a, n * K) of what places count for in samples' cells."""
        return sparse.kron(sparse.eye_array(n), self.patches.pool(self.pooling), format="csr")

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n rows of patches: two blocks a gate and cell, with cones."""
        blocks = 2 * p * self.patches.n_cells
        one = np.ones((1, self.patches.count))
        cones = n * d * blocks if self.pooling == "max" else n * blocks
        lift = lift_numbers(n, d, blocks, one) + cones
        return Sizes(lift=lift, blocks=blocks * d * outputs, rows=blocks * n * outputs)


@dataclass(frozen=True)
class ConvGated:
    """Convolutional networks with fixed gates: minimise L(sum_i Phi_i Z_i) + alpha * sum_i |Z_i|.

    Phi_i = sum_k D_ik X_k of every pooling cell, (n, a * h), depends on the data alone: the places
    vanish from the iterations. The norm is Euclidean for one output and one cell, and that of the
    matrix (h, a * c) is nuclear for more, which is weight decay on both layers exactly. Under max
    pooling a gate chooses the place of every cell. Gates stay with the network.

    >>> ConvGated(shape=(3, 32, 32), kernel=5, cells=2).patches.n_cells
    4
    """

    shape: Sequence[int] = (1, 28, 28)
    """(C, H, W) of images, or (C, L) of signals; a row of the data is one, channels first."""
    kernel: Extents = 3
    stride: Extents = 1
    padding: Extents = 0
    dilation: Extents = 1
    pooling: str = "average"
    """"average", "sum" or "max" over the places of a cell."""
    cells: Extents = 1
    """Pooling cells along each axis; each has its own outward weights."""
    bias: bool = True
    """Give every filter a bias, penalised as part of it."""
    rules: str = "both"
    """What gates are drawn from: "patches" of the data, "gaussian", or "both"."""

    name = "conv_gated"
    exactness = Exactness.GATED
    grows = False
    streams = False
    steady = False
    axes = MappingProxyType({"gates": ("neurons", "width"), **CONV_AXES})

    patches = cached_property(patches_seen)
    source = property(source_of)
    weighted = unweighted
    features = stacked_patches
    network = network_of
    stated = as_it_is
    mean = mean_network

    def __post_init__(self) -> None:
        check_options(self)

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of the gates: they are a part of the network."""
        return Scope.GIVEN_GATES

    def lift(self, features: Array, gates: Gates, outputs: int) -> Lift:
        """Return A Z = sum_i Phi_i Z_i, (p, a * h, c) to (n, c)."""
        pool = self.patches.pool(self.pooling)
        return pooled_map(features, gates.masks, pool, 1, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: a gated filter's weights are free."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm per block, or the nuclear norm for several cells or outputs."""
        if self.patches.n_cells > 1:
            return Cells(Nuclear(alpha), self.patches.n_cells)
        return GroupNorm(alpha) if outputs == 1 else Nuclear(alpha)

    def of(self, network: ConvNetwork) -> "ConvGated":
        """Return the architecture with the options of the network."""
        return ConvGated(**options_of(network))

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> ConvNetwork:
        """Return one filter per nonzero singular value of each block, balanced."""
        pairs = cells_as_columns(blocks, self.patches.n_cells)
        plain = _GATED.recover(gates, pairs, intercept, skip, features)
        return by_cells(self, plain, plain.gates)

    def unlift(self, network: ConvNetwork, gates: Gates, features: Array) -> Array:
        """Return the blocks u_j a_j' summed at each gate; every gate must be among `gates`."""
        plain = GatedNetwork(
            gates=network.gates,
            weights_in=network.weights_in,
            weights_out=pairs_of(network),
            intercept=network.intercept,
            skip=network.skip,
        )
        pairs = _GATED.unlift(plain, gates, features)
        return cells_as_rows(pairs, self.patches.n_cells)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n rows of patches: Phi, or masks where it is too large."""
        pool = self.patches.pool(self.pooling)
        blocks = p * d * outputs * self.patches.n_cells
        return Sizes(lift=lift_numbers(n, d, p, pool), blocks=blocks, rows=0)
