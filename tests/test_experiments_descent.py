"""The experiments that race gradient descent, against oracles that are not ours."""

from functools import cache

import cvxpy
import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from cvxnn import enumerate_patterns
from cvxnn.experiments import cifar_binary, loaders, race, student_explode, toy_descent
from cvxnn.experiments.descent import Weights, descend, objective, outputs, start

pytestmark = pytest.mark.xdist_group("descent")  # what is cached is computed once


@pytest.fixture(autouse=True)
def digits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)


@cache
def toy() -> toy_descent.Findings:
    return toy_descent.measure()


@cache
def images() -> cifar_binary.Findings:
    return cifar_binary.measure()


@cache
def explosions() -> student_explode.Findings:
    return student_explode.measure()


def convex_value(X: np.ndarray, y: np.ndarray, alpha: float) -> float:
    """cvxpy's optimum over all networks without biases: the program of all patterns."""
    masks = enumerate_patterns(X).masks.astype(float)
    v, w = (cvxpy.Variable((len(masks), X.shape[1])) for _ in range(2))
    fit = cvxpy.sum(cvxpy.multiply(masks, (v - w) @ X.T), axis=0)
    norms = cvxpy.sum(cvxpy.norm(v, axis=1) + cvxpy.norm(w, axis=1))
    cones = [cvxpy.multiply(2 * masks - 1, u @ X.T) >= 0 for u in (v, w)]
    loss = cvxpy.sum_squares(fit - y) / 2
    problem = cvxpy.Problem(cvxpy.Minimize(loss + alpha * len(X) * norms), cones)
    return float(problem.solve(solver="CLARABEL")) / len(X)


def shaped(values: np.ndarray, m: int, d: int) -> Weights:
    return Weights(values[: m * d].reshape(1, m, d), values[m * d :].reshape(1, m))


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([weights.inward.ravel(), weights.outward.ravel()])


# toy-sgd


def test_the_toy_optimum_is_that_of_the_program_of_all_patterns() -> None:
    grown = toy().grown
    assert (grown.scope, grown.proved_by) == ("ALL_NETWORKS", "enumeration")
    value = convex_value(toy().X, toy().y, toy_descent.ALPHA)
    assert grown.objective == pytest.approx(value, rel=1e-6)
    assert grown.objective * (1 - 1e-6) <= grown.bound <= grown.objective


def test_the_optimum_needs_as_many_neurons_as_are_counted() -> None:
    X, y, m = toy().X, toy().y, toy().sizes[0] - 1
    assert toy().grown.neurons == toy().sizes[0] == 5  # so many attain it, and fewer do not:
    rng = np.random.default_rng(m)

    def cost(w: np.ndarray) -> float:
        return float(objective(X, y, toy_descent.ALPHA, shaped(w, m, 2))[0])

    starts = [flat(start(rng, 1, m, 2, 0.7)) for _ in range(30)]
    least = min(minimize(cost, w, method="L-BFGS-B").fun for w in starts)
    assert least / toy().grown.objective - 1 == pytest.approx(toy_descent.ONE_LESS, rel=0.05)


def test_toy_starts_that_reached_are_those_near_the_bound() -> None:
    assert [drawn.m for drawn in toy().lanes] == [8, 15]
    for drawn in toy().lanes:
        assert drawn.objective.shape == (10, len(drawn.steps))
        assert drawn.objective.min() >= toy().grown.bound
        assert np.array_equal(
            drawn.reached, drawn.objective[:, -1] <= toy().grown.objective * 1.001
        )
        assert 0 < drawn.reached.sum() < 10


def test_more_neurons_find_the_optimum_more_often_on_other_data() -> None:
    narrow, wide = toy().other_reached
    assert 0 < narrow < wide < toy().other_starts == 30


# cifar-binary


def test_images_are_given_by_coordinates_that_keep_inner_products() -> None:
    data = cifar_binary.load(60, np.random.default_rng(0))
    two, _ = loaders.two_classes(loaders.digits(), 3, 8)
    chosen = np.random.default_rng(0).permutation(len(two.X))[:60]
    pixels, unseen = (x.reshape(len(x), -1) / 255.0 for x in (two.X[chosen], two.X_test))
    centre = pixels.mean(axis=0)
    pixels, unseen = pixels - centre, unseen - centre
    scale = np.sqrt(60) / np.linalg.norm(pixels)
    np.testing.assert_allclose(data.X @ data.X.T, scale**2 * pixels @ pixels.T, atol=1e-10)
    np.testing.assert_allclose(data.X_test @ data.X.T, scale**2 * unseen @ pixels.T, atol=1e-10)
    assert data.X.shape[1] == np.linalg.matrix_rank(pixels) < 60


