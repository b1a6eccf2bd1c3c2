"""Deep parallel networks against the numbers of the formulation notes, sections 0, D and E.

The notes sum losses and the library means them: a sum's strength is n times alpha.
"""

from itertools import product
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import block_diag
from tests.architectures.deep import LAM, OPTIMA, D, Y, fitted, many, of_sums, output
from tests.hundred.descent import lowest, sums

from cvxnn import (
    DeepGatedReLU,
    DeepNetwork,
    DeepReLU,
    Exactness,
    Scope,
    Status,
    load,
    save,
    verify,
)
from cvxnn.architectures.paths import lengths, products, shared
from cvxnn.gates import Gates, SubNetworks, enumerate_patterns
from cvxnn.gates.subnetworks import units

# section 0: what weight decay becomes


DECAYS = {
    "columns of norm one": "path",
    "path": "path",
    "layers of norm one": "layers",
    "cubes": "layers",
}


def objective(form: str, p: dict[str, Any]) -> Any:
    """Half squares + the penalty of a form, of six sub-networks of two first units."""
    import torch

    u, w, a = p["u"], p["w"], p["a"]
    if form == "columns of norm one":
        u = u / torch.linalg.vector_norm(u, dim=3, keepdim=True)
    if form == "layers of norm one":
        u = u / torch.linalg.vector_norm(u, dim=(2, 3), keepdim=True)
    norm = torch.linalg.vector_norm
    if form == "path":
        penalty = LAM * sums(norm(norm(u, dim=3) * w, dim=2) * abs(a))
    elif form == "cubes":
        penalty = LAM / 3 * sums(norm(u, dim=(2, 3)) ** 3 + norm(w, dim=2) ** 3 + abs(a) ** 3)
    else:
        penalty = LAM / 2 * (sums(w**2) + sums(a**2))
    if form == "squares":
        penalty = LAM / 2 * (sums(u**2) + sums(w**2) + sums(a**2))
    fit = (output(D, u, w) * a[:, :, None]).sum(dim=1)
    return ((fit - torch.tensor(Y)) ** 2).sum(dim=1) / 2 + penalty


def descended(form: str) -> np.ndarray:
    shapes = {"u": (6, 2, 2), "w": (6, 2), "a": (6,)}
    return lowest(lambda p: objective(form, p), shapes, seed=0, steps=1500, rate=0.05)


@many
@pytest.mark.parametrize("form", DECAYS)
def test_section_0_and_D_descents_end_at_the_bound(form: str) -> None:
    """Twenty descents on four weight decays: none below, the best at the notes' optimum."""
    pytest.importorskip("torch")
    lower, _ = of_sums(fitted(DeepReLU(bias=False, decay=DECAYS[form])))
    values = descended(form)
    assert values.min() >= lower * (1 - 1e-9)
    assert values.min() == pytest.approx(OPTIMA[DECAYS[form]], rel=1e-3)


@many
def test_section_0_squares_of_all_layers_are_another_model() -> None:
    pytest.importorskip("torch")
    assert descended("squares").min() == pytest.approx(0.647205, rel=1e-3)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_section_0_powers_of_layers_are_their_product(depth: int) -> None:
    """lam / L times the sum of L-th powers is lam times the product, where all are equal."""
    sizes = np.exp(np.random.default_rng(0).standard_normal((1000, depth)))
    powers = (sizes**depth).mean(axis=1)
    assert (powers >= sizes.prod(axis=1) * (1 - 1e-12)).all()
    even = np.full(depth, sizes[0].prod() ** (1 / depth))
    assert (even**depth).mean() == pytest.approx(sizes[0].prod(), rel=1e-12)


