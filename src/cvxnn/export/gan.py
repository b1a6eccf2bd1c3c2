"""A generator as a torch module of latents; torch is imported when one is made."""

from typing import Any

import numpy as np

from cvxnn.generation.gan import ConvexGAN


def generator_to_torch(model: ConvexGAN, inner: Any) -> Any:
    """Return the module of latents (m, latent) that gives samples (m, ...), in float64.

    `inner` is the module of the network of latents, None where there is none.
    """
    import torch

    made, shape = model.generator_, tuple(model.shape_)
    outward = made.weights @ made.components
    pairs = np.triu_indices(int(model.latent_))

    class Module(torch.nn.Module):  # type: ignore[misc]
        """The latents, their monomials or a network, then a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Identity() if inner is None else inner
            self.outputs = torch.nn.Linear(*outward.shape, dtype=torch.float64)
            with torch.no_grad():
                self.outputs.weight.copy_(torch.tensor(outward.T.copy()))
                self.outputs.bias.copy_(torch.tensor(made.mean - made.centre @ outward))
            for name, places in zip(("rows", "columns"), pairs, strict=True):
                self.register_buffer(name, torch.tensor(places))

        def forward(self, latents: Any) -> Any:
            hidden = self.hidden(latents)
            if made.degree == 2:
                same = self.rows == self.columns
                products = latents[:, self.rows] * latents[:, self.columns]
                products = torch.where(same, (products - 1) / 2**0.5, products)
                hidden = torch.cat([latents, products], dim=1)
            return self.outputs(hidden).reshape(-1, *shape)

    return Module().eval()
