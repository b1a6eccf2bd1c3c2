"""Three-layer convolutional networks: filters, ReLU or gates, weights of the places, and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from cvxnn.architectures.base import Sizes
from cvxnn.architectures.deep_filters import (
    DEEP_AXES,
    DeepConvNetwork,
    check_options,
    fan_in_of,
    matrices_of,
    mean_network,
    network_of,
    nuclear,
    options_of,
    source_of,
)
from cvxnn.architectures.filters import patches_seen, stacked_patches
from cvxnn.architectures.paths import one_filter, rank_one_parts
from cvxnn.architectures.shared import as_it_is, unweighted
from cvxnn.architectures.trees import (
    cone_rows,
    gated_blocks,
    gated_lift,
    gated_trees,
    signed_blocks,
    signed_cones,
    signed_lift,
    signed_trees,
)
from cvxnn.arrays import Array, like, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import ColumnNorm, GroupNorm, Nuclear, Penalty
from cvxnn.gates import Gates
from cvxnn.gates.base import Floats
from cvxnn.patches import Sizes as Extents
from cvxnn.projection import inside, nearest, unit_rows

_FAINT, _FLAT = 1e-6, 1e-10
"""Shares of the largest weight, and of a row's length, that count as nothing beside it."""


@dataclass(frozen=True)
class DeepConvReLU:
    """Three-layer convolutional ReLU networks on given patterns [ErgenPilanci2021b].

    f(x) = sum_j (sum_k (x_k'u_j)_+ w_jk)_+ a_j over the places k. A block C = [c_1 .. c_K] has the
    patterns D_k of the first units, the signs s of w and the pattern D of the second unit:

    minimise L(sum_i D_i sum_k D_ik X_k (c_ik - c'_ik)) + alpha * sum_i (R(C_i) + R(C'_i))
    subject to s_k (2 D_k - I) X_k c_k >= 0 and (2 D - I) sum_k D_k X_k c_k >= 0

    Weight decay is sqrt(sum_k |u_jk|^2 w_jk^2) |a_j|, which is |u_j| |w_j| |a_j| for one filter.
    With `tied` filters a sub-network's C is u w', and R is the nuclear norm: a lower bound on all
    networks of these patterns, which is attained where the blocks of the solution are u w' with
    the signs s. The gap of the certificate says so: its upper bound is the objective of the network
    of their singular vectors, moved into the cones. Other
    sub-networks have a filter for every place, patterns are of every place alone, and R is the
    Frobenius norm: exact. decay="printed" is that norm with tied filters, the program found on
    slides: a weaker bound, and attained by no network in general.

    With several outputs each sub-network serves one. gates="enumerate" lists every pattern, for a
    few samples and places. ValueError for options out of range.

    >>> kinds = DeepConvReLU(shape=(1, 3), kernel=2, tied=False), DeepConvReLU()
    >>> [kind.exactness.name for kind in kinds], kinds[0].fan_in
    (['EXACT', 'RELAXATION'], (2,))
    """

    shape: Sequence[int] = (1, 28, 28)
    """(C, H, W) of images, or (C, L) of signals; a row of the data is one, channels first."""
    kernel: Extents = 3
    stride: Extents = 1
    padding: Extents = 0
    dilation: Extents = 1
    bias: bool = True
    """Give every filter a bias, penalised as part of it."""
    tied: bool = True
    """One filter for all places of a sub-network, or one for every place."""
    rules: str = "both"
    """What gates are drawn from: "patches" of the data, "gaussian", or "both"."""
    decay: str = "path"
    """"path" or "printed"."""

    name = "deep_conv"
    signed = True
    grows = False
    streams = False
    steady = False
    cells = 1
    axes = DEEP_AXES

    patches = cached_property(patches_seen)
    fan_in = property(fan_in_of)
    source = property(source_of)
    weighted = unweighted
    features = stacked_patches
    lift = signed_lift
    constraint = signed_cones
    unlift = signed_blocks
    network = network_of
    stated = as_it_is
    mean = mean_network

    def __post_init__(self) -> None:
        check_options(self)
        if self.decay not in ("path", "printed"):
            raise ValueError(f"decay is {self.decay!r}; expected 'path' or 'printed'")
        if self.decay == "printed" and not self.tied:
            raise ValueError(
                "decay is 'printed' and tied is False; for a filter at every place the printed "
                "program is exact: use decay='path'"
            )

    @property
    def exactness(self) -> Exactness:
        """How the program stands to the network: tied filters are relaxed, unless of one place."""
        exact = not self.tied or self.patches.count == 1
        return Exactness.EXACT if exact else Exactness.RELAXATION

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return all networks for all patterns and one output."""
        if outputs > 1:
            return Scope.SEPARATE_OUTPUTS
        return Scope.ALL_NETWORKS if every else Scope.GIVEN_GATES

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the norm of every block and output: nuclear, or Frobenius."""
        if not self.tied or self.decay == "printed":
            return GroupNorm(alpha) if outputs == 1 else ColumnNorm(alpha)
        return nuclear(alpha, self.patches.count, outputs)

    def of(self, network: DeepConvNetwork) -> "DeepConvReLU":
        """Return the architecture with the options of the network."""
        return DeepConvReLU(**options_of(network))

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepConvNetwork:
        """Return one sub-network per nonzero block and output, or per singular value of it."""
        if self.tied:
            made = self._tied(gates, to_numpy(blocks), to_numpy(features).astype(float))
        else:
            made = signed_trees(self, gates, blocks, features.shape[1])
        arrays = {name: like(array, blocks) for name, array in made.items()}
        return network_of(self, {**arrays, "intercept": intercept, "skip": skip})

    def _tied(self, gates: Gates, blocks: Floats, features: Floats) -> dict[str, Floats]:
        """Return the rank-one parts of blocks, moved into the cones where they are not inside.

        So the network has patterns of the gates, and an objective that no bound on them exceeds.
        """
        place, (u, w, values) = rank_one_parts(matrices_of(blocks, self.patches.count))
        gate = place[0] % max(1, len(gates))
        signs = self.source.layers(gates.masks)[1][0][gate]
        for j, (each, sign) in enumerate(zip(gate, signs, strict=True)):
            rows = cone_rows(self.source, gates.take([each]), features)[0]
            u[j], w[j] = _inside(rows, u[j], w[j], sign)
        sizes = np.linalg.norm(u, axis=1) * np.linalg.norm(w, axis=1)
        kept = sizes > 0
        u, w, values, block, output = (x[kept] for x in (u, w, values, place[0], place[1]))
        made = one_filter(u, w, values)
        side = np.where(block < len(gates), 1.0, -1.0)[:, None]
        made["weights_out"] = made["weights_out"] * side * np.eye(blocks.shape[2])[output]
        return made

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n rows of patches: the matrices of lift and cones."""
        paths = self.patches.count
        samples, blocks, width = n // paths, 2 * p, paths * d
        rows = (paths + 1) * samples
        # the cones of one sign are made before those of both
        return Sizes(
            lift=blocks * samples * width + 2 * blocks * rows * width,
            blocks=blocks * width * outputs,
            rows=blocks * rows * outputs,
        )


@dataclass(frozen=True)
class DeepConvGated:
    """Three-layer convolutional networks with fixed gates, trained exactly and without a cone.

    minimise L(sum_i D_i sum_k D_ik X_k c_ik) + alpha * sum_i R(C_i), C_i = [c_i1 .. c_iK]

    The masks of both layers multiply. Weight decay is sqrt(sum_k |u_jk|^2 w_jk^2) |a_j|. With
    `tied` filters it is |u_j| |w_j| |a_j|, and R the nuclear norm of C_i; with several outputs each
    sub-network serves one. With a filter for every place R is the Frobenius norm, and the nuclear
    norm of the columns one above the other for several outputs. Gates stay with the network.

    ValueError for options out of range.

    >>> DeepConvGated(shape=(3, 8, 8), kernel=4, stride=4).source.shape(width=49)
    (4, 50)
    """

    shape: Sequence[int] = (1, 28, 28)
    """(C, H, W) of images, or (C, L) of signals; a row of the data is one, channels first."""
    kernel: Extents = 3
    stride: Extents = 1
    padding: Extents = 0
    dilation: Extents = 1
    bias: bool = True
    """Give every filter a bias, penalised as part of it."""
    tied: bool = True
    """One filter for all places of a sub-network, or one for every place."""
    rules: str = "both"
    """What gates are drawn from: "patches" of the data, "gaussian", or "both"."""

    name = "deep_conv_gated"
    signed = False
    exactness = Exactness.GATED
    decay = "path"
    grows = False
    streams = False
    steady = False
    cells = 1
    axes = MappingProxyType({"gates": ("neurons", "paths", "reach"), **DEEP_AXES})

    patches = cached_property(patches_seen)
    fan_in = property(fan_in_of)
    source = property(source_of)
    weighted = unweighted
    features = stacked_patches
    lift = gated_lift
    unlift = gated_blocks
    network = network_of
    stated = as_it_is
    mean = mean_network

    def __post_init__(self) -> None:
        check_options(self)

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return that of the gates: they are a part of the network."""
        return Scope.SEPARATE_OUTPUTS if outputs > 1 and self.tied else Scope.GIVEN_GATES

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: gated units need no cones."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the nuclear norm of every block and output, or that of all outputs together."""
        if self.tied:
            return nuclear(alpha, self.patches.count, outputs)
        return GroupNorm(alpha) if outputs == 1 else Nuclear(alpha)

    def of(self, network: DeepConvNetwork) -> "DeepConvGated":
        """Return the architecture with the options of the network."""
        return DeepConvGated(**options_of(network))

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepConvNetwork:
        """Return one sub-network per nonzero singular value."""
        host, paths = to_numpy(blocks), self.patches.count
        if self.tied:
            (block, output, _), parts = rank_one_parts(matrices_of(host, paths))
            made = one_filter(*parts)
            made["weights_out"] = made["weights_out"] * np.eye(host.shape[2])[output]
        else:
            block, made = gated_trees(self, host)
        arrays = {name: like(array, blocks) for name, array in made.items()}
        arrays["gates"] = gates.generators[block]
        return network_of(self, {**arrays, "intercept": intercept, "skip": skip})

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held for n rows of patches: a matrix a gate, and free blocks."""
        # while all blocks are a working set its copies, in either precision, are there too
        return Sizes(lift=p * n * (3 * d + 1), blocks=p * self.patches.count * d * outputs, rows=0)


def _inside(rows: Floats, u: Floats, w: Floats, signs: Floats) -> tuple[Floats, Floats]:
    """Return u and w with u w' in the cone and signs s w >= 0, near those given; zeros if none is.

    `rows` (q, K h) are those of the cone. Of u w' = (-u)(-w)' the one is taken whose signs agree.
    """
    every = rows.reshape(len(rows), len(w), len(u))
    turn = -1.0 if signs @ w < 0 else 1.0
    u, w = turn * u, signs * np.maximum(turn * signs * w, 0)
    none = np.zeros(0, dtype=np.int64)
    # what rounding left of a place's weight, or of a product with u, is no reason to turn the other
    heavy = np.where(np.abs(w) > _FAINT * np.abs(w).max(initial=0.0), w, 0.0)
    of_u = unit_rows(np.tensordot(every, heavy, axes=(1, 0)))
    u = inside(of_u, nearest(of_u, u, none)[0])
    of_w = every @ u
    sizes = np.linalg.norm(rows, axis=1) * np.linalg.norm(u)
    of_w = unit_rows(
        np.concatenate([of_w[np.linalg.norm(of_w, axis=1) > _FLAT * sizes], np.diag(signs)])
    )
    return u, inside(of_w, nearest(of_w, w, none)[0])
