"""Two-layer networks with weights -1 and 1: a semidefinite relaxation, and its rounding."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.architectures import free_columns
from cvxnn.architectures.base import with_bias
from cvxnn.arrays import Array, like, to_numpy
from cvxnn.certificate import Certificate, Exactness, Scope, in_domain, resolution
from cvxnn.errors import CvxnnError, UnsupportedError
from cvxnn.functions import L1, SampleLoss, Unpenalised, mean_loss
from cvxnn.maps import Gated, QuadraticForms
from cvxnn.path import interior_dual
from cvxnn.program import Iterate, Program
from cvxnn.samples import positive_weights
from cvxnn.solve import solve_part
from cvxnn.solvers import ADMM, FISTA
from cvxnn.solvers.conic import ConeProgram, iterate_of, power_of_two, written_out
from cvxnn.solvers.piece import Matrix
from cvxnn.solvers.reference import interior_point
from cvxnn.symmetric import side_of, to_matrices
from cvxnn.training import LOSSES, named

Floats = NDArray[np.float64]

KRIVINE = math.pi / (2 * math.log(1 + math.sqrt(2)))
"""1.7822: how much larger a rounded penalty is than the relaxed one, at most [Krivine1979]."""
_GROWTH = math.log(1 + math.sqrt(2))
"""sinh of it is 1."""
_SAFETY = 1e-12
_FLOORS = 10.0 ** np.arange(-13, 1)
"""Shares of the largest scale below which the others are not taken: an interior point leaves some
so small that rounding decides what they are."""
_MOST = 80
"""Features up to which the program is for an interior point method."""


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantisedNetwork:
    """f(x) = sum_j (x'u_j) (x'v_j) a_j + s with u_j and v_j of entries -1 and 1.

    >>> import numpy as np
    >>> net = QuantisedNetwork(
    ...     first=np.array([[1.0, -1.0]]),
    ...     second=np.array([[1.0, 1.0]]),
    ...     weights_out=np.array([[2.0]]),
    ...     intercept=np.zeros(1),
    ...     bias=False,
    ... )
    >>> net(np.array([[3.0, 1.0]])).tolist(), net.weight_decay()
    ([[16.0]], 2.0)
    """

    first: Array
    """u, (m, d), or (m, d + 1) with the bias last."""
    second: Array
    """v, of the same shape."""
    weights_out: Array
    """a, (m, 1)."""
    intercept: Array
    """s, (1,)."""
    bias: bool

    @property
    def n_neurons(self) -> int:
        """Number of neurons, m."""
        return int(self.first.shape[0])

    def hidden(self, X: Array) -> Array:
        """Return the products (x'u_j) (x'v_j), (n, d) to (n, m)."""
        features = with_bias(X, self.bias)
        return (features @ like(self.first, X).T) * (features @ like(self.second, X).T)

    def __call__(self, X: Array) -> Array:
        """Return the outputs, (n, d) to (n, 1)."""
        return self.hidden(X) @ like(self.weights_out, X) + like(self.intercept, X)

    def weight_decay(self) -> float:
        """Return sum_j |a_j|, what alpha multiplies."""
        return float(np.abs(to_numpy(self.weights_out)).sum())


@dataclass(frozen=True, eq=False)
class QuantisedFit:
    """A quantised network, and what the relaxation proves of it."""

    network: QuantisedNetwork
    certificate: Certificate
    """`upper` is the network's objective; no quantised network is below `lower`."""
    guarantee: float
    """The best quantised network has at most this objective: loss of the relaxed fit + 1.7822 times
    the relaxed penalty."""
    form: Floats
    """Z of the relaxed fit x'Zx + s, (d, d)."""
    penalty: float
    """rho, what alpha multiplies in the relaxation."""

    @property
    def proved_ratio(self) -> float:
        """The guarantee over the lower bound: the relaxation is off by at most that, 1.7822."""
        return self.guarantee / self.certificate.lower if self.certificate.lower > 0 else math.inf

    @property
    def ratio(self) -> float:
        """The network's objective over the lower bound."""
        claim = self.certificate
        return claim.upper / claim.lower if claim.lower > 0 else math.inf


