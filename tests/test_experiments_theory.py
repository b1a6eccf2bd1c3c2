"""The experiments on paths, optimal sets and truncated data, against oracles that are not ours."""

from functools import cache
from itertools import combinations
from typing import NamedTuple

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from cvxnn import enumerate_patterns
from cvxnn.experiments import low_rank, optimal_sizes, regularisation_path
from cvxnn.experiments.optimal_sizes import RING, RING_TARGETS, Line, Point

pytestmark = pytest.mark.xdist_group("theory")  # what is cached is computed once

PRECISE = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


class Optimum(NamedTuple):
    value: float
    fit: np.ndarray


def solve(
    X: np.ndarray, y: np.ndarray, beta: float, masks: np.ndarray, loss: str = "squared"
) -> Optimum:
    """cvxpy's least loss(sum D X (v - w)) + beta * sum of norms, (2 D - 1) X v >= 0."""
    masks = masks.astype(float)
    v, w = (cvxpy.Variable((len(masks), X.shape[1])) for _ in range(2))
    fit = cvxpy.sum(cvxpy.multiply(masks, (v - w) @ X.T), axis=0)
    norms = cvxpy.sum(cvxpy.norm(v, axis=1) + cvxpy.norm(w, axis=1))
    cones = [cvxpy.multiply(2 * masks - 1, u @ X.T) >= 0 for u in (v, w)]
    losses = {
        "squared": cvxpy.sum_squares(fit - y) / 2,
        "hinge": cvxpy.sum(cvxpy.pos(1 - cvxpy.multiply(y, fit))),
    }
    problem = cvxpy.Problem(cvxpy.Minimize(losses[loss] + beta * norms), cones)
    return Optimum(float(problem.solve(solver="CLARABEL", **PRECISE)), np.array(fit.value))


# path


@cache
def sizes() -> optimal_sizes.Findings:
    return optimal_sizes.measure()


@cache
def samples(name: str) -> tuple[np.ndarray, np.ndarray, Line]:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10, 2)), rng.choice([-1.0, 1.0], 10)
    ring, random = sizes().lines
    return {"ring": (RING, RING_TARGETS, ring), "random": (X, y, random)}[name]


def cells(X: np.ndarray) -> np.ndarray:
    """The walls' angles in the plane, in order; a cell lies between each and the next."""
    turns = np.arctan2(X[:, 1], X[:, 0])[:, None] + np.pi / 2 * np.array([-1, 1])
    return np.unique(np.round(turns.ravel() % (2 * np.pi), 12))


def planar_masks(X: np.ndarray) -> np.ndarray:
    walls = cells(X)
    middles = (walls + np.append(walls[1:], walls[0] + 2 * np.pi)) / 2
    return X @ np.array([np.cos(middles), np.sin(middles)]) > 0


def atoms(X: np.ndarray, v: np.ndarray, beta: float) -> np.ndarray:
    """The distinct s max(0, X u) with s v' max(0, X u) = beta: u inside a cell, or on a wall."""
    pulls = (planar_masks(X).T * v) @ X
    walls = np.column_stack([np.cos(cells(X)), np.sin(cells(X))])
    both = np.concatenate([walls, pulls, -pulls])
    lengths = np.linalg.norm(both, axis=1)
    units = both[lengths > 0] / lengths[lengths > 0, None]
    values = np.maximum(units @ X.T, 0)
    signed = np.concatenate([values, -values])
    best = signed[signed @ v > beta * (1 - 1e-6)]
    kept: list[np.ndarray] = []
    for atom in best:
        if not any(np.linalg.norm(atom - other) < 1e-4 for other in kept):
            kept.append(atom)
    return np.array(kept)


def vertices(columns: np.ndarray, fit: np.ndarray) -> list[set[int]]:
    """All independent sets of atoms (m, n) that make the fit with positive sizes."""
    found = []
    for count in range(1, min(columns.shape) + 1):
        for chosen in combinations(range(len(columns)), count):
            part = columns[list(chosen)]
            if np.linalg.matrix_rank(part, tol=1e-3) < count:
                continue
            c, left = nnls(part.T, fit)
            if left < 1e-5 and (c > 1e-4 * c.sum()).all():
                found.append(set(chosen))
    return found


