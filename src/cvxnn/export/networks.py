"""A trained network as a torch module; torch is imported when one is made."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import BY_NAME
from cvxnn.arrays import to_numpy
from cvxnn.denoiser import ConvexDenoiser
from cvxnn.errors import UnsupportedError
from cvxnn.export.gan import generator_to_torch
from cvxnn.export.stages import stages_to_torch
from cvxnn.gates import reached
from cvxnn.generation.gan import ConvexGAN
from cvxnn.layerwise import LayerwiseClassifier

_EPS = 1e-30
"""Lost beside a variance of one; torch trains no layer without."""


def to_torch(model: Any) -> Any:
    """Return a fitted estimator's network, or a network, as a torch module in float64.

    ReLU networks become Linear, ReLU, Linear, convolutional ones Conv2d (or Conv1d), ReLU,
    pooling, Linear, on images flattened or not; batch-normalised ones have a `BatchNorm1d` with
    eps = 1e-30 beside the ReLU, threshold and sign networks a step without gradient. Hidden layers
    that torch has none of compute the network's own formula, with gradients in `weights_in`. The
    module is in evaluation mode and gives the outputs of the network, (n, c): classifiers their
    scores. Of a `ConvexDenoiser` it is one of images, (m, h, w) to (m, h, w), and of a
    `LayerwiseClassifier` one of images (n, C, H, W), in float32; of a `ConvexGAN` it is one of
    latents (m, latent), to samples.

    Raises UnsupportedError where torch is not installed and for networks of no architecture here.

    >>> import torch
    >>> from cvxnn import ConvexRegressor
    >>> X, y = [[-1.0], [0.0], [1.0], [2.0]], [1.0, 0.0, 1.0, 2.0]
    >>> model = ConvexRegressor("batchnorm", alpha=0.01, random_state=0).fit(X, y)
    >>> outputs = to_torch(model)(torch.tensor(X, dtype=torch.float64))[:, 0]
    >>> bool(np.allclose(outputs.detach(), model.predict(X)))
    True
    """
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "a torch module needs torch, which is not installed; install cvxnn[torch]"
        ) from error
    if isinstance(model, LayerwiseClassifier):
        return stages_to_torch(model)
    if isinstance(model, ConvexGAN):
        check_is_fitted(model)
        inner = model.generator_.regressor
        return generator_to_torch(model, None if inner is None else to_torch(inner))
    if isinstance(model, ConvexDenoiser):
        check_is_fitted(model)
        return _images(model, to_torch(model.network_))
    network = getattr(model, "network_", getattr(model, "network", model))
    kind = getattr(network, "architecture", None)
    if kind not in (*BY_NAME, "quantised"):
        known = ", ".join((*BY_NAME, "quantised"))
        raise UnsupportedError(
            f"there is no torch module of a {type(network).__name__}; expected a fitted estimator "
            f"or a network, one of {known}"
        )

    hidden = _HIDDEN.get(kind, _formula)(network)

    class Module(torch.nn.Module):  # type: ignore[misc]
        """hidden, then outputs, and the linear skip beside them."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden = hidden
            outward = to_numpy(network.weights_out)
            outward = outward.reshape(-1, outward.shape[-1])
            self.outputs = linear(outward.T, network.intercept)
            self.skip = linear(to_numpy(network.skip).T, None)

        def forward(self, X: Any) -> Any:
            X = X.flatten(1)
            return self.outputs(self.hidden(X)) + self.skip(X)

    return Module().eval()


def linear(weight: Any, bias: Any) -> Any:
    """Return a Linear layer with `weight` (out, in) and `bias` (out,), or none."""
    import torch

    rows = np.array(to_numpy(weight), dtype=np.float64)
    layer = torch.nn.utils.skip_init(
        torch.nn.Linear, rows.shape[1], rows.shape[0], bias=bias is not None, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rows))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(to_numpy(bias), dtype=np.float64)))
    return layer


