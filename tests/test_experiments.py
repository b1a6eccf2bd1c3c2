"""The experiments: their numbers against closed forms and other solvers, and their parts."""

import json
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.optimize import approx_fprime

from cvxnn import ConvexRegressor, ReLU, enumerate_patterns
from cvxnn.architectures import ReLUNetwork
from cvxnn.errors import UnsupportedError
from cvxnn.experiments import NAMES, Table, loaders, reproduce, student, student_images
from cvxnn.experiments.descent import Weights, curvature, descend, objective, outputs, start
from cvxnn.experiments.worked_example import X as SAMPLES


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each experiment at its small size, run once: `run(name)` has a result and its numbers."""
    done: dict[str, Any] = {}

    def once(name: str) -> Any:
        if name not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("CVXNN_DATA", raising=False)
                result = reproduce(name, out=tmp_path_factory.mktemp(name))
            content = json.loads(result.files[0].read_text())
            done[name] = SimpleNamespace(result=result, content=content, **content["numbers"])
        return done[name]

    return once


def convex_value(
    X: np.ndarray, y: np.ndarray, beta: float, masks: np.ndarray, rows: np.ndarray
) -> float:
    """cvxpy's least 1/2 |sum D X (v - w) - y|^2 + beta * sum of norms, rows * (X v) >= 0."""
    v, w = (cvxpy.Variable((len(masks), X.shape[1])) for _ in range(2))
    fit = cvxpy.sum(cvxpy.multiply(masks, (v - w) @ X.T), axis=0)
    norms = cvxpy.sum(cvxpy.norm(v, axis=1) + cvxpy.norm(w, axis=1))
    cones = [cvxpy.multiply(rows, u @ X.T) >= 0 for u in (v, w)]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(fit - y) / 2 + beta * norms), cones)
    return float(problem.solve(solver="CLARABEL"))


# every experiment


@pytest.mark.parametrize("name", NAMES)
def test_files_are_written_and_the_result_can_be_shown(run: Any, name: str) -> None:
    result, content = run(name).result, run(name).content
    assert [path.name for path in result.files] == [f"{name}.json", f"{name}.png"]
    assert result.files[1].read_bytes().startswith(b"\x89PNG")
    assert (content["name"], content["title"]) == (name, result.title)
    assert content["notes"] == list(result.notes)
    text = str(result)
    assert text.isascii()
    assert all(cell in text for row in result.table.rows for cell in row)


def test_an_unknown_experiment_is_named() -> None:
    with pytest.raises(ValueError, match="no experiment is called 'worked'; there are worked-exam"):
        reproduce("worked")


def test_without_matplotlib_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(UnsupportedError, match=r"cvxnn\[plot\]"):
        reproduce("student-1", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_table_is_shown_as_it_is_by_rich() -> None:
    console = Console(width=40, file=StringIO())
    console.print(Table(("name", "value"), (("[red]", "1"),)))
    assert "[red]" in console.file.getvalue()


# worked-example

KNOWN = {  # (y, beta): the optimum over networks, and without cones
    ((1, -1, 1), 0.1): (1.10026751, 1.06178544),
    ((1, -1, 1), 0.5): (1.44749140, 1.35892719),
    ((1, 2, -1), 0.1): (0.23103674, 0.17678350),
    ((1, 2, -1), 0.5): (0.79364524, 0.62622517),
    ((-1, 1, 2), 0.1): (1.22881546, 1.15653846),
    ((-1, 1, 2), 0.5): (2.09451092, 1.83653846),
}


def test_the_worked_example_has_four_cells(run: Any) -> None:
    patterns = {tuple(row) for row in run("worked-example").patterns}
    assert patterns == {(1, 1, 1), (1, 1, 0), (0, 0, 1), (0, 0, 0)}


def test_the_six_cases_have_their_known_values(run: Any) -> None:
    cases = run("worked-example").cases
    assert len(cases) == len(KNOWN)
    for y, beta, network, bound, gated, slide, slide_network, descent, neurons in cases:
        expected, weak = KNOWN[tuple(y), beta]
        assert network == pytest.approx(expected, rel=1e-6)
        assert network * (1 - 1e-6) <= bound <= network
        assert gated == pytest.approx(weak, rel=1e-6)
        assert slide == pytest.approx(weak, rel=1e-6)
        assert slide_network > network
        assert bound <= descent <= 1.001 * network
        assert neurons <= 3


@pytest.mark.parametrize(("y", "beta"), KNOWN)
def test_cvxpy_finds_the_networks_value_and_the_slides(y: Any, beta: float) -> None:
    masks = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1]])
    network, weak = KNOWN[y, beta]
    assert convex_value(SAMPLES, np.array(y), beta, masks, 2 * masks - 1) == pytest.approx(
        network, rel=1e-6
    )
    assert convex_value(SAMPLES, np.array(y), beta, masks, masks) == pytest.approx(weak, rel=1e-6)


