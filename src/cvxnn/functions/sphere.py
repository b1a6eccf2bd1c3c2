"""Quadratic functions on the unit sphere: their largest value, and the moments of its points.

For a symmetric V the value at u is (u, 1)' V (u, 1). With J = diag(1, ..., 1, -1) the moments of
points (u, 1), |u| = 1, are the positive semidefinite Z with <J, Z> = 0.
"""

from cvxnn.arrays import Array, device, namespace
from cvxnn.symmetric import composed, differences, eigh

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
        xp = namespace(matrices)
        self.alive = xp.astype(Peak(matrices).value > 0, matrices.dtype)[..., None]
        self.matrices = matrices
        side = matrices.shape[-1]
        last = xp.arange(side, device=device(matrices)) == side - 1
        self.signs = 1 - 2 * xp.astype(last, matrices.dtype) + 0 * matrices[..., 0]
        self._find()

    def _at(self, shift: Array) -> tuple[Array, Array]:
        """Take the eigenvalues at a shift (...), and return <J, positive part> and its slope."""
        xp = namespace(shift)
        diagonal = (shift[..., None] * self.signs)[..., None]
        eye = xp.eye(self.signs.shape[-1], dtype=shift.dtype, device=device(shift))
        sizes, self.axes = eigh(self.matrices + diagonal * eye)
        kept = xp.clip(sizes, min=0.0)
        self.quotients = differences(sizes, kept, xp.astype(sizes > 0, sizes.dtype))
        self.kept = self.alive * kept
        last = self.axes[..., -1, :]  # in the axes J is I - 2 q q' with q their last entries
        self.turned = eye - 2 * last[..., :, None] * last[..., None, :]
        balance = xp.sum(kept * (1 - 2 * last**2), axis=-1)
        return balance, xp.sum(self.quotients * self.turned**2, axis=(-2, -1))

    def _find(self) -> None:
        xp = namespace(self.matrices)
        size = xp.max(xp.abs(self.matrices), axis=(-2, -1))
        shift, reach = 0 * size, size
        low, high = shift - xp.inf, shift + xp.inf
        noise = 4 * float(xp.finfo(size.dtype).eps)
        dead = self.alive[..., 0] == 0
        for _ in range(_STEPS):
            balance, slope = self._at(shift)
            low, high = xp.where(balance < 0, shift, low), xp.where(balance > 0, shift, high)
            trace = xp.sum(self.kept, axis=-1)
            both = (low > -xp.inf) & (high < xp.inf)
            width = xp.where(both, high, 1.0) - xp.where(both, low, 0.0)
            settled = dead | (xp.abs(balance) <= noise * trace)
            settled = settled | (both & (width <= noise * xp.abs(shift)))
            if bool(xp.all(settled)):
                break
            newton = shift - balance / xp.where(slope > 0, slope, 1.0)
            good = (slope > 0) & (newton > low) & (newton < high)
            middle = (xp.where(both, low, 0.0) + xp.where(both, high, 0.0)) / 2
            middle = xp.where(both, middle, shift - xp.sign(balance) * reach)
            shift = xp.where(settled, shift, xp.where(good, newton, middle))
            reach = 2 * reach

    @property
    def nearest(self) -> Array:
        """The projection, (..., s, s), its last row and column scaled so that it is balanced."""
        xp, near = namespace(self.kept), composed(self.kept, self.axes)
        last = near[..., -1, -1]
        others = xp.linalg.trace(near) - last
        good = (last > 0) & (others > 0)
        scale = xp.sqrt(xp.where(good, others / xp.where(good, last, 1.0), 0.0))[..., None]
        side = self.signs.shape[-1]
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
