"""The direction in which samples flow to a target density, as a certified two-layer network."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from cvxnn.architectures import ReLU
from cvxnn.architectures.shared import with_bias
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.everywhere.directions import Directions
from cvxnn.everywhere.neurons import Floats
from cvxnn.gates import Gates
from cvxnn.gates.enumerate import cover_count
from cvxnn.projection import nearest, unit_rows
from cvxnn.solvers.standard import conic
from cvxnn.support import as_data
from cvxnn.training import gates_of

Score = Callable[[Floats], Any]
"""The gradient of the log density at points (n, d), (n, d)."""

_FEW = 300
"""Patterns up to which "auto" takes all of them."""
_CONE = 4
"""Walls of a cone up to which doubly nonnegative matrices are completely positive."""
_SIZE = 4_000_000
"""Most numbers in the map from matrices to gradients."""
_INSIDE = 1e-8
"""How far a neuron on a wall of its cone is moved inside, where it counts as on its own side."""
_LEAST = 1e-8
"""Sizes below this share of the largest are an interior point's zeros."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Potential:
    """Phi(x) = sum_j a_j max(0, z.w_j)^2 with z = x, or (x, 1) with a bias.

    >>> half = Potential(weights_in=np.eye(1), weights_out=np.array([0.5]), bias=False)
    >>> x = np.array([[2.0], [-1.0]])
    >>> half(x).tolist(), half.gradient(x)[:, 0].tolist(), half.laplacian(x).tolist()
    ([2.0, 0.0], [2.0, 0.0], [1.0, 0.0])
    """

    weights_in: Floats
    """w, (m, d), or (m, d + 1) with the hidden bias last."""
    weights_out: Floats
    """a, (m,)."""
    bias: bool

    def _products(self, X: Floats) -> Floats:
        return np.asarray(with_bias(X, self.bias) @ self.weights_in.T)

    @property
    def _inward(self) -> Floats:
        """The weights of x itself, (m, d)."""
        return self.weights_in[:, :-1] if self.bias else self.weights_in

    def __call__(self, X: Floats) -> Floats:
        """Return Phi at points (n, d), (n,)."""
        return np.asarray(np.maximum(self._products(X), 0) ** 2 @ self.weights_out)

    def gradient(self, X: Floats) -> Floats:
        """Return the gradient of Phi at points (n, d), (n, d)."""
        values = np.maximum(self._products(X), 0) * self.weights_out
        return np.asarray(2 * values @ self._inward)

    def laplacian(self, X: Floats) -> Floats:
        """Return the Laplacian of Phi, (n,); a neuron counts where z.w >= 0."""
        squares = (self._inward**2).sum(axis=1)
        return np.asarray(2 * (self._products(X) >= 0) @ (self.weights_out * squares))

    def penalty(self) -> float:
        """Return sum_j |a_j| |w_j|^2, what alpha multiplies."""
        return float(np.abs(self.weights_out) @ (self.weights_in**2).sum(axis=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Direction:
    """The best direction of a two-layer network; see `wasserstein_direction`."""

    network: Potential
    certificate: Certificate
    alpha: float
    threshold: float
    """The alpha below which the program has no optimum."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Flowed:
    """Samples moved to a target; see `wasserstein_flow`."""

    samples: Floats
    """(n, d)."""
    course: Floats
    """(steps + 1, n, d), the first the start, the last the samples."""
    speeds: Floats
    """(steps,): the root of the mean of |gradient of Phi|^2, which falls as the target is near."""


def wasserstein_direction(
    X: Any,
    score: Score | Any,
    *,
    alpha: float | str = "auto",
    bias: bool = True,
    gates: Any = "auto",
    n_gates: int = 50,
    random_state: Any = None,
) -> Direction:
    """Return the two-layer network Phi whose gradient moves samples towards a target.

    minimise mean of |grad Phi(x_i)|^2 / 2 + lap Phi(x_i) + s(x_i).grad Phi(x_i)
    + alpha sum_j |a_j| |w_j|^2 over Phi(x) = sum_j a_j max(0, z.w_j)^2 of any width

    With s the score of the target density, Phi estimates log(density of the samples / target) up to
    a constant, and x - rate * grad Phi(x) are nearer to the target [WangChen2022]. With weight
    decay beta/2 sum_j (|w_j|^3 + |a_j|^3) for the last term alpha is 3 beta / 2^(5/3). The
    semidefinite program is exact where a cone has at most four walls, as for two features, the bias
    among them; else its optimum is a lower bound only, and the network is the best of the neurons
    that were read off it.

    Neurons on the two sides of a sample change the Laplacian there at no cost in the gradient, so
    that below a threshold of alpha, about 1 / n, there is no optimum.

    Parameters
    ----------
    X : array (n, d)
        Samples.
    score : callable or array (n, d)
        s, a function of points (n, d), or its values at the samples.
    alpha : float or "auto"
        Strength; "auto" is twice the threshold, or 2 / n if that is more.
    bias : bool
        z = (x, 1), without which no direction moves a mean alone.
    gates : "auto", "enumerate", "sample" or array (p, d) of generators, d counting the bias
        Activation patterns; "auto" takes all of them up to 300 and else draws `n_gates`.

    Raises ValueError for an alpha that is not above the threshold, before the program is solved,
    for data that are not finite, a score of another shape, and sizes beyond an interior point's.

    >>> X = np.array([[1.0], [2.0], [-1.0], [0.5], [-3.0]])
    >>> found = wasserstein_direction(X, lambda x: -x, alpha=0.2, bias=False)
    >>> round(found.certificate.upper, 7), found.certificate.proves(1e-9)
    (-0.6208333, True)
    """
    rows, values = _samples(X, score)
    features = np.asarray(with_bias(rows, bias))
    if not (alpha == "auto" or (isinstance(alpha, Real) and 0 <= float(alpha) < np.inf)):
        raise ValueError(f"alpha is {alpha!r}; expected a number >= 0, or 'auto'")
    drawn, scope = _gates(features, gates, n_gates, random_state)
    if features.shape[1] == 1:
        strength = 2 / len(rows) if alpha == "auto" else float(alpha)
        return _on_a_line(rows, values, strength)
    program = Directions(features, values, drawn)
    least, inner = program.threshold()
    proved = max(least, program.lack(inner))
    strength = max(2 * proved, 2 / len(rows)) if alpha == "auto" else float(alpha)
    if not strength > proved:
        raise ValueError(
            f"alpha is {strength:.4g} and up to {proved:.4g} the program is unbounded on these "
            "samples: neurons on both sides of a sample gain more than they cost; pass "
            f"{2 * proved:.2g} or more, or 'auto'"
        )
    answer = program.solve(strength)
    exact = max(len(walls) for walls in program.walls) <= _CONE
    network = _network(program, answer.matrices, strength, bias)
    claim = Certificate(
        upper=_objective(network, rows, values, strength),
        lower=program.bound(strength, answer.dual, inner),
        scope=scope,
        exactness=Exactness.EXACT if exact else Exactness.RELAXATION,
        bound="enumeration" if scope is Scope.ALL_NETWORKS else "dual",
        resolution=1e-12,
    )
    return Direction(network=network, certificate=claim, alpha=strength, threshold=proved)


def wasserstein_flow(
    X: Any,
    score: Score,
    *,
    steps: int = 50,
    rate: float = 0.2,
    alpha: float | str = "auto",
    bias: bool = True,
    gates: Any = "auto",
    n_gates: int = 50,
    random_state: Any = None,
) -> Flowed:
    """Move samples (n, d) to the density of a score, by the best two-layer direction of each step.

    x <- x - rate * grad Phi(x), Phi the network of `wasserstein_direction` on the samples of that
    step, of which the other arguments are; no step is longer than half the spread of the samples.
    Every pattern is taken at each step, or `n_gates` are drawn anew [WangChen2022].

    Raises ValueError as `wasserstein_direction`, and for other than positive steps and rates.

    >>> start = np.linspace(-1, 1, 20)[:, None]
    >>> moved = wasserstein_flow(start, lambda x: 2.0 - x, steps=12, rate=0.3)
    >>> bool(1.7 < moved.samples.mean() < 2)
    True
    """
    if not (steps >= 1 and rate > 0):
        raise ValueError(f"steps is {steps!r} and rate {rate!r}; expected positive numbers")
    points, rng = _samples(X, score)[0], np.random.default_rng(random_state)
    course, speeds = [points], []
    for _ in range(int(steps)):
        words = {"alpha": alpha, "bias": bias, "gates": gates, "n_gates": n_gates}
        found = wasserstein_direction(points, score, random_state=rng, **words)
        pull = found.network.gradient(points)
        longest = float(np.linalg.norm(pull, axis=1).max())
        spread = float(points.std(axis=0).max()) or float(np.abs(points).max()) or 1.0
        step = min(rate, 0.5 * spread / longest) if longest > 0 else 0.0
        points = points - step * pull
        course.append(points)
        speeds.append(float(np.sqrt((pull**2).sum(axis=1).mean())))
    return Flowed(samples=points, course=np.stack(course), speeds=np.array(speeds))


def _samples(X: Any, score: Score | Any) -> tuple[Floats, Floats]:
    """Return samples (n, d) and the score there; ValueError for what does not fit."""
    given = np.asarray(X)
    if given.ndim != 2:
        raise ValueError(f"X has shape {given.shape}; expected (n, d)")
    rows = as_data(given, given.shape[1])
    values = np.asarray(score(rows) if callable(score) else score, dtype=np.float64)
    if values.shape != rows.shape or not np.isfinite(values).all():
        raise ValueError(
            f"the score has shape {values.shape}; expected finite numbers of shape {rows.shape}, "
            "the gradient of the log density at every sample"
        )
    return rows, values


def _gates(features: Floats, choice: Any, count: int, random_state: Any) -> tuple[Gates, Scope]:
    """Return the patterns; ValueError where there are too many for the program."""
    n, wide = features.shape
    if isinstance(choice, str) and choice == "auto":
        choice = "enumerate" if cover_count(n, wide) <= _FEW else "sample"
    rng = np.random.default_rng(random_state)
    gates, scope = gates_of(ReLU(bias=False), features, choice, count, rng)
    size = n * wide * len(gates) * wide * (wide + 1)
    if size > _SIZE:
        raise ValueError(
            f"the program of {len(gates)} patterns, {n} samples and {wide} features has {size:,} "
            f"numbers in one map and the limit is {_SIZE:,}; pass gates='sample' with fewer "
            "n_gates, fewer samples, or their leading components"
        )
    return gates, scope


def _objective(network: Potential, rows: Floats, score: Floats, alpha: float) -> float:
    pull = network.gradient(rows)
    each = (pull**2).sum(axis=1) / 2 + network.laplacian(rows) + (score * pull).sum(axis=1)
    return float(each.mean()) + alpha * network.penalty()


def _on_a_line(rows: Floats, score: Floats, alpha: float) -> Direction:
    """Return the optimum for one feature without bias: a threshold on either side of zero."""
    x, s, n = rows[:, 0], score[:, 0], len(rows)
    sides, sizes = [], []
    for side in (1.0, -1.0):
        on = side * x > 0
        slope = 2 * float(on.sum()) + 2 * float(s[on] @ x[on])
        square = 4 * float(x[on] @ x[on])
        if square > 0 and abs(slope) > n * alpha:
            sides.append([side])
            sizes.append(-np.sign(slope) * (abs(slope) - n * alpha) / square)
    network = Potential(
        weights_in=np.array(sides).reshape(-1, 1), weights_out=np.array(sizes), bias=False
    )
    value = _objective(network, rows[x != 0], score[x != 0], 0.0) * float((x != 0).mean())
    value += alpha * network.penalty()
    claim = Certificate(
        upper=value,
        lower=value,
        scope=Scope.ALL_NETWORKS,
        exactness=Exactness.EXACT,
        bound="closed form",
        resolution=1e-12,
    )
    return Direction(network=network, certificate=claim, alpha=alpha, threshold=0.0)


def _network(program: Directions, matrices: Floats, alpha: float, bias: bool) -> Potential:
    """Return the best network of neurons read off the matrices."""
    neurons, p = [], len(program.gates)
    largest = float(np.trace(matrices, axis1=1, axis2=2).max())
    for k, matrix in enumerate(matrices):
        if np.trace(matrix) > 1e-9 * largest:
            inside = program.gates.generators[k % p]
            neurons += _factors(matrix, program.walls[k % p], inside / np.linalg.norm(inside))
    units = np.array(neurons).reshape(-1, program.features.shape[1])
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    sizes = _refit(program, units, alpha)
    kept = sizes != 0
    return Potential(weights_in=units[kept], weights_out=sizes[kept], bias=bias)


def _factors(matrix: Floats, walls: Floats, inside: Floats) -> list[Floats]:
    """Return vectors of the cone, moved off its walls, that make up a matrix or come near.

    In the plane S = R B R' with the cone's two rays R and B nonnegative, whose factors are explicit
    and add up to S. Beyond, eigenvectors and columns of S are brought into the cone.
    """
    if matrix.shape[0] == 2 and len(walls) == 2:
        rays = np.linalg.inv(walls)
        inner = np.maximum(walls @ matrix @ walls.T, 0.0)
        found = [rays @ np.sqrt(np.diag(inner))]
        for j in range(2):
            if inner[j, j] > 0:
                found.append(rays @ (inner[:, j] / inner[j, j] ** 0.5))
            found.append(rays[:, j])
    else:
        values, vectors = np.linalg.eigh(matrix)
        columns = [side * v for side in (1.0, -1.0) for v in vectors[:, values > 0].T]
        columns += [matrix @ wall for wall in walls] + [matrix @ inside, inside]
        none = np.zeros(0, dtype=np.int64)
        found = [nearest(unit_rows(walls), v, none)[0] for v in columns if v.any()]
    lengths = [float(np.linalg.norm(v)) for v in found]
    return [
        (1 - _INSIDE) * v / size + _INSIDE * inside
        for v, size in zip(found, lengths, strict=True)
        if size > 1e-12
    ]


def _refit(program: Directions, units: Floats, alpha: float) -> Floats:
    """Return the best sizes (m,) of given neurons: a lasso, as a conic program."""
    n, d = program.score.shape
    values = np.maximum(program.features @ units.T, 0)
    pulls = (2 * values[:, None, :] * units[:, :d].T[None]).reshape(n * d, -1) / n**0.5
    slope = pulls.T @ (program.score.ravel() / n**0.5)
    slope += 2 * (program.features @ units.T >= 0).mean(axis=0) * (units[:, :d] ** 2).sum(axis=1)
    m, link = len(units), sparse.csc_array(pulls)
    both = sparse.hstack([link, -link, -sparse.eye_array(n * d)])
    cost = np.concatenate([slope + alpha, alpha - slope, np.zeros(n * d)])
    square = np.concatenate([np.zeros(2 * m), np.ones(n * d)])
    above = sparse.eye_array(2 * m, 2 * m + n * d)
    rows = [(both, np.zeros(n * d), "zero")]
    x = np.array(conic(square, cost, rows, above, [("nonnegative", 2 * m)]).x)
    sizes = x[:m] - x[m : 2 * m]
    return np.asarray(np.where(np.abs(sizes) > _LEAST * np.abs(sizes).max(initial=0.0), sizes, 0))
