"""From any two-layer ReLU network with one output to the convex program that it is a point of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from cvxnn.architectures import Problem, ReLUNetwork, evaluate
from cvxnn.arrays import to_numpy
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.neurons import Floats
from cvxnn.functions import SampleLoss
from cvxnn.gates.arrangement import arrange
from cvxnn.optima import prune
from cvxnn.samples import positive_weights
from cvxnn.solver_choice import solver_for
from cvxnn.support import problem_at, require_network
from cvxnn.training import train

Indices = NDArray[np.int64]

_NEAR = 1e-6
"""A sample with |x . u| below this share of |x| |u| is on the kink of the neuron u."""


@dataclass(frozen=True, eq=False)
class Stationarity:
    """How far a network is from a stationary point, neuron by neuron; see `stationarity`."""

    residual: float
    """Largest |s X' (D + Diag(t)) v - alpha u / |u|| over the neurons, and of |F' v|."""
    balance: float
    """Largest difference of |w_in| and |w_out|, relative to the larger of the two."""
    residuals: Floats
    """Of each neuron, (m,); zero for neurons of size zero, which are stationary."""
    kinks: tuple[Indices, ...]
    """For each neuron the samples on its kink."""
    shares: tuple[Floats, ...]
    """For each neuron the t in [0, 1] of those samples."""
    dead: Indices
    """Neurons of size zero or closed on every sample: training has no use for them."""


def stationarity(
    network: ReLUNetwork,
    X: Any,
    y: Any,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    sample_weight: Any = None,
    fit_intercept: bool = True,
    skip: bool = False,
    near: float = _NEAR,
) -> Stationarity:
    """Tell how far a network is from a stationary point of mean loss + alpha * weight decay.

    With v minus the gradient of the loss, s the sign of a neuron, D its pattern and t in [0, 1]
    for each sample on its kink, the balanced network is a stationary point in the sense of Clarke
    iff s X' (D + Diag(t)) v = alpha u / |u| for some t, for every neuron [Wang2022]; then it is
    optimal for the convex program of its own patterns, the fractional ones. The best t is found by
    bounded least squares; samples on one hyperplane share t, those on opposite sides as t and
    1 - t. Where kinks meet in dependent normals that is an outer approximation. `near` is the
    |x . u| / (|x| |u|) below which a sample is on the kink.

    Raises UnsupportedError for several outputs, other architectures and losses without a gradient.

    >>> X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    >>> up, down = np.array([[0.0, 1.0], [0.5**0.5, -(0.5**0.5)]])
    >>> t, q = 7.9 / 13, 2**0.5 - 0.2
    >>> net = ReLUNetwork(
    ...     weights_in=np.stack([t**0.5 * up, q**0.5 * down]),
    ...     weights_out=np.array([[t**0.5], [-(q**0.5)]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> found = stationarity(net, X, y, alpha=0.1 / 3, fit_intercept=False)
    >>> found.residual < 1e-12, [t.round(4).tolist() for t in found.shares][0]
    (True, [0.7071])
    """
    network = require_network(network)
    problem = problem_at(
        network,
        X,
        y,
        sample_weight,
        alpha=alpha,
        loss=loss,
        fit_intercept=fit_intercept,
        skip=skip,
    )
    mean = problem.program.loss
    if not np.isfinite(mean.smoothness):
        raise UnsupportedError(
            f"the {mean.loss.name} loss has kinks, and at them no one gradient; use "
            "'squared', 'huber', 'logistic' or 'squared_hinge'"
        )
    v = -mean.gradient(evaluate(network, problem.X))[:, 0]
    features = problem.architecture.features(problem.X)
    samples = np.flatnonzero(positive_weights(sample_weight, len(np.asarray(y)))[1])
    inner = np.linalg.norm(network.weights_in, axis=1)
    outer = np.abs(network.weights_out[:, 0])
    signs = np.sign(network.weights_out[:, 0])
    neurons = [
        _neuron(features, s * v, u, alpha, near)
        for u, s in zip(network.weights_in, signs, strict=True)
    ]
    residuals = np.array([left for _, _, left in neurons]) * (inner * outer > 0)
    free = np.linalg.norm(_raw_columns(problem).T @ v)
    larger = np.maximum(inner, outer)
    apart = np.abs(inner - outer) / np.where(larger > 0, larger, 1.0)
    closed = (features @ network.weights_in.T <= 0).all(axis=0)
    return Stationarity(
        residual=float(max(residuals.max(initial=0.0), free)),
        balance=float(apart.max(initial=0.0)),
        residuals=residuals,
        kinks=tuple(samples[rows] for rows, _, _ in neurons),
        shares=tuple(t for _, t, _ in neurons),
        dead=np.flatnonzero((inner * outer == 0) | closed),
    )


def _raw_columns(problem: Problem) -> Floats:
    """Return the columns of skip and intercept as they are, where the network may have them."""
    linear = problem.X if problem.free.skip else problem.X[:, :0]
    return np.column_stack([linear, np.ones((len(linear), int(problem.free.intercept)))])


def _neuron(
    features: Floats, pull: Floats, u: Floats, alpha: float, near: float
) -> tuple[Indices, Floats, float]:
    """Return the samples on the kink of a neuron, their best t, and the residual; pull is s v."""
    values = features @ u
    rows = kink_rows(features, u, near)
    on = values > 0
    on[rows] = False
    missing = alpha * u / (float(np.linalg.norm(u)) or 1.0) - features[on].T @ pull[on]
    if not len(rows):
        return rows, np.zeros(0), float(np.linalg.norm(missing))
    walls = arrange(features[rows])
    owner, along = walls.owner, walls.along
    # t counts samples on one side of their hyperplane, 1 - t those on the other
    pieces = features[rows] * pull[rows, None]
    missing = missing - pieces[~along].sum(axis=0)
    columns = np.zeros((len(u), len(walls.normals)))
    np.add.at(columns.T, owner, np.where(along[:, None], pieces, -pieces))
    found = lsq_linear(columns, missing, bounds=(0.0, 1.0), method="bvls", tol=1e-14)
    left = float(np.linalg.norm(columns @ found.x - missing))
    return rows, np.where(along, found.x[owner], 1.0 - found.x[owner]), left


def kink_rows(features: Floats, u: Floats, near: float = _NEAR) -> Indices:
    """Return the nonzero samples x with |x . u| <= near |x| |u|."""
    norms = np.linalg.norm(features, axis=1)
    close = np.abs(features @ u) <= near * norms * np.linalg.norm(u)
    return np.flatnonzero(close & (norms > 0))


def polish(
    network: ReLUNetwork,
    X: Any,
    y: Any,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    sample_weight: Any = None,
    fit_intercept: bool = True,
    skip: bool = False,
    rounds: int = 20,
    tol: float = 1e-8,
) -> ReLUNetwork:
    """Return a network that is no worse: the best one on the patterns of this one's neurons.

    Each round solves the convex program of the neurons' activation patterns, and of those across
    each face that a neuron lies on, and prunes its solution; the next round takes the patterns of
    that. The objective mean loss + alpha * weight decay never rises, from round to round or at
    all; the rounds end when it falls by less than `tol` of itself. A stationary point of training
    is optimal for the patterns of its neurons [Wang2022]; the faces lead on from it.

    Raises UnsupportedError for several outputs and other architectures, ValueError for data that do
    not fit and for a network with an intercept or a skip connection that it may not have.

    >>> X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[0.5, 1.0], [1.0, -0.9]]),
    ...     weights_out=np.array([[0.3], [-0.2]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> best = polish(net, X, y, alpha=0.1 / 3, fit_intercept=False)
    >>> loss = ((best(X)[:, 0] - y) ** 2).sum() / 2
    >>> print(f"{loss + 0.1 * best.weight_decay():.6f}")
    0.231037
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; do at least one")
    best = require_network(network)
    if (not fit_intercept and best.intercept.any()) or (not skip and best.skip.any()):
        raise ValueError(
            "the network has an intercept or a skip connection that it may not have; pass "
            "fit_intercept=True and skip=True accordingly"
        )
    settings: dict[str, Any] = {
        "alpha": alpha,
        "loss": loss,
        "fit_intercept": fit_intercept,
        "skip": skip,
    }
    problem = problem_at(best, X, y, sample_weight, **settings)
    now = problem.objective(best)
    for _ in range(rounds):
        around = _around(problem.architecture.features(problem.X), best.weights_in)
        problem = problem_at(best, X, y, sample_weight, gates=around, **settings)
        before = now
        best, now = _improve(problem, best, now)
        if before - now <= tol * abs(before):
            break
    return best


def _around(features: Floats, weights: Floats) -> Floats:
    """Return the neurons, and next to each of them a point across every face that it lies on."""
    found = [np.zeros((1, weights.shape[1]))] if not weights.any() else []
    for u in weights[weights.any(axis=1)]:
        walls = features[kink_rows(features, u)]
        units = walls / np.linalg.norm(walls, axis=1, keepdims=True)
        steps = 3 * _NEAR * np.linalg.norm(u) * units
        found += [u[None], u + steps, u - steps]
    return np.concatenate(found)


def _improve(problem: Problem, network: ReLUNetwork, now: float) -> tuple[ReLUNetwork, float]:
    """Return the best network of the problem and its objective, or this one where it is better."""
    solver, _ = solver_for(problem.program, "auto")
    found = require_network(train(problem, solver, tol=1e-9).network)
    value = problem.objective(found)
    if not value < now:
        return network, now
    free = {"fit_intercept": problem.free.intercept, "skip": problem.free.skip}
    small = prune(found, problem.X, tol=1e-7, **free)
    pruned = problem.objective(small)
    if pruned <= min(now, value * (1 + 1e-9)):
        return small, pruned
    return found, value


def from_sklearn(mlp: Any) -> ReLUNetwork:
    """Return the network of a fitted `MLPRegressor`, or of an `MLPClassifier` with two classes.

    It needs one hidden layer, activation="relu" and one output; the hidden bias becomes the last
    column of `weights_in`. Outputs are predictions, or the log odds of the second class. Raises
    UnsupportedError for other estimators and ValueError for one that is not fitted.

    >>> from sklearn.neural_network import MLPRegressor
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 4.0])
    >>> mlp = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0, max_iter=500)
    >>> mlp = mlp.fit(X, y)
    >>> bool(np.allclose(from_sklearn(mlp)(X)[:, 0], mlp.predict(X)))
    True
    """
    name = type(mlp).__name__
    if not name.startswith("MLP"):
        raise UnsupportedError(f"expected an MLPRegressor or an MLPClassifier, not a {name}")
    weights = getattr(mlp, "coefs_", None)
    if weights is None:
        raise ValueError(f"this {name} is not fitted; call fit first")
    if mlp.activation != "relu":
        raise UnsupportedError(f"the activation is {mlp.activation!r}; expected 'relu'")
    if len(weights) != 2:
        raise UnsupportedError(
            f"the {name} has {len(weights) - 1} hidden layers; expected one, as in "
            "hidden_layer_sizes=(100,)"
        )
    outputs = weights[1].shape[1]
    if outputs != 1 or mlp.out_activation_ not in ("identity", "logistic"):
        raise UnsupportedError(
            f"the {name} has {outputs} outputs ({mlp.out_activation_}); expected one: a single "
            "target, or two classes"
        )
    (inner, outer), (biases, intercept) = weights, mlp.intercepts_
    return _network(inner.T, biases, outer, intercept)


def from_torch(module: Any) -> ReLUNetwork:
    """Return the network of a torch `Sequential(Linear(d, m), ReLU(), Linear(m, 1))`.

    With or without biases; the hidden one becomes the last column of `weights_in`. Raises
    UnsupportedError for other modules.

    >>> from types import SimpleNamespace
    >>> try:
    ...     from_torch(SimpleNamespace())
    ... except UnsupportedError as error:
    ...     print(error)
    expected torch.nn.Sequential(Linear, ReLU, Linear), not a SimpleNamespace
    """
    expected = "expected torch.nn.Sequential(Linear, ReLU, Linear)"
    if type(module).__name__ != "Sequential":
        raise UnsupportedError(f"{expected}, not a {type(module).__name__}")
    kinds = [type(layer).__name__ for layer in module]
    if kinds != ["Linear", "ReLU", "Linear"]:
        raise UnsupportedError(f"{expected}, not ({', '.join(kinds)})")
    first, _, last = module
    if last.weight.shape[0] != 1:
        raise UnsupportedError(f"the last layer has {last.weight.shape[0]} outputs; expected one")
    bias = None if first.bias is None else to_numpy(first.bias)
    intercept = np.zeros(1) if last.bias is None else to_numpy(last.bias)
    return _network(to_numpy(first.weight), bias, to_numpy(last.weight).T, intercept)


def _network(inner: Floats, bias: Floats | None, outer: Floats, intercept: Floats) -> ReLUNetwork:
    columns = [inner] if bias is None else [inner, bias[:, None]]
    return ReLUNetwork(
        weights_in=np.concatenate(columns, axis=1).astype(np.float64),
        weights_out=np.array(outer, dtype=np.float64),
        intercept=np.array(intercept, dtype=np.float64),
        skip=np.zeros((inner.shape[1], 1)),
    )
