"""Estimators on data that are large, in a file, or sparse: the same networks, in less memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from cvxnn import ConvexClassifier, ConvexRegressor, certify_network, memory, streamed, verify
from cvxnn.errors import DataChangedError, MemoryBudgetError
from cvxnn.estimators_cv import ConvexRegressorCV
from cvxnn.solve import Progress, Status

WORDS: dict[str, Any] = {"alpha": 0.02, "n_gates": 20, "random_state": 0, "tol": 1e-6}


def data(n: int = 90, d: int = 6, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, d)).astype(dtype)
    X[rng.uniform(size=X.shape) < 0.5] = 0
    y = np.maximum(X[:, 0], 0) - np.maximum(X[:, 1] + X[:, 2], 0)
    return X, y + 0.1 * rng.standard_normal(n)


def in_file(X: np.ndarray, folder: Path, mode: Any = "r") -> Any:
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode=mode)


@pytest.fixture
def large() -> Iterator[None]:
    """All data count as large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "LARGE", 1)
        patch.setattr(streamed, "CELLS", 100)
        yield


CASTS: dict[str, Any] = {
    "array": lambda X, folder: X,
    "memmap": in_file,
    "csr_array": lambda X, folder: sparse.csr_array(X),
    "csr_matrix": lambda X, folder: sparse.csr_matrix(X),
    "coo_array": lambda X, folder: sparse.coo_array(X),
}
casts = pytest.mark.parametrize("cast", CASTS)


@casts
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_data_give_the_same_network_in_any_form(
    cast: str, dtype: Any, tmp_path: Path
) -> None:
    X, y = data(dtype=dtype)
    plain = ConvexRegressor("gated", **WORDS).fit(X, y)
    other = ConvexRegressor("gated", **WORDS).fit(CASTS[cast](X, tmp_path), y)
    np.testing.assert_array_equal(other.network_.weights_in, plain.network_.weights_in)
    assert other.certificate_ == plain.certificate_
    np.testing.assert_array_equal(other.predict(CASTS[cast](X, tmp_path)), plain.predict(X))


@casts
@pytest.mark.parametrize("solver", ["auto", "fista", "subspace", "admm", "newton"])
def test_large_data_give_the_same_optimum(
    cast: str, solver: str, tmp_path: Path, large: None
) -> None:
    X, y = data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "LARGE", 2**27)
        plain = ConvexRegressor("gated", **WORDS).fit(X, y)
    given = CASTS[cast](X, tmp_path)
    other = ConvexRegressor("gated", solver=solver, **WORDS).fit(given, y)
    assert other.certificate_.proves(1e-6)
    assert other.certificate_.upper == pytest.approx(plain.certificate_.upper, rel=2e-6)
    assert verify(other, given, y)
    for method in ("predict", "transform"):
        found = getattr(other, method)(given)
        np.testing.assert_allclose(found, getattr(other, method)(X), atol=1e-12)
    np.testing.assert_allclose(other.network_(X)[:, 0], other.predict(given), atol=1e-12)


def test_the_file_gives_the_network_of_the_array_to_the_last_bit(
    tmp_path: Path, large: None
) -> None:
    X, y = data(dtype=np.float32)
    one, other = (
        ConvexRegressor("gated", **WORDS).fit(each, y) for each in (X, in_file(X, tmp_path))
    )
    np.testing.assert_array_equal(one.network_.weights_in, other.network_.weights_in)
    assert verify(one, in_file(X, tmp_path), y)


@casts
def test_several_classes(cast: str, tmp_path: Path, large: None) -> None:
    X, y = data()
    labels = np.digitize(y, [-0.5, 0.5])
    given = CASTS[cast](X, tmp_path)
    words = WORDS | {"tol": 1e-3}
    model = ConvexClassifier("gated", **words).fit(given, labels)
    dense = ConvexClassifier("gated", **words).fit(X, labels)
    assert model.certificate_.upper == pytest.approx(dense.certificate_.upper, rel=2e-3)
    assert model.certificate_.lower <= dense.certificate_.upper
    assert model.predict_proba(given).shape == (len(X), 3)
    assert verify(model, given, labels)


