"""Convolutional networks: worked examples, torch, and the estimators around them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cvxnn import (
    ConvexClassifier,
    ConvexRegressor,
    ConvGated,
    ConvReLU,
    Scope,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.export import to_torch
from cvxnn.functions import CrossEntropy, Squared
from cvxnn.gates.filters import PatchGates
from cvxnn.maps import Pooled, pooled_factors
from cvxnn.patches import Patches, patches_of
from cvxnn.solve import solve
from cvxnn.solvers import ADMM, FISTA, Newton, Reference, WorkingSet
from cvxnn.training import problem_of

# the signals of section A, windows of two
S = np.array([[1.0, 2, -1, 0], [0, -1, 2, 1], [-2, 1, 1, -1], [1, -1, 0, 2]])
Y = np.array([1.0, -1, 2, 0.5])
N, LAM = 4, 0.1
SIGNAL = {"shape": (1, 4), "kernel": 2, "bias": False}
EXACT = {"alpha": LAM / N, "fit_intercept": False, "tol": 1e-9}

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=25, deadline=None)


def windows(X: np.ndarray) -> np.ndarray:
    """(n, 3, 2), by hand."""
    return np.stack([X[:, k : k + 2] for k in range(3)], axis=1)


def drawn(seed: int) -> tuple[Patches, np.random.Generator]:
    """Patches of any kind that finds room."""
    rng = np.random.default_rng(seed)
    while True:
        axes = int(rng.integers(1, 3))
        words: Any = {
            name: tuple(rng.integers(*ends, axes).tolist())
            for name, ends in {
                "kernel": (1, 4),
                "stride": (1, 4),
                "padding": (0, 3),
                "dilation": (1, 3),
                "cells": (1, 3),
            }.items()
        }
        try:
            shape = (int(rng.integers(1, 4)), *rng.integers(2, 9, axes).tolist())
            return patches_of(shape, **words), rng
        except ValueError:
            continue


# unfold


@laws
@given(seed=SEEDS)
def test_section_A8_patches_are_those_of_torch(seed: int) -> None:
    """Stride, padding, dilation and channels: patches times filters are torch's convolution."""
    torch = pytest.importorskip("torch")
    patches, rng = drawn(seed)
    X, filters = rng.standard_normal((4, patches.pixels)), rng.standard_normal((3, patches.width))
    kind = torch.nn.functional.conv1d if len(patches.kernel) == 1 else torch.nn.functional.conv2d
    expected = kind(
        torch.tensor(X).reshape(-1, *patches.shape),
        torch.tensor(filters).reshape(3, patches.shape[0], *patches.kernel),
        stride=patches.stride,
        padding=patches.padding,
        dilation=patches.dilation,
    )
    assert tuple(expected.shape[2:]) == patches.places
    found = (patches.rows(X) @ filters.T).reshape(4, patches.count, 3)
    np.testing.assert_allclose(found, expected.flatten(2).swapaxes(1, 2), atol=1e-10)


def test_section_A8_sum_pooling_is_conv2d_relu_sum() -> None:
    torch = pytest.importorskip("torch")
    rng, patches = (
        np.random.default_rng(0),
        patches_of((3, 7, 6), kernel=(3, 2), stride=2, padding=1),
    )
    X, u = rng.standard_normal((5, patches.pixels)), rng.standard_normal(patches.width)
    image = torch.tensor(X).reshape(5, 3, 7, 6)
    map_ = torch.nn.functional.conv2d(
        image, torch.tensor(u).reshape(1, 3, 3, 2), stride=2, padding=1
    )
    expected = map_.relu().sum(dim=(1, 2, 3))
    found = np.maximum(patches.rows(X) @ u, 0).reshape(5, -1).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-10)


