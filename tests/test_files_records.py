"""Model files of splines, balls, images and weights -1 and 1: the same to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as arrays_of

from cvxnn import (
    ConvexDenoiser,
    ConvexSpline,
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
