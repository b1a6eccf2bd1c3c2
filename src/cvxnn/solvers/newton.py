"""Semismooth Newton steps inside a proximal point method, for gated networks with one output."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from cvxnn.arrays import Array, double, like, to_numpy
from cvxnn.functions import ColumnNorm, GroupNorm, Nuclear
from cvxnn.linalg import conjugate_gradient
from cvxnn.maps import Gated
from cvxnn.program import Iterate, Program

Floats = NDArray[np.float64]

_PAIRED = 3000
"""Samples beyond which no matrix of their pairs is made."""
_WIDEN, _NARROW = 3.0, 0.2
"""What a proximal step is multiplied by when Newton's method converged in it, and when not."""
_FARTHEST = 1e7
"""Longest proximal step, in units of the inverse smoothness of the loss."""
_NEWTON, _HALVINGS = 40, 10
_ROUND = 1e-14
"""Relative residual that is rounding."""
_CG, _CG_STEPS = 1e-2, 1000
"""Share of the equation's residual that conjugate gradients may leave, and their steps."""


class State(NamedTuple):
    """Where the proximal point method is."""

    blocks: Floats
    """u, (p, d)."""
    free: Floats
    """b, (q,)."""
    dual: Floats
    """v, (n,)."""
    reach: float
    """Length of the next proximal step."""
    exact: float
    """Residual to which it is solved."""


class Point(NamedTuple):
    """What a dual point v gives: the blocks prox(u + reach A'v), and how far v is from theirs."""

    active: NDArray[np.int64]
    """(k,), the blocks that are not zero."""
    masks: Floats
    """(n, k)."""
    blocks: Floats
    """(k, d)."""
    free: Floats
    shares: Floats
    """(k,), by which each block was shortened."""
    units: Floats
    """(k, d)."""
    fit: Floats
    """(n,)."""
    rest: Floats
    """v + the gradient of the loss at the fit, (n,): zero at the solution."""


