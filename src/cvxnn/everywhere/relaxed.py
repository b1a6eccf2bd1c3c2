"""The relaxed network: a small smooth problem whose optimum bounds networks of every width.

Neurons of one sign enter the fit of sample i as a sum of sizes times max(0, t), t = x_i'u, over
unit directions u. Given the total size a, the sum m_i of sizes times t and the sum q_i of sizes
times t^2, it lies between (m_i + max(|m_i|, q_i / |x_i|)) / 2 and (m_i + sqrt(a q_i)) / 2. The
relaxed network has those sums, from d + 1 pseudo neurons a sign, and picks the best fit between.
Where rows add up to a sample, so do their bounds.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from cvxnn.certificate import orthogonal
from cvxnn.everywhere.neurons import Floats, Training
from cvxnn.functions import Mean


class Care(NamedTuple):
    """How well the relaxed network is trained."""

    steps: int
    """Of L-BFGS, at each smoothing."""
    pseudo: int | None
    """Pseudo neurons a sign; None for d + 1, which lose nothing."""
    smoothings: tuple[float, ...]
    """Widths to which the kinks of the bounds are rounded, in turn, relative to the target."""


THOROUGH, QUICK = Care(300, None, (1e-2, 1e-3, 1e-4)), Care(100, 8, (1e-3,))


class Moments(NamedTuple):
    """Mean and second moment of a distribution of directions in the unit ball."""

    mean: Floats
    """(d,)."""
    second: Floats
    """(d, d)."""
    blur: float = 1e-3
    """To what the choice among row bounds was rounded, relative to a row's range."""
    weight: float = 10.0
    """How many rounds of fictitious play they count for."""

    def turned(self, turn: Floats) -> "Moments":
        """Return the moments of turn u, for `turn` (r, d)."""
        return self._replace(mean=turn @ self.mean, second=turn @ self.second @ turn.T)


class Relaxed(NamedTuple):
    """What the relaxed network leaves."""

    dual: Floats
    """Minus the gradient of the loss at its fit, (n, 1), orthogonal to the free columns."""
    moments: tuple[Moments, Moments]
    """Of its positive and its negative neurons."""


def isotropic(d: int) -> Moments:
    """Return the moments of the uniform distribution on the sphere."""
    return Moments(np.zeros(d), np.eye(d) / d)


def relax(training: Training, rng: np.random.Generator, care: Care = THOROUGH) -> Relaxed:
    """Train the relaxed network of a problem with one output, by L-BFGS from a random start.

    minimise over U+, U- (d + 1, d) and b: sum_i w_i min loss(f_i) + alpha (|U+|^2 + |U-|^2), each
    f_i between its bounds. The problem is convex in the moments U'U; its optimum is a semidefinite
    bound on all networks, and d + 1 pseudo neurons lose nothing. Nothing is proved here: the dual
    point is for others to certify, and so `care` matters to tightness alone.

    >>> from cvxnn.functions import Squared, mean_loss
    >>> X, y = np.array([[-1.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [2.0]])
    >>> training = Training(X, mean_loss(Squared(), y), np.zeros((3, 0)), alpha=0.5)
    >>> relax(training, np.random.default_rng(0)).dual[:, 0].round(3)
    array([0. , 0.1, 0.2])
    """
    problem, steps = _Problem(training, care), care.steps
    point = problem.start(rng)
    for smoothing in care.smoothings:
        problem.width = smoothing * problem.spread * problem.lengths / problem.typical
        options = {"maxiter": steps, "maxfun": 3 * steps, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-9}
        point = minimize(  # type: ignore[call-overload]
            problem.slope, point, jac=True, method="L-BFGS-B", options=options
        ).x
    return problem.read(point)


class _Side(NamedTuple):
    """The neurons of one sign, and their bounds on every row that is not zero."""

    sizes: Floats
    products: Floats
    mass: float
    mean: Floats
    second: Floats
    bend: Floats
    """max(0, |m| - q / |x|) smoothed, and what the maximum leans to, in [0, 1]."""
    lean: Floats
    turn: Floats
    root: Floats
    low: Floats
    high: Floats