@pytest.mark.parametrize("fan_in", [(3,), (2, 1), (2, 3), (3, 2, 2)])
def test_section_D4_layers_share_a_product_best(fan_in: tuple[int, ...]) -> None:
    """Products along paths are kept; no other weights have layers of a smaller product."""
    rng, paths = np.random.default_rng(1), units(fan_in)[0]
    columns = rng.standard_normal((5, paths, 2)) * (rng.uniform(size=(5, paths, 1)) < 0.8)
    columns[0] = 0
    columns[0, 0] = 1.0
    for by_layers in (False, True):
        found = shared(columns, fan_in, by_layers)
        network = DeepNetwork(
            weights_in=found.inner,
            weights_hidden=np.concatenate(found.edges, axis=1),
            weights_out=found.roots,
            intercept=np.zeros(1),
            skip=np.zeros((2, 1)),
            fan_in=np.array(fan_in, dtype=float),
            layered=np.array([float(by_layers)]),
        )
        np.testing.assert_allclose(products(network) * found.roots[:, :, None], columns, atol=1e-12)
        np.testing.assert_allclose(network.lengths, found.roots[:, 0], rtol=1e-12)
        if not by_layers:
            norms = np.linalg.norm(columns, axis=(1, 2))
            np.testing.assert_allclose(network.lengths**2, norms, rtol=1e-12)
            continue
        for _ in range(50):  # any positive factors of the weights, undone by those below
            moved = [each * np.exp(0.3 * rng.standard_normal(each.shape)) for each in found.edges]
            edges = np.concatenate(moved, axis=1)
            ratio = np.prod(
                [
                    np.repeat(
                        np.where(old > 0, new / np.where(old > 0, old, 1), 1),
                        paths // old.shape[1],
                        axis=1,
                    )
                    for new, old in zip(moved, found.edges, strict=True)
                ],
                axis=0,
            )
            other = {"weights_in": found.inner / ratio[:, :, None], "weights_hidden": edges}
            again = DeepNetwork(**(vars(network) | other))
            np.testing.assert_allclose(products(again), products(network), atol=1e-12)
            assert (lengths(again) >= network.lengths * (1 - 1e-12)).all()


# section D: three layers


@pytest.mark.parametrize("decay", OPTIMA)
def test_section_D8_optima(decay: str) -> None:
    """The notes' optima, certified over all networks; six sub-networks do, four are enough."""
    model = fitted(DeepReLU(bias=False, decay=decay))
    lower, upper = of_sums(model)
    assert lower <= upper
    assert upper == pytest.approx(OPTIMA[decay], abs=6e-7)
    assert upper - lower <= 2e-7 * upper
    claim = model.certificate_
    assert (claim.scope, claim.exactness) == (Scope.ALL_NETWORKS, Exactness.EXACT)
    assert model.solution_.status is Status.OPTIMAL
    assert verify(model, D, Y)
    decay_of = model.network_.weight_decay()
    mean = ((model.predict(D) - Y) ** 2).mean() / 2 + LAM / 3 * decay_of
    assert claim.upper == pytest.approx(mean, rel=1e-12)


def program(masks: list[Any], columns: bool) -> float:
    """Section D.2 in CVXPY, from the units' bits by hand: every (pattern, signs, output sign)."""
    lift, cones = [], []
    for bits in masks:
        first, last, signs = bits[:, :2], bits[:, 2], 2.0 * bits[0, 3:] - 1
        inner = [first[:, [j]] * D for j in range(2)]
        lift.append(last[:, None] * np.column_stack(inner))
        own = [(signs[j] * (2.0 * first[:, [j]] - 1)) * D for j in range(2)]
        cones += [block_diag(*own), (2.0 * last[:, None] - 1) * np.column_stack(inner)]
    p = len(masks)
    blocks = [cp.Variable((p, 4)) for _ in range(2)]
    A, C = np.concatenate(lift, axis=1), block_array_of(cones)
    flat = [cp.vec(each, order="C") for each in blocks]
    parts = [each[:, k : k + 2] for each in blocks for k in (0, 2)] if columns else blocks
    size = sum(cp.sum(cp.norm(part, 2, axis=1)) for part in parts)
    cost = cp.sum_squares(A @ (flat[0] - flat[1]) - Y) / 2 + LAM * size
    problem = cp.Problem(cp.Minimize(cost), [C @ each >= 0 for each in flat])
    return float(problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10))


def block_array_of(cones: list[Any]) -> Any:
    """The cones of every block, two arrays of rows each, one under the other."""
    pairs = zip(cones[::2], cones[1::2], strict=True)
    return sparse.block_diag([np.concatenate(pair) for pair in pairs], format="csr")


@pytest.mark.parametrize("decay", OPTIMA)
def test_section_D2_every_pattern_by_brute_force(decay: str) -> None:
    """All 8 second patterns for all pairs of first ones and signs, most infeasible: no lower."""
    first = [mask for mask in enumerate_patterns(D).masks if mask.any()]
    masks = [
        np.column_stack([*pair, last, *(np.full(3, sign) for sign in signs)])
        for i, one in enumerate(first)
        for pair in [(one, other) for other in first[i:]]
        for last in product([False, True], repeat=3)
        for signs in product([False, True], repeat=2)
    ]
    optimum = program(masks, decay == "layers")
    model = fitted(DeepReLU(bias=False, decay=decay))
    assert model.certificate_.upper * 3 == pytest.approx(optimum, rel=1e-6)


