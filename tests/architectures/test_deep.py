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
from tests.every import share
from tests.hundred.descent import lowest, relu, sums

from cvxnn import (
    ConvexRegressor,
    DeepGatedReLU,
    DeepLinear,
    DeepNetwork,
    DeepReLU,
    Exactness,
    GatedReLU,
    ReLU,
    Scope,
    Status,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.architectures.paths import lengths, products, shared
from cvxnn.gates import Gates, SubNetworks, enumerate_patterns
from cvxnn.gates.subnetworks import edges_of, units

many = pytest.mark.skipif(share(2) == 2, reason="long descents run with EVERY=1")

D = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 1.0]])
Y = np.array([1.0, -1.5, 2.0])
LAM = 0.2


def fitted(architecture: Any, X: np.ndarray = D, y: np.ndarray = Y, lam: float = LAM, **words: Any):
    words = {"gates": "enumerate", "tol": 1e-9, "fit_intercept": False} | words
    return ConvexRegressor(architecture, alpha=lam / len(X), **words).fit(X, y)


def of_sums(model: Any, n: int = 3) -> tuple[float, float]:
    return n * model.certificate_.lower, n * model.certificate_.upper


def output(X: Any, u: Any, w: Any) -> Any:
    """Sub-networks of three layers, runs first: u (r, k, m, d), w (r, k, m) to (r, k, n)."""
    import torch

    first = relu(torch.tensor(X) @ u.swapaxes(2, 3))
    return relu((first * w[:, :, None, :]).sum(dim=3))


# section 0: what weight decay becomes


DECAYS = {
    "columns of norm one": "path",
    "path": "path",
    "layers of norm one": "layers",
    "cubes": "layers",
}
OPTIMA = {"path": 0.321158, "layers": 0.448328}


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


@pytest.mark.parametrize("form", list(DECAYS)[:: share(4)])
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


# section E: deeper


@pytest.mark.parametrize(("fan_in", "decay"), [((2, 1), "layers"), ((2, 1), "path")])
def test_section_E1_a_layer_of_one_unit_changes_nothing(
    fan_in: tuple[int, ...], decay: str
) -> None:
    """Four layers of widths 2, 1 and 1 have the optimum of three."""
    lower, upper = of_sums(fitted(DeepReLU(bias=False, fan_in=fan_in, decay=decay)))
    assert upper == pytest.approx(OPTIMA[decay], abs=6e-7)
    assert lower == pytest.approx(OPTIMA[decay], abs=6e-7)


@many
def test_section_E1_descents_of_four_layers_end_at_the_bound() -> None:
    """The quartic penalty of layers of widths 2, 1 and 1."""
    torch = pytest.importorskip("torch")

    def quartic(p: dict[str, Any]) -> Any:
        u, w, v, a = (p[name] for name in "uwva")
        norm = torch.linalg.vector_norm
        last = relu(output(D, u, w) * v[:, :, None])
        fit = (last * a[:, :, None]).sum(dim=1)
        sizes = norm(u, dim=(2, 3)) ** 4 + norm(w, dim=2) ** 4 + v**4 + a**4
        return ((fit - torch.tensor(Y)) ** 2).sum(dim=1) / 2 + LAM / 4 * sums(sizes)

    shapes = {"u": (8, 2, 2), "w": (8, 2), "v": (8,), "a": (8,)}
    values = lowest(quartic, shapes, seed=0, steps=2500, rate=0.05)
    lower, _ = of_sums(fitted(DeepReLU(bias=False, fan_in=(2, 1), decay="layers")))
    assert values.min() >= lower * (1 - 1e-9)
    assert values.min() == pytest.approx(OPTIMA["layers"], rel=5e-3)


def test_section_E2_units_used_twice_do_not_shorten_paths() -> None:
    """A first unit that two second ones share is two of its copies: the same path norm."""
    rng = np.random.default_rng(0)
    u, w, v = rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), rng.standard_normal(2)
    shared_norm = np.sqrt(
        sum((np.linalg.norm(u[i]) * w[i, k] * v[k]) ** 2 for i in range(2) for k in range(2))
    )
    edges = np.concatenate([w.T.ravel(), v])[None]
    tree = DeepNetwork(
        weights_in=np.concatenate([u, u])[None],
        weights_hidden=edges,
        weights_out=np.ones((1, 1)),
        intercept=np.zeros(1),
        skip=np.zeros((3, 1)),
        fan_in=np.array([2.0, 2.0]),
        layered=np.zeros(1),
    )
    X = rng.standard_normal((20, 3))
    second = np.maximum(np.maximum(X @ u.T, 0) @ w, 0)
    np.testing.assert_allclose(tree(X)[:, 0], np.maximum(second @ v, 0), atol=1e-14)
    assert tree.weight_decay() == pytest.approx(shared_norm, rel=1e-14)
    assert [each.shape for each in edges_of(edges, (2, 2))] == [(1, 4), (1, 2)]


