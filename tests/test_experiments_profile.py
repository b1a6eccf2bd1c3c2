"""The profile over many tables: its rivals against torch, SciPy and differences; its counting."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from cvxnn.experiments import rivals, uci_profile
from cvxnn.experiments.loaders import mnist, uci
from cvxnn.experiments.rivals import Grid, Task, Trace, descents, quasi_newton, slope
from cvxnn.experiments.uci_profile import FULL, METHODS, OURS, QUICK, Findings, Setting, Solved


@pytest.fixture(scope="module")
def task() -> Task:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((30, 2)), np.ones(30)])
    y = np.sign(X[:, 0] * X[:, 1])
    return Task(X, y, 0.1 * rivals.largest_alpha(X, y))


def test_the_slope_is_that_of_the_objective(task: Task) -> None:
    point = np.random.default_rng(1).standard_normal(5 * 3 + 5)
    value, slopes = slope(point, task, (5, 3))
    numeric = approx_fprime(point, lambda z: slope(z, task, (5, 3))[0], 1e-7)
    np.testing.assert_allclose(slopes, numeric, atol=1e-5)
    u, a = point[:15].reshape(5, 3), point[15:]
    misfit = np.maximum(task.X @ u.T, 0) @ a - task.y
    assert value == pytest.approx((misfit**2).mean() / 2 + task.alpha / 2 * (point @ point))
    assert value >= task.value(u, a)  # equal for balanced neurons
    scale = np.sqrt(np.abs(a) / np.linalg.norm(u, axis=1))
    balanced = np.concatenate([(u * scale[:, None]).ravel(), a / scale])
    assert slope(balanced, task, (5, 3))[0] == pytest.approx(task.value(u, a))


@pytest.mark.parametrize("rule", ["Adam", "SGD"])
def test_every_run_of_the_grid_is_that_of_torch(
    task: Task, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch")
    monkeypatch.setitem(rivals.RATES, "SGD", (1e-3, 1e-1))  # beyond, it diverges here
    grid = Grid(starts=2, rates=2, epochs=4, width=6)
    found = list(rivals._epochs(task, rule, grid, 3, None))[-1]
    first = rivals._starts(np.random.default_rng(3), 2, 6, 3)
    X, y = (torch.tensor(x, dtype=torch.float32) for x in (task.X, task.y))
    rates = np.geomspace(*rivals.RATES[rule], 2)
    for run in range(4):
        rate, order = rates[run // 2], np.random.default_rng(4)
        z = [torch.tensor(w[run % 2], dtype=torch.float32, requires_grad=True) for w in first]
        move = (
            torch.optim.Adam(z, lr=1.0)
            if rule == "Adam"
            else torch.optim.SGD(z, lr=1.0, momentum=0.9)
        )
        for epoch in range(grid.epochs):
            move.param_groups[0]["lr"] = rate * (
                0.505 + 0.495 * np.cos(np.pi * epoch / grid.epochs)
            )
            for rows in np.split(order.permutation(30), 10):
                move.zero_grad()
                misfit = (X[rows] @ z[0].T).relu() @ z[1] - y[rows]
                decay = task.alpha / 2 * ((z[0] ** 2).sum() + (z[1] ** 2).sum())
                ((misfit**2).mean() / 2 + decay).backward()
                move.step()
        for part, expected in zip(found, z, strict=True):
            np.testing.assert_allclose(part[run], expected.detach().numpy(), rtol=2e-3, atol=2e-4)


def test_descents_end_where_their_networks_are(task: Task) -> None:
    grid = Grid(starts=3, rates=3, epochs=40, width=20)
    for rule in rivals.RATES:
        together, alone = descents(task, rule, grid, 0)
        assert alone.reached[-1] == pytest.approx(together.reached[-1], rel=0.05)
        assert list(together.seconds) == sorted(together.seconds)
        assert list(together.reached) == sorted(together.reached, reverse=True)


def test_growth_is_below_all_rivals_on_a_small_problem(task: Task) -> None:
    grown = rivals.grow(task, seed=0, tol=1e-4, most=20.0)
    local = quasi_newton(task, starts=5, width=30, steps=500, seed=0)
    assert min(grown.trace.reached) <= min(local.reached) * (1 + 1e-3)
    assert min(local.reached) <= min(grown.trace.reached) * 1.05


def test_a_trace_says_when_a_goal_was_reached() -> None:
    trace = Trace((1.0, 2.0, 3.0), (5.0, 4.0, 4.5))
    assert [trace.until(goal) for goal in (5.0, 4.2, 1.0)] == [1.0, 2.0, np.inf]


def solved(name: str, end: float, other: float) -> Solved:
    traces = {method: Trace((1.0, 5.0), (2.0, other)) for method in METHODS}
    traces[OURS] = Trace((0.5, 2.0), (1.5, end))
    return Solved(name, 0.1, 10, 2, 0.3, min(end, other), 4, traces)


def test_shares_are_counted_within_a_thousandth_of_the_best_known() -> None:
    one, two = solved("one", 1.0, 1.0009), solved("two", 1.002, 1.0)
    assert (one.until(OURS), two.until(OURS)) == (2.0, np.inf)
    assert two.excess(OURS) == pytest.approx(2e-3)
    findings = Findings(source="x", solved=(one, two), sets=2, setting=QUICK)
    rows = {row[0]: row for row in uci_profile.table(findings).rows}
    assert rows[OURS][2:] == ("0 %", "0 %", "0 %", "50 %", "50 %", "50 %", "50 %", "2e-03", "4")
    assert rows["L-BFGS"][7:9] == ("100 %", "100 %")
    assert "1 of 2, and is above by two 2.0e-03" in uci_profile.verdict([one, two])
    assert "all 1 after 2 s; by then" in uci_profile.verdict([one])


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def once(name: str, task: Task, share: float, setting: Setting, seed: int) -> Solved:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(name)
        return solved(name, 1.0 + share, 2.0)

    monkeypatch.delenv("CVXNN_DATA", raising=False)
    monkeypatch.setattr(uci_profile, "solve_one", once)
    with pytest.raises(KeyboardInterrupt):
        uci_profile.measure(False, 0, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(uci_profile, "solve_one", lambda name, *_: solved(name, 3.0, 4.0))
    whole = uci_profile.measure(False, 0, tmp_path)
    assert [one.traces[OURS].reached[1] for one in whole.solved] == [1.1, 1.01, 1.001, 1.1, 3, 3]
    monkeypatch.setattr(uci_profile, "QUICK", QUICK._replace(steps=7))
    other = uci_profile.measure(False, 0, tmp_path)
    assert {one.traces[OURS].reached[1] for one in other.solved} == {3.0}
    monkeypatch.setattr(uci_profile, "FULL", FULL._replace(budget=-1.0))
    assert uci_profile.measure(True, 0, tmp_path).solved == ()


def test_the_collection_is_read_as_it_is(tmp_path: Path) -> None:
    assert uci(None) is None
    assert uci(tmp_path) is None
    X = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]], dtype=np.float32)
    labels = np.array([1, 0, 2], dtype=np.int16)
    np.savez(tmp_path / "uci_classification.npz", **{"a set/X": X, "a set/y": labels})
    found = uci(tmp_path)
    assert found is not None
    assert list(found) == ["a set"]
    samples, signs = uci_profile.prepared(*found["a set"])
    np.testing.assert_allclose(samples[:, 0].std(), 1.0)
    assert samples.shape == (3, 2)  # the constant column went, ones came
    assert signs.tolist() == [-1.0, 1.0, -1.0]


@pytest.mark.parametrize("name", ["X_train", "x_train"])
def test_mnist_is_read_in_either_spelling(tmp_path: Path, name: str) -> None:
    assert mnist(tmp_path) is None
    arrays = {name: np.zeros((2, 28, 28), np.uint8), "y_train": np.array([3, 4], np.uint8)}
    tests = {"X_test": np.ones((1, 28, 28), np.uint8), "y_test": np.array([5], np.uint8)}
    np.savez(tmp_path / "mnist.npz", **arrays, **{key.replace("X", name[0]): value
                                                  for key, value in tests.items()})  # fmt: skip
    images = mnist(tmp_path)
    assert images is not None
    assert (images.X.shape, images.y.tolist(), images.y_test.tolist()) == ((2, 28, 28), [3, 4], [5])
