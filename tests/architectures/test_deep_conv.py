"""Three-layer convolutional networks: section C of the formulation notes, CVXPY, descents.

The notes sum losses and the library means them: a sum's strength is n times alpha.
"""

from itertools import product
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from tests.every import numbers, share
from tests.hundred.descent import lowest, relu, sums
from tests.hundred.oracles import optimum

from cvxnn import (
    ConvexRegressor,
    DeepConvGated,
    DeepConvReLU,
    Exactness,
    Scope,
    Status,
    certify_network,
    enumerate_patterns,
    load,
    save,
    verify,
)
from cvxnn.architectures import in_places
from cvxnn.export import to_torch
from cvxnn.gates import Gates

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Solution may be inaccurate"),  # Clarabel, asked for 1e-10
]

S = np.array([[1.0, 2, -1], [0, -1, 2], [-2, 1, 1]])
Y = np.array([1.0, -1.5, 2.0])
LAM = 0.2
OPTIMA = {"printed": 0.322538, "shared": 0.328429, "own": 0.279570}
"""Section C.2: Frobenius norm of shared patterns; nuclear norm; a pattern for every place."""
WORDS = {"printed": {"decay": "printed"}, "shared": {}, "own": {"tied": False}}


def signal(form: str) -> DeepConvReLU:
    return DeepConvReLU(shape=(1, 3), kernel=2, bias=False, **WORDS[form])


def fitted(architecture: Any, X: np.ndarray = S, y: np.ndarray = Y, lam: float = LAM, **words: Any):
    words = {"gates": "enumerate", "tol": 1e-8, "fit_intercept": False} | words
    return ConvexRegressor(architecture, alpha=lam / len(X), **words).fit(X, y)


def of_sums(model: Any) -> tuple[float, float]:
    n = len(model.dual_)
    return n * model.certificate_.lower, n * model.certificate_.upper


def value(model: Any, X: np.ndarray, y: np.ndarray, lam: float) -> float:
    """The sum's objective, with a weight decay of the test's own."""
    network = model.network_
    inner = np.linalg.norm(network.weights_in, axis=2) * network.weights_hidden
    decay = (np.linalg.norm(inner, axis=1) * np.abs(network.weights_out[:, 0])).sum()
    return float(((model.predict(X) - y) ** 2).sum() / 2 + lam * decay)


def windows(X: np.ndarray) -> list[np.ndarray]:
    """The patches (n, 2) of every place."""
    return [X[:, k : k + 2] for k in range(X.shape[1] - 1)]


# section C


@pytest.mark.parametrize("form", ["shared", "own"])
def test_section_C_optima_are_attained(form: str) -> None:
    model = fitted(signal(form))
    lower, upper = of_sums(model)
    assert lower == pytest.approx(OPTIMA[form], abs=6e-7)
    assert upper == pytest.approx(OPTIMA[form], abs=6e-7)
    assert lower <= upper == pytest.approx(value(model, S, Y, LAM), rel=1e-12)
    claim = model.certificate_
    assert claim.scope is Scope.ALL_NETWORKS
    assert claim.exactness is (Exactness.EXACT if form == "own" else Exactness.RELAXATION)
    assert verify(model, S, Y)


def test_section_C_the_printed_program_is_below_every_network() -> None:
    """Its active blocks have two singular values: what no shared filter makes."""
    model = fitted(signal("printed"))
    lower, upper = of_sums(model)
    assert lower == pytest.approx(OPTIMA["printed"], abs=6e-7)
    assert upper > OPTIMA["shared"]
    assert model.certificate_.exactness is Exactness.RELAXATION
    assert model.solution_.status is Status.BEST_FOUND
    assert np.linalg.svd(matrices(model), compute_uv=False)[:, 1].max() > 0.01


def test_section_C_blocks_of_the_nuclear_norm_have_rank_one() -> None:
    sizes = np.linalg.svd(matrices(fitted(signal("shared"))), compute_uv=False)
    assert sizes[:, 0].max() > 0.05
    assert sizes[:, 1].max() < 1e-6


def matrices(model: Any) -> np.ndarray:
    """C (h, K) of every block of one output."""
    blocks = model.solution_.iterate.blocks[:, :, 0]
    return blocks.reshape(len(blocks), 2, 2).swapaxes(1, 2)