@laws
@given(seed=SEEDS)
def test_every_place_is_in_one_cell(seed: int) -> None:
    patches, _ = drawn(seed)
    assert set(patches.cell) == set(range(patches.n_cells))
    total, mean = patches.pool("sum"), patches.pool("average")
    np.testing.assert_array_equal(total.sum(axis=0), 1.0)
    np.testing.assert_allclose(mean.sum(axis=1), 1.0)
    grid = patches.cell.reshape(patches.places)
    for axis in range(grid.ndim):
        assert (np.diff(grid, axis=axis) >= 0).all()


# section A: the worked example


def best_descent(pooled: Any, weights: int, runs: int) -> float:
    """The least sum objective of L-BFGS on the network itself, by numerical kinks and all."""
    rng, best = np.random.default_rng(0), np.inf

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        u, w = z[: 2 * weights].reshape(weights, 2), z[2 * weights :]
        activations = np.maximum(windows(S) @ u.T, 0)
        hidden, share = pooled(activations)
        left = hidden @ w - Y
        pull = share * (left[:, None] * w)[:, None, :] * (activations > 0)
        to_u = np.einsum("nkm,nkh->mh", pull, windows(S)) + LAM * u
        gradient = np.concatenate([to_u.ravel(), hidden.T @ left + LAM * w])
        return float(left @ left / 2 + LAM / 2 * (z @ z)), gradient

    for _ in range(runs):
        start = 0.7 * rng.standard_normal(3 * weights)
        best = min(best, float(minimize(value, start, jac=True, method="L-BFGS-B").fun))
    return best


def circle() -> np.ndarray:
    """Unit directions all around, and those on the kinks of patches, where maxima may be."""
    kinks = np.arctan2(-windows(S)[:, :, 0], windows(S)[:, :, 1]).ravel()
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 20_001), kinks, kinks + np.pi])
    return np.column_stack([np.cos(angles), np.sin(angles)])


