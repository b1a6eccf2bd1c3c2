"""The experiments on one program each: the notes' numbers, CVXPY, and gradients by differences."""

from functools import cache
from itertools import product
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from tests.generated import generate, in_cone, in_plane

from cvxnn import ThresholdNetwork, enumerate_patterns
from cvxnn.experiments import (
    batch_norm,
    polynomial,
    quantised,
    threshold,
    vector_output,
    wasserstein_direction,
)
from cvxnn.experiments.circle import best_on_circle, walls
from cvxnn.experiments.equality import Case, table, verdict
from cvxnn.experiments.starts import Parts, Slope
from cvxnn.gates import Gates

pytestmark = pytest.mark.xdist_group("equality")  # what is cached is computed once

PRECISE = {"solver": cp.CLARABEL, "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
MODULES = (batch_norm, vector_output, polynomial, threshold, wasserstein_direction)


@cache
def measured(module: Any) -> Any:
    return module.measure()


def case(module: Any, name: str) -> Case:
    return next(case for case in measured(module).cases if case.name == name)


# what all share


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.NAME)
def test_program_network_and_oracle_are_equal_and_no_descent_is_below_the_bound(
    module: Any,
) -> None:
    for it in measured(module).cases:
        assert it.network == pytest.approx(it.program, rel=1e-8, abs=1e-10), it.name
        assert it.oracle == pytest.approx(it.program, rel=1e-6), it.name
        assert abs(it.program) * 1e-12 >= it.bound - it.program
        assert it.program - it.bound <= 1e-7 * abs(it.program), it.name
        assert it.descents.min() >= it.bound - 1e-12 * abs(it.program), it.name
        assert len(it.descents) == 20
        assert 0 <= it.reached <= 20


def test_a_case_below_its_bound_would_be_seen() -> None:
    it = Case("", 2.0, 1.9, 2.0, 2.0, "", np.array([1.0, 2.001, 3.0]), 2.5)
    assert it.above(it.descents).tolist() == [-0.5, pytest.approx(5e-4), 0.5]
    assert it.reached == 2
    assert it.under == 1
    assert "1 descents ended below a bound, which disproves it" in verdict([it])
    assert table([it], "slide").rows[0][-2:] == ("2 of 3", "2.5000000")
    assert table([it._replace(claim=None)], "slide").rows[0][-1] == ""


def close_to_differences(slope: Slope, parts: Parts, rel: float = 1e-5) -> None:
    """Compare the gradient at the first start with differences of the objective."""
    first = tuple(part[:1] for part in parts)
    sizes = np.cumsum([part.size for part in first])[:-1]

    def flat(values: np.ndarray) -> float:
        pieces = np.split(values, sizes)
        shaped = tuple(p.reshape(f.shape) for p, f in zip(pieces, first, strict=True))
        return float(slope(shaped)[0][0])

    at = np.concatenate([part.ravel() for part in first])
    exact = np.concatenate([part.ravel() for part in slope(first)[1]])
    found = approx_fprime(at, flat, 1e-7)
    np.testing.assert_allclose(exact, found, rtol=rel, atol=rel * np.abs(found).max())


RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((6, 2)), RNG.standard_normal((6, 2))
PROBLEM = vector_output.Problem("", X, Y)
GATES = Gates(RNG.standard_normal((4, 2)), RNG.random((4, 6)) < 0.5)
SLOPES = {
    "before": (batch_norm.slope(X, Y[:, 0], "before"), batch_norm.start(RNG, 2)),
    "after": (batch_norm.slope(X, Y[:, 0], "after"), batch_norm.start(RNG, 2)),
    "whole": (vector_output.slope(X, Y, False), vector_output.start(RNG, PROBLEM, 5)),
    "apart": (vector_output.slope(X, Y, True), vector_output.start(RNG, PROBLEM, 5)),
    "gated": (vector_output.slope(X, Y, False, GATES), vector_output.start(RNG, PROBLEM, 8)),
    "square": (polynomial.slope(X, Y[:, 0], polynomial.SQUARE), polynomial.start(RNG)),
    "like ReLU": (polynomial.slope(X, Y[:, 0], polynomial.LIKE_RELU), polynomial.start(RNG)),
    "direction": (wasserstein_direction.slope(X, 0.5), wasserstein_direction.start(RNG, 2)),
}


