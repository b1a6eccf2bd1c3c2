"""The half-space that a dual point wants most: half-spaces are turned on great circles.

A column d = 1[X w >= 0] is worth |d'v| to a dual point v, and 2 d - 1 is to neurons of two signs.
The maximum over all half-spaces is NP-hard in general [Ergen2023]. But on the circle of w cos t +
z sin t every sample crosses the border once in half a turn, so that a sort of the angles and
running sums give the worth of every half-space of the circle at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.gates.arrangement import TOLERANCE
from cvxnn.gates.base import Floats

APART = 1e-9
"""Angles in radians that differ by less are one."""
_CELLS = 2**21
"""Entries of the largest temporary."""
_IDLE = 10
"""Circles in turn on which fewer than one start in twenty gained a thousandth: the end."""
_OFF = 1e-4
"""How far a start is moved at random, in units of its length."""
_PIVOTS = 32
"""Samples at most that keep their side while a half-space turns about their borders."""


class Sweep(NamedTuple):
    """Half a turn on some circles: n hyperplanes are crossed, which makes n + 1 arcs.

    The arcs of the other half are those on the far sides of the same points.
    """

    ends: Floats
    """(s, n + 2), rising from 0 to pi: where arcs begin and end."""
    sums: Floats
    """(s, n + 1, c), what lies inside the half-spaces of every arc."""

    def middle(self, arc: NDArray[np.int64]) -> Floats:
        """Return the angles (s,) of the middles of one arc of every circle."""
        circle = np.arange(len(arc))
        return np.asarray((self.ends[circle, arc] + self.ends[circle, arc + 1]) / 2)

    def open(self) -> NDArray[np.bool_]:
        """Return which arcs (s, n + 1) are longer than rounding."""
        return np.asarray(np.diff(self.ends, axis=1) > APART)


def sweep(first: Floats, second: Floats, plus: Floats, minus: Floats) -> Sweep:
    """Return half a turn from products (s, n) with the two axes of every circle.

    `plus` and `minus`, (n, c) or (s, n, c), are what lies on the two sides of every hyperplane.
    """
    lead = np.arctan2(second, first) - np.pi / 2  # where the positive side is reached
    entering = (lead >= 0) | (lead < -np.pi)
    angles = np.where(lead >= 0, lead, np.where(entering, lead + 2 * np.pi, lead + np.pi))
    order, circle = np.argsort(angles, axis=1), np.arange(len(angles))[:, None]
    gain = plus - minus
    steps = gain[circle, order] if gain.ndim == 3 else gain[order]
    sums = np.empty((len(angles), angles.shape[1] + 1, steps.shape[-1]))
    sums[:, 0] = np.where(entering[..., None], minus, plus).sum(axis=1)
    np.multiply(steps, np.where(entering[circle, order], 1.0, -1.0)[..., None], out=sums[:, 1:])
    edge = np.zeros((len(angles), 1))
    ends = np.concatenate([edge, angles[circle, order], edge + np.pi], axis=1)
    return Sweep(ends, np.cumsum(sums, axis=1))


def worth(sums: Floats, total: Floats, both: bool) -> Floats:
    """Return |d'v| from the sums (..., c) inside half-spaces; of 2 d - 1 for `both` signs."""
    values = 2 * sums - total if both else sums
    if values.shape[-1] == 1:
        return np.abs(values[..., 0])
    return np.asarray(np.sqrt((values**2).sum(axis=-1)))


class Basis(NamedTuple):
    """Coordinates in which samples have unit covariance: products are left @ (inverse w)."""

    rows: Floats
    """(n, r), the samples, in units of a sample."""
    outward: Floats
    """(r, d): a vector w (r,) here is w @ outward there."""
    inward: Floats
    """(d, r)."""


def basis_of(features: Floats) -> Basis:
    """Return the basis of features (n, d), of their rank."""
    left, sizes, right = np.linalg.svd(features, full_matrices=False)
    rank = int((sizes > TOLERANCE * sizes.max(initial=0.0)).sum())
    unit = np.sqrt(len(features))
    return Basis(
        left[:, :rank] * unit,
        right[:rank] / sizes[:rank, None] / unit,
        right[:rank].T * sizes[:rank] * unit,
    )


