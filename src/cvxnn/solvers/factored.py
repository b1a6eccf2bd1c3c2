"""Symmetric matrices by their factors: few neurons move, and an eigenvalue tells who is missing."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.functions import EigenNorm, SphereMoments
from cvxnn.functions.decompose import decomposed, eigenpairs
from cvxnn.linalg import descend_smooth
from cvxnn.maps import QuadraticForms
from cvxnn.maps.gated import row_blocks
from cvxnn.program import Iterate, Program
from cvxnn.projection import inside_cones
from cvxnn.solvers import newton
from cvxnn.solvers.fista import coefficients, origin
from cvxnn.symmetric import to_blocks, to_matrices

Floats = NDArray[np.float64]

_FLOOR = 1e-14
"""Factors whose weight is below this share of their matrix's largest are rounding."""
_FLAT = 1e-12
"""Eigenvalues of the weights of entries below this share of the largest are none."""
_DOUBLINGS = 60
_NEWTON = newton.Newton()
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
    free: Array
    """(q, c), of the free columns beside what A U leaves of them."""
    dual: Array
    """(n, c), minus the gradient of the loss."""
    value: float
    """The objective of the factors, at least that of U."""
    exact: float
    """Relative gain of a step of L-BFGS below which the next round ends."""
    last: newton.State | None
    """Where Newton's method is, once the objective has stood still."""


@dataclass(frozen=True)
class Factored:
    """Descent on factors of low rank, for one or two symmetric matrices an output.

    U = sum of s_j p_j p_j' with p_j = w_j, or (w_j, |w_j|) for moments of the sphere, makes the
    penalty alpha * sum of |w_j|^2 and the program smooth in the w_j [BurerMonteiro2003]. A round
    adds the largest factors of prox(A'v), the proximal step from zero along the dual point, as far
    as a line search goes; factors the sum by eigenvectors or the neural decomposition
    [BartanPilanci2021]; and descends by L-BFGS in the factors and the free coefficients. The prox
    is zero only where the dual point is feasible, so that no stationary point but the optimum is
    the end. Values of the objective tell no more than half of the digits of a gap: where they stand
    still Newton's method goes on. For smooth losses; vectors are on the host, products where the
    data are.
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
        """Return None for a smooth loss on quadratic forms."""
        forms = isinstance(program.lift, QuadraticForms)
        if not (forms and isinstance(program.penalty, EigenNorm | SphereMoments)):
            return (
                "factors are those of symmetric matrices and this program has none; use "
                "solver='auto', or a quadratic or polynomial architecture"
            )
        if program.constraint is not None:
            return "descent on factors takes no cone constraint; use solver='auto'"
        if not math.isfinite(program.loss.smoothness):
            return "factors need a smooth loss and this one has kinks; use solver='admm'"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at `start` moved into the penalty's domain, or at zero."""
        blocks, free = origin(program) if start is None else (start.blocks, start.free)
        blocks, free = inside_cones(program, double(blocks)), double(free)
        columns = double(program.free)
        free = free + coefficients(columns, program.lift.apply(blocks))
        factors = _factors(program, blocks)
        return _Descent(program, factors).state(factors.vectors, free)._replace(exact=self.rough)

    def step(self, program: Program, state: State) -> State:
        """Return the state after a round."""
        if state.last is not None:
            return state._replace(last=_NEWTON.step(program, state.last))
        factors = _factors(program, state.blocks + _missing(program, state))
        descent = _Descent(program, factors)
        words = {"steps": self.steps, "memory": self.memory, "ftol": state.exact}
        found = descent.run(factors.vectors, state.free, **words)
        found = found._replace(exact=max(_SHARPEN * state.exact, _ROUND))
        gained = found.value < state.value - _ROUND * abs(state.value)
        if gained or state.exact > _ROUND:
            return found
        return found._replace(last=_NEWTON.init(program, self.read(program, found)))

    def read(self, program: Program, state: State) -> Iterate:
        """Return the points."""
        if state.last is not None:
            return _NEWTON.read(program, state.last)
        image = program.lift.apply(state.blocks)
        free = state.free - coefficients(double(program.free), image)
        return Iterate(state.blocks, free, state.dual)

    def done(self, state: State) -> bool:
        """Return False: every step may still help."""
        return False


class _Factors(NamedTuple):
    """w_j, which sign it has and which block and output it serves, for m factors."""

    vectors: Floats
    """(m, s), or (m, s - 1) for points of the sphere."""
    signs: Floats
    blocks: NDArray[np.int64]
    outputs: NDArray[np.int64]


def _factors(program: Program, blocks: Array, share: float = _FLOOR) -> _Factors:
    """Return factors of blocks (p, t, c), of at least a share of their matrix's largest weight."""
    host = to_numpy(to_matrices(blocks))
    sphere = isinstance(program.penalty, SphereMoments)
    split = decomposed if sphere else eigenpairs
    vectors = [np.zeros((0, host.shape[-1] - sphere))]
    places = [np.zeros((0, 3))]
    for block, output in np.argwhere(host.any(axis=(2, 3))):
        units, sizes = split(host[block, output])
        kept = np.abs(sizes) > share * np.abs(sizes).max(initial=0.0)
        units, sizes = units[kept], sizes[kept]
        vectors.append(np.sqrt(np.abs(sizes))[:, None] * units)
        owner = np.broadcast_to([block, output], (len(sizes), 2))
        places.append(np.column_stack([np.sign(sizes), owner]))
    every = np.concatenate(places)
    owners = every[:, 1:].astype(np.int64)
    return _Factors(np.concatenate(vectors), every[:, 0], owners[:, 0], owners[:, 1])