def patterns(X: np.ndarray, joint: bool) -> list[Any]:
    """(first masks, signs, second mask): every first pattern with all 2^n second ones."""
    views = windows(X)
    if joint:
        masks = enumerate_patterns(np.stack(views, axis=1).reshape(-1, 2)).masks
        first = [mask.reshape(len(X), -1).T for mask in masks]
    else:
        first = [list(each) for each in product(*(enumerate_patterns(x).masks for x in views))]
    signs = list(product([1.0, -1.0], repeat=len(views)))
    second = list(product([False, True], repeat=len(X)))
    return list(product(first, signs, map(np.array, second)))


def program(X: np.ndarray, y: np.ndarray, lam: float, form: str) -> float:
    """Section C.2 in CVXPY; most of the second patterns are infeasible, and zero."""
    views, fit, size, rules = windows(X), 0, 0, []
    for first, signs, second in patterns(X, form != "own"):
        for side in (1.0, -1.0):
            C = cp.Variable((2, len(views)))
            inner = [mask[:, None] * x for mask, x in zip(first, views, strict=True)]
            total = sum(A @ C[:, k] for k, A in enumerate(inner))
            fit = fit + side * cp.multiply(1.0 * second, total)
            size = size + (cp.normNuc(C) if form == "shared" else cp.norm(C, "fro"))
            rules.append(cp.multiply(2.0 * second - 1, total) >= 0)
            for k, (mask, s, x) in enumerate(zip(first, signs, views, strict=True)):
                rules.append(cp.multiply(s * (2.0 * mask - 1), x @ C[:, k]) >= 0)
    return optimum(cp.sum_squares(fit - y) / 2 + lam * size, rules)


@pytest.mark.filterwarnings("ignore:.*too many subexpressions")
@pytest.mark.skipif(share(2) == 2, reason="all second patterns take long; run with EVERY=1")
@pytest.mark.parametrize("form", OPTIMA)
def test_section_C_every_second_pattern_by_brute_force(form: str) -> None:
    assert program(S, Y, LAM, form) == pytest.approx(OPTIMA[form], abs=6e-7)


def output(views: list[np.ndarray], p: dict[str, Any]) -> Any:
    """The network of runs (r, m, filters, 2), one filter for all places or one each."""
    import torch

    filters = p["u"].shape[2]
    first = [
        relu(torch.tensor(x) @ p["u"][:, :, k % filters].swapaxes(1, 2)) * p["w"][:, None, :, k]
        for k, x in enumerate(views)
    ]
    return (relu(sum(first)) * p["a"][:, None, :]).sum(dim=2)


@pytest.mark.parametrize("form", ["shared", "own"])
def test_section_C_descents_end_at_the_bound(form: str) -> None:
    """Filters of norm one and squares of both other layers: none below, the best close."""
    torch = pytest.importorskip("torch")

    def objective(p: dict[str, Any]) -> Any:
        u = p["u"] / torch.linalg.vector_norm(p["u"], dim=3, keepdim=True)
        fit = output(windows(S), p | {"u": u})
        squares = sums(p["w"] ** 2) + sums(p["a"] ** 2)
        return ((fit - torch.tensor(Y)) ** 2).sum(dim=1) / 2 + LAM / 2 * squares

    few = share(2) == 2
    shapes = {"u": (6, 1 if form == "shared" else 2, 2), "w": (6, 2), "a": (6,)}
    values = lowest(objective, shapes, seed=0, steps=300 if few else 2000, rate=0.05)
    assert values.min() >= of_sums(fitted(signal(form)))[0] * (1 - 1e-9)
    assert values.min() == pytest.approx(OPTIMA[form], rel=3e-2 if few else 1e-3)


def test_section_C5_the_dual_bounds_every_normalised_unit() -> None:
    """|v'f(X)| <= alpha over unit filters and unit weights of places, and nearly attained."""
    rng = np.random.default_rng(0)
    for form in ("shared", "own"):
        model = fitted(signal(form))
        filters = rng.standard_normal((20_000, 1 if form == "shared" else 2, 2))
        filters /= np.linalg.norm(filters, axis=2, keepdims=True)
        weights = rng.standard_normal((20_000, 2))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        first = [
            np.maximum(x @ filters[:, k % filters.shape[1]].T, 0) * weights[:, k]
            for k, x in enumerate(windows(S))
        ]
        reach = np.abs(np.maximum(sum(first), 0).T @ model.dual_[:, 0]).max() * 3 / LAM
        assert 0.9 < reach <= 1 + 1e-6


# against Clarabel on random problems


