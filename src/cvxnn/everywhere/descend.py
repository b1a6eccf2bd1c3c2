"""Local descent on all neurons at once: Newton steps on a ReLU whose kink is smoothed.

Within a band around its kink the ReLU is a quadratic; the band shrinks from round to round. Full
steps are accepted as long as no neuron crosses many kinks, and those that it would cross are looked
at ahead.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.neurons import Floats, Neurons, Training
from cvxnn.everywhere.system import Inverse, System

_DECREASE = 0.1
"""Share of the predicted decrease that a full or half step must attain."""
_EASE, _STRAIN, _MOST = 0.3, 1.7, 1e3
"""What a full step leaves of the damping, the power of its size by which a shorter one leaves more
(half a step keeps it), and the most damping."""
_SLOWER, _CALL = 5, 750_000
"""How much slower products of one neuron's few rows are than those of all, and what the calls for
them cost, in products."""


class Model(NamedTuple):
    """The quadratic model of the smoothed objective at a point."""

    value: float
    gradient: Floats
    """(k, d)."""
    free_gradient: Floats
    """(q,)."""
    slopes: Floats
    """(N, k), derivative of the smoothed ReLU."""
    convex: Floats
    """(N, k), how much curvature a kink of that neuron and sample would add."""
    band: Floats
    """(N, k), curvature of the kinks inside the band."""
    curvature: Floats
    """(n,), of the loss."""


class Care(NamedTuple):
    """How well Newton steps are found."""

    residual: float = 1e-5
    """Share of its residual but for which a system is solved."""
    looks: int = 3
    """How often a step that falls short is solved for again with the kinks that it crossed."""
    ridge: float = 1e-3
    """The least damping: with less the last steps converge sooner, with more systems are easier."""


CAREFUL, LIGHT = Care(), Care(1e-4, 1, 0.1)


class Course(NamedTuple):
    """What a Newton step leaves to the next."""

    ridge: float = 1e-2
    """Damping."""
    near: Inverse | None = None
    """The preconditioner, as long as it serves."""


class Smoothed:
    """The objective with kinks of relative width `eps`, for one output."""

    def __init__(self, training: Training, neurons: Neurons, eps: float) -> None:
        self.training, self.signs = training, neurons.outputs[:, 0]
        rows = np.sqrt((training.features**2).sum(axis=1).mean())
        self.width = eps * rows * neurons.sizes

    def relu(self, products: Floats) -> tuple[Floats, Floats]:
        """Return the smoothed ReLU of (n, k) products and its derivative."""
        slope = self.slopes(products)
        hidden = slope * slope
        hidden *= self.width
        beyond = products - self.width
        hidden += np.maximum(beyond, 0.0, out=beyond)
        return hidden, slope

    def slopes(self, products: Floats) -> Floats:
        """Return the derivative of the smoothed ReLU at (n, k) products."""
        slope: Floats = products * (0.5 / self.width)
        slope += 0.5
        np.clip(slope, 0.0, 1.0, out=slope)
        return slope

    def value(self, products: Floats, linear: Floats, weights: Floats) -> float:
        """Return the objective at X a = products (n, k), F b = linear (n, 1) and a = weights."""
        fit = self.training.mix(self.relu(products)[0], self.signs[:, None]) + linear
        decay = self.training.alpha * float(np.linalg.norm(weights, axis=1).sum())
        return self.training.loss.value(fit) + decay

    def model(self, neurons: Neurons, products: Floats, linear: Floats) -> Model:
        """Return value, gradient and curvatures at the neurons."""
        training, (hidden, slopes) = self.training, self.relu(products)
        fit = training.mix(hidden, self.signs[:, None]) + linear
        slope = training.loss.gradient(fit)
        pull = training.pulls(slope)[:, 0]
        sizes = neurons.sizes
        back = (slopes * pull[:, None]).T @ training.features
        gradient = training.alpha * neurons.weights / sizes[:, None] + self.signs[:, None] * back
        convex = np.maximum(0.0, pull[:, None] * self.signs)
        band = convex * ((slopes > 0) & (slopes < 1)) / (2 * self.width)
        return Model(
            training.loss.value(fit) + training.alpha * float(sizes.sum()),
            gradient,
            training.columns.T @ slope[:, 0],
            slopes,
            convex,
            band,
            training.curvature(fit)[:, 0],
        )


def newton(
    training: Training,
    neurons: Neurons,
    eps: float,
    steps: int,
    course: Course,
    rtol: float = 1e-7,
    care: Care = CAREFUL,
) -> tuple[Neurons, Course]:
    """Return the neurons after some damped Newton steps at kink width `eps`, and their course.

    For one output. Steps that gain less than `rtol` of the objective are the last.
    """
    ridge, near = course
    for _ in range(steps):
        if not len(neurons.weights):
            break
        smoothed = Smoothed(training, neurons, eps)
        line, model, near = _direction(smoothed, neurons, Course(ridge, near), care)
        if line.found >= model.value:
            ridge = min(10 * ridge, _MOST)
            continue
        neurons = line.at(line.size)
        ridge = min(max(_EASE * ridge / line.size**_STRAIN, care.ridge), _MOST)
        sizes = neurons.sizes
        neurons = neurons.keep(sizes > 1e-9 * sizes.max(initial=0.0))
        if model.value - line.found < rtol * abs(model.value):
            break
    return neurons, Course(ridge, near)


class Line:
    """The smoothed objective along a step, and how far a descent went on it."""

    def __init__(self, smoothed: Smoothed, neurons: Neurons, move: Floats, free: Floats) -> None:
        training = smoothed.training
        self.smoothed, self.neurons, self.move, self.free = smoothed, neurons, move, free
        self.products = training.features @ neurons.weights.T
        self.along = training.features @ move.T
        self.linear = training.columns @ neurons.free
        self.linear_along = training.columns @ free[:, None]
        self.size, self.found = 0.0, math.inf

    def at(self, size: float) -> Neurons:
        """Return the neurons after a step of that size."""
        weights = self.neurons.weights + size * self.move
        free = self.neurons.free + size * self.free[:, None]
        return Neurons(weights, self.neurons.outputs, free)

    def descend(self, start: float, slope: float, sizes: Iterable[float], share: float) -> bool:
        """Try sizes until the objective falls from `start` by a share of what `slope` promises."""
        for self.size in sizes:
            self.found = self.smoothed.value(
                self.products + self.size * self.along,
                self.linear + self.size * self.linear_along,
                self.neurons.weights + self.size * self.move,
            )
            if slope < 0 and self.found <= start + share * slope:
                return True
        return False


def _direction(
    smoothed: Smoothed, neurons: Neurons, course: Course, care: Care
) -> tuple[Line, Model, Inverse]:
    """Return a line where the objective falls, its step taken, the model there, and `near`."""
    training = smoothed.training
    products = training.features @ neurons.weights.T
    model = smoothed.model(neurons, products, training.columns @ neurons.free)
    band, flipped = model.band, np.zeros(len(neurons.weights), dtype=bool)
    for look in range(care.looks + 1):
        move, free, near = _solve(training, neurons, model, band, flipped, course, care.residual)
        course = course._replace(near=near)
        slope = float((model.gradient * move).sum() + model.free_gradient @ free)
        line = Line(smoothed, neurons, move, free)
        if line.descend(model.value, slope, (1.0, 0.5), _DECREASE) or look == care.looks:
            break
        flipped |= ((neurons.weights + move) * neurons.weights).sum(axis=1) <= 0
        band = _look_ahead(smoothed, model, products, line.along, band)
    if line.found > model.value + _DECREASE * min(slope, 0.0):
        line.descend(model.value, slope, 0.5 ** np.arange(2, 11), 1e-4)
    return line, model, near


def _look_ahead(
    smoothed: Smoothed, model: Model, products: Floats, along: Floats, band: Floats
) -> Floats:
    """Return kink curvatures by the secant of the slope over a step that fell short."""
    then = smoothed.slopes(products + along)
    here = ((model.slopes > 0) & (model.slopes < 1)) / (2 * smoothed.width)
    moved = np.abs(along) > 1e-3 * smoothed.width
    secant: Floats = np.divide(then - model.slopes, along, out=here, where=moved)
    return np.maximum(0.3 * band, model.convex * np.maximum(secant, 0))


def _kinks(training: Training, band: Floats) -> Floats:
    """Return sum_i band_ij x_i x_i' for every neuron, (k, d, d)."""
    features = training.features
    d = features.shape[1]
    few = np.count_nonzero(band) * _SLOWER * d * d + band.shape[1] * _CALL < band.size * d * d
    squares = None if few else training.row_squares
    if squares is not None:
        return np.asarray(band.T.astype(np.float32) @ squares, dtype=float).reshape(-1, d, d)
    blocks = []
    for column in band.T:
        rows = np.flatnonzero(column)
        blocks.append((features[rows] * column[rows, None]).T @ features[rows])
    return np.stack(blocks)


