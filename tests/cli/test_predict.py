"""The command predict: predictions and probabilities of a saved model."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris
from tests.cli.running import QUICK, complaint, run

from cvxnn import load


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
