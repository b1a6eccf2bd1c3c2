"""Two-layer networks with weights -1 and 1: a semidefinite relaxation, and its rounding."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.architectures import free_columns
from cvxnn.architectures.shared import with_bias
from cvxnn.arrays import Array, like, to_numpy
from cvxnn.certificate import Certificate, Evidence, Exactness, Scope, resolution
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.signs import KRIVINE, draw, feasible_penalty, proved_by, relax
from cvxnn.functions import L1, SampleLoss, Unpenalised, mean_loss
from cvxnn.maps import Gated, QuadraticForms
from cvxnn.path import interior_dual
from cvxnn.program import Program
from cvxnn.samples import fingerprint, positive_weights
from cvxnn.solve import solve_part
from cvxnn.solver_choice import named
from cvxnn.solvers import ADMM, FISTA
from cvxnn.training import LOSSES

Floats = NDArray[np.float64]

_FLOOR = 1e-12
"""Outward weights below this share of the largest are zero."""
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

    @property
    def architecture(self) -> str:
        """The name of its kind."""
        return "quantised"

    @property
    def skip(self) -> Array:
        """(d, 1) zeros: there is no linear part."""
        return np.zeros((self.first.shape[1] - int(self.bias), 1))

    def parameters(self) -> dict[str, Array]:
        """Return every array by name, and whether there is a bias."""
        return {name: np.asarray(value) for name, value in vars(self).items()}


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
    gram: Floats
    """P, which proves rho: P + Z and P - Z are semidefinite and diag P = rho, (d, d)."""
    offset: float
    """s."""
    dual: Floats
    """(n, 1), over samples of positive weight, which proves the lower bound."""
    scale: Floats
    """(d,), with it."""
    alpha: float
    loss: SampleLoss
    fit_intercept: bool
    fingerprint: str
    """Of the data."""

    def predict(self, X: Any) -> Floats:
        """Return the network's outputs at samples (n, d), (n,)."""
        rows = np.asarray(X, dtype=np.float64)
        d = len(self.network.skip)
        if rows.ndim != 2 or rows.shape[1] != d or not np.isfinite(rows).all():
            raise ValueError(f"X has shape {rows.shape}; expected finite numbers (n, {d})")
        return np.asarray(self.network(rows)[:, 0])

    def evidence(self, X: Any, y: Any, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it."""
        rows, target, weights = _checked(X, y, sample_weight)
        network, features = self.network, with_bias(rows, bool(self.network.bias))
        program, _ = _program(rows, features, self.loss, target, weights, self.fit_intercept)
        objections = []
        if fingerprint(rows, target, weights) != self.fingerprint:
            objections.append("these are not the data that the model was trained on")
        fit = ((features @ self.form) * features).sum(axis=1)[:, None] + self.offset
        bound = KRIVINE * self.alpha * feasible_penalty(self.gram, self.form)
        guarantee = program.loss.value(fit) + bound
        if not guarantee <= self.guarantee * (1 + 1e-9):
            objections.append(f"the guarantee is {guarantee:.10g}, not {self.guarantee:.10g}")
        same = self.dual.shape == target.shape
        return Evidence(
            claim=self.certificate,
            program=program,
            objective=program.loss.value(network(rows)) + self.alpha * network.weight_decay(),
            dual=self.dual if same else np.zeros_like(target),
            prove=lambda dual: proved_by(program, dual, self.scale, self.alpha),
            objections=tuple(objections),
        )

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
    range, UnsupportedError beyond 80 features, MemoryBudgetError where it would not fit.

    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    >>> words = {"bias": False, "fit_intercept": False, "random_state": 0}
    >>> found = fit_quantised(X, X[:, 0] ** 2 - X[:, 1] ** 2, alpha=0.01, **words)
    >>> found.certificate.exactness.name, found.network.n_neurons, round(found.ratio, 4)
    ('RELAXATION', 1, 1.0)
    """
    rows, target, weights = _checked(X, y, sample_weight)
    features = with_bias(rows, bias)
    _check_options(alpha, n_neurons, features.shape[1])
    memory.require(memory.of_quantised(*features.shape), ways_out="fit on fewer samples or columns")
    sample_loss: SampleLoss = named("loss", loss, LOSSES, LOSSES)
    program, transform = _program(rows, features, sample_loss, target, weights, fit_intercept)
    relaxed = relax(program, transform, alpha)
    signs = draw(relaxed, n_neurons, np.random.default_rng(random_state))
    network = _refitted(features, signs, program, alpha, transform, bias)
    certificate = Certificate(
        upper=program.loss.value(network(rows)) + alpha * network.weight_decay(),
        lower=relaxed.lower,
        scope=Scope.ALL_NETWORKS,
        exactness=Exactness.RELAXATION,
        bound="semidefinite relaxation",
        resolution=resolution(program),
    )
    return QuantisedFit(
        network=network,
        certificate=certificate,
        guarantee=relaxed.loss + KRIVINE * alpha * relaxed.penalty,
        form=relaxed.form,
        penalty=relaxed.penalty,
        gram=relaxed.gram,
        offset=relaxed.offset,
        dual=relaxed.dual,
        scale=relaxed.scale,
        alpha=float(alpha),
        loss=sample_loss,
        fit_intercept=bool(fit_intercept),
        fingerprint=fingerprint(rows, target, weights),
    )


def _program(
    rows: Floats,
    features: Floats,
    loss: SampleLoss,
    target: Floats,
    weights: Floats,
    intercept: bool,
) -> tuple[Program, Floats]:
    """Return the program without its penalty, and what makes an intercept of free coefficients."""
    free, side = free_columns(rows, intercept=intercept, skip=False), features.shape[1]
    program = Program(
        loss=mean_loss(loss, target, weights),
        lift=QuadraticForms(features, np.ones((side, side)), np.ones(1), 1),
        penalty=Unpenalised(),
        free=free.columns,
    )
    return replace(program, interior=interior_dual(program)), free.transform


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
    kept = np.abs(sizes[:, 0]) > _FLOOR * np.abs(sizes).max(initial=0.0)
    intercept = (transform @ found.free)[-1, :]
    return QuantisedNetwork(
        first=first[kept],
        second=second[kept],
        weights_out=sizes[kept],
        intercept=intercept,
        bias=bias,
    )
