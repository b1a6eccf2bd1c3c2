"""Columns of text, in every command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.cli.running import QUICK, run

from cvxnn import ConvexRegressor, load, save


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
