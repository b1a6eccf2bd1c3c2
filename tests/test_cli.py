"""The command: what it says, what it saves, and how it ends."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.datasets import load_diabetes, load_iris
from typer.testing import CliRunner, Result

from cvxnn import ConvexClassifier, ConvexRegressor, Status, load, memory, save, solve
from cvxnn.architectures import BY_NAME
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.cli import CODES, app
from cvxnn.cli.fitting import split, task_of
from cvxnn.cli.watch import Watch
from cvxnn.files import read_notes
from cvxnn.program import Iterate
from cvxnn.solve import Progress
from cvxnn.tables import Table

QUICK = ("-a", "gated", "--n-gates", "16", "--alpha", "0.1")


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback
    return result


def plain(output: str) -> str:
    """What a panel says, without its frame and its lines."""
    return " ".join(output.replace("\u2502", " ").split())


def complaint(result: Result) -> str:
    """The error, which is one line and all there is on standard error but announcements."""
    lines = result.stderr.strip().splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "iris.cvxnn"
    assert run("fit", "sklearn:iris", "-o", path, *QUICK).exit_code == 0
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.cvxnn"


# fit


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
    result = run(*fit, "--alpha", "0.5", "--skip")
    assert "bias, intercept, skip" in plain(result.stdout)
    assert load(path)[-1].skip


@pytest.mark.parametrize("name", BY_NAME)
def test_every_architecture_is_known(name: str, path: Path) -> None:
    words = ("-t", "Waist", "-a", name, "--n-gates", 16, "--alpha", 0.1, "--proof-time", 0)
    result = run("fit", "sklearn:linnerud", "-o", path, *words)
    assert result.exit_code in (0, 3)
    assert load(path)[-1].architecture_ == BY_NAME[name]
    assert "bias, intercept" in plain(run("info", path).stdout)
    drawn = not BY_NAME[name].grows and name not in ("polynomial", "quadratic")
    assert ("16 gates" in plain(result.stdout)) == drawn
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


# the task and the split


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


# predict


def test_predictions_are_those_of_the_model(iris: Path, tmp_path: Path) -> None:
    model, X = load(iris), load_iris().data
    lines = run("predict", iris, "sklearn:iris").stdout.splitlines()
    assert lines == ["species", *model.predict(X)]
    out = tmp_path / "out.csv"
    assert run("predict", iris, "sklearn:iris", "--proba", "-o", out).output == ""
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["setosa", "versicolor", "virginica"]
    np.testing.assert_array_equal(frame, model.predict_proba(X))


def test_columns_are_found_by_name(iris: Path, tmp_path: Path) -> None:
    frame, expected = load_iris(as_frame=True).data, run("predict", iris, "sklearn:iris").stdout
    source = tmp_path / "other.csv"
    frame[frame.columns[::-1]].assign(colour="red").to_csv(source, index=False)
    assert run("predict", iris, source).stdout == expected
    frame.drop(columns=frame.columns[1]).to_csv(source, index=False)
    result = run("predict", iris, source)
    assert result.exit_code == 2
    assert "lacks the column sepal width (cm); it has sepal length" in complaint(result)


def test_probabilities_need_classes_and_the_logistic_loss(path: Path) -> None:
    run("fit", "sklearn:diabetes", "-o", path, *QUICK)
    result = run("predict", path, "sklearn:diabetes", "--proba")
    assert result.exit_code == 2
    assert "was trained with a regression, without probabilities; drop --proba" in complaint(result)
    run("fit", "sklearn:iris", "-o", path, *QUICK, "--loss", "squared_hinge")
    result = run("predict", path, "sklearn:iris", "--proba")
    assert "with loss 'squared_hinge', without probabilities" in complaint(result)


# info, verify, and models that Python saved


def test_info_shows_the_panel_again(iris: Path) -> None:
    result = run("info", iris)
    assert result.exit_code == 0
    for words in ("saved by cvxnn", "gated ReLU", "test accuracy", "lower bound", "scope"):
        assert words in plain(result.stdout)


def test_verify_shows_both_bounds(iris: Path) -> None:
    result = run("verify", iris, "sklearn:iris")
    assert result.exit_code == 0
    upper = f"{load(iris)[-1].certificate_.upper:.10g}"
    assert f"upper bound {upper} {upper}" in plain(result.stdout)
    assert "on 112 rows of sklearn:iris" in plain(result.stdout)
    verdict = json.loads(run("verify", iris, "sklearn:iris", "--json").stdout)
    assert verdict["accepted"] is True
    assert verdict["claimed"]["upper"] == pytest.approx(verdict["recomputed"]["upper"])


def test_models_that_python_saved_are_read(path: Path, tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    save(ConvexClassifier("gated", alpha=0.1, n_gates=8, random_state=0).fit(X, y), path)
    np.savez(tmp_path / "iris.npz", X=X, y=y)
    assert run("verify", path, tmp_path / "iris.npz").exit_code == 0
    assert "150 rows, 4 columns" in plain(run("info", path).stdout)
    lines = run("predict", path, tmp_path / "iris.npz").stdout.splitlines()
    assert lines[0] == "prediction"
    assert set(lines[1:]) <= {"0", "1", "2"}
    save(load(path), path, {"cvxnn fit": {"rows": 3}})
    assert "has notes that cvxnn fit did not write" in complaint(run("info", path))


# how it ends


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    city, size = rng.choice(["Paris", "Rome", "Oslo"], 60), rng.normal(size=60)
    code = rng.choice(["01", "02"], 60)
    price = size * (city == "Rome") + (code == "01") + 0.1 * rng.normal(size=60)
    frame = pd.DataFrame({"city": city, "size": size, "code": code, "price": price})
    frame.loc[0, "code"] = "x"
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path / "houses.csv"


@pytest.mark.parametrize("option", ["--standardize", "--no-standardize"])
def test_text_is_a_column_a_category(houses: Path, path: Path, option: str) -> None:
    fit = run("fit", houses, "-o", path, option, "--test-size", 0, *QUICK)
    assert fit.exit_code == 0
    assert "one column a category: city, code" in fit.stderr
    assert run("verify", path, houses).exit_code == 0
    told = json.loads(run("info", path, "--json").stdout)
    assert (told["features"], told["standardized"]) == (3, option == "--standardize")
    assert told["training"]["features"] == ["city", "size", "code"]
    frame = pd.read_csv(houses, dtype={"code": str})
    model = load(path)
    found = run("predict", path, houses).stdout.splitlines()[1:]
    expected = model.predict(frame.drop(columns="price").to_numpy(dtype=object))
    np.testing.assert_array_equal(np.array(found, dtype=float), expected)
    frame[frame["code"] == "01"].to_csv(houses, index=False)  # numbers by their look
    again = run("predict", path, houses).stdout.splitlines()[1:]
    assert again == [row for row, code in zip(found, frame["code"], strict=True) if code == "01"]


def test_a_path_takes_text(houses: Path, tmp_path: Path) -> None:
    done = run("path", houses, "--strengths", 2, "-o", tmp_path / "path.csv", "-a", "gated")
    assert done.exit_code == 0
    assert len(pd.read_csv(tmp_path / "path.csv")) == 2


def test_a_model_that_python_trained_on_a_frame_takes_a_file(houses: Path, path: Path) -> None:
    frame = pd.read_csv(houses, dtype={"code": str})
    model = ConvexRegressor("gated", alpha=0.1, n_gates=16, random_state=0)
    save(model.fit(frame.drop(columns="price"), frame["price"]), path)
    with pytest.warns(UserWarning, match="feature names"):
        found = run("predict", path, houses).stdout.splitlines()[1:]
    expected = model.predict(frame.drop(columns="price"))
    np.testing.assert_array_equal(np.array(found, dtype=float), expected)


def test_every_status_has_its_code() -> None:
    assert CODES.keys() == {status.name for status in Status}
    assert {code for name, code in CODES.items() if name in ("OPTIMAL", "BEST_FOUND")} == {0}
    assert (CODES["INTERRUPTED"], CODES["MEMORY"], CODES["NUMERICAL"]) == (130, 4, 5)


@pytest.mark.parametrize(
    ("words", "status"),
    [(("--max-iter", 3), "MAX_ITER"), (("--max-time", 1e-6), "MAX_TIME")],
)
def test_a_limit_ends_with_3_and_a_model(
    path: Path, words: tuple[object, ...], status: str
) -> None:
    result = run("fit", "sklearn:iris", "-o", path, *QUICK, "--tol", 1e-9, *words)
    assert result.exit_code == 3
    assert Status[status].value in plain(result.stdout)
    assert load(path)[-1].certificate_.relative_gap > 1e-9
    assert run("verify", path, "sklearn:iris").exit_code == 0


def test_no_progress_ends_with_3(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve, "_STALL", -1)
    result = run("fit", "sklearn:iris", "-o", path, *QUICK, "--tol", 1e-14)
    assert result.exit_code == 3
    assert "no further progress at this precision" in plain(result.stdout)


def test_ctrl_c_keeps_the_best_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(self: Watch, event: Progress) -> None:
        if event.iteration > 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "__call__", press)
    result = run("fit", "sklearn:iris", "-o", path, *QUICK, "--tol", 1e-9)
    assert result.exit_code == 130
    assert "stopped on request; the best iterate so far is kept" in plain(result.stdout)
    assert run("verify", path, "sklearn:iris").exit_code == 0


def test_ctrl_c_while_alpha_is_chosen_ends_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = solve._Run._check, []

    def press(self: Any, *rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(self, *rest)

    monkeypatch.setattr(solve._Run, "_check", press)
    result = run("fit", "sklearn:iris", "-o", path, "-a", "gated", "--n-gates", 16)
    assert result.exit_code == 130
    assert complaint(result) == "error: interrupted before there was a network; nothing was saved"
    assert len(calls) == 20
    assert not path.exists()


def test_too_little_memory_ends_with_4(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    result = run("fit", "sklearn:iris", "-o", path, *QUICK)
    assert result.exit_code == 4
    assert re.search("needs about .* GiB and 0.00 GiB is available; use fewer gates", result.stderr)
    assert not path.exists()


def test_an_overflow_ends_with_5(path: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    np.savez(tmp_path / "data.npz", X=X, y=X[:, 0] * 1e200)
    result = run("fit", tmp_path / "data.npz", "-o", path, *QUICK)
    assert result.exit_code == 5
    assert "numbers overflowed (the objective is not finite); scale the data" in complaint(result)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "words", "reason"),
    [
        ("a,b\n1,2\n", ("-t", "c"), "lacks the target column c; it has a, b"),
        ("a,b\n,2\n1,3\n", (), "missing values in a (1 rows); drop those rows, or impute"),
        ("a,b,y\n,1,0\nz,2,1\n", (), "missing values in a (1 rows); drop those rows, or impute"),
        ("a,y\n" + "".join(f"t{k},{k}\n" for k in range(30)), (), "'a' has 30 different values"),
        ("y\n1\n", (), "no column beside y; expected features and a target"),
        ("a,y\n1,0\n2,0\n3,0\n", ("--task", "classification"), "one class"),
        ("a,y\n1,0\n2,1\n3,5\n", ("--alpha", "-1"), "alpha is -1.0; expected 'auto' or a positive"),
        ("a,y\n1,0\n2,1\n3,5\n", ("--tol", "0"), "tol is 0.0; it must be"),
        ("a,y\n1,0\n2,1\n3,5\n", ("-a", "deep"), f"one of {', '.join(map(repr, sorted(BY_NAME)))}"),
        ("a,y\n1,0\n2,1\n3,5\n", ("-a", "batchnorm", "--no-bias"), "leave out --no-bias"),
        ("a,y\n1,0\n2,1\n3,5\n", ("--n-gates", "0"), "n_gates is 0; expected a positive integer"),
        ("a,y\n1,0\n2,1\n3,5\n", ("--loss", "hinge"), "expected one of 'huber', 'quantile', 'sq"),
        ("a,y\n1,0\n2,1\n3,5\n", ("--solver", "reference", "-o", "no/m"), "the folder .* of no/m"),
        ("a,y\n1,0\n2,1\n3,5\n", ("-o", "."), "is a folder; name a file to write"),
        ("a,y\n1,0.5\n2,1\n3,5\n", ("--task", "classification"), "Unknown label type: continuous"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    tmp_path: Path, content: str, words: tuple[str, ...], reason: str
) -> None:
    data = tmp_path / "data.csv"
    data.write_text(content)
    output = () if "-o" in words else ("-o", tmp_path / "m")
    result = run("fit", data, *output, *QUICK, "--test-size", 0, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(reason if ".*" in reason else re.escape(reason), complaint(result))
    assert [file.name for file in tmp_path.iterdir()] == ["data.csv"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("info", "nowhere.cvxnn"), "nowhere.cvxnn: No such file or directory"),
        (("info", __file__), "is not a model file of cvxnn; pass a file that it saved"),
        (("verify", __file__, "sklearn:iris"), "is not a model file of cvxnn"),
        (("predict", __file__, "sklearn:iris"), "is not a model file of cvxnn"),
        (("fit", "sklearn:boston", "-o", "m"), "no data set 'boston'; expected sklearn: and one"),
        (("fit", "data.xlsx", "-o", "m"), "data.xlsx is not data that can be read; expected"),
    ],
)
def test_wrong_files_end_with_2_and_one_line(words: tuple[str, ...], reason: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert reason in complaint(result)


@pytest.mark.parametrize(
    "words", [("fit", "sklearn:iris"), ("fit", "x", "-o", "m", "--alpha", "much"), ("nothing",)]
)
def test_wrong_usage_ends_with_2(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_alpha_beyond_its_largest_is_noted(path: Path) -> None:
    result = run("fit", "sklearn:iris", "-o", path, *QUICK, "--alpha", 100)
    assert result.exit_code == 0
    assert "note: alpha is 100 and alpha_max_ is" in result.stderr
    assert "0 neurons" in plain(result.stdout)


# how it looks


def test_help_is_there_before_numpy_and_says_how_commands_end() -> None:
    script = (
        "import sys; from cvxnn.cli import app; app(['--help'], standalone_mode=False); "
        "print({'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("set()")
    for words in ("fit", "predict", "verify", "info", "130 interrupted", "2 bad input"):
        assert words in ran.stdout


def test_the_command_is_installed_and_runs(path: Path) -> None:
    script = [sys.executable, "-c", "from cvxnn.cli import main; main()"]
    words = ["fit", "sklearn:iris", "-o", str(path), *QUICK]
    ran = subprocess.run([*script, *words], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "trained and certified" in ran.stdout
    ran = subprocess.run([*script, "verify", str(path), "sklearn:iris"], capture_output=True)
    assert ran.returncode == 0
    assert run("--version").stdout.startswith("cvxnn ")
    assert read_notes(path)["cvxnn"] == run("--version").stdout.split()[1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_fits_the_terminal(iris: Path, width: int) -> None:
    result = CliRunner().invoke(app, ["info", str(iris)], env={"COLUMNS": str(width)})
    lengths = {len(line) for line in result.stdout.splitlines()}
    assert max(lengths) <= width


def event(neurons: int) -> Progress:
    blocks = np.zeros((5, 2, 1))
    blocks[:neurons] = 1.0
    claim = Certificate(upper=1.0, lower=0.968, scope=Scope.GIVEN_GATES, exactness=Exactness.EXACT)
    return Progress(7, 1.0, claim, Iterate(blocks, np.zeros((1, 1)), np.zeros((3, 1))))


def test_one_live_line_shows_gap_neurons_and_seconds() -> None:
    file = io.StringIO()
    with Watch(Console(file=file, force_terminal=True, width=80), quiet=False) as watch:
        watch.doing("choosing alpha by five-fold validation")
        watch._live.refresh()
        watch(event(neurons=3))
        watch._live.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert re.search(r"choosing alpha by five-fold validation   0\.\d s", drawn)
    assert re.search(r"training   relative gap 3\.2e-02   neurons 3   0\.\d s", drawn)
    assert watch._live.refresh_per_second <= 10


def test_nothing_is_drawn_without_a_terminal_or_when_quiet() -> None:
    for terminal, quiet in ((False, False), (True, True)):
        file = io.StringIO()
        with Watch(Console(file=file, force_terminal=terminal), quiet) as watch:
            watch(event(neurons=1))
        assert file.getvalue() == ""


def test_reproduce_writes_its_numbers_and_its_figure(tmp_path: Path) -> None:
    result = run("reproduce", "student-1", "-o", tmp_path)
    assert result.exit_code == 0
    assert "convex program" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student-1.json", "student-1.png"]


def test_reproduce_names_what_there_is() -> None:
    result = run("reproduce", "student-9")
    assert result.exit_code == 2
    assert "worked-example" in result.output


def test_a_path_is_a_table_and_a_figure(tmp_path: Path) -> None:
    table, figure = tmp_path / "path.csv", tmp_path / "path.svg"
    words = ("-a", "gated", "--n-gates", "16", "--strengths", "4", "--ratio", "0.1")
    result = run("path", "sklearn:iris", *words, "-o", table, "--figure", figure)
    assert result.exit_code == 0
    rows = pd.read_csv(table)
    assert len(rows) == 4
    assert rows["share"].to_numpy() == pytest.approx(np.geomspace(0.5, 0.1, 4))
    assert (rows["lower_bound"] <= rows["objective"]).all()
    assert (np.diff(rows["objective"]) < 0).all()  # it falls with alpha
    assert set(rows["status"]) == {"OPTIMAL"}
    assert f"{rows['objective'][3]:.6g}" in result.output
    assert "</svg>" in figure.read_text()


def test_an_interrupted_path_keeps_its_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, fit = iter(range(10)), ConvexClassifier.fit

    def stop(self: Any, *args: Any) -> Any:
        if next(fits) == 3:
            raise KeyboardInterrupt
        return fit(self, *args)

    monkeypatch.setattr(ConvexClassifier, "fit", stop)
    table = tmp_path / "path.csv"
    result = run("path", "sklearn:iris", "-a", "gated", "--n-gates", "8", "-o", table)
    assert result.exit_code == 130
    assert "interrupted: 2 of 20 strengths are kept" in result.stderr
    assert len(pd.read_csv(table)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strengths", "0"), "there are 0 strengths"),
        (("--ratio", "2"), "a ratio between 0 and 1"),
        (("-o", "nowhere/path.csv"), "does not exist"),
        (("--figure", "nowhere/path.svg"), "does not exist"),
    ],
)
def test_a_path_that_cannot_be_is_refused(words: tuple[str, ...], message: str) -> None:
    assert message in complaint(run("path", "sklearn:iris", *words))
