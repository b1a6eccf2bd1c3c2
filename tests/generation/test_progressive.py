"""Stages of generators: rank, covariance, and what they hand on (section H, 3 and 7)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cvxnn import ConvexGAN, ProgressiveGAN, load, save
from cvxnn.errors import CertificateWarning
from cvxnn.generation.progressive import enlarge, shrunk

IMAGES = load_digits().images[:600]
SIDES = (2, 4, 8)


def quick(generator: Any = "linear", **words: Any) -> ProgressiveGAN:
    settings = {"n_components": (3, 8, 20), "n_gates": 4, "n_pairs": 100, "random_state": 0}
    return ProgressiveGAN(SIDES, generator, **settings | words)


def rank(model: ProgressiveGAN) -> int:
    drawn = model.sample(100, random_state=1).reshape(100, -1)
    return int(np.linalg.matrix_rank(drawn - drawn.mean(axis=0), rtol=1e-9))


def test_section_H_the_published_chain_has_the_rank_of_its_latents_and_ours_more() -> None:
    """Also in a chain that this library did not write: products of matrices."""
    with pytest.warns(CertificateWarning, match="as many as there are latents"):
        published = quick(fresh=False, latent=3).fit(IMAGES)
    assert rank(published) == 3
    ours = quick(latent=3).fit(IMAGES)
    assert rank(ours) == 20
    assert ours.latents_.tolist() == [3, 5, 12]
    rng, chain = np.random.default_rng(0), np.random.default_rng(1).standard_normal((100, 3))
    for d in (4, 16, 64):
        chain = np.column_stack([chain, np.ones(100)]) @ rng.standard_normal(
            (chain.shape[1] + 1, d)
        )
    assert np.linalg.matrix_rank(chain) == 4


@pytest.mark.parametrize("generator", ["linear", "polynomial", "gated_ridge"])
def test_every_stage_attains_its_bound(generator: str) -> None:
    model = quick(generator).fit(IMAGES)
    for side, lam, claim in zip(SIDES, model.lams_, model.certificates_, strict=True):
        rows = IMAGES.reshape(600, side, 8 // side, side, 8 // side).mean(axis=(2, 4))
        values = np.linalg.eigvalsh(np.cov(rows.reshape(600, -1), rowvar=False, bias=True))
        assert claim.upper == pytest.approx(np.maximum(values - lam, 0).sum(), rel=1e-9)
        assert claim.proves(1e-9)
        assert claim.violation < 1e-9
    assert model.certificate_.upper == pytest.approx(sum(c.upper for c in model.certificates_))


def test_linear_stages_have_the_distribution_of_one() -> None:
    staged, one = quick().fit(IMAGES), ConvexGAN(n_components=20).fit(IMAGES)
    at_zero = staged.inverse_transform(np.zeros((1, 20)))
    into = (staged.inverse_transform(np.eye(20)) - at_zero).reshape(20, -1)
    W = one.generator_.weights @ one.generator_.components
    np.testing.assert_allclose(into.T @ into, W.T @ W, atol=1e-8)
    np.testing.assert_allclose(at_zero[0], IMAGES.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("generator", ["linear", "gated_ridge"])
def test_stages_keep_what_the_pictures_show(generator: str) -> None:
    """A picture at half the resolution is nearer to that of its own latents than to most others."""
    model = quick(generator, n_pairs=600).fit(IMAGES)
    drawn = np.random.default_rng(5).standard_normal((40, 20))
    low, middle, high = (x.reshape(40, -1) for x in model.stages(drawn))
    for coarse, fine, side in ((low, middle, 4), (middle, high, 8)):
        halved = shrunk(fine.reshape(40, side, side), (side // 2, side // 2)).reshape(40, -1)
        apart = np.linalg.norm(halved[:, None] - coarse, axis=2)
        nearer = (apart < np.diag(apart)[:, None]).mean(axis=1)
        assert np.mean(nearer) < 0.1  # by chance it is 0.5
    first, last = drawn[:2]
    way = model.interpolate(first, last, 3)
    np.testing.assert_allclose(way[0], model.inverse_transform([first])[0], atol=1e-9)


def test_resolutions() -> None:
    images = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal(shrunk(enlarge(images, (8, 12)), (4, 4)), images)
    np.testing.assert_allclose(shrunk(images, (2, 2)), [[[2.5, 4.5], [10.5, 12.5]]])
    colour = np.random.default_rng(0).standard_normal((9, 8, 4, 3))
    model = ProgressiveGAN(n_components=2).fit(colour)
    assert model.shapes_ == ((4, 2, 3), (8, 4, 3))
    assert model.sample(2).shape == (2, 8, 4, 3)


@pytest.mark.parametrize("generator", ["linear", "polynomial", "gated_ridge"])
def test_model_files_keep_every_stage(generator: str, tmp_path: Path) -> None:
    model = quick(generator).fit(IMAGES.astype(int))
    save(model, tmp_path / "model.cvxnn")
    again = load(tmp_path / "model.cvxnn")
    drawn = np.random.default_rng(0).standard_normal((4, int(model.latents_.sum())))
    for one, other in zip(model.stages(drawn), again.stages(drawn), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.certificates_ == model.certificates_
    assert again.shapes_ == model.shapes_


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"sides": (3, 8)}, r"sides is \(3, 8\)"),
        ({"sides": (4,)}, r"sides is \(4,\)"),
        ({"n_components": (3, 8)}, "has 2 entries and there are 3 stages"),
        ({"n_components": -1}, "n_components is -1"),
        ({"latent": 0}, "latent is 0"),
        ({"generator": "deepest"}, "generator is 'deepest'"),
    ],
)
def test_bad_options(words: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ProgressiveGAN(**{"sides": SIDES, **words}).fit(IMAGES)


def test_bad_images() -> None:
    with pytest.raises(ValueError, match="expected images"):
        ProgressiveGAN().fit(IMAGES.reshape(600, 64))
    with pytest.raises(ValueError, match="minimum of 2"):
        ProgressiveGAN().fit(IMAGES[:1])
    with pytest.raises(ValueError, match="NaN"):
        ProgressiveGAN().fit(np.where(IMAGES > 15, np.nan, IMAGES))
    with pytest.warns(CertificateWarning, match="all equal"):
        model = ProgressiveGAN().fit(np.ones((5, 8, 8), dtype=int))
    np.testing.assert_allclose(model.sample(2), np.ones((2, 8, 8)))