def test_section_D2_sampling_finds_no_other_patterns() -> None:
    """Enumerated patterns are those that many draws find, up to the order of a sum."""

    def plain(gates: Gates) -> set[Any]:
        alive = gates.masks[gates.masks[:, :, :2].any(axis=1).all(axis=1)]
        return {
            (tuple(sorted((*m[:, j], m[0, 3 + j]) for j in range(2))), tuple(m[:, 2]))
            for m in alive.tolist() and alive
        }

    source = SubNetworks((2,))
    drawn = source.draw(D, 20_000, np.random.default_rng(0))
    assert plain(source.every(D)) == plain(drawn)


def test_section_D3_gated_layers_are_two_layers_with_products_of_masks() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    words = {"gates": "sample", "n_gates": 8, "random_state": 0, "lam": 0.3}
    deep = fitted(DeepGatedReLU(bias=False, decay="layers"), X, y, **words)
    masks = deep.architecture_.source.given(X, deep.generators_).masks
    columns = np.unique(masks.transpose(0, 2, 1).reshape(-1, 12), axis=0)
    fit, size = 0, 0
    for mask in columns[columns.any(axis=1)]:
        u = cp.Variable(3)
        fit, size = fit + cp.multiply(1.0 * mask, X @ u), size + cp.norm(u, 2)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(fit - y) / 2 + 0.3 * size))
    optimum = problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10)
    assert of_sums(deep, 12) == pytest.approx((optimum, optimum), rel=1e-6)
    assert deep.certificate_.exactness is Exactness.GATED


def test_section_D5_the_dual_bounds_every_normalised_sub_network() -> None:
    """|v'F(X)| <= alpha over units of the weight decay, and alpha is attained."""
    rng = np.random.default_rng(0)
    for decay in OPTIMA:
        model = fitted(DeepReLU(bias=False, decay=decay))
        u, w = rng.standard_normal((20_000, 2, 2)), rng.standard_normal((20_000, 2))
        sizes = np.linalg.norm(u, axis=2) * abs(w)
        size = sizes.sum(axis=1) if decay == "layers" else np.linalg.norm(sizes, axis=1)
        first = np.maximum(D @ u.swapaxes(1, 2), 0)
        found = np.maximum((first * w[:, None, :]).sum(axis=2), 0) @ model.dual_[:, 0]
        reach = np.abs(found / size).max() * 3 / LAM
        assert 0.9 < reach <= 1 + 1e-6


@pytest.mark.parametrize("fan_in", [(2,), (1, 2), (2, 2)])
@pytest.mark.parametrize("decay", ["printed", "layers"])
def test_section_D_the_relaxation_is_never_called_exact(
    fan_in: tuple[int, ...], decay: str, tmp_path: Path
) -> None:
    """Its bound holds for networks under the product of layers; its network has its own value."""
    architecture = DeepReLU(bias=False, fan_in=fan_in, decay=decay)
    if decay == "layers" and fan_in == (2,):
        assert architecture.exactness is Exactness.EXACT
        return
    model = fitted(architecture, gates="sample", n_gates=60, random_state=0)
    claim = model.certificate_
    assert claim.exactness is Exactness.RELAXATION
    assert "lower bound" in claim.summary()
    assert (model.solution_.status is Status.OPTIMAL) == claim.proves(1e-9)
    assert 3 * claim.lower <= OPTIMA["layers"] * (1 + 1e-6)
    value = ((model.predict(D) - Y) ** 2).mean() / 2 + LAM / 3 * model.network_.weight_decay()
    assert claim.upper == pytest.approx(value, rel=1e-12)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.certificate_ == claim
    assert verify(again, D, Y)


def test_section_D_the_printed_program_is_lower_than_any_network() -> None:
    claim = fitted(DeepReLU(bias=False, decay="printed")).certificate_
    assert 3 * claim.lower == pytest.approx(OPTIMA["path"], abs=6e-7)
    assert 3 * claim.upper >= OPTIMA["layers"]
    assert claim.relative_gap > 0.2
