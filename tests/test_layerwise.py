"""Networks trained stage by stage: every stage against closed forms, and what goes in and out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from cvxnn import LayerwiseClassifier, Stage, load, save, stagewise
from cvxnn.certificate import Exactness, Scope
from cvxnn.errors import UnsupportedError
from cvxnn.stages import Columns, columns_of
from cvxnn.whitening import whitening

DATA = load_digits()
X, Y = DATA.images[:600, None], DATA.target[:600]
FIRST = Stage(kernel=3, n_gates=8)
SECOND = Stage(kernel=2, n_gates=6, cells=1, halve=False)


@pytest.fixture(scope="module")
def model() -> LayerwiseClassifier:
    return LayerwiseClassifier([FIRST, SECOND], random_state=0).fit(X, Y)


def columns(model: LayerwiseClassifier, count: int) -> np.ndarray:
    """The standardised columns of some stages, for the images trained on, to the last bit."""
    stages, images = model.stages_[:count], X.reshape(len(X), -1)
    settings, known = model._settings(), [each.columns for each in stages]
    # products in float32 are rounded otherwise where they have other rows beside them
    blocks = [settings.columns(known, images[rows]) for rows in stagewise.row_blocks(len(X))]
    parts = [np.concatenate(part) for part in zip(*blocks, strict=True)]
    return np.hstack(
        [(part - s.centre) / s.scale for part, s in zip(parts, stages, strict=True)]
    ).astype(np.float64)


@pytest.mark.parametrize("count", [1, 2])
def test_a_stage_is_the_ridge_regression_on_its_columns(
    model: LayerwiseClassifier, count: int
) -> None:
    stage, phi = model.stages_[count - 1], columns(model, count)
    target = np.where(Y[:, None] == model.classes_, 1.0, -1.0)
    oracle = Ridge(alpha=stage.alpha * len(phi), solver="svd").fit(phi, target)
    loss = 0.5 * np.square(oracle.predict(phi) - target).sum(axis=1).mean()
    best = loss + stage.alpha / 2 * np.square(oracle.coef_).sum()
    assert stage.certificate.upper == pytest.approx(best, rel=1e-6)
    assert stage.certificate.lower <= best * (1 + 1e-9)
    assert stage.certificate.proves(1e-6)
    assert stage.certificate.scope is Scope.GIVEN_GATES
    assert stage.certificate.exactness is Exactness.GATED
    np.testing.assert_allclose(np.vstack(stage.blocks), oracle.coef_.T, atol=1e-5)
    scores = model.decision_function(X, stages=count)
    np.testing.assert_allclose(scores, oracle.predict(phi), atol=1e-4)


@pytest.mark.parametrize("mirror", [False, True])
def test_later_stages_alone_have_the_same_columns(mirror: bool) -> None:
    both = LayerwiseClassifier([FIRST, SECOND], alpha=0.1, mirror=mirror, random_state=0).fit(X, Y)
    settings, stages = both._settings(), [each.columns for each in both.stages_]
    rows = X[:20].reshape(20, -1)
    every, last = settings.columns(stages, rows), settings.columns(stages, rows, since=1)
    assert len(every) == 2
    assert len(last) == 1
    np.testing.assert_array_equal(last[0], every[1])


def test_factors_precondition_the_systems_of_weaker_strengths(monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((150, 60)) @ rng.standard_normal((60, 60)) / 8
    moments, right = phi.T @ phi / 150, phi.T @ rng.standard_normal((150, 3)) / 150
    lower = np.asfortranarray(np.tril(moments), dtype=np.float32)
    factored: list[int] = []
    cholesky = stagewise.cholesky
    monkeypatch.setattr(stagewise, "WIDE", 0)
    monkeypatch.setattr(stagewise, "cholesky", lambda x: factored.append(len(x)) or cholesky(x))
    ridges = stagewise._Ridges(lower, right.astype(np.float32))
    for alpha in stagewise.STRENGTHS[:9]:
        oracle = np.linalg.solve(moments + alpha * np.eye(60), right)
        found = phi @ ridges.at(float(alpha))
        np.testing.assert_allclose(found, phi @ oracle, atol=1e-3 * np.abs(phi @ oracle).max())
    assert len(factored) == 3
    with pytest.raises(np.linalg.LinAlgError):  # where there is no solution none is made up
        stagewise._Ridges(-lower, right.astype(np.float32)).at(0.1)


def test_training_loss_does_not_rise(model: LayerwiseClassifier) -> None:
    target = np.where(Y[:, None] == model.classes_, 1.0, -1.0)
    losses = [np.square(model.decision_function(X, stages=t) - target).mean() for t in (1, 2)]
    assert losses[1] <= losses[0] * (1 + 1e-6)


@pytest.mark.parametrize("alpha", [30.0, 1e-3])
def test_training_loss_does_not_rise_by_a_penalty_that_is_the_same(alpha: float) -> None:
    words: dict[str, Any] = {"alpha": alpha, "random_state": 1}
    model = LayerwiseClassifier([FIRST, SECOND], **words).fit(X, Y)
    first, second = model.stages_
    target = np.where(Y[:, None] == model.classes_, 1.0, -1.0)
    losses = [np.square(model.decision_function(X, stages=t) - target).mean() for t in (1, 2)]
    assert losses[1] <= losses[0] * (1 + 1e-6)
    assert second.alpha <= first.alpha == alpha


def test_one_stage_is_the_first_of_two(model: LayerwiseClassifier) -> None:
    alone = LayerwiseClassifier([FIRST], random_state=0).fit(X, Y)
    early = model.decision_function(X, stages=1)
    np.testing.assert_allclose(alone.decision_function(X), early, atol=1e-6)


def by_the_formula(stage: Columns, image: np.ndarray) -> np.ndarray:
    """The columns of one image, loop by loop."""
    c, height, width = stage.patches.shape
    kh, kw = stage.patches.kernel
    rows, cols = stage.patches.places
    pixels = image.reshape(c, height, width)
    cells = stage.patches.cells
    sums = np.zeros((len(stage.generators), *cells, stage.whitening.width))
    counts = np.zeros(cells)
    for i in range(rows):
        for j in range(cols):
            z = stage.whitening(pixels[:, i : i + kh, j : j + kw].reshape(1, -1))[0]
            cell = (i * cells[0] // rows, j * cells[1] // cols)
            counts[cell] += 1
            for gate, generator in enumerate(stage.generators):
                if generator @ z >= 0:
                    sums[gate, *cell] += z
    return (sums / counts[:, :, None]).ravel()


def test_columns_are_their_formula() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(20, 2 * 7 * 6)).astype(np.float32)
    stage = columns_of(Stage(kernel=(3, 2), n_gates=5, cells=(2, 3)), (2, 7, 6), images, rng)
    np.testing.assert_allclose(
        stage(images[:4]), [by_the_formula(stage, image) for image in images[:4]], atol=1e-5
    )


def test_whitened_patches_are_uncorrelated_and_faint_directions_stay_faint() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4000, 5)) * [4.0, 3.0, 2.0, 1.0, 0.01]
    found = whitening(rows, keep=5, level=False)(rows)
    spread = np.cov(found[:, :-1].T)
    np.testing.assert_allclose(spread - np.diag(np.diag(spread)), 0, atol=1e-3)
    assert spread[0, 0] > 0.9 > spread[3, 3] > 100 * spread[4, 4]


def test_a_mirrored_network_cannot_tell_left_from_right() -> None:
    model = LayerwiseClassifier([FIRST, SECOND], mirror=True, alpha=0.3, random_state=0)
    scores = model.fit(X, Y).decision_function(X)
    np.testing.assert_allclose(model.decision_function(X[..., ::-1]), scores, atol=1e-5)


def test_columns_in_a_file_are_those_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    words: dict[str, Any] = {"alpha": 0.3, "random_state": 0}
    held = LayerwiseClassifier([FIRST], **words).fit(X, Y).decision_function(X)
    monkeypatch.setattr(stagewise, "available", lambda: 0)
    written = LayerwiseClassifier([FIRST], **words).fit(X, Y).decision_function(X)
    np.testing.assert_array_equal(held, written)


def test_bytes_and_floats_are_the_same_images() -> None:
    pixels = np.round(X * (255 / 16)).astype(np.uint8)
    words: dict[str, Any] = {"alpha": 0.3, "random_state": 0}
    scores = [
        LayerwiseClassifier([FIRST], **words).fit(given, Y).decision_function(given)
        for given in (pixels, pixels / 255.0)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_a_dense_stage_sees_whole_images() -> None:
    stage = Stage(kernel=None, n_gates=16, directions=20)
    model = LayerwiseClassifier([stage], random_state=0).fit(X, Y)
    assert model.stages_[0].columns.patches.count == 1
    assert model.score(X, Y) > 0.97


def test_a_clone_trains_the_same() -> None:
    first = LayerwiseClassifier([FIRST], alpha=0.3, random_state=0)
    scores = [each.fit(X, Y).decision_function(X) for each in (first, clone(first))]
    np.testing.assert_array_equal(*scores)


def test_callbacks_end_the_training() -> None:
    told: list[int] = []

    def stop(stages: list[Any]) -> bool:
        told.append(len(stages))
        return True

    model = LayerwiseClassifier([FIRST, SECOND], alpha=0.3, callbacks=(stop,)).fit(X, Y)
    assert told == [1]
    assert len(model.stages_) == 1


def test_torch_gives_the_same_scores(model: LayerwiseClassifier) -> None:
    torch = pytest.importorskip("torch")
    from cvxnn.export import to_torch

    mirrored = LayerwiseClassifier([FIRST, SECOND], mirror=True, alpha=0.1, random_state=0)
    for each in (model, mirrored.fit(X, Y)):
        scores = to_torch(each)(torch.tensor(DATA.images[600:, None], dtype=torch.float32))
        expected = each.decision_function(DATA.images[600:, None])
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_file_gives_the_same_model(model: LayerwiseClassifier, tmp_path: Path) -> None:
    save(model, tmp_path / "digits.cvxnn")
    again = load(tmp_path / "digits.cvxnn")
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    np.testing.assert_array_equal(again.predict(X, stages=1), model.predict(X, stages=1))
    assert again.certificate_ == model.certificate_
    assert again.get_params() | {"random_state": 0} == model.get_params() | {"callbacks": None}


def test_a_file_whose_stages_do_not_fit_is_refused(
    model: LayerwiseClassifier, tmp_path: Path
) -> None:
    stage = model.stages_[0]
    odd = clone(model)
    for name in LayerwiseClassifier._held:
        setattr(odd, name, getattr(model, name))
    odd.n_features_in_ = model.n_features_in_
    odd.stages_ = [replace(stage, centre=stage.centre[1:])]
    with pytest.raises(UnsupportedError, match="do not fit together"):
        save(odd, tmp_path / "odd.cvxnn")


def broken(change: Callable[[np.ndarray], None]) -> np.ndarray:
    images = X.copy()
    change(images)
    return images


@pytest.mark.parametrize(
    ("images", "labels", "words", "said"),
    [
        (np.moveaxis(np.repeat(X, 3, 1), 1, -1), Y, {}, "channels last"),
        (X.reshape(len(X), -1), Y, {}, "shape="),
        (X.reshape(len(X), -1), Y, {"shape": (1, 9, 9)}, r"expected images of shape \(1, 9, 9\)"),
        ([*X[:5], X[0][:, :7]], Y[:6], {}, "image 0 has shape .* image 5 has .* to one size"),
        (X, np.zeros(len(X)), {}, "one class"),
        (X, Y[:-1], {}, "pass a label an image"),
        (X, np.where(np.arange(len(X)) == 0, 11, Y), {}, "a class has one image"),
        (np.ones_like(X), Y, {}, "every patch of the images is constant"),
        (X, Y, {"alpha": -1.0}, "alpha is -1.0"),
        (X, Y, {"stages": []}, "pass one or more"),
        (X, Y, {"stages": [Stage(kernel=9)]}, "smaller kernel"),
        (X, Y, {"stages": [FIRST, Stage(kernel=5)]}, "smaller kernel"),
        (X, Y, {"contrast": -1.0}, "contrast is -1.0"),
        (X, Y, {"validation": 1.5}, "validation is 1.5"),
        (broken(lambda x: x.__setitem__((0, 0, 0, 0), np.nan)), Y, {}, "not finite"),
        (X.astype(str), Y, {}, "pass pixels as numbers"),
    ],
)
def test_bad_input_is_told(images: Any, labels: Any, words: dict[str, Any], said: str) -> None:
    model = LayerwiseClassifier(**{"stages": [FIRST], "random_state": 0} | words)
    with pytest.raises(ValueError, match=said):
        model.fit(images, labels)


def test_images_of_another_range_are_told(model: LayerwiseClassifier) -> None:
    with pytest.raises(ValueError, match="same range"):
        model.predict(X / 16)
    with pytest.raises(ValueError, match="one of 1 to 2"):
        model.predict(X, stages=3)
    with pytest.raises(ValueError, match="expected"):
        model.predict(X[:, :, :7])


def test_more_columns_than_images_and_a_strength_that_is_chosen() -> None:
    """Float32 moments are singular: strengths that rounding hides end the search."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(60, 1, 12, 12))
    labels = np.arange(60) % 2
    images[labels == 1, 0, 3:9, 3:9] /= 2
    model = LayerwiseClassifier([Stage(kernel=5, n_gates=16)], random_state=0).fit(images, labels)
    assert model.certificate_.proves(1e-6)
    assert model.score(images, labels) == 1.0


def test_gates_must_be_some() -> None:
    with pytest.raises(ValueError, match="n_gates is 0"):
        Stage(n_gates=0)
