"""When a network with a skip connection learns the linear model that made the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import GatedNetwork, GatedReLU, ReLU, ReLUNetwork
from cvxnn.certificate import Certificate, Exactness, Scope, feasible_dual
from cvxnn.everywhere.neurons import Floats
from cvxnn.functions import GroupNorm, Interpolation, Nonnegative, mean_loss
from cvxnn.gates import Gates
from cvxnn.maps import ConeRows, Gated
from cvxnn.program import Constraint, Program
from cvxnn.projection import inside_cones
from cvxnn.solver_choice import named
from cvxnn.solvers import Reference
from cvxnn.support import as_data
from cvxnn.training import gates_of

_TOL = 1e-9
"""Relative gap that ends the attempts of the solver."""
_LINEAR = 1e-5
"""Share of the norm in neurons up to which a network counts as linear: interior points leave some
of it in blocks whose dual constraint is nearly tight."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Isometry:
    """The neural isometry condition of data and a direction; see `neural_isometry`."""

    values: Floats
    """(p,): |X' D_i X (X'X)^-1 w| / |w| of every pattern."""
    masks: NDArray[np.bool_]
    """D, (p, n); the pattern that is open everywhere is the skip itself and not among them."""
    every: bool
    """Whether these are all patterns of the data."""

    @property
    def largest(self) -> float:
        """Return the largest value; 0 without patterns."""
        return float(self.values.max(initial=0.0))

    @property
    def holds(self) -> bool:
        """Tell whether all values are below 1: then the linear model is the only optimum."""
        return self.largest < 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Interpolant:
    """The network with a skip of least norm among those that meet the data; see `interpolate`."""

    network: ReLUNetwork | GatedNetwork
    certificate: Certificate
    """Bounds on |w_0| + sum_j |w_j| |a_j|, w_0 the skip."""
    residual: float
    """Largest |f(x_i) - y_i| over the largest |y_i|."""

    @property
    def is_linear(self) -> bool:
        """Tell whether the neurons have no more than 1e-5 of the norm."""
        return self.network.weight_decay() <= _LINEAR * self.certificate.upper


def neural_isometry(
    X: Any, weights: Any, *, gates: Any = "enumerate", n_gates: int = 256, random_state: Any = None
) -> Isometry:
    """Return how near patterns come to breaking the recovery of a linear model y = X w.

    |X' D_i X (X'X)^-1 w| / |w| < 1 for every pattern D_i suffices for the linear model to be the
    one optimum of `interpolate` [WangHua2022]; for Gaussian data it does so from about n = 2 d on.
    `X` is (n, d) with independent columns, `weights` w is (d,); `gates` is "enumerate", "sample"
    for `n_gates` drawn ones, which may not be all, as `every` then says, or generators (p, d).

    Raises ValueError for dependent columns, n < d among them, and for w = 0.

    >>> X = np.random.default_rng(0).standard_normal((12, 2))
    >>> neural_isometry(X, [1.0, 2.0]).holds
    True
    """
    rows = _data(X)
    direction = np.asarray(weights, dtype=np.float64)
    if direction.shape != (rows.shape[1],) or not np.isfinite(direction).all():
        raise ValueError(f"weights have shape {direction.shape}; expected ({rows.shape[1]},)")
    if not direction.any():
        raise ValueError("weights are zero; the condition is about a direction")
    spectrum = np.linalg.svd(rows, compute_uv=False)
    if len(rows) < rows.shape[1] or spectrum[-1] <= 1e-10 * spectrum[0]:
        raise ValueError(
            f"X of shape {rows.shape} has dependent columns, so that its linear model is not "
            "determined by the data; pass more samples, or drop columns"
        )
    drawn, scope = _gates(rows, gates, n_gates, random_state)
    masks = drawn.masks[~drawn.masks.all(axis=1)]
    dual = rows @ np.linalg.solve(rows.T @ rows, direction / np.linalg.norm(direction))
    values = np.linalg.norm((masks * dual) @ rows, axis=1)
    return Isometry(values=values, masks=masks, every=scope is Scope.ALL_NETWORKS)


