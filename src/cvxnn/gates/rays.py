"""Every cell of an arrangement, from the rays where its hyperplanes meet."""

import math
from collections.abc import Iterator
from itertools import chain, combinations, islice

import numpy as np
from numpy.typing import NDArray

from cvxnn.gates.arrangement import TOLERANCE
from cvxnn.gates.base import BLOCK_BYTES, Floats, Masks, pattern_keys, patterns_of


def incidences(count: int, rank: int) -> int:
    """Return how many (ray, cell) pairs general position has, up to sign: the work to be done."""
    return math.comb(count, rank - 1) << (rank - 1)


def half_cells(normals: Floats) -> tuple[Masks, Floats]:
    """Return the cells on the positive side of the first hyperplane, with a point inside each.

    Unit `normals` (q, r), pairwise not parallel and of rank r >= 1, give sides (p / 2, q) and
    points (p / 2, r); the other cells are the mirror images. A cell is the cone of its extreme
    rays, and those are lines in which r - 1 independent hyperplanes meet, so every cell is next
    to a ray and the sum of its unit rays is inside it.
    """
    count, rank = normals.shape
    if rank == 1:
        return np.ones((1, 1), dtype=np.bool_), normals
    keys, signs, rays, repeats = [], [], [], []
    for star, ray in _stars(normals):
        front = star[:, :, :1]
        keys.append(pattern_keys((star == front).reshape(-1, count)))
        signs.append(np.where(front, 1, -1).astype(np.int8).ravel())
        rays.append(ray)
        repeats.append(np.full(len(ray), star.shape[1]))
    unique, cell = np.unique(np.concatenate(keys), return_inverse=True)
    sign, repeat = np.concatenate(signs), np.concatenate(repeats)
    columns = (sign * np.repeat(column, repeat) for column in np.concatenate(rays).T)
    sums = [np.bincount(cell, weights=column) for column in columns]
    return patterns_of(unique, count), np.column_stack(sums)


def _stars(normals: Floats) -> Iterator[tuple[Masks, Floats]]:
    """Yield rays (s, r), each line once in one direction, and the cells around them (s, k, q).

    A hyperplane off the ray has the ray on one side. Those through it cut its surroundings into
    cells of their own: 2^(r - 1), one for every choice of sides, when there are just r - 1 of them,
    and else those of an arrangement of rank r - 1.
    """
    rank = normals.shape[1]
    choices = (np.arange(2 ** (rank - 1))[:, None] >> np.arange(rank - 1)) % 2 == 1
    seen: set[bytes] = set()
    for subsets, rays in _meeting(normals):
        products = rays @ normals.T
        through = np.abs(products) <= TOLERANCE
        simple = np.sum(through, axis=1) == rank - 1
        if simple.any():
            star = np.repeat(products[simple, None, :] > 0, len(choices), axis=1)
            index = np.broadcast_to(subsets[simple, None, :], (len(star), *choices.shape))
            np.put_along_axis(star, index, choices[None], axis=2)
            yield star, rays[simple]
        for i in np.flatnonzero(~simple):
            key = np.packbits(through[i]).tobytes()
            if key not in seen:
                seen.add(key)
                around = _cells_around(rays[i], normals[through[i]])
                star = np.repeat(products[i, None, :] > 0, len(around), axis=0)
                star[:, through[i]] = around
                yield star[None], rays[i : i + 1]


def _meeting(normals: Floats) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Yield every independent (r - 1)-subset of the hyperplanes and the unit ray they meet in."""
    count, rank = normals.shape
    chunk = max(1, BLOCK_BYTES // (count * max(8, 2 ** (rank - 1))))
    remaining = combinations(range(count), rank - 1)
    while block := list(islice(remaining, chunk)):
        subsets = np.fromiter(chain.from_iterable(block), np.intp).reshape(-1, rank - 1)
        _, values, right = np.linalg.svd(normals[subsets])
        independent = values[:, -1] > TOLERANCE
        yield subsets[independent], right[independent, -1]


def _cells_around(ray: Floats, normals: Floats) -> Masks:
    """Return the cells (k, m) that hyperplanes through `ray`, with `normals` (m, r), make."""
    across = np.linalg.qr(ray[:, None], mode="complete")[0][:, 1:]
    flat = normals @ across
    half, _ = half_cells(flat / np.linalg.norm(flat, axis=1, keepdims=True))
    return np.concatenate([half, ~half])
