"""Frames with text: the numbers are scikit-learn's, and every door of a model takes them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from cvxnn import ConvexClassifier, ConvexRegressor, load, save, verify
from cvxnn.encoding import ColumnEncoder, holds_text
from cvxnn.errors import ModelFormatError

RNG = np.random.default_rng(0)
N = 60
FRAME = pd.DataFrame(
    {
        "city": RNG.choice(["Paris", "Rome", "Oslo"], N),
        "size": RNG.normal(size=N),
        "grade": pd.Categorical(RNG.integers(3, size=N), ordered=True),
        "old": RNG.integers(2, size=N).astype(bool),
        "code": RNG.integers(9, size=N),
    }
)
Y = FRAME["size"].to_numpy() * (FRAME["city"] == "Rome") + FRAME["grade"].astype(float)
Y = np.asarray(Y) + 0.1 * RNG.normal(size=N)
NUMBERS = ["size", "old", "code"]
FEW: dict[str, Any] = {"alpha": 0.01, "n_gates": 12, "random_state": 0, "tol": 1e-3}


def as_polars(frame: pd.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series(name, column.astype(str) if name == "grade" else column.to_numpy())
            for name, column in frame.items()
        ]
    ).with_columns(pl.col("grade").cast(pl.Categorical))


def by_scikit_learn(train: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    parts = []
    for name in frame:
        if name in NUMBERS:
            parts.append(frame[[name]].to_numpy(dtype=float))
        else:
            one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
            parts.append(one_hot.fit(train[[name]]).transform(frame[[name]]))
    return np.column_stack(parts)


words = st.sampled_from(["Rome", "Paris", "Oslo", "Bern", "", "é"])


@given(st.lists(words, min_size=1, max_size=20), st.lists(words, min_size=1, max_size=20))
def test_columns_are_those_of_scikit_learn(train: list[str], other: list[str]) -> None:
    frames = [
        pd.DataFrame({"a": range(len(rows)), "city": pd.Series(rows, dtype=object)})
        for rows in (train, other)
    ]
    found = ColumnEncoder().fit(frames[0]).transform(frames[1])
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    expected = one_hot.fit(frames[0][["city"]]).transform(frames[1][["city"]])
    np.testing.assert_array_equal(found[:, 1:], expected)
    np.testing.assert_array_equal(found[:, 0], frames[1]["a"])


def test_every_kind_of_frame_gives_the_same_numbers() -> None:
    expected = by_scikit_learn(FRAME, FRAME)
    for frame in (
        FRAME,
        FRAME.astype({"city": "category", "old": object}),
        FRAME.astype({"city": object, "size": "Float64", "code": "Int64"}),
        as_polars(FRAME),
        FRAME.to_numpy(dtype=object).astype(object),
    ):
        encoder = ColumnEncoder().fit(frame)
        if isinstance(frame, np.ndarray):  # arrays cannot declare: grades are numbers there
            assert encoder.transform(frame).shape == (N, 7)
            continue
        np.testing.assert_array_equal(encoder.transform(frame), expected)


def test_names_of_columns() -> None:
    encoder = ColumnEncoder().fit(FRAME)
    names = "city_Oslo city_Paris city_Rome size grade_0.0 grade_1.0 grade_2.0 old code"
    assert encoder.get_feature_names_out().tolist() == names.split()
    assert (encoder.n_features_in_, encoder.width_) == (5, 9)
    out = ColumnEncoder().set_output(transform="pandas").fit_transform(FRAME)
    assert out.columns.tolist() == names.split()


codes = st.lists(st.integers(-3, 4), min_size=1, max_size=30)


@given(codes, codes, st.integers(0, 8))
def test_codes_have_the_columns_of_scikit_learn_beside_them(
    train: list[int], other: list[int], levels: int
) -> None:
    X, Z = (np.column_stack([rows, np.linspace(0, 1, len(rows))]) for rows in (train, other))
    found = ColumnEncoder(levels=levels).fit(X).transform(Z)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X)
    coded = [k for k in (0, 1) if 3 <= len(np.unique(X[:, k])) <= levels]
    expected, first = [], 0
    for k, values in enumerate(one_hot.categories_):
        indicators = one_hot.transform(Z)[:, first : first + len(values)]
        expected += [Z[:, [k]], *([indicators] if k in coded else [])]
        first += len(values)
    np.testing.assert_array_equal(found, np.hstack(expected))


def test_names_of_columns_of_codes() -> None:
    frame = pd.DataFrame({"grade": [1.0, 2.5, 3.0, 1.0], "size": [1.0, 2.0, 3.0, 4.0]})
    encoder = ColumnEncoder(levels=3).fit(frame)
    names = "grade grade_1 grade_2.5 grade_3 size"
    assert encoder.get_feature_names_out().tolist() == names.split()
    assert (encoder.width_, encoder.levels_) == (5, [[1.0, 2.5, 3.0], None])


@pytest.mark.parametrize("levels", [-1, 1001, True])
def test_levels_that_are_no_number_of_values_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match=r"levels is .* expected a number from 0 to 1000"):
        ColumnEncoder(levels=levels).fit(FRAME)


CHECKS = list(estimator_checks_generator(ColumnEncoder(), legacy=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("k", range(len(CHECKS)))
def test_the_contract_of_scikit_learn(k: int) -> None:
    estimator, check = CHECKS[k]
    check(estimator)


def test_the_number_of_checks() -> None:
    assert len(CHECKS) >= 40


# what cannot be encoded


def holding(**columns: Any) -> pd.DataFrame:
    return FRAME.assign(**columns)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (holding(city=[f"town {k}" for k in range(N)]), "'city' has 60 different .* drop it, or"),
        (holding(city=[None, *FRAME["city"][1:]]), r"missing values in city \(1 rows\).*impute"),
        (holding(size=[np.nan, np.nan, *FRAME["size"][2:]]), r"missing values in size \(2 rows\)"),
        (holding(size=[np.inf, *FRAME["size"][1:]]), r"infinite values in size \(1 rows\)"),
        (holding(city=["Rome", 1.5, *FRAME["city"][2:]]), r"text and numbers \('.*', 1.5\); make"),
        (holding(day=pd.Timestamp("2020-01-01")), "'day' holds .* neither a number nor"),
        (FRAME[:0], "0 rows"),
    ],
)
def test_what_cannot_be_encoded_is_named(frame: pd.DataFrame, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ConvexRegressor("gated", **FEW).fit(frame, Y[: len(frame)])


def test_missing_values_of_polars_are_named() -> None:
    frame = as_polars(FRAME).with_columns(city=pl.Series([None, *FRAME["city"][1:]]))
    with pytest.raises(ValueError, match=r"missing values in city \(1 rows\)"):
        ConvexRegressor("gated", **FEW).fit(frame, Y)


def test_a_few_categories_may_be_most_of_the_rows() -> None:
    frame = pd.DataFrame({"a": [f"{k}" for k in range(20)]})
    assert ColumnEncoder().fit_transform(frame).shape == (20, 20)
    many = pd.DataFrame({"a": [f"{k % 1001}" for k in range(4000)]})
    with pytest.raises(ValueError, match="1001 different values in 4000 rows"):
        ColumnEncoder().fit(many)


def test_other_kinds_of_columns_than_in_training_are_refused() -> None:
    model = ConvexRegressor("gated", **FEW).fit(FRAME, Y)
    with pytest.raises(ValueError, match=r"'city' holds numbers \(1.0\) and held text .*'Oslo'"):
        model.predict(holding(city=1.0))
    with pytest.raises(ValueError, match=r"'grade' holds text \('a'\) and held numbers"):
        model.predict(holding(grade="a"))
    with pytest.raises(ValueError, match="'size' holds 'big', which is neither a number nor"):
        model.predict(holding(size="big"))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(FRAME[FRAME.columns[::-1]])


# models


def test_a_frame_trains_as_its_numbers_do() -> None:
    numbers = by_scikit_learn(FRAME, FRAME)
    plain = ConvexRegressor("gated", **FEW).fit(numbers, Y)
    model = ConvexRegressor("gated", **FEW).fit(FRAME, Y)
    other = ConvexRegressor("gated", **FEW).fit(as_polars(FRAME), Y)
    np.testing.assert_array_equal(model.network_.weights_in, plain.network_.weights_in)
    np.testing.assert_array_equal(model.predict(FRAME), plain.predict(numbers))
    np.testing.assert_array_equal(other.predict(as_polars(FRAME)), plain.predict(numbers))
    np.testing.assert_array_equal(model.transform(FRAME), plain.transform(numbers))
    assert (model.n_features_in_, list(model.feature_names_in_)) == (5, list(FRAME))
    assert plain.encoder_ is None
    assert verify(model, FRAME, Y)
    assert not verify(model, holding(city="Rome"), Y)


def test_frames_of_numbers_are_not_encoded() -> None:
    numbers = FRAME[NUMBERS]
    assert not holds_text(numbers)
    assert not holds_text(numbers.to_numpy())
    model = ConvexRegressor("gated", **FEW).fit(numbers, Y)
    array = ConvexRegressor("gated", **FEW).fit(numbers.to_numpy(dtype=float), Y)
    assert model.encoder_ is None
    np.testing.assert_array_equal(model.predict(numbers), array.predict(numbers.to_numpy(float)))
    decimals = numbers.assign(size=[Decimal(repr(x)) for x in numbers["size"]])
    assert not holds_text(decimals)


def test_an_unknown_category_is_zero_in_all_columns() -> None:
    model = ConvexRegressor("gated", **FEW).fit(FRAME, Y)
    numbers = by_scikit_learn(FRAME, holding(city="Bern"))
    assert not numbers[:, :3].any()
    np.testing.assert_array_equal(
        model.predict(holding(city="Bern")), model.network_(numbers)[:, 0]
    )


def test_the_order_of_rows_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(N)
    one = ConvexClassifier("gated", **FEW).fit(FRAME, Y > 1)
    two = ConvexClassifier("gated", **FEW).fit(FRAME.iloc[order], Y[order] > 1)
    np.testing.assert_array_equal(one.predict_proba(FRAME), two.predict_proba(FRAME))


def test_a_new_fit_forgets_the_old_categories() -> None:
    model = ConvexRegressor("gated", **FEW).fit(FRAME, Y)
    assert model.fit(FRAME[NUMBERS], Y).encoder_ is None


MODELS = {
    "own": ConvexClassifier("gated", **FEW),
    "before a scaler": make_pipeline(
        ColumnEncoder(), StandardScaler(), ConvexClassifier("gated", **FEW)
    ),
    "after a scaler": make_pipeline(
        ColumnEncoder(), StandardScaler(), ColumnEncoder(levels=9), ConvexClassifier("gated", **FEW)
    ),
    "with codes": make_pipeline(ColumnEncoder(levels=9), ConvexClassifier("gated", **FEW)),
    "alone": make_pipeline(ColumnEncoder(), ConvexClassifier("gated", **FEW)),
}


@pytest.mark.parametrize("name", MODELS)
def test_categories_are_in_the_file(name: str, tmp_path: Path) -> None:
    model, path = MODELS[name].fit(FRAME, Y > 1), tmp_path / "model.cvxnn"
    save(model, path)
    again = load(path)
    np.testing.assert_array_equal(again.predict_proba(FRAME), model.predict_proba(FRAME))
    strange = holding(city="Bern")
    np.testing.assert_array_equal(again.predict_proba(strange), model.predict_proba(strange))
    assert (again.n_features_in_, list(again.feature_names_in_)) == (5, list(FRAME))
    if name == "own":
        assert again.encoder_.categories_ == model.encoder_.categories_
        assert verify(again, FRAME, Y > 1)
    first = path.read_bytes()
    save(again, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "categories",
    [[["b", "a"], None], [["a", 1.0], None], [None], "text", [[], None], [["a"], ["b", "b"]]],
)
def test_a_file_with_strange_categories_is_refused(categories: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.cvxnn"
    frame = pd.DataFrame({"a": ["a", "b"] * 4, "b": np.arange(8.0)})
    model = ConvexRegressor("gated", **FEW).fit(frame, frame["b"])
    model.encoder_.categories_ = categories
    with pytest.raises((ValueError, ModelFormatError, TypeError)):
        save(model, path)
    assert not path.exists()


@pytest.mark.parametrize("levels", [[[2.0, 1.0], None], [None], [[np.nan], None], ["a", None]])
def test_a_file_with_strange_levels_is_refused(levels: Any, tmp_path: Path) -> None:
    X = np.column_stack([np.arange(8) % 3, np.arange(8.0)])
    model = make_pipeline(ColumnEncoder(levels=3), ConvexRegressor("gated", **FEW)).fit(X, X[:, 1])
    model[0].levels_ = levels
    with pytest.raises((ValueError, ModelFormatError, TypeError)):
        save(model, tmp_path / "model.cvxnn")
    assert not (tmp_path / "model.cvxnn").exists()


@pytest.mark.parametrize("word", ["predict", "transform", "evidence"])
def test_a_model_that_is_not_fitted_says_so(word: str) -> None:
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(ConvexRegressor(), word)(FRAME, *([Y] if word == "evidence" else []))
