"""Attention: the worked examples of the note, descents, and random programs by Clarabel."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from tests.every import numbers
from tests.hundred import oracles

from cvxnn import (
    Attention,
    AttentionNetwork,
    ConvexRegressor,
    Scope,
    verify,
)
from cvxnn.architectures import Problem
from cvxnn.functions import Squared
from cvxnn.functions.cells import cells_as_columns
from cvxnn.gates import NoGates, Pairs
from cvxnn.maps import Heads
from cvxnn.projection import polar_bound
from cvxnn.solve import solve
from cvxnn.solvers import FISTA, Factored, Newton, Reference
from cvxnn.tokens import Tokens, each_first
from cvxnn.training import problem_of

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=25, deadline=None)

# the sequences of section G: six of three tokens of width two, an output of two at every token
RNG = np.random.default_rng(2)
X = RNG.integers(-2, 3, (6, 3, 2)).astype(float)
Y = RNG.standard_normal((6, 3, 2))
RNG.standard_normal((2, 2, 2))  # two draws of the note that are not used
GATES = RNG.standard_normal((2, 2, 2))
N, LAM = 18, 0.5
AT_EVERY_TOKEN = {"bias": False, "readout": "first"}
EXACT: dict[str, Any] = {"alpha": LAM / N, "fit_intercept": False, "tol": 1e-8}
ROWS, TARGET = each_first(X), Y.reshape(N, 2)


def at_tokens(W1: np.ndarray, W2: np.ndarray, gates: np.ndarray | None = None) -> np.ndarray:
    """The outputs (n, s, c) of the note's heads at every token of X, head by head."""
    total = np.zeros((*X.shape[:2], W2.shape[2]))
    for j, (first, second) in enumerate(zip(W1, W2, strict=True)):
        for i, tokens in enumerate(X):
            scores = tokens @ first @ tokens.T
            if gates is not None:
                scores = scores * (tokens @ gates[j] @ tokens.T >= 0)
            total[i] += scores @ tokens @ second
    return total


def worked(gated: bool = False) -> Problem:
    """The note's problem, in mean losses."""
    kind = Attention((3, 2), gated=gated, **AT_EVERY_TOKEN)
    features = kind.features(ROWS.reshape(N, -1))
    gates = Pairs(3).given(features, GATES) if gated else NoGates().every(features)
    words: dict[str, Any] = {"intercept": False, "skip": False, "scope": Scope.GIVEN_GATES}
    here = problem_of(kind, ROWS.reshape(N, -1), TARGET, np.ones(N), Squared(), gates, **words)
    return here.at(LAM / N)


# worked examples


def test_section_G_2_linear_attention_at_every_token() -> None:
    model = ConvexRegressor(Attention(**AT_EVERY_TOKEN), **EXACT).fit(ROWS, TARGET)
    claim, network = model.certificate_, model.network_
    assert model.solution_.solver == "factored"
    assert claim.scope is Scope.ALL_NETWORKS
    assert N * claim.upper == pytest.approx(13.7473708, abs=1e-7)
    assert N * claim.lower == pytest.approx(13.7473708, abs=1e-6)
    assert verify(model, ROWS, TARGET)
    # the network and its decay, head by head and token by token
    fit = at_tokens(network.weights_in, network.weights_out)
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + LAM / 2 * squares
    assert value == pytest.approx(13.7473708, abs=1e-7)


@pytest.mark.parametrize("solver", [FISTA(), Newton(), Reference()], ids=lambda one: one.name)
def test_section_G_2_dense_solvers_end_there(solver: Any) -> None:
    model = ConvexRegressor(
        Attention(**AT_EVERY_TOKEN), solver=solver, **EXACT | {"tol": 1e-6}
    ).fit(ROWS, TARGET)
    assert N * model.certificate_.upper == pytest.approx(13.7473708, rel=1e-6)
    assert N * model.certificate_.lower == pytest.approx(13.7473708, rel=1e-6)