def test_a_network_on_the_coordinates_is_one_of_the_same_objective_on_pixels() -> None:
    rng = np.random.default_rng(0)
    data = cifar_binary.load(20, rng)
    model, grown = race.grow(data.X, data.y, 0.02, tol=1e-3, proof_time=0)
    basis, _ = np.linalg.qr(rng.standard_normal((64, data.X.shape[1])))
    network = model.network_
    fit = np.maximum(data.X @ basis.T @ (basis @ network.weights_in.T), 0) @ network.weights_out
    squares = ((basis @ network.weights_in.T) ** 2).sum() + (network.weights_out**2).sum()
    value = ((fit[:, 0] - data.y) ** 2).mean() / 2 + 0.01 * squares
    assert value == pytest.approx(grown.objective, rel=1e-9)
    assert grown.proved_by == "relaxed network"
    assert 0 < grown.bound < grown.objective


def test_no_descent_on_images_is_below_the_bound_on_all_networks() -> None:
    grown = images().grown
    assert grown.scope == "ALL_NETWORKS"
    assert grown.proved_by in ("search", "relaxed network")
    assert grown.gap == pytest.approx(1 - grown.bound / grown.objective)
    for drawn in images().lanes:
        assert grown.bound < drawn.objective.min()
        assert np.isfinite(drawn.objective).all()
    assert min(drawn.objective.min() for drawn in images().lanes) < 1.05 * grown.objective
    assert min(images().grown_accuracy, *images().accuracy) > 0.9
    assert "stand in" in images().source


def test_the_objective_of_growth_only_falls_and_ends_where_it_is_reported() -> None:
    for grown in (toy().grown, images().grown, *explosions().grown):
        seconds, values = np.array(grown.growth).T
        assert (np.diff(seconds) > 0).all()
        assert (np.diff(values) <= 1e-12).all()
        assert values[-1] == pytest.approx(grown.objective, rel=1e-6)
        assert grown.seconds >= seconds[-1]


# student-explode


def test_only_steps_beyond_the_limit_diverge_and_wide_networks_have_them() -> None:
    within, _, far = explosions().tallies
    assert within.runs > 50
    assert within.diverged == 0
    assert far.diverged > far.runs / 2
    assert sum(tally.runs for tally in explosions().tallies) == 10 * len(explosions().runs)
    for some in explosions().runs:
        if some.m <= 5:
            assert not any(some.diverged)
        if some.m == 100:
            assert sum(some.diverged) >= 9
    assert all(0.7 < power < 1.1 for power in student_explode.slopes(explosions()))


def test_torch_finds_the_curvature_where_a_run_starts() -> None:
    torch = pytest.importorskip("torch")
    runs = student_explode.try_width(10, 20, seed=0)
    for k in (0, 7):
        X, _ = student_explode.draw_data(np.random.default_rng([0, 10, 20, k, 0]), 10)
        weights = start(np.random.default_rng([0, 10, 20, k, 1]), 1, 20, 3, 1.0)
        data = torch.asarray(X)

        def output(inward: object, outward: object, data: object = data) -> object:
            return torch.relu(data @ inward.T) @ outward  # type: ignore[attr-defined]

        parts = torch.autograd.functional.jacobian(
            output, (torch.asarray(weights.inward[0]), torch.asarray(weights.outward[0]))
        )
        jacobian = torch.cat([part.reshape(10, -1) for part in parts], dim=1).numpy()
        expected = np.linalg.norm(jacobian, 2) ** 2 / 10 + student_explode.ALPHA
        assert runs.curvature[k] == pytest.approx(expected, rel=1e-9)


def test_each_n_has_a_certified_network_and_ten_samples_have_the_programs_value() -> None:
    assert [grown.scope for grown in explosions().grown] == ["ALL_NETWORKS"] * 3
    ten, hundred, many = explosions().grown
    X, y = student_explode.draw_data(np.random.default_rng([0, 10]), 10)
    value = convex_value(X, y, student_explode.ALPHA)
    assert ten.bound == pytest.approx(value, rel=1e-6)
    assert max(ten.gap, hundred.gap) < 1e-4
    assert 0 < many.bound < many.objective


# descent


def test_the_step_falls_geometrically_and_time_goes_on() -> None:
    rng = np.random.default_rng(0)
    X, y, alpha = rng.standard_normal((7, 3)), rng.standard_normal(7), 0.3
    weights = flat(start(np.random.default_rng(1), 1, 4, 3, 0.5))
    for size in (0.01, 0.01 * 0.04**0.5):
        slope = approx_fprime(weights, lambda w: objective(X, y, alpha, shaped(w, 4, 3))[0], 1e-7)
        weights = weights - size * slope
    run = descend(
        X, y, alpha, width=4, starts=1, steps=2, step_size=0.01, spread=0.5, cool=0.04,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    np.testing.assert_allclose(weights, flat(run.weights), atol=1e-7)
    assert len(run.seconds) == len(run.steps) == 3
    assert (np.diff(run.seconds) > 0).all()
    np.testing.assert_allclose(run.network(0)(X)[:, 0], outputs(X, run.weights)[0])
