"""Semismooth Newton steps inside a proximal point method: few steps, each a system in the dual."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from cvxnn.arrays import Array, block_norms, double, inner, namespace, norm
from cvxnn.certificate import orthogonal, relative_gap
from cvxnn.functions import Squared
from cvxnn.functions.base import Root
from cvxnn.program import Iterate, Program
from cvxnn.solvers.fista import origin
from cvxnn.solvers.sizes import MOST, sized
from cvxnn.solvers.systems import NEAR, SIDE, WIDE, Slope, Systems

_WIDEN, _NARROW = 3.0, 0.2
"""What a proximal step is multiplied by when Newton's method converged in it, and when not."""
_FARTHEST = 1e6
"""Longest proximal step, in units of the first."""
_NEWTON, _HALVINGS = 40, 30
_SHORT = 1e-3
"""Share of Newton's step below which its system was solved too roughly."""
_EXACT, _SHARPEN = 1e-2, 0.1
"""Residual of the first step, in units of the gradient over the smoothness of the loss, and what
it is multiplied by in every further step."""
_PRODUCTS = 20.0
_STEEP = 1e8
"""Step, in units of the inverse smoothness, at which a prox of the loss inverts its gradient."""
_LEAP = 1e-2
"""Gap at the best sizes, as a share of the last, at which the next step begins there."""
_CLOSE = 0.03
"""Gap at the best sizes of a start below which its dual point is not looked at."""
_ROUND = 1e-14
"""Relative error of rounding in a residual and in a sum of a few values."""
_STILL, _IDLE = 1e-10, 5
"""Relative change of the scores that is little for a step solved up to rounding, and how many idle
steps in turn mean that precision is at its end."""


class Place(NamedTuple):
    """A primal point and scores, in float64."""

    blocks: Array
    """u, (p, d, c)."""
    free: Array
    """b, (q, c)."""
    score: Array
    """z, (n, c): the dual point is v = -grad loss(z)."""
    pulled: Array
    """A'v, (p, d, c)."""
    gap: float = 1.0
    """Least relative gap so far, 1 where it is not known."""
    bounds: tuple[float, float] | None = None
    """Objective and lower bound of both, None where they are not known."""


class State(NamedTuple):
    """Where the proximal point method is."""

    place: Place
    """From where the next step goes; its free columns are in units of `unit`."""
    unit: float
    """What the free columns are multiplied by inside, so that they are as long as a block's."""
    reach: float
    """Length of the next proximal step."""
    farthest: float
    """Length of the longest."""
    exact: float
    """Residual to which it is solved."""
    products: float
    """What a system took by conjugate gradients; a guess at first."""
    idle: int = 0
    """Steps in turn that were not solved, or that were, up to rounding, and moved little."""


class Trial(NamedTuple):
    """What scores z give without a fit: v = -grad loss(z) and the blocks prox(u + reach A'v)."""

    score: Array
    pulled: Array
    """A'v, (p, d, c)."""
    slope: Slope
    """The blocks that are not zero, and how their fit bends with v."""
    free: Array
    value: float
    """Minus the dual objective of the step, less a constant."""
    noise: float
    """How far rounding may put it off."""


class Point(NamedTuple):
    """A trial that is gone on from."""

    trial: Trial
    score: Array
    root: Root
    """B with B B' the curvature of the loss at the scores."""
    residual: Array
    """z - A u - F b, (n, c): zero at the solution."""


