"""
Can a density be learned from its samples by a convex program?
==============================================================

The score of a density, the gradient of its logarithm, says where to go from a point to where
samples are. Score matching trains a network to be one, without the density: in one column to the
optimum over all ReLU networks, and in the plane by predicting the noise that was added to samples.
Samples that follow the score with a little noise are new samples of the density.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from cvxnn import ConvexScore

INK, BLUE, RED = "#1b1f3b", "#2f6fb0", "#d1495b"

# %%
# One column
# ----------
# The loss of Hyvarinen, mean of s(x)^2 / 2 + s'(x), needs samples alone. It has no lower bound for
# little weight decay: a neuron with its kink on a sample changes the derivative there and nothing
# else. The strength from which on there is an optimum is computed before training.

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-1.2, 0.35, 120), rng.normal(0.9, 0.55, 180)])
line = ConvexScore(random_state=0).fit(x[:, None])
print(line.certificate_.summary())
print(
    f"alpha {line.alpha_:.4f}, chosen on held-out samples; an optimum from {line.threshold_:.4f} on"
)

grid = np.linspace(-3.5, 3.5, 701)


def normal(mean, deviation):
    return np.exp(-(((grid - mean) / deviation) ** 2) / 2) / (deviation * (2 * np.pi) ** 0.5)


truth = 0.4 * normal(-1.2, 0.35) + 0.6 * normal(0.9, 0.55)
_, (above, below) = plt.subplots(
    2, sharex=True, figsize=(6.8, 4.6), height_ratios=(2, 3), layout="constrained"
)
above.axhline(0, color="0.85", linewidth=0.8)
above.plot(grid, np.gradient(np.log(truth), grid), color="0.6", linestyle="--", label="truth")
above.plot(grid, line.predict(grid[:, None])[:, 0], color=BLUE, linewidth=2, label="network")
above.set(ylabel="score", ylim=(-9, 9))
above.legend(frameon=False, loc="upper right")
drawn = line.sample(4000, random_state=0)[:, 0]
below.hist(drawn, bins=70, range=(-3.5, 3.5), density=True, color=BLUE, alpha=0.25, label="drawn")
below.plot(grid, truth, color="0.6", linestyle="--", label="truth")
below.plot(grid, np.exp(line.log_density(grid[:, None])), color=BLUE, linewidth=2, label="network")
below.plot(x, np.full(len(x), -0.02), "|", color=INK, alpha=0.4, markersize=7, label="samples")
below.set(xlabel="x", ylabel="density")
below.legend(frameon=False, loc="upper right")
for axis in (above, below):
    axis.spines[["top", "right"]].set_visible(False)

# %%
# The plane
# ---------
# Noise of several sizes, a gated network for each: every one is a regression with a certificate.

X = make_moons(400, noise=0.07, random_state=0)[0]
X = (X - X.mean(axis=0)) / X.std()
plane = ConvexScore(
    noise=[1.0, 0.5, 0.25, 0.12],
    alpha=2e-3,
    n_gates=100,
    copies=5,
    solver="fista",
    tol=1e-2,
    random_state=0,
).fit(X)
for level, part in zip(plane.noise, plane.regressors_, strict=True):
    print(f"noise {level}: relative gap {part.certificate_.relative_gap:.1e}")

new = plane.sample(1500, steps=150, random_state=0)

# %%
# Left the samples, in the middle the scores of two noise levels: much noise shows the way from afar
# and little noise the shape. Right, samples that went along them.

side = np.linspace(-2.6, 2.6, 26)
mesh = np.stack(np.meshgrid(side, side), axis=-1)
figure, axes = plt.subplots(1, 4, figsize=(13.6, 3.7), layout="constrained")
axes[0].scatter(*X.T, s=9, color=INK, alpha=0.7, linewidth=0)
axes[0].set_title("400 samples")
for axis, level in ((axes[1], 0), (axes[2], 3)):
    field = plane.predict(mesh.reshape(-1, 2), level=level).reshape(26, 26, 2)
    size = np.linalg.norm(field, axis=2)
    axis.streamplot(
        side, side, *np.moveaxis(field, 2, 0), color=np.log1p(size), cmap="viridis",
        density=1.1, linewidth=0.9, arrowsize=0.8,
    )  # fmt: skip
    axis.scatter(*X.T, s=4, color=RED, alpha=0.5, linewidth=0)
    axis.set_title(f"score, noise {plane.noise[level]}")
axes[3].scatter(*new.T, s=5, color=BLUE, alpha=0.5, linewidth=0, label="drawn")
axes[3].scatter(*X.T, s=5, color=RED, alpha=0.5, linewidth=0, label="samples")
axes[3].set_title("1,500 drawn, and the samples")
for axis in axes:
    axis.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_color("0.8")
plt.show()
