"""The experiment on gradient flow and the largest margin, against CVXPY."""

from functools import cache

import cvxpy as cp
import numpy as np
import pytest

from cvxnn import enumerate_patterns
from cvxnn.experiments import margin

pytestmark = pytest.mark.xdist_group("margin")  # what is cached is computed once

EXACT = {"solver": cp.CLARABEL, "tol_gap_rel": 1e-10, "tol_gap_abs": 1e-10}


@cache
def found() -> margin.Findings:
    return margin.measure()


def least_norm(X: np.ndarray, y: np.ndarray) -> float:
    fit, norm, rows = 0, 0, []
    for mask in enumerate_patterns(X).masks:
        for sign in (1, -1):
            v = cp.Variable(X.shape[1])
            fit, norm = fit + sign * cp.multiply(mask, X @ v), norm + cp.norm(v)
            rows.append(cp.multiply(2.0 * mask - 1, X @ v) >= 0)
    signs = np.where(y, 1.0, -1.0)
    rows.append(cp.multiply(signs, fit) >= 1)
    return float(cp.Problem(cp.Minimize(norm), rows).solve(**EXACT))


def test_the_certified_norms_are_cvxpys_and_the_notes() -> None:
    for data in found().data:
        assert data.best == pytest.approx(least_norm(data.X, data.y), rel=1e-6)
        assert data.bound == pytest.approx(data.best, rel=1e-6)
    assert found().data[0].bound == pytest.approx(2.2004022, abs=5e-8)


def test_orthogonal_data_are_two_linear_problems_and_the_others_are_not() -> None:
    orthogonal, plain = found().data
    inner = orthogonal.X @ orthogonal.X.T
    same = orthogonal.y[:, None] == orthogonal.y
    assert (inner[same] > 0).all()
    assert (inner[~same] <= 0).all()
    assert orthogonal.by_class == pytest.approx(orthogonal.bound, rel=1e-7)
    assert plain.by_class > 1.004 * plain.bound


def test_every_start_comes_near_on_orthogonal_data_and_two_stay_on_the_others() -> None:
    orthogonal, plain = found().data
    for data in (orthogonal, plain):
        for run in data.runs:
            assert (run.norms >= data.bound * (1 - 1e-9)).all()
            assert data.bound * (1 - 1e-6) <= run.own <= run.norm * (1 + 1e-6)
    assert max(orthogonal.above(run.norm) for run in orthogonal.runs) < 0.005
    stuck = margin.stayed(plain)
    assert [run.seed for run in stuck] == [1, 4]
    for run in stuck:
        assert plain.above(run.own) > 0.05
        assert run.norm < 1.01 * run.own
        assert len(run.neurons.angles) < len(plain.neurons.angles)


@pytest.mark.parametrize("seed", range(5))
def test_least_norms_are_cvxpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((6, 3)) + np.array([2.0, 0.0, 0.0])
    w = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.norm(w)), [rows @ w >= 1])
    value = float(problem.solve(**EXACT))
    assert margin.least_norm(rows) == pytest.approx(value, rel=1e-6)


def test_rows_of_both_signs_have_no_least_norm() -> None:
    assert margin.least_norm(np.array([[1.0, 0.0], [-1.0, 0.0]])) == np.inf


def test_parallel_neurons_are_one() -> None:
    inward = np.array([[1.0, 0.0], [2.0, 0.001], [0.0, 1.0], [1.0, 0.0], [0.0, 1e-6]])
    neurons = margin.merged(inward, np.array([1.0, 1.0, 2.0, -1.0, 1.0]))
    assert sorted(neurons.sizes.round(3).tolist()) == [-1.0, 2.0, 3.0]
