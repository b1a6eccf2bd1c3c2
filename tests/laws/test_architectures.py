"""The laws of an architecture: its network and its program are two views of one thing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.instances import ARCHITECTURES, WITH_GATES, with_bias
from tests.solvers.problems import LOSSES, REGRESSION, Sizes, draw

from cvxnn.architectures import (
    Architecture,
    Circular,
    DeepThreshold,
    GatedReLU,
    GatedRidge,
    Polynomial,
    Problem,
    ReLU,
    ReLUNetwork,
    assemble,
    evaluate,
    free_columns,
    shape_of,
)
from cvxnn.certificate import Scope
from cvxnn.functions import Logistic, SampleLoss, Squared, mean_loss
from cvxnn.gates import (
    Faces,
    HalfSpaces,
    Mixes,
    Pairs,
    PatchGates,
    SubNetworks,
    Winners,
    distinct,
    enumerate_patterns,
    masks_of,
    reached_masks,
)
from cvxnn.program import Iterate
from cvxnn.projection import inside_cones
from cvxnn.solve import Status, solve
from cvxnn.solvers import Reference, WorkingSet

SIZES = Sizes(n=12, d=3, p=6, outputs=3)
SEEDS = st.integers(0, 2**16)

laws = settings(max_examples=15, deadline=None)
few = settings(max_examples=6, deadline=None)

every = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.name)
with_gates = pytest.mark.parametrize("architecture", WITH_GATES, ids=lambda one: one.name)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)


def drawn(architecture: Any, loss: SampleLoss, seed: int) -> Problem:
    seeds = [seed, LOSSES.index(loss)]
    return draw(seeds, with_bias(architecture, seed % 2 == 0), loss, SIZES).problem


def some_point(problem: Problem, seed: int) -> Iterate:
    """Blocks inside their cones, some of them zero and some of rank one, and free coefficients."""
    rng, program = np.random.default_rng(seed), problem.program
    blocks = rng.standard_normal(program.lift.in_shape)
    blocks[rng.uniform(size=len(blocks)) < 0.4] = 0.0
    for block in np.flatnonzero(rng.uniform(size=len(blocks)) < 0.4):
        blocks[block] = np.outer(blocks[block, :, 0], rng.standard_normal(blocks.shape[2]))
    free = rng.standard_normal((program.free.shape[1], blocks.shape[2]))
    inside = inside_cones(program, blocks)
    return Iterate(inside, free, np.zeros(program.lift.out_shape))


def outward_lengths(network: Any) -> np.ndarray:
    """|a_j| over all outputs, and cells where there are some, (m,)."""
    return np.linalg.norm(network.weights_out, axis=tuple(range(1, network.weights_out.ndim)))


def features_of(problem: Problem) -> np.ndarray:
    return problem.architecture.features(problem.X)


# gates and features


@every
@laws
@given(seed=SEEDS)
def test_masks_match_generators(architecture: Architecture, seed: int) -> None:
    problem = drawn(architecture, Squared(), seed)
    features, source = features_of(problem), problem.architecture.source
    if isinstance(source, SubNetworks):
        known = [bits_by_hand(one, features, source) for one in problem.gates.generators]
        np.testing.assert_array_equal(problem.gates.masks, known)
        return  # all of them are too many
    if isinstance(source, Pairs):
        known = [scores_by_hand(one, features, source) for one in problem.gates.generators]
        np.testing.assert_array_equal(problem.gates.masks, known)
        return  # all of them are too many
    if isinstance(source, Mixes):
        groups = features.reshape(-1, source.tokens, features.shape[1])
        known = [
            np.array([mixed_by_hand(rule, group) >= 0 for group in groups]).reshape(features.shape)
            for rule in problem.gates.generators
        ]
        np.testing.assert_array_equal(problem.gates.masks, known)
        return
    if isinstance(source, Winners):
        expected = source.given(features, problem.gates.generators).masks
        each = problem.gates.generators @ features.T >= 0
        assert not (expected & ~each & (np.abs(problem.gates.generators @ features.T) > 1e-9)).any()
    elif isinstance(source, PatchGates):
        expected = reached_masks(problem.gates.generators, features)
    else:
        expected = problem.gates.generators @ features.T >= 0
    np.testing.assert_array_equal(problem.gates.masks, expected)
    gates = source.every(features)
    again = source.given(features, gates.generators)
    np.testing.assert_array_equal(gates.masks, again.masks)
    if isinstance(source, HalfSpaces | Faces):
        assert len(source.useful(again, features)) == len(gates)
    if isinstance(source, HalfSpaces):
        np.testing.assert_array_equal(gates.masks, masks_of(gates.generators, features))


def bits_by_hand(generator: np.ndarray, features: np.ndarray, source: SubNetworks) -> np.ndarray:
    """What a sub-network's units do, unit by unit, from a generator's rows."""
    width, views = features.shape[1], source.views
    seen = [features[path % views :: views] for path in range(len(generator))]
    layer = [
        (near_zero(x, row[:width], views), row[width:])
        for x, row in zip(seen, generator, strict=True)
    ]
    inputs, sent = [[values for values, _ in layer]], []
    for fan in source.fan_in:
        parts = [(np.maximum(values, 0) * row[0], row[1:]) for values, row in layer]
        sent += [row[0] for _, row in layer]
        groups = [parts[k : k + fan] for k in range(0, len(parts), fan)]
        layer = [(sum(values for values, _ in group), group[0][1]) for group in groups]
        inputs.append([values for values, _ in layer])
    bits = [np.array(each).T >= 0 for each in inputs]
    if source.signed:
        constant = np.tile(np.array(sent) > 0, (len(seen[0]), 1))
        return np.concatenate([*bits, constant], axis=1)
    paths = bits[0].shape[1]
    wide = [np.repeat(each, paths // each.shape[1], axis=1) for each in bits]
    return np.all(wide, axis=0)


def near_zero(x: np.ndarray, u: np.ndarray, views: int) -> np.ndarray:
    """The products x'u; of patches 0 for those that rounding made."""
    values = x @ u
    return np.where((views > 1) & (abs(values) < 1e-12 * (abs(x) @ abs(u))), 0.0, values)