@dataclass(frozen=True)
class Newton:
    """The proximal point method in u, each step a system of n equations in the dual point v.

    With U = u_k + reach A'v, the step's solution is u = prox(U), v = -grad loss(A u + F b).
    Newton's method on that equation needs H (sum_i D_i X P_i X' D_i + F F') reach, with H the
    loss's curvature and P_i = (1 - t_i) I + t_i e_i e_i' on the active blocks, t_i = reach alpha /
    |U_i|, e_i = U_i / |U_i| [LiSunToh2018]. Its first part is (X X') o (D diag(1 - t) D'), which
    costs no factor d; beyond 3,000 samples products and conjugate gradients take its place.
    """

    reach: float = 100.0
    """First proximal step, in units of the inverse smoothness of the loss."""

    name = "newton"
    heuristic = False
    copies = (6, 0)
    period = 1

    def workspace(self, n: int, p: int) -> int:
        """Return the numbers in masks, products on active gates, and pairs of samples."""
        return 4 * n * p + (3 * n * n if n <= _PAIRED else 0)

    def why_not(self, program: Program) -> str | None:
        """Return None for smooth losses, one output, gates without cones and a group norm."""
        if program.constraint is not None or not isinstance(program.lift, Gated):
            return "Newton's method takes gated networks without cones; use solver='auto'"
        if not math.isfinite(program.loss.smoothness):
            return "Newton's method needs a smooth loss and this one has kinks; use solver='admm'"
        if program.lift.out_shape[-1] != 1:
            return "Newton's method takes one output; use solver='fista'"
        if not isinstance(program.penalty, GroupNorm | ColumnNorm | Nuclear):
            return "Newton's method takes norms of whole neurons; use solver='fista'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero."""
        (p, d, _), q = program.lift.in_shape, program.free.shape[1]
        blocks, free = np.zeros((p, d)), np.zeros(q)
        if start is not None:
            blocks = to_numpy(double(start.blocks))[:, :, 0]
            free = to_numpy(double(start.free))[:, 0]
        view = _View(program)
        dual = -view.gradient(view.apply(view.masks, blocks) + view.columns @ free)
        smooth = program.loss.smoothness
        return State(blocks, free, dual, self.reach / smooth, 1e-2 * smooth * math.sqrt(len(dual)))

    def step(self, program: Program, state: State) -> State:
        """Return the state after a proximal step."""
        view, dual = _View(program), state.dual
        pulled = view.adjoint(view.masks, dual)
        point = view.at(state, dual, pulled)
        for _ in range(_NEWTON):
            if view.solved(state, point):
                break
            move = view.direction(state.reach, point)
            along, share = view.adjoint(view.masks, move), 1.0
            length = float(np.linalg.norm(point.rest))
            for _ in range(_HALVINGS):
                trial = view.at(state, dual + share * move, pulled + share * along)
                if float(np.linalg.norm(trial.rest)) <= (1 - 1e-4 * share) * length:
                    break
                share /= 2
            else:
                break
            dual, pulled, point = dual + share * move, pulled + share * along, trial
        if not view.solved(state, point):  # a shorter step is an easier equation
            return state._replace(reach=_NARROW * state.reach)
        blocks = np.zeros_like(state.blocks)
        blocks[point.active] = point.blocks
        reach = min(_WIDEN * state.reach, _FARTHEST / program.loss.smoothness)
        return State(blocks, point.free, dual, reach, 0.1 * state.exact)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the points."""
        rows = (state.blocks[:, :, None], state.free[:, None], state.dual[:, None])
        return Iterate(*(like(x, program.free) for x in rows))

    def done(self, state: State) -> bool:
        """Return False: every step may still help."""
        return False


class _View:
    """A program as Newton's method sees it: in host memory and float64."""

    def __init__(self, program: Program) -> None:
        lift, penalty = cast(Gated, program.lift), cast(GroupNorm, program.penalty)
        self.loss, self.alpha = program.loss, penalty.alpha
        self.features, self.masks = (to_numpy(double(x)) for x in (lift.features, lift.masks))
        self.columns = to_numpy(double(program.free))

    def gradient(self, fit: Floats) -> Floats:
        """Return the loss's gradient at predictions (n,)."""
        return self._of(self.loss.gradient, fit)

    def root(self, fit: Floats) -> Floats:
        """Return the square root of the loss's curvature at predictions (n,)."""
        return np.sqrt(self._of(self.loss.curvature, fit))

    def _of(self, derivative: Callable[[Array], Array], fit: Floats) -> Floats:
        values = derivative(like(fit[:, None], self.loss.target))
        return to_numpy(double(values))[:, 0]

    def apply(self, masks: Floats, blocks: Floats) -> Floats:
        """Return sum_i D_i X u_i, (n,), for masks (n, k) and blocks (k, d)."""
        return np.asarray(np.einsum("ij,ij->i", masks, self.features @ blocks.T))

    def adjoint(self, masks: Floats, v: Floats) -> Floats:
        """Return X' D_i v, (k, d)."""
        return np.asarray(masks.T @ (self.features * v[:, None]))

    def at(self, state: State, dual: Floats, pulled: Floats) -> Point:
        """Return the point of a dual point v, with A'v = `pulled` (p, d)."""
        moved = state.blocks + state.reach * pulled
        norms, floor = np.linalg.norm(moved, axis=1), state.reach * self.alpha
        active = np.flatnonzero(norms > floor)
        shares = floor / norms[active]
        blocks = moved[active] * (1 - shares)[:, None]
        free = state.free + state.reach * (self.columns.T @ dual)
        masks = self.masks[:, active]
        fit = self.apply(masks, blocks) + self.columns @ free
        rest = dual + self.gradient(fit)
        units = moved[active] / norms[active, None]
        return Point(active, masks, blocks, free, shares, units, fit, rest)

    def solved(self, state: State, point: Point) -> bool:
        """Tell whether the step's equation holds well enough."""
        left = float(np.linalg.norm(point.rest))
        gone = float((state.blocks**2).sum()) - float((state.blocks[point.active] ** 2).sum())
        change = float(((point.blocks - state.blocks[point.active]) ** 2).sum()) + max(gone, 0.0)
        smooth = self.loss.smoothness
        enough = min(state.exact, 0.2 * math.sqrt(change * smooth / state.reach))
        return left <= max(enough, _ROUND * smooth * math.sqrt(len(point.rest)))

    def direction(self, reach: float, point: Point) -> Floats:
        """Return dv with (I + H M) dv = -rest, by a system that is symmetric also where H is 0.

        With h the root of H: dv = h o (I + h M h)^-1 h M rest - rest.
        """
        root = self.root(point.fit)
        if len(root) <= _PAIRED:
            metric = self._metric(reach, point)
            right = root * (metric @ point.rest)
            metric *= root[:, None] * root
            metric[np.diag_indices(len(root))] += 1
            factor = cho_factor(metric, overwrite_a=True, check_finite=False)
            return np.asarray(root * cho_solve(factor, right, check_finite=False) - point.rest)

        def product(v: Floats) -> Floats:
            pulled = self.adjoint(point.masks, v)
            along = (point.units * pulled).sum(axis=1)
            bent = pulled * (1 - point.shares)[:, None]
            bent += point.units * (point.shares * along)[:, None]
            linear = self.columns @ (self.columns.T @ v)
            return np.asarray(reach * (self.apply(point.masks, bent) + linear))

        right = root * product(point.rest)
        # the equation is then off by root o (what is left of the system)
        size = float(np.linalg.norm(right)) * float(root.max())
        tol = _CG * float(np.linalg.norm(point.rest)) / size if size > 0 else 1.0
        change = conjugate_gradient(
            lambda v: v + root * product(root * v), right, 0 * right, tol, _CG_STEPS
        )
        return np.asarray(root * change - point.rest)

    def _metric(self, reach: float, point: Point) -> Floats:
        """Return M = (sum_i D_i X P_i X' D_i + F F') reach, (n, n)."""
        masks = point.masks
        metric = (self.features @ self.features.T) * ((masks * (1 - point.shares)) @ masks.T)
        lines = masks * (self.features @ point.units.T)
        metric += (lines * point.shares) @ lines.T
        metric += self.columns @ self.columns.T
        metric *= reach
        return np.asarray(metric)
