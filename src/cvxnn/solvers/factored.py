"""Few factors in the place of large matrices: they move, and a dual point tells who is missing."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, double, like, to_numpy
from cvxnn.linalg import descend_smooth
from cvxnn.program import Iterate, Program
from cvxnn.projection import inside_cones
from cvxnn.solvers import newton
from cvxnn.solvers.factors import Factors, factors_of, strength, why_no_factors
from cvxnn.solvers.fista import coefficients, origin

Floats = NDArray[np.float64]

_FLOOR = 1e-14
"""Factors whose weight is below this share of their matrix's largest are rounding."""
_DOUBLINGS = 60
_NEWTON = newton.Newton()
_MOST = 20_000
"""Entries of the blocks up to which Newton's method sharpens the end."""
_SHARPEN = 0.03
"""What the gain at which a round ends is multiplied by from one to the next."""
_WORTH = 0.3
"""Share of a matrix's largest new factor from which others are added with it."""
_ROUND = 1e-15
"""Relative change of an objective that is rounding."""


class State(NamedTuple):
    """The last point, in float64, and how long the objective has stood still."""

    blocks: Array
    """U, (p, t, c)."""
    image: Array
    """A U, (n, c)."""
    free: Array
    """(q, c), of the free columns beside what A U leaves of them."""
    dual: Array
    """(n, c), minus the gradient of the loss."""
    value: float
    """The objective of the factors, at least that of U."""
    exact: float
    """Relative gain of a step of L-BFGS below which the next round ends; 0 where no more may."""
    last: newton.State | None
    """Where Newton's method is, once the objective has stood still."""


