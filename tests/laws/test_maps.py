"""The laws of a linear map on blocks, on every one we have and every array library."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Backend

from cvxnn.arrays import Array, to_numpy
from cvxnn.maps import (
    ConeRows,
    Gated,
    Heads,
    LinearMap,
    Pooled,
    QuadraticForms,
    Signed,
    Stacked,
    StackedRows,
    gated,
    row_blocks,
)

Cast = Callable[[np.ndarray], Array]
SEEDS = st.integers(0, 2**16)
DTYPES = st.sampled_from([np.float64, np.float32])

laws = settings(max_examples=15, deadline=None)
few = settings(max_examples=5, deadline=None)


class Data(NamedTuple):
    """Data of random sizes; masks (n, p) are 0 or 1, now and then fractions."""

    features: np.ndarray
    masks: np.ndarray
    picks: np.ndarray
    """Indices of blocks out of twice as many as there are gates, repeats and any order."""


def drawn(seed: int, gates: int | None = None) -> Data:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 8)), int(rng.integers(1, 5))
    p = int(rng.integers(0, 6)) if gates is None else gates
    masks = rng.uniform(size=(n, p))
    if seed % 3:
        masks = np.round(masks)
    picks = rng.integers(0, max(2 * p, 1), size=int(rng.integers(0, 5)) if p else 0)
    return Data(rng.standard_normal((n, d)), masks, picks)


def plain(data: Data, cast: Cast, outputs: int) -> Gated:
    return Gated(cast(data.features), cast(data.masks), outputs)


def signed(data: Data, cast: Cast, outputs: int) -> Signed:
    return Signed(plain(data, cast, outputs))


def some_signed(data: Data, cast: Cast, outputs: int) -> Gated:
    return signed(data, cast, outputs).restrict(cast(data.picks))


def cone_rows(data: Data, cast: Cast, outputs: int) -> ConeRows:
    return ConeRows(cast(data.features), cast(2 * np.round(data.masks.T) - 1), outputs)


def forms(data: Data, cast: Cast, outputs: int) -> QuadraticForms:
    s = data.features.shape[1]
    weights = np.round(8 * np.cos(np.add.outer(np.arange(s), np.arange(s)))) / 8
    signs = np.round(3 * data.masks.sum(axis=0))
    return QuadraticForms(cast(data.features), cast(weights), cast(signs), outputs)


def matrices(data: Data) -> np.ndarray:
    """A matrix of its own for every block, (p, n, d)."""
    turned = [np.roll(data.features, i, axis=0) for i in range(data.masks.shape[1])]
    return np.array(turned).reshape(len(turned), *data.features.shape)


def stacked(data: Data, cast: Cast, outputs: int) -> Stacked:
    return Stacked(cast(matrices(data)), outputs)


def stacked_rows(data: Data, cast: Cast, outputs: int) -> StackedRows:
    return StackedRows(cast(matrices(data)), outputs)


def pooled(data: Data, cast: Cast, outputs: int) -> Pooled:
    """Three places a sample, in two cells."""
    patches = np.concatenate([data.features, -2 * data.features, data.features / 4])
    pool = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    return Pooled(cast(patches), cast(np.tile(data.masks, (3, 1))), cast(pool), outputs)


def heads(data: Data, cast: Cast, outputs: int) -> Heads:
    """Two tokens a sequence, and one query."""
    keys = np.stack([data.features, np.roll(data.features, 1, axis=1)], axis=1)
    query = data.features[:, None, :] / 2
    return Heads(cast(keys), cast(query), outputs, count=data.masks.shape[1])


def mixed(data: Data, cast: Cast, outputs: int) -> Heads:
    """Two channels a sequence, each with a value of its own, and one query."""
    lift = heads(data, cast, outputs)
    return replace(lift, apart=True)


def masked_mixed(data: Data, cast: Cast, outputs: int) -> Heads:
    """Two channels, that are open at every place or not."""
    return replace(masked_heads(data, cast, outputs), apart=True)


def masked_heads(data: Data, cast: Cast, outputs: int) -> Heads:
    """Two tokens a sequence, that see each other or not."""
    keys = np.stack([data.features, np.roll(data.features, 1, axis=1)], axis=1)
    seen = np.round(data.masks.T)[:, :, None, None]
    masks = np.concatenate(
        [np.concatenate([seen, 1 - seen], axis=2), np.ones((*seen.shape[:2], 2, 1))], axis=3
    )
    return Heads(cast(keys), cast(keys / 2), outputs, cast(masks))


MAKERS = {
    "gated": plain,
    "signed": signed,
    "signed_restricted": some_signed,
    "cone_rows": cone_rows,
    "quadratic_forms": forms,
    "stacked": stacked,
    "pooled": pooled,
    "stacked_rows": stacked_rows,
    "heads": heads,
    "masked_heads": masked_heads,
    "mixed": mixed,
    "masked_mixed": masked_mixed,
}
LIFTS = (
    "gated",
    "signed",
    "signed_restricted",
    "quadratic_forms",
    "stacked",
    "pooled",
    "heads",
    "masked_heads",
    "mixed",
    "masked_mixed",
)

every = pytest.mark.parametrize("name", MAKERS)
lifts = pytest.mark.parametrize("name", LIFTS)
outputs = pytest.mark.parametrize("outputs", [1, 3])


class Bench:
    """One map in one library and dtype, with points of its two spaces."""

    def __init__(
        self, backend: Backend, name: str, outputs: int, seed: int, dtype: Any = np.float64
    ) -> None:
        self.backend, self.dtype = backend, dtype
        self.data = drawn(seed)
        self.map: Any = MAKERS[name](self.data, self.cast, outputs)
        self.rng = np.random.default_rng(seed + 1)

    def cast(self, x: np.ndarray) -> Array:
        return self.backend.asarray(x if x.dtype.kind == "i" else x.astype(self.dtype))

    def point(self, shape: tuple[int, ...]) -> Array:
        return self.cast(self.rng.standard_normal(shape))


def dot(x: Array, y: Array) -> float:
    return float(np.sum(np.asarray(to_numpy(x), np.float64) * np.asarray(to_numpy(y), np.float64)))


def dense(a: LinearMap, cast: Cast) -> np.ndarray:
    """The matrix of a map, (out, in), column by column."""
    size = math.prod(a.in_shape)
    units = (np.eye(size)[k].reshape(a.in_shape) for k in range(size))
    columns = [to_numpy(a.apply(cast(unit))).ravel() for unit in units]
    return np.stack(columns, axis=1) if columns else np.zeros((math.prod(a.out_shape), 0))


@every
@outputs
@laws
@given(seed=SEEDS, dtype=DTYPES)
def test_adjoint(backend: Backend, name: str, outputs: int, seed: int, dtype: Any) -> None:
    """<A u, z> = <u, A* z>, in the declared shapes and the given dtype and library."""
    bench = Bench(backend, name, outputs, seed, dtype)
    u, z = bench.point(bench.map.in_shape), bench.point(bench.map.out_shape)
    image, back = bench.map.apply(u), bench.map.adjoint(z)
    assert tuple(image.shape) == bench.map.out_shape
    assert tuple(back.shape) == bench.map.in_shape
    assert image.dtype == back.dtype == u.dtype
    assert type(image) is type(back) is type(u)
    slack = 100 * float(np.finfo(dtype).eps) * (1 + dot(abs(image), abs(z)) + dot(abs(u), abs(u)))
    assert dot(image, z) == pytest.approx(dot(u, back), abs=slack)


@every
@outputs
@laws
@given(seed=SEEDS, a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_linearity(
    backend: Backend, name: str, outputs: int, seed: int, a: float, b: float
) -> None:
    bench = Bench(backend, name, outputs, seed)
    pairs = (
        (bench.map.apply, bench.map.in_shape),
        (bench.map.adjoint, bench.map.out_shape),
    )
    for act, shape in pairs:
        x, y = bench.point(shape), bench.point(shape)
        together = to_numpy(act(a * x + b * y))
        apart = a * to_numpy(act(x)) + b * to_numpy(act(y))
        np.testing.assert_allclose(together, apart, atol=1e-12)


@outputs
@laws
@given(seed=SEEDS)
def test_lifts_are_what_they_say(backend: Backend, outputs: int, seed: int) -> None:
    """Against a loop over gates, samples and outputs."""
    bench = Bench(backend, "signed", outputs, seed)
    x, masks = bench.data.features, bench.data.masks
    p = masks.shape[1]
    u = bench.rng.standard_normal((2 * p, x.shape[1], outputs))
    expected = np.zeros((len(x), outputs))
    for i in range(2 * p):
        sign = 1 if i < p else -1
        expected += sign * np.diag(masks[:, i % p]) @ x @ u[i]
    np.testing.assert_allclose(to_numpy(bench.map.apply(bench.cast(u))), expected, atol=1e-12)
    rows = cone_rows(bench.data, bench.cast, outputs)
    found = to_numpy(rows.apply(bench.cast(u[:p])))
    for i in range(p):
        pattern = 2 * np.diag(np.round(masks[:, i])) - np.eye(len(x))
        np.testing.assert_allclose(found[i], pattern @ x @ u[i], atol=1e-12)


@every
@outputs
@laws
@given(seed=SEEDS)
def test_restriction(backend: Backend, name: str, outputs: int, seed: int) -> None:
    """The map of some blocks is the whole map with zeros in the others."""
    bench = Bench(backend, name, outputs, seed)
    blocks = bench.map.in_shape[0]
    index = np.arange(blocks)[bench.rng.uniform(size=blocks) < 0.6]
    bench.rng.shuffle(index)
    part = bench.map.restrict(bench.cast(index))
    assert part.in_shape == (len(index), *bench.map.in_shape[1:])
    u = bench.rng.standard_normal(part.in_shape)
    whole = np.zeros(bench.map.in_shape)
    whole[index] = u
    image = to_numpy(bench.map.apply(bench.cast(whole)))
    z = bench.rng.standard_normal(bench.map.out_shape)
    back = to_numpy(bench.map.adjoint(bench.cast(z)))
    if name in ("cone_rows", "stacked_rows"):  # its image has a block axis too
        image, z = image[index], z[index]
    found = to_numpy(part.adjoint(bench.cast(z)))
    np.testing.assert_allclose(to_numpy(part.apply(bench.cast(u))), image, atol=1e-12)
    np.testing.assert_allclose(found, back[index], atol=1e-12)


@lifts
@outputs
@laws
@given(seed=SEEDS)
def test_outer(backend: Backend, name: str, outputs: int, seed: int) -> None:
    """A (I x inner) A* is one (n, n) matrix that acts on every output alike."""
    bench = Bench(backend, name, outputs, seed)
    p, d, c = bench.map.in_shape
    root = bench.rng.standard_normal((d, d))
    inner = root @ root.T
    matrix = dense(bench.map, bench.cast)
    expected = matrix @ np.kron(np.eye(p), np.kron(inner, np.eye(c))) @ matrix.T
    found = to_numpy(bench.map.outer(bench.cast(inner)))
    np.testing.assert_allclose(np.kron(found, np.eye(c)), expected, atol=1e-10)


@lifts
@outputs
@laws
@given(seed=SEEDS)
def test_block_norm_bounds_every_block(
    backend: Backend, name: str, outputs: int, seed: int
) -> None:
    bench = Bench(backend, name, outputs, seed)
    bound = bench.map.block_norm()
    for block in range(bench.map.in_shape[0]):
        one = dense(bench.map.restrict(bench.cast(np.array([block]))), bench.cast)
        assert np.linalg.norm(one, 2) <= bound * (1 + 1e-10)


@pytest.mark.parametrize("name", ["cone_rows", "stacked_rows"])
@outputs
@laws
@given(seed=SEEDS)
def test_rows_and_gram(backend: Backend, name: str, outputs: int, seed: int) -> None:
    """C has one (n, d) matrix a block, and their Gram matrices are equal or all there."""
    bench = Bench(backend, name, outputs, seed)
    p, d, _ = bench.map.in_shape
    grams = np.broadcast_to(to_numpy(bench.map.gram()), (p, d, d))
    for block in range(bench.map.in_shape[0]):
        rows = to_numpy(bench.map.rows(block))
        one = dense(bench.map.restrict(bench.cast(np.array([block]))), bench.cast)
        np.testing.assert_allclose(one, np.kron(rows, np.eye(outputs)), atol=1e-12)
        np.testing.assert_allclose(rows.T @ rows, grams[block], atol=1e-12)


@every
@outputs
@few
@given(seed=SEEDS)
def test_row_blocks_of_any_size_agree(backend: Backend, name: str, outputs: int, seed: int) -> None:
    bench = Bench(backend, name, outputs, seed)
    repeats = 7  # 16 rows is the least that a block holds
    data = Data(
        np.tile(bench.data.features, (repeats, 1)),
        np.tile(bench.data.masks, (repeats, 1)),
        bench.data.picks,
    )
    a: Any = MAKERS[name](data, bench.cast, outputs)
    u, z = bench.point(a.in_shape), bench.point(a.out_shape)
    image, back = to_numpy(a.apply(u)), to_numpy(a.adjoint(z))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gated, "_CELLS", 3)
        np.testing.assert_allclose(to_numpy(a.apply(u)), image, atol=1e-11)
        np.testing.assert_allclose(to_numpy(a.adjoint(z)), back, atol=1e-11)


@given(n=st.integers(0, 200), width=st.integers(0, 50))
def test_row_blocks_cover_every_row_once(n: int, width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gated, "_CELLS", 100)
        slices = list(row_blocks(n, width))
    assert [row for part in slices for row in range(n)[part]] == list(range(n))


@every
@outputs
@few
@given(seed=SEEDS)
def test_a_wide_argument_is_computed_wide(
    backend: Backend, name: str, outputs: int, seed: int
) -> None:
    """Data in float32 and an argument in float64 give float64, to float64 accuracy."""
    narrow = Bench(backend, name, outputs, seed, np.float32)
    wide: Any = MAKERS[name](
        narrow.data._replace(
            features=narrow.data.features.astype(np.float32).astype(np.float64),
            masks=narrow.data.masks.astype(np.float32).astype(np.float64),
        ),
        backend.asarray,
        outputs,
    )
    pairs = (
        (narrow.map.apply, wide.apply, wide.in_shape),
        (narrow.map.adjoint, wide.adjoint, wide.out_shape),
    )
    for act, exact, shape in pairs:
        x = backend.asarray(narrow.rng.standard_normal(shape))
        answer = act(x)
        assert answer.dtype == x.dtype
        np.testing.assert_allclose(to_numpy(answer), to_numpy(exact(x)), rtol=1e-12, atol=1e-12)


@every
@outputs
def test_no_gates_is_the_zero_map(backend: Backend, name: str, outputs: int) -> None:
    data = drawn(3, gates=0)
    a: Any = MAKERS[name](data, backend.asarray, outputs)
    assert a.in_shape == (0, *MAKERS[name](drawn(3), backend.asarray, outputs).in_shape[1:])
    image = to_numpy(a.apply(backend.asarray(np.zeros(a.in_shape))))
    assert image.shape == a.out_shape
    assert not image.any()
    z = backend.asarray(np.ones(a.out_shape))
    assert to_numpy(a.adjoint(z)).shape == a.in_shape


@outputs
@laws
@given(seed=SEEDS)
def test_outer_with_a_matrix_for_every_block(backend: Backend, outputs: int, seed: int) -> None:
    bench = Bench(backend, "stacked", outputs, seed)
    p, d, _ = bench.map.in_shape
    roots = bench.rng.standard_normal((p, d, d))
    inner = roots @ roots.transpose(0, 2, 1)
    factors = matrices(bench.data)
    expected = sum((f @ i @ f.T for f, i in zip(factors, inner, strict=True)), np.zeros(()))
    found = to_numpy(bench.map.outer(bench.cast(inner)))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-10)
