"""Networks of least norm that separate two classes, and how far any network is from them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import nnls

from cvxnn.architectures import Architecture, Network, ReLUNetwork, assemble, free_columns
from cvxnn.architectures.base import Problem, evaluate
from cvxnn.certificate import Certificate, Exactness, Scope, feasible_dual
from cvxnn.errors import UnsupportedError, listed
from cvxnn.everywhere.margins import Bound, generate, norm_bound
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.price import price
from cvxnn.everywhere.separable import Rows, conflict, unmet
from cvxnn.functions import HardMargin, mean_loss
from cvxnn.gates import Gates
from cvxnn.gates.base import masks_of
from cvxnn.gates.enumerate import cover_count
from cvxnn.program import Iterate
from cvxnn.projection import inside_cones
from cvxnn.solvers import Reference
from cvxnn.support import as_data, require_network
from cvxnn.training import architecture_of, gates_of

_SMALL = 60_000
"""Entries of the program up to which every pattern is taken at once."""
_ROUGH = 1e-3
"""Relative excess of a price over 1 that linear programs leave to the programs of patterns."""
_ROUNDS, _GAIN = 6, 1e-4
"""Rounds in which patterns are added to those of the neurons that were generated, at most, and the
share of the norm that each must bring for another."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxMargin:
    """The network of least norm whose margins are all at least 1; see `max_margin`."""

    network: Network
    """One output, positive for `classes[1]`; its smallest margin is 1."""
    certificate: Certificate
    """Bounds on the norm sum_j |w_in| |w_out|, which for balanced layers is |theta|^2 / 2."""
    dual: Floats
    """m, (n,): feasible, and the lower bound is its sum. Zero off the margin at the optimum."""
    classes: NDArray[Any]
    """The two labels, in order."""

    @property
    def margin(self) -> float:
        """Return 1 / norm, the largest margin of a network of norm 1."""
        return 1 / self.certificate.upper

    def decision_function(self, X: Any) -> Floats:
        """Return the network's outputs at samples (n, d), (n,)."""
        return np.asarray(evaluate(self.network, as_data(X, len(self.network.skip)))[:, 0])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels of samples (n, d)."""
        return np.asarray(self.classes[(self.decision_function(X) > 0).astype(int)])


def max_margin(
    X: Any,
    y: Any,
    *,
    architecture: str | Architecture = "relu",
    gates: Any = "auto",
    n_gates: int = 256,
    tol: float = 1e-6,
    proof_time: float = 1.0,
    random_state: Any = None,
) -> MaxMargin:
    """Return the network of least norm that separates two classes with margin 1.

    minimise sum_j |w_j| |a_j| over networks f of any width with y_i f(x_i) >= 1 for all i

    It is the limit of training as alpha falls to 0 with logistic or hinge loss, and what gradient
    flow tends to on orthogonally separable data [WangPilanci2022, Phuong2021]. `X` is (n, d), `y`
    (n,) holds two different labels. `architecture` is "relu", "gated" or an object, as in
    `ConvexClassifier`; an object says whether there is a hidden bias. `gates` is "enumerate" for
    every activation pattern, "grow" for patterns added where they help, "sample" for `n_gates`
    drawn ones, generators (p, d), or "auto": of ReLU networks "enumerate" for tiny data and else
    "grow", of gated ones "sample". Growth looks for neurons until prices are within `tol` of the
    optimum's; `proof_time` is how many seconds the bound over all networks may take where it is not
    by enumeration.

    Raises ValueError for data that the networks allowed cannot separate, naming samples that show
    it, for other than two labels, and for data that are not finite.

    >>> from cvxnn import ReLU
    >>> X = [[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]]
    >>> found = max_margin(X, [1, 1, -1, -1], architecture=ReLU(bias=False))
    >>> round(found.certificate.lower, 6), round(found.certificate.upper, 6)
    (2.200402, 2.200402)
    """
    rows, signs, classes = two_classes(X, y)
    kind = architecture_of(architecture)
    if kind.name not in ("relu", "gated"):
        raise UnsupportedError(
            f"max_margin is for ReLU and gated networks, and this one is {kind.name!r}"
        )
    if not 0 < tol < 1:
        raise ValueError(f"tol is {tol!r}; expected a number between 0 and 1")
    rng, features = np.random.default_rng(random_state), kind.features(rows)
    choice = _choice(kind, features, gates)
    if isinstance(choice, str) and choice in ("grow", "enumerate") and kind.name == "relu":
        _require(conflict(features, signs), "no ReLU network", classes, signs)
    if isinstance(choice, str) and choice == "grow":
        return _grown(kind, rows, signs, classes, tol, proof_time, rng)
    drawn, scope = gates_of(kind, rows, choice, n_gates, rng)
    _require(
        _unseparated(kind, drawn, features, signs), "no network on these gates", classes, signs
    )
    network, claim, dual = _on_gates(_problem(kind, rows, signs, drawn, scope), 1e-3 * tol)
    return MaxMargin(network=network, certificate=claim, dual=dual, classes=classes)


def certify_margin(
    network: ReLUNetwork,
    X: Any,
    y: Any,
    *,
    dual: Any = None,
    proof_time: float = 1.0,
) -> Certificate:
    """Return bounds on the least norm of networks with margin 1, one of them a network's own.

    The upper bound is the network's norm over its smallest margin: sum_j |w_j| |a_j| / min_i
    y_i f(x_i), for it can be scaled; infinity if it does not separate the classes. The lower bound
    is the sum of m over the largest |sum_i m_i y_i max(0, x_i.u)| of a unit u, for weights m >= 0
    [WangPilanci2022]. They are `dual` (n,), as averages of loss weights over training or
    `max_margin(...).dual`, the network's own loss weights at several temperatures, and those that
    come closest to making it stationary; the best of them counts.

    `y` holds two labels, of which the larger one is where the network is positive. Raises
    UnsupportedError for other than ReLU networks of one output and for networks with an intercept
    or a skip, which no norm counts; ValueError for data that do not fit.

    >>> from cvxnn import ReLU
    >>> X, y = [[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]], [1, 1, -1, -1]
    >>> found = max_margin(X, y, architecture=ReLU(bias=False))
    >>> certify_margin(found.network, X, y).proves(1e-6)
    True
    """
    network = require_network(network)
    if network.intercept.any() or network.skip.any():
        raise UnsupportedError(
            "the network has an intercept or a skip, which its norm does not count; train one "
            "without, with a hidden bias if need be"
        )
    rows, signs, _ = two_classes(X, y, width=len(network.skip))
    features = rows
    if network.weights_in.shape[1] > rows.shape[1]:
        features = np.column_stack([rows, np.ones(len(rows))])
    weights = _given_weights(dual, len(rows))
    margins = signs * evaluate(network, rows)[:, 0]
    least = float(margins.min())
    upper = network.weight_decay() / least if least > 0 else np.inf
    bound = _best_bound(network, features, signs, margins, weights, proof_time)
    return Certificate(
        upper=upper,
        lower=bound.lower,
        scope=Scope.ALL_NETWORKS,
        exactness=Exactness.EXACT,
        bound=bound.kind,
        resolution=1e-14 * bound.lower,
    )


def two_classes(X: Any, y: Any, width: int | None = None) -> tuple[Floats, Floats, NDArray[Any]]:
    """Return samples (n, d), signs (n,) and the two labels; ValueError for anything else."""
    given = np.asarray(X)
    if given.ndim != 2:
        raise ValueError(f"X has shape {given.shape}; expected (n, d)")
    rows, labels = as_data(given, given.shape[1] if width is None else width), np.asarray(y)
    if labels.shape != (len(rows),):
        raise ValueError(f"y has shape {labels.shape} and X {len(rows)} rows; pass one label each")
    classes = np.unique(labels)
    if len(classes) != 2:
        raise ValueError(f"y has {len(classes)} different labels; a margin is between two")
    return rows, np.where(labels == classes[1], 1.0, -1.0), classes


def _choice(kind: Architecture, features: Floats, gates: Any) -> Any:
    """Return what "auto" stands for; ValueError for a gated network that should grow."""
    if kind.name != "relu":
        if isinstance(gates, str) and gates == "grow":
            raise ValueError("gates is 'grow' and gated networks do not grow; pass 'sample'")
        return "sample" if isinstance(gates, str) and gates == "auto" else gates
    if isinstance(gates, str) and gates == "auto":
        n, d = features.shape
        entries = cover_count(n, min(n, d)) * n * d
        return "enumerate" if entries <= _SMALL else "grow"
    return gates


def _require(rows: Rows | None, who: str, classes: NDArray[Any], signs: Floats) -> None:
    """Raise ValueError where some samples are not separated."""
    if rows is None:
        return
    names = listed(f"{row} ({classes[int(signs[row] > 0)]})" for row in rows)
    raise ValueError(
        f"{who} separates the classes: none does so on samples {names}, numbered from 0; look for "
        "equal samples or labels in error, use a hidden bias or more gates, or train with weight "
        "decay, which needs no separation: ConvexClassifier(loss='hinge')"
    )


def _unseparated(kind: Architecture, gates: Gates, features: Floats, signs: Floats) -> Rows | None:
    """Return samples that no network on the gates separates, or None."""
    blocks = [mask[:, None] * features for mask in gates.masks]
    outputs = np.concatenate(blocks, axis=1)
    if kind.constraint(features, gates, 1) is None:
        return unmet(sparse.csr_array(outputs), None, signs)
    turned = [np.where(mask, 1.0, -1.0)[:, None] * features for mask in gates.masks]
    both = sparse.csr_array(np.concatenate([outputs, -outputs], axis=1))
    return unmet(both, sparse.block_diag(2 * turned), signs)


def _problem(
    kind: Architecture, rows: Floats, signs: Floats, gates: Gates, scope: Scope
) -> Problem:
    loss = mean_loss(HardMargin(), signs[:, None])
    free = free_columns(rows, intercept=False, skip=False)
    return assemble(kind, rows, gates, loss, 1.0, free=free, outputs=1, scope=scope)


def _on_gates(problem: Problem, tol: float) -> tuple[Network, Certificate, Floats]:
    """Return the network of least norm on given gates, its certificate and its multipliers.

    Another attempt is made while the relative gap is above `tol`.
    """
    program, solver = problem.program, Reference()
    signs = program.loss.target[:, 0]
    state = solver.init(program, None)
    best: tuple[Network, Certificate, Floats] | None = None
    while not solver.done(state):
        state = solver.step(program, state)
        if not state.answered:
            continue
        iterate = solver.read(program, state)
        network, upper = _scaled(problem, iterate, signs)
        above = signs[:, None] * np.maximum(signs[:, None] * iterate.dual, 0.0)
        lower, dual = feasible_dual(program, above, iterate.multiplier)
        if best is not None:
            if upper > best[1].upper:
                network, upper = best[0], best[1].upper
            if lower < best[1].lower:
                lower, dual = best[1].lower, (signs * best[2])[:, None]
        claim = Certificate(
            upper=upper,
            lower=lower,
            scope=problem.scope,
            exactness=problem.architecture.exactness,
            bound="enumeration" if problem.scope is Scope.ALL_NETWORKS else "dual",
            resolution=1e-14 * lower,
        )
        best = network, claim, signs * dual[:, 0]
        if claim.proves(tol):
            break
    assert best is not None  # the solver raises where it has no answer
    return best


def _scaled(problem: Problem, iterate: Iterate, signs: Floats) -> tuple[Network, float]:
    """Return the network of an iterate at margin 1, and its norm; inf where it has no margin."""
    blocks = inside_cones(problem.program, iterate.blocks)
    network: Any = problem.network(iterate._replace(blocks=blocks))
    least = float((signs * evaluate(network, problem.X)[:, 0]).min())
    if not least > 0:
        return network, np.inf
    root = least**0.5
    parts = {
        "weights_in": network.weights_in / root,
        "weights_out": network.weights_out / root,
    }
    network = replace(network, **parts)
    return network, network.weight_decay()


def _grown(
    kind: Any,
    rows: Floats,
    signs: Floats,
    classes: NDArray[Any],
    tol: float,
    seconds: float,
    rng: np.random.Generator,
) -> MaxMargin:
    """Generate neurons, then solve on their patterns, and on more while some help."""
    features = kind.features(rows)
    start = generate(features, signs, rng, tol=_ROUGH)
    rules = start.directions
    last = np.inf
    for _ in range(_ROUNDS):
        gates = kind.source.useful(Gates(rules, masks_of(rules, features)), features)
        network, claim, dual = _on_gates(
            _problem(kind, rows, signs, gates, Scope.GIVEN_GATES), 0.1 * tol
        )
        own = network.weights_in / np.linalg.norm(network.weights_in, axis=1, keepdims=True)
        found = price(features, (signs * dual)[:, None], rng, own=own, starts=256, steps=40)
        (better,) = np.nonzero(found.values > 1 + tol)
        if not len(better) or claim.upper > (1 - _GAIN) * last:
            break
        last = claim.upper
        rules = np.concatenate([own, found.directions[better[:_ADDED]]])
    bound = norm_bound(features, signs, dual, seconds)
    claim = replace(claim, lower=bound.lower, scope=Scope.ALL_NETWORKS, bound=bound.kind)
    return MaxMargin(network=network, certificate=claim, dual=bound.dual, classes=classes)


_ADDED = 40
"""Patterns added in a round, at most."""


def _given_weights(dual: Any, n: int) -> list[Floats]:
    """Return the weights that a user gave, as a list; ValueError for others than (n,) and >= 0."""
    if dual is None:
        return []
    weights = np.asarray(dual, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or not weights.max() > 0:
        raise ValueError(
            f"dual has shape {weights.shape}; expected {n} finite weights, one per sample, of "
            "which some are positive"
        )
    if weights.min() < -1e-9 * weights.max():
        raise ValueError(f"dual is {weights.min()} at row {weights.argmin()}; expected no negative")
    return [np.maximum(weights, 0.0)]


def _best_bound(
    network: ReLUNetwork,
    features: Floats,
    signs: Floats,
    margins: Floats,
    given: list[Floats],
    seconds: float,
) -> Bound:
    """Return the bound of the weights that promise most by the prices found."""
    size = float(np.abs(margins).max()) or 1.0
    behind = (margins.min() - margins) / size
    weights = [*given, *(np.exp(behind * heat) for heat in (1.0, 10.0, 100.0, 1000.0))]
    weights.append(_stationary(network, features, signs, margins))
    rng = np.random.default_rng(0)

    def promise(m: Floats) -> float:
        if not m.sum() > 0:
            return 0.0
        dual = (signs * m / m.sum())[:, None]
        worst = float(price(features, dual, rng, starts=64, steps=25).values[0])
        return 1 / worst if worst > 0 else 0.0

    return norm_bound(features, signs, max(weights, key=promise), seconds)


def _stationary(network: ReLUNetwork, features: Floats, signs: Floats, margins: Floats) -> Floats:
    """Return m >= 0 (n,) that comes closest to s_j X' D_j (m o y) = u_j / |u_j| for all neurons.

    Those are the conditions of Karush, Kuhn and Tucker of a network of least norm, in which m is
    zero off the margin: of the samples, those up to twice the margin may take part.
    """
    lengths = np.linalg.norm(network.weights_in, axis=1)
    sizes = lengths * np.abs(network.weights_out[:, 0])
    kept = np.argsort(-sizes)[:100]
    kept = kept[sizes[kept] > 1e-9 * sizes.sum()]
    (near,) = np.nonzero(margins <= 2 * max(float(margins.min()), 0.0))
    weights = np.zeros(len(signs))
    if not len(kept) or not len(near):
        return weights
    units = network.weights_in[kept] / lengths[kept, None]
    senses, shares = np.sign(network.weights_out[kept, 0]), sizes[kept, None] ** 0.5
    on = features[near] @ units.T > 0
    # (k, d, near): what each sample adds to the pull on each neuron
    pulls = (senses[:, None] * on.T * signs[near])[:, None, :] * features[near].T[None]
    matrix = (shares[:, :, None] * pulls).reshape(-1, len(near))
    weights[near] = nnls(matrix, (shares * units).ravel())[0]
    return weights
