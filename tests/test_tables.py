"""Tables: every reader gives the same numbers, and what is no number is named."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvxnn.errors import UnsupportedError
from cvxnn.tables import BUNDLED, read_features, read_table, readers

FRAME = pd.DataFrame(
    {
        "age": [31, 45, 28],
        "tall": [True, False, True],
        "weight": [70.5, 81.25, 1e-30],
        "city": ["Paris", "Rome", "Paris"],
    }
)


@pytest.fixture(params=["csv", "tsv", "parquet"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = tmp_path / f"data.{request.param}"

    def write(frame: pd.DataFrame) -> str:
        if request.param == "parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="\t" if request.param == "tsv" else ",")
        return str(path)

    return write


def text(tmp_path: Path, content: str) -> str:
    path = tmp_path / "data.csv"
    path.write_text(content)
    return str(path)


def test_the_last_column_is_the_target(written: Any) -> None:
    table = read_table(written(FRAME))
    np.testing.assert_array_equal(table.X, [[31, 1, 70.5], [45, 0, 81.25], [28, 1, 1e-30]])
    assert table.X.dtype == np.float64
    assert table.y.tolist() == ["Paris", "Rome", "Paris"]
    assert (table.features, table.target) == (("age", "tall", "weight"), ("city",))
    assert table.named


def test_targets_and_features_are_found_by_name(written: Any) -> None:
    source = written(FRAME)
    table = read_table(source, ["age"], ["weight", "tall"])
    np.testing.assert_array_equal(table.X, [[70.5, 1], [81.25, 0], [1e-30, 1]])
    assert (table.y.tolist(), table.y.dtype.kind) == ([31, 45, 28], "i")
    several = read_table(source, ["age", "weight"], ["tall"])
    np.testing.assert_array_equal(several.y, FRAME[["age", "weight"]])


def test_what_is_missing_is_named(written: Any) -> None:
    holes = FRAME.assign(age=[31, None, 28], weight=[None, None, 1.0])
    with pytest.raises(
        ValueError, match=r"missing values in age \(1 rows\), weight \(2 rows\); .*SimpleImputer"
    ):
        read_table(written(holes))
    with pytest.raises(ValueError, match=r"missing values in age \(1 rows\)"):
        read_table(written(holes), ["age"], ["tall"])
    with pytest.raises(ValueError, match=r"missing values in its target city \(1 rows\); drop"):
        read_table(written(FRAME.assign(city=["Paris", None, "Rome"])))


def test_what_is_no_number_is_named(written: Any) -> None:
    frame = FRAME.assign(
        day=pd.to_datetime(["2020-01-01"] * 3).astype("datetime64[us]"), y=[1, 2, 3]
    )
    source = written(frame)
    if source.endswith(".parquet"):  # other files hold dates as text
        with pytest.raises(
            ValueError, match=r"no numbers: day \('2020-01-01.*'\); drop them, or turn them into"
        ):
            read_table(source)
    with pytest.raises(
        ValueError, match=r"no numbers: city \('Paris'\); .* into numbers, as in training"
    ):
        read_features(source, ["age", "city"], 2)


def test_text_stays_text(written: Any) -> None:
    frame = FRAME.assign(y=[1, 2, 3])
    table = read_table(written(frame))
    assert table.text == ("city",)
    assert table.X.tolist() == [
        [31, 1, 70.5, "Paris"],
        [45, 0, 81.25, "Rome"],
        [28, 1, 1e-30, "Paris"],
    ]
    assert {type(value) for value in table.X[0]} == {float, str}
    with pytest.raises(ValueError, match=r"missing values in age \(1 rows\), city \(1 rows\)"):
        read_table(written(frame.assign(age=[31, None, 28], city=["Paris", None, "Rome"])))


def test_too_many_texts_are_named(written: Any) -> None:
    frame = pd.DataFrame({"who": [f"number {k}" for k in range(30)], "y": range(30)})
    with pytest.raises(ValueError, match="'who' has 30 different values in 30 rows"):
        read_table(written(frame))


def test_text_of_training_is_text_again(written: Any) -> None:
    codes = FRAME.assign(code=["01", "true", "3"])
    found = read_features(written(codes), ["age", "code"], 2, text=[1])
    assert found.tolist() == [[31, "01"], [45, "true"], [28, "3"]]
    assert read_features(written(codes[1:2]), ["code"], 1, text=[0]).tolist() == [["true"]]
    assert read_features(written(codes[:1]), ["code"], 1, text=[0]).tolist() == [["01"]]


def test_infinite_values_are_named(written: Any) -> None:
    with pytest.raises(ValueError, match=r"infinite values in weight \(1 rows\)"):
        read_table(written(FRAME.assign(weight=[1.0, np.inf, 2.0])))


def test_columns_that_are_not_there_are_named(written: Any) -> None:
    with pytest.raises(
        ValueError, match="lacks the target column income; it has age, tall, weight, city"
    ):
        read_table(written(FRAME), ["income"])
    with pytest.raises(ValueError, match="lacks the columns height, size; it has age"):
        read_table(written(FRAME), ["city"], ["age", "height", "size"])


def test_a_table_needs_rows_and_two_columns(written: Any) -> None:
    with pytest.raises(ValueError, match="no column beside age; expected features and a target"):
        read_table(written(FRAME[["age"]]))
    with pytest.raises(ValueError, match="has no rows; expected at least one sample"):
        read_table(written(FRAME[:0]))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(X=arrays(np.float64, (3, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_number_is_read_to_the_last_bit(written: Any, X: np.ndarray) -> None:
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(y=["u", "v", "w"])
    np.testing.assert_array_equal(read_table(written(frame)).X, X)


# CSV


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty; expected a line of column names"),
        ("1,2\n3,4\n", "first line .* holds numbers; put a line of column names first"),
        ("a,b\n1,2,3\n", "line 2 .* has 3 cells but the header has 2; check its separators"),
        ("a,b\n1,2\n\n3\n", "line 4 .* has 1 cells"),
        (",a,b\n0,1,2\n", r"columns without a name \(1\); name or drop them"),
        ("a,b,a\n0,1,2\n", "several columns named a; rename them"),
        ('a,b\n"1,2\n', "is not a CSV file: .*; check its quotes"),
    ],
)
def test_a_bad_csv_says_where_it_is_bad(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_table(text(tmp_path, content))


def test_a_csv_in_another_encoding_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("caf\u00e9,y\n1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not text in UTF-8 .*; save it as UTF-8"):
        read_table(str(path))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_separators_quotes_and_byte_order_marks_are_understood(tmp_path: Path, mark: str) -> None:
    content = '\ufeff"a, or ""b"""@c@y\n 1.5 @"2"@"no, yes"\n\n-3e2@4@no\n'
    table = read_table(text(tmp_path, content.replace("@", mark)))
    np.testing.assert_array_equal(table.X, [[1.5, 2], [-300, 4]])
    assert table.features == ('a, or "b"', "c")
    assert table.y.tolist() == ["no, yes", "no"]


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "nan", "NULL", "None", "?"])
def test_words_for_nothing_are_missing_among_numbers(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=r"missing values in a \(1 rows\)"):
        read_table(text(tmp_path, f"a,y\n1,2\n{cell},3\n"))
    labels = read_table(text(tmp_path, f"a,y\n1,yes\n2,{cell or 'x'}\n")).y
    assert labels.tolist() == ["yes", cell or "x"]  # and labels in text


