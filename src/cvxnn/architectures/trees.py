"""What programs of sub-networks share, with gates and with cones, whatever rows a path sees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.paths import counts, layers_above, products, shared, sizes_of
from cvxnn.architectures.relu import merged
from cvxnn.arrays import Array, like, to_numpy
from cvxnn.functions import Nonnegative
from cvxnn.gates import Gates, SubNetworks
from cvxnn.gates.base import Floats
from cvxnn.gates.subnetworks import along_edges, edges_of
from cvxnn.maps import Stacked, StackedRows
from cvxnn.program import Constraint

_CLOSE = 1e-9
"""How far behind a face, relative to its row, a sub-network may be to count as in its cone."""


def path_rows(shares: NDArray[Any], features: Floats) -> Floats:
    """Return the matrices (p, n, paths d) of sums over paths of shares (p, n, paths) of X c.

    Features are (n, d), or (n paths, d) where every path sees a row of its own.
    """
    p, n, paths = shares.shape
    d = features.shape[1]
    each = shares[:, :, :, None] * features.reshape(n, len(features) // n, d).astype(float)
    return np.asarray(each.reshape(p, n, paths * d))


# sub-networks with gates: their masks are the products along paths


def gated_lift(self: Any, features: Array, gates: Gates, outputs: int) -> Stacked:
    """Return the sum of D_ip X_p W_ip over blocks (paths d, c)."""
    return Stacked(like(path_rows(gates.masks, to_numpy(features)), features), outputs)


def gated_trees(self: Any, blocks: Floats) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Return the gates (m,) and weights of one sub-network per nonzero singular value.

    Those are of each block (paths d, c) or, where weight decay counts layers, of each column.
    """
    p, size, outputs = blocks.shape
    paths = counts(self.fan_in)[0]
    parts = paths if self.decay == "layers" else 1
    left, values, right = np.linalg.svd(
        blocks.reshape(p * parts, size // parts, outputs), full_matrices=False
    )
    part, rank = np.nonzero(values > 1e-12 * values.max(initial=0.0))
    vectors = left[part, :, rank] * values[part, rank, None]
    columns = np.zeros((len(part), paths, size // paths))
    if parts == 1:
        columns[:] = vectors.reshape(columns.shape)
    else:
        columns[np.arange(len(part)), part % paths] = vectors
    found = shared(columns, self.fan_in, self.decay == "layers")
    return part // parts, {
        "weights_in": found.inner,
        "weights_hidden": np.concatenate(found.edges, axis=1),
        "weights_out": found.roots * right[part, rank],
    }


def gated_blocks(self: Any, network: Any, gates: Gates, features: Array) -> Array:
    """Return the blocks of products of weights summed at each sub-network of gates.

    Raises ValueError for gates of the network that are not among `gates`.
    """
    columns = products(network)
    flat = columns.reshape(len(columns), columns.shape[1] * columns.shape[2])
    outer = to_numpy(network.weights_out)
    blocks: Floats = np.zeros((len(gates), flat.shape[1], outer.shape[1]))
    own = to_numpy(network.gates)
    for j, (generator, column, a) in enumerate(zip(own, flat, outer, strict=True)):
        equal = (gates.generators == generator).all(axis=(1, 2))
        if not equal.any():
            raise ValueError(f"the gate of neuron {j} is not among the {len(gates)} gates given")
        blocks[int(equal.argmax())] += np.outer(column, a)
    return like(blocks, features)


# sub-networks of ReLU units: signed masks choose cones, and blocks come twice, with plus and minus


def signed_lift(self: Any, features: Array, gates: Gates, outputs: int) -> Stacked:
    """Return the sum of +-D_ip X_p c_ip over blocks (paths d, c), first those with plus."""
    rows = path_rows(self.source.products(gates.masks), to_numpy(features))
    return Stacked(like(np.concatenate([rows, -rows]), features), outputs)


def signed_cones(self: Any, features: Array, gates: Gates, outputs: int) -> Constraint:
    """Return the cones on which every unit has its pattern."""
    rows = cone_rows(self.source, gates, to_numpy(features))
    sizes = np.linalg.norm(rows, axis=2, keepdims=True)
    # a row's length means nothing to the cone, and much to steps in its multipliers
    units = rows / np.where(sizes > 0, sizes, 1.0)
    return Constraint(
        StackedRows(like(np.concatenate([units, units]), features), outputs), Nonnegative()
    )


def cone_rows(source: SubNetworks, gates: Gates, x: Floats) -> Floats:
    """Return s (2 D - I) times the input of every unit: (p, units n, paths d)."""
    bits, signs = source.layers(gates.masks)
    p, n, paths = bits[0].shape
    open_below, rows = np.ones((p, n, paths)), []
    for layer, bit in enumerate(bits):
        above = np.ones((p, bit.shape[2]))
        for weights in signs[layer:]:
            above = above * np.repeat(weights, bit.shape[2] // weights.shape[1], axis=1)
        side = above[:, None, :] * (2.0 * bit - 1.0)
        for unit in range(bit.shape[2]):
            mine = np.arange(paths) // (paths // bit.shape[2]) == unit
            rows.append(path_rows(open_below * mine * side[:, :, unit, None], x))
        open_below = open_below * np.repeat(bit, paths // bit.shape[2], axis=2)
    return np.concatenate(rows, axis=1)


def signed_trees(self: Any, gates: Gates, blocks: Array, width: int) -> dict[str, Floats]:
    """Return the weights of one sub-network per nonzero block and output, layer by layer."""
    host, paths = to_numpy(blocks), counts(self.fan_in)[0]
    sizes = np.linalg.norm(host, axis=1)
    block, output = np.nonzero(sizes > 1e-12 * sizes.max(initial=0.0))
    side = np.where(block < len(gates), 1.0, -1.0)[:, None]
    outward = side * np.eye(host.shape[2])[output]
    # of a weight that nothing comes through, the sign is of no meaning
    alive = (sizes_of(host[block, :, output], paths) > 0).astype(float)
    marks = [
        sign[block % max(1, len(gates))] * some
        for sign, some in zip(
            self.source.layers(gates.masks)[1], layers_above(alive, self.fan_in), strict=True
        )
    ]
    flat, keys = merged(host[block, :, output], np.concatenate([outward, *marks], axis=1))
    columns = flat.reshape(len(flat), paths, width)
    found = shared(columns, self.fan_in, self.decay != "path")
    signs = edges_of(keys[:, host.shape[2] :], self.fan_in)
    edges = [sign * each for sign, each in zip(signs, found.edges, strict=True)]
    return {
        "weights_in": found.inner * along_edges(signs)[:, :, None],
        "weights_hidden": np.concatenate(edges, axis=1),
        "weights_out": found.roots * keys[:, : host.shape[2]],
    }


def signed_blocks(self: Any, network: Any, gates: Gates, features: Array) -> Array:
    """Return blocks in which every sub-network lies in the closed cone of one of the gates.

    Raises ValueError for a sub-network without one.
    """
    outer, columns = to_numpy(network.weights_out), products(network)
    edges = edges_of(to_numpy(network.weights_hidden), self.fan_in)
    found = places(self.source, columns, edges, gates, to_numpy(features).astype(float))
    flat = columns.reshape(len(columns), columns.shape[1] * columns.shape[2])
    blocks = np.zeros((2 * len(gates), flat.shape[1], outer.shape[1]))
    for column, a, gate in zip(flat, outer, found, strict=True):
        blocks[gate] += np.outer(column, np.maximum(a, 0))
        blocks[len(gates) + gate] += np.outer(column, np.maximum(-a, 0))
    return like(blocks, features)


def places(
    source: SubNetworks, columns: Floats, edges: list[Floats], gates: Gates, x: Floats
) -> list[int]:
    """Return a gate with the signs of every sub-network and a closed cone that holds it."""
    rows, (_, signs) = cone_rows(source, gates, x), source.layers(gates.masks)
    slack = _CLOSE * np.linalg.norm(rows, axis=2)
    alive = layers_above(np.linalg.norm(columns, axis=2), source.fan_in)
    found = []
    for j, column in enumerate(columns):
        holds = np.ones(len(gates), dtype=np.bool_)
        for weights, sign, some in zip(edges, signs, alive, strict=True):
            holds &= ((weights[j] * sign > 0) | (some[j] == 0)).all(axis=1)
        size = float(np.linalg.norm(column))
        holds &= (rows @ column.ravel() >= -slack * size).all(axis=1)
        if not holds.any():
            raise ValueError(
                f"the activation pattern of neuron {j} is not among the {len(gates)} gates "
                "given; take the gates from the network, or enumerate them"
            )
        found.append(int(holds.argmax()))
    return found