def interpolate(
    X: Any,
    y: Any,
    *,
    architecture: str = "relu",
    gates: Any = "enumerate",
    n_gates: int = 64,
    random_state: Any = None,
) -> Interpolant:
    """Return the network with a skip connection of least norm that meets the data.

    minimise |w_0| + sum_j |w_j| |a_j| over networks f(x) = x.w_0 + sum_j a_j max(0, x.w_j) of any
    width with f(x_i) = y_i for all i

    It is the limit of training with the squared loss as weight decay falls to 0, here with the skip
    in it, and linear where `neural_isometry` of the linear model holds [WangHua2022]. `X` is
    (n, d), `y` (n,); `gates` as in `neural_isometry`. With architecture "gated" the neurons are
    gated on these gates: for them the condition is necessary too, up to values of 1.

    Raises ValueError for data that no network on the gates meets.

    >>> X = np.random.default_rng(0).standard_normal((12, 2))
    >>> found = interpolate(X, X @ [1.0, 2.0])
    >>> found.is_linear, found.network.skip[:, 0].round(6).tolist()
    (True, [1.0, 2.0])
    """
    rows, target = _data(X), np.asarray(y, dtype=np.float64)
    if target.shape != (len(rows),) or not np.isfinite(target).all():
        raise ValueError(
            f"y has shape {target.shape} and X {len(rows)} rows; expected one finite number per row"
        )
    drawn, scope = _gates(rows, gates, n_gates, random_state)
    kinds: dict[str, Any] = {each.name: each for each in (ReLU(False), GatedReLU(False))}
    kind = named("architecture", architecture, kinds, kinds)
    program, exactness = _program(kind, rows, target, drawn), kind.exactness
    scope = kind.scope(every=scope is Scope.ALL_NETWORKS, outputs=1)
    reach = np.concatenate([rows, *(mask[:, None] * rows for mask in drawn.masks)], axis=1)
    left = target - reach @ np.linalg.lstsq(reach, target)[0]
    if np.linalg.norm(left) > 1e-8 * np.linalg.norm(target):
        raise ValueError(
            f"no network on these {len(drawn)} gates meets the data: sample "
            f"{int(np.abs(left).argmax())} is missed; average the targets of samples on one ray, "
            "append a column of ones, or pass more gates"
        )
    blocks, claim = _solved(program, scope, exactness)
    none = np.zeros(1)
    network = kind.recover(drawn, blocks[1:], none, blocks[0], rows)
    short = float(np.abs(network(rows)[:, 0] - target).max())
    return Interpolant(
        network=network,
        certificate=claim,
        residual=short / (float(np.abs(target).max()) or 1.0),
    )


def _data(X: Any) -> Floats:
    given = np.asarray(X)
    if given.ndim != 2:
        raise ValueError(f"X has shape {given.shape}; expected (n, d)")
    return as_data(given, given.shape[1])


def _gates(rows: Floats, choice: Any, count: int, random_state: Any) -> tuple[Gates, Scope]:
    rng = np.random.default_rng(random_state)
    return gates_of(ReLU(bias=False), rows, choice, count, rng)


def _program(kind: Any, rows: Floats, target: Floats, gates: Gates) -> Program:
    """Return the program: the skip is a block that is open everywhere and has no cone."""
    masks, signs = gates.masks.astype(float), np.where(gates.masks, 1.0, -1.0)
    ones, none = np.ones((1, len(rows))), np.zeros((1, len(rows)))
    both, constraint = [ones, masks], None
    if kind.name == "relu":
        rules = np.concatenate([none, signs, signs])
        both, constraint = (
            [ones, masks, -masks],
            Constraint(ConeRows(rows, rules, 1), Nonnegative()),
        )
    return Program(
        loss=mean_loss(Interpolation(), target[:, None]),
        lift=Gated(rows, np.concatenate(both).T, 1),
        penalty=GroupNorm(1.0),
        free=np.zeros((len(rows), 0)),
        constraint=constraint,
    )


def _solved(program: Program, scope: Scope, exactness: Exactness) -> tuple[Floats, Certificate]:
    """Return the blocks of least norm and their certificate, of the solver's best attempts."""
    solver = Reference()
    state, upper, lower, blocks = solver.init(program, None), np.inf, -np.inf, None
    slack = 0.0
    while not solver.done(state):
        state = solver.step(program, state)
        if not state.answered:
            continue
        iterate = solver.read(program, state)
        found = inside_cones(program, iterate.blocks)
        proved, dual = feasible_dual(program, iterate.dual, iterate.multiplier)
        lower = max(lower, proved)
        short = program.lift.apply(found) - program.loss.target
        # a point that misses the data by r may fall below their optimum by |dual| |r|
        missed = float(np.linalg.norm(dual) * np.linalg.norm(short))
        if program.penalty.value(found) + missed < upper + slack:
            upper, blocks, slack = program.penalty.value(found), found, missed
        if upper - lower <= _TOL * upper:
            break
    assert blocks is not None  # the solver raises where it has no answer
    bound = "enumeration" if scope is Scope.ALL_NETWORKS else "dual"
    claim = Certificate(
        upper=upper,
        lower=lower,
        scope=scope,
        exactness=exactness,
        bound=bound,
        resolution=1e-12 * upper + slack,
    )
    return blocks, claim