def test_a_column_is_text_if_one_of_its_cells_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_CHUNK", 2)
    table = read_table(text(tmp_path, "a,y\n1,01\n2,02\n3,x\n4,04\n5,5\n"))
    assert table.y.tolist() == ["01", "02", "x", "04", "5"]
    np.testing.assert_array_equal(table.X, [[1], [2], [3], [4], [5]])


def test_whole_numbers_stay_whole_in_the_target(tmp_path: Path) -> None:
    assert read_table(text(tmp_path, "a,y\n1,1.0\n2,0\n")).y.tolist() == [1, 0]
    assert read_table(text(tmp_path, "a,y\n1,1.5\n2,0\n")).y.dtype == np.float64


# npz


def test_npz_holds_x_and_y(tmp_path: Path) -> None:
    X, path = np.arange(6.0).reshape(3, 2), tmp_path / "data.npz"
    np.savez(path, X=X, y=[0, 1, 0], other=[1.5, 2.5, 3.5], note="text")
    table = read_table(str(path))
    np.testing.assert_array_equal(table.X, X)
    assert (table.y.tolist(), table.target, table.named) == ([0, 1, 0], ("y",), False)
    assert read_table(str(path), ["other"]).y.tolist() == [1.5, 2.5, 3.5]
    np.savez(path, X=X, y=X)
    assert read_table(str(path)).y.shape == (3, 2)
    assert read_table(str(path)).target == ("y[0]", "y[1]")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"A": np.zeros((3, 2))}, r"has no array X \(n, d\); it has A \(3, 2\)"),
        (
            {"X": np.zeros(3), "y": np.zeros(3)},
            r"has no array X \(n, d\); it has X \(3,\), y \(3,\)",
        ),
        ({"X": np.zeros((3, 2)), "y": np.zeros(2)}, r"y of .* has shape \(2,\) and X \(3, 2\)"),
        ({"X": np.zeros((3, 2))}, "has no array y; add it, or name the target array"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, "has no rows"),
        ({"X": np.array([[{}]]), "y": np.zeros(1)}, "is not an npz file of numbers and text"),
    ],
)
def test_a_bad_npz_says_what_it_has(
    tmp_path: Path, held: dict[str, np.ndarray], reason: str
) -> None:
    np.savez(tmp_path / "data.npz", **held)
    with pytest.raises(ValueError, match=reason):
        read_table(str(tmp_path / "data.npz"))