@pytest.mark.parametrize("name", SLOPES)
def test_gradients_are_those_of_differences(name: str) -> None:
    close_to_differences(*SLOPES[name])


# batch-norm


def test_the_four_samples_have_the_notes_values() -> None:
    assert case(batch_norm, "Four samples, before").program == pytest.approx(1.0288178, abs=5e-8)
    assert case(batch_norm, "Four samples, after").program == pytest.approx(0.4987630, rel=1e-6)


def normalised_after(X: np.ndarray, y: np.ndarray, beta: float, centred: bool) -> float:
    """CVXPY's program of the layer after the ReLU, with or without the part that costs nothing."""
    n, fitted, sizes, rules = len(X), 0, 0, []
    for mask in enumerate_patterns(X).masks:
        active = mask[:, None] * X
        active = active - active.mean(axis=0) if centred else active
        left, values, right = np.linalg.svd(active, full_matrices=False)
        kept = values > 1e-9 * values[0]
        for sign in (1.0, -1.0):
            t, b = cp.Variable(int(kept.sum())), cp.Variable()
            w = (right[kept].T / values[kept]) @ t
            if centred and not kept.all():
                w = w + right[~kept].T @ cp.Variable(int((~kept).sum()))
            fitted = fitted + sign * (left[:, kept] @ t) + b * np.ones(n)
            sizes = sizes + cp.norm(cp.hstack([t, b]), 2)
            rules.append(np.where(mask[:, None], X, -X) @ w >= 0)
    cost = cp.sum_squares(fitted - y) / 2 + beta * sizes
    return float(cp.Problem(cp.Minimize(cost), rules).solve(solver=cp.CLARABEL))


def test_the_layer_after_the_relu_is_centred_and_the_slides_is_not() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    it = case(batch_norm, "Random 1, after")
    assert it.program == pytest.approx(normalised_after(X, y, 0.3, True), rel=1e-6)
    assert it.claim == pytest.approx(normalised_after(X, y, 0.3, False), rel=1e-6)
    claims = [it.above(it.claim) for it in measured(batch_norm).cases if it.claim is not None]
    assert min(abs(claim) for claim in claims) > 0.05


@pytest.mark.parametrize("draw", [0, 8])
def test_all_angles_include_those_of_narrow_arcs(draw: int) -> None:
    """At draw 8 a neuron of the best network is in an arc of five degrees, near its end."""
    rng = np.random.default_rng(0)
    X, y = [(rng.standard_normal((6, 2)), rng.standard_normal(6)) for _ in range(draw + 1)][-1]
    found = best_on_circle(batch_norm.normalised(X), y[:, None], 0.3, walls(X))
    assert found == pytest.approx(normalised_after(X, y, 0.3, True), rel=2e-6)


def test_units_matter_only_without_a_normalising_layer() -> None:
    scaled = measured(batch_norm).scaled
    for place in ("before", "after"):
        np.testing.assert_allclose(scaled[place], scaled[place][0], rtol=1e-7)
    assert np.ptp(scaled["no layer"]) > 0.1 * scaled["no layer"][0]


# vector-output


def nuclear(X: np.ndarray, Y: np.ndarray, beta: float, cones: bool) -> float:
    """CVXPY's program of nuclear norms: the slide's with cones, the gated one without."""
    fitted, norms, rules = 0, 0, []
    for mask in enumerate_patterns(X).masks:
        for sign in (1.0, -1.0) if cones else (1.0,):
            U = cp.Variable((X.shape[1], Y.shape[1]))
            fitted = fitted + sign * (mask[:, None] * X) @ U
            norms = norms + cp.normNuc(U)
            rules += [np.where(mask[:, None], X, -X) @ U >= 0] if cones else []
    cost = cp.sum_squares(fitted - Y) / 2 + beta * norms
    return float(cp.Problem(cp.Minimize(cost), rules).solve(solver=cp.CLARABEL))