CHAIN = np.random.default_rng(0)
X3, Y3 = CHAIN.standard_normal((6, 3)), CHAIN.standard_normal((6, 2))


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
def test_section_E7_linear_chains_are_a_nuclear_norm(depth: int) -> None:
    model = fitted(DeepLinear(bias=False, depth=depth), X3, Y3, 0.7, gates="auto")
    lower, upper = of_sums(model, 6)
    assert upper == pytest.approx(2.185996, abs=6e-7)
    assert lower == pytest.approx(2.185996, abs=6e-7)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
    assert verify(model, X3, Y3)
    assert model.network_.weights_hidden.shape == (model.network_.n_neurons, depth - 2)
    reach = np.linalg.norm(X3.T @ model.dual_, 2)  # E.5
    assert reach == pytest.approx(0.7 / 6, rel=1e-6)


@many
def test_section_E7_a_single_chain_has_a_gap() -> None:
    """One chain ends at 2.230611, three beside each other at the bound."""
    torch = pytest.importorskip("torch")

    def chains(p: dict[str, Any]) -> Any:
        fit = (torch.tensor(X3) @ (p["u"] * p["w"][..., None]).swapaxes(1, 2)) @ p["a"]
        norm = torch.linalg.vector_norm
        cubes = norm(p["u"], dim=2) ** 3 + abs(p["w"]) ** 3 + norm(p["a"], dim=2) ** 3
        return sums((fit - torch.tensor(Y3)) ** 2) / 2 + 0.7 / 3 * sums(cubes)

    for count, best in ((1, None), (3, 2.185996)):
        shapes = {"u": (count, 3), "w": (count,), "a": (count, 2)}
        values = lowest(chains, shapes, seed=0, steps=2000, rate=0.05)
        assert values.min() >= 2.1859955
        if best:
            assert values.min() == pytest.approx(best, rel=1e-4)


@many
def test_section_E7_a_single_chain_of_full_layers_is_stuck() -> None:
    torch = pytest.importorskip("torch")

    def chain(p: dict[str, Any]) -> Any:
        fit = torch.tensor(X3) @ p["a"] @ p["b"] @ p["c"]
        norm = torch.linalg.vector_norm
        cubes = sum(norm(each, dim=(1, 2)) ** 3 for each in p.values())
        return sums((fit - torch.tensor(Y3)) ** 2) / 2 + 0.7 / 3 * cubes

    shapes = {"a": (3, 3), "b": (3, 3), "c": (3, 2)}
    values = lowest(chain, shapes, seed=0, steps=3000, rate=0.03)
    assert values.min() == pytest.approx(2.230611, rel=1e-4)


def test_section_E7_orthonormal_columns_have_a_closed_form() -> None:
    """X'X = I: thresholded singular values of X'Y, at any depth."""
    Q = np.linalg.qr(X3)[0]
    left, values, right = np.linalg.svd(Q.T @ Y3, full_matrices=False)
    Z = (left * np.maximum(values - 0.3, 0)) @ right
    optimum = ((Q @ Z - Y3) ** 2).sum() / 2 + 0.3 * np.maximum(values - 0.3, 0).sum()
    model = fitted(DeepLinear(bias=False, depth=5), Q, Y3, 0.3, gates="auto", tol=1e-10)
    assert of_sums(model, 6) == pytest.approx((optimum, optimum), rel=1e-8)
    np.testing.assert_allclose(model.predict(Q), Q @ Z, atol=1e-5)


WHITE = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 4)))[0].T  # XX' = I


def white_optimum(y: np.ndarray, lam: float) -> float:
    """E.7: the parts of either sign, each made shorter by lam."""
    parts = [np.maximum(y, 0), np.maximum(-y, 0)]
    fit = sum(
        sign * max(1 - lam / np.linalg.norm(part), 0) * part
        for sign, part in zip((1, -1), parts, strict=True)
    )
    size = sum(max(np.linalg.norm(part) - lam, 0) for part in parts)
    return float(((fit - y) ** 2).sum() / 2 + lam * size)