def turned(
    features: Floats,
    dual: Floats,
    rng: np.random.Generator,
    *,
    both: bool = False,
    near: Floats | None = None,
    starts: int = 64,
    circles: int = 100,
) -> tuple[Floats, Floats]:
    """Return half-spaces (k, d) worth much to a dual point (n, c), and what each is worth, falling.

    A circle through the half-space and a random direction, or one about the borders of samples
    near it, is searched in turn; the best of the circle is where the next one starts. It ends after
    so many `circles`, or when hardly a start has improved for ten. Starts are random, on the side
    that the dual point asks for in least squares, and `near` (m, d). None is sure to be the best.

    >>> X = np.column_stack([np.arange(6.0) - 2.5, np.ones(6)])
    >>> v = np.array([[1.0], [-2.0], [1.0], [1.0], [-2.0], [1.0]])
    >>> float(turned(X, v, np.random.default_rng(0))[1][0])
    1.0
    """
    moved = features.any(axis=1)
    fixed = dual[~moved].sum(axis=0)  # a zero row is inside every half-space
    basis = basis_of(features[moved])
    rows, v = basis.rows, dual[moved]
    if rows.shape[1] == 0:
        return np.zeros((0, features.shape[1])), np.zeros(0)
    w = _starts(basis, v, rng, near, starts)
    best = worth(fixed + (rows @ w.T >= 0).T @ v, dual.sum(axis=0), both)
    idle = 0
    for turn in range(circles):
        axes = _pivots(rows, w, rng) if turn % 2 else rng.standard_normal(w.shape)
        found, values = _around(rows, v, w, axes, fixed, both)
        gains = values > best * (1 + 1e-9)
        idle = 0 if (values > best * (1 + 1e-3)).mean() > 0.05 else idle + 1
        w = np.where(gains[:, None], found, w)
        best = np.where(gains, values, best)
        if idle == _IDLE:
            break
    order = np.argsort(-best, kind="stable")
    return w[order] @ basis.outward, best[order]


def _starts(
    basis: Basis, dual: Floats, rng: np.random.Generator, near: Floats | None, starts: int
) -> Floats:
    """Return unit vectors (s, r) in the basis to turn from."""
    rank, outputs = basis.rows.shape[1], dual.shape[1]
    views = np.eye(outputs)  # of the dual point: one output is seen from one side
    if outputs > 1:
        views = np.vstack([views, rng.standard_normal((starts // 8, outputs))])
    sides = views @ dual.T
    asked = np.vstack([sides, np.sign(sides)]) @ basis.rows
    # off the borders of samples that the dual point does not see
    off = np.linalg.norm(asked, axis=1, keepdims=True) / np.sqrt(rank)
    asked = asked + _OFF * off * rng.standard_normal(asked.shape)
    own = np.zeros((0, rank)) if near is None else near @ basis.inward
    drawn = rng.standard_normal((max(starts - len(own), starts // 2), rank))
    parts = [drawn, asked, -asked, own]
    every = np.concatenate(parts)
    lengths = np.linalg.norm(every, axis=1, keepdims=True)
    return np.asarray((every / np.where(lengths > 0, lengths, 1.0))[lengths[:, 0] > 0])


def _pivots(rows: Floats, w: Floats, rng: np.random.Generator) -> Floats:
    """Return directions (s, r) along the borders of some of the samples nearest to each border."""
    rank = w.shape[1]
    count = min(rank - 2, _PIVOTS, len(rows) - 1)
    if count < 1:
        return rng.standard_normal(w.shape)
    count = int(rng.integers(1, count + 1))
    width = min(2 * count, len(rows) - 1)
    axes, step = np.empty_like(w), max(1, _CELLS // max(1, len(rows)))
    for start in range(0, len(w), step):
        some = w[start : start + step]
        nearest = np.argpartition(np.abs(some @ rows.T), width, axis=1)[:, :width]
        chosen = rng.permuted(nearest, axis=1)[:, :count]
        free = rng.standard_normal((len(some), rank, 1))
        frames = np.concatenate([np.swapaxes(rows[chosen], 1, 2), free], axis=2)
        axes[start : start + step] = np.linalg.qr(frames)[0][:, :, -1]
    return axes


def _around(
    rows: Floats, dual: Floats, w: Floats, axes: Floats, fixed: Floats, both: bool
) -> tuple[Floats, Floats]:
    """Return the best half-space (s, r) on the circle of every pair (w, axis), and its worth."""
    found, values = np.empty_like(w), np.empty(len(w))
    inside, total = dual.sum(axis=0), fixed + dual.sum(axis=0)
    step, none = max(1, _CELLS // (len(rows) * dual.shape[1])), np.zeros_like(dual)
    for start in range(0, len(w), step):
        some = slice(start, start + step)
        seen = sweep(w[some] @ rows.T, axes[some] @ rows.T, dual, none)
        angle, values[some] = best_arc(seen, fixed, inside, total, both)
        point = np.cos(angle)[:, None] * w[some] + np.sin(angle)[:, None] * axes[some]
        found[some] = point / np.linalg.norm(point, axis=1, keepdims=True)
    return found, values


def best_arc(
    seen: Sweep, fixed: Floats, whole: Floats, total: Floats, both: bool
) -> tuple[Floats, Floats]:
    """Return the angles (s,) in the middle of every circle's best arc, and its worth (s,).

    `fixed` is inside every half-space, (c,) or (s, 1, c), beside the sums; `whole` is what the
    sums of opposite arcs add up to, and `total` what is inside or outside, (c,).
    """
    kept = seen.open()
    halves = [
        np.where(kept, worth(fixed + sums, total, both), -1.0)
        for sums in (seen.sums, whole - seen.sums)
    ]
    circle, arc = np.arange(len(kept)), np.maximum(*halves).argmax(axis=1)
    here, there = (half[circle, arc] for half in halves)
    return seen.middle(arc) + np.pi * (there > here), np.maximum(here, there)
