"""Newton's systems in the dual: by pairs of samples, by active columns, or by products."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import cast

import numpy as np

from cvxnn.arrays import (
    Array,
    block_norms,
    device,
    double,
    for_outputs,
    inner,
    namespace,
    norm,
    solve_positive,
    to_numpy,
)
from cvxnn.functions import ColumnNorm, GroupNorm, Nuclear
from cvxnn.functions.base import Root
from cvxnn.linalg import conjugate_gradient
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.solvers.atoms import Atoms, atoms

SIDE = 4000
"""Rows beyond which no square matrix is made."""
WIDE = 4_000_000
"""Entries beyond which the active columns are not written out."""
NEAR = 8_000_000
"""Entries beyond which no near matrix is made for one output; `WIDE` for several."""
_DOUBLE = 2.0
"""Cost of an operation in float64, where products are in float32."""
_CG, _CG_STEPS = 3e-2, 1000
"""Share of the system's residual that conjugate gradients may leave at first, and their steps."""
_FEW = 200.0
"""Squared columns of a near matrix, in units of the entries of an output's blocks, beyond which
it costs more than it saves."""
_CG_FINER, _CG_FINEST = 0.03, 1e-6
"""What that share is multiplied by when it was too large, and its least."""
_CLEAR = 0.1
"""Rounding in a near matrix, in units of the system's unit matrix, that leaves it positive."""
_FLAT = 1e-3
"""Root of the curvature, relative to the largest, below which a loss counts as flat."""


