"""Images that come back: autoencoders beside principal components, denoisers beside Wiener's.

Autoencoders of MNIST and of faces (`mnist.npz`, `caltech_faces36.npz` under CVXNN_DATA) are
compared with PCA of as many components as their code is wide, by the mean squared error per pixel
on images held out. PCA's is the least that a linear code of that width can leave in training:
weight decay shrinks what comes back, so that networks leave more.
Denoisers of patches are compared with `scipy.signal.wiener`, told the noise, at its best window,
and with the best linear filter, in decibels. Seconds are of CPU.
"""

import argparse
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import wiener
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from cvxnn import ConvexAutoencoder, ConvexDenoiser
from cvxnn.errors import CertificateWarning
from cvxnn.experiments.loaders import data_folder, faces, mnist

Floats = NDArray[np.float64]


def images_of(name: str) -> Floats:
    """Return images (n, h, w) between 0 and 1 in a fixed random order; SystemExit without them."""
    found = (mnist if name == "mnist" else faces)(data_folder())
    if found is None:
        raise SystemExit(f"set CVXNN_DATA to the folder that holds the archive of {name}")
    pixels = found.X if name == "mnist" else found.X[found.y == 1]
    order = np.random.default_rng(0).permutation(len(pixels))
    return np.asarray(pixels[order] / 255.0)


def autoencoders(name: str, n: int, gates: int) -> None:
    """Print a row for every network, and PCA at the same width of the code."""
    X = images_of(name)[: n + 1000].reshape(n + 1000, -1)
    train, test = X[:n], X[n:]
    basis = PCA(60, random_state=0).fit(train)  # what a code may see; the error counts all pixels
    Z = basis.transform(train)
    variances = basis.explained_variance_ * (1 - 1 / n)

    def error(answer: Floats) -> float:
        return float(((basis.inverse_transform(answer) - test) ** 2).mean())

    codes = basis.transform(test)
    print(f"{name}: {n} images, 60 components; all of them leave {error(codes):.5f} per pixel")
    words = {"n_gates": gates, "solver": "fista", "tol": 5e-3, "random_state": 0}
    for kind, alpha in [("linear", variances[20]), ("linear", variances[40])] + [
        ("gated", variances[place]) for place in (3, 8)
    ]:
        begin = time.process_time()
        options: dict[str, Any] = {} if kind == "linear" else words
        model = ConvexAutoencoder(kind, alpha=float(alpha), **options).fit(Z)
        seconds = time.process_time() - begin
        rank = min(model.n_components_, 60)
        pca = codes.copy()
        pca[:, rank:] = 0.0
        print(
            f"  {kind:7} alpha {alpha:8.4f}  code {model.n_components_:4d}  "
            f"error {error(model.reconstruct(codes)):.5f}  PCA({rank}) {error(pca):.5f}  "
            f"gap {model.certificate_.relative_gap:.0e}  {seconds:5.1f} s",
            flush=True,
        )


def denoisers(name: str, noise: float, samples: int, gates: int) -> None:
    """Print the decibels of every method on fifty images held out."""
    clean = images_of(name)[:250]
    noisy = clean + noise * np.random.default_rng(1).standard_normal(clean.shape)
    train, test = slice(50, 250), slice(0, 50)
    span = np.ptp(clean[test]) ** 2

    def decibels(answer: Floats) -> float:
        return float(10 * np.log10(span / ((answer - clean[test]) ** 2).mean()))

    windows = {k: np.stack([wiener(x, k, noise**2) for x in noisy[test]]) for k in (3, 5, 7)}
    best = max(windows, key=lambda k: decibels(windows[k]))
    print(f"{name}, noise {noise}: {decibels(noisy[test]):.2f} dB")
    print(f"  wiener, window {best}: {decibels(windows[best]):.2f} dB")
    words = {"patch": 5, "samples": samples, "solver": "fista", "tol": 5e-3, "random_state": 0}
    for label, alpha, count in (
        ("one filter", 10.0, 1),
        ("gated", 1e-4, gates),
        ("gated", 3e-5, gates),
    ):
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CertificateWarning)
            model = ConvexDenoiser(alpha=alpha, n_gates=count, **words)
            model.fit(noisy[train], clean[train])
        seconds = time.process_time() - begin
        print(
            f"  {label}, alpha {alpha:.0e}: {decibels(model.predict(noisy[test])):.2f} dB  "
            f"gap {model.certificate_.relative_gap:.0e}  {seconds:.1f} s",
            flush=True,
        )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("mnist", "faces"), nargs="+", default=["mnist", "faces"])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--gates", type=int, default=16)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--filters", type=int, default=64)
    args = parser.parse_args()
    for name in args.data:
        autoencoders(name, args.images, args.gates)
        denoisers(name, 0.15 if name == "faces" else 0.3, args.samples, args.filters)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
