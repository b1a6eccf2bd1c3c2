"""The squared loss with a ridge penalty: one linear system, in the blocks or in the samples."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve

from cvxnn.arrays import to_numpy
from cvxnn.functions import KernelRidge, Ridge, Squared
from cvxnn.linalg import cholesky, cholesky_room
from cvxnn.maps import Coefficients, Kept
from cvxnn.maps.gram import without
from cvxnn.program import Iterate, Program

Floats = NDArray[np.float64]

MOST = 30_000
"""The largest system that is chosen unasked: samples or columns, whichever are fewer."""
_PROGRESS = 0.1
"""A correction in float32 that leaves more of the residual is followed by one in float64."""


def side(n: int, d: int, p: int) -> int:
    """Return the order of the system of n samples and p blocks of d rows: the smaller side."""
    return min(n, p * d)


class System(Protocol):
    """The optimality conditions, factored at one strength."""

    def origin(self) -> tuple[Floats, Floats]:
        """Return the zero point and the zero free coefficients."""

    def residual(self, point: Floats, free: Floats) -> tuple[Floats, Floats]:
        """Return what is left of the conditions, in float64."""

    def correct(self, residual: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Return the step that the factor answers a residual with."""

    def read(self, point: Floats, free: Floats) -> Iterate:
        """Return the iterate of a point."""


class State(NamedTuple):
    """A point of a system, what is left of its conditions there, and the start before it."""

    system: Any
    point: Floats
    free: Floats
    residual: tuple[Floats, Floats]
    start: Iterate | None
    """Handed over until the first step."""
    single: bool
    """Whether the factor is in float32."""
    stuck: bool
    """Whether the last step left nothing to gain."""


