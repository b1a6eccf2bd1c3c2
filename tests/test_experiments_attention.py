"""The experiment on attention of frozen tokens, its maps, and the head by Adam beside it."""

from typing import Any

import numpy as np
import pytest

from cvxnn import ConvexClassifier, ConvexHead, GatedReLU
from cvxnn.display import AttentionDisplay
from cvxnn.experiments import attention_transfer
from cvxnn.experiments.attention_adam import adam_attention


def early(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Three classes: which of three channels are bright at one place."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    tokens = 0.3 * rng.standard_normal((n, 4, 3))
    tokens[np.arange(n), rng.integers(0, 4, n), y] += 1.5
    return tokens, y


def test_maps_are_what_tokens_add() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y = early()
    model = ConvexClassifier("linear_attention", alpha=1e-2, tol=1e-3).fit(X, y)
    shown = AttentionDisplay.from_estimator(model, X[:6], np.zeros((6, 8, 8)), grid=(2, 2))
    parts = model.network_.contributions(X[:6].reshape(6, -1))
    told = model.predict(X[:6])
    for k in range(6):
        own = parts[k, :, told[k]] - parts[k].mean(axis=1)
        np.testing.assert_allclose(shown.maps[k].ravel(), own)
        assert shown.maps[k].argmax() == np.abs(X[k]).max(axis=1).argmax()  # the bright place
    drawn = shown.plot()
    assert len(drawn.axes_) == 6
    np.testing.assert_array_equal(drawn.axes_[0].images[1].get_array(), shown.maps[0])
    plt.close("all")
    binary = ConvexClassifier("gated_attention", alpha=1e-2, n_gates=2, tol=1e-2, random_state=0)
    binary.fit(X, y > 0)
    signed = AttentionDisplay.from_estimator(binary, X[:6], np.zeros((6, 8, 8)), grid=(2, 2))
    score = binary.decision_function(X[:6])
    outer = binary.network_.intercept[0]
    whole = signed.maps.sum(axis=(1, 2)) + np.sign(score) * outer
    np.testing.assert_allclose(whole, np.abs(score), atol=1e-9)


def test_wrong_displays_are_told() -> None:
    X, y = early()
    images = np.zeros((2, 8, 8))
    other = ConvexClassifier(GatedReLU(), alpha=0.1, n_gates=4, random_state=0)
    other.fit(X.reshape(80, -1), y)
    with pytest.raises(ValueError, match="has no attention network; pass a classifier fitted with"):
        AttentionDisplay.from_estimator(other, X[:2], images, grid=(2, 2))
    model = ConvexHead("linear_attention", alpha=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r"grid is \(3, 2\); expected one of 4 tokens"):
        AttentionDisplay.from_estimator(model, X[:2], images, grid=(3, 2))
    with pytest.raises(ValueError, match="2 images, 3 maps and 2 titles"):
        AttentionDisplay(images, np.zeros((3, 2, 2)))


def test_adam_learns_the_same_scores() -> None:
    pytest.importorskip("torch")
    X, y = early(120)
    scores = adam_attention(X[:90], y[:90], 4, seconds=2.0, decay=1e-3, seed=0)
    assert scores(X[90:]).shape == (30, 3)
    assert (scores(X[90:]).argmax(axis=1) == y[90:]).mean() > 0.8


def test_the_findings_belong_together(monkeypatch: Any) -> None:
    """On few digits: names, sizes and proofs; the whole is run by the command."""
    pytest.importorskip("matplotlib")
    whole = attention_transfer._patches(False, 0)
    few = whole._replace(X=whole.X[:120], y=whole.y[:120], X_test=whole.X_test[:100])
    few = few._replace(y_test=few.y_test[:100], images=few.images[:100])
    monkeypatch.setattr(attention_transfer, "load", lambda full, seed: few)
    quick: Any = lambda *given, **words: ConvexHead(*given, **{"alpha": 0.1} | words)  # noqa: E731
    monkeypatch.setattr(attention_transfer, "ConvexHead", quick)
    monkeypatch.setattr(attention_transfer, "torch_is_ready", lambda: False)
    found = attention_transfer.measure()
    assert found.tokens == (36, 11)
    assert found.rows[0].gap is not None
    assert found.rows[0].gap <= 1e-2
    heads = len(found.strengths)
    # merged weights of 12 x 12 and 12 x 10, the projection and its shift, the intercept
    assert found.rows[0].parameters == heads * (144 + 120) + 11 * 11 + 11 + 10
    assert found.maps.shape == (10, 6, 6)
    assert (np.diff(found.strengths) <= 0).all()
    assert len(attention_transfer.table(found).rows) == len(found.rows) == 4
    figure = attention_transfer.draw(found)
    assert len(figure.axes) == 3 + 10
