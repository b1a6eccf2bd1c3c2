"""Sequences of tokens: padding, positions, gates of pairs, shapes, and estimators on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from cvxnn import (
    Attention,
    AttentionNetwork,
    ConvexClassifier,
    ConvexRegressor,
    certify_network,
    load,
    save,
    verify,
)
from cvxnn.export import to_torch
from cvxnn.gates import Pairs
from cvxnn.tokens import Tokens

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=25, deadline=None)


@laws
@given(seed=SEEDS, gated=st.booleans())
def test_padding_with_zero_tokens_changes_nothing(seed: int, gated: bool) -> None:
    rng = np.random.default_rng(seed)
    n, s, w, more = (int(k) for k in rng.integers(1, 4, 4))
    short = rng.standard_normal((n, s, w))
    long = np.concatenate([short, np.zeros((n, more, w))], axis=1)
    m, readout = 3, ("mean", "sum", "first")[seed % 3]
    weights = rng.standard_normal((m, w + 1, w + 1)), rng.standard_normal((m, w + 1, 2))
    rules = rng.standard_normal((m, w + 1, w + 1)) if gated else None
    outputs = []
    for each in (short, long):
        shape = each.shape[1], w
        network = AttentionNetwork(
            weights_in=weights[0],
            weights_out=weights[1],
            intercept=np.zeros(2),
            skip=np.zeros((shape[0] * w, 2)),
            tokens=Tokens(shape),
            readout=readout,
            gates=rules,
        )
        outputs.append(network(each.reshape(n, -1)))
    np.testing.assert_allclose(*outputs, atol=1e-11 * (1 + np.abs(outputs[0]).max()))


def test_padded_training_ends_at_the_same_optimum() -> None:
    rng = np.random.default_rng(5)
    tokens, y = rng.standard_normal((12, 3, 2)), rng.standard_normal(12)
    tokens[::3, 2] = 0.0
    words: dict[str, Any] = {"alpha": 0.01, "tol": 1e-7}
    short = ConvexRegressor("linear_attention", **words).fit(tokens, y)
    padded = np.concatenate([tokens, np.zeros((12, 4, 2))], axis=1)
    long = ConvexRegressor("linear_attention", **words).fit(padded, y)
    assert long.certificate_.upper == pytest.approx(short.certificate_.upper, rel=1e-6)
    np.testing.assert_allclose(long.predict(padded), short.predict(tokens), atol=1e-4)


@pytest.mark.parametrize("positions", ["sinusoidal", "one_hot"])
def test_positions_tell_orders_apart(positions: str) -> None:
    """Whether the token that is one comes early or late: no network without places can tell."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 4, 40)
    tokens = 0.3 * rng.standard_normal((40, 4, 1))
    tokens[np.arange(40), places] += 2.0
    early = places < 2
    words: dict[str, Any] = {"alpha": 1e-3, "random_state": 0}
    blind = ConvexClassifier(Attention(), **words).fit(tokens, early)
    model = ConvexClassifier(Attention(positions=positions), **words).fit(tokens, early)
    assert model.score(tokens, early) == 1.0
    assert blind.score(tokens, early) < 0.9
    turned = tokens[:, ::-1]
    np.testing.assert_allclose(blind.predict(turned), blind.predict(tokens))
    assert (model.predict(turned) != early).mean() > 0.9


@pytest.mark.parametrize("kind", ["linear_attention", "gated_attention"])
def test_tables_and_wrong_shapes_are_told(kind: str) -> None:
    rng = np.random.default_rng(0)
    tokens, y = rng.standard_normal((10, 4, 3)), rng.standard_normal(10)
    model = ConvexRegressor(kind, alpha=0.01, n_gates=2, random_state=0)
    with pytest.raises(ValueError, match=r"pass X of shape \(n, tokens, width\), or the"):
        model.fit(tokens.reshape(10, -1), y)
    with pytest.raises(ValueError, match=r"X has shape \(10, 4, 3, 1\); expected \(n, tokens"):
        model.fit(tokens[..., None], y)
    model.fit(tokens, y)
    with pytest.raises(ValueError, match=r"expected \(n, 4, 3\): pass X.swapaxes\(1, 2\)"):
        model.predict(tokens.swapaxes(1, 2))
    with pytest.raises(ValueError, match=r"X has shape \(10, 5, 3\); expected \(n, 4, 3\)"):
        model.predict(np.zeros((10, 5, 3)))
    np.testing.assert_array_equal(model.predict(tokens.reshape(10, -1)), model.predict(tokens))
    with pytest.raises(ValueError, match=r"X has 12 columns and sequences of 5 tokens of width 3"):
        ConvexRegressor(Attention((5, 3)), alpha=1.0).fit(tokens.reshape(10, -1), y)
    with pytest.raises(ValueError, match=r"rank is given but .* networks see"):
        ConvexRegressor(kind, alpha=1.0, rank=2).fit(tokens, y)


