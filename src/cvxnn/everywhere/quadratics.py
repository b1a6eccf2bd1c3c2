"""Quadratic bounds of every row's ReLU on a batch of boxes.

M(v) = max over |u| <= 1 of sum_i v_i max(0, x_i'u) is bounded over a set of u by the maximum of one
quadratic: each ReLU gives way to a quadratic of t = x_i'u that lies above it where v_i > 0, and
below it where v_i < 0, over the range that t has there.
"""

from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.neurons import Floats

TABLE = 2e7
"""Up to so many numbers the rows' outer products are held."""
TINY = 1e-300
KINK = 1e-14


class Rows:
    """The terms of M(v) / alpha: unit rows, and weights that carry lengths and v.

    Those with v_i > 0 come first. Rows that are zero, and those with v_i = 0, are no terms.
    """

    def __init__(self, features: Floats, dual: Floats, alpha: float) -> None:
        lengths = np.linalg.norm(features, axis=1)
        alive = np.flatnonzero((lengths > 0) & (dual != 0))
        order = alive[np.argsort(dual[alive] < 0, kind="stable")]
        self.units = features[order] / lengths[order, None]
        self.weights = dual[order] * lengths[order] / alpha
        self.upward = int((self.weights > 0).sum())
        self.slack = 1e-12 * float(np.abs(self.weights).sum())
        """For rounding in the rows themselves."""
        self.across = np.ascontiguousarray(self.units.T)
        self.squares = self.units**2
        n, d = self.units.shape
        self.table: Floats | None = None
        if n * d * d <= TABLE:
            self.table = (self.units[:, :, None] * self.units[:, None, :]).reshape(n, d * d)

    def over(self, unit: float) -> "Rows":
        """Return the terms of M(v) / (unit alpha)."""
        other = copy(self)
        other.weights, other.slack = self.weights / unit, self.slack / unit
        return other

    @property
    def rank(self) -> int:
        """Number of coordinates."""
        return int(self.units.shape[1])

    def values(self, directions: Floats) -> Floats:
        """Return sum_i v_i max(0, x_i'u) / (alpha |u|) for the rows u of `directions` (B, d)."""
        lengths = np.maximum(np.linalg.norm(directions, axis=1), TINY)
        values: Floats = np.maximum(directions @ self.across, 0) @ self.weights / lengths
        return values

    def gram(self, weights: Floats) -> Floats:
        """Return sum_i w_i x_i x_i' for every row w of `weights` (B, n), (B, d, d)."""
        if self.table is not None:
            return np.asarray((weights @ self.table).reshape(-1, self.rank, self.rank))
        return np.asarray((self.across * weights[:, None, :]) @ self.units)

    def forms(self, matrices: Floats) -> Floats:
        """Return x_i'Y x_i for every Y of `matrices` (B, d, d), (B, n)."""
        if self.table is not None:
            return np.asarray(matrices.reshape(len(matrices), -1) @ self.table.T)
        return np.asarray(((self.units @ matrices) * self.units).sum(axis=2))


class Boxes(NamedTuple):
    """low <= u <= high and |u| <= 1; a coordinate with low = -1 and high = 1 is not split."""

    low: Floats
    high: Floats

    @property
    def split(self) -> NDArray[np.bool_]:
        """Tell which coordinates are bounded by more than the ball, (B, d)."""
        return (self.low > -1) | (self.high < 1)

    @property
    def centers(self) -> Floats:
        """Return the middle of every split coordinate, 0 for the others."""
        return np.asarray((self.low + self.high) / 2)

    @property
    def halves(self) -> Floats:
        """Return half the width of every coordinate."""
        return np.asarray((self.high - self.low) / 2)

    def empty(self) -> NDArray[np.bool_]:
        """Tell which boxes the unit sphere does not meet, (B,).

        M is attained on the sphere, so that a box inside the ball is as empty as one outside.
        """
        nearest = np.maximum(np.abs(self.centers) - self.halves, 0)
        farthest = np.maximum(np.abs(self.low), np.abs(self.high))
        outside = (nearest**2).sum(axis=1) > 1 + 1e-12
        return np.asarray(outside | ((farthest**2).sum(axis=1) < 1 - 1e-12))