def added(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return activations.sum(axis=1), np.ones_like(activations)


def largest(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = activations.argmax(axis=1)[:, None, :]
    return activations.max(axis=1), np.arange(3)[None, :, None] == first


@pytest.mark.parametrize(
    ("pooling", "optimum", "cells", "pooled"),
    [("sum", 0.2868110, 16, added), ("max", 0.2793403, 11, largest)],
)
def test_sections_A8_and_B1_worked_example(
    pooling: str, optimum: float, cells: int, pooled: Any
) -> None:
    architecture = ConvReLU(**SIGNAL, pooling=pooling)
    model = ConvexRegressor(architecture, gates="enumerate", **EXACT).fit(S, Y)
    claim = model.certificate_
    assert claim.scope is Scope.ALL_NETWORKS
    assert len(model.generators_) == cells
    assert N * claim.lower == pytest.approx(optimum, abs=1e-7)
    assert N * claim.upper == pytest.approx(optimum, abs=1e-7)
    assert verify(model, S, Y)
    assert model.network_.n_neurons <= N + 1 + 3
    hidden, _ = pooled(np.maximum(windows(S) @ model.network_.weights_in.T, 0))
    np.testing.assert_allclose(hidden, model.transform(S), atol=1e-12)
    descent = best_descent(pooled, 10, 30)
    assert optimum - 1e-6 <= descent <= optimum + 2e-3


def test_section_A3_gated_on_the_sixteen_cells() -> None:
    model = ConvexRegressor(ConvGated(**SIGNAL, pooling="sum"), gates="enumerate", **EXACT)
    claim = model.fit(S, Y).certificate_
    assert len(model.generators_) == 16
    assert N * claim.lower == pytest.approx(0.1045796, abs=1e-7)
    assert N * claim.upper == pytest.approx(0.1045796, abs=1e-7)
    relu = ConvexRegressor(ConvReLU(**SIGNAL, pooling="sum"), gates="enumerate", **EXACT)
    assert claim.upper <= relu.fit(S, Y).certificate_.lower  # gated is a relaxation


def test_section_A5_the_dual_point_touches_the_circle() -> None:
    """max over |u| <= 1 of |sum_k v'(X_k u)_+| is lam, looked at all around the circle."""
    architecture = ConvReLU(**SIGNAL, pooling="sum")
    model = ConvexRegressor(architecture, gates="enumerate", **EXACT).fit(S, Y)
    values = np.maximum(windows(S) @ circle().T, 0).sum(axis=1)
    assert np.abs(N * model.dual_[:, 0] @ values).max() == pytest.approx(LAM, rel=1e-6)


def test_section_0_every_fourth_cell_bounds_the_network_after_scaling() -> None:
    """Few cells: their own optimum, and scaled by the circle's maximum a bound on all networks."""
    architecture = ConvReLU(**SIGNAL, pooling="sum")
    every = ConvexRegressor(architecture, gates="enumerate", **EXACT).fit(S, Y).generators_
    # by angle, as in the notes
    turns = np.argsort(np.arctan2(every[:, 1], every[:, 0]))
    values = np.maximum(windows(S) @ circle().T, 0).sum(axis=1)
    found = []
    for first in range(4):
        model = ConvexRegressor(architecture, gates=every[turns[first::4]], **EXACT).fit(S, Y)
        residual = Y - model.predict(S)
        most = float(np.abs(residual @ values).max())
        scaled = min(1.0, LAM / most) * residual
        bound = float(Y @ Y / 2 - (Y - scaled) @ (Y - scaled) / 2)
        assert model.certificate_.proves(1e-8)
        assert bound <= 0.2868110 + 1e-7 <= N * model.certificate_.lower + 2e-7
        found.append((N * model.certificate_.upper, most, bound))
    assert min(abs(upper - 0.328264) for upper, _, _ in found) < 1e-6
    best = min(found, key=lambda each: abs(each[0] - 0.328264))
    assert best[1] == pytest.approx(0.1518, abs=1e-4)
    assert best[2] == pytest.approx(0.219072, abs=2e-6)  # 0.2190705 with the kinks looked at


def test_section_A1_average_pooling_is_the_sum_over_K() -> None:
    mean = ConvexRegressor(ConvReLU(**SIGNAL), gates="enumerate", **EXACT).fit(3 * S, Y)
    total = ConvexRegressor(ConvReLU(**SIGNAL, pooling="sum"), gates="enumerate", **EXACT).fit(S, Y)
    assert mean.certificate_.upper == pytest.approx(total.certificate_.upper, rel=1e-8)


# the pooled features


@laws
@given(seed=SEEDS, pooling=st.sampled_from(["average", "sum"]))
def test_section_A6_places_vanish_from_the_products(seed: int, pooling: str) -> None:
    """Phi u is the pooled convolution, masked; explicit, implicit, and by row blocks in float32."""
    patches, rng = drawn(seed)
    n, p, outputs = 5, 3, 2
    X = rng.standard_normal((n, patches.pixels))
    rows, pool = patches.rows(X, bias=True), patches.pool(pooling)
    masks = rng.uniform(size=(p, len(rows))) < 0.5
    phi = pooled_factors(rows, masks, pool)
    a, h = patches.n_cells, patches.width + 1
    assert phi.shape == (p, n, a * h)
    u = rng.standard_normal((p, a * h, outputs))
    expected = np.zeros((n, outputs))
    for i in range(p):
        for k in range(patches.count):
            on = masks[i].reshape(n, -1)[:, k, None]
            x = rows.reshape(n, patches.count, h)[:, k]
            cell = patches.cell[k]
            expected += pool[cell, k] * on * (x @ u[i, cell * h : (cell + 1) * h])
    np.testing.assert_allclose(sum(phi[i] @ u[i] for i in range(p)), expected, atol=1e-10)
    implicit = Pooled(rows, masks.T.astype(float), pool, outputs)
    np.testing.assert_allclose(implicit.apply(u), expected, atol=1e-10)
    part = slice(0, 2 * patches.count)
    half = pooled_factors(rows[part].astype(np.float32), masks[:, part], pool)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, phi[:, :2], atol=1e-5 * (1 + np.abs(phi).max()))


@pytest.mark.parametrize("architecture", [ConvReLU, ConvGated])
@pytest.mark.parametrize("pooling", ["average", "sum", "max"])
@pytest.mark.parametrize("cells", [1, (1, 2)])
def test_a_map_too_large_to_be_held_gives_the_same(
    architecture: Any, pooling: str, cells: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 2 * 4 * 4)), rng.standard_normal(8)
    kind = architecture(shape=(2, 4, 4), kernel=2, pooling=pooling, cells=cells)
    words: Any = {"alpha": 0.05, "gates": "sample", "n_gates": 4, "tol": 1e-7, "random_state": 0}
    held = ConvexRegressor(kind, **words).fit(X, y)
    monkeypatch.setattr("cvxnn.architectures.filters._EXPLICIT", 1)
    other = ConvexRegressor(kind, **words).fit(X, y)
    assert other.certificate_.upper == pytest.approx(held.certificate_.upper, rel=1e-6)