@dataclass(frozen=True)
class Direct:
    """Cholesky's method on the normal equations, corrected until their residual is rounding.

    The blocks satisfy (A* W A + alpha I) u + A* W F b = A* W y, of order p d, and with u = A* a the
    samples (A A* + alpha / W) a + F b = y, of order n [Saunders1998]; the smaller is
    solved. A lift that is `Kept` has its matrix made once for a whole path of strengths, so a
    further strength costs one factorisation. Matrices of float32 data are factored in float32, and
    again in float64 where that was too coarse; residuals and the gap are of float64 throughout.
    """

    name = "direct"
    heuristic = False
    copies = (1, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return three square matrices of the smaller side: made, turned and factored."""
        return 3 * side(n, d, p) ** 2 + cholesky_room(side(n, d, p))

    def why_not(self, program: Program) -> str | None:
        """Return None for the squared loss with a ridge penalty, without cones, in NumPy."""
        ridge = isinstance(program.penalty, Ridge | KernelRidge)
        if not isinstance(program.loss.loss, Squared) or not ridge:
            return (
                "the direct solver is for the squared loss with a ridge penalty; use "
                "loss='squared' and GatedRidge(), or solver='auto'"
            )
        if program.constraint is not None:
            return "the direct solver takes no cone constraint; use solver='admm'"
        if not isinstance(program.free, np.ndarray):
            return "the direct solver works in NumPy; leave device=None, or use solver='fista'"
        if not isinstance(program.lift, Kept | Coefficients):
            return (
                "the direct solver needs a lift whose columns can be written out; wrap it in "
                "maps.Kept, or use solver='fista'"
            )
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        """Return the state at zero, with the system factored; a start is handed over as it is."""
        single = program.free.dtype == np.float32
        return _state(_in_double(program), start, single)

    def step(self, program: Program, state: State) -> State:
        """Return the state after one correction."""
        if state.single and _size(state.residual) > 0 and state.stuck:
            fresh = _state(_in_double(program), None, False)
            residual = fresh.system.residual(state.point, state.free)
            state = fresh._replace(point=state.point, free=state.free, residual=residual)
        change, shift = state.system.correct(state.residual)
        point, free = state.point + change, state.free + shift
        residual = state.system.residual(point, free)
        left, before = _size(residual), _size(state.residual)
        if not left < before:
            return state._replace(start=None, stuck=True)
        stuck = state.single and left > _PROGRESS * before
        return state._replace(point=point, free=free, residual=residual, start=None, stuck=stuck)

    def read(self, program: Program, state: State) -> Iterate:
        """Return the blocks, the free coefficients and the dual point."""
        if state.start is not None:
            return state.start
        found: Iterate = state.system.read(state.point, state.free)
        return found

    def done(self, state: State) -> bool:
        """Tell whether a correction in float64 gained nothing."""
        return state.stuck and not state.single


def _in_double(program: Program) -> Program:
    loss = program.loss
    target, weights, free = (
        to_numpy(x).astype(np.float64, copy=False)
        for x in (loss.target, loss.weights, program.free)
    )
    return replace(program, loss=replace(loss, target=target, weights=weights), free=free)


def _state(program: Program, start: Iterate | None, single: bool) -> State:
    n, (p, d, _) = program.lift.out_shape[0], program.lift.in_shape
    samples = isinstance(program.lift, Coefficients) or n <= p * d
    make: Any = _in_samples if samples else _in_blocks
    system: System
    try:
        system = make(program, np.float32 if single else np.float64)
    except LinAlgError:
        if not single:
            raise
        system, single = make(program, np.float64), False
    point, free = system.origin()
    return State(system, point, free, system.residual(point, free), start, single, False)


def _size(residual: tuple[Floats, Floats]) -> float:
    return float(np.hypot(np.linalg.norm(residual[0]), np.linalg.norm(residual[1])))


def _alpha(program: Program) -> float:
    penalty: Any = program.penalty
    return float(penalty.alpha)


def _inverse(matrix: NDArray[Any]) -> Any:
    """Return x -> matrix^-1 x; the lower triangle is overwritten by its factor."""
    factor = cholesky(matrix)

    def apply(right: Floats) -> Floats:
        found = cho_solve(factor, right.astype(matrix.dtype), check_finite=False)
        return np.asarray(found, dtype=np.float64)

    return apply


@dataclass(frozen=True, eq=False)
class _Samples:
    """(K + alpha / W) a + F b = y and F' a = 0, for u = A* a; alpha a is the dual point."""

    program: Program
    kernel: Floats
    inverse: Any
    """z -> (K + alpha / W)^-1 z."""
    turned: Floats
    """(K + alpha / W)^-1 F."""

    def origin(self) -> tuple[Floats, Floats]:
        n, c = self.program.loss.target.shape
        return np.zeros((n, c)), np.zeros((self.program.free.shape[1], c))

    def residual(self, point: Floats, free: Floats) -> tuple[Floats, Floats]:
        loss, columns, alpha = self.program.loss, self.program.free, _alpha(self.program)
        fit = self.kernel @ point + columns @ free + alpha / loss.weights * point
        return loss.target - fit, -columns.T @ point

    def correct(self, residual: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        step, columns = self.inverse(residual[0]), self.program.free
        free = np.linalg.solve(columns.T @ self.turned, columns.T @ step - residual[1])
        return step - self.turned @ free, free

    def read(self, point: Floats, free: Floats) -> Iterate:
        return Iterate(self.program.lift.adjoint(point), free, _alpha(self.program) * point)


def _in_samples(program: Program, dtype: Any) -> _Samples:
    lift: Any = program.lift
    kernel = lift.kernel()
    # the system of W^1/2 K W^1/2 + alpha I is as well conditioned as unequal weights allow
    roots = np.sqrt(program.loss.weights)
    matrix = np.empty(kernel.shape, dtype, order="F")
    np.multiply(kernel.T, roots.T, out=matrix, casting="same_kind")  # symmetric, in its own order
    matrix *= roots.astype(dtype)
    matrix[np.diag_indices(len(matrix))] += _alpha(program)
    inverse = _inverse(matrix)

    def apply(right: Floats) -> Floats:
        return np.asarray(roots * inverse(roots * right))

    return _Samples(program, kernel, apply, apply(program.free))


@dataclass(frozen=True, eq=False)
class _Blocks:
    """(G + alpha I) u + C b = A* W y and C' u + S b = F' W y, where G = A* W A and C = A* W F."""

    program: Program
    inverse: Any
    """u -> (G - C S^-1 C' + alpha I)^-1 u: the free columns are taken out first."""
    beside: Floats
    """C, (D, q)."""
    square: Floats
    """S = F' W F, (q, q)."""

    def origin(self) -> tuple[Floats, Floats]:
        c = self.program.loss.target.shape[1]
        return np.zeros((len(self.beside), c)), np.zeros((self.program.free.shape[1], c))

    def _dual(self, point: Floats, free: Floats) -> Floats:
        shape = self.program.lift.in_shape
        fit = self.program.predict(point.reshape(shape), free)
        return np.asarray(-self.program.loss.gradient(fit))

    def residual(self, point: Floats, free: Floats) -> tuple[Floats, Floats]:
        dual, alpha = self._dual(point, free), _alpha(self.program)
        pull = self.program.lift.adjoint(dual).reshape(point.shape)
        return pull - alpha * point, self.program.free.T @ dual

    def correct(self, residual: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        mixed = self.beside @ np.linalg.solve(self.square, residual[1])
        step = self.inverse(residual[0] - mixed)
        return step, np.linalg.solve(self.square, residual[1] - self.beside.T @ step)

    def read(self, point: Floats, free: Floats) -> Iterate:
        return Iterate(point.reshape(self.program.lift.in_shape), free, self._dual(point, free))


def _in_blocks(program: Program, dtype: Any) -> _Blocks:
    weights, free = program.loss.weights, program.free
    lift: Any = program.lift
    matrix, beside = lift.gram(weights[:, 0], free, dtype)
    square = free.T @ (weights * free)
    matrix = matrix.copy(order="F")
    if free.shape[1]:
        matrix = without(matrix, beside @ np.linalg.inv(np.linalg.cholesky(square)).T)
    matrix[np.diag_indices(len(matrix))] += _alpha(program)
    return _Blocks(program, _inverse(matrix), beside, square)
