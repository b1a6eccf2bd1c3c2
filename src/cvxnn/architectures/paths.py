"""Weights of sub-networks along their paths: what they weigh, and how a product is shared out."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import AXES
from cvxnn.architectures.shared import mean_of
from cvxnn.arrays import to_numpy
from cvxnn.gates.base import Floats
from cvxnn.gates.subnetworks import FanIn, along_edges, edges_of, units

SHAPES = {
    **AXES,
    "weights_in": ("neurons", "paths", "width"),
    "weights_hidden": ("neurons", "edges"),
    "fan_in": ("layers",),
    "layered": ("one",),
}
"""The axes of the networks of sub-networks."""


_FREE = ("intercept", "skip")


class Shared(NamedTuple):
    """Weights of sub-networks before their signs: those of the output are the roots."""

    inner: Floats
    """(m, paths, d)."""
    edges: list[Floats]
    """(m, units) for every hidden layer but the last."""
    roots: Floats
    """(m, 1)."""


def checked(fan_in: Any) -> FanIn:
    """Return the numbers of units that are summed; ValueError unless they are positive integers."""
    given = tuple(fan_in) if isinstance(fan_in, tuple | list) else ()
    whole = [isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1 for k in given]
    if not given or not all(whole):
        raise ValueError(
            f"fan_in is {fan_in!r}; expected a tuple of positive integers, (2,) for three layers: "
            "how many units of its own each unit of the second hidden layer sums, of the third, ..."
        )
    return tuple(int(k) for k in given)


def fan_of(network: Any) -> FanIn:
    """Return the fan-in of a network."""
    return tuple(int(k) for k in to_numpy(network.fan_in))


def layered(network: Any) -> bool:
    """Tell whether weight decay counts the layers of a network, not its paths."""
    return bool(to_numpy(network.layered)[0])


def lengths(network: Any) -> NDArray[Any]:
    """Return what weight decay counts of every sub-network before its output, (m,)."""
    inner, hidden = to_numpy(network.weights_in), to_numpy(network.weights_hidden)
    edges = edges_of(hidden, fan_of(network))
    if layered(network):
        sizes = [np.linalg.norm(each, axis=1) for each in edges]
        return np.asarray(np.prod([np.linalg.norm(inner, axis=(1, 2)), *sizes], axis=0))
    return np.asarray(np.linalg.norm(np.linalg.norm(inner, axis=2) * along_edges(edges), axis=1))


def products(network: Any) -> NDArray[Any]:
    """Return what every path of a network does to its input, before the output: (m, paths, d)."""
    edges = edges_of(to_numpy(network.weights_hidden), fan_of(network))
    return np.asarray(to_numpy(network.weights_in) * along_edges(edges)[:, :, None])


def shared(columns: Floats, fan_in: FanIn, by_layers: bool) -> Shared:
    """Return the weights whose products along paths, with those of the output, are `columns`.

    `columns` is (m, paths, d). By paths every unit's weights have a norm of one, and those into
    the last hidden unit and out of it are balanced: the decay is |columns|. By layers the product
    of the layers' Frobenius norms is least, and all but the last two norms are one. With
    v = |column|^2 of a first unit and v = sum of v^(l / (l + 1)) over the units that one of layer
    l + 1 sums, the least product of H hidden layers and the output is v^(H / 2) at the last unit.
    """
    sizes = np.linalg.norm(columns, axis=2)
    edges, total = _by_layers(sizes, fan_in) if by_layers else _by_paths(sizes, fan_in)
    roots = np.sqrt(total)[:, None]
    edges[-1] = edges[-1] * roots
    passed = along_edges(edges) * roots
    inner = columns * _inverse(passed)[:, :, None]
    return Shared(inner, edges, roots)


def rank_one_parts(matrices: Floats) -> tuple[tuple[Any, ...], tuple[Floats, Floats, Floats]]:
    """Return where C (p, c, h, K) have singular values, as (block, output, rank), and their parts.

    Those are u (m, h), w (m, K) and the values (m,).
    """
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    place = np.nonzero(values > 1e-12 * values.max(initial=0.0))
    return place, (left.swapaxes(2, 3)[place], right[place], values[place])


def one_filter(u: Floats, w: Floats, sizes: Floats) -> dict[str, Floats]:
    """Return balanced weights of sub-networks size * u w' with one filter for all places.

    `u` is (m, h), `w` is (m, K), not zero; the output weights are (m, 1), before their signs.
    """
    lengths_u, lengths_w = (np.linalg.norm(x, axis=1, keepdims=True) for x in (u, w))
    roots = np.sqrt(sizes[:, None] * lengths_u * lengths_w)
    return {
        "weights_in": (u / lengths_u)[:, None, :],
        "weights_hidden": w / lengths_w * roots,
        "weights_out": roots,
    }


def sizes_of(flat: Floats, paths: int) -> Floats:
    """Return the norms (m, paths) of the columns of sub-networks, (m, paths d)."""
    return np.asarray(
        np.linalg.norm(flat.reshape(len(flat), paths, flat.shape[1] // paths), axis=2)
    )


def layers_above(values: Floats, fan_in: FanIn) -> list[Floats]:
    """Return (m, units) for every layer but the last: 1 where a path from below is not zero.

    `values` (m, paths) are those of the first units.
    """
    m, paths = values.shape
    shapes = [(m, count, paths // count) for count in units(fan_in)[:-1]]
    return [values.reshape(each).any(axis=2).astype(float) for each in shapes]


def _sums(values: Floats, fan: int) -> Floats:
    return np.asarray(values.reshape(len(values), values.shape[1] // fan, fan).sum(axis=2))


def _by_paths(sizes: Floats, fan_in: FanIn) -> tuple[list[Floats], Floats]:
    peak = sizes.max(axis=1, initial=0.0, keepdims=True)
    below, edges = sizes * _inverse(peak), []  # squares that neither over- nor underflow
    for fan in fan_in:
        above = np.sqrt(_sums(below**2, fan))
        edges.append(below * np.repeat(_inverse(above), fan, axis=1))
        below = above
    return edges, (below * peak)[:, 0]


def _by_layers(sizes: Floats, fan_in: FanIn) -> tuple[list[Floats], Floats]:
    peak = sizes.max(axis=1, initial=0.0, keepdims=True)
    values = [(sizes * _inverse(peak)) ** 2]
    for layer, fan in enumerate(fan_in, 1):
        values.append(_sums(values[-1] ** (layer / (layer + 1)), fan))
    edges: list[Floats] = []
    above = np.ones_like(values[-1])
    for layer in range(len(fan_in), 0, -1):  # the product of the weights above shares out a layer
        above, fan = np.repeat(above, fan_in[layer - 1], axis=1), layer + 1
        squares = values[layer - 1] ** (layer / fan) * _inverse(above) ** (2 / fan)
        weights = np.sqrt(squares * _inverse(squares.sum(axis=1, keepdims=True)))
        edges.insert(0, weights)
        above = above * weights
    depth = len(fan_in) + 1
    return edges, values[-1][:, 0] ** (depth / 2) * peak[:, 0]


def _inverse(x: Floats) -> Floats:
    """Return 1 / x, and 0 where x is 0."""
    return np.where(x > 0, 1 / np.where(x > 0, x, 1.0), 0.0)


def averaged(networks: Any) -> dict[str, Any]:
    """Return the parameters of the network of all sub-networks, each with its share."""
    root = len(networks) ** -0.5
    first, shares = networks[0], {"weights_in": root, "weights_out": root}
    together = {
        name: shares.get(name, 1.0)
        * np.concatenate([to_numpy(each.parameters()[name]) for each in networks])
        for name, axes in first.parameters().items()
        if name not in ("fan_in", "layered", "intercept", "skip")
    }
    shapes = {
        name: to_numpy(first.parameters()[name])
        for name in ("fan_in", "layered")
        if name in first.parameters()
    }
    free = {name: mean_of([getattr(each, name) for each in networks]) for name in _FREE}
    return together | shapes | free


def counts(fan_in: FanIn) -> tuple[int, int, int]:
    """Return how many paths, units and weights between hidden layers a sub-network has."""
    every = units(fan_in)
    return every[0], sum(every), sum(every[:-1])
