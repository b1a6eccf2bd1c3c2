"""The command path."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.cli.running import complaint, run

from cvxnn import ConvexClassifier


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