def closed_form(beta: float) -> float:
    """The optimum for y = (1, 2, -1) and 0 < beta < 1: a neuron along (0, 1), one along (1, -1)."""
    t, q = (8 - beta) / 13, max(0.0, np.sqrt(2) * (1 - np.sqrt(2) * beta))
    last = min(2 * beta**2, 1.0)
    return float(((2 * t - 1) ** 2 + (3 * t - 2) ** 2 + last) / 2 + beta * (t + q))


def test_the_path_follows_its_closed_form(run: Any) -> None:
    found = {beta: (network, slide) for beta, network, slide in run("worked-example").path}
    for beta, (network, slide) in found.items():
        if beta < 1:
            assert network == pytest.approx(closed_form(beta), rel=1e-6)
        assert slide < network < 3
    assert found[0.72][0] == pytest.approx(0.9616000, rel=1e-6)
    assert found[2.0][0] == pytest.approx(1.5422534, rel=1e-6)
    assert found[5.0][0] == pytest.approx(2.3930054, rel=1e-6)
    assert run("worked-example").beta_max == pytest.approx(np.sqrt(113), rel=1e-6)


def test_the_penalty_of_the_sum_convention_has_a_two(run: Any) -> None:
    descent, twice, once = run("worked-example").convention
    assert twice == pytest.approx(1.1077589, rel=1e-6)
    assert twice <= descent == pytest.approx(twice, rel=1e-3)
    assert once == pytest.approx(0.6390718, rel=1e-6)


# student-1 and student-2


@pytest.mark.parametrize(("name", "n", "patterns"), [("student-1", 5, 22), ("student-2", 10, 92)])
def test_the_random_problems_are_solved_to_their_certified_bound(
    run: Any, name: str, n: int, patterns: int
) -> None:
    found = run(name)
    assert found.patterns == found.cover == patterns
    assert found.neurons <= n
    assert found.objective == pytest.approx(found.bound, rel=1e-6)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, 3)), rng.choice([-1.0, 1.0], n)
    masks = enumerate_patterns(X).masks.astype(int)
    value = convex_value(X, y, student.BETA, masks, 2 * masks - 1)
    assert found.bound == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["student-1", "student-2"])
def test_descent_is_never_below_the_bound(run: Any, name: str) -> None:
    found = run(name)
    for width in found.widths:
        for _, objectives, _ in (width["reported"], width["patient"]):
            seen = [value for trace in objectives for value in trace if value is not None]
            assert min(seen) >= found.bound


def test_large_starts_explode_and_small_ones_reach_the_bound(run: Any) -> None:
    found = run("student-2")
    widest = found.widths[-1]
    assert widest["m"] == 184
    assert widest["reported"][2] == len(widest["reported"][1])
    assert widest["patient"][2] == 0
    assert widest["reached"] == len(widest["patient"][1])
    assert widest["curvature"] > 2 / (student.RATE * 10)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), m=st.integers(1, 20))
