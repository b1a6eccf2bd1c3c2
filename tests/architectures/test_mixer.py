"""Mixers and Fourier operators: the note's numbers, descents, and random programs by Clarabel."""

from pathlib import Path
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
    ConvexClassifier,
    ConvexRegressor,
    DeepLinear,
    GatedReLU,
    Mixer,
    Scope,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.export import to_torch
from cvxnn.gates import Mixes
from cvxnn.tokens import each_marked, each_turned, low_frequencies

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=25, deadline=None)

# the sequences of section G, as in the tests of attention
RNG = np.random.default_rng(2)
X = RNG.integers(-2, 3, (6, 3, 2)).astype(float)
Y = RNG.standard_normal((6, 3, 2))
GATES = RNG.standard_normal((2, 3, 3))
N, LAM = 18, 0.5
ROWS, TARGET = each_marked(X), Y.reshape(N, 2)
EXACT: dict[str, Any] = {"alpha": LAM / N, "fit_intercept": False, "tol": 1e-8}


def at_tokens(W1: np.ndarray, W2: np.ndarray, gates: Any = None) -> np.ndarray:
    """The outputs (n, s, c) of the note's units at every token of X, one by one."""
    total = np.zeros((*X.shape[:2], W2.shape[2]))
    for j, (first, second) in enumerate(zip(W1, W2, strict=True)):
        for i, tokens in enumerate(X):
            mixed = first @ tokens
            if gates is not None:
                mixed = mixed * (gates[j] @ tokens >= 0)
            total[i] += mixed @ second
    return total


