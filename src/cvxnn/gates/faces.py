"""Gates of neurons that jump: patterns that only the border of a half-space has count too."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np

from cvxnn.arrays import Array, to_numpy
from cvxnn.gates.arrangement import Arrangement, arrange, interior
from cvxnn.gates.base import Floats, Gates, Masks, distinct, host_features, pattern_keys
from cvxnn.gates.borders import reached_masks
from cvxnn.gates.enumerate import cover_count, enumerate_patterns
from cvxnn.gates.planes import RANK
from cvxnn.gates.sample import gaussian
from cvxnn.gates.search import MOST_CIRCLES, Search
from cvxnn.gates.trained import from_generators

NEAR = 1e-10
"""Unit normals whose part inside a flat is shorter contain the flat."""

MOST_FLATS = 100_000
"""Intersections of hyperplanes that are searched at most."""

LISTED, LISTED_FLATS = 20_000, 2000
"""Patterns, and intersections of hyperplanes, up to which a search lists them all."""

_MOST_ROWS = 5000
"""Samples up to which a search looks whether few patterns, or all, can be had."""


@dataclass(frozen=True)
class Faces:
    """The gates of threshold neurons: every face of the arrangement counts [Ergen2023].

    `both` is for neurons of two signs: opposite patterns are one up to the sign of a weight, and
    the gate that is closed on every sample is not silent.

    >>> X = np.array([[1.0], [-1.0], [2.0]])
    >>> sorted(Faces().every(X).masks.astype(int).tolist())
    [[0, 1, 0], [1, 0, 1], [1, 1, 1]]
    """

    both: bool = False

    searches = True

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def search(self, features: Array) -> Search:
        """Return the search for the patterns that a dual point asks for."""
        x = np.asarray(to_numpy(host_features(features)), dtype=np.float64)
        count, rank = len(x), np.linalg.matrix_rank(x) if len(x) <= _MOST_ROWS else len(x)
        few = cover_count(count, int(rank)) <= LISTED or rank <= RANK or rank == count
        if count > _MOST_ROWS or not few or not x.any():
            return Search(x, self.both)
        arrangement = arrange(x)
        count, rank = arrangement.normals.shape
        open_ = not _is_closed(arrangement, np.ones(count, dtype=np.bool_))
        flats = 0 if open_ else sum(comb(count, k) for k in range(1, rank))
        # on distinct hyperplanes, every sample on one of its own, all 0/1 columns are patterns
        shattered = rank == count == len(x)
        if cover_count(count, rank) <= LISTED and flats <= LISTED_FLATS:
            return Search(x, self.both, every=self.every(x), shattered=shattered)
        if open_ and rank <= RANK and count <= MOST_CIRCLES:
            return Search(x, self.both, planes=arrangement)
        return Search(x, self.both, shattered=shattered)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per row of `generators` (p, d), all kept, in order."""
        plain = from_generators(features, generators)
        x = to_numpy(host_features(features))
        return Gates(plain.generators, reached_masks(plain.generators, x))

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the distinct ones of `count` Gaussian gates."""
        return self.given(features, gaussian(features, count, rng).generators)

    def every(self, features: Array) -> Gates:
        """Return a gate for every pattern 1[X u >= 0], those of boundary u included.

        Where some half-space holds every sample inside, as with a bias, a push along it gives every
        pattern an open set, and the cells are all. Else the cells of every intersection of
        hyperplanes are looked up too, about C(n, r - 1) of them in rank r. Patterns that a turn of
        1e-9 destroys may be left out.

        Raises ValueError where there are too many hyperplanes to search, or where rounding hides
        which samples lie on one.
        """
        x = host_features(features).astype(np.float64)
        arrangement = arrange(x)
        border = _on_borders(x, arrangement)
        cells = enumerate_patterns(x)
        inside = (reached_masks(cells.generators, x) == cells.masks).all(axis=1)
        cells = cells.take(inside)
        return self.useful(
            Gates(
                np.concatenate([cells.generators, border.generators]),
                np.concatenate([cells.masks, border.masks]),
            ),
            features,
        )

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is.

        Of opposite patterns `both` keeps one, and the closed gate if the open one is not there.
        """
        if self.both:
            _, first = np.unique(pattern_keys(self.canonical(gates.masks)), return_index=True)
            return gates.take(np.sort(first))
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks, for `both` those that hold the first sample or their opposites."""
        return masks == masks[:, :1] if self.both else masks


def _on_borders(rows: Floats, arrangement: Arrangement) -> Gates:
    """Return the patterns that no open set of u has, with a generator each."""
    count, rank = arrangement.normals.shape
    none = Gates(np.zeros((0, rows.shape[1])), np.zeros((0, len(rows)), dtype=np.bool_))
    if not _is_closed(arrangement, np.ones(count, dtype=np.bool_)):
        return none
    flats = sum(comb(count, k) for k in range(1, rank))
    if flats > MOST_FLATS:
        raise ValueError(
            f"{count} distinct hyperplanes of rank {rank} meet in up to {flats:,} flats and "
            f"{MOST_FLATS:,} are searched; pass bias=True, with which no pattern needs a border, "
            'or gates="sample"'
        )
    flats_met = (flat for flat in _flats(arrangement.normals) if _is_closed(arrangement, flat[1]))
    gates = [_in_flat(arrangement, rows, *flat) for flat in flats_met]
    return Gates(
        np.concatenate([none.generators, *(gate.generators for gate in gates)]),
        np.concatenate([none.masks, *(gate.masks for gate in gates)]),
    )


def _flats(normals: Floats) -> Iterator[tuple[Floats, Masks]]:
    """Yield an orthonormal basis (r, k), k < r, of every intersection, and who contains it (q,)."""
    count, rank = normals.shape
    level = [(np.eye(rank), np.zeros(count, dtype=np.bool_))]
    for _ in range(rank):
        seen: dict[bytes, tuple[Floats, Masks]] = {}
        for basis, through in level:
            inside = normals @ basis
            done = through.copy()
            for first in range(count):
                if done[first]:
                    continue
                narrower = basis @ _across(inside[first])
                holds = np.linalg.norm(normals @ narrower, axis=1) <= NEAR
                holds |= through
                holds[first] = True
                done |= holds
                seen.setdefault(np.packbits(holds).tobytes(), (narrower, holds))
        level = list(seen.values())
        yield from level


def _across(vector: Floats) -> Floats:
    """Return an orthonormal basis (k, k - 1) of what is orthogonal to a vector (k,)."""
    return np.asarray(np.linalg.qr(vector[:, None], mode="complete")[0][:, 1:])


def _is_closed(arrangement: Arrangement, through: Masks) -> bool:
    """Tell whether no push brings every sample of a flat inside: else its patterns are cells'."""
    known = arrangement.owner >= 0
    known[known] = through[arrangement.owner[known]]
    normals = arrangement.normals[arrangement.owner[known]]
    inward = np.where(arrangement.along[known, None], normals, -normals)
    return len(inward) > 0 and interior(inward) is None


