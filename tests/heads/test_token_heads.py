"""Attention on frozen features: scaled, projected, summed up, streamed, attached and kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvxnn import Attention, ConvexHead, load, memory, save, verify
from cvxnn.architectures import BY_NAME
from cvxnn.errors import MemoryBudgetError
from cvxnn.gates import NoGates
from cvxnn.heads.tokens import seen_by, sums_of, sums_up, token_scaler

SEEDS = st.integers(0, 2**16)
laws = settings(max_examples=25, deadline=None)


def maps(n: int = 90, d: int = 5, side: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Feature maps (n, d, side, side): whether two channels are bright at the same place."""
    rng = np.random.default_rng(seed)
    found = np.maximum(rng.standard_normal((n, d, side, side)) + 0.5, 0.0)
    y = ((found[:, 0] * found[:, 1]).mean(axis=(1, 2)) > 0.5).astype(int)
    return (found * np.geomspace(0.1, 10.0, d)[:, None, None]).astype(np.float32), y


def tokens_by_hand(X: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([one[:, i, j] for i, j in np.ndindex(3, 3)]) for one in X])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("projection", [None, 3])
def test_section_K_the_module_gives_our_outputs(
    bias: bool, gated: bool, projection: int | None
) -> None:
    """Scaler and projection are folded: the network takes raw tokens, the module maps too."""
    torch = pytest.importorskip("torch")
    X, y = maps()
    kind = Attention(gated=gated, bias=bias, positions="sinusoidal" if projection else "none")
    words: dict[str, Any] = {"alpha": 1e-3, "n_gates": 3, "tol": 1e-3, "random_state": 0}
    head = ConvexHead(kind, projection=projection, **words).fit(X, y)
    held = maps(30, seed=1)[0]
    tokens, scores = tokens_by_hand(held), head.decision_function(held)
    scale = np.abs(scores).max()
    scaler = head._scaler
    assert scaler.basis.shape == (5, projection or 5)
    seen = scaler(tokens.astype(np.float64)).reshape(30, -1)
    np.testing.assert_allclose(head.classifier_.decision_function(seen), scores, atol=1e-6 * scale)
    np.testing.assert_allclose(head.decision_function(tokens), scores, atol=1e-9 * scale)
    with torch.no_grad():
        for each in (held, tokens, tokens.reshape(30, -1)):
            outputs = head.to_torch()(torch.from_numpy(each))
            np.testing.assert_allclose(outputs[:, 0], scores, atol=1e-4 * scale)
    own = scaler(tokens_by_hand(X)).reshape(90, -1)
    assert head.certificate_.proves(1e-3)
    assert verify(head.classifier_, own, y)


def test_tokens_are_scaled_and_projected() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((40, 3, 4)) * [1.0, 10.0, 0.1, 1e-6] + 3.0
    tokens[::4, 2] = 0.0
    scaler = token_scaler(tokens, 0.1, 2)
    real = tokens[tokens.any(axis=2)]
    np.testing.assert_allclose(scaler.mean, real.mean(axis=0), rtol=1e-12)
    deviation = real.std(axis=0)
    np.testing.assert_allclose(scaler.scale[:3], deviation[:3], rtol=1e-9)
    assert scaler.scale[3] == pytest.approx(0.1 * np.median(deviation))  # nearly dead
    seen = scaler(tokens)
    assert not seen[::4, 2].any()
    lengths = np.linalg.norm(seen[tokens.any(axis=2)], axis=1)
    assert np.sqrt((lengths**2).mean()) == pytest.approx(1.0)
    left = np.linalg.svd((real - scaler.mean) / scaler.scale)[2][:2]
    np.testing.assert_allclose(scaler.basis, left.T @ (left @ scaler.basis), atol=1e-9)
    flat = seen[tokens.any(axis=2)]
    np.testing.assert_allclose(flat.T @ flat / len(flat), np.eye(2) / 2, atol=1e-9)  # of one size
    for wrong in (0, 5):
        with pytest.raises(ValueError, match=f"projection is {wrong}; tokens of width 4 take 1 to"):
            token_scaler(tokens, 0.1, wrong)