@pytest.mark.parametrize("name", ["data.npz", "data.parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"PAR1 cut", b"\x80\x04pickle"])
def test_a_broken_file_is_said_to_be_one(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not a"):
        read_table(str(tmp_path / name))


# sources


@pytest.mark.parametrize(
    ("name", "shape", "target", "values"),
    [
        ("breast_cancer", (569, 30), ("diagnosis",), 2),
        ("diabetes", (442, 10), ("progression",), 214),
        ("digits", (1797, 64), ("digit",), 10),
        ("iris", (150, 4), ("species",), 3),
        ("linnerud", (20, 3), ("Weight", "Waist", "Pulse"), 35),
        ("wine", (178, 13), ("cultivar",), 3),
    ],
)
def test_the_sets_of_scikit_learn(
    name: str, shape: tuple[int, int], target: tuple[str, ...], values: int
) -> None:
    table = read_table(f"sklearn:{name}")
    assert (table.X.shape, table.target, len(np.unique(table.y))) == (shape, target, values)
    assert name in BUNDLED


def test_linnerud_has_one_target_if_asked() -> None:
    table = read_table("sklearn:linnerud", ["Waist"])
    assert (table.y.shape, table.features) == ((20,), ("Chins", "Situps", "Jumps"))


@pytest.mark.parametrize(
    ("source", "kind", "reason"),
    [
        ("sklearn:boston", ValueError, "no data set 'boston'; expected sklearn: and one of breast"),
        (
            "data.xlsx",
            ValueError,
            "expected a file that ends in .csv, .tsv, .parquet, .npz, or skl",
        ),
        ("nowhere.csv", FileNotFoundError, "nowhere.csv does not exist, or is no file; check"),
    ],
)
def test_other_sources_are_refused(source: str, kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        read_table(source)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FRAME.to_parquet(tmp_path / "data.parquet")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r"needs pyarrow.*`pip install pyarrow` or pass CSV"):
        read_table(str(tmp_path / "data.parquet"))


# features alone, for predictions


def test_features_are_found_by_name_or_by_order(written: Any, tmp_path: Path) -> None:
    source = written(FRAME)
    np.testing.assert_array_equal(read_features(source, ["weight", "age"], 2)[:, 1], [31, 45, 28])
    assert read_features(source, None, 3, target=["city"]).shape == (3, 3)
    with pytest.raises(ValueError, match="lacks the column income; it has age"):
        read_features(source, ["age", "income"], 2)
    with pytest.raises(ValueError, match="has 3 feature columns but the model was trained on 2"):
        read_features(source, None, 2, target=["city"])
    np.savez(tmp_path / "data.npz", X=np.zeros((5, 2)))
    assert read_features(str(tmp_path / "data.npz"), ["weight", "age"], 2).shape == (5, 2)
