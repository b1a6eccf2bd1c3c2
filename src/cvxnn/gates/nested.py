"""Every pattern of small sub-networks: cells inside the cells of the layer below."""

import math
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from cvxnn.gates.arrangement import interior
from cvxnn.gates.base import Floats
from cvxnn.gates.enumerate import enumerate_patterns

MOST = 20_000
"""Sub-networks beyond which their cells are not searched."""
_ROOM = 1e-6
"""A unit point this far from a hyperplane is on its own side of it beyond doubt."""


Side = tuple[Floats, Floats, list[bool]]
"""Faces of a cell, a unit point inside, and on which side of each face it is."""


class Cell(NamedTuple):
    """A pattern of a unit and of all units below it, in the coordinates of its paths."""

    rows: Floats
    """Unit normals (k, s) of its cone."""
    output: Floats
    """(n, s): what the unit puts out, a linear map inside the cone."""
    point: Floats
    """(s,), inside the cone."""
    signs: tuple[Floats, ...]
    """The signs of the weights between hidden layers, layer by layer."""


def nested_cells(features: Floats, fan_in: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return points (p, paths * d) inside the cones of all patterns, and signs (p, edges).

    A path's coordinates are the product of its weights, signs included. Between the layers every
    unit sums `fan_in` units of its own, each with a sign; two orders of one sum count once, and
    units that are closed on every sample are left out: they add nothing. On samples that are all
    zero there is one pattern, open everywhere.

    Raises ValueError where there are more than can be listed.
    """
    if not features.any():
        return _open_everywhere(features.shape[1], fan_in)
    gates = enumerate_patterns(features)
    kept = gates.masks.any(axis=1)
    cells = [
        _first(features, mask, point)
        for mask, point in zip(gates.masks[kept], gates.generators[kept], strict=True)
    ]
    for fan in fan_in:
        _require_few(math.comb(2 * len(cells) + fan - 1, fan), fan)
        signed = [(cell, sign) for cell in cells for sign in (1.0, -1.0)]
        sums = combinations_with_replacement(signed, fan)
        cells = [cell for each in sums for cell in _sums(list(each))]
    points = np.array([cell.point for cell in cells])
    signs = np.array([np.concatenate(cell.signs) for cell in cells])
    return points.reshape(len(cells), -1), signs.reshape(len(cells), -1)


def placed_cells(features: Floats, tied: bool) -> tuple[Floats, Floats]:
    """Return what `nested_cells` does for three layers whose paths see their own rows (n, k, d).

    `tied` lists the patterns of first units that one filter has on all rows, else all combinations.
    Above them are the patterns that free columns of the paths have, more than a filter and its
    weights have: of them there is no arrangement of hyperplanes.

    Raises ValueError where there are more than can be listed.
    """
    n, paths, d = features.shape
    if not features.any():
        return _open_everywhere(d, (paths,))
    rows = [features[:, path] for path in range(paths)]
    if tied:
        cells = enumerate_patterns(features.reshape(n * paths, d))
        joint = cells.masks.reshape(-1, n, paths)
        first: list[list[list[Cell]]] = [
            [[_first(x, mask[:, k], point)] for k, x in enumerate(rows)]
            for mask, point in zip(joint, cells.generators, strict=True)
            if mask.any()
        ]
    else:
        found = [enumerate_patterns(x) for x in rows]
        first = [
            [
                [
                    _first(x, mask, point)
                    for mask, point in zip(gates.masks, gates.generators, strict=True)
                    if mask.any()
                ]
                for x, gates in zip(rows, found, strict=True)
            ]
        ]
    _require_few(sum(math.prod(2 * len(each) for each in one) for one in first), paths)
    children = [
        [(cell, sign) for cell, sign in zip(chosen, signs, strict=True)]
        for one in first
        for chosen in product(*one)
        for signs in product(*([1.0, -1.0] if c.output.any() else [1.0] for c in chosen))
    ]
    sums = [cell for each in children for cell in _sums(each)]
    points = np.array([cell.point for cell in sums]).reshape(len(sums), paths * d)
    return points, np.array([np.concatenate(cell.signs) for cell in sums]).reshape(-1, paths)


def _open_everywhere(d: int, fan_in: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the one pattern of samples that are zero: all units are open."""
    edges = sum(math.prod(fan_in[layer:]) for layer in range(len(fan_in)))
    return np.ones((1, math.prod(fan_in) * d)), np.ones((1, edges))


def _first(features: Floats, mask: NDArray[np.bool_], point: Floats) -> Cell:
    return _cell(np.zeros((0, features.shape[1])), features, mask, point, ())


def _require_few(count: int, fan: int) -> None:
    """Raise ValueError for more sums than are searched."""
    if count > MOST:
        raise ValueError(
            f"there are {count:,} sums of {fan} signed units before their own patterns are "
            f"counted, and at most {MOST:,} are searched; use gates='sample', or fewer samples"
        )


def _cell(
    rows: Floats, values: Floats, mask: NDArray[np.bool_], point: Floats, signs: tuple[Floats, ...]
) -> Cell:
    """Return the cell of a unit that takes `values` (n, s) and is open where the mask is."""
    mine = np.where(mask[:, None], values, -values)
    lengths = np.linalg.norm(mine, axis=1)
    mine = mine[lengths > 0] / lengths[lengths > 0, None]
    return Cell(np.concatenate([rows, mine]), mask[:, None] * values, point, signs)


def _sums(children: list[tuple[Cell, float]]) -> list[Cell]:
    """Return the cells of a unit that sums signed units, each with paths of its own."""
    rows = block_diag(*(sign * cell.rows for cell, sign in children))
    values = np.concatenate([cell.output for cell, _ in children], axis=1)
    point = np.concatenate([sign * cell.point for cell, sign in children])
    below = zip(*(cell.signs for cell, _ in children), strict=True)
    signs = (*(np.concatenate(layer) for layer in below), np.array([sign for _, sign in children]))
    lengths = np.linalg.norm(values, axis=1)
    alive = lengths > 1e-12 * lengths.max(initial=0.0)
    units = values[alive] / lengths[alive, None]
    found: list[Side] = [(np.zeros((0, len(point))), point / np.linalg.norm(point), [])]
    for normal in units:
        found = [each for one in found for each in _halves(rows, *one, normal)]
    cells = []
    for _, inside, bits in found:
        mask = np.ones(len(values), dtype=np.bool_)
        mask[alive] = bits
        if mask[alive].any():
            cells.append(_cell(rows, np.where(alive[:, None], values, 0.0), mask, inside, signs))
    return cells


def _halves(
    rows: Floats, faces: Floats, point: Floats, bits: list[bool], normal: Floats
) -> list[Side]:
    """Return the parts of a cell on the two sides of a hyperplane."""
    found: list[Side] = []
    for bit, inward in ((True, normal), (False, -normal)):
        there = np.concatenate([faces, inward[None]])
        inside = point if point @ inward > _ROOM else interior(np.concatenate([rows, there]))
        if inside is not None:
            found.append((there, inside, [*bits, bit]))
    return found
