"""The experiment on the last layer, and the backbone that it may have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvxnn.experiments import detection, final_layer
from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.loaders import faces, mobilenet_features


def test_features_are_read(tmp_path: Path) -> None:
    assert mobilenet_features(None) is None
    assert mobilenet_features(tmp_path) is None
    bytes_of = np.array([[2, 4]], dtype=np.uint8)
    labels = np.array([3], dtype=np.uint8)
    np.savez(
        tmp_path / "cifar10_mobilenet_features.npz",
        F_train=bytes_of,
        y_train=labels,
        F_test=bytes_of + 1,
        y_test=labels,
        scale=np.float32(0.5),
    )
    found = mobilenet_features(tmp_path)
    assert found is not None
    assert found.X.tolist() == [[1.0, 2.0]]
    assert found.X_test.tolist() == [[1.5, 2.5]]
    assert found.X.dtype == np.float32
    assert found.y.tolist() == [3]


def weights(rng: np.random.Generator) -> dict[str, Any]:
    """A network of the same form with few channels, whose signals neither die nor saturate."""
    arrays: dict[str, Any] = {"conv0/w": rng.random((3, 3, 3, 2)) / 10, "conv0/b": np.ones(2)}
    for k in range(1, 14):
        arrays |= {f"dw{k}/w": rng.random((3, 3, 2)) / 4, f"dw{k}/b": rng.random(2) / 9}
        arrays |= {f"pw{k}/w": rng.random((2, 2)), f"pw{k}/b": rng.random(2) / 9}
    strides = [2 if k in (2, 4, 6, 12) else 1 for k in range(1, 14)]
    arrays |= {"fc/w": rng.standard_normal((2, 5)), "fc/b": rng.standard_normal(5)}
    return {key: x.astype(np.float32) for key, x in arrays.items()} | {
        "strides_dw1_to_dw13": np.array(strides)
    }


def by_loops(arrays: dict[str, Any], pixels: np.ndarray) -> np.ndarray:
    """The scores of images (n, h, w, 3), written out: padding as TensorFlow's SAME."""

    def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
        side, k = x.shape[1], kernel.shape[0]
        out = -(-side // stride)
        more = max((out - 1) * stride + k - side, 0)
        before = (more // 2, more - more // 2)
        wide = np.pad(x, ((0, 0), before, before, (0, 0)))
        found = np.zeros((len(x), out, out, kernel.shape[3]))
        for i in range(out):
            for j in range(out):
                patch = wide[:, i * stride : i * stride + k, j * stride : j * stride + k, :]
                found[:, i, j] = np.einsum("nabc,abco->no", patch, kernel)
        return np.clip(found + bias, 0.0, 6.0)

    x = convolved((pixels - 128.0) / 128.0, arrays["conv0/w"], arrays["conv0/b"], 2)
    for k, stride in enumerate(arrays["strides_dw1_to_dw13"], 1):
        deep = arrays[f"dw{k}/w"]
        kernel = np.stack([np.diag(row) for row in deep.reshape(9, -1)]).reshape(3, 3, 2, 2)
        x = convolved(x, kernel, arrays[f"dw{k}/b"], int(stride))
        x = convolved(x, arrays[f"pw{k}/w"][None, None], arrays[f"pw{k}/b"], 1)
    return np.asarray(x.mean(axis=(1, 2)) @ arrays["fc/w"] + arrays["fc/b"])


def test_the_backbone_is_the_one_written_out(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert mobilenet(tmp_path) is None
    rng = np.random.default_rng(0)
    arrays = weights(rng)
    np.savez(tmp_path / "mobilenet_v1_050_160.npz", **arrays)
    pixels = rng.integers(0, [[[[128]]], [[[256]]]], (2, 34, 34, 3)).astype(np.float64)
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        scores = mobilenet(tmp_path, head=True)(images)
        features = mobilenet(tmp_path)(images)
    np.testing.assert_allclose(scores, by_loops(arrays, pixels), rtol=1e-4, atol=1e-4)
    again = features.numpy() @ arrays["fc/w"] + arrays["fc/b"]
    np.testing.assert_allclose(again, scores, atol=1e-5)
    assert np.ptp(again, axis=0).max() > 1e-3  # the images are told apart


def test_the_experiment_runs_on_what_is_bundled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    monkeypatch.delenv("CVXNN_DATA", raising=False)
    whole = final_layer.load()
    assert "stand in" in whole.source
    small = whole._replace(X=whole.X[:300], y=whole.y[:300])
    monkeypatch.setattr(final_layer, "load", lambda: small)
    result = final_layer.run(False, 0, tmp_path)
    assert all(path.is_file() for path in result.files)
    assert len(result.table.rows) == 4 + 2  # heads, and filters that tell eights
    accuracies = [float(row[1]) for row in result.table.rows]
    assert min(accuracies) > 0.7
    assert accuracies[0] >= accuracies[1] - 0.02


def test_faces_are_read_with_the_last_quarter_to_test_on(tmp_path: Path) -> None:
    assert faces(None) is None
    assert faces(tmp_path) is None
    shade = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((36, 36), dtype=np.uint8)
    np.savez(tmp_path / "caltech_faces36.npz", faces=shade + 100, nonfaces=shade[:4])
    found = faces(tmp_path)
    assert found is not None
    assert found.X[:, 0, 0].tolist() == [0, 1, 2, 100, 101, 102, 103, 104, 105]
    assert found.y.tolist() == [0] * 3 + [1] * 6
    assert found.X_test[:, 5, 5].tolist() == [3, 106, 107]
    assert found.y_test.tolist() == [0, 1, 1]


def test_curves_and_strips_are_those_of_the_scores() -> None:
    y, scores = np.array([0, 0, 1, 1, 1]), np.array([-2.0, 1.0, 0.5, 3.0, -1.0])
    found = detection.curve(y, scores)
    pairs = [(a > b) + (a == b) / 2 for a in scores[y == 1] for b in scores[y == 0]]
    assert found.area == pytest.approx(np.mean(pairs))
    for alarms, share in zip(found.false_alarms, found.found, strict=True):
        cuts = [((scores[y == 0] >= c).mean(), (scores[y == 1] >= c).mean()) for c in scores]
        assert (alarms, share) in [(0.0, 0.0), *cuts]
    X = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8)
    shown = detection.clearest(X, y == 1, scores)
    assert shown[:, 0, 0].tolist() == [3, 2, 4] + [255] * (detection.SHOWN - 3)


def test_patches_are_told_by_filters_and_by_heads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dark squares on a light ground or not, with the data and a backbone in the folder."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    patches = rng.integers(100, 256, (2, 60, 36, 36)).astype(np.uint8)
    patches[0, :, 8:28, 8:28] //= 4
    np.savez(tmp_path / "caltech_faces36.npz", faces=patches[0], nonfaces=patches[1])
    np.savez(tmp_path / "mobilenet_v1_050_160.npz", **weights(rng))
    monkeypatch.setenv("CVXNN_DATA", str(tmp_path))
    found = detection.measure(False, 0)
    assert (found.samples, found.test_samples) == (90, 30)
    assert [row.gap is None for row in found.rows] == [False, True, False, True, True]
    assert found.shown == "MobileNet, convex head"
    assert found.rows[0].accuracy > 0.9
    assert found.curves[0].area > 0.95
    assert sum(found.counts[:2]) == 15
    assert found.patches.shape == (3, detection.SHOWN, 36, 36)
