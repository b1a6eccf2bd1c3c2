"""The experiments on images and signals: their numbers against what is known otherwise."""

import numpy as np
import pytest

from cvxnn.experiments import cnn_synthetic, layerwise
from cvxnn.experiments.descent import Weights, descend, objective, outputs


def test_descent_on_patches_is_descent_on_a_convolutional_network() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 7)), rng.standard_normal(5)
    patches = np.stack([X[:, k : k + 3] for k in (0, 2, 4)], axis=1).reshape(15, 3)
    words = {"width": 4, "starts": 2, "steps": 3, "step_size": 0.1, "places": 3}
    found = descend(patches, y, 0.05, rng=np.random.default_rng(1), **words)
    first = np.random.default_rng(1)
    inward, outward = first.standard_normal((2, 4, 3)), first.standard_normal((2, 4))
    for start in range(2):
        u, a = (torch.tensor(each[start], requires_grad=True) for each in (inward, outward))
        rule = torch.optim.SGD([u, a], 0.1)
        for _ in range(3):
            rule.zero_grad()
            hidden = torch.nn.functional.conv1d(torch.tensor(X)[:, None], u[:, None], stride=2)
            fit = hidden.relu().sum(dim=2) @ a
            loss = ((fit - torch.tensor(y)) ** 2).mean() / 2
            (loss + 0.05 / 2 * ((u**2).sum() + (a**2).sum())).backward()
            rule.step()
        np.testing.assert_allclose(found.weights.inward[start], u.detach(), atol=1e-12)
        np.testing.assert_allclose(found.weights.outward[start], a.detach(), atol=1e-12)


def test_one_place_is_a_dense_network() -> None:
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((6, 2)), Weights(np.ones((1, 3, 2)), np.ones((1, 3)))
    np.testing.assert_allclose(outputs(X, weights)[0], 3 * np.maximum(X.sum(axis=1), 0))
    together = outputs(X, weights).reshape(1, 3, 2).sum(axis=2)
    np.testing.assert_allclose(outputs(X, weights, places=2), together)
    assert objective(X, np.zeros(3), 0.0, weights, places=2) == pytest.approx(
        (together**2).mean(axis=1) / 2
    )


def test_no_descent_goes_below_the_enumerated_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cnn_synthetic, "WIDTHS", (6,))
    findings = cnn_synthetic.measure()
    grown = findings.grown
    assert grown.scope == "ALL_NETWORKS"
    assert grown.objective == pytest.approx(grown.bound, rel=1e-6)
    assert findings.lanes[0].objective.min() >= grown.bound * (1 - 1e-9)
    assert f"{findings.patterns} patterns" in cnn_synthetic.notes(findings)[0]


def test_stages_on_what_is_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)
    findings = layerwise.measure()
    assert [row.gap <= 1e-6 for row in findings.rows] == [True, True]
    assert min(row.test for row in findings.rows) > 0.97
    assert len(layerwise.table(findings).rows) == 2
