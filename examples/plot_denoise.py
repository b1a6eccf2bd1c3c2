"""
How well does a convex network restore a picture?
=================================================

A two-layer convolutional network that restores images is, on stacked patches, a dense network: a
convex program, with a certificate. Beside it the filter of Wiener, at its best window, and the best
linear filter, on handwritten digits and on faces. Without a folder in ``CVXNN_DATA`` scikit-learn's
digits stand in.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import wiener

from cvxnn import ConvexDenoiser
from cvxnn.errors import CertificateWarning
from cvxnn.experiments.loaders import data_folder, digits, faces, mnist

written, portraits = mnist(data_folder()), faces(data_folder())
pictures = {"digits": (digits() if written is None else written).X / 255}
if portraits is not None:
    pictures["faces"] = portraits.X[portraits.y == 1] / 255
noises = {"digits": 0.3, "faces": 0.15}

# %%
# Patches of five pixels, 64 gates. To predict the residual, clean less noisy, is the same program:
# the centre pixel is in the unpenalised linear filter.


def decibels(answer, clean):
    return 10 * np.log10(np.ptp(clean) ** 2 / ((answer - clean) ** 2).mean())


def restored(clean, noise):
    """Return the answers to fifty noisy pictures, and these without noise."""
    clean = clean[np.random.default_rng(0).permutation(len(clean))[:150]]
    noisy = clean + noise * np.random.default_rng(1).standard_normal(clean.shape)
    words = {"patch": 5, "n_gates": 64, "samples": 18_000, "solver": "fista", "tol": 5e-3}
    model = ConvexDenoiser(alpha=1e-4, random_state=0, **words).fit(noisy[50:], clean[50:])
    print(model.certificate_.summary())
    one = ConvexDenoiser(alpha=10.0, random_state=0, **words)
    with warnings.catch_warnings():  # no neurons are left, which is what is wanted here
        warnings.simplefilter("ignore", CertificateWarning)
        one.fit(noisy[50:], clean[50:])
    test = noisy[:50]
    windows = [np.stack([wiener(image, k, noise**2) for image in test]) for k in (3, 5, 7)]
    return {
        "noisy": test,
        "Wiener": max(windows, key=lambda answer: decibels(answer, clean[:50])),
        "one linear filter": one.predict(test),
        "network": model.predict(test),
        "clean": clean[:50],
    }


answers = {name: restored(clean, noises[name]) for name, clean in pictures.items()}

# %%
# Pictures that it was not trained on. Strokes are flat, edges or empty, and the network is another
# filter for each; on faces as noisy as these a linear filter is nearly as good.

figure = plt.figure(figsize=(9.6, 5.6), layout="constrained")
parts = figure.subfigures(1, len(answers), squeeze=False)[0]
for part, (name, rows) in zip(parts, answers.items(), strict=True):
    part.suptitle(f"{name}, noise {noises[name]}")
    for line, (label, images) in zip(part.subplots(len(rows), 4), rows.items(), strict=True):
        for axis, image in zip(line, images[:4], strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        level = "" if label == "clean" else f"\n{decibels(images, rows['clean']):.1f} dB"
        line[0].set_ylabel(label + level, rotation=0, ha="right", va="center")
plt.show()
