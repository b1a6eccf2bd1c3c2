"""Quadratic functions on the unit sphere: their largest value, and the moments of its points.

For a symmetric V the value at u is (u, 1)' V (u, 1). With J = diag(1, ..., 1, -1) the moments of
points (u, 1), |u| = 1, are the positive semidefinite Z with <J, Z> = 0.
"""

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, double, like, namespace, to_numpy
from cvxnn.symmetric import composed, differences, eigh

Floats = NDArray[np.float64]

_HALVINGS = 56
"""Bisections of the multiplier: its error enters the value squared."""
_STEPS = 60
"""Newton steps for the shift of a projection, bisections where they leave the bracket."""


class Peak:
    """The largest value of V (..., s, s) on the sphere: a trust-region problem [MoreSorensen1983].

    In the axes of the leading block, with eigenvalues l and linear part g, it is the least of
    V_ss + t + max l + sum g_i^2 / (t + max l - l_i) over t >= 0. Any t gives an upper bound, so
    that rounding in t keeps a certificate valid.
    """

    def __init__(self, matrices: Array) -> None:
        xp = namespace(matrices)
        self.sizes, self.axes = eigh(matrices[..., :-1, :-1])
        linear = matrices[..., :-1, -1:]
        self.linear = (xp.matrix_transpose(self.axes) @ linear)[..., 0]
        self.below = self.sizes[..., -1:] - self.sizes
        self.excess = self._multiplier()
        terms = self.linear * self._ratio(self.excess)
        self.value = (
            matrices[..., -1, -1]
            + self.sizes[..., -1]
            + self.excess[..., 0]
            + xp.sum(terms, axis=-1)
        )
        """(...)."""

    def _ratio(self, excess: Array) -> Array:
        """Return g / (t + max l - l), and 0 where g is 0."""
        xp, total = namespace(excess), excess + self.below
        return xp.where(self.linear == 0, 0.0, self.linear / xp.where(total > 0, total, 1.0))

    def _multiplier(self) -> Array:
        """Return the t, (..., 1), at which the point has unit length, or 0 where none is longer."""
        xp = namespace(self.linear)
        low = xp.abs(self.linear[..., -1:])
        high = xp.linalg.vector_norm(self.linear, axis=-1, keepdims=True)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            long = xp.sum(self._ratio(middle) ** 2, axis=-1, keepdims=True) > 1
            low, high = xp.where(long, middle, low), xp.where(long, high, middle)
        return high

    @property
    def points(self) -> Array:
        """(u, 1) of a maximiser, (..., s)."""
        xp = namespace(self.linear)
        ratio = self._ratio(self.excess)
        others, top = ratio[..., :-1], ratio[..., -1:]
        # in the hard case the top axis takes what the length lacks
        left = xp.clip(1 - xp.sum(others**2, axis=-1, keepdims=True), min=0.0)
        top = (1 - 2 * xp.astype(top < 0, top.dtype)) * xp.sqrt(left)
        local = xp.concat([others, top], axis=-1)
        local = local / xp.linalg.vector_norm(local, axis=-1, keepdims=True)
        u = (self.axes @ local[..., None])[..., 0]
        return xp.concat([u, xp.ones_like(top)], axis=-1)


