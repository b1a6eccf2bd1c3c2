"""Paths of optimal networks as the strength of weight decay falls, and the sizes of all of them."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from cvxnn.architectures import ReLU, ReLUNetwork
from cvxnn.errors import CertificateWarning
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats, descend
from cvxnn.optima import OptimalSet, optimal_set, split

RING = np.array(
    [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]], dtype=np.float64
)
"""The neighbours of the origin on a grid, around it."""
RING_TARGETS = np.array([3.0, 1.0] * 4)
"""On the axes, and on the diagonals."""
CLOSER_SHARE = 0.6
"""The share of alpha_max at which the ring's optimal networks are drawn, and descent tries."""
WIDTHS = tuple(range(1, 9))


@dataclass(frozen=True, eq=False)
class Problem:
    """Samples, targets, and shares of alpha_max; the mean loss of the estimator."""

    name: str
    X: Floats
    y: Floats
    shares: Floats
    gates: str
    """How the optimum over all networks is found and proved."""
    free: bool
    """Whether neurons have a bias and the output an intercept."""
    seconds: float
    """For each proof, where the patterns are too many to list."""


class Point(NamedTuple):
    """One strength. Sizes count neurons; parts of a split neuron are one direction."""

    share: float
    """alpha / alpha_max."""
    alpha: float
    objective: float
    """Of the worst vertex of the optimal set: all are equal up to rounding."""
    bound: float
    """No network is below it."""
    unique: bool
    """Whether one network is optimal, up to order and splitting."""
    vertices: int
    """Irreducible optimal networks, whose neurons' outputs are independent: all others mix them."""
    smallest: int
    """Neurons of the smallest optimal network."""
    largest: int
    """Neurons of the largest irreducible one."""
    directions: int
    """Neurons of the largest optimal network whose neurons all differ."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """A problem's path."""

    name: str
    samples: int
    features: int
    gates: str
    alpha_max: float
    empty: float
    """The objective of the network without neurons, optimal from alpha_max on."""
    points: tuple[Point, ...]

    @property
    def gap(self) -> float:
        """The largest relative gap between a network and the bound."""
        return max(0.0, *(1 - point.bound / point.objective for point in self.points))

    def drops(self) -> list[tuple[Point, Point]]:
        """Return neighbours on the path of which the weaker strength needs fewer neurons."""
        pairs = zip(self.points, self.points[1:], strict=False)
        return [(a, b) for a, b in pairs if b.smallest < a.smallest]


@dataclass(frozen=True, eq=False, kw_only=True)
class Closer:
    """All optimal networks of the ring at one strength."""

    share: float
    objective: float
    bound: float
    directions: Floats
    """(m, 2), unit rows."""
    signs: Floats
    """(m,)."""
    vertices: Floats
    """(k, m), sizes |u| |a|, the smallest networks first."""
    even: Floats
    """(m,), the sizes of least sum of squares."""
    descent: tuple[float, ...]
    """The best objective that descent finds with each of WIDTHS."""
    divided: tuple[tuple[int, float], ...]
    """Neurons and objective of the smallest network as its neurons are split one by one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    lines: tuple[Line, ...]
    closer: Closer


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Follow the paths, and look closer at one strength."""
    problems = [ring(full), gaussian(full, seed), *([diabetes()] if full else [])]
    return Findings(lines=tuple(map(follow, problems)), closer=closer(full, seed))


def shares(full: bool) -> Floats:
    """Return shares of alpha_max from just below 1 down to 0.01."""
    return np.geomspace(0.95, 0.01, 41 if full else 21)


def ring(full: bool) -> Problem:
    """Return eight samples with the symmetry of a square."""
    name = "Symmetric samples"
    return Problem(name, RING, RING_TARGETS, shares(full), "enumerate", free=False, seconds=0)


