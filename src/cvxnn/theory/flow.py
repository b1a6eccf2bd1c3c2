"""Gradient flow on separable data, and how near it comes to the network of least norm."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from cvxnn.architectures import ReLU, ReLUNetwork
from cvxnn.certificate import Certificate
from cvxnn.everywhere.neurons import Floats
from cvxnn.theory.margin import MaxMargin, certify_margin, max_margin, two_classes

_SHARE = 0.5
"""Share of the run, its end, over which the loss weights are averaged."""
_LAST = 0.02
"""Share of `rate` that the last steps fall to, so that kinks are not crossed to and fro."""
_POINTS = 100
"""Points of the curve."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MarginFlow:
    """The course of a gradient flow; see `margin_flow`."""

    steps: Floats
    """(k,), counts of steps."""
    norms: Floats
    """(k,): sum_j |w_j| |a_j| over the smallest margin; infinity while there is none."""
    losses: Floats
    """(k,): the mean loss."""
    bound: Certificate
    """Of the network of least norm: no curve falls below its `lower`."""
    network: ReLUNetwork
    """Where the flow ended, its smallest margin 1 if it separates the classes."""
    weights: Floats
    """(n,): the samples' shares in the gradient, averaged over the second half of the run."""
    certificate: Certificate
    """Of `network`, with the bound that `weights` or those of the optimum prove."""

    @property
    def excess(self) -> float:
        """Return how much of its norm the last network has more than the lower bound."""
        return self.certificate.relative_gap


def margin_flow(
    X: Any,
    y: Any,
    *,
    width: int = 100,
    bias: bool = True,
    scale: float = 1e-2,
    rate: float = 0.02,
    steps: int = 10_000,
    loss: str = "logistic",
    optimum: MaxMargin | None = None,
    random_state: Any = None,
) -> MarginFlow:
    """Follow gradient flow from a small balanced start towards networks of large margin.

    theta' = -gradient of log(mean loss) in theta = (W, a), in steps of length `rate` |theta| that
    grow shorter. Time in which the loss itself is descended runs
    exponentially faster, and the course is the same [Phuong2021]. Its direction tends to that of a
    stationary point of the problem of least norm; that it be the best one is known for orthogonally
    separable data [WangPilanci2022]. `norms` is the course of norm over margin, `bound` what it
    cannot fall below.

    `X` is (n, d), `y` (n,) two labels, `loss` "logistic" or "exponential", `scale` the length of
    the first neurons. `optimum` is `max_margin(X, y)` of the same data if it is known.

    Raises ValueError for data that no network separates and for options out of range.

    >>> X = [[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]]
    >>> flow = margin_flow(X, [1, 1, -1, -1], bias=False, steps=2000, random_state=0)
    >>> bool((flow.norms >= flow.bound.lower).all()), flow.excess < 0.02
    (True, True)
    """
    _check(width, scale, rate, steps, loss)
    rows, signs, _ = two_classes(X, y)
    best = max_margin(X, y, architecture=ReLU(bias=bias)) if optimum is None else optimum
    features = np.column_stack([rows, np.ones(len(rows))]) if bias else rows
    flow = _Flow(features, signs, width, scale, loss, np.random.default_rng(random_state))
    every = max(1, steps // _POINTS)
    course, weights = [], np.zeros(len(signs))
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            course.append((step, flow.norm(), flow.loss()))
        if step >= (1 - _SHARE) * steps:
            weights += flow.shares()
        if step < steps:
            flow.move(rate * max(1 - step / steps, _LAST))
    network = flow.network(rows.shape[1])
    given = best.dual if best.dual.sum() > 0 else None
    found = [certify_margin(network, X, y, dual=dual) for dual in (weights, given)]
    count, norms, losses = (np.array(part, dtype=float) for part in zip(*course, strict=True))
    return MarginFlow(
        steps=count,
        norms=norms,
        losses=losses,
        bound=best.certificate,
        network=network,
        weights=weights / weights.sum(),
        certificate=max(found, key=lambda claim: claim.lower),
    )


def _check(width: Any, scale: float, rate: float, steps: Any, loss: str) -> None:
    """Raise ValueError for options out of range."""
    for name, value in (("width", width), ("steps", steps)):
        if not (isinstance(value, Integral) and int(value) >= 1):
            raise ValueError(f"{name} is {value!r}; expected a positive integer")
    for name, size, most in (("scale", scale, np.inf), ("rate", rate, 1.0)):
        if not 0 < size < most:
            raise ValueError(f"{name} is {size!r}; expected a number between 0 and {most}")
    if loss not in ("logistic", "exponential"):
        raise ValueError(f"loss is {loss!r}; expected 'logistic' or 'exponential'")


class _Flow:
    """The parameters, and what the loss makes of them."""

    def __init__(
        self,
        features: Floats,
        signs: Floats,
        width: int,
        scale: float,
        loss: str,
        rng: np.random.Generator,
    ) -> None:
        self.features, self.signs, self.exponential = features, signs, loss == "exponential"
        self.inward = rng.standard_normal((width, features.shape[1]))
        self.inward *= scale / np.linalg.norm(self.inward, axis=1, keepdims=True)
        self.outward = scale * np.where(np.arange(width) % 2 == 0, 1.0, -1.0)

    def margins(self) -> Floats:
        """Return y f, (n,)."""
        hidden = np.maximum(self.features @ self.inward.T, 0)
        return np.asarray(self.signs * (hidden @ self.outward))

    def norm(self) -> float:
        """Return the norm over the smallest margin, infinity without one."""
        decay = float((np.linalg.norm(self.inward, axis=1) * np.abs(self.outward)).sum())
        least = float(self.margins().min())
        return decay / least if least > 0 else np.inf

    def loss(self) -> float:
        """Return the mean loss."""
        margins = self.margins()
        each = np.exp(-margins) if self.exponential else np.logaddexp(0, -margins)
        return float(each.mean())

    def shares(self) -> Floats:
        """Return the samples' shares in the gradient of the log of the loss, which sum to 1."""
        margins = self.margins()
        logs = -margins if self.exponential else -np.logaddexp(0, margins)
        shares = np.exp(logs - logs.max())
        return np.asarray(shares / shares.sum())

    def move(self, rate: float) -> None:
        """Make a step against the gradient, of length `rate` times that of the parameters."""
        pull = self.signs * self.shares()
        values = self.features @ self.inward.T
        outward = np.maximum(values, 0).T @ pull
        inward = (self.outward[:, None] * (values > 0).T * pull) @ self.features
        length = np.sqrt((inward**2).sum() + (outward**2).sum())
        size = np.sqrt((self.inward**2).sum() + (self.outward**2).sum())
        if length > 0:
            self.inward += rate * size / length * inward
            self.outward += rate * size / length * outward

    def network(self, d: int) -> ReLUNetwork:
        """Return the network, scaled to margin 1 where it has a margin."""
        least = float(self.margins().min())
        root = least**0.5 if least > 0 else 1.0
        return ReLUNetwork(
            weights_in=self.inward / root,
            weights_out=self.outward[:, None] / root,
            intercept=np.zeros(1),
            skip=np.zeros((d, 1)),
        )
