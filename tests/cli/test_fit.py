"""The command fit: what it says, what it saves, and which task and split it takes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from tests.cli.running import QUICK, complaint, plain, run

from cvxnn import ConvexRegressor, load
from cvxnn.architectures import BY_NAME, SEQUENTIAL, images_of
from cvxnn.cli.fitting import split, task_of
from cvxnn.tables import Table


def test_fit_says_what_it_does_and_what_came_of_it(path: Path) -> None:
    result = run("fit", "sklearn:breast_cancer", "-o", path, *QUICK)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "target: diagnosis (the default; --target says otherwise)",
        "task: classification (distinct texts: 2; --task says otherwise)",
    ]
    said, model = plain(result.stdout), load(path)[-1]
    claim = model.certificate_
    for words in (
        "sklearn:breast_cancer, 569 rows, 30 columns",
        "426 to train, 143 to test",
        "diagnosis (classes benign, malignant)",
        "always benign: 62.9 %",
        f"gated ReLU, {model.network_.n_neurons} neurons",
        f"upper bound {claim.upper:.10g}",
        f"lower bound {claim.lower:.10g}",
        f"relative gap {claim.relative_gap:.2e} asked for: 0.0001",
        "scope networks whose activation patterns are among the given gates",
        "status proved optimal within the tolerance",
        f"cvxnn verify {path} sklearn:breast_cancer",
    ):
        assert words in said
    assert float(re.search(r"test accuracy ([\d.]+) %", said)[1]) > 90


def test_fit_does_what_python_does(path: Path) -> None:
    assert run("fit", "sklearn:diabetes", "-o", path, *QUICK, "--test-size", 0).exit_code == 0
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = ConvexRegressor("gated", alpha=0.1, n_gates=16, random_state=0).fit(X, y)
    np.testing.assert_allclose(
        load(path).predict(load_diabetes().data), model.predict(X), rtol=1e-6
    )


def test_every_option_reaches_the_estimator(path: Path) -> None:
    words = "--no-standardize --no-bias --no-intercept --loss huber --alpha 0.5 --gates sample"
    more = "--n-gates 9 --solver admm --tol 0.5 --max-time 60 --max-iter 500 --seed 3"
    fit = ("fit", "sklearn:linnerud", "-t", "Waist", "-o", path, "-a", "gated")
    assert run(*fit, *f"{words} {more}".split()).exit_code == 0
    got = load(path).get_params()
    wanted = {
        "fit_intercept": False,
        "loss": "huber",
        "alpha": 0.5,
        "gates": "sample",
        "n_gates": 9,
        "solver": "admm",
        "tol": 0.5,
        "max_time": 60.0,
        "max_iter": 500,
        "random_state": 3,
    }
    assert {name: got[name] for name in wanted} == wanted
    assert not got["architecture"].bias
    result = run(*fit, "--alpha", "0.5", "--skip", "yes")
    assert "bias, intercept, skip" in plain(result.stdout)
    assert load(path)[-1].skip
    assert run(*fit, "--skip", "auto", "--proof-time", 0).exit_code in (0, 3)
    assert load(path)[-1].skip == "auto"
    assert "pass yes or no" in complaint(run("path", "sklearn:linnerud", "--skip", "auto"))


def test_levels_make_a_column_for_each_of_few_numbers(tmp_path: Path, path: Path) -> None:
    rng = np.random.default_rng(0)
    grade, size = rng.integers(0, 4, 60), rng.standard_normal(60)
    frame = pd.DataFrame({"grade": grade, "size": size, "y": (grade == 2) + 0.1 * size})
    data = tmp_path / "grades.csv"
    frame.to_csv(data, index=False)
    words = ("--levels", 4, "-a", "gated", "--n-gates", 4, "--alpha", 1e-4, "--proof-time", 0)
    assert run("fit", data, "-o", path, *words).exit_code == 0
    assert load(path)[0].levels_ == [[0.0, 1.0, 2.0, 3.0], None]
    assert run("verify", path, data).exit_code == 0
    assert len(run("predict", path, data).stdout.splitlines()) == 61
    assert "levels is -1" in complaint(run("fit", data, "-o", path, *words[2:], "--levels", -1))


@pytest.mark.parametrize("name", BY_NAME)
def test_every_architecture_is_known(name: str, path: Path) -> None:
    words = ("-t", "Waist", "-a", name, "--n-gates", 15, "--alpha", 0.1, "--proof-time", 0)
    if images_of(BY_NAME[name]) is not None:
        said = complaint(run("fit", "sklearn:linnerud", "-o", path, *words))
        assert "images of shape (1, 28, 28)" in said
        return
    if isinstance(BY_NAME[name], SEQUENTIAL):
        said = complaint(run("fit", "sklearn:linnerud", "-o", path, *words))
        assert "pass X of shape (n, tokens, width)" in said
        return
    result = run("fit", "sklearn:linnerud", "-o", path, *words)
    assert result.exit_code in (0, 3)
    assert load(path)[-1].architecture_ == BY_NAME[name]
    biased = getattr(BY_NAME[name], "bias", True)
    assert ("bias, intercept" in plain(run("info", path).stdout)) == biased
    open_ = BY_NAME[name].grows or BY_NAME[name].source.searches
    drawn = not open_ and name not in ("polynomial", "quadratic", "deep_linear")
    few = (not open_ and name.startswith("deep")) or not biased  # some are never open, or agree
    count = r"\b\d+ gates" if few else "15 gates"
    said = re.findall(r"\b\d+ gates", plain(result.stdout))
    if drawn:
        assert re.search(count, plain(result.stdout))
    else:  # what it finds has nothing to do with how many are asked for
        other = run("fit", "sklearn:linnerud", "-o", path, *words[:5], 6, *words[6:])
        assert said == re.findall(r"\b\d+ gates", plain(other.stdout))
    assert run("verify", path, "sklearn:linnerud", "-t", "Waist").exit_code == 0


def test_alpha_is_chosen_unless_given(path: Path) -> None:
    words = ("-t", "Waist", "-a", "gated", "--n-gates", 8)
    assert run("fit", "sklearn:linnerud", "-o", path, *words).exit_code == 0
    model = load(path)[-1]
    assert (model.alpha, len(model.alpha_path_) > 2) == ("auto", True)
    assert 0 < model.alpha_ < model.alpha_max_


def test_targets_may_be_several(path: Path) -> None:
    result = run("fit", "sklearn:linnerud", "-o", path, *QUICK)
    assert result.exit_code == 0
    assert "target Weight, Waist, Pulse (regression)" in plain(result.stdout)
    lines = run("predict", path, "sklearn:linnerud").stdout.splitlines()
    assert lines[0] == "Weight,Waist,Pulse"
    assert len(lines) == 21


def test_a_quiet_fit_says_nothing_and_json_is_json(path: Path) -> None:
    result = run("fit", "sklearn:iris", "-o", path, *QUICK, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    facts = json.loads(run("fit", "sklearn:iris", "-o", path, *QUICK, "-q", "--json").stdout)
    assert (facts["status"], facts["classes"]) == ("OPTIMAL", ["setosa", "versicolor", "virginica"])
    assert facts["certificate"]["lower"] <= facts["certificate"]["upper"]
    shown = json.loads(run("info", path, "--json").stdout)
    assert shown == facts


def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = tmp_path / name
        run("fit", "sklearn:iris", "-o", path, *QUICK, "--seed", seed)
        runs[name] = run("predict", path, "sklearn:iris", "--proba").stdout
    assert runs["a"] == runs["b"] != runs["c"]


@pytest.mark.parametrize(
    ("y", "task", "why"),
    [
        (["a", "b"] * 50, "classification", "distinct texts: 2"),
        ([True, False] * 50, "classification", "distinct texts: 2"),
        ([0, 1] * 2, "classification", "distinct whole numbers: 2"),
        (list(range(20)) * 5, "classification", "distinct whole numbers: 20"),
        (list(range(21)) * 5, "regression", "distinct numbers: 21"),
        (list(range(10)), "regression", "distinct numbers: 10"),
        ([0.5, 1.5] * 50, "regression", "distinct numbers: 2"),
        ([[0, 1], [1, 0]] * 50, "regression", "several targets"),
    ],
)
def test_the_task_goes_by_the_target(y: list[Any], task: str, why: str) -> None:
    table = table_of(y)
    assert task_of(table, "auto") == (task, why)
    other = "classification" if task == "regression" else "regression"
    if table.y.dtype.kind not in "Ub":
        assert task_of(table, other) == (other, "as asked")


def table_of(y: list[Any]) -> Table:
    return Table(np.zeros((len(y), 1)), np.array(y), ("x",), ("y",), named=True)


def test_a_target_that_fits_no_task_is_said_so() -> None:
    with pytest.raises(ValueError, match=r"the target y is no number \(a\); pass another --target"):
        task_of(table_of(["a", "b"]), "regression")
    with pytest.raises(ValueError, match="30 different texts in 30 rows, too many for classes"):
        task_of(table_of([f"name {i}" for i in range(30)]), "auto")
    with pytest.raises(ValueError, match="are no numbers; pass one --target to classify by"):
        task_of(table_of([["a", "b"]] * 9), "auto")


def test_the_split_keeps_the_shares_of_classes_where_it_can() -> None:
    y = np.array([0] * 80 + [1] * 20)
    train, test = split(y, "classification", 0.25, 7)
    assert sorted([*train, *test]) == list(range(100))
    assert (y[test].sum(), y[train].sum()) == (5, 15)
    again = split(y, "classification", 0.25, 7)
    np.testing.assert_array_equal(again[1], test)
    assert len(split(np.array([0] * 9 + [1]), "classification", 0.2, 0)[1]) == 2
    assert [len(part) for part in split(y, "regression", 0, 0)] == [100, 0]
    with pytest.raises(ValueError, match=r"test-size is 1.0; expected a share from 0 to less"):
        split(y, "regression", 1.0, 0)
