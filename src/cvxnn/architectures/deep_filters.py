"""Three-layer convolutional networks, and what their architectures with and without gates share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cvxnn.architectures.base import AXES
from cvxnn.architectures.filters import check_sizes, options_of_patches
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.paths import averaged, lengths
from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.functions import Cells, Nuclear, Outputs, Penalty
from cvxnn.functions.cells import cells_as_columns
from cvxnn.gates import PatchGates, SubNetworks
from cvxnn.gates.base import Floats
from cvxnn.gates.subnetworks import activations_of, first_inputs, gate_inputs, unpacked
from cvxnn.maps import row_blocks
from cvxnn.patches import Patches, require_pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepConvNetwork(Neurons):
    """f(x) = sum_j max(0, sum over places k of max(0, x_k'u_jk) w_jk) a_j + x'S + s.

    x_k is the patch at place k, and u_jk = u_j where a sub-network has one filter for all places.
    With `gates` every unit is its weighted sum where that of a network with the gates' weights is
    open, and zero elsewhere.

    >>> import numpy as np
    >>> from cvxnn.patches import patches_of
    >>> net = DeepConvNetwork(
    ...     weights_in=np.array([[[1.0, -1.0]]]),
    ...     weights_hidden=np.array([[1.0, -2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((3, 1)),
    ...     patches=patches_of((1, 3), kernel=2),
    ... )
    >>> net(np.array([[2.0, 1.0, 1.0], [2.0, 1.0, 0.0]])).tolist()
    [[3.0], [0.0]]
    """

    weights_in: Array
    """u, (m, 1, h) for one filter each, or (m, K, h) for one a place; a bias is last in each."""
    weights_hidden: Array
    """w, (m, K)."""
    skip: Array
    """S, (C * H * W, c)."""
    patches: Patches
    """Where filters stand."""
    gates: Array | None = None
    """g, (m, K, h + 1): a place's first gate and its weight; None for ReLU networks."""

    settings = ("patches",)
    layered = np.zeros(1)

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "deep_conv" if self.gates is None else "deep_conv_gated"

    @property
    def fan_in(self) -> Floats:
        """(1,): how many places a unit of the second layer sums, K."""
        return np.array([float(self.patches.count)])

    @property
    def rules(self) -> Array:
        """The generators of the sub-networks' patterns, (m, K, h + 1)."""
        if self.gates is not None:
            return self.gates
        hidden = to_numpy(self.weights_hidden)[:, :, None]
        inner = to_numpy(self.weights_in)
        wide = np.broadcast_to(inner, (*hidden.shape[:2], inner.shape[2]))
        return np.concatenate([wide, hidden], axis=2)

    @property
    def lengths(self) -> Array:
        """What weight decay counts before the output, sqrt(sum_k |u_jk|^2 w_jk^2), (m,)."""
        return lengths(self)

    def hidden(self, X: Array) -> Array:
        """Return the activations of the second layer, (n, C * H * W) to (n, m)."""
        require_pixels(self.patches, X.shape[1])
        width = self.patches.count * (self.patches.width + 3 * self.n_neurons + 1)
        parts = [self._second(X[rows, :]) for rows in row_blocks(X.shape[0], width)]
        parts = parts or [self._second(X[:0, :])]
        return parts[0] if len(parts) == 1 else namespace(X).concat(parts, axis=0)

    def _second(self, X: Array) -> Array:
        xp, count = namespace(X), self.patches.count
        rows = self.patches.rows(X, self.weights_in.shape[2] > self.patches.width)
        first = first_inputs(rows, like(self.weights_in, X), count)
        hidden = like(self.weights_hidden, X)
        if self.gates is None:
            found = activations_of(first, [hidden], (count,))[-1][:, :, 0]
            return xp.maximum(found, xp.zeros_like(found))
        # the gates decide as in training: in float64, so that float32 data switch alike
        wide = double(rows)
        inner, edges = unpacked(like(self.gates, wide), (count,))
        below, above = activations_of(gate_inputs(wide, inner, count), edges, (count,))
        passed = xp.where(below >= 0, first, xp.zeros_like(first)) * hidden
        total = xp.sum(passed, axis=2)
        return xp.where(above[:, :, 0] >= 0, total, xp.zeros_like(total))


# what both architectures do

DEEP_AXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {**AXES, "weights_in": ("neurons", "filters", "width"), "weights_hidden": ("neurons", "paths")}
)


def check_options(self: Any) -> None:
    """Raise ValueError for options out of range."""
    check_sizes(self)
    if not isinstance(self.tied, bool):
        raise ValueError(f"tied is {self.tied!r}; expected True, one filter for all places of a "
                         "sub-network, or False, a filter for every place")  # fmt: skip


def fan_in_of(self: Any) -> tuple[int, ...]:
    """How many places a unit of the second layer sums."""
    return (self.patches.count,)


def source_of(self: Any) -> SubNetworks:
    """Random networks of one sub-network, and the patterns of their units."""
    patches = PatchGates(self.patches.width, self.rules)
    return SubNetworks(self.fan_in, self.signed, patches=patches, tied=self.tied)


def network_of(self: Any, parameters: dict[str, Array]) -> DeepConvNetwork:
    """Return the network with these arrays."""
    return DeepConvNetwork(**parameters, patches=self.patches)


def mean_network(self: Any, networks: Sequence[DeepConvNetwork]) -> DeepConvNetwork:
    """Return the network of all their sub-networks, each with its share."""
    return network_of(self, averaged(networks))


def options_of(network: DeepConvNetwork) -> dict[str, Any]:
    """Return the options that a network shows."""
    bias = network.weights_in.shape[2] > network.patches.width
    tied = network.weights_in.shape[1] == 1
    return options_of_patches(network.patches) | {"bias": bias, "tied": tied}


def nuclear(alpha: float, paths: int, outputs: int) -> Penalty:
    """Return the sum of nuclear norms of C (h, K) over blocks and outputs."""
    norm = Cells(Nuclear(alpha), paths)
    return norm if outputs == 1 else Outputs(norm)


def matrices_of(blocks: Floats, paths: int) -> Floats:
    """Return C (h, K) of every block and output, (p, K h, c) to (p, c, h, K)."""
    p, size, c = blocks.shape
    turned = blocks.swapaxes(1, 2).reshape(p * c, size, 1)
    return np.asarray(cells_as_columns(turned, paths).reshape(p, c, size // paths, paths))
