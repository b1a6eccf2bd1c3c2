"""An attention head by Adam, of the same form and size as a convex one."""

import time
from typing import Any

import numpy as np

RATES = (1e-3, 3e-3, 1e-2)
"""Step sizes; the best on held-out samples counts."""
_BATCH = 128


def adam_attention(
    tokens: Any, y: Any, heads: int, *, seconds: float, decay: float, seed: int
) -> Any:
    """Return a function of tokens (n, s, d) to scores (n, c), trained by torch's Adam.

    The scores are those of linear attention with merged weights, read out by the mean over tokens,
    with a one appended to every token. A third of the `seconds` of CPU goes into choosing the step
    size, a fifth of the samples held out, the rest into training on all of them.
    """
    import torch

    X = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.float32))
    labels = torch.from_numpy(np.asarray(y, dtype=np.int64))
    held = torch.from_numpy(np.random.default_rng(seed).permutation(len(X)) < len(X) // 5)
    classes = int(labels.max()) + 1

    def trained(rate: float, mine: Any, budget: float) -> Any:
        torch.manual_seed(seed)
        d = X.shape[2] + 1
        shapes = {"first": (heads, d, d), "second": (heads, d, classes), "shift": (classes,)}
        weights = {
            name: torch.nn.Parameter(0.3 * torch.randn(shape) / d**0.5)
            for name, shape in shapes.items()
        }
        descent = torch.optim.Adam(weights.values(), lr=rate, weight_decay=0.0)
        begin, some, target = time.process_time(), X[mine], labels[mine]
        while time.process_time() - begin < budget:
            for batch in torch.randperm(len(some)).split(_BATCH):
                scores = _scores(weights, some[batch])
                size = sum((weights[name] ** 2).sum() for name in ("first", "second"))
                loss = torch.nn.functional.cross_entropy(scores, target[batch]) + decay / 2 * size
                descent.zero_grad()
                loss.backward()
                descent.step()
                if time.process_time() - begin >= budget:
                    break
        return weights

    def right(weights: Any) -> float:
        with torch.no_grad():
            return float((_scores(weights, X[held]).argmax(dim=1) == labels[held]).float().mean())

    trials = [(rate, trained(rate, ~held, seconds / 3 / len(RATES))) for rate in RATES]
    best = max(trials, key=lambda trial: right(trial[1]))[0]
    weights = trained(best, torch.ones(len(X), dtype=torch.bool), 2 * seconds / 3)

    def scores(more: Any) -> Any:
        with torch.no_grad():
            rows = torch.from_numpy(np.ascontiguousarray(more, dtype=np.float32))
            return _scores(weights, rows).numpy()

    return scores


def _scores(weights: Any, X: Any) -> Any:
    """Return the scores of tokens (b, s, d)."""
    import torch

    wide = torch.nn.functional.pad(X, (0, 1), value=1.0)
    asked = torch.einsum("bl,hlk->bhk", wide.mean(dim=1), weights["first"])
    pooled = (asked @ wide.transpose(1, 2)) @ wide
    return torch.einsum("bhm,hmc->bc", pooled, weights["second"]) + weights["shift"]
