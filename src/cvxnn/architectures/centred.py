"""Patterns in coordinates in which the centred outputs of their neurons are orthonormal."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import Array, double, to_numpy
from cvxnn.gates import Gates, HalfSpaces, distinct
from cvxnn.gates.arrangement import interior
from cvxnn.gates.base import Floats, Masks

_RANK = 1e-9
"""Singular values below this share of the largest are rounding."""
_HELD = 1e-7
"""How far a gate may be from holding a neuron, relatively."""


@dataclass(frozen=True)
class Free:
    """Half-spaces in which no norm-free part of a neuron stands in the way of another.

    A change of w that moves no centred output, (X z)_+ being constant on the pattern, costs
    nothing. Gates are useful where there is none, or one that puts every row that it moves on its
    side: then those rows are no constraint. With all patterns every gate is used, for such a part
    of a neuron can be moved until another pattern holds it.
    """

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return the gates of these generators, all kept, in order."""
        return HalfSpaces().given(features, generators)

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the useful ones of `count` Gaussian gates; ValueError if none is in many more."""
        for more in (1, 4, 16, 64):
            found = self.useful(HalfSpaces().draw(features, more * count, rng), features)
            if len(found):
                return found.take(slice(count))
        raise ValueError(
            f"none of {64 * count} Gaussian gates leaves every neuron free on these "
            f'{features.shape[0]} samples; pass bias=True, or gates="enumerate"'
        )

    def every(self, features: Array) -> Gates:
        """Return the cells of the arrangement that are open on some sample."""
        return HalfSpaces().every(features)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that leave neurons free; there may be none."""
        kept, rows = distinct(gates), balanced(features)
        free = [pattern_of(rows, mask).free for mask in kept.masks]
        return kept.take(np.array(free, dtype=np.bool_))

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks


class Rows(NamedTuple):
    """Data in an orthonormal basis of their column space: features W = basis."""

    basis: Floats
    """(n, r)."""
    weights: Floats
    """W, (d, r)."""
    shares: Floats
    """(n, 1): of samples in statistics, with mean one."""


class Pattern(NamedTuple):
    """A pattern's neurons in coordinates in which their centred outputs are orthonormal."""

    outputs: Floats
    """U, (n, r), with zero columns below the rank; orthonormal with the shares between."""
    weights: Floats
    """V S^-1, (r, r): from coordinates to a neuron on the basis."""
    cone: Floats
    """(n, r), rows that are not negative on the cone; zero where the push decides."""
    push: Floats
    """(r,), a neuron on the basis that moves the rows it decides inside, and no centred output."""
    free: bool
    """Whether every row that can be moved at no cost is decided by the push."""


def balanced(features: Array, weights: Floats | None = None) -> Rows:
    """Return the data in a basis; columns are scaled first, so that their units are no rank."""
    x = to_numpy(double(features))
    peaks = np.abs(x).max(axis=0)
    scales = np.where(peaks > 0, peaks, 1.0)
    left, values, right = np.linalg.svd(x / scales, full_matrices=False)
    rank = int((values > _RANK * values.max(initial=0.0)).sum())
    shares = np.ones(len(x)) if weights is None else weights / weights.mean()
    back = right[:rank].T / values[:rank] / scales[:, None]
    return Rows(left[:, :rank], back, shares[:, None])


def pattern_of(rows: Rows, mask: Masks) -> Pattern:
    """Return the coordinates of a pattern's neurons."""
    active = rows.basis * mask[:, None]
    r = active.shape[1]
    centred = np.sqrt(rows.shares) * (active - (rows.shares * active).mean(axis=0))
    # padded to at least r rows, so that all of the right singular vectors are there
    padded = np.concatenate([centred, np.zeros((r, r))])
    left, values, right = np.linalg.svd(padded, full_matrices=False)
    kept = values > _RANK  # beside rows of norm one
    outputs = np.where(kept, left[: len(active)], 0.0) / np.sqrt(rows.shares)
    weights = np.where(kept, right.T / np.where(kept, values, 1.0), 0.0)
    signed = np.where(mask[:, None], rows.basis, -rows.basis)
    moved = signed @ right[~kept].T
    lengths = np.linalg.norm(moved, axis=1)
    movable = lengths > _RANK
    push, free = np.zeros(r), True
    if movable.any():
        inside = interior(moved[movable] / lengths[movable, None])
        free = inside is not None
        movable = movable & free
        push = push if inside is None else inside @ right[~kept]
    cone = np.where(movable[:, None], 0.0, signed @ weights)
    return Pattern(outputs, weights, cone, push, free)


def neuron_of(rows: Rows, mask: Masks, pattern: Pattern, turn: Floats) -> Floats:
    """Return the neuron (r,) on the basis of a pattern's coordinates, pushed onto its side."""
    neuron = pattern.weights @ turn
    signs = np.where(mask, 1.0, -1.0)
    rate, missing = signs * (rows.basis @ pattern.push), -signs * (rows.basis @ neuron)
    decided = ~pattern.cone.any(axis=1) & (rate > _RANK)
    needed = np.max(missing[decided] / rate[decided], initial=0.0)
    return neuron + needed * pattern.push


def place_of(rows: Rows, gates: Gates, first: int, values: Floats) -> tuple[int, Floats]:
    """Return a gate that holds a neuron of activations (n,), and its coordinates (r,) there.

    `first` is tried first. The parts of a neuron that cost nothing are none of the coordinates, so
    that a gate of the neuron's own pattern need not hold it, where another one does.
    """
    centred = values - (rows.shares * values[:, None]).mean()
    found = []
    for i in [first, *(k for k in range(len(gates)) if k != first)]:
        pattern = pattern_of(rows, gates.masks[i])
        turn = (rows.shares * pattern.outputs).T @ values
        missed = float(np.abs(pattern.outputs @ turn - centred).max())
        least = float((pattern.cone @ turn).min())
        reach = float(np.abs(pattern.cone).max()) * float(np.linalg.norm(turn))
        off = max(missed, 0.0) / (float(np.abs(centred).max()) or 1.0)
        off = max(off, -least / reach if reach > 0 else 0.0)
        found.append((off, i, turn))
        if off <= _HELD:
            break
    _, place, turn = min(found, key=lambda one: one[0])
    return place, turn
