"""A small MobileNet with weights from ImageNet, as a torch module of images."""

from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.errors import UnsupportedError


def mobilenet(folder: Path | None, head: bool = False, maps: bool = False) -> Any:
    """Return MobileNet v1, width 0.5, for 160 x 160 images [Howard2017], or None where it is not.

    The module takes pixels (n, 3, 160, 160) from 0 to 255 and gives the pooled features (n, 512),
    with `maps` what is pooled, (n, 512, 5, 5), with `head` the scores of its 1001 classes. It is in
    evaluation mode and has no batch normalisation: that is folded into the weights,
    `mobilenet_v1_050_160.npz` in `folder`, whose arrays are `conv0/w` (3, 3, 3, 16), `dw1/w`
    (3, 3, c), `pw1/w` (c, c'), ..., `fc/w`, each with its `b`, and the strides
    `strides_dw1_to_dw13`.

    Raises UnsupportedError where torch is not installed.
    """
    if folder is None or not (folder / "mobilenet_v1_050_160.npz").is_file():
        return None
    with np.load(folder / "mobilenet_v1_050_160.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive}
    return module(arrays, head, maps)


def module(arrays: dict[str, Any], head: bool = False, maps: bool = False) -> Any:
    """Return the module of these arrays."""
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "the backbone is a torch module and torch is not installed; install cvxnn[torch]"
        ) from error
    strides = [int(stride) for stride in arrays["strides_dw1_to_dw13"]]

    class Same(torch.nn.Module):  # type: ignore[misc]
        """A convolution with TensorFlow's padding: what is odd goes below and to the right."""

        def __init__(self, name: str, stride: int) -> None:
            super().__init__()
            weight = arrays[f"{name}/w"].astype(np.float32)
            if name.startswith("pw"):
                weight = weight[None, None]
            if name.startswith("dw"):
                weight = weight[:, :, None, :]
            turned = torch.from_numpy(np.ascontiguousarray(weight.transpose(3, 2, 0, 1)))
            self.weight = torch.nn.Parameter(turned)
            self.bias = torch.nn.Parameter(torch.from_numpy(arrays[f"{name}/b"].astype(np.float32)))
            self.stride, self.groups = stride, len(turned) if name.startswith("dw") else 1

        def forward(self, x: Any) -> Any:
            side, kernel = x.shape[-1], self.weight.shape[-1]
            more = max((-(-side // self.stride) - 1) * self.stride + kernel - side, 0)
            wide = torch.nn.functional.pad(x, (more // 2, more - more // 2) * 2)
            found = torch.nn.functional.conv2d(
                wide, self.weight, self.bias, self.stride, groups=self.groups
            )
            return torch.clamp(found, 0.0, 6.0)

    class Backbone(torch.nn.Module):  # type: ignore[misc]
        """Pixels to pooled features; `classifier` is what comes after them."""

        def __init__(self) -> None:
            super().__init__()
            pairs = [
                each
                for k, stride in enumerate(strides, 1)
                for each in (Same(f"dw{k}", stride), Same(f"pw{k}", 1))
            ]
            self.layers = torch.nn.Sequential(Same("conv0", 2), *pairs)
            self.classifier = torch.nn.Identity()
            if head:
                self.classifier = torch.nn.Linear(*arrays["fc/w"].shape)
                with torch.no_grad():
                    self.classifier.weight.copy_(torch.from_numpy(arrays["fc/w"].T.copy()))
                    self.classifier.bias.copy_(torch.from_numpy(arrays["fc/b"]))

        def forward(self, pixels: Any) -> Any:
            found = self.layers((pixels.to(torch.float32) - 128.0) / 128.0)
            return self.classifier(found if maps else found.mean(dim=(2, 3)))

    return Backbone().eval()
