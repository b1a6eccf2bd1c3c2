"""Model files: what comes back is what went in, and a file that was touched does not come back."""

import json
import os
import pickle
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    GatedReLU,
    Polynomial,
    load,
    save,
    verify,
)
from cvxnn.errors import ModelFormatError, UnsupportedError
from cvxnn.files import read_notes, sealed
from cvxnn.functions import Huber, Quantile
from cvxnn.solvers import FISTA

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.column_stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])])
LABELS = np.array(["low", "middle", "high"])[np.digitize(Y[:, 1], [0.4, 1.0])]
FEW: dict[str, Any] = {"alpha": 0.01, "n_gates": 12, "random_state": 0, "tol": 1e-3}

MODELS = {
    "regressor": (ConvexRegressor("gated", **FEW), X, Y[:, 0]),
    "outputs": (ConvexRegressor("gated", skip=True, **FEW), X, Y),
    "one column": (ConvexRegressor("gated", fit_intercept=False, **FEW), X, Y[:, :1]),
    "objects": (
        ConvexRegressor(GatedReLU(bias=False), loss=Huber(0.5), solver=FISTA(relax=1.5), **FEW),
        X,
        Y[:, 0],
    ),
    "all patterns": (ConvexRegressor(gates="enumerate", **FEW), X[:8, :2], Y[:8, 0]),
    "own gates": (ConvexRegressor("gated", gates=RNG.normal(size=(5, 4)), **FEW), X, Y[:, 0]),
    "searched": (ConvexRegressor("gated", **FEW | {"alpha": "auto"}), X, Y[:, 0]),
    "polynomial": (ConvexRegressor("polynomial", **FEW), X, Y),
    "quadratic": (ConvexClassifier(Polynomial(False, 2.0, 0.0, 0.0), **FEW), X, LABELS),
    "classifier": (ConvexClassifier("relu", gates="sample", **FEW), X, LABELS == "low"),
    "classes": (ConvexClassifier("gated", class_weight="balanced", **FEW), X, LABELS),
    "whole numbers": (
        ConvexClassifier("gated", class_weight={3: 1.0, 7: 2.5}, **FEW),
        X,
        np.where(LABELS == "low", 3, 7),
    ),
    "hinge": (ConvexClassifier("gated", loss="squared_hinge", **FEW), X, LABELS),
    "named": (ConvexRegressor("gated", **FEW), pd.DataFrame(X, columns=["a", "b", "c"]), Y[:, 0]),
    "pipeline": (
        make_pipeline(
            StandardScaler(with_mean=False), StandardScaler(), ConvexRegressor("gated", **FEW)
        ),
        X.astype(np.float32),
        Y[:, 0],
    ),
    "pandas inside": (
        make_pipeline(StandardScaler(), ConvexClassifier("gated", **FEW)).set_output(
            transform="pandas"
        ),
        pd.DataFrame(X, columns=["a", "b", "c"]),
        LABELS.astype(object),
    ),
    "empty network": (ConvexRegressor("relu", **FEW | {"alpha": 10.0}), X, Y[:, 0]),
}


