"""Model files of splines, balls, images and weights -1 and 1: the same to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as arrays_of

from cvxnn import (
    ConvexDenoiser,
    ConvexHead,
    ConvexRegressor,
    ConvexSpline,
    ReLU,
    RobustClassifier,
    fit_quantised,
    load,
    save,
    verify,
)
from cvxnn.errors import ModelFormatError, UnsupportedError
from cvxnn.files import sealed
from cvxnn.functions import Huber

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((14, 2)), RNG.standard_normal(14)
CLEAN = RNG.uniform(size=(2, 6, 5))
NOISY = CLEAN + 0.4 * RNG.standard_normal(CLEAN.shape)


def again(model: Any, folder: Path) -> Any:
    save(model, folder / "model.cvxnn")
    return load(folder / "model.cvxnn")


@pytest.mark.parametrize("loss", ["squared", Huber(delta=0.4)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_quantised_fit_is_kept_and_its_bounds_are_recomputed(
    bias: bool, loss: Any, tmp_path: Path
) -> None:
    weights = np.arange(len(X)) % 3 + 1.0
    weights[5] = 0.0
    found = fit_quantised(
        X, Y, alpha=0.05, bias=bias, loss=loss, sample_weight=weights, random_state=0
    )
    loaded = again(found, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X), found.predict(X))
    assert loaded.certificate == found.certificate
    assert (loaded.guarantee, loaded.ratio) == (found.guarantee, found.ratio)
    for model in (found, loaded):
        assert verify(model, X, Y, weights)
        told = verify(model, X, Y + 1, weights)
        assert not told.accepted
        assert "not the data" in told.reason
        assert not verify(model, X[1:], Y[1:], weights[1:])
    with pytest.raises(ValueError, match=r"expected finite numbers \(n, 2\)"):
        loaded.predict(X[:, :1])


def test_a_better_guarantee_than_is_proved_is_refused() -> None:
    found = fit_quantised(X, Y, alpha=0.05, random_state=0)
    fields = vars(found) | {"guarantee": 0.9 * found.guarantee}
    assert "the guarantee is" in verify(type(found)(**fields), X, Y).reason
    lower = vars(found.certificate) | {"lower": found.certificate.upper}
    fields = vars(found) | {"certificate": type(found.certificate)(**lower)}
    assert "the dual vector proves" in verify(type(found)(**fields), X, Y).reason


@pytest.mark.parametrize("text", [False, True])
def test_a_robust_classifier(text: bool, tmp_path: Path) -> None:
    labels, gates = (np.where(Y > 0, "up", "down"), np.eye(3)) if text else (Y > 0, "enumerate")
    model = RobustClassifier(0.01, radius=0.05, gates=gates, bias=text).fit(X, labels)
    loaded = again(model, tmp_path)
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.certificate_ == model.certificate_
    assert loaded.all_networks_ == model.all_networks_
    assert loaded.robust_score(X, labels) == model.robust_score(X, labels)
    np.testing.assert_array_equal(loaded.worst_case_.points, model.worst_case_.points)


@pytest.mark.parametrize("skip", [False, True])
def test_a_spline(skip: bool, tmp_path: Path) -> None:
    model = ConvexSpline(0.01, skip=skip).fit(X[:, :1], Y)
    loaded = again(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X[:, :1]), model.predict(X[:, :1]))
    np.testing.assert_array_equal(loaded.knots_, model.knots_)
    assert (loaded.decay_, loaded.alpha_max_) == (model.decay_, model.alpha_max_)
    assert verify(loaded, X[:, :1], Y)
    assert not verify(loaded, X[:, :1], Y[::-1])


@pytest.mark.parametrize("architecture", ["gated", "relu"])
def test_a_denoiser(architecture: str, tmp_path: Path) -> None:
    words = {"alpha": 1e-3, "gates": "sample", "n_gates": 4, "samples": 40, "random_state": 0}
    model = ConvexDenoiser(architecture, **words).fit(NOISY, CLEAN)
    loaded = again(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(NOISY), model.predict(NOISY))
    assert loaded.certificate_ == model.certificate_
    assert verify(loaded, NOISY, CLEAN)
    labels = [each.filters(NOISY).labels for each in (loaded, model)]
    np.testing.assert_array_equal(*labels)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.cvxnn"
    save(ConvexDenoiser(alpha=0.01, n_gates=4, random_state=0).fit(NOISY, CLEAN), path)
    header, _ = sealed.read(path)
    arrays = arrays_of(path.read_bytes())
    header["steps"][0]["params"]["patch"] = 5
    sealed.write(path, header, arrays)
    with pytest.raises(ModelFormatError, match="not one of patches of side 5"):
        load(path)
    save(ConvexSpline(0.01).fit(X[:, :1], Y), path)
    header, _ = sealed.read(path)
    del header["steps"][0]["held"]["dual_"]
    sealed.write(path, header, arrays_of(path.read_bytes()))
    with pytest.raises(ModelFormatError, match="it holds"):
        load(path)
    model = RobustClassifier(0.01).fit(X, Y > 0)
    model.worst_case_ = object()
    with pytest.raises(UnsupportedError, match="cannot hold"):
        save(model, path)


WIDE = X[:, :1] * np.array([1.0, 100.0, 0.0]) + RNG.standard_normal((14, 3)) + 5.0
HEADS: list[dict[str, Any]] = [
    {"alpha": 0.01, "n_gates": 7},
    {"n_gates": 5, "validation": 0.4},
    {"architecture": "gated", "alpha": 0.01, "gates": np.eye(4)},
    {"architecture": ReLU(bias=False), "alpha": 0.05, "tol": 0.1, "loss": "squared"},
]


@pytest.mark.filterwarnings("ignore:the time limit came first")  # on a machine that is busy
@pytest.mark.parametrize("words", HEADS, ids=lambda words: "-".join(words))
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_head_with_its_scaler(words: dict[str, Any], kind: Any, tmp_path: Path) -> None:
    labels, features = np.where(Y > 0, "up", "down"), WIDE.astype(kind)
    head = ConvexHead(random_state=0, max_time=3.0, **words).fit(features, labels)
    loaded = again(head, tmp_path)
    np.testing.assert_array_equal(loaded.decision_function(WIDE), head.decision_function(WIDE))
    np.testing.assert_array_equal(loaded.predict(WIDE), head.predict(WIDE))
    np.testing.assert_array_equal(loaded.mean_, head.mean_)
    np.testing.assert_array_equal(loaded.scale_, head.scale_)
    assert (loaded.certificate_, loaded.alpha_) == (head.certificate_, head.alpha_)
    assert (loaded.n_features_in_, loaded.classes_.tolist()) == (3, ["down", "up"])
    seen = ((features - loaded.mean_) / loaded.scale_).astype(kind)
    assert verify(loaded.classifier_, seen, labels)
    if loaded.classifier_.proof_ is None:
        refitted = [each.refit(features, labels).decision_function(WIDE) for each in (loaded, head)]
        np.testing.assert_allclose(*refitted)


def broken(change: str, header: Any, arrays: Any) -> None:
    step = header["steps"][0]
    if change == "no scaler":
        del step["held"]["mean_"]
    elif change == "a narrower scaler":
        arrays["0.scale_"] = arrays["0.scale_"][:2]
    elif change == "a scale of zero":
        arrays["0.scale_"][1] = 0.0
    elif change == "other features":
        step["features"] = 2
    elif change == "another strength":
        step["params"]["alpha"] = 0.02
    elif change == "another architecture":
        step["params"]["architecture"] = "gated"
    elif change == "numbers that are none":
        arrays["0.mean_"][0] = np.nan


REFUSED = {
    "no scaler": "it holds",
    "a narrower scaler": "its scaler has shapes",
    "a scale of zero": "not positive",
    "other features": "there are 2 features",
    "another strength": "its alpha is 0.02",
    "another architecture": "not one of its architecture",
    "numbers that are none": "NaN",
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_head_that_was_tampered_with_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "model.cvxnn"
    head = ConvexHead(alpha=0.01, n_gates=7, random_state=0).fit(WIDE, Y > 0)
    save(head, path)
    content = path.read_bytes()
    header, _ = sealed.read(path)
    arrays = {name: np.array(array) for name, array in arrays_of(content).items()}
    broken(change, header, arrays)
    sealed.write(path, header, arrays)
    with pytest.raises(ModelFormatError, match=REFUSED[change]):
        load(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # one bit, the checksum left
    with pytest.raises(ModelFormatError):
        load(path)
    head.classifier_ = ConvexRegressor("gated_ridge", alpha=0.01, n_gates=7).fit(WIDE, Y)
    with pytest.raises(UnsupportedError, match="it holds no classifier"):
        save(head, path)
