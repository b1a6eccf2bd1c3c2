"""Rivals whose step size or strength is chosen on held-out samples, and trained on all."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

RATES = (1e-3, 1e-2, 1e-1)
"""Step sizes of descent, the best on held-out samples counts."""
WIDTH = 256


class Row(NamedTuple):
    """A model and what it does."""

    name: str
    accuracy: float
    """On samples not seen."""
    seconds: float
    """Of CPU, tuning included."""
    gap: float | None
    """The relative duality gap that is proved, None for none."""


def tuned(models: Callable[[int], Iterator[Any]], X: Any, y: Any, seed: int) -> tuple[Any, float]:
    """Return the best of some models, chosen on a fifth of the samples, and seconds of CPU."""
    begin = time.process_time()
    held = np.random.default_rng(seed).permutation(len(X)) < len(X) // 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # they end after their epochs
        best = max(
            models(seed), key=lambda one: one.fit(X[~held], y[~held]).score(X[held], y[held])
        )
        best.fit(X, y)
    return best, time.process_time() - begin


def torch_is_ready() -> bool:
    """Load torch, and what it loads with its first optimiser; tell whether it is there."""
    try:
        import torch
    except ImportError:
        return False
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # takes seconds once, which are not training's
    return True


def linear(seed: int) -> Iterator[Any]:
    """Yield linear classifiers of several strengths."""
    for strength in 10.0 ** np.arange(-4, 1):
        yield LogisticRegression(C=strength, max_iter=200)


def descent(seed: int) -> Iterator[Any]:
    """Yield two-layer ReLU networks by SGD with several step sizes."""
    for rate in RATES:
        yield MLPClassifier(
            (WIDTH,), solver="sgd", learning_rate_init=rate, max_iter=60, tol=0.0, random_state=seed
        )


RIVALS = (("linear head", linear), (f"ReLU head by SGD, {WIDTH}", descent))
"""Heads on features."""
