"""The benchmark: its judge against CVXPY and plain sums, its tables, and its smallest run."""

import os
import subprocess
import sys
from pathlib import Path

import cvxpy
import numpy as np
import pandas as pd
import pytest
from benchmarks import tables
from benchmarks.two_layer.benchmark_utils.problems import GatedProblem, ReluProblem, pose
from benchmarks.two_layer.benchmark_utils.tables import BUNDLED, standard, teacher

FOLDER = Path(tables.__file__).parent / "two_layer"


@pytest.fixture(scope="module")
def gated() -> GatedProblem:
    problem = pose("gated", *standard(*teacher(30, 4)), 0.1, 8, 0)
    assert isinstance(problem, GatedProblem)
    return problem


def test_the_gated_judge_agrees_with_cvxpy(gated: GatedProblem) -> None:
    n, (p, d) = len(gated.y), gated.nothing()["blocks"].shape
    u = cvxpy.Variable((p, d))
    fit = cvxpy.sum(cvxpy.multiply(gated.masks, gated.X @ u.T), axis=1)
    loss = cvxpy.sum_squares(fit - gated.y) / (2 * n)
    penalty = gated.alpha * cvxpy.sum(cvxpy.norm(u, axis=1))
    optimum = cvxpy.Problem(cvxpy.Minimize(loss + penalty)).solve(solver="CLARABEL")
    found = gated.judge(np.asarray(u.value))
    assert found["value"] == pytest.approx(optimum, rel=1e-7)
    assert found["lower"] <= optimum * (1 + 1e-8)
    assert found["relative_gap"] < 1e-4
    half = gated.judge(0.5 * np.asarray(u.value), dual=gated.y / n)
    assert half["lower"] <= optimum < half["value"]


def test_a_dual_vector_is_used_only_where_it_proves_more(gated: GatedProblem) -> None:
    blocks = 0.01 * np.ones((len(gated.gates), gated.X.shape[1]))
    alone = gated.judge(blocks)["lower"]
    rng = np.random.default_rng(0)
    duals = [rng.standard_normal(len(gated.y)) for _ in range(5)]
    assert all(gated.judge(blocks, dual=dual)["lower"] >= alone for dual in duals)


@pytest.mark.parametrize("network", ["gated", "relu"])
def test_nothing_is_optimal_from_alpha_max_on(network: str) -> None:
    problem = pose(network, *standard(*BUNDLED["diabetes"]()), 1.0, 20, 0)
    rng, (p, d) = np.random.default_rng(0), (len(problem.gates), problem.X.shape[1])
    empty = problem.judge(**problem.nothing())
    assert empty["value"] == pytest.approx(0.5 * np.mean(problem.y**2))
    for size in (1e-3, 0.1, 1.0):
        if network == "gated":
            other = problem.judge(size * rng.standard_normal((p, d)))
        else:
            other = problem.judge(rng.standard_normal((5, d)), size * rng.standard_normal(5))
        assert other["value"] > empty["value"]
    if network == "gated":
        assert empty["relative_gap"] < 1e-9


def test_the_relu_judge_is_the_sum_it_says() -> None:
    problem = pose("relu", *standard(*teacher(20, 3)), 0.1, 5, 0)
    assert isinstance(problem, ReluProblem)
    rng = np.random.default_rng(1)
    u, a = rng.standard_normal((4, 3)), rng.standard_normal(4)
    total = sum(problem.alpha * np.linalg.norm(u[j]) * abs(a[j]) for j in range(4))
    for x, target in zip(problem.X, problem.y, strict=True):
        output = sum(a[j] * max(0.0, float(x @ u[j])) for j in range(4))
        total += (output - target) ** 2 / (2 * len(problem.y))
    found = problem.judge(u, a, lower=0.5 * total)
    assert found["value"] == pytest.approx(total)
    assert found["relative_gap"] == pytest.approx(0.5)
    assert found["neurons"] == 4


def looks(solver: str, times: list[float], values: list[float]) -> pd.DataFrame:
    """A run of a solver whose relative gap is its objective less one."""
    return pd.DataFrame(
        {
            "p_obj_network": "relu", "p_obj_share": 0.1, "dataset_name": "x", "idx_rep": 0,
            "solver_name": solver, "time": times, "objective_value": values,
            "objective_lower": [0.0] * (len(values) - 1) + [0.99],
            "objective_relative_gap": [value - 1 for value in values], "objective_neurons": 3,
        }
    )  # fmt: skip


def test_tables_have_the_first_time_that_is_good(tmp_path: Path) -> None:
    frame = pd.concat(
        [looks("cvxnn", [1, 2, 3], [1.5, 1.0005, 1.0]), looks("slow", [4, 9], [1.4, 1.0001])]
    )
    frame.to_csv(tmp_path / "result.csv")
    relu = tables.read(tmp_path / "result.csv")
    rows = {row[0]: row for row in tables.relu_rows(relu)}
    assert rows["cvxnn"][3:6] == ("2", "2", "3")
    assert rows["slow"][2:5] == ("1.0e-04", "9", "9")
    assert rows["best bound proved"][1:3] == ("0.99", "-1.0e-02")
    rows = {row[0]: row for row in tables.gated_rows(relu)}
    assert rows["cvxnn"][1:5] == ("2", "3", "1", "1")
    assert rows["slow"][1:5] == ("9", "-", "4.5", "-")
    assert tables.tables(relu).startswith(".. list-table:: ReLU, x, alpha = 0.1 alpha_max")


def test_the_smallest_run(tmp_path: Path) -> None:
    pytest.importorskip("benchopt")
    result = tmp_path / "smoke.parquet"
    command = [
        sys.executable, "-m", "benchopt", "run", str(FOLDER), "--config", str(FOLDER / "smoke.yml"),
        "--no-display", "--no-cache", "--output", str(result),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "CVXNN_DATA"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "set CVXNN_DATA" in done.stdout
    frame = tables.read(result)
    assert (frame["objective_lower"] <= frame["objective_value"] * (1 + 1e-9)).all()
    gated, relu = (frame[frame["p_obj_network"] == name] for name in ("gated", "relu"))
    ends = gated.groupby("solver")["objective_relative_gap"].min()
    assert len([name for name in ends.index if str(name).startswith("cvxnn ")]) == 4
    assert (ends[[name for name in ends.index if str(name).startswith("cvxnn ")]] < 1e-3).all()
    best = relu.groupby("base")["objective_value"].min()
    assert best["cvxnn-grow"] <= best.min() * (1 + 1e-6)
    assert relu["objective_lower"].max() > 0  # how good it is depends on the machine
    assert tables.tables(frame).count(".. list-table::") == 2
