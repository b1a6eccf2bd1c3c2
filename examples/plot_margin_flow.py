"""
How near does gradient flow come to the largest margin?
=======================================================

On separable data the loss of a growing network falls to zero, and what is left to choose is the
direction. The network of least norm with margin 1 is the best one; a convex program finds it.
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ReLU, margin_flow, max_margin
from cvxnn.display import MarginDisplay

# %%
# Samples of one class have positive products, those of different classes none: for such data
# gradient flow from a small start tends to the best network. For the others it need not.

orthogonal = np.array([[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]])
rng = np.random.default_rng(1)
scattered = rng.standard_normal((8, 2))
_, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, X in zip(axes, (orthogonal, scattered), strict=True):
    y = np.arange(len(X)) < len(X) // 2
    best = max_margin(X, y, architecture=ReLU(bias=False))
    print(best.certificate.summary())
    for seed in range(3):
        flow = margin_flow(X, y, bias=False, steps=3000, optimum=best, random_state=seed)
        print(f"seed {seed}: norm / margin {flow.norms[-1]:.4f}, {flow.excess:.1%} above the bound")
    MarginDisplay.from_flow(flow).plot(axis)
plt.show()