def by_masks(model: Any, X: np.ndarray, y: np.ndarray, lam: float, form: str) -> float:
    """The program on the model's own gates, masks and cones by hand, in CVXPY."""
    kind, views = model.architecture_, windows(X)
    n, K = len(X), len(views)
    gated = isinstance(kind, DeepConvGated)
    fit, size, rules = 0, 0, []
    for generator in model.generators_:
        first = [x @ g[:2] for x, g in zip(views, generator, strict=True)]
        second = sum(np.maximum(f, 0) * g[2] for f, g in zip(first, generator, strict=True)) >= 0
        bits = [f >= 0 for f in first]
        for side in (1.0,) if gated else (1.0, -1.0):
            C = cp.Variable((2, K))
            terms = [
                cp.multiply(1.0 * on, x @ C[:, k])
                for k, (on, x) in enumerate(zip(bits, views, strict=True))
            ]
            total = sum(terms)
            fit = fit + side * cp.multiply(1.0 * second, total)
            nuclear = kind.tied and form != "printed"
            size = size + (cp.normNuc(C) if nuclear else cp.norm(C, "fro"))
            if not gated:
                rules.append(cp.multiply(2.0 * second - 1, total) >= 0)
                for k, (on, x) in enumerate(zip(bits, views, strict=True)):
                    s = np.where(generator[k, 2] > 0, 1.0, -1.0)
                    rules.append(cp.multiply(s * (2.0 * on - 1), x @ C[:, k]) >= 0)
    return optimum(cp.sum_squares(fit - y) / (2 * n) + lam * size, rules)


RANDOM = ["printed", "shared", "own", "gated shared", "gated own"]


@pytest.mark.filterwarnings("ignore:alpha is")  # above the largest, where nothing is optimal
@pytest.mark.parametrize("form", RANDOM)
def test_random_problems_agree_with_clarabel(form: str) -> None:
    for number in numbers(40):
        rng = np.random.default_rng([31, number])
        n, K, alpha = int(rng.integers(3, 8)), int(rng.integers(2, 4)), 10 ** rng.uniform(-2.5, -1)
        X, y = rng.standard_normal((n, K + 1)), rng.standard_normal(n)
        words: Any = {"shape": (1, K + 1), "kernel": 2, "bias": False}
        gated = form.startswith("gated")
        words |= {"tied": "own" not in form} | ({"decay": "printed"} if form == "printed" else {})
        kind = DeepConvGated(**words) if gated else DeepConvReLU(**words)
        inner = rng.standard_normal((6, 1 if kind.tied else K, 2)) + np.zeros((6, K, 2))
        rules = np.concatenate([inner, rng.standard_normal((6, K, 1))], axis=2)
        model = fitted(kind, X, y, alpha * n, gates=rules)
        least, claim = by_masks(model, X, y, alpha, form), model.certificate_
        assert claim.lower == pytest.approx(least, rel=1e-6)
        assert verify(model, X, y)
        upper = value(model, X, y, alpha * n) / n
        assert claim.upper == pytest.approx(upper, rel=1e-10)
        if claim.exactness is Exactness.RELAXATION:
            assert claim.upper >= least * (1 - 1e-8)  # the oracle's last digits
            continue
        assert claim.upper == pytest.approx(least, rel=1e-6)
        there_and_back(model, X)


def there_and_back(model: Any, X: np.ndarray) -> None:
    """The network of blocks, and its blocks: the same fit and the same objective."""
    kind, features = model.architecture_, model.architecture_.features(X)
    gates, network = kind.source.given(features, model.generators_), model.network_
    blocks = kind.unlift(network, gates, features)
    fit = kind.lift(features, gates, 1).apply(blocks)
    np.testing.assert_allclose(fit, network(X) - network.intercept, atol=1e-10)
    size = kind.penalty(1.0, 1).value(blocks)
    assert size == pytest.approx(network.weight_decay(), rel=1e-9)