def _solve(
    training: Training,
    neurons: Neurons,
    model: Model,
    band: Floats,
    flipped: NDArray[np.bool_],
    course: Course,
    residual: float,
) -> tuple[Floats, Floats, Inverse]:
    """Return the Newton step of the weights (k, d), of the free coefficients (q,), and `near`.

    The blocks of the penalty and of the kinks are eliminated; what is left is a system in how the
    samples' outputs change, preconditioned by `near`, made here where it is none or worn.
    """
    sizes, diagonal = neurons.sizes, np.arange(neurons.weights.shape[1])
    unit, scale = neurons.weights / sizes[:, None], training.alpha / sizes
    blocks = _kinks(training, band)
    blocks[:, diagonal, diagonal] += (scale * (1 + course.ridge))[:, None]
    blocks -= (np.where(flipped, 0.0, scale))[:, None, None] * unit[:, :, None] * unit[:, None, :]
    root = np.sqrt(model.curvature)[:, None]
    factors = model.slopes * neurons.outputs[:, 0]
    inverse: Floats = np.linalg.inv(blocks).astype(np.float64, copy=False)
    system = System(training, unit, inverse, (factors, root), course.near)
    move, free = system.solve(model.gradient, model.free_gradient, residual)
    turned = (unit * (neurons.weights + move)).sum(axis=1) <= 0
    move[turned] = -neurons.weights[turned]
    return move, free, system.near