class Ranges(NamedTuple):
    """low <= x_i'u <= high on a box, (B, n) each."""

    low: Floats
    high: Floats


def ranges(rows: Rows, boxes: Boxes) -> Ranges:
    """Return how far every x_i'u goes: split coordinates by their box, the others by the ball."""
    split, centers = boxes.split, boxes.centers
    reach = np.where(split, boxes.halves, 0.0)
    nearest = np.maximum(np.abs(centers) - reach, 0)
    left = np.sqrt(np.maximum(1 - (nearest**2).sum(axis=1), 0))
    middle = centers @ rows.across
    width = reach @ np.abs(rows.across)
    width += left[:, None] * np.sqrt((~split).astype(float) @ rows.squares.T)
    return Ranges(np.maximum(middle - width, -1), np.minimum(middle + width, 1))


class Quadratics(NamedTuple):
    """k t^2 + b t + c for every row, (B, n) each."""

    bend: Floats
    slope: Floats
    level: Floats


def quadratics(rows: Rows, ends: Ranges, mean: Floats, second: Floats, blur: float) -> Quadratics:
    """Return the bounds that are best at the moments E t and E t^2, (B, n) each.

    Whatever the moments, the bounds hold: upper ones on rows with v_i > 0, lower ones on the
    others. `blur` rounds the choice among the latter, relative to the width of the range.
    """
    cut, (low, high) = rows.upward, ends
    above = _above(low[:, :cut], high[:, :cut], mean[:, :cut], second[:, :cut])
    below = _below(low[:, cut:], high[:, cut:], mean[:, cut:], second[:, cut:], blur)
    return Quadratics(*(np.hstack(parts) for parts in zip(above, below, strict=True)))


def _sides(low: Floats, high: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Tell which ranges have a kink inside, and return the slope of the ReLU on the others.

    A kink this near an end is none: what that neglects is below the slack for rounding.
    """
    return np.minimum(-low, high) > KINK, np.where(-low < high, 1.0, 0.0)


def _above(low: Floats, high: Floats, mean: Floats, second: Floats) -> Quadratics:
    """Return quadratics above max(0, t) on [low, high].

    Where s^2 = E t^2 is small, (t + s)^2 / (4 s), which is above it everywhere. Else the one
    through the nearer end of the range that touches the far side's piece at t2: with the nearer
    end low = -a and r = t2 + a >= 2 a, it is t + a (t - t2)^2 / r^2, which vanishes at low, rises
    there, and is convex; a nearer high end is its mirror image by max(0, t) = t + max(0, -t).
    """
    straddles, straight = _sides(low, high)
    mirror = np.where(-low <= high, 1.0, -1.0)
    near = np.where(straddles, np.minimum(-low, high), 1.0)
    root = np.sqrt(np.maximum(second, TINY))
    turned = mirror * mean
    reach = (second + near * (2 * turned + near)) / np.maximum(near + turned, TINY)
    reach = np.clip(reach, 2 * near, np.maximum(high - low, 2 * near))
    touch = reach - near
    far = near / (reach * reach)
    central = root <= near
    bend = np.where(central, 0.25 / root, far)
    slope = np.where(central, 0.5, (1 + mirror) / 2 - 2 * far * mirror * touch)
    level = np.where(central, 0.25 * root, far * touch * touch)
    return Quadratics(
        np.where(straddles, bend, 0.0),
        np.where(straddles, slope, straight),
        np.where(straddles, level, 0.0),
    )


def _below(low: Floats, high: Floats, mean: Floats, second: Floats, blur: float) -> Quadratics:
    """Return quadratics below max(0, t) on [low, high].

    A mixture, near the largest at the moments, of 0, t and the chord t (t - low) / (high - low).
    """
    straddles, straight = _sides(low, high)
    width = np.where(straddles, high - low, 1.0)
    soft = blur * width
    size = np.sqrt(mean * mean + soft * soft)
    more = (mean + size) / 2 - (second - low * mean) / width
    plain = (1 + more / np.sqrt(more * more + soft * soft / 4)) / 2
    bend = (1 - plain) / width
    slope = plain * (1 + mean / size) / 2 - bend * low
    return Quadratics(
        np.where(straddles, bend, 0.0),
        np.where(straddles, slope, straight),
        np.zeros_like(bend),
    )