def test_sequences_of_different_lengths_or_widths_are_told() -> None:
    rng = np.random.default_rng(0)
    tokens, y = rng.standard_normal((6, 4, 3)), rng.standard_normal(6)
    model = ConvexRegressor("linear_attention", alpha=0.01)
    with pytest.raises(ValueError, match="sequences have 2 to 4 tokens; pad the shorter ones with"):
        model.fit([*tokens[:5], tokens[5, :2]], y)
    with pytest.raises(ValueError, match="tokens have widths 2, 3; expected one width for all"):
        model.fit([*tokens[:5].tolist(), [[1.0, 2.0], *tokens[5, 1:].tolist()]], y)
    found = model.fit(list(tokens), y).predict(list(tokens))
    np.testing.assert_array_equal(found, model.predict(tokens))
    with pytest.raises(ValueError, match=r"X has shape \(2, 3, 3\); expected \(n, 4, 3\)"):
        model.predict(list(tokens[:2, :3]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"shape": (3,)}, r"shape is \(3,\); expected \(tokens, width\)"),
        ({"shape": (3, 0)}, "two positive integers"),
        ({"readout": "last"}, "readout is 'last'; expected one of mean, sum, first"),
        ({"positions": "learnt"}, "positions is 'learnt'; expected one of none"),
    ],
)
def test_options_out_of_range(words: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Attention(**words)


def test_every_pattern_of_pairs_is_enumerated() -> None:
    """More gates than those of random matrices are never found."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((4, 2))  # two sequences of two tokens
    source = Pairs(2)
    every = source.every(tokens)
    many = source.given(tokens, rng.standard_normal((5000, 2, 2)))
    known = {mask.tobytes() for mask in every.masks}
    found = {mask.tobytes() for mask in many.masks if mask.any()}
    assert len(known) == len(every)
    assert found <= known
    assert len(found) > 0.6 * len(known)
    with pytest.raises(ValueError, match=r"gates have shape \(3, 2\); expected \(p, 2, 2\)"):
        source.given(tokens, np.zeros((3, 2)))


def test_random_gates_are_neither_open_nor_shut_on_shifted_tokens() -> None:
    tokens = 5 + np.random.default_rng(0).standard_normal((400, 6))
    gates = Pairs(4).draw(tokens, 20, np.random.default_rng(1))
    shares = gates.masks.mean(axis=(1, 2))
    assert len(gates) == 20
    assert 0.3 < shares.min() < shares.max() < 0.7


@pytest.mark.parametrize("gated", [False, True])
def test_what_users_do(gated: bool, tmp_path: Path) -> None:
    digits = load_digits()
    tokens, y = (digits.images[:90, ::2, ::2] - 8) / 16, digits.target[:90] % 3
    kind = "gated_attention" if gated else "linear_attention"
    words: dict[str, Any] = {"n_gates": 2} if gated else {}
    model = ConvexClassifier(kind, alpha=3e-4, random_state=0, tol=1e-3, **words).fit(tokens, y)
    assert model.certificate_.proves(1e-3)
    assert model.architecture_.shape == (4, 4)
    assert verify(model, tokens, y)
    assert not verify(model, tokens, (y + 1) % 3)
    own = certify_network(model.network_, tokens, np.eye(3)[y], alpha=3e-4, loss="cross_entropy")
    assert own.upper == pytest.approx(model.certificate_.upper, rel=1e-12)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.decision_function(tokens), model.decision_function(tokens))
    assert again.architecture_ == model.architecture_
    assert verify(again, tokens, y)
    assert model.transform(tokens).shape == (90, model.network_.n_neurons * 5)
    torch = pytest.importorskip("torch")
    module = to_torch(model)
    found = module(torch.tensor(tokens)).detach()
    np.testing.assert_allclose(found, model.decision_function(tokens), atol=1e-9)
    module(torch.tensor(tokens)).sum().backward()
    assert module.hidden.weights_in.grad.abs().sum() > 0


@laws
@given(seed=SEEDS, gated=st.booleans())
def test_the_outputs_are_sums_over_tokens(seed: int, gated: bool) -> None:
    rng = np.random.default_rng(seed)
    n, s, w, m = (int(k) for k in rng.integers(1, 4, 4))
    X = rng.standard_normal((n, s * w))
    network = AttentionNetwork(
        weights_in=rng.standard_normal((m, w + 1, w + 1)),
        weights_out=rng.standard_normal((m, w + 1, 2)),
        intercept=rng.standard_normal(2),
        skip=rng.standard_normal((s * w, 2)),
        tokens=Tokens((s, w)),
        readout=("mean", "sum", "first")[seed % 3],
        gates=rng.standard_normal((m, w + 1, w + 1)) if gated else None,
    )
    parts = network.contributions(X)
    assert parts.shape == (n, s, 2)
    whole = parts.sum(axis=1) + X @ network.skip + network.intercept
    np.testing.assert_allclose(whole, network(X), atol=1e-10 * (1 + np.abs(whole).max()))


def test_alpha_is_found_by_validation() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((40, 3, 2))
    y = np.einsum("nl,nkl->n", tokens.mean(axis=1), tokens) + 0.1 * rng.standard_normal(40)
    model = ConvexRegressor("linear_attention", tol=1e-3, random_state=0).fit(tokens, y)
    assert 0 < model.alpha_ < model.alpha_max_
    assert model.certificate_.proves(1e-3)


def test_narrow_data_are_certified_wide() -> None:
    rng = np.random.default_rng(3)
    tokens, y = rng.standard_normal((30, 5, 3)), rng.standard_normal(30)
    narrow = tokens.astype(np.float32)
    words: dict[str, Any] = {"alpha": 0.02, "tol": 1e-6}
    found = ConvexRegressor("linear_attention", **words).fit(narrow, y)
    wide = ConvexRegressor("linear_attention", **words).fit(narrow.astype(float), y)
    assert found.certificate_.proves(1e-6)
    assert found.certificate_.upper == pytest.approx(wide.certificate_.upper, rel=2e-6)