@pytest.mark.parametrize("name", ["ring", "random"])
@pytest.mark.parametrize("index", [0, 2, 5, 6, 13, 20])
def test_the_sizes_are_those_of_all_subsets_of_the_atoms(name: str, index: int) -> None:
    X, y, line = samples(name)
    point, n = line.points[index], len(X)
    optimum = solve(X, y, n * point.alpha, planar_masks(X).T)
    assert n * point.objective == pytest.approx(optimum.value, rel=1e-7)
    found = vertices(atoms(X, y - optimum.fit, n * point.alpha), optimum.fit)
    counts = [len(chosen) for chosen in found]
    assert point.vertices == len(found)
    assert point.unique == (len(found) == 1)
    assert (point.smallest, point.largest) == (min(counts), max(counts))
    assert point.directions == len(set.union(*found))


@pytest.mark.parametrize("name", ["ring", "random"])
def test_alpha_max_is_the_largest_price_of_the_targets(name: str) -> None:
    X, y, line = samples(name)
    angles = np.linspace(0, 2 * np.pi, 100_001)
    prices = y @ np.maximum(X @ np.array([np.cos(angles), np.sin(angles)]), 0)
    assert line.alpha_max == pytest.approx(np.abs(prices).max() / len(X), rel=1e-7)
    assert line.empty == y @ y / (2 * len(X))


@pytest.mark.parametrize("name", ["ring", "random"])
def test_the_path_is_proved_and_its_objective_concave_and_rising(name: str) -> None:
    _, _, line = samples(name)
    assert line.gap < 1e-8
    alpha = np.array([0, *(p.alpha for p in line.points[::-1]), line.alpha_max])
    value = np.array([0, *(p.objective for p in line.points[::-1]), line.empty])
    slopes = np.diff(value[1:]) / np.diff(alpha[1:])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()


def test_the_number_of_neurons_is_no_law_and_small_networks_are_not_optimal() -> None:
    ring, random = sizes().lines
    assert [(a.smallest, b.smallest) for a, b in random.drops()] == [(4, 3), (7, 6)]
    assert not ring.drops()
    close = sizes().closer
    least = int((close.vertices > 0).sum(axis=1).min())
    assert least == 4
    assert min(close.descent) >= close.bound
    assert min(close.descent[: least - 1]) > 1.005 * close.objective
    assert max(close.descent[least - 1 :]) < 1.0001 * close.objective
    assert [m for m, _ in close.divided] == [4, 5, 6, 7, 8]
    for _, value in close.divided:
        assert value == pytest.approx(close.objective, rel=1e-9)
    assert (close.even > 0).all()


def test_a_grown_path_is_the_listed_one() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)

    def path(gates: str) -> Line:
        shares = np.array([0.7, 0.3])
        return optimal_sizes.follow(
            optimal_sizes.Problem("", X, y, shares, gates, free=True, seconds=1.0)
        )

    grown, listed = path("grow"), path("enumerate")
    assert grown.alpha_max == pytest.approx(listed.alpha_max, rel=1e-5)
    assert grown.empty == pytest.approx(y.var() / 2)
    for one, other in zip(grown.points, listed.points, strict=True):
        assert one.objective == pytest.approx(other.objective, rel=1e-5)
        assert one.bound <= other.objective


def test_the_table_has_a_row_for_every_change() -> None:
    def point(share: float, smallest: int) -> Point:
        return Point(share, share, 1.0, 1.0, True, 1, smallest, smallest, smallest)

    points = tuple(map(point, (0.9, 0.8, 0.5, 0.4, 0.3), (1, 1, 2, 3, 3)))
    line = Line(name="", samples=1, features=1, gates="", alpha_max=1.0, empty=1.0, points=points)
    assert [p.share for p in regularisation_path.turns(line)] == [0.9, 0.5, 0.4, 0.3]


# low-rank