def test_section_G_2_the_dual_norm_is_lambda() -> None:
    here = worked()
    found = solve(here.working(), Reference(), tol=1e-9, judge=here.judge)
    Z = cells_as_columns(found.iterate.blocks, 2)[0]
    fit = here.program.predict(found.iterate.blocks, found.iterate.free)
    slope = cells_as_columns(here.program.lift.adjoint(TARGET - fit), 2)[0]
    assert np.linalg.norm(slope, 2) == pytest.approx(0.5, abs=1e-6)
    # Z is one of many optima: a Gram matrix does not tell (k, m) from (m, k); its norm is theirs
    assert np.linalg.svd(Z, compute_uv=False).sum() == pytest.approx(
        sum((0.3031, 0.1865, 0.0467, 0.0220)), abs=2e-4
    )


def few_heads(here: Problem, count: int, seed: int) -> tuple[float, float]:
    """Where descent on `count` heads a gate ends: the objective and the largest dual norm."""
    program, rng = here.program, np.random.default_rng(seed)
    lift: Any = program.lift
    shape = (len(here.gates) or 1, 2, count, 2, 2)

    def heads(point: np.ndarray) -> list[Any]:
        return [(gate, *pair) for gate, pair in enumerate(point.reshape(shape))]

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        fit, kept = lift.attend(heads(point))
        slopes = [np.stack(pair) for _, *pair in lift.slopes(heads(point), kept, fit - TARGET)]
        value = ((fit - TARGET) ** 2).sum() / 2 + LAM / 2 * (point**2).sum()
        return value, np.stack(slopes).ravel() + LAM * point

    options = {"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-9}
    start = 0.7 * rng.standard_normal(int(np.prod(shape)))
    end = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    residual = (TARGET - lift.attend(heads(end.x))[0]) / N
    return float(end.fun), polar_bound(program, residual, enough=0.0)


@pytest.mark.parametrize(
    ("count", "value", "gauge"),
    [(1, 14.234715, 59.49), (2, 13.748364, 1.0518), (3, 13.747371, 1.0)],
)
def test_section_G_2_too_few_heads_have_no_certificate(
    count: int, value: float, gauge: float
) -> None:
    """sigma / lambda is 1 at the optimum, and more at the best end of too few heads."""
    ends = [few_heads(worked(), count, seed) for seed in range(12)]
    best, found = min(ends)
    assert best == pytest.approx(value, abs=2e-6)
    assert found == pytest.approx(gauge, rel=2e-4)
    # an end that is not the optimum is told from it by its gauge
    for end, other in ends:
        assert end >= 13.7473708 - 1e-6
        assert (other <= 1 + 1e-3) == (end <= 13.7473708 + 1e-4)
    if count == 2:  # stationary, of two heads, and not the best of them
        assert any(np.allclose(one, (13.800886, 12.12), rtol=1e-3) for one in ends)


def test_section_G_2_a_local_end_is_left_by_what_its_dual_lacks() -> None:
    """From the end of one head the solver goes on to the optimum."""
    here = worked()
    program = here.working()
    solver = Factored()
    state = solver.init(program, None)
    seen = []
    for _ in range(8):
        state = solver.step(program, state)
        seen.append(here.judge(solver.read(program, state))[0])
    assert seen[-1].proves(1e-6)
    assert N * seen[-1].upper == pytest.approx(13.7473708, abs=1e-6)
    assert all(one.lower <= 13.7473708 / N + 1e-9 for one in seen)


def test_section_G_3_gated_attention() -> None:
    kind = Attention(gated=True, **AT_EVERY_TOKEN)
    model = ConvexRegressor(kind, gates=GATES, **EXACT).fit(ROWS, TARGET)
    claim, network = model.certificate_, model.network_
    assert claim.scope is Scope.GIVEN_GATES
    assert N * claim.upper == pytest.approx(8.982601, abs=1e-6)
    assert N * claim.lower == pytest.approx(8.982601, abs=1e-6)
    assert verify(model, ROWS, TARGET)
    fit = at_tokens(network.weights_in, network.weights_out, network.gates)
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + LAM / 2 * squares
    assert value == pytest.approx(8.982601, abs=1e-6)


def test_section_G_3_no_descent_is_lower() -> None:
    """Three heads a gate, as in the note."""
    ends = [few_heads(worked(gated=True), 3, seed)[0] for seed in range(8)]
    assert min(ends) == pytest.approx(8.982601, abs=2e-6)


@laws
@given(seed=SEEDS, gated=st.booleans())
def test_section_G_5_power_iteration(seed: int, gated: bool) -> None:
    """The products of a head with A* r, token by token, are those of the map and of its heads."""
    rng = np.random.default_rng(seed)
    n, s, d, c = (int(k) for k in rng.integers(1, 4, 4))
    tokens, R = rng.standard_normal((n, s, d)), rng.standard_normal((n, c))
    masks = rng.integers(0, 2, (1, n, s, s)).astype(bool) if gated else np.ones((1, n, s, s), bool)
    share = 1 / s
    query = share * tokens if gated else share * tokens.sum(axis=1, keepdims=True)
    lift = Heads(tokens, query, c, masks if gated else None)
    W1, W2 = rng.standard_normal((1, d, d)), rng.standard_normal((1, d, c))
    spread = np.broadcast_to(share * R[:, None, :], (n, s, c))  # the readout is the mean
    seen = masks[0].astype(float)
    inward = sum(
        tokens[i].T @ ((spread[i] @ (tokens[i] @ W2[0]).T) * seen[i]) @ tokens[i] for i in range(n)
    )
    outward = sum(
        tokens[i].T @ (seen[i] * (tokens[i] @ W1[0] @ tokens[i].T)).T @ spread[i] for i in range(n)
    )
    heads = [(0, W1, W2)]
    fit, kept = lift.attend(heads)
    ((_, first, second),) = lift.slopes(heads, kept, R)
    dense = cells_as_columns(lift.adjoint(R), d)[0]
    scale = 1e-12 * (1 + np.abs(tokens).max() ** 3 * n * s)
    np.testing.assert_allclose(first[0], inward, atol=scale)
    np.testing.assert_allclose(second[0], outward, atol=scale)
    np.testing.assert_allclose((dense @ W2.ravel()).reshape(d, d), inward, atol=scale)
    np.testing.assert_allclose((dense.T @ W1.ravel()).reshape(d, c), outward, atol=scale)
    block = np.multiply.outer(W1[0], W2[0]).transpose(2, 0, 1, 3).reshape(1, d**3, c)
    np.testing.assert_allclose(lift.apply(block), fit, atol=scale)
    each = [seen[i] * (tokens[i] @ W1[0] @ tokens[i].T) @ tokens[i] @ W2[0] for i in range(n)]
    np.testing.assert_allclose(fit, [share * one.sum(axis=0) for one in each], atol=scale)


@laws
@given(seed=SEEDS)
def test_section_G_6_pooled_statistics(seed: int) -> None:
    """The mean over tokens is mean' W1 X'X W2, also where a sequence is longer than wide."""
    rng = np.random.default_rng(seed)
    n, s, d, c = (int(k) for k in rng.integers(1, 6, 4))
    tokens = rng.standard_normal((n, s, d))
    kind = Attention((s, d), bias=False)
    flat = tokens.reshape(n, -1)
    lift = kind.lift(kind.features(flat), NoGates().every(kind.features(flat)), c)
    assert lift.keys.shape[1] <= d
    W1, W2 = rng.standard_normal((3, d, d)), rng.standard_normal((3, d, c))
    fit = lift.attend([(0, W1, W2)])[0]
    grams, means = tokens.swapaxes(1, 2) @ tokens, tokens.mean(axis=1)
    expected = sum(
        np.einsum("nl,lk,nkm,mc->nc", means, first, grams, second)
        for first, second in zip(W1, W2, strict=True)
    )
    np.testing.assert_allclose(fit, expected, atol=1e-11 * (1 + np.abs(expected).max()))


# random programs


def drawn(number: int) -> tuple[Attention, np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng([17, number])
    n, s, w, c = (int(k) for k in rng.integers((4, 1, 1, 1), (8, 4, 3, 3)))
    kind = Attention(
        gated=number % 3 == 2,
        bias=bool(number % 2),
        readout=("mean", "sum", "first")[number // 3 % 3],
        positions="one_hot" if number % 7 == 6 and s * w < 4 else "none",
    )
    tokens = rng.standard_normal((n, s, w)) * (rng.uniform(size=(n, s, 1)) < 0.85)
    y = rng.standard_normal((n, c))
    words: dict[str, Any] = {"alpha": 10.0 ** rng.uniform(-2, -0.5), "random_state": number}
    return kind, tokens, y, words | ({"n_gates": 2} if kind.gated else {})


def columns_by_hand(kind: Attention, tokens: np.ndarray, rules: Any) -> list[np.ndarray]:
    """(n, l, k, m) of every gate, from the definition."""
    n, s, _ = tokens.shape
    there = tokens.any(axis=2)
    beside = [np.ones((s, 1))] * kind.bias + [np.eye(s)] * (kind.positions == "one_hot")
    parts = [there[:, :, None] * np.broadcast_to(one, (n, *one.shape)) for one in beside]
    wide = np.concatenate([tokens, *parts], axis=2)
    shares = {
        "mean": there / np.maximum(there.sum(axis=1, keepdims=True), 1),
        "sum": 1.0 * there,
        "first": there * (np.arange(s) == 0),
    }[kind.readout]
    masks = [np.ones((n, s, s))]
    if kind.gated:
        masks = [np.einsum("ntl,lk,nuk->ntu", wide, rule, wide) >= 0 for rule in rules]
    return [np.einsum("nt,ntu,ntl,nuk,num->nlkm", shares, m, wide, wide, wide) for m in masks]


@pytest.mark.parametrize("number", numbers(100, 20))
@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_section_G_random_problems_are_clarabels(number: int) -> None:
    """Few heads, all entries of Z, and CVXPY on arrays written out by hand: one optimum."""
    kind, tokens, y, words = drawn(number)
    factored = ConvexRegressor(kind, tol=1e-7, **words).fit(tokens, y)
    assert factored.solution_.solver == "factored"
    dense = ConvexRegressor(kind, tol=1e-7, solver="newton", **words).fit(tokens, y)
    fit, size = 0, 0
    for block in columns_by_hand(kind, tokens, factored.generators_):
        n, d, c = len(tokens), block.shape[1], y.shape[1]
        Z = cp.Variable((d * d, d * c))
        for m in range(d):
            fit = fit + block[:, :, :, m].reshape(n, -1) @ Z[:, m * c : (m + 1) * c]
        size = size + cp.normNuc(Z)
    free = np.ones((len(tokens), 1))
    optimum = oracles.trained("squared", (fit, size, []), y, words["alpha"], free)
    for model in (factored, dense):
        assert model.certificate_.upper == pytest.approx(optimum, rel=1e-5, abs=1e-8)
        assert model.certificate_.lower == pytest.approx(optimum, rel=1e-5, abs=1e-8)
        assert model.certificate_.lower <= optimum * (1 + 1e-6) + 1e-8
    assert verify(factored, tokens, y)


def test_the_first_of_each_is_every_token() -> None:
    rng = np.random.default_rng(1)
    W1, W2 = rng.standard_normal((3, 2, 2)), rng.standard_normal((3, 2, 2))
    network = AttentionNetwork(
        weights_in=W1,
        weights_out=W2,
        intercept=np.zeros(2),
        skip=np.zeros((6, 2)),
        tokens=Tokens((3, 2), bias=False),
        readout="first",
    )
    found = network(ROWS.reshape(N, -1)).reshape(Y.shape)
    np.testing.assert_allclose(found, at_tokens(W1, W2), atol=1e-12)