def gaussian(full: bool, seed: int, n: int = 10) -> Problem:
    """Return normal samples in the plane with random labels."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, 2)), rng.choice([-1.0, 1.0], n)
    name = "Random samples"
    return Problem(name, X, y, shares(full), "enumerate", free=False, seconds=0)


def diabetes() -> Problem:
    """Return the diabetes table that comes with scikit-learn, standardised."""
    data = load_diabetes()
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    y = (data.target - data.target.mean()) / data.target.std()
    few = np.geomspace(0.95, 0.1, 10)
    return Problem("Diabetes table", X, y, few, "grow", free=True, seconds=20.0)


def fit(problem: Problem, alpha: float) -> ConvexRegressor:
    """Return the fitted model; a proof that ends before its gap is closed is no fault here."""
    listed = problem.gates == "enumerate"
    model = ConvexRegressor(
        ReLU(bias=problem.free),
        alpha=alpha,
        gates=problem.gates,
        fit_intercept=problem.free,
        tol=1e-8 if listed else 1e-5,
        proof_time=problem.seconds,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", CertificateWarning)  # alpha_max is asked for from above
        return model.fit(problem.X, problem.y)


def follow(problem: Problem) -> Line:
    """Return the path of a problem."""
    X, y = problem.X, problem.y
    largest = float(fit(problem, float(y @ y)).alpha_max_)
    rest = y - y.mean() if problem.free else y
    n, d = X.shape
    return Line(
        name=problem.name,
        samples=n,
        features=d,
        gates=problem.gates,
        alpha_max=largest,
        empty=float(rest @ rest / (2 * n)),
        points=tuple(point(problem, float(share), largest) for share in problem.shares),
    )


def point(problem: Problem, share: float, largest: float) -> Point:
    """Return the bounds at one strength, and the sizes of its optimal networks.

    Where the gates are grown, these are the networks with the patterns of the one that was found.
    """
    alpha = share * largest
    model = fit(problem, alpha)
    found = optimal_set(model, problem.X, problem.y)
    vertices = found.vertices()
    counts = (vertices > 0).sum(axis=1)
    used = found.ranges()[:, 1] > 1e-7 * found.sizes.sum()
    networks = map(found.network, vertices)
    return Point(
        share=share,
        alpha=alpha,
        objective=max(value(network, problem.X, problem.y, alpha) for network in networks),
        bound=float(model.certificate_.lower),
        unique=found.is_unique(),
        vertices=len(vertices),
        smallest=int(counts.min()),
        largest=int(counts.max()),
        directions=int(used.sum()),
    )


def value(network: ReLUNetwork, X: Floats, y: Floats, alpha: float) -> float:
    """Return the mean of (f - y)^2 / 2 plus alpha/2 * (weights squared)."""
    return float(((network(X)[:, 0] - y) ** 2).mean() / 2 + alpha * network.weight_decay())


def closer(full: bool, seed: int) -> Closer:
    """Return all optimal networks of the ring at one strength, and what descent finds there."""
    problem = ring(full)
    alpha = CLOSER_SHARE * float(fit(problem, 1.0).alpha_max_)
    model = fit(problem, alpha)
    found = optimal_set(model, RING, RING_TARGETS)
    vertices = found.vertices()
    return Closer(
        share=CLOSER_SHARE,
        objective=float(model.certificate_.upper),
        bound=float(model.certificate_.lower),
        directions=found.directions,
        signs=found.signs,
        vertices=vertices,
        even=found.minimum_norm(),
        descent=tuple(descent(alpha, m, full, seed) for m in WIDTHS),
        divided=divide(found, vertices[0], alpha),
    )


def descent(alpha: float, width: int, full: bool, seed: int) -> float:
    """Return the best objective that gradient descent finds on the ring with so many neurons."""
    run = descend(
        RING,
        RING_TARGETS,
        alpha,
        width=width,
        starts=200 if full else 50,
        steps=20_000 if full else 2_000,
        step_size=0.1,
        spread=width**-0.5,
        rng=np.random.default_rng(seed),
    )
    return float(run.objective[run.best, -1])


def divide(found: OptimalSet, sizes: Floats, alpha: float) -> tuple[tuple[int, float], ...]:
    """Return widths and objectives of an optimal network as its neurons are split in turn."""
    network = found.network(sizes)
    steps = []
    while network.n_neurons <= WIDTHS[-1]:
        steps.append((network.n_neurons, value(network, RING, RING_TARGETS, alpha)))
        network = split(network, 0)
    return tuple(steps)
