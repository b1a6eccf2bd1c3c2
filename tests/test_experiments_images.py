"""The experiments on images and signals: their numbers against what is known otherwise."""

from pathlib import Path

import numpy as np
import pytest

from cvxnn import DeepConvReLU
from cvxnn.architectures import DeepConvGated
from cvxnn.experiments import (
    cifar_conv,
    cnn_synthetic,
    cnn_three,
    descent_three,
    gan_faces,
    layerwise,
)
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


def test_no_descent_on_images_goes_below_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)
    monkeypatch.setattr(cifar_conv, "WIDTHS", (8,))
    findings = cifar_conv.measure()
    grown, drawn = findings.grown, findings.lanes[0]
    assert (findings.shape, findings.patch, findings.places) == ((1, 8, 8), 16, 9)
    assert 0 < grown.bound <= grown.objective
    assert grown.scope == "ALL_NETWORKS"
    assert drawn.objective.min() >= grown.bound
    assert findings.gated.gap <= cifar_conv.TOL
    assert findings.accuracy[0].shape == drawn.objective.shape
    assert min(findings.grown_accuracy, findings.gated.accuracy, *findings.ends) > 0.8
    assert "stand in for it" in cifar_conv.notes(findings)[0]


def test_binary_batches_become_channels_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source's own form: a label, then 1,024 bytes each of red, green and blue."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    labels = np.array([0, 1, 2, 1, 0], dtype=np.uint8)
    planes = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    rows = np.column_stack([labels, planes.reshape(5, -1)])
    for name in ("data_batch_1.bin", "test_batch.bin"):
        rows.tofile(folder / name)
    monkeypatch.setenv("CVXNN_DATA", str(tmp_path))
    for halved in (False, True):
        data = cifar_conv.load(4, halved, np.random.default_rng(1))
        side = 16 if halved else 32
        assert data.shape == (3, side, side)
        assert sorted(data.y) == [-1, -1, 1, 1]
        two = planes[labels < 2] / 1.0
        if halved:
            two = sum(two[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        two = (two - two.mean(axis=0)).reshape(4, -1)  # all four train: the mean is theirs
        expected = two / np.sqrt((two**2).sum(axis=1).mean())
        np.testing.assert_allclose(data.X_test, expected, atol=1e-12)
        assert (data.X**2).sum(axis=1).mean() == pytest.approx(1.0)


# cnn-3layer


@pytest.mark.parametrize("gated", [False, True])
def test_descent_on_three_layers_has_torchs_gradient_and_the_networks_outputs(gated: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    signals, y = rng.standard_normal((6, 5)), rng.standard_normal(6)
    kind = (DeepConvGated if gated else DeepConvReLU)(shape=(1, 5), kernel=3, bias=False)
    X = kind.patches.rows(signals).reshape(6, 3, 3)
    layers = descent_three.Layers(*(rng.standard_normal((2, 4, *k)) for k in ((3,), (3,), ())))
    gates = rng.standard_normal((4, 3, 4)) if gated else None
    open_ = descent_three.opened(X, gates) if gated else None
    u, w, a = (torch.tensor(each, requires_grad=True) for each in layers)
    first = torch.einsum("nkh,smh->smnk", torch.tensor(X), u)
    first = first * torch.tensor(open_.first) if gated else first.relu()
    second = torch.einsum("smnk,smk->smn", first, w)
    second = second * torch.tensor(open_.second) if gated else second.relu()
    fit = torch.einsum("smn,sm->sn", second, a)
    cubes = (u.norm(dim=2) ** 3 + w.norm(dim=2) ** 3 + a.abs() ** 3).sum(dim=1)
    value = ((fit - torch.tensor(y)) ** 2).mean(dim=1) / 2 + 0.1 / 3 * cubes
    value.sum().backward()
    found = descent_three.objective(X, y, 0.1, layers, open_)
    np.testing.assert_allclose(found, value.detach(), rtol=1e-12)
    for own, part in zip(descent_three.gradient(X, y, 0.1, layers, open_), (u, w, a), strict=True):
        np.testing.assert_allclose(own, part.grad, atol=1e-12)
    arrays = {
        "weights_in": layers.filters[0][:, None],
        "weights_hidden": layers.places[0],
        "weights_out": layers.outward[0][:, None],
        "intercept": np.zeros(1),
        "skip": np.zeros((5, 1)),
    }
    network = kind.network(arrays | ({"gates": gates} if gated else {}))
    np.testing.assert_allclose(network(signals)[:, 0], fit[0].detach(), atol=1e-12)


def test_no_gated_descent_goes_below_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)
    monkeypatch.setattr(cnn_three, "WIDTHS", (6, 6))
    monkeypatch.setattr(cnn_three, "STEPS", 300)
    findings = cnn_three.measure()
    for one in findings.contests:
        assert one.gap <= cnn_three.TOL
        assert one.gated.objective.min() >= one.bound * (1 - 1e-9)
        assert one.printed < one.bound
        assert "stand in" in one.source
    assert len(cnn_three.table(findings).rows) == 6


def test_images_as_block_means() -> None:
    """Blocks whose borders cut pixels weigh them by area; a ring has no end."""
    images = np.random.default_rng(0).uniform(size=(3, 4, 6, 3))
    means = cnn_three.blocks(images, (2, 3))
    expected = images.mean(axis=3).reshape(3, 2, 2, 3, 2).mean(axis=(2, 4)).reshape(3, 6)
    np.testing.assert_allclose(means, expected, atol=1e-14)
    np.testing.assert_allclose(cnn_three.blocks(images, (3, 4)).mean(1), images.mean((1, 2, 3)))
    ring = np.arange(5.0)[None]
    turned = np.roll(ring, 2, axis=1)
    kind = DeepConvReLU(shape=(1, 7), kernel=3, bias=False)
    one, other = (kind.patches.rows(cnn_three.around(x)) for x in (ring, turned))
    np.testing.assert_array_equal(np.roll(one, 2, axis=0), other)


# gan-faces


def test_generators_of_images_on_what_is_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)
    monkeypatch.setattr(gan_faces, "MADE", 1500)
    findings = gan_faces.measure()
    assert findings.critic == pytest.approx(findings.lam, rel=1e-9)
    rows = {row.name: row for row in findings.rows}
    for row in findings.rows:
        if not np.isnan(row.gap):
            assert row.gap <= 1e-9
            assert rows["other real images"].sliced < row.sliced
    assert min(rows["polynomial"].precision, rows["gated"].precision) > rows["linear"].precision
    kept = np.maximum(findings.spectrum - findings.lam, 0)
    np.testing.assert_allclose(findings.made, kept, atol=1e-9)
    first, last = findings.ranks
    assert first < last
    assert "stand in for them" in gan_faces.notes(findings)[0]
    assert gan_faces.strip(np.zeros((3, 4, 5))).shape == (4, 17)
