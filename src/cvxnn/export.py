"""Trained networks as modules of torch."""

from typing import Any

from cvxnn.architectures import BY_NAME, Network
from cvxnn.arrays import to_numpy
from cvxnn.errors import UnsupportedError


def to_torch(network: Network) -> Any:
    """Return a `torch.nn.Module` in float64 with the network's arrays as its parameters.

    It maps tensors (n, d) to outputs (n, c) by the network's own formula, where its parameters are,
    and its parameters have gradients. Raises UnsupportedError where torch is not installed.

    >>> from cvxnn import ConvexRegressor
    >>> X, y = [[-1.0], [0.0], [2.0]], [1.0, 0.0, 4.0]
    >>> model = ConvexRegressor("quadratic", alpha=0.01).fit(X, y)
    >>> module = to_torch(model.network_)
    >>> sorted(name for name, _ in module.named_parameters())
    ['activation', 'intercept', 'skip', 'weights_in', 'weights_out']
    """
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "to_torch needs torch, which is not installed; install cvxnn[torch]"
        ) from error
    rebuild = BY_NAME[network.architecture].network

    class Module(torch.nn.Module):  # type: ignore[misc]  # torch is not there for mypy
        """A network of cvxnn; `forward` maps (n, d) to (n, c)."""

        def __init__(self) -> None:
            super().__init__()
            for name, value in network.parameters().items():
                tensor = torch.asarray(to_numpy(value).copy(), dtype=torch.float64)
                self.register_parameter(name, torch.nn.Parameter(tensor))

        def forward(self, x: Any) -> Any:
            views = {name: each.view_as(each) for name, each in self.named_parameters()}
            return rebuild(views)(x)

    return Module()
