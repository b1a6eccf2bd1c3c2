"""Sub-networks as gates: the bits of every unit of a small network, nested layer in layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from cvxnn.arrays import Array, namespace, to_numpy
from cvxnn.gates.base import BLOCK_BYTES, Floats, Gates, Masks, distinct, host_features
from cvxnn.gates.borders import ROUNDING
from cvxnn.gates.filters import PatchGates
from cvxnn.gates.nested import nested_cells, placed_cells

FanIn = tuple[int, ...]
"""How many units of its own every unit of the second hidden layer sums, of the third, ..."""


def units(fan_in: FanIn) -> tuple[int, ...]:
    """Return how many units each hidden layer of a sub-network has, the first layer first.

    >>> units((3, 2))
    (6, 2, 1)
    """
    return tuple(math.prod(fan_in[layer:]) for layer in range(len(fan_in) + 1))


def edges_of(weights: Array, fan_in: FanIn) -> list[Array]:
    """Return weights (m, e) between hidden layers as one array (m, units) for every lower layer."""
    ends = np.cumsum((0, *units(fan_in)[:-1])).tolist()
    return [weights[:, first:last] for first, last in pairwise(ends)]


def activations_of(first: Array, edges: Sequence[Array], fan_in: FanIn) -> list[Array]:
    """Return what enters the ReLUs of every layer, (n, m, units), from that of the first."""
    xp, found = namespace(first), [first]
    for weights, fan in zip(edges, fan_in, strict=True):
        sent = xp.maximum(found[-1], xp.zeros_like(found[-1])) * weights
        n, m, count = sent.shape
        found.append(xp.sum(xp.reshape(sent, (n, m, count // fan, fan)), axis=3))
    return found


def along_paths(layers: Sequence[Array]) -> Array:
    """Return the product of values (..., units), layer after layer, along every path."""
    xp, total = namespace(*layers), layers[0]
    for each in layers[1:]:
        total = total * xp.repeat(each, total.shape[-1] // each.shape[-1], axis=-1)
    return total


def packed(inner: Floats, edges: Sequence[Floats]) -> Floats:
    """Return generators (p, paths, d + layers): a path's first weights, then those it goes by."""
    paths = inner.shape[1]
    columns = [np.repeat(each, paths // each.shape[1], axis=1)[..., None] for each in edges]
    return np.concatenate([inner, *columns], axis=2)


def unpacked(generators: Floats, fan_in: FanIn) -> tuple[Floats, list[Floats]]:
    """Return the first weights (p, paths, d) and the edges of generators, as `edges_of`."""
    counts = units(fan_in)
    width = generators.shape[2] - len(fan_in)
    edges = [
        generators[:, :: counts[0] // count, width + layer]
        for layer, count in enumerate(counts[:-1])
    ]
    return generators[:, :, :width], edges


def first_inputs(features: Array, inner: Array, views: int = 1) -> Array:
    """Return x'u of every path, (n, m, paths), for weights (m, paths, d).

    Features are (n, d), or (n * views, d) where every path sees a row of a sample of its own; one
    weight vector of a sub-network, (m, 1, d), is then that of all its paths.
    """
    xp, (m, paths, d) = namespace(features), inner.shape
    n = features.shape[0] // views
    if views == 1 or paths == 1:
        products = features @ xp.reshape(inner, (m * paths, d)).T
        if views == 1:
            return xp.reshape(products, (n, m, paths))
        return xp.permute_dims(xp.reshape(products, (n, views, m)), (0, 2, 1))
    rows = xp.permute_dims(xp.reshape(features, (n, views, d)), (1, 0, 2))
    return xp.permute_dims(xp.matmul(rows, xp.permute_dims(inner, (1, 2, 0))), (1, 2, 0))


def gate_inputs(features: Array, inner: Array, views: int = 1) -> Array:
    """Return what `first_inputs` does, of patches with 0 for products within rounding.

    Else patterns on constant patches would hang on the order of a sum.
    """
    first = first_inputs(features, inner, views)
    if views == 1:
        return first
    largest = first_inputs(abs(features), abs(inner), views)
    xp = namespace(first)
    return xp.where(abs(first) > ROUNDING * largest, first, xp.zeros_like(first))


def bits_of(features: Array, generators: Floats, fan_in: FanIn, views: int = 1) -> list[Masks]:
    """Return which units are open on features, as `first_inputs`: (n, p, units) a layer."""
    inner, edges = unpacked(generators, fan_in)
    samples = max(1, BLOCK_BYTES // (24 * max(1, inner.shape[0] * inner.shape[1])))
    parts = []
    for start in range(0, max(1, features.shape[0]), samples * views):
        block = to_numpy(features[start : start + samples * views]).astype(np.float64, copy=False)
        first = gate_inputs(block, inner, views)
        parts.append([each >= 0 for each in activations_of(first, edges, fan_in)])
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


@dataclass(frozen=True)
class SubNetworks:
    """Gates that are sub-networks: trees in which every unit sums units of its own.

    A generator is (paths, d + layers), a path's first weights and then the weights that it goes
    by. `signed` masks (p, n, units + edges) hold the bit of every unit, first layer first, and
    then 1 for every weight between hidden layers that is positive: they choose the cones of a
    ReLU network. Others (p, n, paths) are the products of the bits along every path.

    With `patches` every path sees a patch of its own: features are (n paths, d), and first weights
    are drawn as gates of filters are; `tied` draws one filter for all paths of a sub-network.

    >>> gates = SubNetworks((2,)).draw(np.eye(2), 5, np.random.default_rng(0))
    >>> gates.generators.shape[1:], gates.masks.shape[1:]
    ((2, 3), (2, 5))
    """

    fan_in: FanIn
    signed: bool = True
    patches: PatchGates | None = None
    tied: bool = False

    searches = False

    @property
    def views(self) -> int:
        """How many rows of the features a sample has: one, or one for every path."""
        return 1 if self.patches is None else units(self.fan_in)[0]

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (units(self.fan_in)[0], width + len(self.fan_in))

    def given(self, features: Array, generators: Array) -> Gates:
        """Return the gates of these generators (p, paths, d + layers), all kept.

        Raises ValueError for another shape, none at all, and entries that are not finite.
        """
        found = to_numpy(generators).astype(np.float64)
        expected = self.shape(features.shape[1])
        if found.ndim != 3 or len(found) == 0 or found.shape[1:] != expected:
            raise ValueError(
                f"generators have shape {found.shape}; expected (p, {expected[0]}, {expected[1]}) "
                "with p >= 1: for every path of a sub-network the weights of its first unit, then "
                "the weights that it goes by"
            )
        if not np.isfinite(found).all():
            raise ValueError("generators hold NaN or infinite entries; pass finite vectors")
        return self._gates(features, found)

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the different ones that are open somewhere, of `count` Gaussian sub-networks."""
        if count < 1:
            raise ValueError(f"n_gates is {count}; draw at least one gate")
        x, counts = host_features(features), units(self.fan_in)
        inner = self._first_weights(x, count, rng)
        edges = [rng.standard_normal((len(inner), each)) for each in counts[:-1]]
        gates = self._gates(x, packed(inner, edges))
        if self._open(gates).any():
            return self.useful(gates, x)
        # a first unit or its reverse is open, and what sums positive parts of it is open too
        first = inner[:1]
        open_ = (gate_inputs(to_numpy(x).astype(np.float64), first, self.views)[:, 0] >= 0).any(0)
        first = np.where(open_.any() if self.tied else open_[None, :, None], first, -first)
        return self._gates(x, packed(first, [np.abs(each[:1]) for each in edges]))

    def _first_weights(self, x: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Return first weights (count, paths, d), or fewer different ones of shared filters."""
        paths, d = units(self.fan_in)[0], x.shape[1]
        if self.patches is None:
            return rng.standard_normal((count, paths, d))
        if self.tied:
            filters = self.patches.draw(x, count, rng).generators
            return np.repeat(filters[:, None, :], paths, axis=1)
        filters = self.patches.draw(x, count * paths, rng).generators
        return filters[rng.integers(len(filters), size=(count, paths))]

    def every(self, features: Array) -> Gates:
        """Return a sub-network for every pattern of its units, for data of a few samples.

        Raises ValueError where there are more than can be listed.
        """
        x = to_numpy(host_features(features)).astype(np.float64)
        if self.patches is None:
            points, signs = nested_cells(x, self.fan_in)
        else:
            points, signs = placed_cells(x.reshape(-1, self.views, x.shape[1]), self.tied)
        edges = edges_of(signs, self.fan_in)
        inner = points.reshape(len(points), -1, x.shape[1]) * along_edges(edges)[:, :, None]
        return self.useful(self._gates(x, packed(inner, edges)), x)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return those of different patterns that are open on some sample; all if none is."""
        kept = gates.take(np.flatnonzero(self._open(gates)))
        return distinct(kept) if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return signed masks with the units that one unit sums in an order of their patterns."""
        return np.array([self._sorted(one) for one in masks]).reshape(masks.shape)

    def _sorted(self, mask: Masks) -> Masks:
        """Return one signed mask (n, units + edges) in that order."""
        if not self.signed or self.patches is not None:  # patches have places, and an order
            return mask
        bits, signs = self.layers(mask[None])
        known = [(unit.tobytes(), [path]) for path, unit in enumerate(bits[0][0].T)]
        for layer, fan in enumerate(self.fan_in):
            marks = [b"+" if sign > 0 else b"-" for sign in signs[layer][0]]
            below = [(mark + key, paths) for mark, (key, paths) in zip(marks, known, strict=True)]
            groups = [sorted(below[k : k + fan]) for k in range(0, len(below), fan)]
            known = [
                (
                    b"".join([unit.tobytes(), *(key for key, _ in group)]),
                    list(chain.from_iterable(paths for _, paths in group)),
                )
                for unit, group in zip(bits[layer + 1][0].T, groups, strict=True)
            ]
        order = np.array(known[0][1])
        places, start = [], 0
        for count in (*units(self.fan_in), *units(self.fan_in)[:-1]):
            step = len(order) // count
            places.append(start + order[::step] // step)
            start += count
        return mask[:, np.concatenate(places)]

    def layers(self, masks: Masks) -> tuple[list[Masks], list[Floats]]:
        """Return the bits (p, n, units) of every layer and the signs (p, units) of signed masks."""
        counts = units(self.fan_in)
        ends = np.cumsum((0, *counts)).tolist()
        bits = [masks[:, :, a:b] for a, b in pairwise(ends)]
        return bits, edges_of(2.0 * masks[:, 0, ends[-1] :] - 1.0, self.fan_in)

    def products(self, masks: Masks) -> Masks:
        """Return the products of the bits along every path, (p, n, paths)."""
        return np.asarray(along_paths(self.layers(masks)[0]) if self.signed else masks)

    def _gates(self, features: Array, generators: Floats) -> Gates:
        bits = bits_of(features, generators, self.fan_in, self.views)
        if not self.signed:
            return Gates(generators, np.ascontiguousarray(along_paths(bits).transpose(1, 0, 2)))
        _, edges = unpacked(generators, self.fan_in)
        positive = np.concatenate(edges, axis=1) > 0
        constant = np.broadcast_to(
            positive[:, None, :], (len(generators), len(bits[0]), positive.shape[1])
        )
        turned = [each.transpose(1, 0, 2) for each in bits]
        return Gates(generators, np.concatenate([*turned, constant], axis=2))

    def _open(self, gates: Gates) -> Masks:
        return np.asarray(self.products(gates.masks).any(axis=(1, 2)))


def along_edges(edges: Sequence[Floats]) -> Floats:
    """Return the product of the weights (m, units) that every path goes by, (m, paths)."""
    return np.asarray(along_paths(edges))
