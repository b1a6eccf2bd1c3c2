"""Data for which training has a closed form: features of rank one, and orthogonal rows.

On orthogonal rows of lengths s_i the products Xu of unit u fill the ellipsoid with
sum (q_i / s_i)^2 <= 1, so that the activations of neurons are its part q >= 0. Where the targets'
directions make no acute angle with each other, as classes' and signs' do not, every direction has a
neuron of its own. On rank one, X = c a', there are two neurons to be had, along a and -a, whose
activations c_+ and c_- are nowhere both positive [Ergen2021].
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from cvxnn.everywhere.grow import pack
from cvxnn.everywhere.neurons import Floats, Neurons, Training
from cvxnn.program import Iterate

_ROUNDING = 1e-10
"""Distance from rank one, and of cosines from zero, that counts as rounding."""
_ATTAINED = 1e-9
"""Relative distance between a bound and a value that counts as none."""


class Line(NamedTuple):
    """Features of rank one, c a' with |a| = 1."""

    places: Floats
    """c, (n,)."""
    direction: Floats
    """a, (d,)."""
    rest: float
    """The Frobenius norm of what is left of the features: rounding."""

    @property
    def sides(self) -> Floats:
        """The activations c_+ and c_- of neurons along a and -a, (n, 2)."""
        return np.maximum(np.stack([self.places, -self.places], axis=1), 0.0)


def line_of(features: Floats) -> Line | None:
    """Return the features (n, d) as a line, or None where they are not of rank one.

    >>> line_of(np.outer([1.0, -2.0], [3.0, 4.0])).places
    array([ 5., -10.])
    """
    lengths = np.linalg.norm(features, axis=1)
    largest = int(lengths.argmax())
    if not lengths[largest] > 0:
        return None
    direction = features[largest] / lengths[largest]
    places = features @ direction
    rest = float(np.linalg.norm(features - np.outer(places, direction)))
    if rest > _ROUNDING * np.linalg.norm(places):
        return None
    sign = 1.0 if places[np.flatnonzero(places)[0]] > 0 else -1.0
    return Line(sign * places, sign * direction, rest)


def excess_of(features: Floats) -> float | None:
    """Return |E| for rows (n, d) whose cosines are I + E, or None where E is more than rounding.

    Rows of zeros take no part.
    """
    lengths = np.linalg.norm(features, axis=1)
    rows = features[lengths > 0] / lengths[lengths > 0, None]
    if not 0 < len(rows) <= features.shape[1]:
        return None
    excess = float(np.linalg.norm(rows @ rows.T - np.eye(len(rows))))
    return excess if excess <= _ROUNDING else None


def closed_gauge(features: Floats, dual: Floats, alpha: float) -> float | None:
    """Return a bound on max over |u| <= 1 of |V'(Xu)_+| / alpha for a dual point V (n, c).

    It is max(|V'c_+|, |V'c_-|) / alpha on rank one. On orthogonal rows of lengths s, with W = s V,
    |W'p| for unit p >= 0 is at most the root of the largest eigenvalue of max(0, WW'), whose
    eigenvector is such a p; where it attains that, this is the maximum. Rows that are orthogonal up
    to E reach no further than sqrt(1 + |E|) times that. None for other features and dual points.

    >>> closed_gauge(np.diag([1.0, 2.0, 1.0]), np.array([[3.0], [2.0], [-4.0]]), 1.0)
    5.0
    """
    line = line_of(features)
    if line is not None:
        reach = float(np.linalg.norm(line.sides.T @ dual, axis=1).max())
        return (reach + line.rest * float(np.linalg.norm(dual))) / alpha
    excess = excess_of(features)
    if excess is None:
        return None
    pull = np.linalg.norm(features, axis=1)[:, None] * dual
    if dual.shape[1] == 1:
        reach = max(float(np.linalg.norm(np.maximum(side * pull, 0.0))) for side in (1.0, -1.0))
    else:
        values, vectors = np.linalg.eigh(np.maximum(pull @ pull.T, 0.0))
        reach = float(np.sqrt(max(values[-1], 0.0)))
        if np.linalg.norm(np.abs(vectors[:, -1]) @ pull) < reach * (1 - _ATTAINED):
            return None
    return float(reach * np.sqrt(1 + excess) / alpha)