@casts
def test_rows_without_weight_take_no_part(cast: str, tmp_path: Path, large: None) -> None:
    X, y = data()
    weights = np.arange(len(y)) % 3.0
    model = ConvexRegressor("gated", **WORDS).fit(CASTS[cast](X, tmp_path), y, weights)
    kept = weights > 0
    other = ConvexRegressor("gated", **WORDS).fit(X[kept], y[kept], weights[kept])
    assert model.certificate_.upper == pytest.approx(other.certificate_.upper, rel=2e-6)
    assert verify(model, CASTS[cast](X, tmp_path), y, weights)


@casts
def test_alpha_is_chosen_on_folds_of_large_data(cast: str, tmp_path: Path, large: None) -> None:
    X, y = data()
    choice = ConvexRegressorCV("gated", cv=2, alphas=[0.1, 0.03], n_gates=10, random_state=0)
    choice.fit(CASTS[cast](X, tmp_path), y)
    assert choice.losses_.shape == (2, 2)
    assert choice.score(CASTS[cast](X, tmp_path), y) > 0.7


@casts
@pytest.mark.parametrize(
    "words",
    [
        {"gates": "grow"},
        {"gates": "sample", "n_gates": 5},
        {"architecture": "gated", "skip": True},
        {"architecture": "gated", "gates": "sample", "solver": "reference"},
    ],
    ids=str,
)
def test_what_needs_the_data_whole_makes_them_dense(
    cast: str, words: dict[str, Any], tmp_path: Path, large: None
) -> None:
    X, y = data(30, 3)
    common = {"alpha": 0.05, "random_state": 0, "proof_time": 0.0, "tol": 1e-3, "n_gates": 6}
    model = ConvexRegressor(**(common | words)).fit(CASTS[cast](X, tmp_path), y)
    dense = ConvexRegressor(**(common | words)).fit(X, y)
    assert model.certificate_.upper == pytest.approx(dense.certificate_.upper, rel=2e-3)
    assert verify(model, CASTS[cast](X, tmp_path), y)


