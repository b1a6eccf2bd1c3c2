"""Sketches: on the way to what growth finds, never above what they started from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.everywhere.grow import Grow, null_neurons, unpack
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.sketch import Sketch
from cvxnn.functions import CrossEntropy, Logistic, SampleLoss, Squared, mean_loss
from cvxnn.program import Iterate
from cvxnn.solve import solve_part
from cvxnn.solver_choice import grower, roughly


def training(loss: SampleLoss, share: float, seed: int = 0) -> Training:
    """A teacher of three neurons with noise, at a share of the largest price of no neurons."""
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.standard_normal((120, 4)), np.ones((120, 1))])
    scores = np.maximum(X @ rng.standard_normal((5, 3)), 0) + 0.3 * rng.standard_normal((120, 3))
    if loss.name == "cross_entropy":
        y = np.eye(3)[scores.argmax(axis=1)]
    elif loss.name == "logistic":
        y = np.where(scores[:, :1] > np.median(scores[:, 0]), 1.0, -1.0)
    else:
        y = scores[:, :1]
    one = Training(X, mean_loss(loss, y), np.ones((120, 1)), 1.0)
    pulled = np.abs(np.maximum(X, 0).T @ one.dual(null_neurons(one))).max()
    return Training(X, one.loss, one.columns, share * float(pulled))


@pytest.mark.parametrize("loss", [Squared(), Logistic(), CrossEntropy()])
def test_a_path_of_sketches_ends_near_what_growth_finds(loss: SampleLoss) -> None:
    start: Iterate | None = None
    null = training(loss, 0.5)
    zero = null.objective(null_neurons(null))
    for share in (0.5, 0.2, 0.1, 0.05, 0.02):
        here = training(loss, share)
        start = solve_part(here, Sketch(), start=start, judge=_judge(here)).iterate
    grown = solve_part(here, Grow(), judge=_judge(here)).certificate.upper
    assert start is not None
    sketched = _judge(here)(start)[0].upper
    assert grown <= sketched * (1 + 1e-4)
    assert sketched - grown < 0.1 * (zero - grown)


def test_at_large_strengths_there_are_no_neurons() -> None:
    here = training(Squared(), 100.0)
    found = solve_part(here, Sketch(), judge=_judge(here)).iterate
    assert found.blocks.shape[0] == 0


def test_a_tolerance_of_a_per_cent_grows_lightly() -> None:
    fine, light = grower("auto", 3, 1e-4), grower("auto", 3, 1e-2)
    assert isinstance(light, Grow)
    assert fine == Grow(seed=3)
    assert (light.tol, light.seed, light.exact) == (1e-2, 3, False)
    assert roughly(fine, kept=False) == Sketch(seed=3)
    assert roughly(fine, kept=True) == light
    own = Grow(seed=5)
    assert grower(own, 3, 1e-2) is own


def _judge(training: Training) -> Callable[[Iterate], tuple[Certificate, Iterate]]:
    """Return what the loop asks: the objective, with zero below it."""

    def judge(iterate: Iterate) -> tuple[Certificate, Iterate]:
        upper = training.objective(unpack(training, iterate))
        words = (Scope.ALL_NETWORKS, Exactness.EXACT, "trivial")
        names = ("scope", "exactness", "bound")
        kind: Any = dict(zip(names, words, strict=True))
        return Certificate(upper=upper, lower=0.0, resolution=0.0, **kind), iterate

    return judge
