"""Small random training problems, each from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, Problem, shape_of
from cvxnn.certificate import Scope
from cvxnn.functions import (
    CrossEntropy,
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
)
from cvxnn.training import problem_of

REGRESSION: tuple[SampleLoss, ...] = (Squared(), Huber(delta=0.4), Quantile(level=0.3))
MARGIN: tuple[SampleLoss, ...] = (Logistic(), SquaredHinge(), Hinge())
LOSSES: tuple[SampleLoss, ...] = (*REGRESSION, *MARGIN, CrossEntropy())


@dataclass(frozen=True)
class Sizes:
    """The largest sizes drawn; n is at least 2."""

    n: int
    d: int
    p: int
    outputs: int


@dataclass(frozen=True, eq=False)
class Drawn:
    """A problem, and what it was made of."""

    problem: Problem
    weights: NDArray[np.float64]
    """(n,), not normalised."""
    intercept: bool
    skip: bool


def draw(seed: Sequence[int], architecture: Architecture, loss: SampleLoss, sizes: Sizes) -> Drawn:
    """Return a problem with or without ties, copies, zero rows, weights and free columns.

    Both classes occur in every output, and a linear skip meets every sample with every label:
    otherwise free columns may separate the classes, and there is no optimum to agree on.
    """
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, sizes.n + 1)), int(rng.integers(1, sizes.d + 1))
    d = prod(shape_of(architecture) or (d,))
    intercept, skip = bool(rng.integers(2)), bool(rng.integers(3) == 0)
    X = _features(rng, n, d)
    y = _target(rng, loss, n, int(rng.integers(1, sizes.outputs + 1)))
    if skip and loss not in REGRESSION:
        X, y = _every_label(X, y, loss)
    weights = rng.choice([np.ones(len(X)), rng.integers(1, 5, len(X)), rng.uniform(0.1, 3, len(X))])
    problem = problem_of(
        architecture,
        X,
        y,
        weights,
        loss,
        architecture.source.draw(architecture.features(X), int(rng.integers(1, sizes.p + 1)), rng),
        scope=Scope.GIVEN_GATES,
        intercept=intercept,
        skip=skip,
    )
    alpha = 10.0 ** rng.uniform(-3.0, 0.2) * strength(problem, rng)
    return Drawn(problem.at(alpha), weights, intercept, skip)


def strength(problem: Problem, rng: np.random.Generator) -> float:
    """Return the polar gauge of random dual points, about the largest alpha of any use."""
    program = problem.at(1.0).program
    dual = program.loss.weights * rng.standard_normal(program.loss.target.shape)
    largest = float(program.penalty.polar(program.lift.adjoint(dual)).max())
    return largest if largest > 0 else 1.0


def _features(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float64]:
    X = rng.standard_normal((n, d))
    if rng.integers(2):
        X = np.round(X)  # ties, zero rows, parallel rows
    copies = rng.integers(0, n // 2 + 1)
    X[rng.integers(n, size=copies)] = X[rng.integers(n, size=copies)]
    return X


def _target(
    rng: np.random.Generator, loss: SampleLoss, n: int, outputs: int
) -> NDArray[np.float64]:
    scores = rng.standard_normal((n, outputs))
    if loss in REGRESSION:
        return np.round(scores, int(rng.integers(3)))
    if loss in MARGIN:
        return np.concatenate([np.ones((1, outputs)), -np.ones((1, outputs)), np.sign(scores[2:])])
    classes = max(outputs, 2)
    return np.eye(classes)[
        np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    ]


def _every_label(
    X: NDArray[np.float64], y: NDArray[np.float64], loss: SampleLoss
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first samples, as many as there is room for, once with every label."""
    labels = 2 if loss in MARGIN else y.shape[1]
    first = y[: len(y) // labels]
    turned = [np.roll(first, k, axis=1) for k in range(labels)]
    y = np.concatenate([first, -first] if loss in MARGIN else turned)
    return np.tile(X[: len(first)], (labels, 1)), y