@cache
def truncations() -> low_rank.Findings:
    return low_rank.measure()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_truncations_have_cvxpys_values(k: int) -> None:
    problem, step = low_rank.decaying(0), truncations().series[0].steps[k - 1]
    columns = problem.X @ np.linalg.svd(problem.X)[2][:k].T
    masks = enumerate_patterns(columns).masks
    assert step.patterns == len(masks)
    found = solve(columns, problem.y, problem.beta, masks).value
    assert step.objective == pytest.approx(found, rel=1e-6)
    assert step.bound <= found * (1 + 1e-7)


def test_one_direction_has_its_closed_form() -> None:
    problem, first = low_rank.decaying(0), truncations().series[0].steps[0]
    c = problem.X @ np.linalg.svd(problem.X)[2][0]
    value = problem.y @ problem.y / 2
    for side in (np.maximum(c, 0), np.maximum(-c, 0)):
        value -= max(abs(side @ problem.y) - problem.beta, 0) ** 2 / (2 * side @ side)
    assert first.objective == pytest.approx(value, rel=1e-9)


def test_singular_values_halve_and_the_last_step_is_the_optimum() -> None:
    series = truncations().series[0]
    sigmas = [step.sigma for step in series.steps]
    assert sigmas == pytest.approx([*(np.sqrt(12) / 2.0 ** np.arange(1, 5)), 0])
    ratios = series.ratios()
    assert ratios[-1] == 1
    assert (ratios[:-1] > 1).all()
    for step, ratio in zip(series.steps, ratios, strict=True):
        assert step.objective == pytest.approx(step.bound, rel=1e-6)
        assert ratio <= step.sharp * (1 + 1e-9)
        assert step.sharp <= step.proved * (1 + 1e-9)
    assert series.steps[0].promised_blown_up < ratios[0]
    assert ratios[series.enough - 1] <= 1.05 < ratios[series.enough - 2]


def test_the_promise_fails_on_two_samples_and_the_bound_does_not() -> None:
    def best(f: np.ndarray) -> float:
        # the samples are orthogonal and the targets positive: one neuron (f_1, f_2 / 0.4)
        return float(((f - 100) ** 2).sum() / 2 + 5 * np.hypot(f[0], f[1] / 0.4))

    exact = minimize(best, [90.0, 50.0], method="Nelder-Mead", options={"xatol": 1e-9}).fun
    for factor, optimum, truncated, promised, proved in truncations().scaled:
        assert optimum == pytest.approx(factor**2 * exact, rel=1e-7)
        assert truncated == pytest.approx(factor**2 * 5487.5, rel=1e-7)
        assert promised == pytest.approx(1 + 0.4 / (5 * factor))
        assert truncated <= proved * optimum
    last = truncations().scaled[-1]
    assert exact == pytest.approx(1278.0351, abs=1e-4)
    assert last.truncated / last.optimum == pytest.approx(4.294, abs=1e-3)
    assert last.proved == pytest.approx(9.13, abs=5e-3)
    assert last.promised**2 < last.truncated / last.optimum


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), beta=st.floats(0.05, 2.0), stretch=st.floats(1.0, 20.0))
def test_the_bound_holds_and_no_truncation_is_better(
    seed: int, beta: float, stretch: float
) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((5, 2)) * (stretch, 1.0), rng.standard_normal(5)
    first, last = low_rank.truncate(
        low_rank.Problem("", X, y, beta, "enumerate", (1, 2), 0.0)
    ).steps
    ratio = first.objective / last.objective
    assert 1 - 1e-7 <= ratio <= first.sharp * (1 + 1e-7)
    assert first.sharp <= first.proved * (1 + 1e-7)
    assert last.sharp == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_for_a_lipschitz_loss_the_promise_holds_with_its_constant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y, beta = rng.standard_normal((7, 2)), rng.choice([-1.0, 1.0], 7), 0.5
    _, spectrum, right = np.linalg.svd(X)
    values = [
        solve(X @ right[:k].T, y, beta, enumerate_patterns(X @ right[:k].T).masks, "hinge").value
        for k in (1, 2)
    ]
    assert values[1] <= values[0] * (1 + 1e-7)
    assert values[0] <= values[1] * (1 + np.sqrt(7) * spectrum[1] / beta)


def test_long_counts_are_powers_of_ten() -> None:
    assert [low_rank.count(n) for n in (24, 323194, 9 * 10**48)] == ["24", "323194", "9e+48"]
