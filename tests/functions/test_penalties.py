"""Penalties against cvxpy with Clarabel, and what they refuse."""

import math
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest
from tests.conftest import Backend

from cvxnn.functions import (
    L1,
    ColumnNorm,
    GroupNorm,
    Nuclear,
    Penalty,
    Ridge,
    Unpenalised,
)

MODELS: list[tuple[Penalty, Callable[[cp.Expression], cp.Expression]]] = [
    (GroupNorm(alpha=0.7), lambda u: 0.7 * cp.norm(u, "fro")),
    (ColumnNorm(alpha=0.7), lambda u: 0.7 * cp.sum(cp.norm(u, 2, axis=0))),
    (Nuclear(alpha=0.7), lambda u: 0.7 * cp.normNuc(u)),
    (L1(alpha=0.7), lambda u: 0.7 * cp.sum(cp.abs(u))),
    (Ridge(alpha=0.7), lambda u: 0.35 * cp.sum_squares(u)),
]
EVERY = pytest.mark.parametrize(
    ("penalty", "model"), MODELS, ids=[type(row[0]).__name__ for row in MODELS]
)
STRONG = pytest.mark.parametrize("make", [GroupNorm, ColumnNorm, Nuclear, L1, Ridge])


@EVERY
def test_value_and_prox(penalty: Penalty, model: Callable[[cp.Expression], cp.Expression]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 2))
    assert penalty.value(x) == pytest.approx(sum(float(model(b).value) for b in x))
    for step in (0.1, 1.0, 2.0):
        ours = penalty.prox(x, step)
        for before, after in zip(x, ours, strict=True):
            u = cp.Variable(before.shape)
            task = cp.Minimize(step * model(u) + cp.sum_squares(u - before) / 2)
            cp.Problem(task).solve(solver=cp.CLARABEL)
            np.testing.assert_allclose(after, u.value, atol=2e-5)


@EVERY
def test_direction(penalty: Penalty, model: Callable[[cp.Expression], cp.Expression]) -> None:
    v = np.random.default_rng(1).standard_normal((2, 3, 2))
    for block, best in zip(v, penalty.direction(v), strict=True):
        u = cp.Variable(block.shape)
        task = cp.Problem(cp.Maximize(cp.sum(cp.multiply(block, u))), [model(u) <= 1])
        assert np.sum(block * best) == pytest.approx(task.solve(solver=cp.CLARABEL), rel=1e-6)
        assert penalty.value(best[None, ...]) == pytest.approx(1)


@EVERY
def test_zero_blocks(penalty: Penalty, model: object, backend: Backend) -> None:
    x = backend.asarray(np.zeros((2, 3, 2)))
    for zero in (penalty.gradient(x), penalty.prox(x, 1.0), penalty.direction(x)):
        assert np.all(np.asarray(zero) == 0)
    assert np.asarray(penalty.polar(x)).tolist() == [0, 0]
    assert penalty.value(x) == penalty.conjugate(x) == 0


@EVERY
def test_no_blocks(penalty: Penalty, model: object, backend: Backend) -> None:
    x = backend.asarray(np.zeros((0, 3, 2)))
    for empty in (penalty.gradient(x), penalty.prox(x, 1.0), penalty.direction(x)):
        assert tuple(empty.shape) == (0, 3, 2)
    assert tuple(penalty.polar(x).shape) == (0,)
    assert penalty.value(x) == penalty.conjugate(x) == 0


@pytest.mark.parametrize("size", [1e-200, 1e200])
@pytest.mark.parametrize("make", [GroupNorm, ColumnNorm, Nuclear, L1])
def test_no_overflow(make: Callable[..., Penalty], size: float) -> None:
    x = size * np.random.default_rng(2).standard_normal((2, 3, 2))
    small = make(alpha=size)
    np.testing.assert_allclose(small.prox(x, 0.5) / size, make(alpha=1.0).prox(x / size, 0.5))
    np.testing.assert_allclose(small.polar(x), make(alpha=1.0).polar(x / size))


def test_the_first_of_equal_columns_and_entries_is_taken() -> None:
    v = np.ones((1, 2, 2))
    np.testing.assert_allclose(
        ColumnNorm(alpha=1.0).direction(v)[0], [[math.sqrt(0.5), 0], [math.sqrt(0.5), 0]]
    )
    assert L1(alpha=0.5).direction(-v)[0].tolist() == [[-2, 0], [0, 0]]


def test_unpenalised_is_the_zero_function() -> None:
    v = np.array([[0.0, 0.0], [3.0, 4.0]])
    free = Unpenalised()
    assert free.value(v) == 0
    assert free.conjugate(v) == math.inf
    assert free.conjugate(0 * v) == 0
    assert free.polar(v).tolist() == [0, math.inf]
    np.testing.assert_allclose(free.direction(v), [[0, 0], [0.6, 0.8]])


@STRONG
@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf, math.nan])
def test_alpha_must_be_positive(make: Callable[..., Penalty], alpha: float) -> None:
    message = rf"alpha is {alpha} but must be positive and finite; use Unpenalised\(\) for no pen"
    with pytest.raises(ValueError, match=message):
        make(alpha=alpha)


@pytest.mark.parametrize("make", [GroupNorm, ColumnNorm, L1, Ridge])
def test_nan_is_not_in_the_domain(make: Callable[..., Penalty]) -> None:
    """A broken dual point must never look feasible."""
    answer = make(alpha=1.0).conjugate(np.array([[[math.nan, 0.0]]]))
    assert not answer <= 1e300
