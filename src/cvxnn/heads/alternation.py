"""All layers by turns: the backbone by an optimiser, the head by its convex program."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.functions import SampleLoss, mean_loss
from cvxnn.heads.backbones import features_of
from cvxnn.heads.head import ConvexHead
from cvxnn.linalg import threads


@dataclass(frozen=True)
class Round:
    """One turn of both."""

    before: float
    """The joint objective at the start."""
    stepped: float
    """With the backbone after its steps, and the head as it was."""
    after: float
    """At the end: never above `before`."""
    accepted: bool
    """Whether the backbone's steps were kept."""


@dataclass(frozen=True, eq=False)
class Alternation:
    """What `alternate` did: a descent on a problem that is not convex, without any bound on it."""

    head: ConvexHead
    """The last head; its certificate is about the head alone, on the features there are."""
    rounds: tuple[Round, ...]

    @property
    def objective(self) -> NDArray[np.float64]:
        """The joint objective at the start and after every round, never rising."""
        return np.array([self.rounds[0].before, *(each.after for each in self.rounds)])


def alternate(
    backbone: Any,
    head: ConvexHead,
    loader: Any,
    optimizer: Any,
    *,
    rounds: int = 5,
    device: Any = None,
) -> Alternation:
    """Train all layers by turns, on mean loss + alpha * weight decay of the head.

    A round takes an epoch of `optimizer` steps on the parameters that it holds, through the head as
    it is, then trains the head anew on the new features, to its certificate. Steps after which the
    objective on all samples is larger are taken back, the optimiser's state with them, and its
    learning rates are halved. So the objective never rises; but it is not convex in the backbone,
    and nothing is proved of how low it could be. `backbone` stays in evaluation mode: statistics of
    batch normalisation are left as they are. Gates, scaler and alpha are those of `head`, which was
    fitted on the backbone's features. `loader` gives (inputs, labels), the same samples each time.

    Raises ValueError for a head that grew over all networks, a number of rounds that is not
    positive, and as `ConvexHead.fit_stream`.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; expected at least 1")
    if head.classifier_.proof_ is not None:
        raise ValueError(
            "the head grew over all networks, so that its neurons change from round to round; fit "
            "a head with gates, such as architecture='gated_ridge'"
        )
    features, labels = features_of(backbone, loader, device)
    value, done = joint_objective(head, features, labels), []
    better = head.refit(features, labels)
    head, value = _lesser((head, value), (better, joint_objective(better, features, labels)))
    for _ in range(rounds):
        kept = copy.deepcopy(backbone.state_dict()), copy.deepcopy(optimizer.state_dict())
        _epoch(backbone, head, loader, optimizer, device)
        moved, labels = features_of(backbone, loader, device)
        stepped = joint_objective(head, moved, labels)
        accepted = bool(stepped <= value)  # NaN is not
        if not accepted:
            backbone.load_state_dict(kept[0])
            optimizer.load_state_dict(kept[1])
            for group in optimizer.param_groups:
                group["lr"] /= 2
            done.append(Round(value, stepped, value, False))
            continue
        better = head.refit(moved, labels)
        head, after = _lesser((head, stepped), (better, joint_objective(better, moved, labels)))
        done.append(Round(value, stepped, after, True))
        value = after
    return Alternation(head, tuple(done))


def joint_objective(head: ConvexHead, features: Any, labels: Any) -> float:
    """Return mean loss + alpha * weight decay of a head on raw features (n, d), in float64.

    It is infinite where features are no longer finite.
    """
    if not np.isfinite(features).all():
        return float("inf")
    loss, target, weights = _posed(head, labels)
    with threads(features.size):
        outputs = head._outputs(features)
    decay: float = head.classifier_.network_.weight_decay()
    return mean_loss(loss, target, weights).value(outputs) + head.alpha_ * decay


def _posed(head: ConvexHead, labels: Any) -> tuple[SampleLoss, Any, Any]:
    """Return the loss of a head, the targets (n, c) of labels and their weights (n,)."""
    inner = head.classifier_
    place = np.searchsorted(head.classes_, labels)
    if not np.array_equal(head.classes_[np.minimum(place, len(head.classes_) - 1)], labels):
        raise ValueError("the loader gives labels that the head was not fitted on")
    target = inner._target(place)
    return inner._loss(target.shape[1]), target, inner._weights(labels, np.ones(len(labels)))


def _lesser(one: tuple[Any, float], other: tuple[Any, float]) -> tuple[Any, float]:
    return other if other[1] <= one[1] else one


def _epoch(backbone: Any, head: ConvexHead, loader: Any, optimizer: Any, device: Any) -> None:
    """Take a step for every batch."""
    import torch

    module = head.to_torch().requires_grad_(False)
    if device is not None:
        module = module.to(device)
    for inputs, labels in loader:
        optimizer.zero_grad()
        scores = module(backbone(inputs if device is None else inputs.to(device)))
        loss, target, weights = _posed(head, np.asarray(labels))
        known = torch.as_tensor(target, dtype=scores.dtype, device=scores.device)
        share = torch.as_tensor(weights, dtype=scores.dtype, device=scores.device)
        (share / share.sum() @ loss.value(scores, known)).backward()
        optimizer.step()