def _in_flat(arrangement: Arrangement, rows: Floats, basis: Floats, through: Masks) -> Gates:
    """Return the patterns of the generic points of a flat, each with a generator on it."""
    inside = np.where(through[:, None], 0.0, arrangement.normals @ basis)
    cells = enumerate_patterns(inside)
    points = (cells.generators @ basis.T) @ arrangement.lift.T
    sides = np.where(through, 0, np.where(cells.masks, 1, -1))
    signs = np.where(arrangement.along, 1, -1) * sides[:, arrangement.owner]
    signs[:, arrangement.owner < 0] = 0
    generators = np.array(
        [_onto(rows[sign == 0], point) for sign, point in zip(signs, points, strict=True)]
    )
    if not np.array_equal(reached_masks(generators, rows), signs >= 0):
        raise ValueError(
            f"rounding hides which of the {len(rows)} samples lie on a common hyperplane; pass "
            'bias=True, with which no pattern needs a border, or gates="sample"'
        )
    return Gates(generators, signs >= 0)


def _onto(rows: Floats, point: Floats) -> Floats:
    """Return the unit vector nearest to a point (d,) among those orthogonal to some rows (k, d)."""
    size = np.linalg.norm(point)
    if size == 0:
        return point
    point = point / size
    if len(rows):
        units = rows[rows.any(axis=1)]
        units = units / np.linalg.norm(units, axis=1, keepdims=True) if len(units) else units
        for _ in range(2):  # twice, so that rounding leaves nothing
            point = point - np.linalg.lstsq(units, units @ point)[0] if len(units) else point
    cleaned: Floats = np.where(np.abs(point) <= 1e-15, 0.0, point)
    return cleaned