@laws
@given(seed=SEEDS)
def test_section_G_6_sums_say_what_sequences_do(seed: int) -> None:
    """A query and a triangle are a sequence on which linear attention is the same map."""
    rng = np.random.default_rng(seed)
    n, s, k, c = (int(x) for x in rng.integers((1, 1, 1, 1), (4, 12, 4, 3)))
    kind = Attention(
        (s, k),
        bias=bool(seed % 2),
        readout=("mean", "first")[seed // 2 % 2],
        positions=("none", "sinusoidal")[seed // 4 % 2],
    )
    seen = rng.standard_normal((n, s, k))
    seen[rng.uniform(size=(n, s)) < 0.2] = 0.0
    scaler = token_scaler(seen, 0.1, None)
    kinds = kind, seen_by(kind, scaler, (s, k), sums=True)
    rows = seen.reshape(n, -1), sums_of(kind, seen).reshape(n, -1)
    none = NoGates().every(rows[0])
    lifts = [one.lift(one.features(x), none, c) for one, x in zip(kinds, rows, strict=True)]
    u = rng.standard_normal(lifts[0].in_shape)
    assert lifts[1].in_shape == u.shape
    fits = [lift.apply(u) for lift in lifts]
    np.testing.assert_allclose(fits[1], fits[0], atol=1e-10 * (1 + np.abs(fits[0]).max()))


def test_sums_are_taken_where_they_are_fewer() -> None:
    assert sums_up(Attention(), (50, 6))
    assert not sums_up(Attention(), (5, 6))
    assert not sums_up(Attention(gated=True), (50, 6))
    assert not sums_up(Attention(readout="sum"), (50, 6))


def backbone(torch: Any, side: int = 3) -> Any:
    """A module of images (n, 2, 3 * side, 3 * side) with maps (n, 5, side, side) before its end."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(2, 5, 3, stride=3), torch.nn.ReLU())
    pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    layers = {"body": body, "pool": pool, "fc": torch.nn.Linear(5, 2)}
    model = torch.nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model.eval()


def batches(torch: Any, n: int = 60, side: int = 3, size: int = 16) -> list[Any]:
    rng = np.random.default_rng(3)
    X = torch.from_numpy(rng.standard_normal((n, 2, 3 * side, 3 * side)).astype(np.float32))
    y = (X[:, 0].mean(dim=(1, 2)) > 0).long()
    return [(X[k : k + size], y[k : k + size]) for k in range(0, n, size)]


@pytest.mark.parametrize(("side", "projection"), [(2, None), (7, 2)], ids=["tokens", "sums"])
def test_streams_train_as_arrays_do_and_the_head_attaches(
    side: int, projection: int | None, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    model, loader = backbone(torch, side), batches(torch, side=side)
    words: dict[str, Any] = {"alpha": 3e-3, "tol": 1e-5, "random_state": 0}
    head = ConvexHead("linear_attention", projection=projection, **words)
    head.fit_stream(model.body, loader)
    images = torch.cat([X for X, _ in loader])
    labels = torch.cat([y for _, y in loader]).numpy()
    with torch.no_grad():
        found = model.body(images).numpy()
    whole = ConvexHead("linear_attention", projection=projection, **words).fit(found, labels)
    width = (projection or 5) + 1
    seen = (width + 1, width) if side == 7 else (4, 5)
    assert head.classifier_.architecture_.shape == seen
    assert head.certificate_.upper == pytest.approx(whole.certificate_.upper, rel=1e-4)
    assert head.certificate_.lower <= whole.certificate_.upper * (1 + 1e-6)
    scores, scale = head.decision_function(found), np.abs(whole.decision_function(found)).max()
    np.testing.assert_allclose(scores, whole.decision_function(found), atol=0.02 * scale)
    # in the place of what pools the maps
    head.attach(model, "pool")
    model.fc = torch.nn.Identity()
    with torch.no_grad():
        np.testing.assert_allclose(model(images)[:, 0], scores, atol=1e-4 * scale)
    save(head, tmp_path / "head.safetensors")
    again = load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(again.decision_function(found), scores)
    assert again.shape_ == head.shape_
    more = again.refit(found, labels)
    assert more.certificate_.upper == pytest.approx(head.certificate_.upper, rel=1e-4)


def test_streams_are_refused_before_they_start(monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch")
    model, loader = backbone(torch), batches(torch)
    head = ConvexHead("linear_attention", alpha=1e-2)
    with pytest.raises(ValueError, match=r"batch 1 has 16 tokens of width 5 and the first 9"):
        head.fit_stream(model.body, [loader[0], *batches(torch, side=4)[1:]])
    flat = torch.nn.Sequential(model.body, model.pool).eval()
    with pytest.raises(ValueError, match=r"tokens have shape \(16, 5\); expected \(batch, tokens"):
        head.fit_stream(flat, loader)
    with pytest.raises(ValueError, match="no batches"):
        head.fit_stream(model.body, [])
    with pytest.raises(ValueError, match=r"call backbone\.eval"):
        head.fit_stream(backbone(torch).train().body, loader)
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    with pytest.raises(MemoryBudgetError):
        head.fit_stream(model.body, loader)


def test_alpha_is_validated_on_held_out_samples() -> None:
    X, y = maps(150)
    head = ConvexHead("linear_attention", tol=1e-2, random_state=0).fit(X, y)
    assert head.alpha_ in head.classifier_.alphas_
    pooled = ConvexHead("gated_ridge", n_gates=64, random_state=0).fit(X.mean(axis=(2, 3)), y)
    test, y_test = maps(300, seed=5)
    assert head.score(test, y_test) > pooled.score(test.mean(axis=(2, 3)), y_test) + 0.05


def test_attention_without_more_words_is_linear(tmp_path: Path) -> None:
    X, y = maps(30)
    words: dict[str, Any] = {"alpha": 1e-2, "tol": 1e-3, "random_state": 0}
    short, long = (
        ConvexHead(name, **words).fit(X, y) for name in ("attention", "linear_attention")
    )
    save(short, tmp_path / "head.cvxnn")
    for head in (short, load(tmp_path / "head.cvxnn")):
        assert head.network_.architecture == "linear_attention"
        assert np.array_equal(head.predict(X), long.predict(X))


def test_wrong_tokens_are_told() -> None:
    X, y = maps(30)
    head = ConvexHead("linear_attention", alpha=1e-2).fit(X, y)
    with pytest.raises(ValueError, match=r"X has shape \(30, 5, 9\); expected \(n, 9, 5\): pass"):
        head.predict(X.reshape(30, 5, 9))
    with pytest.raises(ValueError, match="networks see sequences"):
        ConvexHead("linear_attention", alpha=1e-2).fit(X.reshape(30, -1), y)
    ragged = [np.ones((k, 5)) for k in range(1, 31)]
    with pytest.raises(ValueError, match="sequences have 1 to 30 tokens; pad"):
        ConvexHead("linear_attention", alpha=1e-2).fit(ragged, y)
    with pytest.raises(ValueError, match="projection is 6; tokens of width 5 take 1 to 5"):
        ConvexHead("linear_attention", alpha=1e-2, projection=6).fit(X, y)
    assert {"linear_attention", "gated_attention"} <= set(BY_NAME)
