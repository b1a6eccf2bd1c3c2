"""Gauges at dual points that move little: most by linearity, the others by products."""

import math
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, like, namespace, norm, to_numpy
from cvxnn.functions import ColumnNorm, GroupNorm, Nuclear
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.projection import gauges

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Point: TypeAlias = tuple[Array, Array]
"""A dual point v (n, c) of length one and A'v (p, d, c)."""

_MOST = 1_000_000
"""Entries of the blocks beyond which two products are not kept."""
_FEW = 0.5
"""Share of the blocks beyond which all are measured."""
_ROUND = 1e-12
"""Relative error of rounding in a sum of two products."""


class Prices:
    """The polar gauges of gated blocks at one dual point after another, as along a path.

    A'v is linear in v. At v = a v_1 + b v_2 + r, where A'v_1 and A'v_2 are known, a block's gauge
    is that of a A_i'v_1 + b A_i'v_2 within |X| |r| / alpha. Blocks that cannot be the largest by
    that are not measured; where more than half could be, all are, and v is one of the two from
    then on. The bounds hold for every v, whatever came before it.

    >>> from cvxnn.functions import Squared, mean_loss
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    >>> lift = Gated(X, (X @ rng.normal(size=(3, 40)) > 0).astype(float), 1)
    >>> loss, free = mean_loss(Squared(), y), np.zeros((50, 0))
    >>> program = Program(loss=loss, lift=lift, penalty=GroupNorm(0.1), free=free)
    >>> prices = Prices()
    >>> for share in 1.0, 0.99, 0.98:
    ...     bounds, exact = prices(program, share * y), gauges(program, share * y)
    ...     print(
    ...         bool(abs(bounds.max() - exact.max()) <= 1e-9), bool((bounds >= exact - 1e-9).all())
    ...     )
    True True
    True True
    True True
    """

    def __init__(self) -> None:
        self._lift: Gated | None = None
        self._stretch = 0.0
        self._points: list[Point] = []

    def __call__(self, program: Program, dual: Array) -> Array:
        """Return (p,), bounds from above on the gauges of `dual` (n, c); the largest is exact."""
        size = norm(dual)
        if not (_worth(program) and 0 < size < math.inf):
            return gauges(program, dual)
        lift = cast(Gated, program.lift)
        if lift is not self._lift:
            self._lift, self._stretch, self._points = lift, lift.block_norm(), []
        points = self._points
        if points:
            bounds, near = self._bounds(program, points, dual / size, size)
            if len(near) <= _FEW * len(bounds):
                index = namespace(dual).asarray(near, device=device(dual))
                bounds[near] = to_numpy(program.penalty.polar(lift.restrict(index).adjoint(dual)))
                return like(bounds, dual)
        pulled = lift.adjoint(dual)
        self._points = [*points[-1:], (dual / size, pulled / size)]
        return program.penalty.polar(pulled)

    def _bounds(
        self, program: Program, points: list[Point], unit: Array, size: float
    ) -> tuple[Floats, Indices]:
        """Return bounds on the gauges of size * unit, and blocks that could have the largest."""
        xp = namespace(unit)
        rest = xp.reshape(unit, (-1,))
        known = xp.stack([xp.reshape(v, (-1,)) for v, _ in points], axis=1)
        square, along = to_numpy(known.T @ known), to_numpy(known.T @ rest)
        shares = np.linalg.lstsq(square, along, rcond=None)[0]
        rest = rest - known @ like(shares, rest)
        pairs = zip(shares.tolist(), points, strict=True)
        guess = sum(share * pulled for share, (_, pulled) in pairs)
        about = size * to_numpy(program.penalty.polar(guess))
        alpha = cast(GroupNorm, program.penalty).alpha
        off = size * (norm(rest) + _ROUND * float(np.abs(shares).sum())) * self._stretch / alpha
        return about + off, np.flatnonzero(about + off >= about.max() - off)


def _worth(program: Program) -> bool:
    """Tell whether gauges are Euclidean norms of products, or less, and these are small to keep.

    And whether the data are in float64: |X| of others is not known well enough for a proof.
    """
    lift = program.lift
    if program.constraint is not None or not isinstance(lift, Gated):
        return False
    p, d, c = lift.in_shape
    norms = isinstance(program.penalty, GroupNorm | ColumnNorm | Nuclear)
    exact = lift.features.dtype == namespace(lift.features).float64
    return norms and exact and d <= p and p * d * c <= _MOST