@pytest.mark.parametrize("words", [{}, {"architecture": "gated", "skip": True}], ids=str)
def test_sparse_data_too_large_to_be_dense_are_refused(
    words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    X: Any = sparse.random_array((2000, 200_000), density=1e-4, format="csr", rng=0)
    with pytest.raises(MemoryBudgetError, match="GiB is available"):
        ConvexRegressor(alpha=0.1, **words).fit(X, np.arange(2000.0))


def test_wide_sparse_data_fit_where_dense_ones_would_not() -> None:
    """2000 x 200,000 with 40,000 nonzeros: 3 GiB if written out."""
    rng = np.random.default_rng(0)
    X: Any = sparse.random_array((2000, 200_000), density=1e-4, format="csr", rng=rng)
    y = np.asarray(X.sum(axis=1)).ravel() > 10
    model = ConvexClassifier("gated", alpha=1e-3, n_gates=5, tol=1e-2, random_state=0).fit(X, y)
    assert model.certificate_.proves(1e-2)
    assert (model.predict(X) == y).mean() > 0.9
    assert verify(model, X, y)


def test_a_network_is_certified_on_data_in_any_form(tmp_path: Path, large: None) -> None:
    X, y = data()
    network = ConvexRegressor("gated", **WORDS).fit(X, y).network_
    found = [certify_network(network, cast(X, tmp_path), y, alpha=0.02) for cast in CASTS.values()]
    for one in found:
        assert one.upper == pytest.approx(found[0].upper, rel=1e-12)
        assert one.lower == pytest.approx(found[0].lower, rel=1e-6)


@pytest.mark.parametrize("small", [False, True])
def test_a_file_cut_off_before_the_fit_is_told(small: bool, tmp_path: Path) -> None:
    X, y = data()
    given = in_file(X, tmp_path)
    os.truncate(tmp_path / "X.npy", 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "LARGE", 2**27 if small else 1)
        with pytest.raises(DataChangedError, match=r"X\.npy has 1000 bytes and the memory map"):
            ConvexRegressor("gated", **WORDS).fit(given, y)


def test_another_file_in_the_place_of_a_mapped_one_is_told(tmp_path: Path) -> None:
    X, y = data()
    given = in_file(X, tmp_path)
    np.save(tmp_path / "other.npy", X + 1)
    (tmp_path / "other.npy").rename(tmp_path / "X.npy")
    with pytest.raises(DataChangedError, match=r"X\.npy is not the file that X was mapped from"):
        ConvexRegressor("gated", **WORDS).fit(given, y)


def test_a_deleted_file_is_still_in_its_map(tmp_path: Path, large: None) -> None:
    X, y = data()
    given = in_file(X, tmp_path)
    (tmp_path / "X.npy").unlink()
    assert verify(ConvexRegressor("gated", **WORDS).fit(given, y), X, y)


def cut_off(path: Path) -> None:
    os.truncate(path, 2000)


def written(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(np.full(5, np.nan).tobytes())
    os.utime(path, ns=(0, 10**9))


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [cut_off, written, removed])
@pytest.mark.parametrize("solver", ["fista", "subspace", "working_set", "admm"])
def test_a_file_that_changes_during_the_fit_ends_it_with_the_best_network(
    harm: Any, solver: str, tmp_path: Path, large: None
) -> None:
    X, y = data()
    given, seen = in_file(X, tmp_path), []

    def callback(event: Progress) -> None:
        seen.append(event.certificate)
        if len(seen) == 2:
            harm(tmp_path / "X.npy")

    words = WORDS | {"tol": 1e-12, "solver": solver, "callbacks": [callback]}
    with pytest.warns(ConvergenceWarning, match="the file behind X changed or was cut off"):
        model = ConvexRegressor("gated", **words).fit(given, y)
    assert model.solution_.status is Status.DATA
    assert model.certificate_.upper == seen[-1].upper
    assert np.isfinite(model.predict(X)).all()
    assert verify(model, X, y), "the data of before still prove what was kept"


def test_a_file_with_nan_in_its_middle_is_told_before_work(tmp_path: Path, large: None) -> None:
    X, y = data()
    X[57, 4] = np.nan
    started: list[Progress] = []
    model = ConvexRegressor("gated", callbacks=[started.append], **WORDS)
    for given in (X, in_file(X, tmp_path), sparse.csr_array(X)):
        with pytest.raises(ValueError, match="contains NaN, first at row 57, column 4"):
            model.fit(given, y)
    assert not started


def test_a_private_map_is_memory_and_not_its_file(tmp_path: Path, large: None) -> None:
    X, y = data()
    given = in_file(np.zeros_like(X), tmp_path, "c")
    given[:] = X
    model = ConvexRegressor("gated", **WORDS).fit(given, y)
    assert verify(model, X, y)


MEASURE = """
import sys, threading, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from cvxnn import ConvexRegressor, certify_network, verify
from cvxnn.samples import fingerprint

path, kind = sys.argv[1:]


def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


peak, over = 0, threading.Event()


def watch():
    global peak
    while not over.wait(0.005):
        peak = max(peak, anonymous())


def work(X, y, gates):
    words = dict(alpha=0.05, n_gates=gates, solver="fista", max_iter=3, random_state=0)
    model = ConvexRegressor("gated", **words).fit(X, y)
    model.predict(X)
    verify(model, X, y)
    certify_network(model.network_, X, y, alpha=0.05)


work(np.eye(30), np.arange(30.0), 4)  # libraries load on first use
X = np.load(path, mmap_mode="r" if kind == "memmap" else None)
y = np.asarray(X[:, 0] - np.maximum(X[:, 1], 0))
before = anonymous()
threading.Thread(target=watch, daemon=True).start()
work(X, y, 8)
over.set()
print(peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["memmap", "array"])
def test_no_copy_of_large_float32_data_is_ever_made(kind: str, tmp_path: Path) -> None:
    """Fit, predict, verify and certify take less than half of the data's own size."""
    X = np.random.default_rng(0).standard_normal((36_000, 1000), dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "X.npy"), kind]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert X.nbytes > streamed.LARGE
    assert int(run.stdout) < X.nbytes / 2