class Moment:
    """The moment matrix nearest to W (..., s, s): the positive part of W + shift J.

    The shift is the root of <J, (W + shift J)_+>, which never falls: Newton's method inside a
    bracket. Where no value of W on the sphere is positive, the nearest is zero.
    """

    def __init__(self, matrices: Array) -> None:
        xp, side = namespace(matrices), matrices.shape[-1]
        alive = Peak(matrices).value > 0
        self.alive = xp.astype(alive, matrices.dtype)[..., None]
        last = xp.arange(side, device=device(matrices)) == side - 1
        self.signs = 1 - 2 * xp.astype(last, matrices.dtype)
        flat = xp.reshape(matrices, (-1, side, side))
        shifts = self._shifts(flat, np.flatnonzero(to_numpy(alive).ravel()))
        sizes, self.axes = self._moved(matrices, shifts.reshape(alive.shape))
        kept = xp.clip(sizes, min=0.0)
        self.quotients = differences(sizes, kept, xp.astype(sizes > 0, sizes.dtype))
        self.kept = self.alive * kept
        self.turned = self._turned(self.axes)

    def _moved(self, matrices: Array, shifts: Floats) -> tuple[Array, Array]:
        """Return the eigenvalues and eigenvectors of matrices (..., s, s) at their shifts (...)."""
        xp, side = namespace(matrices), matrices.shape[-1]
        diagonal = like(np.asarray(shifts), matrices)[..., None] * self.signs
        eye = xp.eye(side, dtype=matrices.dtype, device=device(matrices))
        return eigh(matrices + diagonal[..., None] * eye)

    def _turned(self, axes: Array) -> Array:
        """Return J in the axes, I - 2 q q' with q their last entries."""
        xp, last = namespace(axes), axes[..., -1, :]
        eye = xp.eye(axes.shape[-1], dtype=axes.dtype, device=device(axes))
        return eye - 2 * last[..., :, None] * last[..., None, :]

    def _at(self, matrices: Array, shifts: Floats) -> tuple[Floats, Floats, Floats]:
        """Return <J, positive part>, its slope and the positive part's trace, (m,) each."""
        xp = namespace(matrices)
        sizes, axes = self._moved(matrices, shifts)
        kept = xp.clip(sizes, min=0.0)
        quotients = differences(sizes, kept, xp.astype(sizes > 0, sizes.dtype))
        balance = xp.sum(kept * (1 - 2 * axes[..., -1, :] ** 2), axis=-1)
        slope = xp.sum(quotients * self._turned(axes) ** 2, axis=(-2, -1))
        balance, slope, trace = (
            to_numpy(double(x)) for x in (balance, slope, xp.sum(kept, axis=-1))
        )
        return balance, slope, trace

    def _shifts(self, matrices: Array, left: NDArray[np.int64]) -> Floats:
        """Return the shifts (m,) of matrices (m, s, s), 0 but for those that are `left`.

        Only what is not settled yet is decomposed.
        """
        xp = namespace(matrices)
        found = np.zeros(matrices.shape[0])
        low, high = found - np.inf, found + np.inf
        size = to_numpy(double(xp.max(xp.abs(matrices), axis=(-2, -1))))
        noise, reach = 4 * float(xp.finfo(matrices.dtype).eps), size
        for _ in range(_STEPS):
            if not len(left):
                break
            some = xp.take(matrices, xp.asarray(left, device=device(matrices)), axis=0)
            shift = found[left]
            balance, slope, trace = self._at(some, shift)
            low[left] = np.where(balance < 0, shift, low[left])
            high[left] = np.where(balance > 0, shift, high[left])
            below, above = low[left], high[left]
            both = np.isfinite(below) & np.isfinite(above)
            width = np.where(both, above, 1.0) - np.where(both, below, 0.0)
            # eigenvalues are no better than the rounding of the largest entries
            settled = np.abs(balance) <= noise * (trace + size[left])
            settled |= both & (width <= noise * np.abs(shift))
            newton = shift - balance / np.where(slope > 0, slope, 1.0)
            good = (slope > 0) & (newton > below) & (newton < above)
            middle = (np.where(both, below, 0.0) + np.where(both, above, 0.0)) / 2
            middle = np.where(both, middle, shift - np.sign(balance) * reach[left])
            found[left] = np.where(settled, shift, np.where(good, newton, middle))
            left, reach = left[~settled], 2 * reach
        return found

    @property
    def nearest(self) -> Array:
        """The projection, (..., s, s), its last row and column scaled so that it is balanced."""
        xp, near = namespace(self.kept), composed(self.kept, self.axes)
        last = near[..., -1, -1]
        others = xp.linalg.trace(near) - last
        good = (last > 0) & (others > 0)
        scale = xp.sqrt(xp.where(good, others / xp.where(good, last, 1.0), 0.0))[..., None]
        side = near.shape[-1]
        ends = xp.arange(side, device=device(near)) == side - 1
        scales = xp.where(ends, scale, xp.astype(good, near.dtype)[..., None])
        return scales[..., :, None] * near * scales[..., None, :]

    def bend(self, z: Array) -> Array:
        """Return the derivative of the projection along z."""
        xp, live = namespace(z), self.alive[..., None]
        turned = xp.matrix_transpose(self.axes)
        core = self.quotients * (turned @ z @ self.axes)
        along = self.quotients * self.turned
        steep = xp.sum(along * self.turned, axis=(-2, -1), keepdims=True)
        lost = xp.sum(core * self.turned, axis=(-2, -1), keepdims=True)
        core = core - lost / xp.where(steep > 0, steep, 1.0) * along
        return live * (self.axes @ core @ turned)
