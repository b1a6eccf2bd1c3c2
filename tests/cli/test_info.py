"""The commands info and verify, and models that Python saved."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from tests.cli.running import complaint, plain, run

from cvxnn import ConvexClassifier, load, save


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