@pytest.fixture(params=MODELS, scope="module")
def fitted(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    model, samples, y = MODELS[request.param]
    if request.param == "empty network":
        with pytest.warns(UserWarning, match="no neurons"):
            return model.fit(samples, y), samples, y
    return model.fit(samples, y), samples, y


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.cvxnn"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("files") / "model.cvxnn"
    last = ConvexClassifier("relu", gates="sample", **FEW)
    save(make_pipeline(StandardScaler(), last).fit(X, LABELS), path)
    return path.read_bytes()


def estimator(model: Any) -> Any:
    return model[-1] if isinstance(model, Pipeline) else model


def prepared(model: Any, samples: Any) -> Any:
    return model[:-1].transform(samples) if isinstance(model, Pipeline) else samples


def test_what_comes_back_is_what_went_in(fitted: tuple[Any, Any, Any], path: Path) -> None:
    model, samples, y = fitted
    save(model, path)
    again = load(path)
    assert type(again) is type(model)
    predicted = model.predict(samples)
    np.testing.assert_array_equal(again.predict(samples), predicted)
    assert again.predict(samples).dtype == predicted.dtype
    assert again.n_features_in_ == 3 or samples.shape[1] == 2
    assert list(getattr(again, "feature_names_in_", [])) == list(getattr(samples, "columns", []))
    old, new = estimator(model), estimator(again)
    assert new.certificate_ == old.certificate_
    assert (new.alpha_, new.alpha_max_, new.n_iter_) == (old.alpha_, old.alpha_max_, old.n_iter_)
    assert new.solution_.status is old.solution_.status
    np.testing.assert_array_equal(
        new.transform(prepared(again, samples)), old.transform(prepared(model, samples))
    )
    assert verify(new, prepared(again, samples), y)


def test_options_come_back(fitted: tuple[Any, Any, Any], path: Path) -> None:
    model = estimator(fitted[0])
    save(model, path)
    old, new = model.get_params(deep=False), load(path).get_params(deep=False)
    if not isinstance(old["gates"], str):  # distinct gates come back, with the bias column
        np.testing.assert_array_equal(new.pop("gates"), model.generators_)
        del old["gates"]
    assert new == old


def test_a_model_that_came_back_saves_the_same_bytes(
    fitted: tuple[Any, Any, Any], path: Path
) -> None:
    save(fitted[0], path)
    first = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == first


def test_callbacks_and_random_states_stay_behind(path: Path) -> None:
    settings = FEW | {"random_state": np.random.RandomState(0)}
    save(ConvexRegressor("gated", callbacks=[print_nothing], **settings).fit(X, Y), path)
    again = load(path)
    assert again.callbacks is None
    assert again.random_state is None
    again.fit(X, Y)  # and it can be fitted again


def print_nothing(event: object) -> None:
    del event


def test_notes_come_back_with_the_version(path: Path) -> None:
    save(ConvexRegressor("gated", **FEW).fit(X, Y), path, {"source": 'a "b" \\ \u00e9', "n": [1]})
    notes = read_notes(path)
    assert notes.pop("cvxnn").count(".") == 2
    assert notes == {"source": 'a "b" \\ \u00e9', "n": [1]}


# files that were touched


def test_every_altered_bit_and_every_truncation_is_refused(content: bytes, path: Path) -> None:
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    anywhere, in_header = rng.integers(len(content), size=120), rng.integers(header, size=120)
    for place in (*range(8), *anywhere, *in_header):
        altered = bytearray(content)
        altered[place] ^= 1 << rng.integers(8)
        refused(path, bytes(altered))
    for length in (*range(0, 20, 3), *rng.integers(len(content), size=60), len(content) - 1):
        refused(path, content[:length])
    refused(path, content + b"\0")


def refused(path: Path, content: bytes, reason: str = "") -> None:
    path.write_bytes(content)
    for reader in (load, read_notes):
        with pytest.raises(ModelFormatError, match=reason or str(path)):
            reader(path)


def test_the_message_says_what_happened_and_what_to_do(content: bytes, path: Path) -> None:
    refused(path, content[:-1], "truncated or altered since it was saved.* get it again")
    refused(path, b"", "is not a model file of cvxnn; pass a file that it saved")
    refused(path, b"age,income\n1,2\n", "is not a model file of cvxnn")


def test_a_pickle_is_not_run(path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(path) + ".ran",)

    refused(path, pickle.dumps(Bomb()), "is not a model file")
    assert not Path(str(path) + ".ran").exists()


def test_other_safetensors_are_refused(path: Path) -> None:
    save_file({"weight": np.zeros(3)}, path)
    refused(path, path.read_bytes(), "is not a model file")


def test_a_file_that_is_not_there_is_said_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        load(path)


# files with a right checksum and wrong contents


def reseal(content: bytes, path: Path) -> tuple[dict[str, Any], sealed.Arrays]:
    path.write_bytes(content)
    return sealed.read(path)


@pytest.mark.parametrize("version", [2, "1", None])
def test_another_version_is_refused(content: bytes, path: Path, version: object) -> None:
    header, arrays = reseal(content, path)
    sealed.write(path, header | {"version": version}, arrays)
    refused(path, path.read_bytes(), f"format version {version!r} and cvxnn .* reads version 1")


ARRAYS = (
    "0.mean",
    "0.scale",
    "1.generators",
    "1.dual",
    "1.network.weights_in",
    "1.network.weights_out",
    "1.network.intercept",
    "1.network.skip",
)
WRONG = {
    "missing": None,
    "of another dtype": lambda x: x.astype(np.int64),
    "of another shape": lambda x: x[..., None],
    "too long": lambda x: np.concatenate([x, x]),
    "too short": lambda x: x[:-1],
    "NaN": lambda x: np.full_like(x, np.nan),
    "infinite": lambda x: np.full_like(x, np.inf),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("wrong", WRONG)
def test_arrays_must_fit_together(content: bytes, path: Path, name: str, wrong: str) -> None:
    harmless = {
        ("1.generators", "too long"),  # any number of gates and of samples fits the rest
        ("1.generators", "too short"),
        ("1.dual", "too long"),
        ("1.dual", "too short"),
    }
    header, arrays = reseal(content, path)
    changed = arrays.pop(name)
    if WRONG[wrong] is not None:
        arrays[name] = WRONG[wrong](changed)
    sealed.write(path, header, arrays)
    if (name, wrong) in harmless:
        assert load(path).predict(X).shape == (40,)
    else:
        with pytest.raises(ModelFormatError, match="holds no model that cvxnn could have saved"):
            load(path)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested JSON."""
    if not isinstance(value, dict | list):
        return [place]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [place] * bool(place) + [p for key, x in inside for p in places(x, (*place, key))]


def test_no_header_breaks_anything_but_the_file(content: bytes, path: Path) -> None:
    header, arrays = reseal(content, path)
    junk = [None, -1, 0, 10**30, 1e308, float("nan"), "x", "", [], {}, [[]], {"name": "x"}, True]
    harmless, total = 0, 0
    for place in places({"steps": header["steps"]}):
        for value in junk:
            total += 1
            changed = json.loads(json.dumps(header))
            *way, last = place
            node = changed
            for key in way:
                node = node[key]
            node[last] = value
            sealed.write(path, changed, arrays)
            with suppress(ModelFormatError):  # anything else fails the test
                assert load(path).predict(X).shape == (40,)
                harmless += 1
    assert harmless < total / 2


# what cannot be saved


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Ridge(), "cannot hold Ridge; expected ConvexRegressor, ConvexClassifier or"),
        (make_pipeline(MinMaxScaler(), ConvexRegressor()), "cannot hold MinMaxScaler"),
        (make_pipeline(StandardScaler(), Ridge()), "cannot hold Ridge"),
    ],
)
def test_other_models_are_not_saved(path: Path, model: Any, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        save(model.fit(X, Y[:, 0]) if hasattr(model, "coef_") else fit_quietly(model), path)
    assert not path.exists()


def fit_quietly(model: Any) -> Any:
    for _, step in getattr(model, "steps", [])[:-1]:
        step.fit(X)
    return model


def test_a_model_must_be_fitted(path: Path) -> None:
    with pytest.raises(NotFittedError):
        save(ConvexRegressor(), path)


def test_strange_options_and_labels_are_named(path: Path) -> None:
    class Mine(Quantile):
        name = "mine"

    model = ConvexRegressor("gated", loss=Mine(0.5), **FEW).fit(X, Y[:, 0])
    with pytest.raises(UnsupportedError, match=r"cannot hold loss=.*expected one of Squared"):
        save(model, path)
    model = ConvexRegressor(GatedReLU(), **FEW).fit(X, Y[:, 0]).set_params(tol=[1])
    with pytest.raises(UnsupportedError, match=r"cannot hold tol=\[1\]; pass a number or a word"):
        save(model, path)
    classifier = ConvexClassifier("gated", **FEW).fit(X, LABELS)
    classifier.classes_ = np.array([date(2020, 1, day) for day in (1, 2, 3)])
    with pytest.raises(UnsupportedError, match=r"cannot hold the class datetime.*; use numbers or"):
        save(classifier, path)
    model.set_params(tol=1e-3).network_.weights_in[0, 0] = np.nan
    with pytest.raises(UnsupportedError, match="weights_in holds NaN"):
        save(model, path)
    assert list(path.parent.iterdir()) == []


def test_a_save_that_fails_leaves_the_old_file(
    content: bytes, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(content)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(ConvexRegressor("gated", **FEW).fit(X, Y), path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