class _Problem:
    """The objective of the relaxed network and its gradient, over one flat vector."""

    def __init__(self, training: Training, care: Care) -> None:
        lengths = np.linalg.norm(training.features, axis=1)
        self.training, self.alive = training, lengths > 0
        self.rows, self.lengths = training.features[self.alive], lengths[self.alive]
        d = training.features.shape[1]
        self.neurons = (2, min(care.pseudo or d + 1, d + 1), d)
        self.sharpest = care.smoothings[-1]
        self.peak = minimiser(training.loss)[:, 0]
        target = orthogonal(training.columns, training.loss.target)
        self.spread = float(np.sqrt((target**2).mean())) or 1.0
        self.typical = float(np.sqrt((self.lengths**2).mean())) if len(self.lengths) else 1.0
        self.width = self.lengths
        self.unit = 1 / (training.loss.value(np.zeros_like(target)) or 1.0)

    def start(self, rng: np.random.Generator) -> Floats:
        size = 0.1 * np.sqrt(self.spread / (self.typical * self.neurons[1]))
        free = np.zeros(self.training.columns.shape[1])
        return np.concatenate([size * rng.standard_normal(int(np.prod(self.neurons))), free])

    def split(self, point: Floats) -> tuple[Floats, Floats]:
        count = int(np.prod(self.neurons))
        return point[:count].reshape(self.neurons), point[count:]

    def side(self, weights: Floats) -> _Side:
        sizes = np.linalg.norm(weights, axis=1)
        mass = float(sizes @ sizes)
        products = self.rows @ weights.T
        mean, second = products @ sizes, (products * products).sum(axis=1)
        width = self.width
        bend = np.sqrt(mean * mean + width * width)
        chord = second / self.lengths
        more = bend - chord
        turn = np.sqrt(more * more + width * width)
        root = np.sqrt(mass * second + width * width)
        low = (mean + (bend + chord + turn) / 2) / 2
        lean = (1 + more / turn) / 2
        return _Side(
            sizes, products, mass, mean, second, bend, lean, turn, root, low, (mean + root) / 2
        )

    def fit(self, up: _Side, down: _Side, free: Floats) -> Floats:
        """Return the best fit between the bounds, (n,)."""
        linear = self.training.columns @ free
        low, high = self.summed(up.low - down.high), self.summed(up.high - down.low)
        return np.clip(self.peak, linear + low, linear + high)

    def summed(self, values: Floats) -> Floats:
        """Return what values of the rows that are not zero make of every sample, (n,)."""
        rows = np.zeros((len(self.alive), 1))
        rows[self.alive, 0] = values
        return self.training.mix(rows, np.ones((1, 1)))[:, 0]

    def slope(self, point: Floats) -> tuple[float, Floats]:
        """Return the objective and its gradient, both relative to the loss of predicting zero."""
        weights, free = self.split(point)
        sides = self.side(weights[0]), self.side(weights[1])
        fit = self.fit(*sides, free)[:, None]
        dual = -self.training.loss.gradient(fit)[:, 0]
        alpha = self.training.alpha
        value = self.training.loss.value(fit) + alpha * (sides[0].mass + sides[1].mass)
        pulls = self.training.pulls(dual[:, None])[self.alive, 0]
        parts = [
            self._back(weights[j], sides[j], sign * pulls).ravel()
            for j, sign in enumerate((1.0, -1.0))
        ]
        parts.append(-self.training.columns.T @ dual)
        return self.unit * value, self.unit * np.concatenate(parts)

    def _back(self, weights: Floats, side: _Side, pull: Floats) -> Floats:
        """Return the gradient in one sign's neurons, `pull` being minus that in its features."""
        up, down = np.maximum(pull, 0) / 2, np.maximum(-pull, 0) / 2
        to_mean = down * (1 + side.lean * side.mean / side.bend) - up
        to_second = down * (1 - side.lean) / self.lengths - up * side.mass / (2 * side.root)
        to_mass = self.training.alpha - float(up @ (side.second / (2 * side.root)))
        spread = to_mean[:, None] * side.sizes + 2 * to_second[:, None] * side.products
        unit = weights / np.maximum(side.sizes, 1e-300)[:, None]
        along = (to_mean @ side.products)[:, None] * unit
        return np.asarray(spread.T @ self.rows + along + 2 * to_mass * weights)

    def read(self, point: Floats) -> Relaxed:
        weights, free = self.split(point)
        fit = self.fit(self.side(weights[0]), self.side(weights[1]), free)[:, None]
        dual = orthogonal(self.training.columns, -self.training.loss.gradient(fit))
        return Relaxed(dual, (self._moments(weights[0]), self._moments(weights[1])))

    def _moments(self, weights: Floats) -> Moments:
        sizes = np.linalg.norm(weights, axis=1)
        mass = float(sizes @ sizes)
        if mass <= 1e-9 * self.spread / self.typical:  # no neurons of this sign
            return isotropic(weights.shape[1])
        blur = self.sharpest * self.spread / (2 * self.typical * mass)
        return Moments(sizes @ weights / mass, weights.T @ weights / mass, blur, weight=100.0)


def minimiser(loss: Mean) -> Floats:
    """Return what minimises every sample's loss, (n, c): the target, or beyond it an infinity."""
    slope = loss.loss.gradient(loss.target, loss.target)
    return np.asarray(np.where(slope == 0, loss.target, np.where(slope > 0, -np.inf, np.inf)))