class Slope:
    """M = (A P A' + F F') reach: how the prediction of prox(u + reach A'v) bends with the dual v.

    P, the slope of the penalty's prox, is zero outside the k blocks that are not zero. `moved` is
    u + reach A'v, (p, d, c), and `blocks` its prox.
    """

    def __init__(self, program: Program, moved: Array, blocks: Array, reach: float) -> None:
        xp = namespace(moved)
        self._where = np.flatnonzero(to_numpy(xp.any(blocks != 0, axis=(1, 2))))
        self._index = xp.asarray(self._where, device=device(moved))
        self._all, self.reach, self.program = moved.shape[0], reach, program
        self.moved, self.blocks = self._take(moved), self._take(blocks)
        self.lift = program.lift.restrict(self._index)

    def _take(self, blocks: Array) -> Array:
        return namespace(blocks).take(blocks, self._index, axis=0)

    def spread(self, blocks: Array) -> Array:
        """Return all blocks, (p, d, c): those of the k here, (k, d, c), and zeros."""
        xp = namespace(blocks)
        place = np.zeros(self._all, dtype=np.int64)
        place[self._where] = 1 + np.arange(len(self._where))
        zero = xp.zeros((1, *blocks.shape[1:]), dtype=blocks.dtype, device=device(blocks))
        index = xp.asarray(place, device=device(blocks))
        return xp.take(xp.concat([zero, blocks], axis=0), index, axis=0)

    def product(self, dtype: object) -> Callable[[Array], Array]:
        """Return v -> M v, (n, c), computed in `dtype`."""
        xp = namespace(self.moved)
        moved, columns = (xp.astype(x, dtype, copy=False) for x in (self.moved, self.program.free))
        bend, lift = self.program.penalty.jacobian(moved, self.reach), self.lift.astype(dtype)

        def apply(v: Array) -> Array:
            return self.reach * (lift.apply(bend(lift.adjoint(v))) + columns @ (columns.T @ v))

        return apply

    @cached_property
    def _norms(self) -> tuple[Array, Array]:
        """t (k,) and e (k, d, c): P_i = (1 - t_i) I + t_i e_i e_i' for norms of whole blocks."""
        norms, kept = block_norms(self.moved), block_norms(self.blocks)
        return (1 - kept / norms)[:, 0, 0], self.moved / norms

    @cached_property
    def _data(self) -> tuple[Array, Array]:
        lift = cast(Gated, self.lift)
        return double(lift.features), double(lift.masks)

    def pairs(self, gram: Array) -> Array:
        """Return M (n, n) from X X': (X X') o (D diag(1 - t) D') and a column D_i X e_i a block."""
        shares, units = self._norms
        features, masks = self._data
        columns, units = double(self.program.free), units[:, :, 0]
        root = namespace(shares).sqrt
        lines = masks * (features @ (root(shares)[:, None] * units).T)
        open_ = masks * root(1 - shares)
        wide = namespace(lines).concat([lines, columns], axis=1)
        return self.reach * (gram * (open_ @ open_.T) + wide @ wide.T)

    def narrow(self, root: Root) -> Array:
        """Return Z (n c, m) with Z Z' near B'M B and not beyond it.

        Its columns are the atoms' fits along themselves and the free columns; and, for norms of
        whole blocks, where the rest of M is (X X') o (D diag(1 - t) D') in every output, the rows
        of X, each times its entry of w: w w' is Nystrom's approximation of D diag(1 - t) D' by its
        row sums. In the root's precision.
        """
        xp, c, dtype = namespace(self.blocks), self.blocks.shape[2], root.scale.dtype
        lift = cast(Gated, self.lift.astype(dtype))
        others = xp.astype(self.program.free, dtype, copy=False)
        if self._round:
            shares, units = (xp.astype(x, dtype, copy=False) for x in self._norms)
            lines = lift.fits(xp.sqrt(shares)[:, None, None] * units)
            sums = xp.sum(lift.masks, axis=0)
            total = xp.sum((1 - shares) * sums**2)
            common = lift.masks @ ((1 - shares) * sums) / xp.sqrt(xp.where(total > 0, total, 1.0))
            others = xp.concat([others, common[:, None] * lift.features], axis=1)
        else:
            found = self._atoms
            index = xp.asarray(found.owner, device=device(self.blocks))
            units = xp.astype(found.parts / block_norms(found.parts), dtype, copy=False)
            lines = lift.restrict(index).fits(units)
        scaled = root._replace(scale=math.sqrt(self.reach) * root.scale)
        wide = scaled.adjoints(xp.concat([lines, for_outputs(others, c)], axis=2))
        return xp.reshape(wide, (-1, wide.shape[2]))

    def width(self) -> int:
        """Return the columns of `narrow`."""
        (k, d, c), q = self.blocks.shape, self.program.free.shape[1]
        return int(k + (q + d) * c if self._round else len(self._atoms.owner) + q * c)

    @property
    def _round(self) -> bool:
        """Whether the penalty adds up norms of whole blocks."""
        return self.blocks.shape[2] == 1 or isinstance(self.program.penalty, GroupNorm)

    @cached_property
    def _atoms(self) -> Atoms:
        return atoms(self.program.penalty, self.blocks)

    def columns(self) -> Array:
        """Return Z (n, k d + q) with M = Z Z', from the roots of all P_i."""
        shares, units = self._norms[0], self._norms[1][:, :, 0]
        xp, root = namespace(units), namespace(units).sqrt(1 - shares)
        features, masks = self._data
        along = features @ (units * (1 - root)[:, None]).T
        wide = masks[:, :, None] * (
            features[:, None, :] * root[None, :, None] + along[:, :, None] * units[None, :, :]
        )
        flat = xp.reshape(wide, (features.shape[0], -1))
        return math.sqrt(self.reach) * xp.concat([flat, double(self.program.free)], axis=1)