@dataclass(frozen=True)
class Factored:
    """Descent on factors of low rank: of symmetric matrices, or attention heads.

    U = sum of s_j p_j p_j' with p_j = w_j, or (w_j, |w_j|) for moments of the sphere, makes the
    penalty alpha * sum of |w_j|^2 and the program smooth in the w_j [BurerMonteiro2003]; a sum of
    heads p_j q_j' makes the nuclear norm alpha / 2 * sum of |p_j|^2 + |q_j|^2. A round
    adds the largest factors of prox(A'v), the proximal step from zero along the dual point, as far
    as a line search goes; factors the sum by eigenvectors, the neural decomposition
    [BartanPilanci2021] or singular vectors; and descends by L-BFGS in the factors and the free
    coefficients. The prox is zero only where the dual point is feasible, so that no stationary
    point but the optimum is the end. Values of the objective tell no more than half of the digits
    of a gap: where they stand still Newton's method goes on, on blocks that are not too large. For
    smooth losses; vectors are on the host, products where the data are.
    """

    steps: int = 150
    """Steps of L-BFGS in a round."""
    memory: int = 30
    """Pairs of steps and gradients that it keeps."""
    rough: float = 1e-6
    """Relative gain of a step below which the first round ends; later ones go further."""

    name = "factored"
    heuristic = False
    copies = (6, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return the numbers in the data times the factors of the weights of entries."""
        return 2 * n * (d + 1)

    def why_not(self, program: Program) -> str | None:
        """Return None for a smooth loss on blocks that have factors."""
        if reason := why_no_factors(program):
            return reason
        if program.constraint is not None:
            return "descent on factors takes no cone constraint; use solver='auto'"
        if not math.isfinite(program.loss.smoothness):
            return "factors need a smooth loss and this one has kinks; use solver='admm'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start` moved into the penalty's domain, or at zero."""
        blocks, free = origin(program) if start is None else (start.blocks, start.free)
        blocks, free = inside_cones(program, double(blocks)), double(free)
        factors = factors_of(program, blocks, _FLOOR)
        image = factors.image(factors.vectors)[0]
        free = free + coefficients(double(program.free), image)
        return _Descent(program, factors).state(factors.vectors, free)._replace(exact=self.rough)

    def step(self, program: Program, state: State) -> State:
        """Return the state after a round."""
        if state.last is not None:
            return state._replace(last=_NEWTON.step(program, state.last))
        factors = factors_of(program, state.blocks + _missing(program, state), _FLOOR)
        descent = _Descent(program, factors)
        words = {"steps": self.steps, "memory": self.memory, "ftol": state.exact}
        found = descent.run(factors.vectors, state.free, **words)
        found = found._replace(exact=max(_SHARPEN * state.exact, _ROUND))
        gained = found.value < state.value - _ROUND * abs(state.value)
        if gained or state.exact > _ROUND:
            return found
        if math.prod(found.blocks.shape) > _MOST:
            return found._replace(exact=0.0)
        return found._replace(last=_NEWTON.init(program, self.read(program, found)))

    def read(self, program: Program, state: State) -> Iterate:
        """Return the points."""
        if state.last is not None:
            return _NEWTON.read(program, state.last)
        free = state.free - coefficients(double(program.free), state.image)
        return Iterate(state.blocks, free, state.dual)

    def done(self, state: State) -> bool:
        """Tell whether nothing more is gained on blocks that are too large for Newton's method."""
        return state.exact == 0.0


def _missing(program: Program, state: State) -> Array:
    """Return what the dual point lacks: t prox(A'v), with the t that lowers the objective most."""
    step = program.penalty.prox(program.lift.adjoint(state.dual), 1.0)
    factors = factors_of(program, step, _WORTH, new=True)
    cost = strength(program) * factors.cost * float((factors.vectors**2).sum())
    if cost == 0:
        return step
    columns = double(program.free)
    images = (state.image, factors.image(factors.vectors)[0])
    image, along = (each - columns @ coefficients(columns, each) for each in images)
    image = image + columns @ state.free

    def value(share: float) -> float:
        return float(program.loss.value(image + share * along)) + share * cost

    share, best = 1.0, value(1.0)
    factor = 2.0 if value(2.0) < best else 0.5
    for _ in range(_DOUBLINGS):
        trial = value(factor * share)
        if trial >= best and (factor > 1 or best < value(0.0)):
            break
        share, best = factor * share, trial
    return share * factors.composed(factors.vectors)


class _Descent:
    """The objective as a function of factors w (m, k) and free coefficients (q, c)."""

    def __init__(self, program: Program, factors: Factors) -> None:
        self.program, self.factors, self.columns = program, factors, double(program.free)
        self.price = strength(program) * factors.cost

    def run(self, vectors: Floats, free: Array, **words: Any) -> State:
        """Return the state where L-BFGS ends."""
        shape, size = to_numpy(free).shape, vectors.size
        start = np.concatenate([vectors.ravel(), to_numpy(free).ravel()])

        def function(point: Floats) -> tuple[float, Floats]:
            w, b = point[:size].reshape(vectors.shape), point[size:].reshape(shape)
            value, slope, free_slope, _, _ = self._at(w, b)
            return value, np.concatenate([slope.ravel(), free_slope.ravel()])

        end = descend_smooth(function, start, **words) if len(start) else start
        return self.state(end[:size].reshape(vectors.shape), end[size:].reshape(shape))

    def state(self, vectors: Floats, free: Array) -> State:
        """Return the point of factors and free coefficients."""
        value, _, _, dual, image = self._at(vectors, to_numpy(free))
        blocks = self.factors.composed(vectors)
        return State(blocks, image, like(to_numpy(free), self.columns), dual, value, math.inf, None)

    def _at(self, vectors: Floats, free: Floats) -> tuple[float, Floats, Floats, Array, Array]:
        """Return the objective, its gradients in both arguments, the dual point and A U."""
        loss, columns = self.program.loss, self.columns
        image, back = self.factors.image(vectors)
        score = image - columns @ (coefficients(columns, image) - like(free, columns))
        gradient = double(loss.gradient(score))
        down = back(gradient - columns @ coefficients(columns, gradient))
        value = loss.value(score) + self.price * float((vectors**2).sum())
        slope = down + 2 * self.price * vectors
        return value, slope, to_numpy(columns.T @ gradient), -gradient, image
