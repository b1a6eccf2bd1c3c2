"""The laws of the demands that stand in place of losses."""

import numpy as np
import pytest

from cvxnn.functions import HardMargin, Interpolation, mean_loss

TARGETS = {
    "hard_margin": np.array([[1.0], [-1.0], [1.0], [-1.0]]),
    "interpolation": np.array([[0.5], [2.0], [-0.25], [1.0]]),
}


@pytest.mark.parametrize("loss", [HardMargin(), Interpolation()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("seed", range(5))
def test_prox_moreau_and_fenchel_young(loss: HardMargin | Interpolation, seed: int) -> None:
    rng, y = np.random.default_rng(seed), TARGETS[loss.name]
    mean = mean_loss(loss, y, np.array([1.0, 2.0, 0.5, 1.5]))
    f = rng.standard_normal(y.shape)
    z = mean.prox(f, 0.7)
    assert mean.value(z) == 0
    for _ in range(20):  # the projection is the nearest of the points allowed
        other = mean.prox(z + rng.standard_normal(y.shape), 1.0)
        assert np.linalg.norm(z - f) <= np.linalg.norm(other - f) + 1e-12
    v = f - z  # a normal there: Fenchel and Young meet
    assert mean.conjugate(v) + mean.value(z) == pytest.approx(float((v * z).sum()), abs=1e-9)
    below = mean.conjugate(v) - float((v * mean.prox(f + 1, 1.0)).sum())
    assert below >= -1e-9


def test_outside_of_the_domains() -> None:
    y = TARGETS["hard_margin"]
    assert np.isinf(mean_loss(HardMargin(), y).value(0 * y))
    assert np.isinf(mean_loss(HardMargin(), y).conjugate(y))
    assert np.isinf(mean_loss(Interpolation(), y).value(0 * y))
