"""The null model: the best free coefficients, by Newton's method or by alternating directions."""

import cvxpy as cp
import numpy as np
import pytest

from cvxnn.functions import (
    CrossEntropy,
    GroupNorm,
    Hinge,
    Huber,
    Logistic,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)
from cvxnn.maps import Gated
from cvxnn.path import null_model
from cvxnn.program import Program

SMOOTH = (Squared(), Huber(), Logistic(), SquaredHinge(), CrossEntropy())


def program(loss: SampleLoss, q: int, outputs: int, seed: int, scale: float = 1.0) -> Program:
    """A program with orthonormal free columns, the first of them an intercept."""
    rng = np.random.default_rng(seed)
    n = 40
    columns = np.hstack([np.ones((n, 1)), rng.standard_normal((n, q - 1))])
    if loss.name == "cross_entropy":
        y = np.eye(outputs)[rng.integers(0, outputs, n)]
    elif loss.name in ("squared", "huber"):
        y = scale * rng.standard_normal((n, outputs))
    else:
        y = rng.choice([-1.0, 1.0], (n, outputs))
    mean = mean_loss(loss, y, rng.uniform(0.5, 2, n))
    lift = Gated(rng.standard_normal((n, 3)), np.ones((n, 2)), outputs)
    free = np.linalg.qr(columns)[0]
    return Program(loss=mean, lift=lift, penalty=GroupNorm(1.0), free=free)


def optimum(loss: SampleLoss, problem: Program) -> float:
    """The least mean loss over the free coefficients, by Clarabel."""
    y, weights = problem.loss.target, problem.loss.weights[:, 0]
    fit = problem.free @ cp.Variable((problem.free.shape[1], y.shape[1]))
    each = {
        "squared": lambda: cp.sum(cp.square(fit - y), axis=1) / 2,
        "huber": lambda: cp.sum(cp.huber(fit - y, 1.0), axis=1) / 2,
        "logistic": lambda: cp.sum(cp.logistic(-cp.multiply(y, fit)), axis=1),
        "squared_hinge": lambda: cp.sum(cp.square(cp.pos(1 - cp.multiply(y, fit))), axis=1) / 2,
        "hinge": lambda: cp.sum(cp.pos(1 - cp.multiply(y, fit)), axis=1),
        "cross_entropy": lambda: cp.log_sum_exp(fit, axis=1) - cp.sum(cp.multiply(y, fit), axis=1),
    }[loss.name]()
    value = cp.Problem(cp.Minimize(weights @ each)).solve(solver=cp.CLARABEL)
    return float(value)


@pytest.mark.parametrize("q", [1, 4])
@pytest.mark.parametrize("loss", [*SMOOTH, Hinge()])
def test_null_models_are_clarabels(loss: SampleLoss, q: int) -> None:
    for seed in range(5):
        problem = program(loss, q, 3 if loss.name in ("cross_entropy", "squared") else 1, seed)
        found = null_model(problem)
        value = problem.loss.value(problem.free @ found.free)
        assert value == pytest.approx(optimum(loss, problem), rel=1e-6, abs=1e-8)
        assert found.blocks.shape[0] == 0
        pull = np.abs(problem.free.T @ found.dual).max()
        assert pull <= 1e-6 * np.abs(found.dual).sum() + 1e-12


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_targets_of_any_scale(scale: float) -> None:
    problem = program(Squared(), 3, 1, 0, scale)
    weights = np.sqrt(problem.loss.weights)
    exact = np.linalg.lstsq(weights * problem.free, weights * problem.loss.target)[0]
    assert null_model(problem).free == pytest.approx(exact, rel=1e-9)


def test_no_free_columns_is_predicting_zero() -> None:
    problem = program(Logistic(), 1, 1, 0)
    bare = Program(
        loss=problem.loss, lift=problem.lift, penalty=problem.penalty, free=np.zeros((40, 0))
    )
    found = null_model(bare)
    assert found.free.shape == (0, 1)
    assert found.dual == pytest.approx(-bare.loss.gradient(np.zeros((40, 1))))
