"""Demands in place of losses: zero where the outputs meet them, infinite elsewhere.

With one of them a program asks for the least penalty of a network that does what it must. There is
no gradient; minus the dual point of the program takes its place.
"""

import math
from dataclasses import dataclass

from cvxnn.arrays import Array, namespace
from cvxnn.functions.base import Root
from cvxnn.functions.roots import SLACK


@dataclass(frozen=True)
class HardMargin:
    """0 where y f >= 1 for every output and infinity elsewhere, labels y = -1 or 1.

    Margins that fall short of 1 by rounding are forgiven.

    >>> import numpy as np
    >>> HardMargin().value(np.array([[2.0], [0.5]]), np.array([[1.0], [1.0]]))
    array([ 0., inf])
    """

    name = "hard_margin"
    smoothness = math.inf

    def value(self, f: Array, y: Array) -> Array:
        """Return 0 or infinity, (n,)."""
        xp = namespace(f)
        short = xp.min(y * f, axis=1) < 1 - SLACK * float(xp.finfo(f.dtype).eps)
        return xp.where(short, math.inf, 0 * f[:, 0])

    def gradient(self, f: Array, y: Array) -> Array:
        """Return zeros, the subgradient of least length where the margins are met."""
        return 0 * f

    def curvature(self, f: Array, y: Array) -> Array:
        """Return zeros."""
        return 0 * f

    def root(self, f: Array, y: Array) -> Root:
        """Return zeros."""
        return Root(0 * f, None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Raise the margins y f to 1 where they fall short."""
        return f + y * namespace(f).clip(1 - y * f, min=0.0)

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return the sum of -t with t = -g y >= 0, (n,)."""
        xp = namespace(g)
        t = -g * y
        slack = SLACK * float(xp.finfo(g.dtype).eps)
        return xp.where(xp.min(t, axis=1) < -slack, math.inf, -xp.sum(t, axis=1))


@dataclass(frozen=True)
class Interpolation:
    """0 where f = y and infinity elsewhere.

    Differences of 1e-9 of the target are forgiven: solvers meet equations up to rounding.

    >>> import numpy as np
    >>> Interpolation().value(np.array([[2.0], [0.5]]), np.array([[2.0], [1.0]]))
    array([ 0., inf])
    """

    name = "interpolation"
    smoothness = math.inf

    def value(self, f: Array, y: Array) -> Array:
        """Return 0 or infinity, (n,)."""
        xp = namespace(f)
        away = xp.max(xp.abs(f - y), axis=1) > 1e-9 * float(xp.max(xp.abs(y)))
        return xp.where(away, math.inf, 0 * f[:, 0])

    def gradient(self, f: Array, y: Array) -> Array:
        """Return zeros, the subgradient of least length at y."""
        return 0 * f

    def curvature(self, f: Array, y: Array) -> Array:
        """Return zeros."""
        return 0 * f

    def root(self, f: Array, y: Array) -> Root:
        """Return zeros."""
        return Root(0 * f, None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Return y."""
        return y + 0 * f

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return <g, y>, (n,)."""
        return namespace(g).sum(g * y, axis=1)
