"""Many descents side by side on a problem that is not convex: Adam, from every start at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.experiments.descent import Floats

Parts = tuple[Floats, ...]
"""The parameters of all starts, each (starts, ...)."""

Slope = Callable[[Parts], tuple[Floats, Parts]]
"""Turns parameters into the objective of every start (starts,), and its gradient."""


class Ends(NamedTuple):
    """Where descents came."""

    objective: Floats
    """(starts,), the least that each start met."""
    parts: Parts
    """The parameters there."""

    @property
    def best(self) -> Parts:
        """The parameters of the best start."""
        place = int(np.argmin(self.objective))
        return tuple(part[place] for part in self.parts)


def adam(slope: Slope, start: Parts, *, steps: int = 2000, size: float = 0.03) -> Ends:
    """Return the least objectives of Adam [Kingma2015], its step falling to `size` / 1000.

    >>> ends = adam(lambda x: (x[0][:, 0] ** 2, (2 * x[0],)), (np.array([[1.0], [-0.5]]),))
    >>> bool((ends.objective < 1e-8).all())
    True
    """
    parts, first, second = start, [0.0 * part for part in start], [0.0 * part for part in start]
    least, kept = np.full(len(start[0]), np.inf), start
    for step in range(steps):
        value, slopes = slope(parts)
        better = value < least
        least = np.where(better, value, least)
        kept = tuple(np.where(_wide(better, p), p, k) for p, k in zip(parts, kept, strict=True))
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, slopes, strict=True)]
        length = size * 1e-3 ** (step / steps) / (1 - 0.9 ** (step + 1))
        scale = 1 / (1 - 0.999 ** (step + 1))
        parts = tuple(
            p - length * m / (np.sqrt(scale * v) + 1e-12)
            for p, m, v in zip(parts, first, second, strict=True)
        )
    return Ends(least, kept)


def _wide(chosen: NDArray[np.bool_], part: Floats) -> NDArray[np.bool_]:
    return chosen.reshape(-1, *[1] * (part.ndim - 1))
