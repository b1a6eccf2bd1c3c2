"""
What does the score of faces know?
==================================

Faces in the space of their leading principal components, a network for every noise level that
predicts the noise: a convex program each, with a certificate. Its score denoises a face in one
step, as ``x + sigma^2 score(x)``, and new faces come from following it. Without a folder in
``CVXNN_DATA`` scikit-learn's digits stand in.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from cvxnn import ConvexScore
from cvxnn.experiments.loaders import data_folder, digits, faces

found = faces(data_folder())
if found is None:
    found = digits()
    pixels, side, kept, alpha = found.X / 255, 8, 20, 0.03
    print("faces were not found in CVXNN_DATA: scikit-learn's digits stand in for them")
else:
    pixels, side, kept, alpha = found.X[found.y == 1] / 255, 36, 40, 0.1
    print(found.source)
pixels = pixels.reshape(len(pixels), -1)
pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
train, test = pixels[200:2700], pixels[:200]
pca = PCA(kept, whiten=True, random_state=0).fit(train)
X, X_test = pca.transform(train), pca.transform(test)
print(f"{len(X)} images, {kept} components with {pca.explained_variance_ratio_.sum():.0%} of it")

# %%
# Noise of four sizes in units of each component's spread. The unpenalised part of the network is
# the score of a Gaussian; what neurons add is what faces are beyond that. The warning says that
# under much noise nothing is: there the best network has no neurons.

words = {"copies": 3, "n_gates": 24, "solver": "fista", "tol": 5e-3, "random_state": 0}
model = ConvexScore(noise=[2.0, 1.0, 0.5, 0.25], alpha=alpha, **words).fit(X)
for sigma, part in zip(model.noise, model.regressors_, strict=True):
    print(f"noise {sigma}: relative gap {part.certificate_.relative_gap:.1e}")

# %%
# One step of denoising, beside the best linear one, which is what the score of a Gaussian does. The
# digits are far from Gaussian and gain from neurons. Faces of this size are near to it: with
# much weight decay the network is as good as the linear one, with little it is worse.

sigma, level = 1.0, 1
noisy = X_test + sigma * np.random.default_rng(1).standard_normal(X_test.shape)
restored = noisy + sigma**2 * model.predict(noisy, level=level)
linear = (
    noisy
    - sigma**2
    * np.linalg.solve(
        np.cov(X.T, bias=True) + sigma**2 * np.eye(kept), (noisy - X.mean(axis=0)).T
    ).T
)
for name, answer in (("noisy", noisy), ("linear", linear), ("network", restored)):
    print(f"{name}: mean square {((answer - X_test) ** 2).mean():.4f} in units of the spread")
drawn = model.sample(12, steps=150, random_state=3)

rows = {
    "in the space": X_test,
    f"noise {sigma}": noisy,
    "one step": restored,
    "drawn": drawn,
}
figure, axes = plt.subplots(4, 10, figsize=(9.4, 4.1), layout="constrained")
for line, (name, points) in zip(axes, rows.items(), strict=True):
    images = pca.inverse_transform(points[:10]).reshape(-1, side, side)
    for axis, image in zip(line, images, strict=True):
        axis.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