def mixed_by_hand(rule: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The mix of tokens, where rounding is zero: one channel alone is the mean that rules avoid."""
    values = rule @ group
    return np.where(abs(values) < 1e-12 * (abs(rule) @ abs(group)), 0.0, values)


def scores_by_hand(rule: np.ndarray, features: np.ndarray, source: Pairs) -> np.ndarray:
    """Whether token t of a sequence sees token u, pair by pair; sums of few terms, so no ties."""
    groups = features.reshape(-1, source.tokens, features.shape[1])
    return np.array(
        [[[t @ rule @ u >= 0 for u in group] for t in group] for group in groups]
    ).reshape(len(features), source.tokens)


@every
def test_the_bias_is_a_last_column_of_ones(architecture: Any) -> None:
    if shape_of(architecture) is not None:
        X = np.arange(1.0, 7.0).reshape(2, 3)
        features, plain = (with_bias(architecture, bias).features(X) for bias in (True, False))
        np.testing.assert_array_equal(features[:, :-1], plain)
        np.testing.assert_array_equal(features[:, -1], 1.0)
        return
    X = np.arange(6.0).reshape(3, 2)
    if isinstance(architecture, Circular):  # it has none
        assert architecture.features(X) is X
        return
    features = with_bias(architecture, True).features(X)
    np.testing.assert_array_equal(features[:, -1], 1.0)
    if isinstance(architecture, DeepThreshold):  # what its gates see is the inner layers' outputs
        return
    np.testing.assert_array_equal(features[:, :-1], X)
    plain = with_bias(architecture, False)
    assert plain == architecture or plain.features(X) is X


# the network of a point


@every
@every_loss
@laws
@given(seed=SEEDS)
def test_network_is_program(architecture: Architecture, loss: SampleLoss, seed: int) -> None:
    """Same predictions on the training data, and no larger objective; equal where norms add up."""
    problem = drawn(architecture, loss, seed)
    point = some_point(problem, seed)
    network, program = problem.network(point), problem.program
    fit = program.predict(point.blocks, point.free)
    np.testing.assert_allclose(network(problem.X), fit, atol=1e-9 * (1 + np.abs(fit).max()))
    value = program.objective(point.blocks, point.free)
    penalty = program.penalty.value(point.blocks)
    assert problem.alpha * network.weight_decay() <= penalty * (1 + 1e-9)
    assert problem.objective(network) <= value * (1 + 1e-9) + 1e-9 * penalty
    if program.constraint is None:  # neurons that share a gate are already one block
        assert problem.objective(network) == pytest.approx(value, rel=1e-9)


@every
@laws
@given(seed=SEEDS)
def test_unlift_inverts_recover(architecture: Architecture, seed: int) -> None:
    problem = drawn(architecture, Squared(), seed)
    point, program = some_point(problem, seed), problem.program
    network = problem.network(point)
    blocks = problem.architecture.unlift(network, problem.gates, features_of(problem))
    assert blocks.shape == point.blocks.shape
    before, after = program.lift.apply(point.blocks), program.lift.apply(blocks)
    np.testing.assert_allclose(after, before, atol=1e-9 * (1 + np.abs(before).max()))
    penalty = program.penalty.value(point.blocks)
    assert program.penalty.value(blocks) <= penalty * (1 + 1e-9)
    assert program.violation(blocks) <= 1e-9
    if program.constraint is None:
        np.testing.assert_allclose(blocks, point.blocks, atol=1e-10)
    again = problem.network(point._replace(blocks=blocks))
    assert again.weight_decay() <= network.weight_decay() * (1 + 1e-9)


@every
@laws
@given(seed=SEEDS, count=st.integers(1, 4))
def test_a_mean_is_the_mean(architecture: Architecture, seed: int, count: int) -> None:
    problem = drawn(architecture, LOSSES[0], seed)
    networks = [problem.network(some_point(problem, seed + k)) for k in range(count)]
    mean = problem.architecture.mean(networks)
    outputs = np.mean([evaluate(network, problem.X) for network in networks], axis=0)
    scale = 1 + np.abs(outputs).max()
    np.testing.assert_allclose(evaluate(mean, problem.X), outputs, atol=1e-12 * scale)
    decays = [network.weight_decay() for network in networks]
    assert mean.weight_decay() <= np.mean(decays) * (1 + 1e-12)  # a norm is convex
    outward = outward_lengths(mean)
    if isinstance(architecture, Polynomial):  # its neurons have length one
        np.testing.assert_allclose(mean.lengths, 1.0, rtol=1e-9)
    elif isinstance(architecture, GatedRidge):  # its last weights are one
        np.testing.assert_array_equal(outward, 1.0)
    else:
        np.testing.assert_allclose(mean.lengths, outward, rtol=1e-9)
    if count == 1:
        np.testing.assert_allclose(mean.weight_decay(), decays[0])


@every
def test_the_mean_of_empty_networks_is_empty(architecture: Architecture) -> None:
    problem = drawn(architecture, LOSSES[0], 0)
    point = some_point(problem, 0)
    empty = problem.network(point._replace(blocks=0 * point.blocks))
    mean = problem.architecture.mean([empty, empty])
    assert mean.n_neurons == 0
    np.testing.assert_allclose(evaluate(mean, problem.X), evaluate(empty, problem.X))


@with_gates
@laws
@given(seed=SEEDS)
def test_neurons_are_balanced(architecture: Architecture, seed: int) -> None:
    problem = drawn(architecture, Squared(), seed)
    network = problem.network(some_point(problem, seed))
    inward = network.lengths
    if isinstance(architecture, GatedRidge):  # one layer of weights, and its squares
        assert network.weight_decay() == pytest.approx((inward**2).sum() / 2, rel=1e-9)
        return
    outward = outward_lengths(network)
    np.testing.assert_allclose(inward, outward, rtol=1e-9)
    squares = (inward**2).sum() + (network.weights_out**2).sum()
    assert network.weight_decay() == pytest.approx(squares / 2, rel=1e-9)
    assert network.n_neurons == len(inward) == len(outward)


@laws
@given(seed=SEEDS)
def test_gated_neurons_are_the_singular_vectors(seed: int) -> None:
    problem = drawn(GatedReLU(), Squared(), seed)
    point = some_point(problem, seed)
    ranks = [np.linalg.matrix_rank(block) for block in point.blocks]
    nuclear = sum(np.linalg.svd(block, compute_uv=False).sum() for block in point.blocks)
    network = problem.network(point)
    assert network.n_neurons == sum(ranks)
    assert network.weight_decay() == pytest.approx(nuclear, rel=1e-9)


@laws
@given(seed=SEEDS)
def test_relu_neurons_have_their_gates_patterns(seed: int) -> None:
    """Every neuron of an iterate inside the cones is active exactly where its gate is open."""
    problem = drawn(ReLU(), Squared(), seed)
    point, features = some_point(problem, seed), features_of(problem)
    signs = 2.0 * problem.gates.masks - 1.0
    for block, pattern in zip(point.blocks, np.tile(signs, (2, 1)), strict=True):
        rows = pattern[:, None] * (features @ block)
        assert rows.min(initial=0.0) >= -1e-9 * np.abs(rows).max(initial=0.0)
    network = problem.network(point)
    gated = (features @ network.weights_in.T) * (features @ network.weights_in.T > 0)
    np.testing.assert_allclose(network.hidden(problem.X), gated, atol=1e-12)


@with_gates
def test_a_neuron_without_its_gate_is_refused(architecture: Architecture) -> None:
    # the first from here with a block that is not zero
    problems = (drawn(architecture, Squared(), seed) for seed in range(5, 15))
    pairs = ((problem, problem.network(some_point(problem, 5))) for problem in problems)
    problem, network = next(pair for pair in pairs if pair[1].n_neurons > 0)
    with pytest.raises(ValueError, match=r"of neuron \d+ is not among the 0 gates given"):
        problem.architecture.unlift(network, problem.gates.take(slice(0, 0)), features_of(problem))


@every
@laws
@given(seed=SEEDS)
def test_parameters_are_the_network(architecture: Architecture, seed: int) -> None:
    problem = drawn(architecture, Squared(), seed)
    network = problem.network(some_point(problem, seed))
    copy = problem.architecture.network(network.parameters())
    np.testing.assert_array_equal(copy(problem.X), network(problem.X))
    np.testing.assert_array_equal(evaluate(network, problem.X), network(problem.X))


# free columns


@laws
@given(seed=SEEDS, intercept=st.booleans(), skip=st.booleans())
def test_free_columns(seed: int, intercept: bool, skip: bool) -> None:
    """F b is X @ skip + intercept; F is orthogonal, of equal norms, and spans [X, 1]."""
    rng = np.random.default_rng(seed)
    n, d, c = int(rng.integers(1, 9)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    if seed % 2:
        X[:, -1] = X[:, 0]
    free = free_columns(X, intercept=intercept, skip=skip)
    raw = np.column_stack(([X] if skip else []) + ([np.ones(n)] if intercept else []) or [X[:, :0]])
    assert free.columns.shape == (n, np.linalg.matrix_rank(raw) if raw.size else 0)
    square = (free.columns**2).sum(axis=0)
    np.testing.assert_allclose(
        free.columns.T @ free.columns, np.diag(square), atol=1e-10 * (1 + square.max(initial=0.0))
    )
    np.testing.assert_allclose(square, square.mean() if len(square) else 0.0, rtol=1e-10)
    b = rng.standard_normal((free.columns.shape[1], c))
    weights, constant = free.weights(b)
    assert weights.shape == (d, c)
    assert constant.shape == (c,)
    assert skip or not weights.any()
    assert intercept or not constant.any()
    np.testing.assert_allclose(free.columns @ b, X @ weights + constant, atol=1e-9)
    np.testing.assert_allclose(free.coefficients(free.columns @ b), b, atol=1e-9)
    target = rng.standard_normal((n, c))
    best = np.linalg.lstsq(raw, target)[0] if raw.size else np.zeros((0, c))
    found = free.columns @ free.coefficients(target)
    np.testing.assert_allclose(found, raw @ best if raw.size else 0 * target, atol=1e-8)


# the enumerated optimum is below every network


def enumerated(seed: int, loss: SampleLoss) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, 2))
    y = np.sign(X[:, :1] * X[:, 1:])
    architecture = ReLU(bias=False)
    return assemble(
        architecture,
        X,
        distinct(enumerate_patterns(X)),
        mean_loss(loss, y),
        0.02,
        free=free_columns(X, intercept=False, skip=False),
        outputs=1,
        scope=Scope.ALL_NETWORKS,
    )


def descended(problem: Problem, width: int, rng: np.random.Generator) -> Iterator[ReLUNetwork]:
    """Networks along gradient descent on mean loss + alpha/2 of the squares, by hand."""
    X, loss = problem.X, problem.program.loss
    inward, outward = rng.standard_normal((width, X.shape[1])), rng.standard_normal((width, 1))
    for iteration in range(1500):
        values = X @ inward.T
        slope = loss.gradient(np.maximum(values, 0) @ outward)
        down = np.maximum(values, 0).T @ slope + problem.alpha * outward
        inward = inward - 0.1 * (
            ((slope @ outward.T) * (values > 0)).T @ X + problem.alpha * inward
        )
        outward = outward - 0.1 * down
        if iteration % 100 == 99:
            yield ReLUNetwork(
                weights_in=inward,
                weights_out=outward,
                intercept=np.zeros(1),
                skip=np.zeros((X.shape[1], 1)),
            )


@pytest.mark.parametrize("loss", [Squared(), Logistic()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_network_beats_the_enumerated_optimum(seed: int, loss: SampleLoss) -> None:
    problem, rng = enumerated(seed, loss), np.random.default_rng(seed)
    solution = solve(problem.working(), WorkingSet(), tol=1e-6, judge=problem.judge)
    assert solution.status is Status.OPTIMAL
    best = solution.certificate.lower
    assert problem.objective(problem.network(solution.iterate)) <= best * (1 + 2e-6)
    for width in rng.integers(1, 40, size=200):
        network = ReLUNetwork(
            weights_in=10 ** rng.uniform(-2, 1) * rng.standard_normal((width, 2)),
            weights_out=rng.standard_normal((width, 1)) / width,
            intercept=np.zeros(1),
            skip=np.zeros((2, 1)),
        )
        assert problem.objective(network) >= best
    values = [
        problem.objective(network)
        for width in (2, 5, 30)
        for network in descended(problem, width, rng)
    ]
    assert min(values) >= best
    assert min(values) <= 1.3 * best  # descent comes near, or the bound would say little


# torch is the oracle of the network and its objective


TORCH_LOSSES: dict[str, Any] = {
    "squared": lambda nn, f, y: ((f - y) ** 2).sum(dim=1) / 2,
    "logistic": lambda nn, f, y: nn.softplus(-y * f).sum(dim=1),
    "hinge": lambda nn, f, y: nn.relu(1 - y * f).sum(dim=1),
    "squared_hinge": lambda nn, f, y: (nn.relu(1 - y * f) ** 2).sum(dim=1) / 2,
    "huber": lambda nn, f, y: nn.huber_loss(f, y, delta=0.4, reduction="none").sum(dim=1),
    "cross_entropy": lambda nn, f, y: nn.cross_entropy(f, y, reduction="none"),
    "quantile": lambda nn, f, y: (0.3 * nn.relu(y - f) + 0.7 * nn.relu(f - y)).sum(dim=1),
}


@every_loss
@few
@given(seed=SEEDS)
def test_torch_trains_the_same_objective(loss: SampleLoss, seed: int) -> None:
    """The module with our weights has our outputs, our objective, and decays what we penalise."""
    torch = pytest.importorskip("torch")
    problem = drawn(ReLU(), loss, seed)
    network, mean = problem.network(some_point(problem, seed)), problem.program.loss
    assume(network.n_neurons > 0)  # torch warns of empty layers
    width = network.weights_in.shape[1] - problem.X.shape[1]
    first = torch.nn.Linear(problem.X.shape[1], network.n_neurons, bias=bool(width)).double()
    second = torch.nn.Linear(network.n_neurons, mean.target.shape[1], bias=False).double()
    with torch.no_grad():
        first.weight.copy_(torch.asarray(network.weights_in[:, : problem.X.shape[1]]))
        if width:
            first.bias.copy_(torch.asarray(network.weights_in[:, -1]))
        second.weight.copy_(torch.asarray(network.weights_out.T.copy()))
    X, y = torch.asarray(problem.X), torch.asarray(mean.target)
    linear = X @ torch.asarray(network.skip) + torch.asarray(network.intercept)
    outputs = second(torch.relu(first(X))) + linear
    ours = network(problem.X)
    np.testing.assert_allclose(
        outputs.detach().numpy(), ours, atol=1e-10 * (1 + np.abs(ours).max(initial=0.0))
    )
    losses = TORCH_LOSSES[loss.name](torch.nn.functional, outputs, y)
    total = torch.asarray(mean.weights[:, 0]) @ losses
    parameters = [*first.parameters(), *second.parameters()]
    decay = sum((parameter**2).sum() for parameter in parameters)
    value = float((total + problem.alpha / 2 * decay).detach())
    assert problem.objective(network) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("loss", [*REGRESSION[:1], LOSSES[3]], ids=lambda loss: loss.name)
def test_torch_finds_the_optimum_stationary(loss: SampleLoss) -> None:
    """Autograd's gradient of the weight-decayed objective vanishes at the recovered optimum."""
    torch = pytest.importorskip("torch")
    problem = enumerated(3, loss)
    solution = solve(problem.working(), Reference(), tol=1e-9, judge=problem.judge)
    network, mean = problem.network(solution.iterate), problem.program.loss
    inward = torch.tensor(network.weights_in, requires_grad=True)
    outward = torch.tensor(network.weights_out, requires_grad=True)
    X, y = torch.asarray(problem.X), torch.asarray(mean.target)
    losses = TORCH_LOSSES[loss.name](torch.nn.functional, torch.relu(X @ inward.T) @ outward, y)
    decay = (inward**2).sum() + (outward**2).sum()
    (losses.mean() + problem.alpha / 2 * decay).backward()
    assert network.n_neurons > 0
    # along every neuron's own ray no kink is met: there the derivative is an honest one
    radial = (inward.grad * inward).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(radial, 0.0, atol=1e-5)
    np.testing.assert_allclose(outward.grad.numpy(), 0.0, atol=1e-4)