def directions_of(target: Floats) -> NDArray[np.int64] | None:
    """Return the number of every target's direction (n,), -1 for zeros, or None for acute angles.

    >>> directions_of(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])).tolist()
    [0, 1, 1, 2]
    """
    lengths = np.linalg.norm(target, axis=1)
    owner: NDArray[np.int64] = np.full(len(target), -1)
    kinds: list[Floats] = []
    for i in np.flatnonzero(lengths):
        unit = target[i] / lengths[i]
        cosines = np.array([kind @ unit for kind in kinds])
        (same,) = np.nonzero(cosines > 1 - _ROUNDING)
        if len(same):
            owner[i] = same[0]
        elif (cosines > _ROUNDING).any():
            return None
        else:
            owner[i] = len(kinds)
            kinds.append(unit)
    return owner


@dataclass(frozen=True)
class ClosedForm:
    """The squared loss on features of rank one, or on orthogonal rows without free columns.

    Rank one without free columns: each neuron's output is soft-thresholded. With them, one output:
    the nine cases of which neurons are there and with what sign, each a linear system, of which
    the optimality conditions choose one. Orthogonal rows: min over q >= 0 of
    sum w_i (q_i - |y_i|)^2 / 2 + alpha |q / s| on the targets of every direction, of which none
    make an acute angle; q_i = w_i |y_i| / (w_i + m / s_i^2), with one root m to be found.
    """

    name = "closed form"
    period = 1
    copies = (4, 2)
    heuristic = True

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: `memory.of_growth` counts more than this holds."""
        return 0

    def why_not(self, training: Any) -> str | None:
        """Return None for the data and the loss that have a closed form."""
        if not isinstance(training, Training):
            return "a closed form is over all networks; pass gates='grow'"
        if training.pooling is not None:
            return "a closed form is for samples of one row each; use solver='auto'"
        c, q = training.loss.target.shape[1], training.columns.shape[1]
        if training.loss.loss.name != "squared":
            return f"a closed form is for the squared loss and this is {training.loss.loss.name!r}"
        if line_of(training.features) is not None:
            return None if q == 0 or c == 1 else "rank one with free columns: one output only"
        if q or excess_of(training.features) is None:
            return (
                "a closed form is for features of rank one, or orthogonal rows with neither "
                "intercept nor skip; use solver='auto'"
            )
        if directions_of(training.loss.target) is None:
            return (
                "orthogonal rows have a closed form for targets of one output, or whose directions "
                "make no acute angle, such as classes'; use solver='auto'"
            )
        return None

    def reason(self, training: Training) -> str:
        """Return which form it is."""
        kind = "orthogonal rows" if line_of(training.features) is None else "features of rank one"
        return f"{kind}: a closed form"

    def init(self, training: Training, start: Iterate | None) -> Neurons:
        """Return the optimum."""
        line = line_of(training.features)
        return _on_rows(training) if line is None else _on_line(training, line)

    def step(self, training: Training, state: Neurons) -> Neurons:
        """Return the optimum again."""
        return state

    def read(self, training: Training, state: Neurons) -> Iterate:
        """Return the neurons."""
        return pack(training, state)

    def done(self, state: Neurons) -> bool:
        """Return True."""
        return True


def _on_line(training: Training, line: Line) -> Neurons:
    """Return the best neurons along a and -a."""
    values, free = _cases(training, line.sides)
    sizes = np.linalg.norm(values, axis=1)
    (kept,) = np.nonzero(sizes)
    ways = np.stack([line.direction, -line.direction])
    outputs = values[kept] / sizes[kept, None]
    return Neurons(ways[kept] * sizes[kept, None], outputs, free)


def _thresholded(training: Training, sides: Floats) -> Floats:
    """Return the outputs (2, c) per unit of c_+ and c_-, whose supports are apart."""
    weighted = training.loss.weights * sides
    pulls = weighted.T @ training.loss.target
    lengths = np.linalg.norm(pulls, axis=1, keepdims=True)
    squares = (weighted * sides).sum(axis=0)[:, None]
    shares = np.maximum(1 - training.alpha / np.where(lengths > 0, lengths, np.inf), 0.0)
    return np.asarray(np.where(squares > 0, shares * pulls / np.where(squares > 0, squares, 1), 0))


def _cases(training: Training, sides: Floats) -> tuple[Floats, Floats]:
    """Return outputs (2, c) per unit of c_+ and c_-, and free coefficients (q, c).

    Without free columns a threshold. With them, c = 1, the best of nine linear systems: which
    neurons are there and with what sign. The program is convex, so the case that meets its
    optimality conditions is the one of least objective among those whose signs agree.
    """
    loss, columns, q = training.loss, training.columns, training.columns.shape[1]
    if not q:
        return _thresholded(training, sides), np.zeros((0, loss.target.shape[1]))
    root = np.sqrt(loss.weights)
    found: list[tuple[float, Floats, Floats]] = []
    for signs in product((0.0, 1.0, -1.0), repeat=2):
        on = np.flatnonzero(signs)
        if not (sides[:, on] > 0).any(axis=0).all():
            continue
        design = root * np.concatenate([columns, sides[:, on]], axis=1)
        pull = design.T @ (root * loss.target)[:, 0]
        pull[q:] -= training.alpha * np.array(signs)[on]
        solution = np.linalg.lstsq(design.T @ design, pull, rcond=1e-13)[0]
        values = np.zeros((2, 1))
        values[on, 0] = solution[q:]
        if (values[:, 0] * signs < 0).any():
            continue
        fit = sides @ values + columns @ solution[:q, None]
        objective = loss.value(fit) + training.alpha * float(np.abs(values).sum())
        found.append((objective, values, solution[:q, None]))
    _, values, free = min(found, key=lambda one: one[0])
    return values, free


def _on_rows(training: Training) -> Neurons:
    """Return the best neuron for every direction of the targets of orthogonal rows."""
    features, target = training.features, training.loss.target
    weights, squares = training.loss.weights[:, 0], (features**2).sum(axis=1)
    lengths, owner = np.linalg.norm(target, axis=1), directions_of(target)
    assert owner is not None, "why_not refuses these targets"
    neurons, outputs = [], []
    for kind in range(int(np.max(owner, initial=-1)) + 1):
        on = (owner == kind) & (squares > 0)
        fit = _part(lengths[on], weights[on], squares[on], training.alpha)
        if fit.any():
            neurons.append((fit / squares[on]) @ features[on])
            first = int(np.flatnonzero(on)[0])
            outputs.append(target[first] / lengths[first])
    c = target.shape[1]
    none = np.zeros((0, features.shape[1])), np.zeros((0, c))
    w, s = (np.stack(neurons), np.array(outputs)) if neurons else none
    return Neurons(w, s, np.zeros((0, c)))


def _part(target: Floats, weights: Floats, squares: Floats, alpha: float) -> Floats:
    """Return argmin over q of sum w (q - y)^2 / 2 + alpha |q / s|, for positive y (k,)."""
    length = float(np.linalg.norm(weights * target * np.sqrt(squares)))
    if length <= alpha:
        return np.zeros_like(target)

    def fit(m: float) -> NDArray[np.float64]:
        return np.asarray(weights * target * squares / (weights * squares + m))

    def beyond(m: float) -> float:
        return float(m * np.linalg.norm(fit(m) / np.sqrt(squares)) - alpha)

    most = float((weights * squares).max()) * alpha / (length - alpha)
    return fit(brentq(beyond, 0.0, most * (1 + 1e-9), xtol=1e-300, rtol=1e-15))
