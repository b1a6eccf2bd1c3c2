"""
Can samples find a density by themselves?
=========================================

Each step trains a two-layer network whose gradient points from the samples to the target, to its
optimum: a semidefinite program. Only the score of the target is needed.
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import wasserstein_direction, wasserstein_flow

# %%
# The target has two bumps, at -1.5 and 1.5, of standard deviation 0.5.


def score(x):
    right = 1 / (1 + np.exp(-np.clip(12 * x, -50, 50)))
    return (1.5 * (2 * right - 1) - x) / 0.25


start = np.linspace(-1, 1, 30)[:, None]
found = wasserstein_direction(start, score)
print(found.certificate.summary())
print(f"alpha {found.alpha:.4f}; no optimum below {found.threshold:.4f}")

# %%
# Samples move along the gradient; their speed falls as they settle.

moved = wasserstein_flow(start, score, steps=30, rate=0.1)
print(f"speed {moved.speeds[0]:.2f} at first, {moved.speeds[-1]:.3f} at last")
line = np.linspace(-3.5, 3.5, 200)
bumps = [np.exp(-((line - m) ** 2) / 0.5) / (0.5 * (2 * np.pi) ** 0.5) for m in (-1.5, 1.5)]
_, (above, below) = plt.subplots(2, figsize=(6.4, 5), layout="constrained")
above.plot(moved.course[:, :, 0], color="0.5", linewidth=0.8)
above.set(xlabel="step", ylabel="samples")
below.hist(moved.samples[:, 0], bins=15, density=True, color="0.8")
below.plot(line, sum(bumps) / 2)
below.set(xlabel="x", ylabel="density")
plt.show()