@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("cells", [1, 2])
def test_solvers_agree_on_cells_beside_each_other(loss: Any, cells: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10, 4)), np.eye(2)[rng.integers(2, size=10)]
    architecture = ConvGated(shape=(1, 4), kernel=2, cells=cells)
    gates = architecture.source.draw(architecture.features(X), 4, rng)
    words: Any = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    problem = problem_of(architecture, X, y, np.ones(10), loss, gates, **words).at(0.02)
    found = [
        solve(problem.working(), solver, tol=1e-7, judge=problem.judge, max_iter=40_000)
        for solver in (Reference(), FISTA(), Newton(), ADMM(), WorkingSet())
    ]
    optimum = found[0].certificate.upper
    for solution in found:
        assert solution.certificate.proves(1e-7)
        assert solution.certificate.upper == pytest.approx(optimum, rel=1e-6)


# gates


@pytest.mark.parametrize("kind", ["patches", "gaussian", "both"])
def test_section_A6_gates_on_pixels_are_neither_open_nor_shut(kind: str) -> None:
    """On patches without negative entries masks of centred gates vary; those of raw patches not."""
    rng = np.random.default_rng(0)
    rows = patches_of((1, 8, 8), kernel=3).rows(rng.uniform(size=(30, 64)), bias=True)
    gates = PatchGates(9, kind).draw(rows, 40, rng)
    open_share = gates.masks.mean(axis=1)
    assert len(gates) == 40
    assert (open_share > 0.2).all()
    assert (open_share < 0.8).all()
    np.testing.assert_array_equal(gates.generators[:, 9], 0.0)
    np.testing.assert_allclose(gates.generators.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(gates.generators, axis=1), 1.0)
    assert (rows[:40] @ rows[:40].T > 0).all()  # what raw patches would do


def test_gates_on_flat_patches_do_not_hang_on_rounding() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(6, 64))
    X[:3] = rng.uniform(size=(3, 1))  # images of one grey
    architecture = ConvGated(shape=(1, 8, 8), kernel=3)
    rows = architecture.features(X)
    gates = architecture.source.draw(rows, 30, rng)
    flat = architecture.patches.count * 3
    assert gates.masks[:, :flat].all()
    scaled = architecture.source.given((1.1 * rows).astype(np.float32), gates.generators)
    assert scaled.masks[:, :flat].mean() > 0.9  # rounded to float32 flat patches are not quite so


# estimators, files, export


SHAPED = [
    pytest.param(kind, pooling, cells, id=f"{kind.__name__}-{pooling}-{cells}")
    for kind in (ConvReLU, ConvGated)
    for pooling in ("average", "sum", "max")
    for cells in (1, (2, 1))
]


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2, 4, 3)), rng.standard_normal((n, 2))


