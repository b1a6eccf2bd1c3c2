"""What frozen torch modules make of the batches of a loader: features, or tokens."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory


class Batches:
    """What a frozen module makes of every batch (inputs, labels) of a loader, and the labels.

    Iterating yields tensors without gradients and arrays. Raises ValueError for a module in
    training mode, whose statistics would move from batch to batch; and where there are no batches.
    """

    def __init__(self, backbone: Any, loader: Any, device: Any = None) -> None:
        training = [
            name or "the module itself" for name, one in backbone.named_modules() if one.training
        ]
        if training:
            raise ValueError(
                f"the backbone is in training mode ({training[0]}); call backbone.eval()"
            )
        self.backbone, self.loader, self.device = backbone, loader, device

    @property
    def count(self) -> int | None:
        """How many batches there are, None where the loader does not say."""
        return len(self.loader) if hasattr(self.loader, "__len__") else None

    def __iter__(self) -> Iterator[tuple[Any, NDArray[Any]]]:
        import torch

        empty = True
        for inputs, y in self.loader:
            empty = False
            with torch.no_grad():
                found = self.backbone(inputs if self.device is None else inputs.to(self.device))
            yield found, np.asarray(y)
        if empty:
            raise ValueError("the loader gave no batches; pass one with samples")


def features_of(backbone: Any, loader: Any, device: Any = None) -> tuple[Any, NDArray[Any]]:
    """Return the features (n, d), float32, and labels (n,) that a frozen module makes of batches.

    Raises ValueError as `Batches`, for features that are not (batch, d) and for a batch of
    another width; MemoryBudgetError, at the first batch, where the loader says how many there are
    and they would not fit.
    """
    parts: list[Any] = []
    labels: list[Any] = []
    batches = Batches(backbone, loader, device)
    for number, (found, y) in enumerate(batches):
        flat = _flat(found)
        if flat is None:
            raise ValueError(
                f"batch {number} has features of shape {tuple(found.shape)}; expected "
                "(batch, d): pool or flatten them in the backbone"
            )
        if parts and flat.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"batch {number} has {flat.shape[1]} features a sample and the first "
                f"{parts[0].shape[1]}; bring inputs to one size"
            )
        if not parts and batches.count is not None:
            memory.require(8 * batches.count * flat.numel())
        parts.append(flat.to("cpu").float().numpy())
        labels.append(y)
    return np.concatenate(parts), np.concatenate(labels)


def _flat(found: Any) -> Any:
    """Return features as (batch, d), None where they are of another form."""
    if found.ndim > 2 and all(side == 1 for side in found.shape[2:]):
        return found.flatten(1)
    return found if found.ndim == 2 else None


def tokens_of(found: Any) -> Any:
    """Return feature maps (batch, d, h, w), or tokens (batch, s, d) themselves, as tokens.

    Raises ValueError for tensors or arrays of another form.
    """
    if found.ndim == 4:
        return found.reshape(*found.shape[:2], -1).swapaxes(1, 2)
    if found.ndim == 3:
        return found
    raise ValueError(
        f"tokens have shape {tuple(found.shape)}; expected (batch, tokens, d), or feature maps "
        "(batch, d, h, w): leave out the pooling of the backbone"
    )
