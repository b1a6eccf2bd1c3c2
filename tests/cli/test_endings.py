"""How commands end: codes, limits, interrupts, and one line for bad input."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.running import QUICK, complaint, plain, run

from cvxnn import Status, load, memory, solve
from cvxnn.architectures import BY_NAME
from cvxnn.cli import CODES
from cvxnn.cli.watch import Watch
from cvxnn.solve import Progress

KINDS = ", ".join(map(repr, sorted([*BY_NAME, "attention"])))


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
        if len(calls) == 8:  # inside the folds of the first strength
            raise KeyboardInterrupt
        return real(self, *rest)

    monkeypatch.setattr(solve._Run, "_check", press)
    result = run("fit", "sklearn:iris", "-o", path, "-a", "gated", "--n-gates", 16)
    assert result.exit_code == 130
    assert complaint(result) == "error: interrupted before there was a network; nothing was saved"
    assert len(calls) == 8
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
        ("a,y\n1,0\n2,1\n3,5\n", ("-a", "wide"), f"one of {KINDS}"),
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
