"""Laws of data read by row blocks, and of the gated map on them: they are what the dense ones are.

Sources: arrays, picked rows, sparse matrices, memory maps; with and without the column of ones.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from cvxnn import streamed
from cvxnn.gates import Gates, masks_of
from cvxnn.maps import Gated, GatedStream
from cvxnn.streamed import Streamed, held, mapped, require_finite

SEEDS = st.integers(0, 10_000)
laws = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def array(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    return Streamed(x)


def some_rows(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    index = rng.permutation(len(x) + 5)[: len(x)]
    whole = rng.standard_normal((len(x) + 5, x.shape[1])).astype(x.dtype)
    whole[index] = x
    return Streamed(whole).take(index)


def on_disk(x: np.ndarray, folder: Path) -> np.memmap[Any, Any]:
    path = folder / "x.npy"
    np.save(path, x)
    found: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
    return found


def file(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    stored = on_disk(np.concatenate([x[:1], x]), folder)[1:]
    found = Streamed(np.asarray(stored), mapped(np.asarray(stored)))
    assert found.file is not None
    return found


def rows_of_a_file(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    index = np.sort(rng.permutation(2 * len(x))[: len(x)])
    whole = np.zeros((2 * len(x), x.shape[1]), x.dtype)
    whole[index] = x
    stored = on_disk(whole, folder)
    return Streamed(stored, mapped(stored)).take(index)


def csr(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    return Streamed(sparse.csr_array(x))


def rows_of_csr(x: np.ndarray, folder: Path, rng: np.random.Generator) -> Streamed:
    keep = np.arange(2 * len(x)) % 2 == 1
    return Streamed(sparse.csr_array(np.repeat(x, 2, axis=0))).take(keep)


SOURCES = {f.__name__: f for f in (array, some_rows, file, rows_of_a_file, csr, rows_of_csr)}
every = pytest.mark.parametrize("source", SOURCES)
ones = pytest.mark.parametrize("bias", [False, True], ids=["plain", "ones"])


class Pair:
    """The same data and map, streamed and dense."""

    def __init__(
        self, source: str, bias: bool, seed: int, folder: Path, outputs: int, dtype: Any
    ) -> None:
        self.rng = np.random.default_rng(seed)
        n, d, p = (int(k) for k in self.rng.integers(1, [60, 7, 6]))
        x = self.rng.standard_normal((n, d)).astype(dtype)
        x[self.rng.uniform(size=x.shape) < 0.4] = 0
        self.dense = np.concatenate([x, np.ones((n, 1), dtype)], axis=1) if bias else x
        data = SOURCES[source](x, folder, self.rng)
        self.data = data.with_ones() if bias else data
        self.masks = self.rng.uniform(size=(p, n)) < 0.5
        self.stream = GatedStream(self.data, self.masks, outputs)
        self.gated = Gated(self.dense, self.masks.T.astype(dtype), outputs)
        self.dtype = dtype

    def point(self, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(dtype or self.dtype)


def close(found: np.ndarray, expected: np.ndarray, dtype: Any) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    slack = 200 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found, expected, atol=slack * (1 + abs(expected).max(initial=0)))


@every
@ones
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@laws
@given(seed=SEEDS)
def test_the_data_are_the_dense_ones(
    source: str, bias: bool, dtype: Any, seed: int, tmp_path: Path
) -> None:
    pair = Pair(source, bias, seed, tmp_path, 1, dtype)
    assert pair.data.shape == pair.dense.shape
    assert pair.data.dtype == pair.dense.dtype == dtype
    np.testing.assert_array_equal(pair.data.dense(), pair.dense)
    rows = pair.rng.permutation(len(pair.dense))[:5]
    np.testing.assert_array_equal(pair.data[rows].dense(), pair.dense[rows])
    keep = pair.rng.uniform(size=len(pair.dense)) < 0.5
    np.testing.assert_array_equal(pair.data[keep].dense(), pair.dense[keep])
    norm = np.linalg.norm(pair.dense.astype(np.float64))
    assert pair.data.frobenius() == pytest.approx(norm, rel=1e-6)
    assert np.linalg.norm(pair.dense, 2) <= pair.data.spectral_bound() * (1 + 1e-6)


@every
@ones
@pytest.mark.parametrize("outputs", [1, 3])
@laws
@given(seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]), cells=st.sampled_from([1, 99]))
def test_the_map_is_the_dense_one_and_has_its_adjoint(
    source: str, bias: bool, outputs: int, seed: int, dtype: Any, cells: int, tmp_path: Path
) -> None:
    pair = Pair(source, bias, seed, tmp_path, outputs, dtype)
    u, z = pair.point(pair.gated.in_shape), pair.point(pair.gated.out_shape)
    u[pair.rng.uniform(size=len(u)) < 0.3] = 0
    assert pair.stream.in_shape == pair.gated.in_shape
    assert pair.stream.out_shape == pair.gated.out_shape
    with pytest.MonkeyPatch.context() as patch:  # blocks of 16 rows: some are cut
        patch.setattr(streamed, "CELLS", cells)
        patch.setattr(streamed, "MOST_CELLS", cells)
        image, back = pair.stream.apply(u), pair.stream.adjoint(z)
    close(image, pair.gated.apply(u), dtype)
    close(back, pair.gated.adjoint(z), dtype)
    left, right = float(np.vdot(image, z)), float(np.vdot(u, back))
    size = float(np.linalg.norm(image) * np.linalg.norm(z))
    size += float(np.linalg.norm(u) * np.linalg.norm(back))
    assert left == pytest.approx(right, abs=100 * float(np.finfo(dtype).eps) * (1 + size))


@every
@ones
@laws
@given(seed=SEEDS)
def test_parts_and_bounds_are_those_of_the_dense_map(
    source: str, bias: bool, seed: int, tmp_path: Path
) -> None:
    pair = Pair(source, bias, seed, tmp_path, 2, np.float64)
    kept = np.flatnonzero(pair.rng.uniform(size=len(pair.masks)) < 0.6)
    part, dense = pair.stream.restrict(kept), pair.gated.restrict(kept)
    u, z = pair.point(dense.in_shape), pair.point(dense.out_shape)
    close(part.apply(u), dense.apply(u), np.float64)
    close(part.adjoint(z), dense.adjoint(z), np.float64)
    root = pair.point((pair.dense.shape[1],) * 2)
    close(pair.stream.outer(root @ root.T), pair.gated.outer(root @ root.T), np.float64)
    for mask in pair.masks:
        single = np.linalg.norm(mask[:, None] * pair.dense, 2)
        assert single <= pair.stream.block_norm() * (1 + 1e-10)


@every
@ones
@laws
@given(seed=SEEDS)
def test_a_wide_argument_is_computed_wide(
    source: str, bias: bool, seed: int, tmp_path: Path
) -> None:
    """Data in float32 and an argument in float64 give float64, to float64 accuracy."""
    pair = Pair(source, bias, seed, tmp_path, 2, np.float32)
    u = pair.point(pair.gated.in_shape, np.float64)
    z = pair.point(pair.gated.out_shape, np.float64)
    close(pair.stream.apply(u), pair.gated.apply(u), np.float64)
    close(pair.stream.adjoint(z), pair.gated.adjoint(z), np.float64)


@every
@ones
@laws
@given(seed=SEEDS)
def test_masks_are_those_of_the_dense_data(
    source: str, bias: bool, seed: int, tmp_path: Path
) -> None:
    pair = Pair(source, bias, seed, tmp_path, 1, np.float64)
    generators = pair.point((4, pair.dense.shape[1]))
    found, expected = masks_of(generators, pair.data), masks_of(generators, pair.dense)
    clear = abs(generators @ pair.dense.T) > 1e-12
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_no_gates_is_the_zero_map_and_reads_nothing(tmp_path: Path) -> None:
    stored = on_disk(np.ones((5, 2)), tmp_path)
    data = Streamed(stored, mapped(stored))
    (tmp_path / "x.npy").unlink()
    lift = GatedStream(data, np.zeros((0, 5), bool), 3)
    assert not lift.apply(np.zeros((0, 2, 3))).any()
    assert lift.adjoint(np.ones((5, 3))).shape == (0, 2, 3)
    assert lift.block_norm() == 0.0


def test_masks_may_be_a_memory_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, masks = rng.standard_normal((50, 3)), rng.uniform(size=(6, 50)) < 0.5
    np.save(tmp_path / "masks.npy", masks)
    stored = np.load(tmp_path / "masks.npy", mmap_mode="r")
    gates = Gates(rng.standard_normal((6, 3)), stored)
    z = rng.standard_normal((50, 2))
    found = GatedStream(Streamed(x), gates.masks, 2).adjoint(z)
    np.testing.assert_allclose(found, Gated(x, masks.T.astype(float), 2).adjoint(z), atol=1e-12)


def test_small_data_and_data_needed_whole_are_made_dense(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(3, 2)
    stored = on_disk(x, tmp_path)
    assert held(x, True) is x
    for each in (sparse.csr_array(x), stored):
        for by_blocks in (False, True):
            assert type(held(each, by_blocks)) is np.ndarray
            np.testing.assert_array_equal(held(each, by_blocks), x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "LARGE", 48)
        assert all(isinstance(held(each, True), Streamed) for each in (x, stored))
        assert held(x, False) is x


def test_a_sparse_matrix_is_left_as_it_was_given() -> None:
    twice = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "LARGE", 1)
        data = held(twice, True)
    assert data.base.has_canonical_format
    assert twice.nnz == 3
    np.testing.assert_array_equal(data.dense(), [[0.0, 3.0], [3.0, 0.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cast", [np.asarray, sparse.csr_array, sparse.csr_matrix])
def test_what_is_not_finite_is_named_by_row_and_column(value: float, cast: Any) -> None:
    x = np.ones((200_000, 3))
    x[123_456, 2] = value
    word = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=f"contains {word}, first at row 123456, column 2"):
        require_finite(cast(x))


def test_large_finite_numbers_are_no_infinity() -> None:
    require_finite(np.full((1000, 3), 1e308))