def _first(network: Any) -> Any:
    """Return the Linear layer of a network's inner weights, its hidden bias split off."""
    weights, d = to_numpy(network.weights_in), len(network.skip)
    bias = weights[:, d] if weights.shape[1] > d else None
    return linear(weights[:, :d], bias)


def _relu(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(_first(network), torch.nn.ReLU())


def _batchnorm(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(_first(network), _normal(network), torch.nn.ReLU())


def _batchnorm_after(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(_first(network), torch.nn.ReLU(), _normal(network))


def _normal(network: Any) -> Any:
    """Return the BatchNorm1d of a network's statistics, scales and shifts."""
    import torch

    layer = torch.nn.BatchNorm1d(network.n_neurons, eps=_EPS, dtype=torch.float64)
    scale, shift = to_numpy(network.units)
    values = {
        "weight": scale * to_numpy(network.gammas),
        "bias": shift * to_numpy(network.shifts),
        "running_mean": to_numpy(network.means),
        "running_var": to_numpy(network.variances),
    }
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.from_numpy(np.array(value, dtype=np.float64)))
    return layer


def _images(model: ConvexDenoiser, patches: Any) -> Any:
    """Return the module of images (m, h, w) whose pixels are those of a module of patches."""
    import torch

    side, border = int(model.patch), _BORDERS[model.border]

    class Images(torch.nn.Module):  # type: ignore[misc]
        """Every pixel from the patch around it."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = patches

        def forward(self, images: Any) -> Any:
            wide = torch.nn.functional.pad(images[:, None], (side // 2,) * 4, mode=border)
            rows = torch.nn.functional.unfold(wide, side).transpose(1, 2)
            return self.patches(rows.reshape(-1, side**2)).reshape(images.shape)

    return Images().eval()


_BORDERS = {"reflect": "reflect", "edge": "replicate", "constant": "constant", "wrap": "circular"}
"""What torch calls the borders of a denoiser."""


def _formula(network: Any) -> Any:
    import torch

    class Formula(torch.nn.Module):  # type: ignore[misc]
        """The hidden layer by the network's own formula; weights_in is trained, if there is any."""

        def __init__(self) -> None:
            super().__init__()
            for name, array in network.parameters().items():
                value = torch.from_numpy(np.array(to_numpy(array), dtype=np.float64))
                if name in ("weights_in", "experts"):
                    self.register_parameter(name, torch.nn.Parameter(value))
                elif name not in _OUTER:
                    self.register_buffer(name, value)

        def forward(self, X: Any) -> Any:
            # tensors, as X is, and not parameters
            inner = {name: each.view_as(each) for name, each in self.named_parameters()}
            return replace(network, **dict(self.named_buffers()), **inner).hidden(X)

    return Formula()


def _step(network: Any) -> Any:
    import torch

    class Step(torch.nn.Module):  # type: ignore[misc]
        """s step(x'w), by the rule of the network: a product within rounding counts as zero."""

        def __init__(self) -> None:
            super().__init__()
            parameters = network.parameters()
            for name in ("weights_in", "amplitudes"):
                value = torch.from_numpy(np.array(to_numpy(parameters[name]), dtype=np.float64))
                self.register_buffer(name, value)

        def forward(self, X: Any) -> Any:
            if self.weights_in.shape[1] > X.shape[1]:
                X = torch.nn.functional.pad(X, (0, 1), value=1.0)
            steps = reached(X, self.weights_in).to(X.dtype)
            return (2 * steps - 1 if network.sign else steps) * self.amplitudes

    return Step()


def _deep(network: Any) -> Any:
    import torch

    class Deep(torch.nn.Module):  # type: ignore[misc]
        """Steps of steps, by the rule of the network."""

        def __init__(self) -> None:
            super().__init__()
            for k, layer in enumerate((*network.layers, network.weights_in)):
                value = torch.from_numpy(np.array(to_numpy(layer), dtype=np.float64))
                self.register_buffer(f"layer{k}", value)
            amplitudes = np.array(to_numpy(network.amplitudes), dtype=np.float64)
            self.register_buffer("amplitudes", torch.from_numpy(amplitudes))

        def forward(self, X: Any) -> Any:
            for k in range(len(network.layers) + 1):
                wide = torch.nn.functional.pad(X, (0, 1), value=1.0)
                X = reached(wide, getattr(self, f"layer{k}")).to(X.dtype)
                X = 2 * X - 1 if network.sign else X
            return X * self.amplitudes

    return Deep()


def _conv(network: Any) -> Any:
    """Return the filters as a Conv1d or Conv2d, with ReLU or gates, and the pooling."""
    import torch

    patches, pooling = network.patches, network.pooling
    pool = torch.from_numpy(patches.pool(pooling))
    places = [np.flatnonzero(patches.cell == cell) for cell in range(patches.n_cells)]
    gated = network.gates is not None

    class Conv(torch.nn.Module):  # type: ignore[misc]
        """Filters, what is open of them, and the sum, mean or maximum over each cell."""

        def __init__(self) -> None:
            super().__init__()
            self.filters = _filters(patches, network.weights_in)
            self.register_buffer("pool", pool)
            if gated:
                rules = torch.from_numpy(np.array(to_numpy(network.gates), dtype=np.float64))
                self.register_buffer("gates", rules)

        def forward(self, X: Any) -> Any:
            values = self.filters(X.reshape(-1, *patches.shape)).flatten(2)
            if gated:
                own = replace(network, gates=self.gates)
                rows = patches.rows(X, self.gates.shape[1] > patches.width)
                open_ = own.opened(rows).reshape(len(X), patches.count, -1)
                values = values * open_.transpose(1, 2)
            else:
                values = values.relu()
            if pooling == "max" and not gated:
                cells = [values[:, :, cell].amax(dim=2) for cell in places]
                return torch.stack(cells, dim=2).flatten(1)
            return (values @ self.pool.T).flatten(1)

    return Conv()


def _filters(patches: Any, weights: Any) -> Any:
    """Return filters (m, h), or (m, h + 1) with a bias, as a Conv1d or Conv2d."""
    import torch

    kind = torch.nn.Conv1d if len(patches.kernel) == 1 else torch.nn.Conv2d
    layer = torch.nn.utils.skip_init(
        kind,
        patches.shape[0],
        len(weights),
        patches.kernel,
        stride=patches.stride,
        padding=patches.padding,
        dilation=patches.dilation,
        bias=weights.shape[1] > patches.width,
        dtype=torch.float64,
    )
    rows = torch.from_numpy(np.array(to_numpy(weights), dtype=np.float64))
    with torch.no_grad():
        layer.weight.copy_(rows[:, : patches.width].reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(rows[:, -1])
    return layer


def _deep_conv(network: Any) -> Any:
    """Return shared filters as a Conv1d or Conv2d, the ReLU, weights of the places, the ReLU."""
    import torch

    if network.weights_in.shape[1] > 1:
        return _formula(network)
    patches = network.patches

    class DeepConv(torch.nn.Module):  # type: ignore[misc]
        """Filters, and a weighted sum over the places of each."""

        def __init__(self) -> None:
            super().__init__()
            self.filters = _filters(patches, to_numpy(network.weights_in)[:, 0])
            places = np.array(to_numpy(network.weights_hidden), dtype=np.float64)
            self.places = torch.nn.Parameter(torch.from_numpy(places))

        def forward(self, X: Any) -> Any:
            first = self.filters(X.reshape(-1, *patches.shape)).flatten(2).relu()
            return (first * self.places).sum(dim=2).relu()

    return DeepConv()


_OUTER = ("weights_out", "intercept", "skip")
"""What the layers beside the hidden one hold."""

_HIDDEN: dict[str, Callable[[Any], Any]] = {
    "relu": _relu,
    "batchnorm": _batchnorm,
    "batchnorm_after": _batchnorm_after,
    "threshold": _step,
    "sign": _step,
    "deep_threshold": _deep,
    "deep_sign": _deep,
    "conv": _conv,
    "conv_gated": _conv,
    "deep_conv": _deep_conv,
}
"""What makes the hidden layers of torch's own layers, by architecture."""
