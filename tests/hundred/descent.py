"""Twenty descents at once on a non-convex objective, by torch's gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Parameters = dict[str, Any]
"""Arrays by name, one run after the other along the first axis; NumPy's or torch's."""
Objective = Callable[[Parameters], Any]
"""What every run's network costs, (runs,)."""

RUNS = 20


def lowest(
    objective: Objective,
    shapes: dict[str, tuple[int, ...]],
    seed: int,
    *,
    surrogate: Objective | None = None,
    steps: int = 120,
    rate: float = 0.1,
    scale: float = 1.0,
) -> np.ndarray:
    """The least objective that each of 20 runs of Adam from normal starts meets, (20,).

    The gradient is that of the surrogate, where one is given.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng([7, seed])
    parameters = {
        name: torch.tensor(
            scale * rng.standard_normal((RUNS, *shape)), requires_grad=True, dtype=torch.float64
        )
        for name, shape in shapes.items()
    }
    adam, least = torch.optim.Adam(parameters.values(), lr=rate), np.full(RUNS, np.inf)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = rate * (1 - 0.98 * step / steps)
        value = objective(parameters)
        least = np.fmin(least, value.detach().numpy())
        descended = value if surrogate is None else surrogate(parameters)
        adam.zero_grad()
        descended.nansum().backward()
        for each in parameters.values():
            each.grad.nan_to_num_(0.0)
        adam.step()
    return least


def relu(x: Any) -> Any:
    """max(0, x) of either library."""
    return (x > 0) * x


def through(hard: Any, soft: Any) -> Any:
    """The values of `hard` with the gradient of `soft` (straight through); NumPy's as they are."""
    return hard if isinstance(hard, np.ndarray) else hard + soft - soft.detach()


def sums(x: Any) -> Any:
    """The sum over all axes but the first, (runs,)."""
    return x.reshape((x.shape[0], -1)).sum(axis=1)


def mean_loss(name: str, fit: Any, Y: Any) -> Any:
    """The mean loss of predictions (runs, n, c), (runs,)."""
    target = constant(Y, fit)
    each = softplus(-target * fit) if name == "logistic" else (fit - target) ** 2 / 2
    return sums(each) / len(Y)


def softplus(x: Any) -> Any:
    """log(1 + e^x) of either library."""
    if isinstance(x, np.ndarray):
        return np.logaddexp(0, x)
    import torch

    return torch.logaddexp(x, torch.zeros_like(x))


def constant(x: np.ndarray, beside: Any) -> Any:
    """An array in the library of another."""
    if isinstance(beside, np.ndarray):
        return x
    import torch

    return torch.tensor(x)


def times(Z: np.ndarray, W: Any) -> Any:
    """Z W' of every run, (runs, n, m)."""
    return constant(Z, W) @ W.swapaxes(1, 2)