def test_tied_filters_of_an_own_pattern_are_kept() -> None:
    """A network of one filter a pattern is a feasible point on its gates, at its objective."""
    kept = 0
    for number in numbers(40):
        rng = np.random.default_rng([32, number])
        X = rng.standard_normal((6, 4))
        kind = DeepConvReLU(shape=(1, 4), kernel=2, bias=False)
        arrays = {
            "weights_in": rng.standard_normal((4, 1, 2)),
            "weights_hidden": rng.standard_normal((4, 3)),
            "weights_out": rng.standard_normal((4, 1)),
            "intercept": np.zeros(1),
            "skip": np.zeros((4, 1)),
        }
        network, features = kind.network(arrays), kind.features(X)
        gates = kind.source.given(features, network.rules)
        blocks = kind.unlift(network, gates, features)
        fit = kind.lift(features, gates, 1).apply(blocks)
        np.testing.assert_allclose(fit, network(X), atol=1e-10)
        if np.count_nonzero(blocks.any(axis=(1, 2))) < network.n_neurons:
            continue  # the sum of two filters of one pattern is none
        kept += 1
        again = kind.recover(gates, blocks, np.zeros(1), np.zeros((4, 1)), features)
        np.testing.assert_allclose(again(X), network(X), atol=1e-8)
        assert again.weight_decay() == pytest.approx(network.weight_decay(), rel=1e-9)
        sizes = kind.penalty(1.0, 1).value(blocks)
        assert sizes == pytest.approx(network.weight_decay(), rel=1e-9)
    assert kept >= len(numbers(40)) / 2


# what users do


KINDS = [DeepConvReLU, DeepConvGated]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_users_do_with_images(kind: Any, tied: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 2, 2, 2)), rng.standard_normal((8, 2))
    architecture = kind(shape=(2, 2, 2), kernel=(2, 1), tied=tied)
    model = ConvexRegressor(
        architecture, alpha=0.05, gates="sample", n_gates=3, tol=1e-4, random_state=0
    )
    model.fit(X, y)
    network, claim = model.network_, model.certificate_
    assert in_places(architecture)
    assert network.weights_in.shape[1:] == (1 if tied else 2, 5)
    expected = Scope.SEPARATE_OUTPUTS if tied or kind is DeepConvReLU else Scope.GIVEN_GATES
    assert claim.scope is expected
    assert verify(model, X, y)
    assert certify_network(network, X, y, alpha=0.05).upper == pytest.approx(claim.upper, rel=1e-12)
    same = architecture.of(network)
    assert (same.patches, same.tied, same.bias) == (architecture.patches, tied, True)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.architecture_ == architecture
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert verify(again, X, y)
    torch = pytest.importorskip("torch")
    module, new = to_torch(model), rng.standard_normal((5, 2, 2, 2))
    for some in (torch.tensor(new), torch.tensor(new.reshape(5, -1))):
        np.testing.assert_allclose(module(some).detach(), model.predict(new), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_what_is_held_is_what_was_predicted(kind: Any, tied: bool) -> None:
    rng = np.random.default_rng(0)
    architecture = kind(shape=(1, 6, 6), kernel=3, stride=3, tied=tied)
    features = architecture.features(rng.standard_normal((30, 36)))
    gates: Gates = architecture.source.draw(features, 10, rng)
    (n, d), p = features.shape, len(gates)
    sizes = architecture.sizes(n, d, p, 2)
    lift = architecture.lift(features, gates, 2)
    cones = architecture.constraint(features, gates, 2)
    assert sizes.blocks == np.prod(lift.in_shape)
    held = lift.factors.size + (0 if cones is None else cones.map.matrices.size)
    assert held <= sizes.lift <= 4 * held
    assert sizes.rows == (0 if cones is None else np.prod(cones.map.out_shape))


def test_rounding_does_not_move_patterns_of_constant_patches() -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.uniform(size=(12, 1)), 36, axis=1)
    for tied in (True, False):
        kind = DeepConvGated(shape=(1, 6, 6), kernel=3, stride=3, tied=tied)
        features = kind.features(X)
        masks = kind.source.draw(features, 20, rng).masks
        assert (masks == masks[:, :1]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"decay": "layers"}, "decay is 'layers'; expected 'path' or 'printed'"),
        ({"decay": "printed", "tied": False}, "the printed program is exact: use decay='path'"),
        ({"tied": 1}, "tied is 1; expected True"),
        ({"kernel": 9}, "the filter reaches over"),
        ({"rules": "any"}, "rules is 'any'"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepConvReLU(**{"shape": (1, 8, 8)} | words)


def test_patterns_that_are_too_many_are_refused_before_any_search() -> None:
    X = np.random.default_rng(0).standard_normal((30, 6))
    kind = DeepConvReLU(shape=(1, 6), kernel=2, tied=False)
    with pytest.raises(ValueError, match="use gates='sample', or fewer samples"):
        fitted(kind, X, X[:, 0])
