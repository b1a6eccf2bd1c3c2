"""Samples that follow a score with noise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def langevin(
    scores: Sequence[Callable[[Floats], Any]],
    start: Floats,
    *,
    rates: Sequence[float],
    steps: int,
    centre: Floats,
    radius: float,
    rng: Any,
) -> Floats:
    """Return samples (n, d) after steps x + rate * score(x) + sqrt(2 rate) * noise.

    `scores` are taken one after the other, `steps` steps each, as in annealing from much noise to
    little [SongErmon2019]. Where a score is not that of a density samples would leave for ever:
    they are kept within a distance of the centre, at its sphere.

    >>> rng = np.random.RandomState(0)
    >>> words = {"rates": [0.1], "steps": 50, "centre": np.zeros(1), "radius": 9.0, "rng": rng}
    >>> x = langevin([lambda x: -x], np.full((500, 1), 4.0), **words)
    >>> bool(abs(x.mean()) < 0.2), bool(abs(x.std() - 1) < 0.1)
    (True, True)
    """
    x = np.array(start, dtype=np.float64)
    for score, rate in zip(scores, rates, strict=True):
        for _ in range(steps):
            x = x + rate * np.asarray(score(x)) + np.sqrt(2 * rate) * rng.standard_normal(x.shape)
            away = np.linalg.norm(x - centre, axis=1, keepdims=True)
            x = centre + (x - centre) * np.minimum(1.0, radius / np.maximum(away, 1e-300))
    return x