def _strength(program: Program) -> float:
    return cast(EigenNorm | SphereMoments, program.penalty).alpha


def _points(program: Program, vectors: Floats) -> Floats:
    """Return the p_j, (m, s)."""
    if not isinstance(program.penalty, SphereMoments):
        return vectors
    return np.concatenate([vectors, np.linalg.norm(vectors, axis=1, keepdims=True)], axis=1)


def _composed(program: Program, factors: _Factors, vectors: Floats) -> Array:
    """Return the blocks (p, t, c) whose factors are these vectors (m, s)."""
    (p, _, c), points = program.lift.in_shape, _points(program, vectors)
    matrices = np.zeros((p, c, points.shape[1], points.shape[1]))
    for block, output in {*zip(factors.blocks.tolist(), factors.outputs.tolist(), strict=True)}:
        mine = (factors.blocks == block) & (factors.outputs == output)
        matrices[block, output] = (points[mine].T * factors.signs[mine]) @ points[mine]
    return to_blocks(like(matrices, double(program.free)))


def _missing(program: Program, state: State) -> Array:
    """Return what the dual point lacks: t prox(A'v), with the t that lowers the objective most."""
    step = program.penalty.prox(program.lift.adjoint(state.dual), 1.0)
    factors = _factors(program, step, _WORTH)
    cost = _strength(program) * float((factors.vectors**2).sum())
    if cost == 0:
        return step
    step = _composed(program, factors, factors.vectors)
    columns = double(program.free)
    images = (program.lift.apply(each) for each in (state.blocks, step))
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
    return share * step


class _Descent:
    """The objective as a function of factors w (m, s) and free coefficients (q, c)."""

    def __init__(self, program: Program, factors: _Factors) -> None:
        self.program, self.factors = program, factors
        lift = cast(QuadraticForms, program.lift)
        self.columns, x = double(program.free), double(lift.features)
        self.sphere = isinstance(program.penalty, SphereMoments)
        # x'(K o pp')x is the sum of k ((x o g)'p)^2 over the eigenpairs (k, g) of K
        sizes, axes = np.linalg.eigh(to_numpy(double(lift.weights)))
        kept = np.abs(sizes) > _FLAT * np.abs(sizes).max()
        self.parts = [
            (float(size), x * like(axis, x))
            for size, axis in zip(sizes[kept], axes.T[kept], strict=True)
        ]
        host = np.eye(lift.outputs)[factors.outputs] * factors.signs[:, None]
        self.mix = like(host * to_numpy(double(lift.signs))[factors.blocks, None], x)
        """(m, c): the sign of a factor in its output."""
        self.rows = list(row_blocks(x.shape[0], max(1, len(host))))

    def run(self, vectors: Floats, free: Array, **words: Any) -> State:
        """Return the state where L-BFGS ends."""
        shape, size = to_numpy(free).shape, vectors.size
        start = np.concatenate([vectors.ravel(), to_numpy(free).ravel()])

        def function(point: Floats) -> tuple[float, Floats]:
            w, b = point[:size].reshape(vectors.shape), point[size:].reshape(shape)
            value, slope, free_slope, _ = self._at(w, b)
            return value, np.concatenate([slope.ravel(), free_slope.ravel()])

        end = descend_smooth(function, start, **words) if len(start) else start
        return self.state(end[:size].reshape(vectors.shape), end[size:].reshape(shape))

    def state(self, vectors: Floats, free: Array) -> State:
        """Return the point of factors and free coefficients."""
        value, _, _, dual = self._at(vectors, to_numpy(free))
        blocks = _composed(self.program, self.factors, vectors)
        return State(blocks, like(to_numpy(free), self.columns), dual, value, 0.0, None)

    def _at(self, vectors: Floats, free: Floats) -> tuple[float, Floats, Floats, Array]:
        """Return the objective, its gradients in both arguments, and the dual point."""
        loss, columns, alpha = self.program.loss, self.columns, _strength(self.program)
        points = _points(self.program, vectors)
        there = like(points, columns)
        xp = namespace(columns)
        held = self._values(there, self.rows[0]) if len(self.rows) == 1 else None
        forms = xp.concat(
            [
                sum(k * h**2 for k, h in held or self._values(there, rows)) @ self.mix
                for rows in self.rows
            ]
        )
        score = forms - columns @ (coefficients(columns, forms) - like(free, columns))
        gradient = double(loss.gradient(score))
        pull = gradient - columns @ coefficients(columns, gradient)
        slope = 0.0 * there
        for rows in self.rows:
            spread = pull[rows, :] @ self.mix.T
            for (k, x), (_, h) in zip(self.parts, held or self._values(there, rows), strict=True):
                slope = slope + 2 * k * ((h * spread).T @ x[rows, :])
        down = to_numpy(slope)
        if self.sphere:
            lengths = points[:, -1:]
            unit = vectors / np.where(lengths > 0, lengths, 1.0)
            down = down[:, :-1] + down[:, -1:] * unit
        value = loss.value(score) + alpha * float((vectors**2).sum())
        return value, down + 2 * alpha * vectors, to_numpy(columns.T @ gradient), -gradient

    def _values(self, points: Array, rows: slice) -> list[tuple[float, Array]]:
        """Return k and (x o g)'p for some samples and every eigenpair (k, g)."""
        return [(k, x[rows, :] @ points.T) for k, x in self.parts]
