import math

import numpy as np
import torch
from benchmark_utils.running import next_look
from benchopt import BaseSolver

RATES = {"adam": (1e-4, 1e-1), "sgd": (1e-3, 1.0)}
"""From the smallest step size to the largest, geometrically."""


class Solver(BaseSolver):
    """torch's Adam or SGD from several starts with several step sizes; the best of all counts.

    The network is trained with weight decay, alpha/2 times all squared weights, whose optima are
    those of the norms. The clock holds all runs, as one who does not know the best one needs
    them; they run side by side, in single precision, and cool down by a cosine.
    """

    name = "torch"
    sampling_strategy = "callback"
    requirements = ["pip::torch"]
    parameters = {
        "rule": ["adam", "sgd"],
        "starts": [10],
        "rates": [10],
        "epochs": [1000],
        "batch": [0.1],
        "width": [200],
    }
    test_config = {"starts": 2, "rates": 2, "epochs": 5, "width": 10}

    def set_objective(self, problem):
        torch.set_num_threads(1)
        self.problem = problem
        self.X, self.y = (torch.tensor(x, dtype=torch.float32) for x in (problem.X, problem.y))
        gated = problem.network == "gated"
        self.masks = torch.tensor(problem.masks, dtype=torch.float32) if gated else None
        self.groups = []

    def get_next(self, epoch):
        return next_look(epoch)

    def start(self):
        """Draw (starts, m, d) and (starts, m) for every step size, and their optimisers."""
        (n, d), generator = self.X.shape, torch.Generator().manual_seed(0)
        m = self.width if self.masks is None else self.masks.shape[1]
        spread = math.sqrt(2 / m)
        u = math.sqrt(n / d) * spread * torch.randn((self.starts, m, d), generator=generator)
        a = spread * torch.randn((self.starts, m), generator=generator)
        for rate in np.geomspace(*RATES[self.rule], self.rates):
            weights = [u.clone().requires_grad_(), a.clone().requires_grad_()]
            if self.rule == "adam":
                rule = torch.optim.Adam(weights, lr=rate)
            else:  # steps in units of columns of unit variance
                parts = [{"params": [weights[0]], "lr": n * rate}, {"params": [weights[1]]}]
                rule = torch.optim.SGD(parts, lr=rate, momentum=0.9)
            yield *weights, rule

    def run(self, look):
        self.groups = list(self.start())
        n, order = len(self.y), torch.Generator().manual_seed(1)
        size = max(1, round(self.batch * n))
        first = [[part["lr"] for part in rule.param_groups] for _, _, rule in self.groups]
        for epoch in range(self.epochs):
            if not look():
                return
            cool = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            for rows in torch.randperm(n, generator=order).split(size):
                for (u, a, rule), rates in zip(self.groups, first, strict=True):
                    for part, rate in zip(rule.param_groups, rates, strict=True):
                        part["lr"] = cool * rate
                    rule.zero_grad()
                    self.objective(u, a, rows).backward()
                    rule.step()

    def objective(self, u, a, rows):
        """Return the mean loss of some samples + alpha/2 * squared weights, all starts summed."""
        values = u @ self.X[rows].T
        hidden = values.relu() if self.masks is None else values * self.masks[rows].T
        misfit = (a[:, None] @ hidden)[:, 0] - self.y[rows]
        decay = self.problem.alpha / 2 * ((u**2).sum() + (a**2).sum())
        return (misfit**2).mean(dim=1).sum() / 2 + decay

    def get_result(self):
        ends = [
            self.named(u.detach().numpy().astype(float), a.detach().numpy().astype(float))
            for us, outs, _ in self.groups
            for u, a in zip(us, outs, strict=True)
            if u.isfinite().all() and a.isfinite().all()  # large steps may diverge
        ]
        ends.append(self.problem.nothing())
        return min(ends, key=lambda one: self.problem.value(**one))

    def named(self, u, a):
        if self.masks is None:
            return {"inward": u, "outward": a}
        return {"blocks": u * a[:, None]}
