"""Convex attention on the feature maps of a frozen network, beside a linear probe and Adam.

CIFAR-10 images, `cifar10_jpeg.npz` under CVXNN_DATA, go through the MobileNet that lies beside
them: 25 tokens of width 512 each.
"""

import argparse
import io
import resource
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cvxnn import ConvexHead
from cvxnn.experiments.attention_adam import adam_attention
from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.loaders import data_folder
from cvxnn.experiments.tuned import linear, tuned


def images(folder: Path, part: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the first images (n, 32, 32, 3) of a part of the archive, and their labels."""
    from PIL import Image

    with np.load(folder / "cifar10_jpeg.npz", allow_pickle=False) as archive:
        file, ends = archive[f"jpeg_{part}"], archive[f"offset_{part}"]
        labels = archive[f"y_{part}"][:count].astype(np.int64)
    pixels = [
        np.asarray(Image.open(io.BytesIO(file[start:end].tobytes())).convert("RGB"))
        for start, end in pairwise(ends[: count + 1])
    ]
    return np.stack(pixels), labels


def tokens(pixels: NDArray[np.uint8], network: Any) -> NDArray[np.float32]:
    """Return the feature maps of images as tokens (n, 25, 512)."""
    import torch

    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), 50):
            some = torch.from_numpy(pixels[start : start + 50]).permute(0, 3, 1, 2).float()
            wide = torch.nn.functional.interpolate(some, size=160, mode="bicubic")
            maps = network(wide.clamp(0, 255))
            parts.append(maps.flatten(2).transpose(1, 2).numpy())
    return np.concatenate(parts)


def load(train: int, test: int, cache: Path | None) -> tuple[Any, Any]:
    """Return tokens and labels to train on and to test on."""
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as archive:
            return tuple(  # type: ignore[return-value]
                (archive[f"X_{part}"][:n], archive[f"y_{part}"][:n])
                for part, n in (("train", train), ("test", test))
            )
    folder = data_folder()
    network = mobilenet(folder, maps=True)
    if folder is None or network is None or not (folder / "cifar10_jpeg.npz").is_file():
        raise SystemExit("set CVXNN_DATA to the folder of cifar10_jpeg.npz and the MobileNet")
    found = []
    begin = time.process_time()
    for part, n in (("train", train), ("test", test)):
        pixels, labels = images(folder, part, n)
        found.append((tokens(pixels, network), labels))
    print(f"backbone: {time.process_time() - begin:.0f} s of CPU", flush=True)
    if cache is not None:
        (X, y), (X_test, y_test) = found
        np.savez(cache, X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    return tuple(found)  # type: ignore[return-value]


def probe(train: Any, test: Any, seed: int) -> float:
    """Return the test accuracy of logistic regression on the mean token, its penalty tuned."""
    (X, y), (X_test, y_test) = train, test
    scaler = StandardScaler().fit(X.mean(axis=1))
    model, _ = tuned(linear, scaler.transform(X.mean(axis=1)), y, seed)
    return float(model.score(scaler.transform(X_test.mean(axis=1)), y_test))


def main() -> None:
    """Print a line for every head; the alpha of the convex one is found by validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=4_000)
    parser.add_argument("--projection", type=int, default=64)
    parser.add_argument("--alphas", type=float, nargs="+", default=(0.05, 0.025, 0.0125))
    parser.add_argument("--cache", type=Path, help="file that keeps the tokens")
    parser.add_argument("--max-time", type=float, default=1200.0)
    args = parser.parse_args()
    train, test = load(args.train, args.test, args.cache)
    (X, y), (X_test, y_test) = train, test
    words: dict[str, Any] = {"projection": args.projection, "max_time": args.max_time}
    held = np.random.default_rng(0).permutation(len(X)) < len(X) // 5
    begin = time.process_time()
    scores = {}
    for alpha in args.alphas:
        part = ConvexHead("linear_attention", alpha=alpha, tol=0.05, **words)
        scores[alpha] = part.fit(X[~held], y[~held]).score(X[held], y[held])
        print(f"alpha {alpha:g}: {scores[alpha]:.4f} on held-out samples", flush=True)
    chosen = max(scores, key=lambda alpha: scores[alpha])
    tuning = time.process_time() - begin
    begin, wall = time.process_time(), time.perf_counter()
    head = ConvexHead("linear_attention", alpha=chosen, tol=1e-2, **words).fit(X, y)
    seconds, wall = time.process_time() - begin, time.perf_counter() - wall
    claim, heads = head.certificate_, head.network_.n_neurons
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"convex attention, alpha {chosen:g}: {head.score(X_test, y_test):.4f} with {heads} heads, "
        f"relative gap {claim.relative_gap:.2e}, {seconds:.0f} s of CPU ({wall:.0f} s), "
        f"{tuning:.0f} s of tuning, peak {peak:.2f} GiB, tokens of {X.nbytes / 2**30:.2f} GiB held",
        flush=True,
    )
    seen, seen_test = (head._scaler(x) for x in (X, X_test))
    for name, pair in (
        ("what the head sees", ((seen, y), (seen_test, y_test))),
        ("all columns", (train, test)),
    ):
        begin = time.process_time()
        print(f"linear probe of the mean token, {name}: {probe(*pair, 0):.4f}", end=", ")
        print(f"{time.process_time() - begin:.0f} s of CPU with tuning", flush=True)
    for size in (heads, 8 * heads):
        found = adam_attention(seen, y, size, seconds=seconds, decay=chosen, seed=0)
        right = (found(seen_test).argmax(axis=1) == y_test).mean()
        print(f"attention by Adam, {size} heads, {seconds:.0f} s of CPU: {right:.4f}", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
