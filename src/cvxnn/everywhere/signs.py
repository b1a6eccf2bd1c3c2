"""Two-layer networks with weights -1 and 1 as a semidefinite program, and its rounding.

The penalty of x'Zx is relaxed to the least rho with P + Z >= 0, P - Z >= 0 and diag P = rho.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.certificate import in_domain
from cvxnn.errors import CvxnnError
from cvxnn.program import Program
from cvxnn.solvers.conic import ConeProgram, iterate_of, power_of_two, written_out
from cvxnn.solvers.piece import Matrix
from cvxnn.solvers.reference import interior_point
from cvxnn.symmetric import side_of, to_matrices

Floats = NDArray[np.float64]

KRIVINE = math.pi / (2 * math.log(1 + math.sqrt(2)))
"""1.7822: how much larger a rounded penalty is than the relaxed one, at most [Krivine1979]."""
_GROWTH = math.log(1 + math.sqrt(2))
"""sinh of it is 1."""
_SAFETY = 1e-12
_FLOORS = 10.0 ** np.arange(-13, 1)
"""Shares of the largest scale below which the others are not taken: an interior point leaves some
so small that rounding decides what they are."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The relaxation's solution, made feasible, and what proves its lower bound."""

    form: Floats
    """Z, (d, d)."""
    gram: Floats
    """P, (d, d), with diag P = penalty."""
    penalty: float
    offset: float
    """s."""
    loss: float
    dual: Floats
    """(n, 1), what proves the lower bound."""
    scale: Floats
    """(d,), with it."""
    lower: float


def relax(program: Program, transform: Floats, alpha: float) -> Relaxed:
    """Return the relaxation's solution, made feasible, and the lower bound of its dual point."""
    base = written_out(program)
    cone, own = _with_norm(base, program, alpha)
    zero = np.zeros(program.lift.out_shape)
    cost = power_of_two(program.loss.value(zero))
    answer = interior_point(cone, cost, 1e-9, 1e-11)
    x, z = np.array(answer.x), np.array(answer.z)
    if not (np.isfinite(x).all() and np.isfinite(z).all()):
        raise CvxnnError(f"Clarabel ended with {answer.status}; standardise the data")
    kept = len(base.right)
    iterate = iterate_of(program, base.units, x[: len(base.cost)], z[:kept], cost)
    size = program.lift.in_shape[1]
    form = to_matrices(iterate.blocks)[0, 0]
    gram = to_matrices((own @ x[len(base.cost) :] * base.units.block)[None, :, None])[0, 0]
    gram, rho = _feasible(gram, form)
    pair = [to_matrices(z[kept + k * size :][:size][None, :, None])[0, 0] for k in (0, 1)]
    scale = np.abs(np.diag(pair[0] + pair[1]))
    loss = program.loss.value(program.predict(iterate.blocks, iterate.free))
    dual = in_domain(program.loss, program.free, program.interior, iterate.dual)
    return Relaxed(
        form=form,
        gram=gram,
        penalty=rho,
        offset=float((transform @ iterate.free)[-1, 0]) if len(iterate.free) else 0.0,
        loss=loss,
        dual=dual,
        scale=scale,
        lower=proved_by(program, dual, scale, alpha),
    )


def _with_norm(base: ConeProgram, program: Program, alpha: float) -> tuple[ConeProgram, Matrix]:
    """Add alpha rho with P + Z >= 0, P - Z >= 0, and return what makes P of (rho, its entries)."""
    size = program.lift.in_shape[1]
    side = side_of(size)
    column, row = np.tril_indices(side)
    eye: Matrix = sparse.eye_array(size, format="csc")
    diagonal = sparse.csc_array((row == column).astype(float)[:, None])
    own = sparse.hstack([diagonal, eye[:, np.flatnonzero(row != column)]])
    on = sparse.hstack([eye, sparse.csc_array((size, len(base.cost) - size))])
    none = np.zeros(own.shape[1])
    cost = none.copy()
    cost[0] = alpha * base.units.block
    matrix = sparse.block_array([[base.matrix, None], [-on, -own], [on, -own]], format="csc")
    cone = base._replace(
        square=np.concatenate([base.square, none]),
        cost=np.concatenate([base.cost, cost]),
        matrix=matrix,
        right=np.concatenate([base.right, np.zeros(2 * size)]),
        cones=[*base.cones, ("psd", side), ("psd", side)],
    )
    return cone, own


def _feasible(gram: Floats, form: Floats) -> tuple[Floats, float]:
    """Return P with a constant diagonal and P + Z, P - Z >= 0, by lifting the given one."""
    least = min(float(np.linalg.eigvalsh(gram + s * form)[0]) for s in (1.0, -1.0))
    lifted = gram + max(0.0, -least) * np.eye(len(gram))
    rho = float(np.diag(lifted).max())
    return lifted + np.diag(rho - np.diag(lifted)), rho


def proved_by(program: Program, dual: Floats, scale: Floats, alpha: float) -> float:
    """Return what a dual point (n, 1) proves: no neuron may gain more than alpha.

    For G = sum v_i x_i x_i' and any s > 0, u'Gv <= |S^-1/2 G S^-1/2| sum s for all signs u and v.
    """
    v = in_domain(program.loss, program.free, program.interior, dual)
    slope = to_matrices(program.lift.adjoint(v))[0, 0]
    most = min(_norm(slope, np.maximum(scale, each * scale.max(initial=0.0))) for each in _FLOORS)
    share = min((1 - _SAFETY) * alpha / most, 10.0) if most > 0 else 1.0
    values = [-program.loss.conjugate(-s * v) for s in (share, min(share, 1.0), 0.0)]
    best = max(value for value in values if not math.isnan(value))
    return best - _SAFETY * abs(best)


def feasible_penalty(gram: Floats, form: Floats) -> float:
    """Return rho of P and Z: diag P once P is lifted until P + Z and P - Z are semidefinite."""
    return _feasible(gram, form)[1]


def _norm(slope: Floats, scale: Floats) -> float:
    """Return |S^-1/2 G S^-1/2| sum s for G (d, d) and s (d,)."""
    root = np.sqrt(scale + 1e-300)
    return float(np.abs(np.linalg.eigvalsh(slope / root / root[:, None])).max() * scale.sum())


def draw(relaxed: Relaxed, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return `count` pairs (u, v), E u v' = (2 g / pi) Z / rho with g = log(1 + sqrt 2).

    Signs of Gaussians with correlations sinh(g P / rho) within u and v and sin(g Z / rho) across
    [AlonNaor2006].
    """
    form, gram = relaxed.form, relaxed.gram
    if not relaxed.penalty > 0:
        return np.zeros((0, len(form))), np.zeros((0, len(form)))
    within = np.sinh(_GROWTH * gram / relaxed.penalty)
    across = np.sin(_GROWTH * form / relaxed.penalty)
    sizes, axes = np.linalg.eigh(np.block([[within, across], [across, within]]))
    draws = rng.standard_normal((count, len(sizes))) * np.sqrt(np.maximum(sizes, 0)) @ axes.T
    signs = np.where(draws >= 0, 1.0, -1.0)
    return signs[:, : len(form)], signs[:, len(form) :]