def test_gated_below_exact_below_one_vs_all_and_the_slide_on_either_side() -> None:
    orders = measured(vector_output).orders
    for one in orders:
        assert one.gated <= one.bound <= one.exact <= one.one_vs_all
        assert one.exact == pytest.approx(one.bound, rel=1e-7)
        assert one.network == pytest.approx(one.exact, rel=1e-9)
        assert one.descents.min() >= one.bound
    random, orthogonal = orders[0], orders[-1]
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    assert random.exact == pytest.approx(generate(Y, 0.3, in_plane(X)).value, rel=1e-8)
    assert orthogonal.exact == pytest.approx(3.881905, abs=5e-7)
    assert orthogonal.slide == pytest.approx(3.873271, abs=5e-6)
    assert random.slide > 1.01 * random.exact
    assert orthogonal.slide < 0.999 * orthogonal.bound


def test_the_programs_of_nuclear_norms_are_cvxpys() -> None:
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    one = measured(vector_output).orders[0]
    assert one.gated == pytest.approx(nuclear(X, Y, 0.3, cones=False), rel=1e-6)
    assert one.slide == pytest.approx(nuclear(X, Y, 0.3, cones=True), rel=1e-5)


def test_one_hot_targets_of_orthonormal_samples_have_their_closed_form() -> None:
    found = generate(np.eye(3)[[0, 0, 0, 1, 1, 2]], 0.8, in_cone)
    assert found.value == pytest.approx(2.35701150, abs=1e-7)
    assert found.bound == pytest.approx(found.value, rel=1e-8)
    assert generate(np.ones((3, 2)), 10.0, in_cone).value == 3.0


@pytest.mark.parametrize("seed", range(5))
def test_prices_are_the_largest_of_a_fine_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, V = rng.standard_normal((7, 2)), rng.standard_normal((7, 3))
    angles = np.linspace(0, 2 * np.pi, 100_001)
    grid = np.maximum(X @ np.stack([np.cos(angles), np.sin(angles)]), 0).T @ V
    largest = np.linalg.norm(grid, axis=1).max()
    assert largest <= in_plane(X)(V)[0] * (1 + 1e-12) <= 1.00001 * largest
    q = np.abs(rng.standard_normal((100_000, 3)))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    largest = np.linalg.norm(q @ V[:3], axis=1).max()
    assert largest <= in_cone(V[:3])[0] <= 1.01 * largest


# polynomial


@pytest.mark.parametrize("name", polynomial.KINDS)
def test_the_polynomial_program_is_cvxpys(name: str) -> None:
    X, y = polynomial.problem(np.random.default_rng(7))
    kind, d = polynomial.KINDS[name], 2
    fitted, size, rules = 0, 0, []
    for sign in (1.0, -1.0):
        Z = cp.Variable((d + 1, d + 1), PSD=True)
        square = cp.sum(cp.multiply(X @ Z[:d, :d], X), axis=1)
        values = kind.square * square + kind.linear * X @ Z[:d, d] + kind.constant * Z[d, d]
        fitted, size = fitted + sign * values, size + Z[d, d]
        rules.append(cp.trace(Z[:d, :d]) == Z[d, d])
    cost = cp.sum_squares(fitted - y) / 2 + polynomial.BETA * size
    value = cp.Problem(cp.Minimize(cost), rules).solve(solver=cp.CLARABEL)
    it = polynomial.compare("", X, y, kind, np.random.default_rng(0))
    assert it.program == pytest.approx(value, rel=1e-6)
    assert it.oracle == pytest.approx(value, rel=1e-6)


def test_neurons_are_where_the_price_is_beta() -> None:
    priced = measured(polynomial).priced
    assert np.abs(priced.prices).max() <= polynomial.BETA * (1 + 1e-7)
    at = np.abs(np.interp(priced.own, priced.angles, priced.prices))
    np.testing.assert_allclose(at, polynomial.BETA, rtol=1e-4)
    assert case(polynomial, "Two samples, square").program == pytest.approx(1.25, rel=1e-9)


# threshold


