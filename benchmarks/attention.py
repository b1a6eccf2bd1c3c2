"""Convex attention on the feature maps of a frozen network, beside a linear probe and Adam.

CIFAR-10 images, `cifar10_jpeg.npz` under CVXNN_DATA, go through the MobileNet that lies beside
them: 25 tokens of width 512 each.
"""

import argparse
import io
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.loaders import data_folder


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    load(10_000, 4_000, args.cache)
