"""The log density of a score on a line: its integral, and the constant of mass one."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DROP = 60.0
"""How far below its value at the ends the log density is in tails that count as empty."""
_POINTS = 40
"""Nodes of Gauss and Legendre for the mass between two kinks."""
_WIDTH = 0.05
"""Length of the longest piece that they are used on, as a share of the line."""


class Pieces(NamedTuple):
    """s(x) = value_k + slope_k (x - left_k) between left_k and left_(k + 1), and beyond the last.

    The first piece goes on to minus infinity from its `left`.
    """

    left: Floats
    value: Floats
    slope: Floats
    level: Floats
    """The integral of s at `left`."""

    def __call__(self, x: Floats) -> Floats:
        """Return the integral of the score at points (n,)."""
        place = np.clip(np.searchsorted(self.left, x, side="right") - 1, 0, None)
        step = x - self.left[place]
        found = self.level[place] + step * (self.value[place] + self.slope[place] * step / 2)
        return np.asarray(found)


def pieces_of(network: Any, centre: float, reach: float) -> Pieces:
    """Return the pieces of a network of one column, between its kinks."""
    rules = network.rules
    moves = rules[:, 0] != 0 if rules.shape[1] > 1 else np.zeros(len(rules), dtype=bool)
    kinks = -rules[moves, -1] / rules[moves, 0] if moves.any() else np.zeros(0)
    if rules.shape[1] == 1:
        kinks = np.zeros(1)
    ends = [min(kinks.min(initial=centre), centre - reach) - reach - 1e-3]
    left = np.unique(np.concatenate([ends, kinks, [centre + reach]]))
    right = np.append(left[1:], left[-1] + reach + 1.0)
    third = (right - left) / 3
    first, second = (np.asarray(network((left + k * third)[:, None]))[:, 0] for k in (1, 2))
    slope = (second - first) / third
    value = first - slope * third
    rise = third * 3 * (value + slope * third * 1.5)
    level = np.concatenate([[0.0], np.cumsum(rise[:-1])])
    return Pieces(left, value, slope, level)


def log_density(network: Any, x: Floats, centre: float, reach: float) -> Floats:
    """Return log p at points (n,), the integral of the score less the logarithm of its mass.

    `centre` and `reach` say where the samples are. Raises ValueError where the score pushes
    outward at an end.
    """
    pieces = pieces_of(network, centre, max(reach, 1e-3))
    left, right = pieces.left[0], pieces.left[-1]
    low = _tail(-pieces.value[0], pieces.slope[0])
    high = _tail(pieces.value[-1], pieces.slope[-1])
    if low is None or high is None:
        side = "left" if low is None else "right"
        raise ValueError(
            f"the score pushes outward on the {side} of all samples, and is that of no density; "
            "raise alpha, or pass skip=True"
        )
    knots = np.concatenate([[left - low], pieces.left, [right + high]])
    longest = _WIDTH * (pieces.left[-1] - left)
    cells = [
        np.linspace(a, b, int(np.ceil((b - a) / longest)) + 1)[:-1] for a, b in pairwise(knots)
    ]
    grid = np.append(np.concatenate(cells), knots[-1])
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    half = np.diff(grid)[:, None] / 2
    values = pieces((grid[:-1, None] + half + half * nodes).ravel()).reshape(len(half), -1)
    top = values.max()
    mass = float((half * weights * np.exp(values - top)).sum())
    return np.asarray(pieces(x) - top - np.log(mass))


def _tail(value: float, slope: float) -> float | None:
    """Return how far out a quadratic has fallen by `_DROP` for good, None where it never does.

    It is value t + slope t^2 / 2 for t >= 0.
    """
    if slope < 0:
        return float((value + np.sqrt(value**2 - 2 * slope * _DROP)) / -slope)
    return float(_DROP / -value) if slope == 0 and value < 0 else None