class Systems:
    """(I + M H) dz = -residual at the points of a program, each solved in the cheapest way.

    With B B' = H it is symmetric, also where H is singular: dz = M B x - residual for the x with
    (I + B'M B) x = B' residual. The dual then moves by -H dz.
    """

    def __init__(self, program: Program, products: float) -> None:
        self.program = program
        self.products = products
        """Products that a solution by conjugate gradients takes: the last one's."""
        norms = isinstance(program.penalty, GroupNorm | ColumnNorm | Nuclear)
        self._known = norms and isinstance(program.lift, Gated)
        self._dense = self._known and program.lift.out_shape[-1] == 1
        self._left = _CG
        self._single = True  # float32 does for near matrices, so far

    @cached_property
    def _gram(self) -> Array:
        features = double(cast(Gated, self.program.lift).features)
        return features @ features.T

    def sharpen(self) -> None:
        """Solve more accurately from now on."""
        self._left = max(_CG_FINER * self._left, _CG_FINEST)

    def direction(self, slope: Slope, root: Root, residual: Array) -> tuple[Array, float]:
        """Return dz (n, c), and by how much the step's dual objective rises along it at first."""
        right = root.adjoint(residual)
        x = getattr(self, f"_by_{self.way(slope, residual)}")(slope, root, right)
        return _scores(slope, root, x, residual), inner(x, right)

    def way(self, slope: Slope, residual: Array) -> str:
        """Return the cheapest way, by operations: "products", "pairs" or "columns"."""
        (n, c), (k, d, _) = residual.shape, slope.moved.shape
        side = k * d + self.program.free.shape[1]
        flops = {"products": 6.0 * max(self.products, 20) * n * side * c}
        if self._dense and n <= SIDE:
            flops["pairs"] = _DOUBLE * (2.0 * n * n * k + n**3 / 3)
        if self._dense and side <= SIDE and n * side <= WIDE:
            flops["columns"] = _DOUBLE * (n * side**2 + side**3 / 3)
        return min(flops, key=lambda each: flops[each])

    def _near(self, slope: Slope) -> bool:
        """Tell whether a near matrix can be had for no more than a few products."""
        (k, d, c), width = slope.blocks.shape, slope.width()
        entries, most = self.program.loss.target.shape[0] * c * width, NEAR if c == 1 else WIDE
        return self._known and entries <= most and 0 < width**2 <= _FEW * k * d

    def _by_pairs(self, slope: Slope, root: Root, right: Array) -> Array:
        scale = root.scale
        return solve_positive(slope.pairs(self._gram) * scale * scale.T, right)

    def _by_columns(self, slope: Slope, root: Root, right: Array) -> Array:
        bent = root.scale * slope.columns()
        return right - bent @ solve_positive(bent.T @ bent, bent.T @ right)

    def _by_products(self, slope: Slope, root: Root, right: Array) -> Array:
        xp = namespace(right)
        near = self._inverse(slope, root) if self._near(slope) else lambda r: r
        for dtype in (xp.float32, xp.float64):
            x = self._iterated(slope, root.astype(dtype), right, dtype, near)
            if math.isfinite(norm(x)):  # or the data's squares are no numbers of float32
                break
        return x

    def _inverse(self, slope: Slope, root: Root) -> Callable[[Array], Array]:
        """Return r -> (I + Z Z')^-1 r for the near matrix's Z (n, m), by Woodbury's formula.

        Z and Z'Z are computed in float32 as long as their rounding leaves the unit in I + Z'Z. They
        are applied in float64: on the largest directions the result is a small difference.
        """
        xp = namespace(root.scale)
        if self._single:
            wide = slope.narrow(root.astype(xp.float32))
            square = wide.T @ wide
            noise = float(xp.finfo(xp.float32).eps * xp.linalg.trace(square))
            self._single = noise <= _CLEAR
        if not self._single:
            wide = slope.narrow(root)
            square = wide.T @ wide
        wide = double(wide)
        every = xp.eye(wide.shape[1], dtype=wide.dtype, device=device(wide))
        inside = solve_positive(double(square), every)

        def apply(r: Array) -> Array:
            along = wide @ (inside @ (wide.T @ xp.reshape(double(r), (-1, 1))))
            return r - xp.astype(xp.reshape(along, r.shape), r.dtype, copy=False)

        return apply

    def _iterated(
        self,
        slope: Slope,
        root: Root,
        right: Array,
        dtype: object,
        near: Callable[[Array], Array],
    ) -> Array:
        """Solve by conjugate gradients in `dtype`."""
        size, self.products = norm(right) or 1.0, 0
        multiply = slope.product(dtype)

        def system(z: Array) -> Array:
            self.products += 1
            return z + root.adjoint(multiply(root.apply(z)))

        unit = namespace(right).astype(right / size, dtype)
        return size * double(conjugate_gradient(system, unit, None, self._left, _CG_STEPS, near))


def _scores(slope: Slope, root: Root, x: Array, residual: Array) -> Array:
    """Return dz with B'dz = -x, from x where that fixes it and as M B x - residual elsewhere.

    They agree, but M magnifies what conjugate gradients leave in x.
    """
    xp, scale = namespace(x), root.scale
    curved = scale > _FLAT * xp.max(scale)
    if root.pull is None and xp.all(curved):
        return -x / scale
    direct = slope.product(xp.float64)(root.apply(x)) - residual
    indirect = xp.where(curved, -x / xp.where(curved, scale, 1.0), direct)
    if root.pull is None:
        return indirect
    # -x fixes a row up to a constant
    shift = xp.sum(root.pull * (direct - indirect), axis=1, keepdims=True)
    return xp.where(curved, indirect + shift, direct)
