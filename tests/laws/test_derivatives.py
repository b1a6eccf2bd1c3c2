"""Second-order laws: slopes of proxes and roots of Hessians, against differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.conftest import Backend
from tests.instances import LOSSES, PENALTIES, FunctionInstance

from cvxnn.functions import GroupNorm, Nonnegative, Nuclear
from cvxnn.gates import gaussian
from cvxnn.maps import ConeRows
from cvxnn.program import Constraint
from cvxnn.solvers.cone_norm import OnCones, Projector

STEP = 1e-6


def every(instances: list[FunctionInstance]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("instance", instances, ids=lambda one: one.name)


def slope(f: Callable[[np.ndarray], Any], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The central difference of f at x along z."""
    return (np.asarray(f(x + STEP * z)) - np.asarray(f(x - STEP * z))) / (2 * STEP)


@every(PENALTIES)
@pytest.mark.parametrize("seed", range(8))
def test_jacobian_is_the_slope_of_prox(
    backend: Backend, instance: FunctionInstance, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    function, step = instance.make(backend.asarray), 10 ** rng.uniform(-1, 0.3)
    x, z, w = rng.standard_normal((3, *instance.shape))
    turn = function.jacobian(backend.asarray(x), step)
    found = np.asarray(turn(backend.asarray(z)))
    numeric = slope(lambda at: function.prox(backend.asarray(at), step), x, z)
    np.testing.assert_allclose(found, numeric, atol=2e-7 * (1 + np.abs(z).max()))
    mirrored = np.asarray(turn(backend.asarray(w)))
    assert (found * w).sum() == pytest.approx((mirrored * z).sum(), abs=1e-12)  # symmetric
    assert -1e-12 <= (found * z).sum() <= (z * z).sum() * (1 + 1e-12)  # and firmly nonexpansive


@pytest.mark.parametrize("seed", range(8))
def test_on_cones_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((12, 4))
    gates = gaussian(features, 5, rng)
    rows = ConeRows(features, 2.0 * gates.masks - 1.0, outputs=1)
    function = OnCones(GroupNorm(0.3), Projector(Constraint(rows, Nonnegative()), len(gates)))
    x, z = rng.standard_normal((2, *rows.in_shape))
    found = function.jacobian(x, 0.5)(z)
    np.testing.assert_allclose(found, slope(lambda at: function.prox(at, 0.5), x, z), atol=1e-6)


def test_equal_singular_values() -> None:
    """Divided differences become slopes, and nothing is divided by zero."""
    x, z = np.stack([2 * np.eye(3), np.zeros((3, 3))]), np.ones((2, 3, 3))
    z[0, 0, 1] = -4.0
    found = Nuclear(1.0).jacobian(x, 1.0)(z)
    np.testing.assert_allclose(found, slope(lambda at: Nuclear(1.0).prox(at, 1.0), x, z), atol=1e-6)


@every(LOSSES)
@pytest.mark.parametrize("seed", range(8))
def test_root_squares_to_the_slope_of_the_gradient(
    backend: Backend, instance: FunctionInstance, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    function = instance.make(backend.asarray)
    x, z, w = rng.standard_normal((3, *instance.shape))
    root = function.root(backend.asarray(x))
    left, right = (np.asarray(f(backend.asarray(z))) for f in (root.apply, root.adjoint))
    assert (left * w).sum() == pytest.approx(
        (z * np.asarray(root.adjoint(backend.asarray(w)))).sum(), abs=1e-12
    )
    found = np.asarray(root.apply(backend.asarray(right)))
    numeric = slope(lambda at: function.gradient(backend.asarray(at)), x, z)
    np.testing.assert_allclose(found, numeric, atol=1e-7 * (1 + np.abs(z).max()))