@pytest.mark.parametrize("fan_in", [(1,), (2,), (2, 1), (3,), (2, 2)])
def test_section_E7_orthonormal_rows_have_a_closed_form(fan_in: tuple[int, ...]) -> None:
    """1.0822334 under layers at any depth; equal paths count as their root times one longer."""
    y, paths = np.array([2.0, -1.0, 0.5, -0.3]), units(fan_in)[0]
    assert white_optimum(y, 0.4) == pytest.approx(1.0822334, abs=6e-8)
    # the two patterns of the closed form: X'p and -X'q, in every path
    rules = np.zeros((2, paths, 6 + len(fan_in)))
    rules[0, :, :6], rules[1, :, :6] = WHITE.T @ np.sign(y), -(WHITE.T @ np.sign(y))
    rules[:, :, 6:] = 1.0
    for decay, root in (("layers", 1.0), ("path", paths**-0.5)):
        model = fitted(DeepReLU(bias=False, fan_in=fan_in, decay=decay), WHITE, y, 0.4, gates=rules)
        optimum = white_optimum(y, 0.4 * root)
        assert 4 * model.certificate_.lower == pytest.approx(optimum, rel=1e-6)
        if model.certificate_.exactness is Exactness.EXACT:
            assert 4 * model.certificate_.upper == pytest.approx(optimum, rel=1e-6)


def test_section_E7_classes_have_a_closed_form() -> None:
    """One unit a class: 0.9328203 for class counts 3 and 1."""
    labels = np.eye(2)[[0, 0, 0, 1]]
    rules = np.zeros((2, 2, 7))
    rules[:, :, :6], rules[:, :, 6] = ((2 * labels - 1).T @ WHITE)[:, None, :], 1.0
    model = fitted(DeepReLU(bias=False, decay="layers"), WHITE, labels, 0.4, gates=rules)
    assert of_sums(model, 4) == pytest.approx((0.9328203, 0.9328203), abs=3e-7)


# what deep networks are used with


@pytest.mark.parametrize("architecture", [DeepReLU(), DeepGatedReLU(), DeepLinear()])
def test_a_network_is_judged_as_one_from_elsewhere(architecture: Any) -> None:
    words = {"lam": 0.05, "fit_intercept": True, "n_gates": 12, "random_state": 0}
    drawn = "auto" if isinstance(architecture, DeepLinear) else "sample"
    model = fitted(architecture, gates=drawn, **words)
    found = certify_network(model.network_, D, Y, alpha=0.05 / 3)
    assert found.upper == pytest.approx(model.certificate_.upper, rel=1e-12)
    assert found.lower <= found.upper
    assert found.exactness is architecture.exactness
    assert architecture.of(model.network_) == architecture


def test_one_path_and_no_branches_is_a_two_layer_network() -> None:
    """A chain of positive parts is one ReLU neuron."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    two = fitted(ReLU(bias=False), X, y)
    deep = fitted(DeepReLU(bias=False, fan_in=(1, 1)), X, y)
    assert deep.certificate_.upper == pytest.approx(two.certificate_.upper, rel=1e-8)


def test_gated_networks_of_one_path_are_two_layer_ones() -> None:
    """Where the gates of the layers above are open, those of the first layer decide."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
    rules = rng.standard_normal((5, 1, 3))
    rules[:, :, 2] = 1.0
    deep = fitted(DeepGatedReLU(bias=False, fan_in=(1,)), X, y, gates=rules)
    flat = fitted(GatedReLU(bias=False), X, y, gates=rules[:, 0, :2])
    assert deep.certificate_.upper == pytest.approx(flat.certificate_.upper, rel=1e-8)
    np.testing.assert_allclose(deep.predict(X), flat.predict(X), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fan_in": ()}, r"fan_in is \(\); expected a tuple of positive integers"),
        ({"fan_in": (2, 0)}, r"fan_in is \(2, 0\)"),
        ({"fan_in": 2}, "fan_in is 2"),
        ({"decay": "squares"}, "decay is 'squares'; expected 'path'"),
    ],
)
@pytest.mark.parametrize("kind", [DeepReLU, DeepGatedReLU])
def test_options_that_make_no_sense_are_refused(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.parametrize("depth", [1, 2.5, True])
def test_a_depth_that_is_none_is_refused(depth: Any) -> None:
    with pytest.raises(ValueError, match="expected an integer of at least 2"):
        DeepLinear(depth=depth)


def test_generators_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(3, 2\); expected \(p, 2, 3\)"):
        fitted(DeepReLU(bias=False), gates=np.ones((3, 2)))


def test_patterns_that_are_too_many_are_refused_before_any_search() -> None:
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises(ValueError, match="use gates='sample', or fewer samples"):
        fitted(DeepReLU(), X, X[:, 0])
