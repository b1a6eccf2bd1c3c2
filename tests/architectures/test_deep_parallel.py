"""Deeper parallel networks and linear chains, section E of the formulation notes."""

from typing import Any

import numpy as np
import pytest
from tests.architectures.deep import LAM, OPTIMA, D, Y, fitted, many, of_sums, output
from tests.every import numbers
from tests.hundred.deep import SYSTEMS
from tests.hundred.descent import lowest, relu, sums
from tests.hundred.networks import drawn, objective, parameters_of, problem_on
from tests.hundred.networks import fitted as hundredth

from cvxnn import (
    DeepGatedReLU,
    DeepLinear,
    DeepNetwork,
    DeepReLU,
    Exactness,
    GatedReLU,
    ReLU,
    Scope,
    certify_network,
    verify,
)
from cvxnn.gates.subnetworks import edges_of, units

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


# acceptance: program and network are one, to the last digits


DEPTHS = [
    "D deep of three layers",
    "E deep of four layers",
    "D deep_gated of three layers",
    "E deep_gated of four layers",
]


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # some have no neurons
@pytest.mark.parametrize("name", DEPTHS)
def test_program_and_network_agree_to_eight_digits(name: str) -> None:
    """At the blocks of a solution, and after recover, unlift and recover: of 100 problems."""
    faults = {number: found for number in numbers(100) if (found := apart(name, number))}
    assert faults == {}


def apart(name: str, number: int) -> dict[str, float]:
    """By how much program and network differ, beside their size, where it is more than 1e-8."""
    system = SYSTEMS[name]
    data = drawn(system, number)
    model = hundredth(system, data, number)
    problem, network = problem_on(data, model.generators_), model.network_
    program, architecture, features = problem.program, data.architecture, data.features
    blocks = model.solution_.iterate.blocks
    there = architecture.unlift(network, problem.gates, features)
    again = architecture.recover(problem.gates, there, network.intercept, network.skip, features)
    back = architecture.unlift(again, problem.gates, features)
    free = np.tile(network.intercept, (len(data.X), 1)) + data.X @ network.skip
    # in this problem's basis: that of the fit is of distinct samples
    coefficients = problem.free.coefficients(free)
    values = {
        "solution": program.objective(blocks, coefficients),
        "there": program.objective(there, coefficients),
        "back": program.objective(back, coefficients),
        "again": float(objective(system, data, parameters_of(system, again))[0]),
    }
    own = float(objective(system, data, parameters_of(system, network))[0])
    size = program.loss.value(np.zeros_like(data.Y))
    differences = {key: abs(value - own) / max(own, 1e-3 * size) for key, value in values.items()}
    fits = {
        "fit": program.predict(blocks, coefficients),
        "fit there": program.lift.apply(there) + free,
        "fit back": program.lift.apply(back) + free,
        "fit again": again(data.X),
    }
    outputs = network(data.X)
    scale = 1 + np.abs(outputs).max()
    differences |= {key: float(np.abs(fit - outputs).max()) / scale for key, fit in fits.items()}
    return {key: value for key, value in differences.items() if not value <= 1e-8}
