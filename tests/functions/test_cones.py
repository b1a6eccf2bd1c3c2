"""Cones against cvxpy with Clarabel, and how sharp their edges are."""

import math

import cvxpy as cp
import numpy as np
import pytest
from tests.conftest import Backend

from cvxnn.functions import PSD, Cone, Nonnegative


def test_psd_projection_is_that_of_clarabel() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 4))
    for matrix, ours in zip(x, PSD().prox(x, 1.0), strict=True):
        u = cp.Variable((4, 4), PSD=True)
        cp.Problem(cp.Minimize(cp.sum_squares(u - matrix))).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(ours, u.value, atol=1e-5)


def test_psd_violation_is_the_distance() -> None:
    distances = PSD().violation(np.array([np.diag([-3.0, -4.0, 1.0]), np.diag([-1.0, 0.0, 9.0])]))
    assert distances == pytest.approx(5)
    skew = np.array([[1.0, 2.0], [0.0, 1.0]])  # symmetric part [[1, 1], [1, 1]], distance sqrt(2)
    assert PSD().violation(skew) == pytest.approx(math.sqrt(2))


def test_psd_wants_symmetric_members_and_forgives_skew_duals() -> None:
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert PSD().value(np.eye(2) + turn) == math.inf
    assert PSD().conjugate(turn - np.eye(2)) == 0
    assert PSD().conjugate(turn + np.eye(2)) == math.inf


def test_nonnegative_is_exact() -> None:
    x = np.array([-1.5, 0.0, 2.0])
    assert Nonnegative().prox(x, 3.0).tolist() == [0, 0, 2]
    assert Nonnegative().violation(x) == 1.5
    assert Nonnegative().violation(-x[:1]) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_membership_forgives_rounding_and_no_more(size: float, dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    for slack, inside in [(0, True), (4, True), (100, False)]:
        entries = size * np.array([1.0, 0.5, -slack * eps])
        answer = 0.0 if inside else math.inf
        assert Nonnegative().value(entries.astype(dtype)) == answer
        assert Nonnegative().conjugate(-entries.astype(dtype)) == answer
        assert PSD().value(np.diag(entries).astype(dtype)) == answer
        assert PSD().conjugate(-np.diag(entries).astype(dtype)) == answer


@pytest.mark.parametrize(("cone", "shape"), [(Nonnegative(), (0, 3)), (PSD(), (0, 3, 3))])
def test_nothing_is_inside(cone: Cone, shape: tuple[int, ...], backend: Backend) -> None:
    x = backend.asarray(np.zeros(shape))
    assert cone.value(x) == cone.conjugate(x) == cone.violation(x) == 0
    assert tuple(cone.prox(x, 1.0).shape) == shape


def test_nan_is_in_no_cone() -> None:
    assert Nonnegative().value(np.array([math.nan, 1.0])) == math.inf