@pytest.mark.parametrize(("kind", "pooling", "cells"), SHAPED)
def test_what_users_do_with_images(kind: Any, pooling: str, cells: Any, tmp_path: Path) -> None:
    """Images or rows; verify, certify_network, a model file, a clone and torch's own layers."""
    X, y = images(10)
    architecture = kind(shape=(2, 4, 3), kernel=(2, 1), stride=(2, 1), pooling=pooling, cells=cells)
    model = ConvexRegressor(
        architecture, alpha=0.05, gates="sample", n_gates=3, tol=1e-5, random_state=0
    )
    model.fit(X, y)
    rows = X.reshape(len(X), -1)
    np.testing.assert_array_equal(clone(model).fit(rows, y).predict(rows), model.predict(X))
    assert model.certificate_.proves(1e-5)
    assert verify(model, X, y)
    network = model.network_
    m, a = network.n_neurons, network.patches.n_cells
    assert m > 0
    assert network.filters.shape == (m, 2, 2, 1)
    assert network.weights_out.shape == (m, a, 2)
    assert (
        model.transform(X).shape == (len(X), m * a) == (len(X), len(model.get_feature_names_out()))
    )
    own = certify_network(network, X, y, alpha=0.05)
    assert own.upper == pytest.approx(model.certificate_.upper, rel=1e-12)
    assert own.lower <= own.upper
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.architecture_ == architecture
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, y)
    torch = pytest.importorskip("torch")
    module, new = to_torch(model), images(6, seed=1)[0]
    for some in (torch.tensor(new), torch.tensor(new.reshape(6, -1))):
        np.testing.assert_allclose(module(some).detach(), model.predict(new), atol=1e-6)


def test_classes_and_a_pipeline() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 1, 4, 4))
    y = np.array(["a", "b", "c"])[np.argmax(X[:, 0, :3, 0], axis=1)]
    model = ConvexClassifier(ConvGated(shape=(1, 4, 4), kernel=2, cells=2), alpha=1e-3, n_gates=20)
    assert model.fit(X[:, 0], y).score(X, y) > 0.9  # one channel may go without saying
    pipe = make_pipeline(StandardScaler(), model).fit(X.reshape(40, -1), y)
    assert pipe.score(X.reshape(40, -1), y) > 0.9


def test_alpha_max_leaves_no_filter() -> None:
    X, y = images(10)
    for kind in (ConvReLU, ConvGated):
        architecture = kind(shape=(2, 4, 3), kernel=2, cells=(2, 1))
        words: Any = {"gates": "sample", "n_gates": 3, "random_state": 0, "tol": 1e-8}
        largest = ConvexRegressor(architecture, alpha=1e-3, **words).fit(X, y).alpha_max_
        with pytest.warns(UserWarning, match="no neurons"):
            empty = ConvexRegressor(architecture, alpha=1.001 * largest, **words).fit(X, y)
        some = ConvexRegressor(architecture, alpha=0.99 * largest, **words).fit(X, y)
        assert empty.network_.n_neurons == 0 < some.network_.n_neurons


# bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"kernel": 9}, r"reaches over \(9, 9\) and an image of shape \(1, 8, 8\) has \(8, 8\)"),
        ({"kernel": 3, "dilation": 4}, "reaches over"),
        ({"kernel": 2, "padding": 2}, "patches of zeros alone; use less padding"),
        ({"kernel": 3, "cells": 7}, r"\(7, 7\) pooling cells and the filter has \(6, 6\) places"),
        ({"kernel": 0}, "kernel is 0; expected an integer of at least 1"),
        ({"kernel": (3, 3, 3)}, "or 2 of them"),
        ({"kernel": 2.5}, "kernel is 2.5"),
        ({"pooling": "mean"}, "expected one of average, sum, max"),
        ({"rules": "noise"}, "expected one of patches, gaussian, both"),
        ({"shape": (8, 8, 1, 1)}, "expected \\(channels, length\\)"),
        ({"shape": (1, 0, 8)}, "positive integers"),
    ],
)
def test_options_out_of_range_are_said(words: dict[str, Any], said: str) -> None:
    for kind in (ConvReLU, ConvGated):
        with pytest.raises(ValueError, match=said):
            kind(**({"shape": (1, 8, 8)} | words))