def test_the_lasso_has_the_notes_values_and_needs_borders() -> None:
    line = case(threshold, "Line")
    assert line.program == pytest.approx(0.0983333, abs=5e-8)
    assert line.claim == pytest.approx(0.1925, abs=1e-9)
    assert case(threshold, "Orthogonal").program == pytest.approx(1.04, abs=1e-8)
    assert line.reached == case(threshold, "Cross").reached == 0  # neurons are never on a border


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_those_of_all_patterns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, beta = rng.standard_normal(4), rng.uniform(0.05, 1.5)
    columns = np.array(list(product((0.0, 1.0), repeat=4)))[1:].T
    z = cp.Variable(columns.shape[1])
    cost = cp.sum_squares(columns @ z - y) / 2 + beta * cp.norm1(z)
    value = cp.Problem(cp.Minimize(cost)).solve(**PRECISE)
    assert threshold.levels(y, beta) == pytest.approx(value, rel=1e-6)


def test_straight_through_descends_on_the_networks_own_objective() -> None:
    rng = np.random.default_rng(2)
    W, s, a = rng.standard_normal((5, 2)), rng.standard_normal(5), rng.standard_normal(5)
    value = threshold.slope(X, Y[:, 0], 0.3)((W[None], s[None], a[None]))[0][0]
    network = ThresholdNetwork(
        weights_in=W, amplitudes=s, weights_out=a[:, None], intercept=np.zeros(1),
        skip=np.zeros((2, 1)),
    )  # fmt: skip
    loss = ((network(X)[:, 0] - Y[:, 0]) ** 2).sum() / 2
    assert value == pytest.approx(loss + 0.15 * ((s**2).sum() + (a**2).sum()))
    steps = measured(threshold).steps
    assert (steps.ends >= steps.optimum * (1 - 1e-9)).all()


# quantised


def test_bound_best_and_promise_are_in_order() -> None:
    problems = measured(quantised).problems
    for it in problems:
        assert it.bound <= it.best * (1 + 1e-9)
        assert it.best <= it.promised * (1 + 1e-9)
        assert it.best * (1 - 1e-7) <= it.rounded <= it.best * (1 + 1e-3)
        assert it.promised <= quantised.KRIVINE * it.bound * (1 + 1e-6)
        assert it.descents.min() >= it.best * (1 - 1e-7)
    assert {it.features for it in problems} == {2, 3, 4}


def test_every_neuron_is_there_once_and_the_lasso_is_cvxpys() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 2)), 2 * rng.standard_normal(8)
    atoms = quantised.every_neuron(X)
    signs = np.array(list(product((-1.0, 1.0), repeat=2)))
    every = {tuple(np.round((X @ u) * (X @ v), 9) + 0.0) for u in signs for v in signs}
    mine = {tuple(side * np.round(atom, 9) + 0.0) for atom in atoms.T for side in (1, -1)}
    assert every == mine
    assert atoms.shape[1] == 3
    a = cp.Variable(3)
    it = measured(quantised).problems[0]
    cost = cp.sum_squares(atoms @ a - y) / 2 + it.beta * cp.norm1(a)
    assert it.best == pytest.approx(cp.Problem(cp.Minimize(cost)).solve(**PRECISE), rel=1e-6)


# wasserstein-direction


def test_the_line_has_the_notes_values() -> None:
    x = wasserstein_direction.LINE[:, 0]
    assert case(wasserstein_direction, "Line").program == pytest.approx(-0.6208333, abs=5e-8)
    assert wasserstein_direction.soft(x, 0.0) == pytest.approx(-0.7364286, abs=5e-8)


def test_the_flow_comes_to_both_bumps() -> None:
    found = measured(wasserstein_direction)
    last = found.course[-1]
    for bump in (last[last > 0], last[last < 0]):
        assert abs(abs(bump.mean()) - 1.5) < 0.15
        assert 0.3 < bump.std() < 0.65
    assert found.speeds[-1] < 0.05 * found.speeds[0]


def test_the_score_is_the_gradient_of_the_log_density() -> None:
    x = np.linspace(-3, 3, 41)

    def log_density(t: np.ndarray) -> np.ndarray:
        return np.log(np.exp(-2 * (t - 1.5) ** 2) + np.exp(-2 * (t + 1.5) ** 2))

    slopes = (log_density(x + 1e-6) - log_density(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(wasserstein_direction.two_bumps(x), slopes, atol=1e-6)