def test_fewest_neurons_keeps_outputs_and_penalty(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    network = ReLUNetwork(
        weights_in=rng.standard_normal((m, 3)),
        weights_out=rng.standard_normal((m, 1)),
        intercept=np.zeros(1),
        skip=np.zeros((3, 1)),
    )
    if not network.hidden(X).any():
        return
    fewer = student.fewest_neurons(X, network)
    assert fewer.n_neurons <= n
    np.testing.assert_allclose(fewer(X), network(X), atol=1e-6)
    assert fewer.weight_decay() <= network.weight_decay() + 1e-6


# student-3


def test_sampled_gates_bound_only_themselves(run: Any) -> None:
    found = run("student-3")
    relu, gated, own = found.relu, found.gated, found.own
    least = min(min(trace) for trace in found.objective)
    assert {model[3] for model in (relu, gated, own)} == {"GIVEN_GATES"}
    assert least < relu[2]  # descent is below the "lower bound" of the source
    assert own[1] <= found.objective[found.best][-1]
    assert gated[1] <= relu[1]
    assert 0 < found.floor <= min(least, own[1], relu[1])
    assert "stand in" in found.source


@settings(max_examples=25)
@given(v=st.lists(st.floats(-3, 3), min_size=6, max_size=6).filter(lambda v: np.abs(v).max() > 0.1))
def test_the_floor_is_below_every_network(v: list[float]) -> None:
    X, y, optimum, residual = small_problem()
    assert 0 <= student_images.floor(X, y, np.array(v)) <= optimum
    assert 0.3 * optimum < student_images.floor(X, y, residual) <= optimum


@cache
def small_problem() -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Samples, targets, the optimum over all networks, and what its network leaves of y."""
    rng = np.random.default_rng(3)
    X, y = 3 * rng.standard_normal((6, 2)), 2 * rng.choice([-1.0, 1.0], 6)
    model = ConvexRegressor(
        ReLU(bias=False),
        alpha=student_images.BETA / 6,
        gates="enumerate",
        solver="reference",
        fit_intercept=False,
    ).fit(X, y)
    return X, y, 6 * model.certificate_.upper, y - model.predict(X)


# descent


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([weights.inward.ravel(), weights.outward.ravel()])


def shaped(values: np.ndarray, m: int, d: int) -> Weights:
    return Weights(values[: m * d].reshape(1, m, d), values[m * d :].reshape(1, m))


def test_a_step_goes_down_the_gradient() -> None:
    rng = np.random.default_rng(0)
    X, y, alpha = rng.standard_normal((7, 3)), rng.standard_normal(7), 0.3
    kwargs = {"width": 4, "starts": 1, "step_size": 0.01, "spread": 0.5}
    before = flat(start(np.random.default_rng(1), 1, 4, 3, 0.5))
    run = descend(X, y, alpha, steps=1, rng=np.random.default_rng(1), **kwargs)
    slope = approx_fprime(before, lambda w: objective(X, y, alpha, shaped(w, 4, 3))[0], 1e-7)
    np.testing.assert_allclose(before - 0.01 * slope, flat(run.weights), atol=1e-7)


def test_the_curvature_is_that_of_the_linearised_network() -> None:
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((7, 3)), start(rng, 1, 4, 3, 1.0)
    jacobian = approx_fprime(flat(weights), lambda w: outputs(X, shaped(w, 4, 3))[0], 1e-7)
    expected = np.linalg.norm(jacobian, 2) ** 2 / 7 + 0.3
    assert curvature(X, weights, 0.3)[0] == pytest.approx(expected, rel=1e-5)


def test_batches_are_drawn_and_a_seed_repeats_the_run() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((7, 3)), rng.standard_normal(7)

    def traces(batch: int | None, seed: int) -> np.ndarray:
        return descend(
            X, y, 0.1, width=4, starts=2, steps=50, step_size=0.05, batch=batch,
            rng=np.random.default_rng(seed), watch=lambda weights: outputs(X, weights)[:, 0],
        ).watched  # fmt: skip

    assert np.array_equal(traces(3, 1), traces(3, 1))
    assert not np.array_equal(traces(3, 1), traces(None, 1))
    np.testing.assert_allclose(traces(7, 1), traces(None, 1), atol=1e-12)


def test_divergence_is_reported_and_the_network_is_the_one_that_was_trained() -> None:
    X, y = np.array([[1.0], [-2.0]]), np.array([1.0, -1.0])
    kwargs = {"width": 3, "starts": 4, "steps": 300}
    wild = descend(X, y, 0.1, step_size=10.0, rng=np.random.default_rng(0), **kwargs)
    assert wild.diverged.all()
    tame = descend(X, y, 0.1, step_size=0.05, rng=np.random.default_rng(0), **kwargs)
    assert not tame.diverged.any()
    best = tame.network(tame.best)
    np.testing.assert_allclose(best(X)[:, 0], outputs(X, tame.weights)[tame.best])
    assert tame.objective[tame.best, -1] == tame.objective[:, -1].min()


# loaders


def write_cifar(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir()
    rows = np.concatenate(
        [labels[:, None], pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)], 1
    )
    for name, part in (
        ("data_batch_1", rows[:3]),
        ("data_batch_2", rows[3:]),
        ("test_batch", rows),
    ):
        (folder / f"{name}.bin").write_bytes(part.astype(np.uint8).tobytes())


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_the_binary_version_of_cifar_is_read(tmp_path: Path, pixels: np.ndarray) -> None:
    labels = np.array([0, 1, 0, 9, 1], dtype=np.uint8)
    write_cifar(tmp_path / "cifar-10-batches-bin", pixels, labels)
    images = loaders.cifar10(tmp_path)
    assert images is not None
    for X, y in ((images.X, images.y), (images.X_test, images.y_test)):
        np.testing.assert_array_equal(X, pixels)
        np.testing.assert_array_equal(y, labels)
    pair, names = loaders.two_classes(images, 0, 1)
    assert (pair.y.tolist(), names) == ([-1, 1, -1, 1], ("airplane", "automobile"))
    np.testing.assert_array_equal(pair.X, pixels[[0, 1, 2, 4]])


def test_an_archive_is_read_and_others_are_passed_by(tmp_path: Path, pixels: np.ndarray) -> None:
    labels = np.arange(5, dtype=np.uint8)
    np.savez(tmp_path / "cifar10_features.npz", F_train=labels)
    assert loaders.cifar10(tmp_path) is None
    np.savez(
        tmp_path / "cifar10_some.npz", X_train=pixels, y_train=labels, X_test=pixels, y_test=labels
    )
    images = loaders.cifar10(tmp_path)
    assert images is not None
    np.testing.assert_array_equal(images.X, pixels)
    assert images.y.dtype == np.int64


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar(folder, pixels, np.zeros(5, dtype=np.uint8))
    (folder / "test_batch.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(ValueError, match="5000 bytes, which is no multiple of 3073"):
        loaders.cifar10(tmp_path)


def test_pickles_are_left_alone_and_digits_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not to be opened")
    monkeypatch.setenv("CVXNN_DATA", str(tmp_path))
    assert loaders.cifar10(loaders.data_folder()) is None
    data = student_images.load(20, np.random.default_rng(0))
    assert data.classes == ("digit 3", "digit 8")
    assert data.X.shape == (20, 20)
    assert set(data.y) == {-1.0, 1.0}