def fit_quantised(
    X: Any,
    y: Any,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    n_neurons: int = 1000,
    bias: bool = True,
    fit_intercept: bool = True,
    sample_weight: Any = None,
    random_state: int | None = None,
) -> QuantisedFit:
    """Train a network of bilinear neurons with weights -1 and 1 [BartanPilanci2021Quantized].

    minimise mean loss(sum_j (x'u_j) (x'v_j) a_j + s, y) + alpha * sum_j |a_j|

    `X` (n, d), `y` (n,). The choice of weights is relaxed to minimise L(x'Zx + s) + alpha rho over
    P + Z >= 0, P - Z >= 0, diag P = rho, an interior point program for small d. Its solution is
    rounded: `n_neurons` pairs of signs of Gaussian vectors whose mean product is Z up to a factor
    (the arcsine law), then outward weights by a Lasso on them. The certificate says RELAXATION.

    Raises ValueError for data that are not finite or of the wrong shape and for options out of
    range, UnsupportedError beyond 80 features.

    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    >>> words = {"bias": False, "fit_intercept": False, "random_state": 0}
    >>> found = fit_quantised(X, X[:, 0] ** 2 - X[:, 1] ** 2, alpha=0.01, **words)
    >>> found.certificate.exactness.name, found.network.n_neurons, round(found.ratio, 4)
    ('RELAXATION', 1, 1.0)
    """
    rows, target, weights = _checked(X, y, sample_weight)
    features = with_bias(rows, bias)
    _check_options(alpha, n_neurons, features.shape[1])
    sample_loss: SampleLoss = named("loss", loss, LOSSES, LOSSES)
    mean = mean_loss(sample_loss, target, weights)
    free = free_columns(rows, intercept=fit_intercept, skip=False)
    side = features.shape[1]
    program = Program(
        loss=mean,
        lift=QuadraticForms(features, np.ones((side, side)), np.ones(1), 1),
        penalty=Unpenalised(),
        free=free.columns,
    )
    program = replace(program, interior=interior_dual(program))
    relaxed = _relaxed(program, alpha)
    signs = _signs(relaxed, n_neurons, np.random.default_rng(random_state))
    network = _refitted(features, signs, program, alpha, free.transform, bias)
    upper = mean.value(network(rows)) + alpha * network.weight_decay()
    certificate = Certificate(
        upper=upper,
        lower=relaxed.lower,
        scope=Scope.ALL_NETWORKS,
        exactness=Exactness.RELAXATION,
        bound="semidefinite relaxation",
        resolution=resolution(program),
    )
    guarantee = relaxed.loss + KRIVINE * alpha * relaxed.penalty
    return QuantisedFit(network, certificate, guarantee, relaxed.form, relaxed.penalty)


def _check_options(alpha: float, n_neurons: int, side: int) -> None:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}; it must be positive and finite")
    if n_neurons < 1:
        raise ValueError(f"n_neurons is {n_neurons}; draw at least one neuron")
    if side > _MOST:
        raise UnsupportedError(
            f"there are {side} features and quantised networks take up to {_MOST}; select columns, "
            "or use architecture='quadratic'"
        )


def _checked(X: Any, y: Any, sample_weight: Any) -> tuple[Floats, Floats, Floats]:
    rows, target = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0 or target.shape != (len(rows),):
        raise ValueError(
            f"X has shape {rows.shape} and y {target.shape}; expected (n, d) and (n,), n at least 1"
        )
    if not (np.isfinite(rows).all() and np.isfinite(target).all()):
        raise ValueError("X or y holds NaN or infinite entries; drop or impute them")
    weights, keep = positive_weights(sample_weight, len(rows))
    return rows[keep], target[keep, None], weights[keep]


@dataclass(frozen=True, eq=False)
class _Relaxed:
    form: Floats
    """Z, (d, d)."""
    gram: Floats
    """P, (d, d), with diag P = penalty."""
    penalty: float
    loss: float
    lower: float


def _relaxed(program: Program, alpha: float) -> _Relaxed:
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
    return _Relaxed(form, gram, rho, loss, _lower(program, iterate, scale, alpha))


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


def _lower(program: Program, iterate: Iterate, scale: Floats, alpha: float) -> float:
    """Return what a dual point proves: no neuron may gain more than alpha.

    For G = sum v_i x_i x_i' and any s > 0, u'Gv <= |S^-1/2 G S^-1/2| sum s for all signs u and v.
    """
    v = in_domain(program.loss, program.free, program.interior, iterate.dual)
    slope = to_matrices(program.lift.adjoint(v))[0, 0]
    most = min(_norm(slope, np.maximum(scale, each * scale.max(initial=0.0))) for each in _FLOORS)
    share = min((1 - _SAFETY) * alpha / most, 10.0) if most > 0 else 1.0
    values = [-program.loss.conjugate(-s * v) for s in (share, min(share, 1.0), 0.0)]
    best = max(value for value in values if not math.isnan(value))
    return best - _SAFETY * abs(best)


def _norm(slope: Floats, scale: Floats) -> float:
    """Return |S^-1/2 G S^-1/2| sum s for G (d, d) and s (d,)."""
    root = np.sqrt(scale + 1e-300)
    return float(np.abs(np.linalg.eigvalsh(slope / root / root[:, None])).max() * scale.sum())


def _signs(relaxed: _Relaxed, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
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


def _distinct(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return the pairs that differ, in any order: (u, v) and (v, u) are one neuron."""
    pairs = {
        tuple(sorted([u.tobytes(), v.tobytes()])): k
        for k, (u, v) in enumerate(zip(first, second, strict=True))
    }
    kept = sorted(pairs.values())
    return first[kept], second[kept]


def _refitted(
    features: Floats,
    signs: tuple[Floats, Floats],
    program: Program,
    alpha: float,
    transform: Floats,
    bias: bool,
) -> QuantisedNetwork:
    """Return the network of the pairs with the best outward weights, by a Lasso."""
    first, second = signs
    first, second = _distinct(first * first[:, :1], second * second[:, :1])
    atoms = (features @ first.T) * (features @ second.T)
    ones = np.ones((len(features), 1))
    lasso = replace(program, lift=Gated(atoms, ones, 1), penalty=L1(alpha))
    solver: Any = FISTA() if FISTA().why_not(lasso) is None else ADMM()
    found = solve_part(lasso, solver, tol=1e-7, max_iter=5000).iterate
    sizes = np.asarray(found.blocks)[0]
    kept = np.abs(sizes[:, 0]) > _SAFETY * np.abs(sizes).max(initial=0.0)
    intercept = (transform @ found.free)[-1, :]
    return QuantisedNetwork(
        first=first[kept],
        second=second[kept],
        weights_out=sizes[kept],
        intercept=intercept,
        bias=bias,
    )