@dataclass(frozen=True)
class Newton:
    """The proximal point method in u, each step a system of equations in scores z.

    With v = -grad loss(z) and U = u_k + reach A'v the step's solution is where z = A u + F b, u =
    prox(U), b = b_k + reach F'v. Newton's method on that equation needs I + (A P A' + F F') reach
    H, with H the loss's curvature at z and P the slope of the prox on the blocks that are not zero
    [LiSunToh2018]. As a function of v the residual is minus the gradient of the step's dual, so a
    search along it ends at the solution; and v never leaves the domain of the loss's conjugate.
    The step's solution lags behind in the sizes of its blocks alone: at their best sizes, which
    cost little, the gap is about the square of what it was. So these are looked at after every
    system, and where they are much better the next step begins. For smooth losses and programs
    without a cone. Points are in float64; the products of large systems are in float32, for
    directions alone.
    """

    reach: float = 50.0
    """First proximal step, in units of the step that is best for the one block that v favours."""
    warm: float = 100.0
    """First proximal step from blocks u that are not zero, in units of |u| / |A'v|."""
    goal: float = 0.0
    """Relative gap that is enough, at which a step ends; `solve` sets it."""

    name = "newton"
    heuristic = False
    copies = (7, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return the numbers in masks and fits of active gates and in the largest system."""
        largest = n * n if n <= SIDE else min(WIDE, n * d * p)
        return n * p + 3 * max(largest, min(MOST, n * p), min(NEAR, n * (p + d)))

    def why_not(self, program: Program) -> str | None:
        """Return None for a smooth loss without a cone."""
        if program.constraint is not None:
            return "Newton's method takes no cone constraint; use solver='auto'"
        if not math.isfinite(program.loss.smoothness):
            return "Newton's method needs a smooth loss and this one has kinks; use solver='admm'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start`, or at zero."""
        blocks, free = origin(program) if start is None else (start.blocks, start.free)
        blocks, free = double(blocks), double(free)
        place = _at_best(program, Slope(program, blocks, blocks, 1.0), free)
        if place is None:
            score = program.predict(blocks, free)
            dual = -double(program.loss.gradient(score))
            pulled = program.lift.adjoint(dual) if blocks.shape[0] else blocks
            place = Place(blocks, free, score, pulled)
        smooth, (reach, unit) = program.loss.smoothness, self._first(program, place)
        exact = _EXACT * norm(double(program.loss.gradient(place.score))) / smooth
        place = place._replace(free=place.free / unit)
        state = State(place, unit, reach, _FARTHEST * reach, exact, _PRODUCTS)
        if start is None or blocks.shape[0] == 0 or place.gap < _CLOSE:
            return state
        equation = _Equation(_rescaled(program, unit), state)
        of_dual = equation.tried(_scores_of(program, double(start.dual)))
        best = min(equation.tried(place.score, place.pulled), of_dual, key=lambda each: each.value)
        place = place._replace(score=best.score, pulled=best.pulled, bounds=None)
        return state._replace(place=place)

    def _first(self, program: Program, place: Place) -> tuple[float, float]:
        """Return the first proximal step, and the unit of the free columns."""
        blocks, pulled = place.blocks, place.pulled
        xp, usual = namespace(blocks), 1 / program.loss.smoothness
        if blocks.shape[0] == 0:
            return usual, 1.0
        best = xp.argmax(block_norms(pulled)[:, 0, 0], keepdims=True)
        block = xp.take(pulled, best, axis=0)
        stretch = norm(block)
        stretch = norm(program.lift.restrict(best).apply(block)) / stretch if stretch > 0 else 0.0
        long = norm(program.free[:, :1]) if program.free.shape[1] else 0.0
        unit = stretch / long if stretch > 0 and long > 0 else 1.0
        if (size := norm(blocks)) > 0:
            alive = xp.any(blocks != 0, axis=(1, 2), keepdims=True)
            against = norm(pulled * double(alive))
            return self.warm * size / against if against > 0 else usual, unit
        return self.reach * usual / stretch**2 if stretch > 0 else usual, unit

    def step(self, program: Program, state: State) -> State:
        """Return the state after a proximal step."""
        program, place = _rescaled(program, state.unit), state.place
        equation, systems = _Equation(program, state), Systems(program, state.products)
        point = equation.point(equation.tried(place.score, place.pulled))
        solved, settled, best = equation.solved(point), 0, None
        for count in range(_NEWTON):
            near = count > 0 and norm(point.residual) <= norm(point.score)
            slope, free = point.trial.slope, point.trial.free
            best = _at_best(program, slope, free) if solved or near else None
            if best and (best.gap <= _LEAP * place.gap or best.gap <= self.goal < place.gap):
                return state._replace(place=best, products=systems.products, idle=0)
            if solved:
                break
            move, decrease = systems.direction(slope, point.root, point.residual)
            trial, share = equation.search(point, move, decrease)
            if trial is None:
                break
            if share < _SHORT:
                systems.sharpen()
            # a step can gain nothing where the loss is flat, and enter where it is curved
            settled = settled + 1 if share == 1.0 and decrease <= point.trial.noise else 0
            point = equation.point(trial)
            solved = settled == 2 or equation.solved(point)
        here = _place(program, point)
        if not solved:  # a shorter step is an easier equation
            return state._replace(
                place=place._replace(score=here.score, pulled=here.pulled, bounds=None),
                reach=_NARROW * state.reach,
                products=systems.products,
                idle=state.idle + 1,
            )
        size = norm(here.score)
        still = norm(here.score - place.score) <= _STILL * size and state.exact <= _ROUND * size
        if best and best.gap < here.gap:
            here = best
        return state._replace(
            place=here._replace(gap=min(here.gap, place.gap)),
            reach=min(_WIDEN * state.reach, state.farthest),
            exact=_SHARPEN * state.exact,
            products=systems.products,
            idle=state.idle + 1 if still else 0,
        )

    def read(self, program: Program, state: State) -> Iterate:
        """Return the points."""
        place = state.place
        dual = -double(program.loss.gradient(place.score))
        return Iterate(place.blocks, state.unit * place.free, dual, bounds=place.bounds)

    def done(self, state: State) -> bool:
        """Tell whether steps have come to nothing."""
        return state.idle >= _IDLE


def _place(program: Program, point: Point) -> Place:
    """Return a point in full."""
    trial, blocks = point.trial, point.trial.slope.blocks
    upper = program.loss.value(point.score - point.residual) + program.penalty.value(blocks)
    gap = _gap(program, point.score, trial.pulled, upper)
    where = trial.slope.spread(blocks), trial.free, point.score, trial.pulled
    return Place(*where, gap, _said(upper, gap))


def _at_best(program: Program, slope: Slope, free: Array) -> Place | None:
    """Return where blocks have their best sizes, None where there is no better one."""
    found = sized(replace(program, lift=slope.lift), slope.blocks, free)
    if found is None:
        return None
    pulled = program.lift.adjoint(-double(program.loss.gradient(found.score)))
    gap = _gap(program, found.score, pulled, found.value)
    where = slope.spread(found.blocks), found.free, found.score, pulled
    return Place(*where, gap, _said(found.value, gap))


def _gap(program: Program, score: Array, pulled: Array, upper: float) -> float:
    """Return the relative gap between an objective and the bound of the scores' dual point."""
    if pulled.shape[0] == 0:
        return 1.0
    dual = -double(program.loss.gradient(score))
    across = orthogonal(program.free, dual)
    if norm(across - dual) > _ROUND * norm(dual):
        pulled = program.lift.adjoint(across)
    gauge = float(namespace(pulled).max(program.penalty.polar(pulled)))
    return max(relative_gap(program, across, gauge, upper), _ROUND)


def _said(upper: float, gap: float) -> tuple[float, float] | None:
    """Return an objective and the bound below it, None where the gap is not known."""
    return (upper, (1 - gap) * upper) if gap < 1 else None


def _rescaled(program: Program, unit: float) -> Program:
    """Return the program with its free columns in other units."""
    return replace(program, free=unit * program.free)


def _scores_of(program: Program, dual: Array) -> Array:
    """Return scores whose dual point is the given one, made feasible for the penalty.

    The prox of a steep loss at z with gradient g solves prox(z + c g) = z; for large c, z is lost
    in c g.
    """
    gauge = float(namespace(dual).max(program.penalty.polar(program.lift.adjoint(dual))))
    steep = _STEEP / program.loss.smoothness
    return double(program.loss.prox(-steep / max(gauge, 1.0) * dual, steep))


class _Equation:
    """z = A prox(u + reach A'v) + F (b + reach F'v) with v = -grad loss(z): a proximal step."""

    def __init__(self, program: Program, state: State) -> None:
        self.program, self.state = program, state
        self.columns = double(program.free)

    def tried(self, score: Array, pulled: Array | None = None) -> Trial:
        """Return the trial of scores (n, c); `pulled` is A'v where it is known."""
        state, program = self.state, self.program
        dual = -double(program.loss.gradient(score))
        pulled = program.lift.adjoint(dual) if pulled is None else pulled
        moved = state.place.blocks + state.reach * pulled
        blocks = program.penalty.prox(moved, state.reach)
        free = state.place.free + state.reach * (self.columns.T @ dual)
        slope = Slope(program, moved, blocks, state.reach)
        far = inner(slope.blocks, slope.moved) - inner(slope.blocks, slope.blocks) / 2
        far = (far + inner(free, free) / 2) / state.reach
        loss, penalty = program.loss.value(score), program.penalty.value(slope.blocks)
        product = inner(dual, score)
        value = far - penalty - loss - product
        noise = _ROUND * (abs(far) + abs(penalty) + abs(loss) + abs(product))
        return Trial(score, pulled, slope, free, value, noise)

    def point(self, trial: Trial) -> Point:
        """Return a trial with its fit."""
        slope, score = trial.slope, trial.score
        fit = slope.lift.apply(slope.blocks) + self.columns @ trial.free
        root = self.program.loss.root(score)
        if root.pull is not None:  # a constant in every row does not matter to v
            score = score - namespace(score).mean(score - fit, axis=1, keepdims=True)
        return Point(trial, score, root, score - fit)

    def search(self, point: Point, move: Array, decrease: float) -> tuple[Trial | None, float]:
        """Return a trial along `move` that is lower by a share of `decrease`, None if none is.

        And the share of `move` at which the search ended. Gradients of half squares are linear,
        and so is A'v along the move: one product will do.
        """
        begin, linear = point.trial, isinstance(self.program.loss.loss, Squared)
        share, first, pulled = 1.0, None, None
        for _ in range(_HALVINGS):
            if linear and first is not None:
                pulled = begin.pulled + share * (first.pulled - begin.pulled)
            trial = self.tried(point.score + share * move, pulled)
            first = trial if first is None else first
            enough = begin.value - 1e-4 * share * decrease
            if trial.value <= enough + begin.noise:
                return trial, share
            share /= 2
        return None, share

    def solved(self, point: Point) -> bool:
        """Tell whether the step's equation holds well enough."""
        smooth, left = self.program.loss.smoothness, norm(point.residual)
        change = norm(point.trial.slope.spread(point.trial.slope.blocks) - self.state.place.blocks)
        enough = min(self.state.exact, 0.2 * change / math.sqrt(smooth * self.state.reach))
        return left <= max(enough, _ROUND * norm(point.score))