def test_images_of_another_shape_are_said() -> None:
    y = np.arange(6.0)
    model = ConvexRegressor(ConvGated(shape=(3, 4, 5), kernel=2), alpha=0.1)
    with pytest.raises(ValueError, match=r"channels last; .* np.moveaxis\(X, -1, 1\)"):
        model.fit(np.ones((6, 4, 5, 3)), y)
    with pytest.raises(ValueError, match=r"expected \(n, \*\(3, 4, 5\)\) or \(n, 60\)"):
        model.fit(np.ones((6, 3, 5, 4)), y)
    with pytest.raises(ValueError, match=r"X has 59 columns and images of shape \(3, 4, 5\)"):
        model.fit(np.ones((6, 59)), y)
    with pytest.raises(ValueError, match="pass the architecture with shape="):
        ConvexRegressor("gated", alpha=0.1).fit(np.ones((6, 4, 5, 3)), y)
    with pytest.raises(ValueError, match="pixels in their places, not directions"):
        ConvexRegressor(ConvGated(shape=(3, 4, 5), kernel=2), alpha=0.1, rank=4).fit(
            np.random.default_rng(0).standard_normal((6, 60)), y
        )


def test_images_of_several_sizes_are_said_and_lists_of_one_size_are_stacked() -> None:
    images = list(np.random.default_rng(0).uniform(size=(6, 3, 4, 5)))
    words: dict[str, Any] = {"alpha": 0.05, "n_gates": 5, "random_state": 0}
    model = ConvexRegressor(ConvGated(shape=(3, 4, 5), kernel=2), **words)
    for mixed in ([*images, images[0][:, :3]], np.array([*images, images[0][0]], dtype=object)):
        with pytest.raises(ValueError, match=r"image 0 has shape .* image 6 has .* to one size"):
            model.fit(mixed, np.arange(7.0))
    listed = model.fit(images, np.arange(6.0)).predict(images)
    np.testing.assert_array_equal(
        listed, model.fit(np.stack(images), np.arange(6.0)).predict(images)
    )


def test_bytes_are_their_numbers() -> None:
    """No range is guessed: bytes train as the floats that they are, and 255 times less is less."""
    rng = np.random.default_rng(0)
    pixels, y = rng.integers(0, 256, (12, 1, 5, 5), dtype=np.uint8), rng.standard_normal(12)
    gates = rng.standard_normal((6, 4))
    words: dict[str, Any] = {"gates": gates, "tol": 1e-8}
    kind = ConvGated(shape=(1, 5, 5), kernel=2, bias=False)
    as_bytes = ConvexRegressor(kind, alpha=1.0, **words).fit(pixels, y)
    as_floats = ConvexRegressor(kind, alpha=1.0, **words).fit(pixels / 1.0, y)
    np.testing.assert_array_equal(as_bytes.predict(pixels), as_floats.predict(pixels / 1.0))
    scaled = ConvexRegressor(kind, alpha=1.0 / 255, **words).fit(pixels / 255, y)
    assert scaled.certificate_.upper == pytest.approx(as_bytes.certificate_.upper, rel=1e-7)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # nothing to learn from
@pytest.mark.parametrize("kind", [ConvReLU, ConvGated])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_of_one_colour(kind: Any, value: float) -> None:
    """Nothing to learn from: the intercept is all there is, and it is proved."""
    X, y = np.full((6, 16), value), np.arange(6.0)
    model = ConvexRegressor(
        kind(shape=(1, 4, 4), kernel=2), alpha=0.1, gates="sample", n_gates=5, random_state=0
    )
    claim = model.fit(X, y).certificate_
    assert claim.proves(1e-4)
    assert claim.upper == pytest.approx(np.var(y) / 2, rel=1e-6)


def test_max_pooling_does_not_grow() -> None:
    model = ConvexRegressor(ConvReLU(shape=(1, 4), kernel=2, pooling="max"), alpha=0.1)
    assert model.fit(S, Y).certificate_.scope is Scope.GIVEN_GATES
    assert isinstance(model._loss(1), Squared)
