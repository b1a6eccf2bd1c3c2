"""A layer-wise network as a torch module; torch is imported when one is made."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cvxnn.errors import UnsupportedError
from cvxnn.layerwise import LayerwiseClassifier
from cvxnn.stagewise import Trained


def stages_to_torch(model: LayerwiseClassifier) -> Any:
    """Return a fitted layer-wise classifier as a torch module of images (n, C, H, W), in float32.

    Pixels are of the range trained on, as floats; the outputs are the scores (n, c) after the last
    stage. Whitening, gates and weights are buffers: each has its optimum already.

    Raises UnsupportedError where torch is not installed, and for signals: images have two axes.

    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from cvxnn import LayerwiseClassifier, Stage
    >>> data = load_digits()
    >>> images = data.images[:, None]
    >>> model = LayerwiseClassifier([Stage(kernel=3, n_gates=8)], random_state=0)
    >>> module = stages_to_torch(model.fit(images, data.target))
    >>> scores = module(torch.tensor(images, dtype=torch.float32))
    >>> bool(np.allclose(scores, model.decision_function(images), atol=1e-4))
    True
    """
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "a torch module needs torch, which is not installed; install cvxnn[torch]"
        ) from error
    check_is_fitted(model, "stages_")
    if len(model.shape_) != 3:
        raise UnsupportedError(f"there is no torch module of signals, {model.shape_}; pass images")

    class Module(torch.nn.Module):  # type: ignore[misc]
        """The stages one after the other; every one adds to the scores."""

        def __init__(self) -> None:
            super().__init__()
            last = model.stages_[-1]
            pairs = zip(model.stages_, last.blocks, strict=True)
            self.stages = torch.nn.ModuleList(_stage(each, blocks) for each, blocks in pairs)
            self.register_buffer("intercept", _tensor(last.intercept))

        def forward(self, images: Any) -> Any:
            scores, start = self.intercept, images / model.range_
            views = [start, start.flip(-1)] if model.mirror else [start]
            for maps in views:
                for number, stage in enumerate(self.stages):
                    part, maps = stage(maps, number + 1 < len(self.stages))
                    scores = scores + part / len(views)
            return scores

    return Module().eval()


def _tensor(array: Any) -> Any:
    import torch

    return torch.tensor(np.asarray(array), dtype=torch.float32)


def _stage(trained: Trained, blocks: Any) -> Any:
    import torch
    from torch.nn.functional import avg_pool2d, unfold

    columns = trained.columns
    patches, white = columns.patches, columns.whitening
    weights = blocks / trained.scale[:, None]
    pool = patches.pool("average")
    n_gates, n_cells = len(columns.generators), patches.n_cells

    class Stage(torch.nn.Module):  # type: ignore[misc]
        """Maps (n, C, H, W) to scores (n, c), and to the maps that the next stage sees."""

        def __init__(self) -> None:
            super().__init__()
            shape = (n_gates, n_cells, white.width, weights.shape[1])
            arrays = {
                "centre": white.centre,
                "matrix": white.matrix,
                "generators": columns.generators,
                "pool": pool,
                "weights": weights.reshape(shape),
                "offset": trained.centre @ weights,
            }
            for name, array in arrays.items():
                self.register_buffer(name, _tensor(array))

        def forward(self, maps: Any, more: bool) -> tuple[Any, Any]:
            rows = unfold(
                maps, patches.kernel, patches.dilation, patches.padding, patches.stride
            ).transpose(1, 2)
            if white.level:
                rows = rows - rows.mean(dim=2, keepdim=True)
            if white.contrast is not None:
                rows = rows / (rows.square().mean(dim=2, keepdim=True) + white.contrast).sqrt()
            z = (rows - self.centre) @ self.matrix
            z = torch.cat([z, torch.ones_like(z[:, :, :1])], dim=2)
            products = z @ self.generators.T
            gates = (products >= 0).to(z.dtype)
            pooled = torch.einsum("nkp,nkr,ak->npar", gates, z, self.pool)
            scores = torch.einsum("npar,parc->nc", pooled, self.weights) - self.offset
            if more:
                maps = products.relu().transpose(1, 2).reshape(len(z), n_gates, *patches.places)
                maps = avg_pool2d(maps, 2) if columns.halve else maps
            return scores, maps

    return Stage()