def end_of_descent(m: int, seed: int, gates: Any = None) -> float:
    """Where descent on m units, or m of every gate, ends."""
    rng = np.random.default_rng(seed)
    owners = None if gates is None else np.repeat(gates, m, axis=0)
    count = m if gates is None else len(owners)
    masks = 1.0 if gates is None else np.einsum("jtu,num->jntm", owners, X) >= 0

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        W1, W2 = point[: count * 9].reshape(count, 3, 3), point[count * 9 :].reshape(count, 2, 2)
        mixed = masks * np.einsum("jtu,num->jntm", W1, X)
        error = np.einsum("jntm,jmc->ntc", mixed, W2) - Y
        back = masks * np.einsum("ntc,jmc->jntm", error, W2)
        slopes = np.einsum("jntm,num->jtu", back, X), np.einsum("jntm,ntc->jmc", mixed, error)
        value = (error**2).sum() / 2 + LAM / 2 * (point**2).sum()
        return value, np.concatenate([each.ravel() for each in slopes]) + LAM * point

    start = 0.7 * rng.standard_normal(count * 13)
    options = {"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-9}
    return float(minimize(function, start, jac=True, method="L-BFGS-B", options=options).fun)


# worked examples


def test_section_G_3_linear_mixer_at_every_token() -> None:
    kind = Mixer(bias=False, readout="marked")
    model = ConvexRegressor(kind, **EXACT).fit(ROWS, TARGET)
    claim, network = model.certificate_, model.network_
    assert model.solution_.solver == "factored"
    assert claim.scope is Scope.ALL_NETWORKS
    assert N * claim.upper == pytest.approx(5.1831696, abs=1e-7)
    assert N * claim.lower == pytest.approx(5.1831696, abs=1e-6)
    assert verify(model, ROWS, TARGET)
    fit = at_tokens(network.weights_in, network.weights_out)
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + LAM / 2 * squares
    assert value == pytest.approx(5.1831696, abs=1e-7)
    np.testing.assert_allclose(model.predict(ROWS).reshape(Y.shape), fit, atol=1e-9)
    ends = [end_of_descent(4, seed) for seed in range(6)]
    assert min(ends) == pytest.approx(5.1831696, abs=1e-6)
    assert min(ends) >= N * claim.lower - 1e-9


def test_section_G_3_gated_mixer_is_its_descent() -> None:
    kind = Mixer(gated=True, bias=False, readout="marked")
    model = ConvexRegressor(kind, gates=GATES, **EXACT).fit(ROWS, TARGET)
    claim, network = model.certificate_, model.network_
    assert claim.scope is Scope.GIVEN_GATES
    assert claim.proves(1e-6)
    assert verify(model, ROWS, TARGET)
    fit = at_tokens(network.weights_in, network.weights_out, network.gates)
    squares = (network.weights_in**2).sum() + (network.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + LAM / 2 * squares
    assert value == pytest.approx(N * claim.upper, abs=1e-8)
    ends = [end_of_descent(4, seed, GATES) for seed in range(6)]
    assert min(ends) == pytest.approx(N * claim.upper, abs=1e-5)
    assert min(ends) >= N * claim.lower - 1e-9


# random programs


def drawn(number: int) -> tuple[Mixer, np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng([19, number])
    n, s, w, c = (int(k) for k in rng.integers((4, 1, 1, 1), (8, 4, 4, 3)))
    readout = ("mean", "sum", "first", "marked")[number // 2 % 4]
    kind = Mixer(gated=bool(number % 2), bias=bool(number // 8 % 2), readout=readout)
    tokens = rng.standard_normal((n, s, w)) * (rng.uniform(size=(n, s, 1)) < 0.85)
    rows = each_marked(tokens) if readout == "marked" else tokens
    y = rng.standard_normal((len(rows), c))
    words: dict[str, Any] = {"alpha": 10.0 ** rng.uniform(-2, -0.5), "random_state": number}
    return kind, rows, y, words | ({"n_gates": 2} if kind.gated else {})


def columns_by_hand(kind: Mixer, rows: np.ndarray, rules: Any) -> list[np.ndarray]:
    """(n, t, u, m) of every gate, from the definition."""
    marks = rows[:, :, -1]
    tokens = rows[:, :, :-1] if kind.readout == "marked" else rows
    there = tokens.any(axis=2)
    wide = np.concatenate([tokens, there[:, :, None]], axis=2) if kind.bias else tokens
    shares = {
        "mean": there / np.maximum(there.sum(axis=1, keepdims=True), 1),
        "sum": 1.0 * there,
        "first": there * (np.arange(tokens.shape[1]) == 0),
        "marked": marks,
    }[kind.readout]
    masks = [np.ones(wide.shape)]
    if kind.gated:
        masks = [np.einsum("tu,num->ntm", rule, wide) >= 0 for rule in rules]
    return [np.einsum("nt,ntm,num->ntum", shares, mask, wide) for mask in masks]


@pytest.mark.parametrize("number", numbers(100, 12))
@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_section_G_random_mixers_are_clarabels(number: int) -> None:
    """Few units, all entries of Z, and CVXPY on arrays written out by hand: one optimum."""
    kind, rows, y, words = drawn(number)
    factored = ConvexRegressor(kind, tol=1e-7, **words).fit(rows, y)
    assert factored.solution_.solver == "factored"
    dense = ConvexRegressor(kind, tol=1e-7, solver="newton", **words).fit(rows, y)
    fit, size = 0, 0
    for block in columns_by_hand(kind, rows, factored.generators_):
        n, s, _, d = block.shape
        c = y.shape[1]
        Z = cp.Variable((s * s, d * c))
        for m in range(d):
            fit = fit + block[:, :, :, m].reshape(n, -1) @ Z[:, m * c : (m + 1) * c]
        size = size + cp.normNuc(Z)
    free = np.ones((len(rows), 1))
    optimum = oracles.trained("squared", (fit, size, []), y, words["alpha"], free)
    for model in (factored, dense):
        assert model.certificate_.upper == pytest.approx(optimum, rel=1e-5, abs=1e-8)
        assert model.certificate_.lower == pytest.approx(optimum, rel=1e-5, abs=1e-8)
        assert model.certificate_.lower <= optimum * (1 + 1e-6) + 1e-8
    assert verify(factored, rows, y)


# gates and users


def test_every_gate_of_tiny_sequences_is_enumerated() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((4, 2))  # two sequences of two tokens of width two
    source = Mixes(2)
    every = source.every(tokens)
    many = source.given(tokens, rng.standard_normal((5000, 2, 2)))
    known = {mask.tobytes() for mask in every.masks}
    assert len(known) == len(every) == 8 * 8 - 1  # eight cells a row, all closed left out
    assert {mask.tobytes() for mask in many.masks if mask.any()} == known
    with pytest.raises(ValueError, match=r"gates have shape \(3, 2\); expected \(p, 2, 2\)"):
        source.given(tokens, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="enumerating takes at most 65536: pass gates='sample'"):
        Mixes(8).every(rng.standard_normal((16, 4)))


@pytest.mark.parametrize("gated", [False, True])
def test_what_users_do(gated: bool, tmp_path: Path) -> None:
    """Early or late: mixers know the order of the tokens without positions."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 4, 60)
    tokens = 0.3 * rng.standard_normal((60, 4, 2))
    tokens[np.arange(60), places, 0] += 2.0
    early = places < 2
    words: dict[str, Any] = {"n_gates": 3} if gated else {}
    kind = "gated_mixer" if gated else "linear_mixer"
    model = ConvexClassifier(kind, alpha=1e-3, random_state=0, tol=1e-4, **words)
    model.fit(tokens, early)
    assert model.certificate_.proves(1e-4)
    assert model.score(tokens, early) == 1.0
    assert (model.predict(tokens[:, ::-1]) != early).mean() > 0.9
    assert verify(model, tokens, early)
    target = 2.0 * early[:, None] - 1
    own = certify_network(model.network_, tokens, target, alpha=1e-3, loss="logistic")
    assert own.upper == pytest.approx(model.certificate_.upper, rel=1e-12)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.decision_function(tokens), model.decision_function(tokens))
    assert again.architecture_ == model.architecture_
    assert model.transform(tokens).shape == (60, model.network_.n_neurons * 3)
    torch = pytest.importorskip("torch")
    module = to_torch(model)
    found = module(torch.tensor(tokens)).detach()[:, 0]
    np.testing.assert_allclose(found, model.decision_function(tokens), atol=1e-9)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="readout is 'last'; expected one of mean, sum, first, ma"):
        Mixer(readout="last")
    with pytest.raises(ValueError, match="expected a width of at least 2"):
        Mixer((4, 1), readout="marked")
    with pytest.raises(ValueError, match=r"linear_mixer networks see sequences; pass X of shape"):
        ConvexRegressor("linear_mixer", alpha=1.0).fit(np.ones((4, 6)), np.arange(4.0))


# Fourier operators


def spectral(u: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """sum over u and m of x_{t+u, m} u[u, m], at every token, by the Fourier transform."""
    products = np.fft.fft(tokens, axis=1) * np.conj(np.fft.fft(u, axis=0))
    return np.fft.ifft(products, axis=1).real.sum(axis=2)


@laws
@given(seed=SEEDS)
def test_section_G_3_circular_shifts_are_products_of_spectra(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, s, w = (int(k) for k in rng.integers(1, 7, 3))
    tokens, u = rng.standard_normal((n, s, w)), rng.standard_normal((s, w))
    found = each_turned(tokens) @ u.ravel()
    np.testing.assert_allclose(found.reshape(n, s), spectral(u, tokens), atol=1e-12)
    modes = int(rng.integers(1, s // 2 + 2))
    basis = low_frequencies(s, modes)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    v = rng.standard_normal((basis.shape[1], w))
    low = each_turned(tokens, modes) @ v.ravel()
    np.testing.assert_allclose(low.reshape(n, s), spectral(basis @ v, tokens), atol=1e-12)
    above = np.fft.rfft(basis @ v, axis=0)[modes:]
    np.testing.assert_allclose(above, 0.0, atol=1e-12)


def test_frequencies_that_a_sequence_has_not() -> None:
    for modes in (0, 4):
        with pytest.raises(ValueError, match=f"modes is {modes}; .* expected 1 to 3"):
            each_turned(np.zeros((2, 5, 1)), modes)


def spectral_gated(network: Any, tokens: np.ndarray) -> np.ndarray:
    """A gated Fourier operator from its weights, in the frequency domain."""
    total = 0.0
    for gate, inward, outward in zip(
        network.gates, network.weights_in, network.weights_out, strict=True
    ):
        shape = tokens.shape[1:]
        open_ = spectral(gate.reshape(shape), tokens) >= 0
        unit = open_ * spectral(inward.reshape(shape), tokens)
        total = total + unit[:, :, None] * outward
    return total


def test_section_G_3_fourier_operators_are_two_layer_networks() -> None:
    rows = each_turned(X)
    model = ConvexRegressor(GatedReLU(bias=False), n_gates=4, random_state=0, **EXACT)
    model.fit(rows, TARGET)
    assert model.certificate_.proves(1e-6)
    fit = spectral_gated(model.network_, X)
    np.testing.assert_allclose(model.predict(rows).reshape(Y.shape), fit, atol=1e-9)
    squares = (model.network_.weights_in**2).sum() + (model.network_.weights_out**2).sum()
    value = ((fit - Y) ** 2).sum() / 2 + LAM / 2 * squares
    assert value == pytest.approx(N * model.certificate_.upper, abs=1e-8)
    # linear, by CVXPY on matrices of all shifts
    line = ConvexRegressor(DeepLinear(bias=False), **EXACT).fit(rows, TARGET)
    Z = cp.Variable((6, 2))
    shifts = [np.concatenate([np.roll(one, -t, axis=0).ravel() for t in range(3)]) for one in X]
    circ = np.array(shifts).reshape(N, 6)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(circ @ Z - TARGET) / 2 + LAM * cp.normNuc(Z)))
    problem.solve(solver="CLARABEL")
    assert N * line.certificate_.upper == pytest.approx(problem.value, rel=1e-6)
    assert N * line.certificate_.lower == pytest.approx(problem.value, rel=1e-6)
